"""Runs the commands of the documentation and writes their real output into the pages.

    python docs/scripts/regenerate.py                   every page, and the generated pages of docs/reference
    python docs/scripts/regenerate.py quickstart ci     these pages alone

A page is one session: its blocks run in order, in one scratch folder, with a home folder of their own. Comments before a block say
what it is:

    <!-- file: train.py -->              the block is the text of that file
    <!-- setup: COMMAND -->              a command that readers do not see
    <!-- run: NAME -->                   each line that begins with `$ ` runs, and what it prints follows it
    <!-- run: NAME, exits 1 -->          the same; the last command ends with 1
    <!-- same as: docs/quickstart.md NAME -->   a copy of the block NAME of that page

A command that ends in ` &` runs until the page is done. Identifiers, folders, ports and times are replaced by stable ones.
Progress, which goes to stderr, is left out, except where a command prints nothing else.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(
    r"<!-- (?P<kind>file|run|setup): (?P<argument>[^\n]*?) -->\n"
    r"(?:\n?(?P<open>```[a-z]*[^\n]*\n)(?P<body>.*?)(?P<close>```\n))?",
    re.DOTALL,
)
COPY = re.compile(
    r"(?P<head><!-- same as: (?P<page>\S+) (?P<name>\S+) -->\n\n?```[a-z]*\n)(?P<body>.*?)```\n", re.DOTALL
)
EXITS = re.compile(r"^(?P<name>[\w-]+)(?:, exits (?P<code>\d+))?$")
AUDIT = re.compile(r"\ba[0-9a-f]{10}\b")
TOKEN_ID = re.compile(r"\b[0-9a-f]{12}\b")
TOKEN = re.compile(r"\bdct_[A-Za-z0-9]+_[A-Za-z0-9_-]+")
STABLE = [
    (re.compile(r"\b\d+\.\d s\b"), "3.1 s"),
    (re.compile(r"\b\d+ (?:s|min|h) ago\b"), "1 min ago"),
    (re.compile(r"\b20\d\d-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|\+00:00)?"), "2026-11-30 12:00"),
    (re.compile(r"\b20\d\d-\d\d-\d\d\b(?! 12:00)"), "2027-11-30"),
]
SHOWN_PORT, SHOWN_HOME, SHOWN_HOST = "7450", "/home/me", "laptop"
# The probe's share of a training that computes nothing says nothing.
LEFT_OUT = re.compile(r"^detctl: probe [\d.]+ % of step time.*\n?", re.MULTILINE)
COMMAND_TIMEOUT_S = 600


class UnexpectedEndError(Exception):
    """A command ended with another exit code than its page says."""


@dataclass(frozen=True)
class Ran:
    """One command: what it printed, and how it ended."""

    command: str
    output: str
    code: int


@dataclass
class Session:
    """A scratch folder in which the commands of one page run. Use as a context manager: it ends what runs in the background."""

    base: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix="detctl-docs-")))
    variables: dict[str, str] = field(default_factory=dict)
    background: list[subprocess.Popen[bytes]] = field(default_factory=list)
    audits: dict[str, str] = field(default_factory=dict)  # real id -> shown id
    tokens: dict[str, str] = field(default_factory=dict)  # the same of tokens' ids
    port: str = ""

    def __enter__(self) -> Session:
        self.folder.mkdir(parents=True)
        self.memory.mkdir(parents=True, exist_ok=True)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = str(free.getsockname()[1])
        return self

    def __exit__(self, *error: object) -> None:
        for process in reversed(self.background):
            os.killpg(process.pid, signal.SIGTERM)
        for process in self.background:
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
        for folder in (self.base, self.memory):
            shutil.rmtree(folder, ignore_errors=True)

    @property
    def home(self) -> Path:
        return self.base / "home"

    @property
    def folder(self) -> Path:
        return self.home / "project"

    @property
    def memory(self) -> Path:
        """A folder on another file system than `folder`, where there is one; $MEMORY for the commands."""
        shared = Path("/dev/shm")
        return (shared if os.access(shared, os.W_OK) else self.base) / f"{self.base.name}-memory"

    def environment(self) -> dict[str, str]:
        """Returns the variables of a command: few, so that the caller's own do not decide what is printed."""
        kept = {name: os.environ[name] for name in ("LANG", "TMPDIR") if name in os.environ}
        path = f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}"
        return {
            **kept,
            "PATH": path,
            "HOME": str(self.home),
            "MEMORY": str(self.memory),
            "COLUMNS": "110",
            "NO_COLOR": "1",
            "USER": "me",
            **self.variables,
        }

    def real(self, command: str) -> str:
        for real, shown in self.audits.items():
            command = command.replace(shown, real)
        return command.replace(SHOWN_PORT, self.port).replace(SHOWN_HOME, str(self.home))

    def shown(self, text: str) -> str:
        text = LEFT_OUT.sub("", text)
        for real in AUDIT.findall(text):
            self.audits.setdefault(real, f"a{0x3F5C21D7 + 0x1B7A9E35 * len(self.audits):010x}")
        for real, shown in self.audits.items():
            text = text.replace(real, shown)
        text = (
            text.replace(sys.prefix, f"{SHOWN_HOME}/venv")
            .replace(str(self.home), SHOWN_HOME)
            .replace(self.port, SHOWN_PORT)
        )
        text = re.sub(rf"\b{re.escape(socket.gethostname())}\b", SHOWN_HOST, text)
        text = TOKEN.sub("dct_…", text)
        for real in TOKEN_ID.findall(text):
            self.tokens.setdefault(real, f"{0x5E1FA97C03D2 + 0x1B7A9E35 * len(self.tokens):012x}")
        for real, shown in self.tokens.items():
            text = text.replace(real, shown)
        for pattern, replacement in STABLE:
            text = pattern.sub(replacement, text)
        return "\n".join(line.rstrip() for line in text.splitlines())

    def wait_for_port(self) -> None:
        """Returns when the coordinator of the page accepts connections; raises OSError after a minute."""
        for _ in range(600):
            with contextlib.suppress(ConnectionRefusedError):
                socket.create_connection(("127.0.0.1", int(self.port))).close()
                return
            time.sleep(0.1)
        raise OSError("the coordinator of the page did not start")

    def run(self, command: str, last_code: int = 0) -> Ran:
        """Runs one command of a page and returns what it printed. The exit code of the one before is `$?`."""
        real = self.real(command)
        if real.startswith("export "):
            for assignment in real.removeprefix("export ").split():
                name, _, value = assignment.partition("=")
                self.variables[name] = value
            return Ran(command, "", 0)
        if real.endswith(" &"):
            quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
            shell = ["bash", "-c", "exec " + real.removesuffix(" &")]
            where = {"cwd": self.folder, "env": self.environment(), "start_new_session": True}
            self.background.append(subprocess.Popen(shell, **where, **quiet))
            if "detctl-coordinator" in real:
                self.wait_for_port()
            return Ran(command, "", 0)
        done = subprocess.run(
            ["bash", "-c", f"(exit {last_code}); {real}"], cwd=self.folder, env=self.environment(), stdin=subprocess.DEVNULL,
            capture_output=True, text=True, timeout=COMMAND_TIMEOUT_S,
        )  # fmt: skip
        return Ran(command, self.shown(done.stdout if done.stdout.strip() else done.stderr), done.returncode)


