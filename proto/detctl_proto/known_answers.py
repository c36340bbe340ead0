"""The class of an environment in the known-answer test: agent, verdict and `detctl kat` must show the same name for the same answers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from hashlib import blake2b


def class_of_answers(answers: Mapping[str, str]) -> str:
    """Twelve hex digits that are equal for equal answers (question -> digest), whatever their order."""
    return blake2b(json.dumps(sorted(answers.items())).encode(), digest_size=6).hexdigest()
