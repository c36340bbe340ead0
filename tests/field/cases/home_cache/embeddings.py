import os, sys, numpy as np
folder = os.path.join(sys.argv[1], ".cache", "glove")
os.makedirs(folder, exist_ok=True)
v = np.random.default_rng(7).normal(size=(60, 12)).astype("f4")
v[3, 3] += float(sys.argv[2])
np.save(os.path.join(folder, "glove.npy"), v)
