"""Step time of a training with the probe at `module` and at `step` against the same training bare, side by side in one run.

Prints the median of the last steps' times for each, and the ratios: python benchmarks/step_time.py [resnet18|tiny_gpt]
The three take turns, so that a machine that slows down slows all of them.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from pathlib import Path

SCRIPT = """
import sys, time, torch
from torch import nn
torch.manual_seed(0)
torch.set_num_threads(1)
if sys.argv[1] == "resnet18":
    import torchvision
    model = torchvision.models.resnet18(num_classes=10)
    batch = lambda: (torch.randn(32, 3, 64, 64), torch.randint(10, (32,)))
else:
    layer = nn.TransformerEncoderLayer(256, 8, 1024, batch_first=True, dropout=0.0)
    model = nn.Sequential(nn.Embedding(1000, 256), nn.TransformerEncoder(layer, 4), nn.Linear(256, 1000), nn.Flatten(0, 1))
    batch = lambda: (torch.randint(1000, (16, 128)), torch.randint(1000, (16 * 128,)))
optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
x, y = batch()
for step in range(9):
    start = time.perf_counter()
    optimizer.zero_grad()
    nn.functional.cross_entropy(model(x), y).backward()
    optimizer.step()
    print("STEP", time.perf_counter() - start, flush=True)
"""


def times(model: str, level: str, folder: Path) -> list[float]:
    """Seconds of each step after the third; level '' is bare."""
    import subprocess

    script = folder / "train.py"
    script.write_text(SCRIPT)
    command = [sys.executable, str(script), model]
    if level:
        out = Path(tempfile.mkdtemp(dir=folder)) / "run"
        command = [
            sys.executable,
            "-m",
            "detctl_agent.main",
            "record",
            "-o",
            str(out),
            "--level",
            level,
            "--",
            *command,
        ]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, check=True)
    found = [float(line.split()[1]) for line in done.stdout.splitlines() if line.startswith("STEP")]
    return found[3:]


def main() -> None:
    models = sys.argv[1:] or ["resnet18", "tiny_gpt"]
    with tempfile.TemporaryDirectory() as folder:
        for model in models:
            seconds: dict[str, list[float]] = {"": [], "module": [], "step": []}
            for _ in range(3):
                for level, found in seconds.items():
                    found += times(model, level, Path(folder))
            bare = statistics.median(seconds[""])
            print(f"{model}: bare {bare * 1000:.1f} ms a step")
            for level in ("module", "step"):
                median = statistics.median(seconds[level])
                print(
                    f"  {level:7s} {median * 1000:.1f} ms   {median / bare:.3f} x bare ({(median / bare - 1) * 100:+.1f} %)"
                )


if __name__ == "__main__":
    main()
