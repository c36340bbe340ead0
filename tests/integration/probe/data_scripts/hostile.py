# ruff: noqa -- a program as users write it, not ours
"""Scenes that strain a DataLoader's observer. Each prints one line; with the probe the lines must be those without it.

Each scene is one step of the recorder, where there is one, so that a test finds its records by the number of the scene.
"""

import collections
import dataclasses
import os
import re
import signal
import sys
import traceback

import torch
from torch.utils.data import (
    BatchSampler,
    ConcatDataset,
    DataLoader,
    Dataset,
    DistributedSampler,
    IterableDataset,
    SequentialSampler,
    Subset,
    get_worker_info,
)
from torch.utils.data import dataloader as internals

Pair = collections.namedtuple("Pair", "left right")


@dataclasses.dataclass
class Record:
    image: torch.Tensor
    extra: dict


class Numbers(Dataset):
    def __init__(self, count=12):
        self.count = count

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        return torch.full((2, 3), float(index)), index


class Nested(Numbers):
    def __getitem__(self, index):
        x = torch.full((2,), float(index))
        return {"image": x, "pair": Pair(x + 1, str(index)), "meta": {"id": index, "none": 1.5, "list": [x, x * 2]}}


class Many(Numbers):
    def __getitems__(self, indices):
        return [super(Many, self).__getitem__(i) for i in indices]


class Named(Dataset):
    table = {"a": 1.0, "b": 2.0, "c": 3.0}

    def __len__(self):
        return 3

    def __getitem__(self, key):
        return torch.tensor(self.table[key[0]])


class Eats(Numbers):
    """Changes the very list of indices that it is given."""

    def __getitems__(self, indices):
        taken = [super(Eats, self).__getitem__(i) for i in indices]
        indices.clear()
        return taken


class Odd(Numbers):
    """Samples with nothing to digest: sparse, an object without attributes, one that holds itself."""

    def __getitem__(self, index):
        loop = []
        loop.append(loop)
        return {"sparse": torch.eye(3).to_sparse(), "object": object(), "loop": loop, "set": {1}, "none": None}


class Stream(IterableDataset):
    def __init__(self, count=10):
        self.count = count

    def __iter__(self):
        info = get_worker_info()
        start, step = (0, 1) if info is None else (info.id, info.num_workers)
        for index in range(start, self.count, step):
            yield torch.tensor([index, index])


class Raises(Numbers):
    def __init__(self, kind, at=5):
        super().__init__()
        self.kind, self.at = kind, at

    def __getitem__(self, index):
        if index == self.at:
            try:
                {}["inner"]
            except KeyError:
                raise self.kind("index %d" % index)
        return super().__getitem__(index)


class Dies(Numbers):
    def __init__(self, how):
        super().__init__()
        self.how = how

    def __getitem__(self, index):
        if index == 5:
            if self.how == "exit":
                os._exit(3)
            if self.how == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            signal.pause()  # hangs
        return super().__getitem__(index)


class Inner(Numbers):
    """Runs a loader of its own in each sample."""

    def __getitem__(self, index):
        return torch.stack([x for x, _ in DataLoader(Numbers(4), 2)]).sum() + index


class Strings(torch.utils.data.Sampler):
    def __init__(self):
        pass

    def __len__(self):
        return 3

    def __iter__(self):
        return iter([("c", 1), ("a", 2), ("b", 3)])


class Lazy:
    """A batch sampler whose batches are one-way iterators."""

    def __iter__(self):
        return iter([iter([1, 2]), iter([3, 4])])


def to_record(samples):
    return Record(
        torch.stack([x for x, _ in samples]), {"ids": [i for _, i in samples], "ragged": [x for x, _ in samples]}
    )


def refuses(samples):
    raise ValueError("cannot collate %d" % len(samples))


def bad_init(worker):
    raise OSError("no device %d" % worker)


class Subclass(DataLoader):
    def __iter__(self):
        for batch in super().__iter__():
            yield batch


class OwnIterator(internals._MultiProcessingDataLoaderIter):
    def _next_data(self):
        return super()._next_data()


class OwnLoop(DataLoader):
    def _get_iterator(self):
        return OwnIterator(self)


def show(value):
    if isinstance(value, torch.Tensor):
        return value.to_dense().tolist() if value.is_sparse else value.tolist()
    if isinstance(value, dict):
        return {key: show(item) for key, item in value.items()}
    if dataclasses.is_dataclass(value):
        return [type(value).__name__, show(vars(value))]
    if isinstance(value, (list, tuple)):
        return "loop" if value and value[0] is value else [type(value).__name__, *map(show, value)]
    return type(value).__name__ if type(value) is object else value


def everything(loader):
    return [show(batch) for batch in loader]


def death(loader):
    """When a dead worker is noticed depends on timing; the message does not."""
    return failure(loader)[1:3]


def failure(loader):
    got = []
    try:
        for batch in loader:
            got.append(show(batch)[-1])
    except Exception as error:
        text = re.sub(r"pid(\(s\))? [0-9, ]+", "pid", str(error))
        frames = [f.name for f in traceback.extract_tb(error.__traceback__) if "detctl_probe" not in f.filename]
        return got, type(error).__name__, text, frames, type(error.__cause__).__name__, type(error.__context__).__name__
    return got, "no failure"


