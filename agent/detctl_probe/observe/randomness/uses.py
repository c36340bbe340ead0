"""Finds the lines of the main script that seem to use a global generator.

The probe does not observe draws, which would make each more expensive, so this reads the source. The lines are a hint for people. The rest
of the note is certain: the generator's state has moved and nobody seeded it.
"""

from __future__ import annotations

import os
import re
import sys
from typing import Any, Dict, List

from detctl_probe.process.source_trees import text_of
from detctl_probe.recording.recorder import Recorder

USES_MAX = 5
SOURCE_CHARS_MAX = 1 << 20

_DRAWS = {
    "random": r"(?<![.\w])random\.(?!seed|Random|SystemRandom|getstate|setstate)[a-z]\w*\(",
    "numpy": r"\b(?:np|numpy)\.random\.(?!seed|default_rng|get_state|set_state)[a-z]\w*\("
    # scikit-learn, pandas and datasets use it if they get no seed.
    r"|(?:\b(?:train_test_split|resample|\w*KFold|\w*ShuffleSplit)\(|\.sample\((?=.*\b(?:n|frac)=)|\.shuffle\(\))"
    r"(?!.*\b(?:random_state|seed)\b)",
    # Most draws of a training are a model's initialisation.
    "torch": r"\b(?:torch\.(?:rand|randn|randint|randperm|normal|bernoulli|multinomial)\w*\(|nn\.[A-Z]\w*\(|shuffle=True)",
}


def first(recorder: Recorder, generator: str) -> Dict[str, Any]:
    """{"file", "line", "uses": ["{cwd}/train.py:12: model = nn.Linear(3, 2)", ...]} of the main script; empty where nothing fits."""
    path = getattr(sys.modules.get("__main__"), "__file__", None)
    if not path or not os.path.isfile(path):
        return {}
    text = text_of(path)[:SOURCE_CHARS_MAX]
    found = lines(text, generator)
    if not found:
        return {}
    name = recorder.logical(path)
    source = text.split("\n")
    uses: List[str] = ["%s:%d: %s" % (name, line, source[line - 1].strip()[:120]) for line in found[:USES_MAX]]
    return {"file": name, "line": found[0], "uses": uses}


def lines(text: str, generator: str) -> List[int]:
    """Numbers of the lines that draw from a generator, comments and imports aside."""
    pattern = re.compile(_DRAWS[generator])
    found = []
    for number, line in enumerate(text.split("\n"), 1):
        code = line.split("#", 1)[0]
        if pattern.search(code) and not code.lstrip().startswith(("import ", "from ", "class ")):
            found.append(number)
    return found
