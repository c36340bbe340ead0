import argparse
import random

import numpy as np
import torch
from engine import Engine
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

parser = argparse.ArgumentParser()
parser.add_argument("--max-epochs", type=int, default=4)
parser.add_argument("--out", default="out")
parser.add_argument("--resume-from")
args = parser.parse_args()

random.seed(17)
np.random.seed(17)
torch.manual_seed(17)
points = torch.from_numpy(np.random.uniform(-2, 2, (192, 6)).astype("float32"))
values = (points.sin().sum(1, keepdim=True) + 0.1 * points[:, :1]).float()
loader = DataLoader(TensorDataset(points, values), batch_size=32, shuffle=True)
model = nn.Sequential(nn.Linear(6, 40), nn.Tanh(), nn.Linear(40, 1))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, nesterov=True)
scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=1, gamma=0.5)
engine = Engine(model, optimizer, scheduler, nn.MSELoss(), args.out)
if args.resume_from:
    engine.load(args.resume_from)
engine.run(loader, args.max_epochs)
