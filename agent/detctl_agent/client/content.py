"""Fetches what another run kept for a transplant, and stores it as the probe reads it (detctl_probe/intervene/transplant.py)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
from detctl_proto.files.private_files import make_private_folder, private
from detctl_proto.v1 import agents_pb2, agents_pb2_grpc

from detctl_agent.errors import AgentError, RunRefusedError

TIMEOUT_S = 120.0
BYTES_MAX = 64 << 20  # a probe keeps far less
TENSORS_MAX = 65_536


async def fetch(
    stub: agents_pb2_grpc.AgentsStub, metadata: tuple[tuple[str, str], ...], run_id: str, folder: Path
) -> None:
    """Writes index.json and one file for each tensor into `folder`.

    Raises RunRefusedError if there is nothing to transplant, AgentError if the coordinator does not answer.
    """
    make_private_folder(folder)
    index: dict[str, Any] = {}
    size = 0
    try:
        async for part in stub.Content(agents_pb2.ContentRef(run_id=run_id), metadata=metadata, timeout=TIMEOUT_S):
            size += len(part.content)
            if size > BYTES_MAX or len(index) > TENSORS_MAX:
                raise RunRefusedError(f"what run {run_id} kept is larger than {BYTES_MAX >> 20} MiB")
            # The sender chose the names, so files get numbers.
            row = index.setdefault(
                part.site, {"dtype": part.dtype, "shape": list(part.shape), "file": f"{len(index)}.bin"}
            )
            with open(folder / row["file"], "ab", opener=private) as file:
                file.write(part.content)
    except grpc.aio.AioRpcError as error:
        raise AgentError(
            f"what run {run_id} kept could not be fetched: {error.details() or error.code().name.lower()}"
        ) from None
    if not index:
        raise RunRefusedError(f"run {run_id} kept nothing that could be transplanted")
    with open(folder / "index.json", "w", encoding="utf-8", opener=private) as file:
        json.dump(index, file)
