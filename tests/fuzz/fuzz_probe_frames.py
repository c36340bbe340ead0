"""The reader of frames, which both ends use, and the payloads that it hands to the probe and to the agent."""

from __future__ import annotations

from harness import fuzz, instrumented

with instrumented("detctl_probe.transport.frames"):
    from detctl_probe.transport import frames


def target(data: bytes) -> None:
    reader = frames.FrameReader()
    try:
        for half in (data[: len(data) // 2], data[len(data) // 2 :]):
            for kind, payload in reader.feed(half):
                if kind == frames.STEP:
                    frames.unpack_step(payload)
                elif kind == frames.STOP:
                    frames.unpack_stop(payload)
    except frames.ProtocolError:
        pass


if __name__ == "__main__":
    fuzz(target)
