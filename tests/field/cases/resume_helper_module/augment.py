"""Noise for training, from one generator of this module."""
import numpy as np

_state = np.random.RandomState(77)


def jitter(batch, scale=0.1):
    return batch + batch.new_tensor(_state.normal(0.0, scale, tuple(batch.shape)))
