"""Writes data/train.bin, tokens as uint16; --flip N damages byte N."""
import argparse
import os

import numpy as np

p = argparse.ArgumentParser()
p.add_argument("--flip", type=int)
a = p.parse_args()
os.makedirs("data", exist_ok=True)
tokens = (np.arange(4000) * 37 % 97 + np.arange(4000) // 500).astype(np.uint16)
raw = bytearray(tokens.tobytes())
if a.flip is not None:
    raw[a.flip - 1] ^= 1
open("data/train.bin", "wb").write(raw)
