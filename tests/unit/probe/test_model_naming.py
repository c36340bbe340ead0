"""Names: the same with and without a wrapper, once for what is shared, and nothing kept alive."""

from __future__ import annotations

import gc
import weakref

import torch
from detctl_probe.observe.model.naming import Names, join, walk
from detctl_probe.observe.model.tensors import fingerprint_tensor, layout, tensors
from torch import nn


def model() -> nn.Module:
    return nn.Sequential(nn.Linear(2, 2), nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2)))


def test_sites_are_paths_below_a_numbered_root() -> None:
    names, first, second = Names(), model(), nn.Linear(2, 2)
    assert names.add_root(first).site == "root1"
    assert names.add_root(second).site == "root2"
    found = names.module(first[1][0])
    assert found is not None and found.site == "root1/1.0"
    assert names.tensor(first[1][1].running_mean) == "root1/1.1.running_mean"
    assert names.tensor(second.weight) == "root2/weight"
    assert join("root1", "a") == "root1/a" and join("root1/a", "b") == "root1/a.b"


def test_wrappers_leave_no_trace() -> None:
    plain = model()
    wrapped = nn.DataParallel(plain)
    assert [site for _, site, _ in walk(wrapped, "root1")][1:] == [site for _, site, _ in walk(plain, "root1")]
    names = Names()
    assert names.add_root(wrapped).wrapper
    inner = names.module(plain)
    assert inner is not None and (inner.site, inner.wrapper) == ("root1", False)
    later = Names()
    later.add_root(plain)
    assert later.add_root(nn.DataParallel(plain)).site == "root1", "wrapped after its first call"


def test_an_attribute_called_module_keeps_its_name() -> None:
    class Holder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.module = nn.Linear(2, 2)

    assert [site for _, site, _ in walk(Holder(), "root1")] == ["root1", "root1/module"]


def test_tied_parameters_have_their_first_name() -> None:
    tied = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    tied[1].weight = tied[0].weight
    names = Names()
    names.add_root(tied)
    assert names.tensor(tied[1].weight) == "root1/0.weight"


def test_a_stateless_root_made_anew_takes_the_number_of_the_dead_one() -> None:
    names = Names()
    names.add_root(nn.Linear(2, 2))  # dies too, but has state: its number stays taken
    for _ in range(5):
        loss = nn.CrossEntropyLoss()
        assert names.add_root(loss).site == "root2"
        del loss
        gc.collect()


def test_names_keep_nothing_alive() -> None:
    names, one = Names(), model()
    names.add_root(one)
    watched = [weakref.ref(one), weakref.ref(one[0].weight)]
    del one
    gc.collect()
    assert [reference() for reference in watched] == [None, None]
    assert names.roots() == []


def test_tensors_of_a_value_have_paths() -> None:
    value = {"logits": torch.zeros(1), "more": (torch.zeros(1), [None, torch.zeros(1)]), "text": "no"}
    assert [path for path, _ in tensors(value)] == ["[logits]", "[more][0]", "[more][1][1]"]
    assert [path for path, _ in tensors(torch.zeros(1))] == [""]


def test_layout_is_reported_only_where_it_is_odd() -> None:
    image = torch.zeros(2, 3, 4, 4)
    assert layout(image) is None
    odd = layout(image.to(memory_format=torch.channels_last))
    assert odd is not None and odd["layout"]["strides"] == [48, 1, 12, 3]
    shifted = layout(torch.zeros(17)[1:])
    assert shifted is not None and shifted["layout"]["align"] == 4


def test_a_print_asks_nothing_of_autograd() -> None:
    leaf = torch.ones(3, requires_grad=True)
    out = leaf * 2
    version = out._version
    value = fingerprint_tensor(out, sketch=True)
    assert (value.dtype, value.shape, out._version, out.grad_fn is not None) == ("float32", (3,), version, True)
    assert value == fingerprint_tensor(out.detach().clone(), sketch=True)
