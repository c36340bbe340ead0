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
from detctl_probe.digest import device_digests, n6 as digest, pending

device_digests.interpreted = True
with torch.inference_mode(), torch.device("meta"):  # buffers that are made here must do later, and lie on the host
    first_made = device_digests.of(torch.ones(1, device="cpu")).submit([torch.ones(3, device="cpu")])
    pending.mark()
generator = torch.Generator().manual_seed(0)
whole = torch.randn(6, 5, 7, 9, generator=generator)
layouts = {
    "contiguous": whole, "channels_last": whole.to(memory_format=torch.channels_last), "transposed": whole.transpose(1, 3),
    "strided": whole[::2, :, 1::3], "sliced": whole[1:3, 2:], "expanded": torch.ones(1, 4).expand(3, 4), "0-dim": torch.tensor(3.5),
    "empty": torch.empty(0, 3), "negative": torch.complex(torch.ones(3), torch.ones(3)).conj().imag,
    "block": torch.randn(1024, generator=generator), "blocks": torch.randn(3 * 1024 + 1, generator=generator),
    "unaligned": torch.arange(5000, dtype=torch.uint8)[3:],
}
dtypes = ("bool uint8 int8 int16 int32 int64 uint16 uint32 uint64 float16 bfloat16 float32 float64 complex32 complex64 complex128 "
          "float8_e4m3fn float8_e5m2 float8_e4m3fnuz float8_e5m2fnuz float8_e8m0fnu").split()


def laid_out(plain):
    # layouts of a flat tensor of 2520 elements
    cube = plain.reshape(6, 5, 7, 12)
    return {
        "contiguous": cube, "channels_last": cube.to(memory_format=torch.channels_last) if cube.dtype != torch.complex32 else cube,
        "transposed": cube.transpose(1, 3), "strided": cube[::2, :, 1::3], "sliced": cube[1:3, 2:], "unaligned": plain[3:],
        "expanded": plain[:5].reshape(5, 1).expand(5, 4), "0-dim": plain[7], "empty": plain[:0], "one block": plain[:1024],
        **({"conj": plain.conj(), "negative": plain.conj().imag} if plain.is_complex() and plain.dtype != torch.complex32 else {}),
    }


table = {}
for name in dtypes:
    if hasattr(torch, name):
        plain = (torch.arange(2520) % 113).to(torch.float32).to(getattr(torch, name))
        table.update(("%s %s" % (name, layout), tensor) for layout, tensor in laid_out(plain).items())
answers = {}


def digests(tensors, first=0):
    made = device_digests.of(torch.ones(1)).submit(tensors, first)
    pending.mark()
    found = []
    for one in made:
        if isinstance(one, digest.NoDigestError):
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
first_made[0].batch.wait()
answers["first"] = first_made[0].value() == digest.digest_tensor(torch.ones(3))
answers["agree"] = {
    name: made == digest.digest_tensor(tensor)
    for group in (layouts, table)
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
    assert answers["first"]
    assert len(answers["agree"]) > 200
    assert all(answers["agree"].values()), [name for name, equal in answers["agree"].items() if not equal]
    assert "sparse" in answers["sparse"].lower()
    assert answers["many"] == [True, True, True]
    assert answers["flips"] == 33


COMPILE = """
import json, sys
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from detctl_probe.digest import n6_triton as digest_triton


def ptx(capability, aligned):
    source = ASTSource(digest_triton._sums, {"table": "*i64", "out": "*i64", "BLOCK": "constexpr", "ALIGNED": "constexpr"},
                       {(2,): digest_triton.BLOCK, (3,): aligned}, {(0,): [["tt.divisibility", 16]], (1,): [["tt.divisibility", 16]]})
    return triton.compile(source, target=GPUTarget("cuda", capability, 32)).asm["ptx"]


json.dump({"%d %s" % (sm, aligned): ptx(sm, aligned) for sm in (80, 90, 100) for aligned in (True, False)}, sys.stdout)
"""


def test_it_compiles_for_ampere_hopper_and_blackwell_with_wide_loads_and_no_spills() -> None:
    """ptxas comes with Triton, so this needs no GPU. Nothing is launched."""
    ran = subprocess.run([sys.executable, "-c", COMPILE], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr[-3000:]
    made = json.loads(ran.stdout)
    assert len(made) == 6
    for name, ptx in made.items():
        capability, aligned = name.split()
        assert f".target sm_{capability}" in ptx, name
        assert "ld.local" not in ptx and "st.local" not in ptx, name
        assert "relaxed" in ptx, name
        if aligned == "True":
            assert "ld.global.v4.b32" in ptx, f"{name}: fp32 words are read sixteen bytes at a time"
