"""The facts known about a pair of runs: manifests, notes, suspects, and the evidence made of them."""
