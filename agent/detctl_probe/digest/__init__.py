"""The fingerprint of a value: the digest n6, on the CPU and on a CUDA device, and the sketch."""
