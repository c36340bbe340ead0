"""Short names of runs, the groups line and the verdict for people."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pytest
from detctl_cli.output.terminal import console
from detctl_cli.reporters.differing_facts import differing_facts
from detctl_cli.reporters.run_names import group_names, groups_sentence, short_names
from detctl_cli.reporters.verdict_text import STANDING, write_verdict


def label(machine, twin, variation="base", environment="default"):
    return f"{machine}/{environment}/{variation}/twin-{twin}"


def test_twins_are_primes_and_shared_parts_are_left_out():
    labels = [label("gpu1", n) for n in range(6)]
    assert list(short_names(labels).values()) == ["gpu1", "gpu1'", "gpu1''", "gpu1'''", "gpu1·4", "gpu1·5"]
    configurations = [label("gpu1", 0, "workers=0"), label("gpu1", 0, "workers=2")]
    assert list(short_names(configurations).values()) == ["workers=0", "workers=2"]
    both = [label("gpu1", 0, "workers=0"), label("gpu2", 1, "workers=2")]
    assert list(short_names(both).values()) == ["gpu1/workers=0", "gpu2/workers=2'"]
    assert short_names(["odd"]) == {"odd": "odd"}


@pytest.mark.parametrize(
    ("groups", "names", "sentence"),
    [
        (
            [[("a", 0), ("a", 1)], [("b", 0), ("b", 1)]],
            ["a = a'", "b = b'"],
            "Each machine reproduces its own result; the two differ.",
        ),
        ([[("a", 0), ("a", 1), ("b", 0)]], ["a = a' = b"], "All 3 runs are identical."),
        ([[("a", 0)], [("a", 1)]], ["a", "a'"], "Twins of a differ."),
        (
            [[("a", 0)], [("b", 0)]],
            ["a", "b"],
            "They differ. Without twins it is unknown whether each reproduces its own result.",
        ),
        ([[("a", n) for n in range(10)]], ["a ×10"], "All 10 runs are identical."),
    ],
)
def test_groups(groups, names, sentence):
    labels = [[label(machine, twin) for machine, twin in group] for group in groups]
    assert group_names(labels) == names
    assert groups_sentence(labels) == sentence


def printed(verdict, **options):
    stream = io.StringIO()
    write_verdict(verdict, console(stream), **options)
    return stream.getvalue()


def test_a_verdict_shows_where_why_and_what_to_do(verdict):
    text = printed(verdict, next_steps=["detctl show a1"])
    lines = text.splitlines()
    assert lines[0] == "DIFFERENT   origin: environment   cause: filesystem-order (indicated)"
    assert (
        "gpu1 = gpu1'   gpu2 = gpu2'   gpu1 ≠ gpu2     Each machine reproduces its own result; the two differ." in text
    )
    assert "step 0 · listing · {data}/train   same 1,797 names, another order" in text
    assert "sample → batch → loss" in text
    assert "fix                sort the result of os.listdir (train.py:31)" in text
    assert "listing, init, loss, update   steps 0 to 31, level module" in text
    assert lines[-1].split() == ["next", "detctl", "show", "a1"]
    assert "\x1b" not in text


def test_an_origin_that_is_not_proved(verdict):
    verdict |= {"origin": None, "not_separated": ["environment", "hardware"]}
    assert "origin: not proved (environment or hardware)" in printed(verdict)


def test_emulated_hardware_is_marked(verdict):
    verdict |= {"origin": "hardware", "emulated": [{"environment": "old", "emulates": {"cpu": "default"}}]}
    text = printed(verdict)
    assert "origin: hardware (EMULATED)" in text
    assert "environment old stands in for other hardware: cpu=default" in text


def test_unverified_shows_why(verdict):
    verdict |= {"outcome": "unverified", "causes": [], "origin": None, "first_divergence": None}
    verdict["unverified_because"] = ["gpu1 never sealed"]
    text = printed(verdict)
    assert text.startswith("UNVERIFIED\n")
    assert "unverified because gpu1 never sealed" in text


def test_limits_of_every_run_are_shown_with_verbose(verdict):
    standing = [f"{limit} (why)" for limit in STANDING]
    verdict["coverage"] |= {
        "not_observed": ["files", "collective"],
        "unobserved": [*standing, "forward: compiled regions"],
    }
    lines = printed(verdict).splitlines()
    at = next(number for number, line in enumerate(lines) if "not observed" in line)
    assert lines[at].split(maxsplit=2)[2] == "files, collective"
    assert lines[at + 1].strip() == "forward: compiled regions"
    assert not any(limit in line for limit in STANDING for line in lines)
    everything = printed(verdict, verbose=True)
    assert all(text in everything for text in [*standing, "forward: compiled regions"])


def test_the_probe_reports_these_limits():
    observers = Path(__file__).parents[3] / "agent/detctl_probe/observe"
    source = "".join(path.read_text() for path in observers.rglob("*.py"))
    for limit in STANDING:
        stage, what = limit.split(": ", 1)
        assert re.search(rf'unobserved\(\s*"{stage}",\s*"{re.escape(what)}', source), limit


def test_one_run_is_recorded_and_not_compared(verdict):
    verdict["groups"] = [["gpu1/default/base/twin-0"]]
    assert "  recorded           listing, init" in printed(verdict)


def test_many_benign_differences_are_cut(verdict):
    one = {"stage": "rng", "step": 3, "site": "python", "kind": "content", "lasting": "transient", "runs": []}
    verdict["benign"] = [one] * 7
    text = printed(verdict)
    assert text.count("step 3 · rng · python   different content (then identical again)") == 4
    assert "and 3 more benign differences" in text


def test_escape_codes_of_others_are_not_printed(verdict):
    verdict["causes"][0]["evidence"] = ["a\x1b]0;title\x07b", "c\nd"]
    verdict["groups"] = [["gpu\x1b[1m/default/base/twin-0"], ["b/default/base/twin-0"]]
    text = printed(verdict)
    assert "\x1b" not in text and "\x07" not in text
    assert "c d" in text


def test_a_verdict_of_a_later_version_with_less_still_prints():
    assert printed({"outcome": "identical"}) == "IDENTICAL\n"


def test_identical_runs_of_different_platforms_show_how_these_differ():
    libc = {"gpu1/bookworm/base": "glibc 2.36", "gpu1/trixie/base": "glibc 2.41"}
    facts = {
        "machine.libc": libc,
        "environment.image_id": dict.fromkeys(libc, "x"),
        "gpu.0.name": {**libc, "c": ""},
    }
    text = printed({"outcome": "identical", "environment": facts})
    assert (
        "despite different  libc glibc 2.36 / glibc 2.41   GPU glibc 2.36 / glibc 2.41 / none   and 1 more fact" in text
    )
    assert "despite different" not in printed({"outcome": "different", "environment": facts})
    assert "despite different" not in printed({"outcome": "identical", "environment": {"variables.X": libc}})


def test_a_driver_that_differs_under_identical_results_is_shown() -> None:
    text = differing_facts(
        {"gpu.0.driver": {"gpu1": "550.54", "gpu2": "570.86"}, "gpu.0.uuid": {"gpu1": "a", "gpu2": "b"}}
    )
    assert text == "driver 550.54 / 570.86   and 1 more fact (--json lists them)"
