"""Checks interventions on the device: they set what they claim to set, and mask what they claim to mask."""

from __future__ import annotations

from functools import partial

from checks import Check, Figures, Part, Place, expect
from comparing import compared, run_of
from recording import Recording
from together import at_once, recorded


def twins(
    place: Place, name: str, arguments: list[str], interventions: dict[str, str], level: str = "module"
) -> list[Recording]:
    """Records two runs of one configuration."""
    runs = [
        partial(recorded, place, f"{name}-{twin}", arguments, level=level, twin=twin, interventions=interventions)
        for twin in (0, 1)
    ]
    return at_once(place, runs)


def acted(run: Recording, name: str) -> str:
    """Returns what the intervention read back. Fails the check if it did not act."""
    row = run.intervention(name)
    expect(bool(row.get("acted")), f"{name} did not act: {row.get('detail', 'it is not in the seal')}")
    return str(row["detail"])


def masked(cause: str, choice: str, place: Place) -> Figures:
    """Checks that twins of a planted race are identical under deterministic=on."""
    arguments = ["planted.py", cause, place.device, *([choice] if choice else [])]
    runs = twins(place, f"deterministic-{cause}-{choice}", arguments, {"deterministic": "on"})
    detail = acted(runs[0], "deterministic")
    found = compared([run_of(run, "gpu1", twin) for twin, run in enumerate(runs)])
    figures = {"outcome": found.outcome, "detail": detail}
    if cause == "attention":  # by the name of the operation: the switch alone does not reach it
        expect(
            "Attention" in detail and "in its deterministic form" in detail,
            "no fused kernel ran in its deterministic form",
            figures,
        )
    expect(found.outcome == "identical", f"{found.outcome}: {found.site} {'; '.join(found.because)}", figures)
    expect(runs[0].output == runs[1].output, "other final weights", figures)
    return figures


def precision(place: Place) -> Figures:
    """Checks that precision=highest switches TF32 off: the weights are those of a program that does not allow TF32."""
    on, off = at_once(
        place,
        [
            partial(
                recorded,
                place,
                f"precision-{choice}",
                ["planted.py", "tf32", place.device, choice],
                interventions=given,
            )
            for choice, given in (("on", {"precision": "highest"}), ("off", {}))
        ],
    )
    detail = acted(on, "precision")
    expect(on.output == off.output, "TF32 still acts", {"detail": detail})
    return {"detail": detail}


def attention(place: Place) -> Figures:
    """Checks that attention=math gives the weights of a program that selects the formula in its code."""
    arguments = ["planted.py", "attention", place.device]
    held, selected = at_once(
        place,
        [
            partial(recorded, place, "attention-held", arguments, interventions={"attention": "math"}),
            partial(recorded, place, "attention-selected", [*arguments, "math"]),
        ],
    )
    detail = acted(held, "attention")
    expect(
        held.output == selected.output, "other weights than the formula's: a fused kernel still ran", {"detail": detail}
    )
    return {"detail": detail}


def seed(place: Place) -> Figures:
    """Checks that twins whose dropout uses an unseeded generator are identical under seed=N:steps."""
    runs = twins(place, "seed", ["planted.py", "dropout-seed", place.device], {"seed": "7:steps"})
    detail = acted(runs[0], "seed")
    expect(runs[0].output == runs[1].output, "other final weights under seed=7:steps", {"detail": detail})
    return {"detail": detail}


MASKED = (
    ("index-add", ""), ("scatter", ""), ("cudnn-benchmark", ""), ("attention", "flash"), ("attention", "efficient"),
)  # fmt: skip
PART = Part(
    "interventions",
    "interventions act on this device, and mask what they claim to mask",
    seconds=80,
    cpu_seconds=150,
    checks=(
        *(
            Check(
                f"interventions.deterministic.{'-'.join(filter(None, (cause, choice)))}", partial(masked, cause, choice),
                on_cpu=choice == "flash",
            )
            for cause, choice in MASKED
        ),
        Check("interventions.precision", precision, on_cpu=True),
        Check("interventions.attention", attention, on_cpu=True),
        Check("interventions.seed", seed, on_cpu=True),
    ),
)  # fmt: skip
