"""A coordinator with TLS, the command line of its administrator, and certificates and tokens of whoever is added."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from pathlib import Path
from typing import Any

import grpc
from coordinator_processes import CoordinatorProcess, environment
from detctl_proto.security.credentials import read_folder
from fake_agent import OPTIONS, FakeAgent


class Site:
    """A coordinator with TLS, and the command line of its administrator. `pki` holds what was made."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.pki = folder, folder / "pki"
        made = self.detctl("ca", "init", "--server", "localhost", "--pki", str(self.pki), who="")
        assert made.returncode == 0, made.stderr
        self.process: CoordinatorProcess

    def detctl(self, *words: str, who: str = "admin") -> subprocess.CompletedProcess[str]:
        """As the holder `who`; empty: as nobody."""
        variables = {**environment(), "XDG_CONFIG_HOME": str(self.folder), "COLUMNS": "200"}
        if who:
            variables |= {"DETCTL_COORDINATOR": self.target, "DETCTL_TLS": str(self.pki / who)}
        command = [sys.executable, "-m", "detctl_cli", *words]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, env=variables)

    def add(self, name: str, role: str = "machine") -> None:
        place = ("-o", str(self.pki / name), "--pki", str(self.pki))
        words = ("machine", "add", name) if role == "machine" else ("token", "create", "--role", role, "--name", name)
        done = self.detctl(*words, *place)
        assert done.returncode == 0, done.stderr

    @property
    def target(self) -> str:
        return f"localhost:{self.process.address.rpartition(':')[2]}"

    def credentials(self, certificate: str) -> grpc.ChannelCredentials:
        held = read_folder(self.pki / certificate)
        return grpc.ssl_channel_credentials(held.authority, held.key, held.certificate)

    @contextlib.asynccontextmanager
    async def channel(self, certificate: str) -> Any:
        async with grpc.aio.secure_channel(self.target, self.credentials(certificate), options=OPTIONS) as channel:
            yield channel

    def token(self, name: str) -> list[tuple[str, str]]:
        return [("authorization", f"Bearer {(self.pki / name / 'token').read_text().strip()}")]

    def agent(self, name: str, certificate: str = "", token: str = "", **fields: Any) -> FakeAgent:
        return FakeAgent(
            name, self.target, credentials=self.credentials(certificate or name),
            metadata=tuple(self.token(token or name)), **fields,
        )  # fmt: skip


async def status(call: Any) -> grpc.StatusCode:
    """How a call ends; OK where it answers."""
    try:
        await call
    except grpc.aio.AioRpcError as error:
        return error.code()
    return grpc.StatusCode.OK
