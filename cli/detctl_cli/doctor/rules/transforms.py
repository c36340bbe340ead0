"""Rule on random transforms. They are not wrong, but show first that a seed is missing."""

from __future__ import annotations

from collections.abc import Iterator

from detctl_proto.syntax.source.module import Module

from detctl_cli.doctor.finding import Finding
from detctl_cli.doctor.source import Program

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
    """Yields one finding for each file that uses random transforms."""
    for module in program.modules:
        used = [(call.lineno, short) for call, name in module.calls() if (short := _random_name(module, name))]
        if used:
            names = ", ".join(dict.fromkeys(short for _, short in used))
            yield Finding(
                "info", "worker-seeding", f"random transforms: {names}",
                "workers draw them, so that the same seed with another num_workers gives other images",
                "use the same num_workers on all machines, or seed each draw with the index of the sample", module.shown, used[0][0],
            )  # fmt: skip


def _random_name(module: Module, name: str) -> str:
    package, _, short = name.rpartition(".")
    return short if package.startswith(_PACKAGES) and (short.startswith("Random") or short in _RANDOM) else ""
