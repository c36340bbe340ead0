"""Three hosts on one machine: network namespaces for a coordinator and two machines, a cable from the coordinator to each."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from deployment import Deployment, wait_for

HOSTS = ("gpu1", "gpu2")
PORT = 7450


def why_not() -> str:
    """Empty where namespaces can be made."""
    if os.geteuid() != 0:
        return "needs root, for network namespaces"
    name = f"detctl-probe-{os.getpid()}"  # the workers of a suite ask at the same time
    probe = subprocess.run(["ip", "netns", "add", name], capture_output=True)
    subprocess.run(["ip", "netns", "del", name], capture_output=True)
    return "" if probe.returncode == 0 else "needs network namespaces (ip netns)"


class Network:
    """Removes on `close` what it made; names carry our process id."""

    def __init__(self) -> None:
        self.mark = f"dt{os.getpid() % 100_000}"
        self.centre = f"{self.mark}-c"
        self._ip("netns", "add", self.centre)
        self._ip("-n", self.centre, "link", "set", "lo", "up")
        for number, host in enumerate(HOSTS, 1):
            near, far = f"{self.mark}n{number}", f"{self.mark}f{number}"
            self._ip("netns", "add", self.namespace(host))
            self._ip(
                "link",
                "add",
                near,
                "netns",
                self.centre,
                "type",
                "veth",
                "peer",
                "name",
                far,
                "netns",
                self.namespace(host),
            )
            self._ip("-n", self.centre, "addr", "add", f"10.77.{number}.1/24", "dev", near)
            self._ip("-n", self.namespace(host), "addr", "add", f"10.77.{number}.2/24", "dev", far)
            for namespace, device in ((self.centre, near), (self.namespace(host), far), (self.namespace(host), "lo")):
                self._ip("-n", namespace, "link", "set", device, "up")

    def namespace(self, host: str) -> str:
        return f"{self.mark}-{host}"

    def address(self, host: str) -> str:
        """Of the coordinator, as this host sees it."""
        return f"10.77.{HOSTS.index(host) + 1}.1:{PORT}"

    def link(self, host: str, state: str) -> None:
        """`down` cuts the host's cable, `up` mends it."""
        self._ip("-n", self.namespace(host), "link", "set", f"{self.mark}f{HOSTS.index(host) + 1}", state)

    def close(self) -> None:
        for name in (self.centre, *map(self.namespace, HOSTS)):
            subprocess.run(["ip", "netns", "del", name], capture_output=True)

    @staticmethod
    def _ip(*words: str) -> None:
        subprocess.run(["ip", *words], check=True, capture_output=True, text=True)


@dataclass
class RemoteDeployment(Deployment):
    """A deployment whose coordinator and agents are hosts of their own and speak TLS; commands are typed on the coordinator's host."""

    network: Network = field(kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.pki = self.folder / "pki"
        self.environment |= {"DETCTL_COORDINATOR": f"127.0.0.1:{PORT}", "DETCTL_TLS": str(self.pki / "admin")}
        hosts = ["127.0.0.1", *(self.network.address(host).partition(":")[0] for host in HOSTS)]
        words = [word for host in hosts for word in ("--server", host)]
        self.detctl("ca", "init", *words, "--pki", str(self.pki), check=True)
        self.address = f"0.0.0.0:{PORT}"
        self.coordinator_options += ["--tls", str(self.pki / "server")]

    def within(self, host: str) -> list[str]:
        return ["ip", "netns", "exec", self.network.namespace(host) if host else self.network.centre]

    def agent(self, name: str, text: str) -> None:
        path = self.folder / f"{name}.toml"
        path.write_text(text)
        path.chmod(0o600)
        if not (self.pki / name).exists():
            place = ("-o", str(self.pki / name), "--pki", str(self.pki))
            self.detctl("machine", "add", name, *place, check=True)
        self.start(
            f"agent-{name}", "detctl_agent.main", "--name", name, "--coordinator", self.network.address(name),
            "--tls", str(self.pki / name), "--catalog", str(path), "--state", str(self.folder / f"agent-{name}"),
        )  # fmt: skip
        wait_for(f"{name} is connected", lambda: self.machine(name).get("connected"))

    def person(self, name: str, role: str) -> dict[str, str]:
        """Variables of somebody with a token and a certificate of their own."""
        place = ("-o", str(self.pki / name), "--pki", str(self.pki))
        self.detctl("token", "create", "--role", role, "--name", name, *place, check=True)
        return {"DETCTL_TLS": str(self.pki / name)}

    def log_of(self, name: str) -> str:
        return Path(self.folder / f"{name}.log").read_text()
