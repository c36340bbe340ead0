"""Checks the known-answer test on this device: its run time, its class, and whether it repeats itself."""

from __future__ import annotations

import os
import sys
from collections import Counter

from checks import Check, Figures, Part, Place, expect

REPEATS, CPU_REPEATS = 20, 3


def repeated(place: Place) -> Figures:
    """Computes each answer of the device many times in one process."""
    import torch
    from detctl_selfcheck import answers as selfcheck

    kind = place.device.partition(":")[0]
    seen: dict[str, Counter[str]] = {}
    repeats = REPEATS if place.cuda else CPU_REPEATS
    for _ in range(repeats):
        for question, answer in selfcheck.answers(torch):
            if question.startswith(kind + "/"):
                seen.setdefault(question, Counter())[answer] += 1
    changing = sorted(question for question, answers in seen.items() if len(answers) > 1)
    figures = {"questions": len(seen), "repeats": repeats, "changing": changing}
    expect(bool(seen), "no question can be asked on this device", figures)
    expect(not changing, f"answers that change from one time to the next: {', '.join(changing)}", figures)
    return figures


def run_time(place: Place) -> Figures:
    """Returns the seconds in a warm process, as the document reports them."""
    import torch
    from detctl_selfcheck import answers as selfcheck

    selfcheck.document(torch)
    return {"seconds": selfcheck.document(torch)["seconds"]}


def classes(place: Place) -> Figures:
    """Checks that this process and a new one give the same answers, and that these give a class."""
    import torch
    from detctl_agent.manifest.known_answers import KnownAnswers, known_answers
    from detctl_selfcheck import answers as selfcheck

    variables = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    document = known_answers(sys.executable, variables, KnownAnswers(place.folder / "cache"))
    expect(bool(document.get("class")), f"the known-answer test gave no class: {document.get('why')}")
    here = dict(selfcheck.answers(torch))
    differ = sorted(question for question in here if document["answers"].get(question) != here[question])
    expect(not differ, f"two processes on one machine answer differently: {', '.join(differ)}")
    return {"class": document["class"], "answers": len(document["answers"])}


PART = Part(
    "known-answers",
    "the known-answer test",
    seconds=45,
    cpu_seconds=150,
    checks=(
        Check("known-answers.repeatability", repeated, on_cpu=True),
        Check("known-answers.run-time", run_time, on_cpu=True),
        Check("known-answers.classes", classes, on_cpu=True),
    ),
)
