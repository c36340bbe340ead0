"""Asks torch questions whose inputs are the same everywhere, and prints the digests of its answers.

`python -m detctl_selfcheck` prints one JSON document:

    {"torch": "2.14.1", "settings": {"threads": 2, "cpu_capability": "AVX512", …}, "seconds": 1.2, "answers": {"cpu/gemm": "<32 hex>", …}}

The inputs are integers that are scaled without rounding. No generator makes them: generators have questions of their own. Machines
with equal answers form one class; the questions whose answers differ name what the machines compute differently. A question that
torch cannot compute on this machine has no answer in the document.

An agent also runs this file's text alone (`python -c TEXT`) in the environment of a training, in which only the probe is staged: it
imports nothing but torch, the probe's digest and the standard library.
"""

from __future__ import annotations

import json
import sys
import time
import warnings
from typing import Any, Callable, Dict, Iterator, Tuple

from detctl_probe.digest.n6 import digest_tensor

Question = Callable[[Any, Any], Any]  # (torch, device) -> a tensor


def numbers(torch: Any, device: Any, *shape: int, salt: int = 0) -> Any:
    """A tensor of floats in [-0.5, 0.5) with 24 bits each, the same on every machine."""
    count = 1
    for size in shape:
        count *= size
    mixed = (torch.arange(count, dtype=torch.int64) + salt) * 2654435761 % (1 << 24)
    return ((mixed - (1 << 23)).to(torch.float32) / (1 << 24)).reshape(shape).to(device)


def _gemm(torch: Any, device: Any) -> Any:
    return numbers(torch, device, 256, 512) @ numbers(torch, device, 512, 256, salt=1)


def _gemm_bf16(torch: Any, device: Any) -> Any:
    a, b = numbers(torch, device, 256, 512), numbers(torch, device, 512, 256, salt=1)
    return a.to(torch.bfloat16) @ b.to(torch.bfloat16)


def _gemm_fp64(torch: Any, device: Any) -> Any:
    return numbers(torch, device, 128, 256).double() @ numbers(torch, device, 256, 128, salt=1).double()


def _convolution(torch: Any, device: Any) -> Any:
    x, w = numbers(torch, device, 8, 16, 32, 32), numbers(torch, device, 32, 16, 3, 3, salt=2)
    return torch.nn.functional.conv2d(x, w, padding=1)


def _convolution_backward(torch: Any, device: Any) -> Any:
    x, w = numbers(torch, device, 8, 16, 32, 32), numbers(torch, device, 32, 16, 3, 3, salt=2).requires_grad_()
    with torch.enable_grad():
        torch.nn.functional.conv2d(x, w, padding=1).square().sum().backward()
    return w.grad


def _sum(torch: Any, device: Any) -> Any:
    return numbers(torch, device, 1 << 20).sum()


def _sum_of_rows(torch: Any, device: Any) -> Any:
    return numbers(torch, device, 512, 1025).sum(1)


def _exp(torch: Any, device: Any) -> Any:
    return (numbers(torch, device, 1 << 16) * 16).exp()


def _tanh(torch: Any, device: Any) -> Any:
    return (numbers(torch, device, 1 << 16) * 8).tanh()


def _gelu(torch: Any, device: Any) -> Any:
    return torch.nn.functional.gelu(numbers(torch, device, 1 << 16) * 8)


def _softmax(torch: Any, device: Any) -> Any:
    return torch.softmax(numbers(torch, device, 64, 1000) * 16, -1)


def _layer_norm(torch: Any, device: Any) -> Any:
    return torch.nn.functional.layer_norm(numbers(torch, device, 64, 1000), (1000,))


def _attention(torch: Any, device: Any) -> Any:
    q, k, v = (numbers(torch, device, 2, 4, 64, 32, salt=salt) * 4 for salt in (3, 4, 5))
    return torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)


def _denormals(torch: Any, device: Any) -> Any:
    return numbers(torch, device, 1024) * 1e-38 * 0.01


def _rng_uniform(torch: Any, device: Any) -> Any:
    return torch.rand(10_000, generator=torch.Generator(device).manual_seed(0), device=device)


def _rng_normal(torch: Any, device: Any) -> Any:
    return torch.randn(10_000, generator=torch.Generator(device).manual_seed(0), device=device)


def _rng_permutation(torch: Any, device: Any) -> Any:
    return torch.randperm(10_000, generator=torch.Generator(device).manual_seed(0), device=device)


QUESTIONS: Dict[str, Question] = {
    "gemm": _gemm,
    "gemm-bf16": _gemm_bf16,
    "gemm-fp64": _gemm_fp64,
    "convolution": _convolution,
    "convolution-backward": _convolution_backward,
    "sum": _sum,
    "sum-of-rows": _sum_of_rows,
    "exp": _exp,
    "tanh": _tanh,
    "gelu": _gelu,
    "softmax": _softmax,
    "layer-norm": _layer_norm,
    "attention": _attention,
    "denormals": _denormals,
    "rng-uniform": _rng_uniform,
    "rng-normal": _rng_normal,
    "rng-permutation": _rng_permutation,
}


def answers(torch: Any) -> Iterator[Tuple[str, str]]:
    """Yields (`device/question`, digest in hex) for each question that torch can compute, on the CPU and on the first GPU."""
    devices = ["cpu"] + (["cuda:0"] if torch.cuda.is_available() else [])
    for device in devices:
        for name, ask in QUESTIONS.items():
            try:
                with torch.no_grad():
                    tensor = ask(torch, torch.device(device))
            except RuntimeError:  # no such kernel here (NotImplementedError is one)
                continue
            yield "%s/%s" % (device.partition(":")[0], name), digest_tensor(tensor.detach().cpu()).hex()


def document(torch: Any) -> Dict[str, Any]:
    """The document that the module's docstring shows."""
    start = time.perf_counter()
    found = dict(answers(torch))
    capability = getattr(getattr(torch.backends, "cpu", None), "get_cpu_capability", None)
    settings: Dict[str, Any] = {
        "threads": torch.get_num_threads(),
        "cpu_capability": capability() if capability is not None else None,
    }
    if torch.cuda.is_available():
        settings["gpu"] = torch.cuda.get_device_name(0)
        settings["cuda"] = torch.version.cuda
    return {
        "torch": torch.__version__,
        "settings": settings,
        "seconds": round(time.perf_counter() - start, 3),
        "answers": found,
    }


def main() -> int:
    """Prints the document and returns 0, or prints {"error", "message"} and returns 2 where torch is missing."""
    warnings.simplefilter("ignore")
    try:
        import torch
    except ImportError as error:
        print(json.dumps({"error": "no-torch", "message": "%s has no torch (%s)" % (sys.executable, error)}))
        return 2
    print(json.dumps(document(torch)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
