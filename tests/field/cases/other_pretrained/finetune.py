import argparse

import torch
from model import Backbone, FineTuned
from safetensors.torch import load_file
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

parser = argparse.ArgumentParser()
parser.add_argument("--weights", default="hub/backbone/model.safetensors")
parser.add_argument("--lr", type=float, default=1e-3)
args = parser.parse_args()
torch.manual_seed(7)
x = torch.randn(128, 10)
loader = DataLoader(TensorDataset(x, x[:, :4].argmax(1)), batch_size=16, shuffle=True)
backbone = Backbone()
backbone.load_state_dict(load_file(args.weights))
model = FineTuned(backbone, classes=4)
optimizer = torch.optim.AdamW(
    [{"params": model.backbone.parameters(), "lr": args.lr / 10}, {"params": model.head.parameters()}], lr=args.lr
)
for epoch in range(2):
    for inputs, targets in loader:
        loss = nn.functional.cross_entropy(model(inputs), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    print(epoch, loss.item())
