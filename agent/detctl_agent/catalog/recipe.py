"""Recipes and environments as the machine's owner wrote them; docs/concepts.md defines both terms."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal

from detctl_proto.security.variable_rules import is_withheld
from detctl_proto.syntax.names import NAME_RULE, PARAMETER_NAME, VARIABLE_NAME, is_name
from detctl_proto.syntax.parameter_patterns import COMMIT_PATTERN, DEFAULT_PATTERN, harmless_match, list_pattern
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)

from detctl_agent.catalog.patterns import matches, not_regular
from detctl_agent.catalog.roots import root_problem
from detctl_agent.launcher.account import check_form
from detctl_agent.launcher.placeholders import OWN, names_in
from detctl_agent.source import git_source

PATTERN_CHARACTERS_MAX = 500
# The hardware that an environment may emulate, and the variable that does it.
EMULATED = {"cpu": "ATEN_CPU_CAPABILITY", "onednn": "ONEDNN_MAX_CPU_ISA", "mkl": "MKL_CBWR"}
EMULATED_CPU = ("default", "avx2", "avx512", "vsx", "zvector", "sve256")
IMAGE_NAME = re.compile(
    r"[A-Za-z0-9][A-Za-z0-9._:/@-]{0,254}", re.ASCII
)  # no dash at the beginning: docker would take it for an option
# Set for each run by the launcher; a catalog that sets them would break every run.
RESERVED = frozenset(("HOME", "TMPDIR", "DETCTL_RUN_ID", "DETCTL_PROBE"))


def _as_text(value: Any) -> Any:
    """The text for a command line, of TOML's booleans and numbers too."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, (int, float)) else value


