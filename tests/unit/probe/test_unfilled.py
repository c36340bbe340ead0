"""Memory that a script makes without content and does not fill."""

from __future__ import annotations

import ast

import pytest
from detctl_probe.observe.outside.unfilled import unfilled

HEAD = "import torch\nimport numpy as np\nfrom torch import nn\n"


@pytest.mark.parametrize(
    ("source", "names", "filled"),
    [
        ("self.token = nn.Parameter(torch.empty(1, 4))", ("token",), ""),
        ("self.register_buffer('scale', self.w.new_empty(4))", ("scale",), ""),
        ("w = torch.empty(3)\nself.weight = nn.Parameter(w)", ("w", "weight"), ""),
        ("self.a = nn.Parameter(torch.Tensor(3, 4))", ("a",), ""),
        ("self.w = nn.Parameter(torch.empty(4))\nnn.init.normal_(self.w)", ("w",), "filled"),
        ("self.w = nn.Parameter(torch.empty(4))\nself.w.data.zero_()", ("w",), "filled"),
        ("out = np.empty(4)\nout[:] = 0", ("out",), "filled"),
        ("out = np.empty(4)\nfor i in found:\n    out[i] = 1", ("out",), "partly"),
        ("out = torch.empty(4)\ntorch.add(a, b, out=out)", ("out",), "filled"),
    ],
)
def test_what_fills_memory(source: str, names: tuple[str, ...], filled: str) -> None:
    ((found,)) = unfilled(ast.parse(HEAD + source))
    assert (found.names, found.filled, found.line) == (names, filled, 4)


@pytest.mark.parametrize("source", ["x = torch.Tensor([1, 2])", "x = torch.zeros(3)", "x = torch.Tensor(rows)"])
def test_memory_with_content_is_not_found(source: str) -> None:
    assert unfilled(ast.parse(HEAD + source)) == []
