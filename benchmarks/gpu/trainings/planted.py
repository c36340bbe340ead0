"""Trains a small model with one planted cause: `planted.py CAUSE DEVICE [CHOICE]`. Twins differ only in ACCEPTANCE_TWIN.

It prints the digest of the final weights. Without a cause (`clean`) it repeats itself bit for bit.
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import os
import struct
import sys
import warnings

import torch
from torch import nn

warnings.simplefilter("ignore")
CAUSE, DEVICE = sys.argv[1], sys.argv[2]
CHOICE = sys.argv[3] if len(sys.argv) > 3 else ""
TWIN = int(os.environ.get("ACCEPTANCE_TWIN", "0"))
CUDA = DEVICE.startswith("cuda")
STEPS, FAULTY_STEP = 4, 2
WIDTH, ROWS, SPREAD = 64, 8, (1 << 17 if CUDA else 1 << 10)

torch.manual_seed(0)
torch.backends.cudnn.benchmark = False
torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False


class Spread(nn.Module):
    """Adds many numbers into few rows, with a kernel that uses atomics: index_add or scatter_add."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how = how
        self.register_buffer("summands", torch.randn(SPREAD, WIDTH) * (ROWS / SPREAD) ** 0.5)
        self.register_buffer("rows", torch.randint(0, ROWS, (SPREAD,)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        summands = self.summands * (1.0 + x.mean())
        empty = x.new_zeros(ROWS, WIDTH)
        if self.how == "index-add":
            return x + empty.index_add(0, self.rows, summands)
        return x + empty.scatter_add(0, self.rows[:, None].expand(-1, WIDTH), summands)


class Convolution(nn.Module):
    """A convolution whose algorithm cuDNN chooses by timing."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(4, 32, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.conv(x.reshape(ROWS, 4, 4, 4).repeat(1, 1, 8, 8)).mean((2, 3)).repeat(1, 2)


class Attention(nn.Module):
    """Attention by `math`, `flash` or `efficient` (CHOICE), else by torch's choice. It is long enough for a backward with many blocks."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv = nn.Linear(WIDTH, 3 * WIDTH)
        self.length = 1024 if CUDA else 64
        self.register_buffer("noise", torch.randn(1, self.length, WIDTH))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = self.qkv(self.noise + x[:, None, :]).view(ROWS, self.length, 3, 1, WIDTH).permute(2, 0, 3, 1, 4)
        if CUDA:
            q, k, v = (one.to(torch.bfloat16) for one in (q, k, v))
        with backends():
            mixed = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        return x + mixed.float().mean((1, 2))


def backends() -> contextlib.AbstractContextManager[object]:
    """Returns the attention kernels that CHOICE allows. Without CHOICE torch decides."""
    from torch.nn.attention import SDPBackend, sdpa_kernel

    names = {"math": SDPBackend.MATH, "flash": SDPBackend.FLASH_ATTENTION, "efficient": SDPBackend.EFFICIENT_ATTENTION}
    return sdpa_kernel(names[CHOICE]) if CHOICE else contextlib.nullcontext()


class RowSum(nn.Module):
    """Sums rows in a Triton kernel with two autotuned forms that add in different orders. Chance decides which form a twin uses."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("summands", torch.randn(ROWS, 4096))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        sums = torch.ops.acceptance.row_sum((self.summands * (1.0 + x.mean())).detach())
        return x * (sums / 64)[:, None]


def define_row_sum() -> None:
    """Defines torch.ops.acceptance.row_sum, on a Triton kernel."""
    import triton
    from row_sum_kernel import row_sum_kernel

    @torch.library.custom_op("acceptance::row_sum", mutates_args=())
    def row_sum(x: torch.Tensor) -> torch.Tensor:
        out = torch.empty(x.shape[0], device=x.device)
        # In practice one of the autotuner's configurations wins by very little; here the twins choose different ones.
        block = triton.next_power_of_2(128 if TWIN % 2 else 1024)
        row_sum_kernel[(x.shape[0],)](x, out, x.shape[1], BLOCK=block)
        return out


def define_faulty() -> None:
    """Defines torch.ops.acceptance.faulty: the identity, except for the bits of `mask` in the first element."""

    @torch.library.custom_op("acceptance::faulty", mutates_args=())
    def faulty(x: torch.Tensor, mask: int) -> torch.Tensor:
        out = x.clone()
        if mask:
            word = struct.unpack("<I", peek(out))[0] ^ mask
            poke(out, struct.pack("<I", word))
        return out

    faulty.register_autograd(lambda ctx, grad: (grad, None))


def peek(tensor: torch.Tensor) -> bytes:
    """Reads the first four bytes of a tensor without torch."""
    held = ctypes.create_string_buffer(4)
    if tensor.is_cuda:
        torch.cuda.synchronize()
        assert driver().cuMemcpyDtoH_v2(held, ctypes.c_uint64(tensor.data_ptr()), ctypes.c_size_t(4)) == 0
    else:
        ctypes.memmove(held, tensor.data_ptr(), 4)
    return held.raw


def poke(tensor: torch.Tensor, content: bytes) -> None:
    """Writes the first four bytes of a tensor without torch."""
    if tensor.is_cuda:
        assert driver().cuMemcpyHtoD_v2(ctypes.c_uint64(tensor.data_ptr()), content, ctypes.c_size_t(4)) == 0
    else:
        ctypes.memmove(tensor.data_ptr(), content, 4)


def driver() -> ctypes.CDLL:
    """Returns CUDA's driver. torch has made its context current in this thread."""
    return ctypes.CDLL("libcuda.so.1")


def made() -> nn.Module:
    """Returns the layer between stem and head."""
    if CAUSE in ("index-add", "scatter"):
        return Spread(CAUSE)
    if CAUSE == "cudnn-benchmark":
        torch.backends.cudnn.benchmark = True
        return Convolution()
    if CAUSE == "tf32":
        torch.backends.cuda.matmul.allow_tf32 = CHOICE == "on"
    if CAUSE == "triton-autotune":
        define_row_sum()
        return RowSum()
    if CAUSE == "attention":
        return Attention()
    if CAUSE == "dropout-seed":
        return nn.Dropout(0.5)
    return nn.Identity()


def main() -> None:
    """Trains, and prints the digest of the weights."""
    flip = CAUSE == "bit-flip"
    if flip:
        define_faulty()
        torch.use_deterministic_algorithms(True, warn_only=True)
    model = nn.Sequential(nn.Linear(WIDTH, WIDTH), made(), nn.Tanh(), nn.Linear(WIDTH, 8)).to(DEVICE)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    x, y = torch.randn(STEPS, ROWS, WIDTH), torch.randint(0, 8, (STEPS, ROWS))
    if CAUSE == "dropout-seed":
        torch.seed()  # the mistake: no seed fixes the generator of dropout
    for step in range(STEPS):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x[step].to(DEVICE)), y[step].to(DEVICE))
        if flip:  # flips one bit in one twin at one step, directly in memory, so that no operation shows it
            loss = torch.ops.acceptance.faulty(loss, 1 << 17 if TWIN % 2 and step == FAULTY_STEP else 0)
        loss.backward()
        optimizer.step()
    for name, parameter in model.named_parameters():
        print(name, hashlib.sha256(parameter.detach().cpu().numpy().tobytes()).hexdigest())


main()
