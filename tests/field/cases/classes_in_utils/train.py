import argparse

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from utils import load_graph

parser = argparse.ArgumentParser()
parser.add_argument("--seed", type=int, default=42)
parser.add_argument("--epochs", type=int, default=12)
parser.add_argument("--hidden", type=int, default=16)
parser.add_argument("--dropout", type=float, default=0.3)
args = parser.parse_args()
np.random.seed(args.seed)
torch.manual_seed(args.seed)
adj, features, onehot = (torch.from_numpy(a) for a in load_graph())
labels = onehot.argmax(1)


class GCN(nn.Module):
    def __init__(self, nfeat, nhid, nclass, dropout):
        super().__init__()
        self.first, self.second, self.dropout = nn.Linear(nfeat, nhid), nn.Linear(nhid, nclass), dropout

    def forward(self, x, adj):
        x = F.relu(adj @ self.first(x))
        x = F.dropout(x, self.dropout, self.training)
        return F.log_softmax(adj @ self.second(x), dim=1)


model = GCN(features.shape[1], args.hidden, onehot.shape[1], args.dropout)
optimizer = torch.optim.Adam(model.parameters(), lr=0.01, weight_decay=5e-4)
for epoch in range(args.epochs):
    model.train()
    optimizer.zero_grad()
    loss = F.nll_loss(model(features, adj)[:24], labels[:24])
    loss.backward()
    optimizer.step()
    print(f"Epoch: {epoch + 1:04d} loss_train: {loss.item():.4f}")
