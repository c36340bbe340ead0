"""The Triton form and its two phases, in Triton's interpreter: a process of its own, since Triton asks for it when it is imported."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

pytest.importorskip("triton", reason="no Triton beside this torch")

SCRIPT = """
import json, struct, sys
import torch
from detctl_probe import device_digests, digest, pending

device_digests.interpreted = True
generator = torch.Generator().manual_seed(0)
whole = torch.randn(6, 5, 7, 9, generator=generator)
layouts = {
    "contiguous": whole, "channels_last": whole.to(memory_format=torch.channels_last), "transposed": whole.transpose(1, 3),
    "strided": whole[::2, :, 1::3], "sliced": whole[1:3, 2:], "expanded": torch.ones(1, 4).expand(3, 4), "0-dim": torch.tensor(3.5),
    "empty": torch.empty(0, 3), "negative": torch.complex(torch.ones(3), torch.ones(3)).conj().imag,
    "block": torch.randn(1024, generator=generator), "blocks": torch.randn(3 * 1024 + 1, generator=generator),
    "unaligned": torch.arange(5000, dtype=torch.uint8)[3:],
}
dtypes = ("bool uint8 int8 int16 int32 int64 float16 bfloat16 float32 float64 complex64 complex128 float8_e4m3fn float8_e5m2").split()
kinds = {name: (torch.arange(2500) % 113).to(torch.float32).to(getattr(torch, name)) for name in dtypes}
answers = {}


def digests(tensors, first=0):
    made = device_digests.of(torch.ones(1)).submit(tensors, first)
    pending.mark()
    found = []
    for one in made:
        if isinstance(one, digest.Unfit):
            found.append(str(one))
            continue
        one.batch.wait()
        found.append(one.value())
    return found


for name, first, tensor in [
    ("fp32 zero", 0, torch.zeros(1)), ("fp32 arange", 0, torch.arange(10.0)), ("bf16 arange", 0, torch.arange(10, dtype=torch.bfloat16)),
    ("fp64 arange", 0, torch.arange(10, dtype=torch.float64)), ("uint8", 0, torch.arange(256, dtype=torch.uint8)),
    ("zeros", 0, torch.zeros(1000)), ("int64", 0, torch.arange(1000)), ("far", 2**33, torch.arange(10.0)),
]:
    a, b = struct.unpack("<QQ", digests([tensor], first)[0])
    answers[name] = "%016x %016x" % (a, b)
answers["agree"] = {
    name: made == digest.digest_tensor(tensor)
    for group in (layouts, kinds)
    for (name, tensor), made in zip(group.items(), digests(list(group.values())))
}
answers["sparse"] = digests([torch.eye(3).to_sparse()])[0]
# More than a batch holds, and batches that are used again.
device_digests.SLOTS = 4
device_digests.forget()
many = [torch.full((3,), float(n)) for n in range(11)]
answers["many"] = [digests(many) == [digest.digest_tensor(one) for one in many] for _ in range(3)]
flips = []
for bit in range(32):
    flipped = torch.ones(2000)
    flipped.view(torch.int32)[1500] ^= (1 << bit) - (1 << 32 if bit == 31 else 0)
    flips.append(flipped)
answers["flips"] = len(set(digests([torch.ones(2000), *flips])))
json.dump(answers, sys.stdout)
"""

VECTORS = {
    "fp32 zero": "887fc09c32e79462 637e0b1d0e944ac8",
    "fp32 arange": "e0af48c3f6e76072 00f8a8e754ac6a9e",
    "bf16 arange": "ab097476d8057592 45ffed8401df9888",
    "fp64 arange": "9c05f878f0239d71 1693f31511a56d68",
    "uint8": "2f57969f0854eaf8 e7c189fbd6a9100b",
    "zeros": "99622419ae4f91b2 9ab89325b261dc44",
    "int64": "7aafce23b3a8272c 3b407a997a595734",
    "far": "fb4f4361c13c33f0 cbe838611cc59c50",
}


def test_the_triton_form_in_its_interpreter() -> None:
    environ = {**os.environ, "TRITON_INTERPRET": "1"}
    ran = subprocess.run([sys.executable, "-c", SCRIPT], env=environ, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    answers = json.loads(ran.stdout)
    assert {name: answers[name] for name in VECTORS} == VECTORS
    assert answers["agree"] and all(answers["agree"].values()), answers["agree"]
    assert "sparse" in answers["sparse"].lower()
    assert answers["many"] == [True, True, True]
    assert answers["flips"] == 33


COMPILE = """
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from detctl_probe import digest_triton

source = ASTSource(digest_triton._sums, {"table": "*i64", "out": "*i64", "BLOCK": "constexpr", "ALIGNED": "constexpr"},
                   {(2,): digest_triton.BLOCK, (3,): True}, {(0,): [["tt.divisibility", 16]], (1,): [["tt.divisibility", 16]]})
made = triton.compile(source, target=GPUTarget("cuda", 90, 32))
print(made.asm["ptx"])
"""


def test_it_compiles_for_hopper_with_wide_loads_and_no_spills() -> None:
    """ptxas comes with Triton, so this needs no GPU."""
    ran = subprocess.run([sys.executable, "-c", COMPILE], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr[-3000:]
    ptx = ran.stdout
    assert ".target sm_90" in ptx
    assert "ld.global.v4.b32" in ptx, "fp32 words are read sixteen bytes at a time"
    assert "ld.local" not in ptx and "st.local" not in ptx
    assert "relaxed" in ptx
