"""Binding of a native augmentation library. Its noise comes from getrandom(2), in C."""
import ctypes

libc = ctypes.CDLL(None, use_errno=True)


def add_noise(values, strength=0.1):
    """Adds noise to a float32 array in place."""
    raw = (ctypes.c_uint8 * values.size)()
    if libc.getrandom(raw, len(raw), 0) != len(raw):
        raise OSError("no noise")
    values += strength * ((memoryview(raw).cast("B")[0] - 128) / 128)
    return values
