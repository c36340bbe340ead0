"""A budget and level step in real trainings: the seal reports what is left out, and the weights do not change."""

from __future__ import annotations

from pathlib import Path

from collector import Collected, collect, script, without_probe
from model_twins import PARAMETERS, PREAMBLE

BODY = """
model = net()
optimizer = torch.optim.Adam(model.parameters())
data = torch.utils.data.TensorDataset(torch.randn(96, 8), torch.randint(4, (96,)))
loader = torch.utils.data.DataLoader(data, batch_size=6, shuffle=True, num_workers=WORKERS)
for x, y in loader:
    optimizer.zero_grad()
    nn.functional.cross_entropy(model(x), y).backward()
    optimizer.step()
weights(model)
"""
STEPS = 16


def run(folder: Path, *, workers: int = 0, level: str = "module", budget: float | None = None) -> Collected:
    command = script(folder, PREAMBLE + BODY.replace("WORKERS", str(workers)))
    found = collect(command, cwd=folder, level=level, budget=budget, start_warm=True)
    assert found.returncode == 0 and found.stderr == ""
    assert found.stdout == without_probe(command, cwd=folder, start_warm=True).stdout
    return found


def test_a_budget_leaves_steps_out_and_reports_which(tmp_path: Path) -> None:
    for workers in (0, 1):
        seal = (main := run(tmp_path, workers=workers, budget=1e-6).main).seal
        assert seal is not None and seal["budget"]["share"] == 1e-6 and seal["budget"]["kept"] is False
        first, *later = seal["budget"]["plans"]
        assert first == {"from": 0, "periods": {}}
        # A training this small cannot be watched for a millionth of its time: all that can be thinned is, after two counted steps.
        assert later[0]["from"] == 3
        assert {stage: later[0]["periods"][stage] for stage in ("forward", "backward", "update")} == {
            "forward": 64,
            "backward": 64,
            "update": 64,
        }
        for stage in ("forward", "backward", "update"):
            assert {record.step for record in main.of(stage)} == {0, 1, 2}, stage
            rows = [row for row in main.seal_row("unobserved") if row["stage"] == stage and "budget" in row["why"]]
            assert [row["what"] for row in rows] == ["steps 3 to 15 except those that 64 divides"]
        for stage in ("batch", "loss", "rng", "order"):
            assert {record.step for record in main.of(stage)} >= set(range(STEPS)), stage


def test_a_wide_budget_leaves_nothing_out(tmp_path: Path) -> None:
    main, free = run(tmp_path, budget=0.999).main, run(tmp_path).main
    assert main.seal is not None and main.seal["budget"]["plans"] == [{"from": 0, "periods": {}}]
    assert main.compared() == free.compared()
    assert free.seal is not None and "budget" not in free.seal


def test_the_cost_is_reported_by_stage_and_that_of_workers_apart(tmp_path: Path) -> None:
    seal = run(tmp_path, workers=1).main.seal
    assert seal is not None
    assert {"forward", "backward", "update", "batch", "loss"} - {"batch"} <= seal["cost_by_stage"].keys()
    assert {"sample", "batch"} <= seal["worker_cost_by_stage"].keys()
    assert abs(sum(seal["cost_by_stage"].values()) - seal["cost_s"]) < 1e-4
    assert seal["step_s"]["steps"] == STEPS - 1
    assert 0 < seal["share"]["total"] < 1 and 0 < seal["share"]["median"] < 1


def test_level_step_takes_roots_parameters_and_gradients_in_turn(tmp_path: Path) -> None:
    main = run(tmp_path, level="step").main
    whole = run(tmp_path).main
    folds = {(record.stage, record.step): record.shape[0] for record in main.records if record.dtype == "fold"}
    assert folds["forward", 3] == 1  # the root alone
    assert folds["backward", 3] == 1 and len(PARAMETERS) == 4
    assert folds["update", 3] == 2  # and the learning rate
    assert {*PARAMETERS, "group0.lr"} < set(whole.sites("update", 3))
    assert not main.of("sample")
    reported = {row["stage"] for row in main.seal_row("unobserved") if row["why"].startswith("level step")}
    assert reported == {"sample", "forward", "backward", "update"}
