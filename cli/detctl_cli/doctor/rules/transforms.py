"""Random transforms in use: not wrong, and the first place where a seed that is missing shows."""

from __future__ import annotations

from collections.abc import Iterator

from detctl_cli.doctor.finding import Finding
from detctl_cli.doctor.source import Module, Program

_PACKAGES = ("torchvision.transforms", "albumentations", "torchaudio.transforms", "kornia.augmentation")
_RANDOM = frozenset(
    [
        "ColorJitter",
        "AutoAugment",
        "RandAugment",
        "TrivialAugmentWide",
        "AugMix",
        "MixUp",
        "CutMix",
        "ElasticTransform",
        "ScaleJitter",
        "GaussianBlur",
        "HorizontalFlip",
        "VerticalFlip",
        "ShiftScaleRotate",
        "HueSaturationValue",
        "GaussNoise",
        "OneOf",
        "SomeOf",
        "TimeMasking",
        "FrequencyMasking",
    ]
)


def random_transforms(program: Program) -> Iterator[Finding]:
    """One finding a file that names its random transforms."""
    for module in program.modules:
        used = [(call.lineno, short) for call, name in module.calls() if (short := _random_name(module, name))]
        if used:
            names = ", ".join(dict.fromkeys(short for _, short in used))
            yield Finding(
                "info", "worker-seeding", f"random transforms: {names}",
                "they draw in the workers: the same seed with another num_workers gives other images",
                "keep num_workers equal on all machines, or draw from the sample's index", module.shown, used[0][0],
            )  # fmt: skip


def _random_name(module: Module, name: str) -> str:
    package, _, short = name.rpartition(".")
    return short if package.startswith(_PACKAGES) and (short.startswith("Random") or short in _RANDOM) else ""
