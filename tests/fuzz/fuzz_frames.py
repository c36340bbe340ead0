"""Frames of a training process, as the agent takes them apart and packs what they hold."""

from __future__ import annotations

from harness import fuzz, instrumented

with instrumented("detctl_agent", "detctl_proto.outside_json", "detctl_probe.transport"):
    from detctl_agent.recording.ranks import Ranks
    from detctl_coordinator.errors.codes import RefusedCallError
    from detctl_coordinator.wire.records import seal_from_proto
    from detctl_probe.transport.frames import FrameReader, ProtocolError
    from detctl_proto.v1 import agents_pb2


def target(data: bytes) -> None:
    ranks = Ranks("run", 1, "module", lambda: 0.0)
    process, buffer = ranks.connect(), FrameReader()
    messages = []
    try:
        # Two pieces, cut where the input says: a frame may come in parts.
        cut = data[0] * 16 if data else 0
        for piece in (data[1 : 1 + cut], data[1 + cut :]):
            for kind, payload in buffer.feed(piece):
                messages += ranks.frame(process, kind, payload)
    except ProtocolError:
        pass
    messages += ranks.flush() + ranks.disconnect(process, "cut")
    for message in messages:
        again = agents_pb2.IngestRequest.FromString(message.SerializeToString())
        if again.WhichOneof("kind") == "seal":
            try:
                seal_from_proto(again.seal)
            except RefusedCallError as error:
                raise AssertionError("the agent sends a seal that the coordinator does not take") from error
    str((ranks.facts, ranks.cost, ranks.troubles, ranks.over, ranks.elsewhere, ranks.last_step)).encode("utf-8")


if __name__ == "__main__":
    fuzz(target)
