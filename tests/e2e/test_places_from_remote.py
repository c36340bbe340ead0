"""A submitter names a place of the machine: what its owner gave is trained on, all else is refused, and the reason is on the screen."""

from __future__ import annotations

from pathlib import Path

from deployment import Deployment, catalog, make_numbers


def test_only_places_that_the_owner_gave(deployment: Deployment, tmp_path: Path) -> None:
    sets, secret = tmp_path / "sets", tmp_path / "secret"
    secret.mkdir()
    make_numbers(sets / "one")
    (sets / "newest").symlink_to("one")
    (sets / "out").symlink_to(secret)
    own = make_numbers(tmp_path / "own")
    given = f'[recipes.mlp.roots]\ndata = ["{sets}"]\n[recipes.mlp.patterns]\nsteps = "(a|a)*$|[0-9]+"\n'
    deployment.agent("gpu1", catalog(own, arguments="--by-hand") + given)
    audit = ("audit", "mlp", "--machines", "gpu1", "--twins", "2")
    for value, why in {
        "/etc": "is outside of the places that this machine's owner allows",
        f"{deployment.folder}/agent-gpu1": f"allowed: its own {own}, below {sets}",
        f"{sets}/../secret": "holds '..'",
        f"{sets}/out": "leads out of what this machine's owner allows",
        f"{sets}/nowhere": "cannot be used: No such file or directory",
    }.items():
        done = deployment.detctl(*audit, "--set", f"data={value}")
        assert done.returncode == 3, done.stdout + done.stderr
        assert why in done.stdout, done.stdout
        assert f"parameter data: {value!r}" in done.stdout
    done = deployment.detctl(*audit, "--set", "steps=" + "a" * 60 + "!")
    assert done.returncode == 3
    assert "recipe mlp: parameter steps: the pattern" in done.stdout
    verdict = deployment.verdict(*audit, "--no-zoom", "--set", f"data={sets}/newest", exit_code=0)
    assert verdict["outcome"] == "identical"
