"""A transformer's block in training, with a fault to plant: what one machine does otherwise than another."""

import argparse
import os

import torch
from torch import nn
from torch.nn import functional


class Rounded(nn.Linear):
    """Multiplies as TF32 does: ten bits of the mantissa of each input are kept."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        low = (x.view(torch.int32) + 0x1000 & ~0x1FFF).view(torch.float32)
        return functional.linear(low, self.weight, self.bias)


class Racing(nn.GELU):
    """As if sums raced: some units in the last place, up or down by chance."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x) * (1 + (os.urandom(1)[0] - 128) * 2.0**-23)


class Half(nn.Linear):
    """A layer in another type."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return functional.linear(x.bfloat16(), self.weight.bfloat16(), self.bias.bfloat16()).float()


class Block(nn.Module):
    def __init__(self, fault: str) -> None:
        super().__init__()
        self.norm, self.qkv = nn.LayerNorm(32), nn.Linear(32, 96)
        self.up = {"rounded": Rounded, "half": Half}.get(fault, nn.Linear)(32, 64)
        self.act = (Racing if fault == "racing" else nn.GELU)()
        self.down = nn.Linear(64, 32)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = self.qkv(self.norm(x)).view(4, 8, 3, 2, 16).permute(2, 0, 3, 1, 4)
        x = x + functional.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).reshape(4, 8, 32)
        return x + self.down(self.act(self.up(x)))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--fault", default="")
    parser.add_argument("--by-hand", action="store_true", help="as in ../mlp/train.py")
    options = parser.parse_args()
    torch.manual_seed(0)
    data = torch.utils.data.TensorDataset(torch.randn(40, 8, 32), torch.randn(40, 8, 32))
    block = Block(options.fault)
    optimizer = None if options.by_hand else torch.optim.AdamW(block.parameters(), lr=1e-2)
    for step, (x, y) in enumerate(torch.utils.data.DataLoader(data, batch_size=4)):
        if options.fault == "flip" and step == 7:
            with torch.no_grad():
                block.down.weight.view(torch.int32)[3, 5] ^= 1 << 12
        block.zero_grad()
        functional.mse_loss(block(x), y).backward()
        if optimizer is not None:
            optimizer.step()
        else:
            with torch.no_grad():
                for parameter in block.parameters():
                    parameter -= 0.1 * parameter.grad


if __name__ == "__main__":
    main()
