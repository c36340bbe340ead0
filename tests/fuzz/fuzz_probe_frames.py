"""The probe's own reader of frames and records."""

from __future__ import annotations

from harness import fuzz, instrumented

with instrumented("detctl_probe.transport.frames"):
    from detctl_probe.transport import frames


def target(data: bytes) -> None:
    reader = frames.FrameReader()
    try:
        found = reader.feed(data[: len(data) // 2]) + reader.feed(data[len(data) // 2 :])
    except ValueError:
        return
    for kind, payload in found:
        try:
            if kind == frames.RECORDS:
                frames.unpack_records(payload)
            elif kind == frames.STEP:
                frames.unpack_step(payload)
            elif kind == frames.STOP:
                frames.unpack_stop(payload)
            else:
                frames.load_json(payload)
        except ValueError:
            pass


if __name__ == "__main__":
    fuzz(target)