Text = Annotated[str, BeforeValidator(_as_text)]
# A name, UID or UID:GID.
User = Annotated[Text, AfterValidator(check_form)]
MemoryMb = Annotated[float, Field(ge=16, allow_inf_nan=False)]
Processes = Annotated[int, Field(ge=1, le=4_194_304)]  # the largest number of a process in Linux


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class Recipe(_Table):
    """What to train. parameters: defaults of this machine, by name. paths: the parameters that are places. roots: by parameter, the
    folders in which a place from a request must lie; without roots the default is the only allowed value.

    source: a git remote, `git+https://…`; the request names the commit, and `folder` lies in the repository. Without a source,
    `folder` is on this machine.
    """

    command: tuple[str, ...] = Field(min_length=1)
    source: str = ""
    folder: Path
    timeout_s: float = Field(default=3600, gt=0)
    grace_s: float = Field(default=10, ge=0, le=600)  # between SIGTERM and SIGKILL
    paths: tuple[str, ...] = ()
    roots: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    parameters: dict[str, Text] = Field(default_factory=dict)
    patterns: dict[str, str | tuple[str, ...]] = Field(default_factory=dict)
    pass_: tuple[str, ...] = Field(default=(), alias="pass")
    copy_: bool = Field(default=True, alias="copy")  # false, or in_place = true: run in the folder itself
    in_place: bool = False
    keep_files: bool = False  # keeps what a run writes into its private view of the folder
    side_by_side: bool = False  # its runs may train at the same time, if they fit (runs/side_by_side.py)
    allow_transplant: bool = False
    allow_values: bool = False  # the coordinator may get values of a step that diverges, to measure how they differ
    output_mb_max: float = Field(default=64, gt=0)
    memory_mb_max: MemoryMb | None = None  # of all its processes together
    processes_max: Processes | None = None  # threads count too
    source_mb_max: float = Field(default=512, gt=0)

    @property
    def source_bytes_max(self) -> int:
        """How large the source may be if it is copied."""
        return int(self.source_mb_max * 1024 * 1024)

    @property
    def runs_in_place(self) -> bool:
        """Whether runs take place in the folder itself instead of a copy."""
        return self.in_place or not self.copy_

    def pattern(self, parameter: str) -> str:
        """The regular expression that a value from remote must match as a whole."""
        given = self.patterns.get(parameter, DEFAULT_PATTERN)
        return given if isinstance(given, str) else list_pattern(given)

    def takes(self, parameter: str, value: str) -> bool:
        """Whether a value from remote matches. Raises RunRefusedError if the owner's pattern takes too long."""
        given = self.patterns.get(parameter, DEFAULT_PATTERN)
        if isinstance(given, tuple):
            return value in given
        decided = harmless_match(given, value)
        return matches(given, value) if decided is None else decided

    @model_validator(mode="before")
    @classmethod
    def _commit(cls, table: Any) -> Any:
        """Gives a recipe with a source the parameter `commit`, whose pattern the owner cannot change."""
        if not isinstance(table, dict) or not table.get("source"):
            return table
        parameters, patterns = table.get("parameters", {}), table.get("patterns", {})
        if not isinstance(parameters, dict) or not isinstance(patterns, dict):
            return table  # the checks of these fields report it
        name = git_source.PARAMETER
        return {
            "folder": ".",
            **table,
            "parameters": {name: "", **parameters},
            "patterns": {**patterns, name: COMMIT_PATTERN},
        }

    @field_validator("source")
    @classmethod
    def _remote(cls, source: str) -> str:
        if source:
            git_source.url_of(source)
        return source

    @field_validator("folder")
    @classmethod
    def _place(cls, folder: Path, others: ValidationInfo) -> Path:
        if others.data.get("source"):
            if folder.is_absolute() or ".." in folder.parts:
                raise ValueError(f"must be a folder of the repository, not {str(folder)!r}")
        elif not folder.is_absolute():
            raise ValueError(f"must be an absolute path, not {str(folder)!r}")
        return folder

    @field_validator("roots")
    @classmethod
    def _root_texts(cls, roots: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
        for name, folders in roots.items():
            for folder in folders:
                if problem := root_problem(folder):
                    raise ValueError(f"{name}: {problem}")
        return roots

    @field_validator("command")
    @classmethod
    def _program(cls, command: tuple[str, ...]) -> tuple[str, ...]:
        if not command[0]:
            raise ValueError("its first word, the program, is empty")
        if any("\0" in word for word in command):
            raise ValueError("holds a NUL character")
        return command

    @field_validator("parameters")
    @classmethod
    def _parameter_names(cls, parameters: dict[str, str]) -> dict[str, str]:
        for name in parameters:
            if not PARAMETER_NAME.fullmatch(name) or name in OWN:
                raise ValueError(
                    f"{name!r} is not a name for a parameter (letters, digits, '.', '_', '-'; not {', '.join(OWN)})"
                )
        return parameters

    @field_validator("patterns")
    @classmethod
    def _compile(cls, patterns: dict[str, str | tuple[str, ...]]) -> dict[str, str | tuple[str, ...]]:
        for name, pattern in patterns.items():
            if isinstance(pattern, str):
                if len(pattern) > PATTERN_CHARACTERS_MAX:
                    raise ValueError(f"{name}: longer than {PATTERN_CHARACTERS_MAX} characters")
                if problem := not_regular(pattern):
                    raise ValueError(f"{name}: {pattern!r} is not a regular expression: {problem}")
        return patterns

    @model_validator(mode="after")
    def _names_fit(self) -> Recipe:
        if self.source and self.runs_in_place:
            raise ValueError("a recipe with a source runs in a copy: leave out copy and in_place")
        if self.side_by_side and self.runs_in_place:
            raise ValueError("side_by_side: runs in place share their folder; leave out one of the two")
        for key, used in (("paths", self.paths), ("patterns", self.patterns)):
            for name in used:
                if name not in self.parameters:
                    raise ValueError(f"{key} names {name!r}, which is not in parameters")
        for name in self.roots:
            if name not in self.paths:
                raise ValueError(f"roots names {name!r}, which is not in paths")
        for name in names_in(self.command):
            if name not in self.parameters and name not in OWN:
                valid = ", ".join([*self.parameters, *OWN])
                raise ValueError(f"command uses {{{name}}}, which is not a parameter (valid: {valid})")
        for name in self.paths:
            if not self.parameters[name].startswith("/"):
                raise ValueError(f"parameters.{name} is a place (in paths) and must be an absolute path")
        return self


class Environment(_Table):
    """Where a recipe trains. python: the interpreter that "python" in a command stands for; None: the agent's own.

    image: a container image on this machine; `python` is then a path in the image, and `network` is the network of its trainings.
    user: the user that trainings run as, if the agent is root; empty: the user that the catalog names.
    """

    variables: dict[str, Text] = Field(default_factory=dict)
    python: Path | None = None
    image: str = ""
    network: Literal["none", "host"] | None = None
    user: User = ""
    emulate: dict[str, str] = Field(default_factory=dict)

    @property
    def emulation(self) -> dict[str, str]:
        """The variables that make it emulate other hardware."""
        return {EMULATED[what]: value for what, value in self.emulate.items()}

    @field_validator("image")
    @classmethod
    def _image_name(cls, image: str) -> str:
        if image and not IMAGE_NAME.fullmatch(image):
            raise ValueError(f"{image!r} is not a name of an image")
        return image

    @field_validator("python")
    @classmethod
    def _absolute(cls, python: Path | None) -> Path | None:
        if python is not None and not python.is_absolute():
            raise ValueError(f"must be an absolute path, not {str(python)!r}")
        return python

    @field_validator("variables")
    @classmethod
    def _variable_names(cls, variables: dict[str, str]) -> dict[str, str]:
        for name, value in variables.items():
            if not VARIABLE_NAME.fullmatch(name) or "\0" in value:
                raise ValueError(f"{name!r} is not a name for a variable")
            if name in RESERVED:
                raise ValueError(f"{name} is set by detctl for each run")
            if is_withheld(name):
                raise ValueError(f"{name} looks like a secret: trainings never get any")
        return variables

    @field_validator("emulate")
    @classmethod
    def _known(cls, emulate: dict[str, str]) -> dict[str, str]:
        for what, value in emulate.items():
            if what not in EMULATED:
                raise ValueError(f"{what!r} cannot be emulated (valid: {', '.join(EMULATED)})")
            if what == "cpu" and value not in EMULATED_CPU:
                raise ValueError(f"cpu = {value!r} (valid: {', '.join(EMULATED_CPU)})")
        return emulate

    @model_validator(mode="after")
    def _one_kind(self) -> Environment:
        if self.network and not self.image:
            raise ValueError("network needs an image: add one, or leave out network")
        return self


def name_problem(name: str) -> str:
    """Why a recipe or environment cannot have this name; empty if it can."""
    return "" if is_name(name) else f"{name!r} is not a valid name ({NAME_RULE})"