def persistent(workers):
    loader = DataLoader(Numbers(4), 2, num_workers=workers, persistent_workers=workers > 0)
    return [everything(loader) for _ in range(3)]


def broken_off(workers):
    loader = DataLoader(Numbers(), 2, shuffle=True, num_workers=workers)
    first = []
    for batch in loader:
        first.append(show(batch))
        if len(first) == 2:
            break
    return first, everything(loader)


def interleaved(workers):
    left, right = DataLoader(Numbers(6), 2, num_workers=workers), DataLoader(Nested(6), 3, num_workers=workers)
    return [(show(a), show(b)) for a, b in zip(left, right)]


def goes_on(workers):
    """One batch fails, the next are asked for all the same."""
    iterator = iter(DataLoader(Raises(ValueError, 3), 2, num_workers=workers))
    got = []
    for _ in range(6):
        try:
            got.append(show(next(iterator))[-1])
        except ValueError:
            got.append("failed")
    return got


def attributes(workers):
    collate = to_record
    loader = DataLoader(Numbers(), 4, num_workers=workers, collate_fn=collate)
    iterator = iter(loader)
    next(iterator)
    return (
        len(loader),
        len(iterator),
        sorted(vars(loader)),
        loader.collate_fn is collate,
        iter(iterator) is iterator,
        type(iterator).__name__,
    )


def epochs(workers):
    sampler = DistributedSampler(Numbers(), num_replicas=2, rank=1, seed=3)
    loader = DataLoader(Numbers(), 3, sampler=sampler, num_workers=workers)
    got = []
    for epoch in range(2):
        sampler.set_epoch(epoch)
        got.append([show(batch)[-1] for batch in loader])
    return got


SCENES = {
    "nested": lambda w: everything(DataLoader(Nested(), 4, num_workers=w)),
    "collate": lambda w: everything(DataLoader(Numbers(), 5, num_workers=w, collate_fn=to_record)),
    "unbatched": lambda w: everything(DataLoader(Numbers(3), batch_size=None, num_workers=w)),
    "stream": lambda w: everything(DataLoader(Stream(), 3, num_workers=w)),
    "stream-drop": lambda w: everything(DataLoader(Stream(), 4, num_workers=w, drop_last=True)),
    "stream-unbatched": lambda w: everything(DataLoader(Stream(5), batch_size=None, num_workers=w)),
    "strings": lambda w: everything(DataLoader(Named(), 2, sampler=Strings(), num_workers=w)),
    "batch-sampler": lambda w: everything(
        DataLoader(Numbers(), batch_sampler=BatchSampler(SequentialSampler(range(5)), 2, False), num_workers=w)
    ),
    "subset": lambda w: everything(DataLoader(Subset(Many(), [7, 1, 5]), 2, num_workers=w)),
    "concat": lambda w: everything(DataLoader(ConcatDataset([Numbers(3), Many(3)]), 4, num_workers=w)),
    "eats": lambda w: everything(DataLoader(Eats(), 4, num_workers=w)),
    # Never in a worker: torch 2.1 cannot send a sparse tensor from there.
    "odd": lambda w: everything(DataLoader(Odd(2), 2, collate_fn=lambda samples: samples[0])),
    "persistent": persistent,
    "broken-off": broken_off,
    "interleaved": interleaved,
    "raises": lambda w: failure(DataLoader(Raises(ValueError), 2, num_workers=w)),
    "raises-key": lambda w: failure(DataLoader(Raises(KeyError), 2, num_workers=w)),
    "raises-stop": lambda w: failure(DataLoader(Raises(StopIteration), 2, num_workers=w)),
    "raises-collate": lambda w: failure(DataLoader(Numbers(), 2, num_workers=w, collate_fn=refuses)),
    "raises-init": lambda w: failure(DataLoader(Numbers(), 2, num_workers=w, worker_init_fn=bad_init)),
    "goes-on": goes_on,
    "inner": lambda w: everything(DataLoader(Inner(4), 2, num_workers=w)),
    "attributes": attributes,
    "epochs": epochs,
    "subclass": lambda w: everything(Subclass(Numbers(4), 2, num_workers=w)),
    "dies-exit": lambda w: death(DataLoader(Dies("exit"), 2, num_workers=w)) if w else None,
    "dies-kill": lambda w: death(DataLoader(Dies("kill"), 2, num_workers=w)) if w else None,
    "hangs": lambda w: death(DataLoader(Dies("hang"), 2, num_workers=w, timeout=2)) if w else None,
    "own-iterator": lambda w: everything(OwnLoop(Numbers(4), 2, num_workers=w)) if w else None,
    "lazy": lambda w: everything(DataLoader(Numbers(), batch_sampler=Lazy(), num_workers=w)) if not w else None,
    "unpicklable": lambda w: (
        failure(DataLoader(Numbers(), 2, num_workers=w, collate_fn=lambda s: s, multiprocessing_context="spawn"))
        if w
        else None
    ),
}


def main():
    recorder = sys.modules.get("detctl_probe.recording.recorder")
    for name in SCENES:
        torch.manual_seed(11)
        print(name, SCENES[name](int(sys.argv[1])), torch.rand(1).item(), flush=True)
        if recorder is not None:
            recorder.recorder().end_step()


if __name__ == "__main__":
    main()
