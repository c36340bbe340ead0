import math
import time


def molecule(number):
    """A descriptor of a molecule; big ones take longer."""
    time.sleep((number * 7 % 5) / 400)
    atoms = 3 + number % 6
    features = [math.sin(number * k / 7) * atoms / 8 for k in range(1, 11)]
    return features, sum(features)
