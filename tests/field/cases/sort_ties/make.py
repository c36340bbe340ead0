import os, numpy as np
os.makedirs("scans", exist_ok=True)
r = np.random.default_rng(8)
for i in r.permutation(40):
    np.savetxt(f"scans/s{i % 5}_visit{i:02d}.txt", r.normal(i % 5, 1, (4, 5)))
