"""Large digests on the training's own threads: equal to one thread's, with no thread more, and no harm to a process that forks."""

from __future__ import annotations

from pathlib import Path

import pytest
from model_twins import train

pytest.importorskip("torch")

BODY = """
import signal, threading
torch.set_num_threads(2)
torch.manual_seed(0)
model = nn.Sequential(nn.Linear(600, 700), nn.ReLU(), nn.Linear(700, 500))  # tensors of more than the 8 pieces that one thread takes
optimizer = torch.optim.Adam(model.parameters())

def count_threads():
    return len(os.listdir("/proc/self/task"))

def elsewhere(before):
    kernel.sums(model[0].weight.data_ptr(), 420_000, 4, 0)  # the runtime would give this thread a pool of its own
    print("other", count_threads() - before)

kernel = getattr(sys.modules.get("detctl_probe.digest.n6"), "KERNEL", None)  # None in the uninstrumented run
for step in range(3):
    optimizer.zero_grad()
    output = model(torch.full((700, 600), 0.5 + step))
    before = count_threads()
    output.square().mean().backward()
    optimizer.step()
    # Of the step that has ended: in the first one digests are taken alone, and its threads are not counted.
    print("step", step, kernel and kernel._team[1], step and count_threads() - before)
    if kernel is not None and step == 2:
        other = threading.Thread(target=elsewhere, args=(before,))
        other.start()
        other.join()
weights(model)
if kernel is not None:
    from detctl_probe.digest import n6 as digest
    kernel.alone()
    for name, tensor in model.named_parameters():
        print("digest", name, digest.digest_tensor(tensor).hex())
    kernel.share(1, 2)  # an address that nobody could call
    child = os.fork()
    if not child:
        signal.alarm(60)
        digest.digest_tensor(model[0].weight)
        os._exit(0)
    print("child", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def test_shared_digests_are_those_of_one_thread(tmp_path: Path) -> None:
    run = train(tmp_path, BODY, twins=True)
    printed = [line.split() for line in run.stdout.splitlines()]
    assert [line for line in printed if line[0] == "step"] == [
        ["step", "0", "2", "0"],
        ["step", "1", "2", "0"],
        ["step", "2", "2", "0"],
    ]
    last = {f"root1/{name}": value for kind, name, value, *_ in ([*line, ""] for line in printed) if kind == "digest"}
    recorded = {r.site: r.digest.hex() for r in run.main.of("update", 2)}
    assert len(last) == 4
    assert last == {site: recorded[site] for site in last}
    assert ["other", "1"] in printed, "itself"
    assert printed[-1] == ["child", "0"], printed[-1]