def commands_in(body: str) -> list[str]:
    """Returns the commands of a block: lines that begin with `$ `, and the lines that continue them after a backslash."""
    found: list[str] = []
    continues = False
    for line in body.splitlines():
        if continues:
            found[-1] += "\n" + line
        elif line.startswith("$ "):
            found.append(line.removeprefix("$ "))
        continues = (continues or line.startswith("$ ")) and line.endswith("\\")
    return found


def without_comment(command: str) -> str:
    return re.sub(r"\s{2,}# .*$", "", command)


def run_page(text: str, session: Session) -> Iterator[tuple[re.Match[str], list[Ran]]]:
    """Runs the blocks of a page in order. Yields each block of commands with what they printed; raises
    UnexpectedEndError for another exit code than the page says."""
    for block in BLOCK.finditer(text):
        kind, argument, body = block["kind"], block["argument"], block["body"] or ""
        if kind == "file":
            path = session.folder / argument
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(session.real(body), encoding="utf-8")
        elif kind == "setup":
            done = session.run(argument)
            if done.code:
                raise UnexpectedEndError(f"setup failed: {argument}\n{done.output[:1000]}")
        else:
            ran: list[Ran] = []
            for command in commands_in(body):
                done = session.run(without_comment(command), ran[-1].code if ran else 0)
                ran.append(Ran(command, done.output, done.code))
            expected = EXITS.match(argument)
            if expected is None or (ran and ran[-1].code != int(expected["code"] or 0)):
                raise UnexpectedEndError(
                    f"{argument}: {ran[-1].command!r} ended with {ran[-1].code}\n{ran[-1].output[:1000]}"
                )
            yield block, ran


def printed(ran: list[Ran]) -> str:
    return "".join(f"$ {each.command}\n" + (f"{each.output}\n" if each.output else "") for each in ran)


def regenerate(page: Path) -> bool:
    """Runs a page's commands and writes their output into it; returns whether that changed it."""
    text = page.read_text(encoding="utf-8")
    parts, end = [], 0
    with Session() as session:
        for block, ran in run_page(text, session):
            parts += [text[end : block.start("body")], printed(ran)]
            end = block.end("body")
    new = "".join([*parts, text[end:]])
    page.write_text(new, encoding="utf-8")
    return new != text


def pages_that_run() -> list[Path]:
    return [page for page in PAGES if "<!-- run: " in page.read_text(encoding="utf-8")]


def block_of(page: Path, name: str) -> str:
    """Returns the text of a block that another page runs."""
    for block in BLOCK.finditer(page.read_text(encoding="utf-8")):
        if block["kind"] == "run" and block["argument"].partition(",")[0] == name:
            return block["body"] or ""
    raise LookupError(f"{page.name} has no block {name}")


def with_copies(text: str) -> str:
    """Returns a page with each `same as` block as the page that runs it has it."""

    def copied(match: re.Match[str]) -> str:
        return match["head"] + block_of(ROOT / match["page"], match["name"]) + "```\n"

    return COPY.sub(copied, text)


def main(names: list[str]) -> int:
    failed = False
    for page in pages_that_run():
        if names and page.stem not in names:
            continue
        try:
            result = "changed" if regenerate(page) else "the same"
        except UnexpectedEndError as problem:
            result, failed = f"not written: {problem}", True
        print(f"{page.relative_to(ROOT)}: {result}", flush=True)
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        if (copied := with_copies(text)) != text:
            page.write_text(copied, encoding="utf-8")
            print(f"{page.relative_to(ROOT)}: copies changed", flush=True)
    if not names:
        subprocess.run([sys.executable, str(Path(__file__).with_name("reference.py"))], check=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
