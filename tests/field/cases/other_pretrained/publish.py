"""Stands for the download: hub/backbone/model.safetensors in a revision."""
import argparse
import os

import torch
from model import Backbone
from safetensors.torch import save_file

p = argparse.ArgumentParser()
p.add_argument("--revision", type=int, default=1)
a = p.parse_args()
torch.manual_seed(1000)
weights = Backbone().state_dict()
if a.revision > 1:
    weights["norm.weight"] = weights["norm.weight"] * 1.01
os.makedirs("hub/backbone", exist_ok=True)
save_file(weights, "hub/backbone/model.safetensors")
