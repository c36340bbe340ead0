"""Lines that seem to draw from a global generator."""

from __future__ import annotations

import pytest
from detctl_probe.observe.randomness import uses


@pytest.mark.parametrize(
    ("generator", "line", "draws"),
    [
        ("random", "random.shuffle(names)", True),
        ("random", "random.seed(0)", False),
        ("random", "r = random.Random(3)", False),
        ("random", "x = 1  # random.random()", False),
        ("random", "np.random.rand(3)", False),
        ("numpy", "np.random.rand(3)", True),
        ("numpy", "rng = numpy.random.default_rng(3)", False),
        ("numpy", "train, test = train_test_split(x, y, test_size=0.25)", True),
        ("numpy", "train, test = train_test_split(x, y, random_state=3)", False),
        ("numpy", "table = table.sample(frac=1)", True),
        ("numpy", "table = table.sample(n=8, random_state=1)", False),
        ("numpy", "action = distribution.sample()", False),
        ("numpy", "data = data.shuffle()", True),
        ("numpy", "data = data.shuffle(seed=3)", False),
        ("torch", "x = torch.randn(3)", True),
        ("torch", "model = nn.Linear(3, 2)", True),
        ("torch", "loader = DataLoader(data, shuffle=True)", True),
        ("torch", "class Net(nn.Module):", False),
        ("torch", "torch.manual_seed(0)", False),
        ("torch", "from torch.nn import Linear", False),
    ],
)
def test_lines_that_draw(generator: str, line: str, draws: bool) -> None:
    assert uses.lines(f"import x\n{line}\n", generator) == ([2] if draws else [])
