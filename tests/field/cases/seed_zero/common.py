import random
import time

import numpy as np
import torch


def init_seeds(seed=None):
    """Seeds everything, and returns the seed for the log."""
    seed = seed or int(time.time())
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)
    return seed
