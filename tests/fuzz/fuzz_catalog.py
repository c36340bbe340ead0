"""An agent's catalog, from the bytes of its file."""

from __future__ import annotations

from harness import fuzz, instrumented, one_line, scratch

with instrumented("detctl_agent.catalog.catalog", "detctl_agent.catalog.recipe", "detctl_proto.syntax.names"):
    from detctl_agent.catalog.catalog import load
    from detctl_agent.errors import CatalogError

PATH = scratch() / "catalog.toml"


def target(data: bytes) -> None:
    PATH.write_bytes(data)
    PATH.chmod(0o600)
    try:
        load(PATH)
    except CatalogError as error:
        one_line(str(error))


if __name__ == "__main__":
    fuzz(target)
