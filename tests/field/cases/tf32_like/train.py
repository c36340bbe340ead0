"""Checks on the CPU how a model trains where matrix units round their operands."""
import os

import torch
from torch import nn
from torch.nn import functional as F

ROUND = os.getenv("ALLOW_TF32", "0") == "1"


class Tensor32(torch.autograd.Function):
    """Keeps ten bits of the fraction; gradients pass."""

    @staticmethod
    def forward(ctx, x):
        return (x.contiguous().view(torch.int32) & ~0x1FFF).view(torch.float32)

    @staticmethod
    def backward(ctx, grad):
        return grad


class MatrixUnitLinear(nn.Linear):
    def forward(self, x):
        if ROUND:
            return F.linear(Tensor32.apply(x), Tensor32.apply(self.weight), self.bias)
        return super().forward(x)


class Mixer(nn.Module):
    def __init__(self, tokens=8, dim=16):
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.tokens = MatrixUnitLinear(tokens, tokens)
        self.channels = MatrixUnitLinear(dim, dim)
        self.head = MatrixUnitLinear(dim, 5)

    def forward(self, x):
        h = self.norm(x)
        h = x + self.tokens(h.transpose(1, 2)).transpose(1, 2)
        return self.head(F.gelu(self.channels(h)).mean(1))


def main():
    torch.manual_seed(31)
    model = Mixer()
    optimizer = torch.optim.NAdam(model.parameters(), lr=2e-3)
    for step in range(14):
        x = torch.randn(24, 8, 16)
        loss = F.cross_entropy(model(x), x[:, 0, :5].argmax(1))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        print(step, loss.item())


main()
