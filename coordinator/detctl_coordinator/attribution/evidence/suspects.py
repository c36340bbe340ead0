"""What differs between the environments of two runs, sorted by what it could do: suspects, never causes by themselves."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from detctl_proto.redaction import MARK, NOT_RECORDED, REDACTED, redact_value, shown_value, variables_agree
from detctl_proto.variable_rules import names_a_secret

from detctl_coordinator.domain.fingerprint import Fingerprint
from detctl_coordinator.domain.manifest import NOT_SUSPECT, differences
from detctl_coordinator.domain.run import RunSpec

Family = Literal[
    "code",
    "folder",
    "library",
    "threads",
    "isa",
    "workers",
    "seed",
    "hash",
    "precision",
    "config",
    "listing",
    "hardware",
    "host",
]

# Variables of the shell, the launcher and the ranks: they differ from run to run and say nothing of the numbers.
IDLE_VARIABLES = re.compile(
    r"^(_|PWD|OLDPWD|SHLVL|HOME|TMPDIR|TMP|TEMP|HOSTNAME|USER|LOGNAME|MAIL|PATH|TERM.*|COLORTERM|SSH_.*|XDG_.*|DBUS_.*"
    r"|LS_COLORS|EDITOR|PAGER|DETCTL_.*|PYTHONPATH|VIRTUAL_ENV.*|CONDA_.*|PS1|MASTER_(ADDR|PORT)|(LOCAL_|GROUP_|ROLE_)?RANK"
    r"|LOCAL_WORLD_SIZE|ROLE_.*|TORCHELASTIC_.*|PYTHONPYCACHEPREFIX|PYTHONUSERBASE|.*_CACHE_DIR|.*_HOME|INVOCATION_ID|JOURNAL_STREAM)$"
)
THREAD_VARIABLES = re.compile(r"^(OMP|MKL|OPENBLAS|NUMEXPR|VECLIB_MAXIMUM|GOTO|BLIS|TBB)_NUM_THREADS$|^OMP_DYNAMIC$")
ISA_VARIABLES = re.compile(
    r"^(ATEN_CPU_CAPABILITY|ONEDNN_MAX_CPU_ISA|DNNL_MAX_CPU_ISA|ONEDNN_CPU_ISA_HINTS|MKL_CBWR|MKL_ENABLE_INSTRUCTIONS"
    r"|MKL_DEBUG_CPU_TYPE|OPENBLAS_CORETYPE|NPY_DISABLE_CPU_FEATURES)$"
)
PRECISION = re.compile(r"tf32|precision|autocast|reduced|NVIDIA_TF32_OVERRIDE", re.IGNORECASE)
KNOWN_VARIABLES = re.compile(
    r"^(TZ|LANG|LANGUAGE|LC_.*|CUBLAS_.*|CUDA_.*|CUDNN_.*|NCCL_.*|NVIDIA_.*|TORCH_.*|TORCHINDUCTOR_.*|PYTORCH_.*|GLOO_.*|KMP_.*"
    r"|GOMP_.*|MALLOC_.*|LD_PRELOAD|LD_LIBRARY_PATH|HF_.*|TRANSFORMERS_.*|TOKENIZERS_PARALLELISM|MKL_.*|OMP_.*|PYTHON[A-Z0-9]+)$"
)
WORKER_NAMES = re.compile(r"^(n_|num_|num|n|data_?|loader_?|dataloader_?)?_?(num_)?workers$", re.IGNORECASE)
THREAD_NAMES = re.compile(r"^(n_|num_|num|n|omp_|torch_)?_?threads$", re.IGNORECASE)
SEED_NAMES = re.compile(r"(^|_)seed$", re.IGNORECASE)
# Packages that compute or decode; another version of anything else is shown and not suspected.
COMPUTING = re.compile(
    r"^(torch.*|pytorch.*|numpy|scipy|pillow|pillow.simd|opencv.*|scikit.*|pandas|transformers|tokenizers|datasets|accelerate"
    r"|lightning.*|timm|triton.*|nvidia.*|cuda.*|mkl.*|intel.*|jax.*|tensorflow.*|albumentations|kornia|einops|safetensors"
    r"|webdataset|librosa|soundfile|av|decord|xformers|flash.attn|deepspeed|peft|sentencepiece|h5py|pyarrow|imageio)$",
    re.IGNORECASE,
)
DIGEST = re.compile(r"^[0-9a-f]{40,}$")
COMMAND_KEY = "recipe.command"
SHOWN_AS = (
    ("variables.", ""),
    ("recipe.parameters.", "parameter "),
    ("python.packages.", ""),
    ("recipe.source_digest", "the recipe's source"),
    ("recipe.git_commit", "the recipe's commit"),
    (COMMAND_KEY, "the recipe's command"),
)
INTERVENTIONS: Mapping[str, Family] = {
    "listing": "listing",
    "precision": "precision",
    "seed": "seed",
    "threads": "threads",
    "workers": "workers",
}
HARDWARE_FACTS = re.compile(
    r"^machine\.(cpu_model|cpu_flags_digest|cores)$"
    r"|^gpu\.\d+\.(name|memory_bytes|board|ecc|mig|max_sm_clock_mhz|max_memory_clock_mhz|nvlinks)$"
)
HOST_FACTS = re.compile(r"^machine\.(os|os_version|kernel)$|^gpu\.\d+\.(driver|firmware|vbios|inforom)$")


@dataclass(frozen=True)
class Suspect:
    """One fact that differs. `deliberate`: the audit itself set it apart (`--vary`, environments, interventions)."""

    key: str
    left: str | None
    right: str | None
    family: Family
    deliberate: bool = False
    read_at: str = ""  # where the training's own code asks for it, as far as a note tells

    @property
    def name(self) -> str:
        """The key as people say it: `OMP_NUM_THREADS`, `torch`, `--workers`."""
        for prefix, shown in SHOWN_AS:
            if self.key.startswith(prefix):
                return shown + self.key[len(prefix) :]
        return self.key

    @property
    def words(self) -> str:
        read = f", read at {self.read_at}" if self.read_at else ""
        values = [value or "" for value in (self.left, self.right)]
        if names_a_secret(self.key.rpartition(".")[2]):  # of an audit that varied it
            values = [NOT_RECORDED if value else "" for value in values]
        sides = [_short(shown_value(redact_value(value))) or "(unset)" for value in values]
        if sides[0] == sides[1]:
            return f"{self.name} differs {NOT_RECORDED}{read}"
        return f"{self.name}: {sides[0]} against {sides[1]}{read}"


def _short(value: str) -> str:
    """Digests by their first twelve digits: nobody reads sixty-four."""
    return f"{value[:12]}…" if DIGEST.match(value) else value


def suspects_of(
    left: Mapping[str, Any], right: Mapping[str, Any], left_spec: RunSpec, right_spec: RunSpec
) -> list[Suspect]:
    """Suspects of two runs from their manifests and from what was asked of them, deliberate ones first."""
    found: dict[str, Suspect] = {}
    for suspect in _asked(left_spec, right_spec):
        found[suspect.key] = suspect
    paths = {str(p) for m in (left, right) for p in _section(m, "recipe").get("paths") or ()}
    changed = differences(left, right)
    for key, (a, b) in changed.items():
        family = family_of(key, paths)
        if key == COMMAND_KEY and any(k.startswith("recipe.parameters.") for k in changed):
            continue  # the command only repeats what the parameters say
        if key == "recipe.git_commit" and "recipe.source_digest" not in changed:
            continue  # the same sources under another commit
        if _credentials_alone(a, b):
            continue  # visible among the differing facts; a password changes no number
        if family is not None and key not in found:
            found[key] = Suspect(key, a, b, family)
    return list(found.values())


def _credentials_alone(left: str | None, right: str | None) -> bool:
    """Whether two values are the same but for credentials inside of them."""
    return (
        left is not None
        and right is not None
        and MARK.fullmatch(left) is None
        and MARK.sub(REDACTED, left) == MARK.sub(REDACTED, right)
    )


def family_of(key: str, paths: set[str] | frozenset[str] = frozenset()) -> Family | None:
    """Returns what a fact of the manifest can affect, by its dotted key. None: it is evidence, never a suspect (docs/adr/0010)."""
    if any(key == name or (name[-1] in "._" and key.startswith(name)) for name in NOT_SUSPECT):
        return None
    section, _, rest = key.partition(".")
    if section == "variables":
        return _variable(rest)
    if section == "recipe":
        return _recipe(rest, paths)
    if section == "python":
        package = rest.removeprefix("packages.")
        if rest.startswith("packages."):
            return "library" if COMPUTING.match(package.replace("_", "-")) else None
        return "library" if rest in ("version", "implementation") else None
    if section == "torch":
        if rest in ("threads", "interop_threads"):
            return "threads"
        if rest in ("cpu_capability", "mkldnn_isa"):
            return "isa"
        if rest in ("version", "cuda", "cudnn", "nccl") or rest.startswith("packages."):
            return "library"
        return "precision" if PRECISION.search(rest) else "config" if rest.startswith("flags.") else None
    if key in ("machine.libc",):
        return "library"
    if key == "machine.cpu_isa":
        return "isa"
    if HARDWARE_FACTS.match(key):
        return "hardware"
    if HOST_FACTS.match(key):
        return "host"
    return "config" if section == "locale" else None


def _variable(name: str) -> Family | None:
    if names_a_secret(name):
        return None
    if THREAD_VARIABLES.match(name):
        return "threads"
    if ISA_VARIABLES.match(name):
        return "isa"
    if name == "PYTHONHASHSEED":
        return "hash"
    if PRECISION.search(name):
        return "precision"
    if IDLE_VARIABLES.match(name) or not KNOWN_VARIABLES.match(name):
        return None
    return "config"


def _recipe(rest: str, paths: set[str] | frozenset[str]) -> Family | None:
    if rest in ("source_digest", "git_commit"):
        return "code"
    if rest.startswith("parameters."):
        name = rest.removeprefix("parameters.")
        return None if name in paths or names_a_secret(name) else _parameter(name)
    return "config" if rest == "command" else None


def _parameter(name: str) -> Family:
    if WORKER_NAMES.match(name):
        return "workers"
    if THREAD_NAMES.match(name):
        return "threads"
    return "seed" if SEED_NAMES.search(name) else "config"


def read_variables(left: Mapping[str, Any], right: Mapping[str, Any], read_at: Mapping[str, str]) -> list[Suspect]:
    """Variables that differ and that the training's own code asks for (`read_at`: name -> file:line): settings, whatever
    they are called. Nobody's reading them is why others of the shell's variables are no suspects."""
    ours, theirs = _section(left, "variables"), _section(right, "variables")
    return [
        Suspect(f"variables.{name}", ours.get(name), theirs.get(name), _read_family(name), read_at=where)
        for name, where in read_at.items()
        if variables_agree(name, left, right) is False
        and not names_a_secret(name)
        and (_variable(name) or not IDLE_VARIABLES.match(name))
    ]


def _read_family(name: str) -> Family:
    return _variable(name) or _parameter(name)


def _asked(left: RunSpec, right: RunSpec) -> Iterator[Suspect]:
    """What the audit varied on purpose."""
    kinds = (("recipe.parameters.", left.parameters, right.parameters), ("variables.", left.variables, right.variables))
    for prefix, ours, theirs in kinds:
        for name in {**ours, **theirs}:
            if ours.get(name) != theirs.get(name):
                key = prefix + name
                family = family_of(key) or "config"
                yield Suspect(key, ours.get(name), theirs.get(name), family, deliberate=True)
    for name in {**left.interventions, **right.interventions}:
        a, b = left.interventions.get(name), right.interventions.get(name)
        if a != b:
            yield Suspect(f"probe.{name}", a, b, INTERVENTIONS.get(name, "config"), deliberate=True)


def command_suspects(left: Fingerprint, right: Fingerprint) -> list[Suspect]:
    """Options that differ between two recorded commands (evidence `command`: words with logical paths), as parameters."""
    words = [record.evidence.get("command") for record in (left, right)]
    if not all(isinstance(side, list) for side in words):
        return []
    ours, theirs = (_options([str(word) for word in side or ()]) for side in words)
    return [
        Suspect(f"recipe.parameters.{name}", ours.get(name), theirs.get(name), _parameter(name))
        for name in {**ours, **theirs}
        if ours.get(name) != theirs.get(name)
    ]


def _options(words: list[str]) -> dict[str, str]:
    """`python x.py --a 1 --b=2 --c y` as {"argument 0": "x.py", "a": "1", "b": "2", "c": "y"}: a word after a flag is taken as its value,
    others have the numbers of sys.argv."""
    found: dict[str, str] = {}
    name = ""
    rest = words[1:] if words[:1] == ["python"] else words
    numbers = itertools.count(1 if rest[:1] in (["-m"], ["-c"]) else 0)
    for word in rest:
        if word.startswith("-") and not word.lstrip("-")[:1].isdigit() and word.strip("-"):
            name, equals, value = word.lstrip("-").partition("=")
            name = name.replace("-", "_")
            found[name] = value if equals else "given"
            name = "" if equals else name
        elif name:
            found[name], name = word, ""
        else:
            found[f"argument {next(numbers)}"] = word
    return found


def _section(manifest: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    section = manifest.get(name)
    return section if isinstance(section, Mapping) else {}
