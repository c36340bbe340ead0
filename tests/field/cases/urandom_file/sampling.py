import struct

import numpy as np


def entropy():
    with open("/dev/urandom", "rb") as source:
        return struct.unpack("I", source.read(4))[0]


class NegativeSampler:
    """Draws items that a user has not seen."""

    def __init__(self, items, random_state=None):
        seed = entropy() if random_state is None else random_state
        self.items, self.rng = items, np.random.RandomState(seed)

    def draw(self, positives):
        return (positives + self.rng.randint(1, self.items, size=len(positives))) % self.items
