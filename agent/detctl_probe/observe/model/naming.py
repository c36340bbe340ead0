"""Names of modules, parameters and buffers: `root1/layer1.0.conv1`, the same with and without a wrapper around the model.

A root is a module that is called while no other runs; roots are numbered by their first call in training. A root that is first called in
evaluation is `eval-root1`, and everything in it gets its name in the training when the training first calls it. So an evaluation before
the training changes no name in the training. Everything below a root gets its name
once, from a walk of the tree; a module that the walk did not see (replaced since, kept in a list) triggers another walk and is
otherwise named after its caller and its class. Names are kept by id beside a weak reference: nothing is kept alive.
"""

from __future__ import annotations

import weakref
from typing import Any, Dict, Iterator, List, Optional, Tuple

# Wrapper class -> the child that it wraps. Classes by name: the probe imports none of them.
WRAPPERS = {
    "DistributedDataParallel": "module",
    "DataParallel": "module",
    "OptimizedModule": "_orig_mod",
    "FullyShardedDataParallel": "_fsdp_wrapped_module",
    "CheckpointWrapper": "_checkpoint_wrapped_module",
    "OffloadWrapper": "_checkpoint_wrapped_module",
}
_WRAPPER_PACKAGES = ("torch.", "fairscale.", "accelerate.")


EVAL_ROOT = "eval-root"


def in_evaluation(site: str) -> bool:
    """Whether a name was given in evaluation."""
    return site.startswith(EVAL_ROOT)


class Named:
    """One module in the table."""

    __slots__ = ("is_root", "reference", "site", "wrapper")

    def __init__(self, module: Any, site: str, wrapper: bool, is_root: bool) -> None:
        self.reference = weakref.ref(module)
        self.site = site
        self.wrapper = wrapper
        self.is_root = is_root


def wrapped_child(module: Any) -> Optional[str]:
    """The name of the child that this wrapper wraps; None if the module is not a wrapper."""
    kind = type(module)
    child = WRAPPERS.get(kind.__name__)
    if child is None or not kind.__module__.startswith(_WRAPPER_PACKAGES):
        return None
    return child if child in module._modules else None


def walk(module: Any, site: str) -> Iterator[Tuple[Any, str, bool]]:
    """Yields (module, site, whether it is a wrapper) of the tree in order of registration, each module once."""
    seen = set()
    stack: List[Tuple[Any, str]] = [(module, site)]
    while stack:
        one, name = stack.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        child = wrapped_child(one)
        yield one, name, child is not None
        below = [(sub, name if part == child else join(name, part)) for part, sub in one._modules.items()]
        stack.extend(reversed(below))


def tree(module: Any) -> Iterator[Any]:
    """The modules of walk() in its order, without their names: those are kept since the first walk."""
    seen = set()
    stack = [module]
    while stack:
        one = stack.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        if one._modules:
            stack.extend(reversed(list(one._modules.values())))


def join(site: str, part: str) -> str:
    """`root1` + `layer1` is `root1/layer1`, `root1/layer1` + `0` is `root1/layer1.0`."""
    return site + (("." if "/" in site else "/") + part)


class Names:
    """The table of one process."""

    def __init__(self) -> None:
        self._modules: Dict[int, Named] = {}
        self._tensors: Dict[int, Tuple[Any, str]] = {}
        self._roots: List[Tuple[Any, str, str, bool]] = []  # reference, site, class, stateless

    def module(self, module: Any) -> Optional[Named]:
        """The module's entry, or None if no walk has seen it."""
        entry = self._modules.get(id(module))
        return entry if entry is not None and entry.reference() is module else None

    def tensor(self, tensor: Any) -> Optional[str]:
        """The site of a parameter or buffer, or None."""
        entry = self._tensors.get(id(tensor))
        return entry[1] if entry is not None and entry[0]() is tensor else None

    def trained(self, tensor: Any) -> Optional[str]:
        """The site of a parameter or buffer in training, or None."""
        site = self.tensor(tensor)
        return None if site is None or in_evaluation(site) else site

    def trained_roots(self) -> List[Tuple[Any, str]]:
        """The roots that the training has called and that still exist."""
        return [(module, site) for module, site in self.roots() if not in_evaluation(site)]

    def roots(self) -> List[Tuple[Any, str]]:
        """The roots that still exist, in order of their first call."""
        living = ((reference(), site) for reference, site, _, _ in self._roots)
        return [(module, site) for module, site in living if module is not None]

    def add_root(self, module: Any, evaluation: bool = False) -> Named:
        """Numbers a root at its first call; a wrapper around a known module keeps that module's name."""
        inner = module
        child = wrapped_child(inner)
        while child is not None:
            inner = inner._modules[child]
            child = wrapped_child(inner)
        known = self.module(inner)
        if known is not None and in_evaluation(known.site) and not evaluation:
            known = None
            self._roots = [row for row in self._roots if row[0]() is not inner]
        site = known.site if known is not None else self._number(inner, EVAL_ROOT if evaluation else "root")
        if known is None or not known.is_root:
            self._roots.append((weakref.ref(inner), site, type(inner).__qualname__, stateless(inner)))
        self.refresh(module, site)
        entry = self._modules[id(module)]
        entry.is_root = True
        return entry

    def refresh(self, module: Any, site: str) -> None:
        """Names the modules of the tree that have no name yet, or one of evaluation."""
        trained = not in_evaluation(site)
        for one, name, wrapper in walk(module, site):
            entry = self.module(one)
            if entry is None or (trained and in_evaluation(entry.site)):
                self._modules[id(one)] = Named(one, name, wrapper, one is module)
            own = self._modules[id(one)].site
            for table in (one._parameters, one._buffers):
                for part, tensor in table.items():
                    if tensor is None:
                        continue
                    named = self.tensor(tensor)
                    if named is None or (trained and in_evaluation(named)):
                        self._tensors[id(tensor)] = (weakref.ref(tensor), join(own, part))
        self._sweep()

    def _number(self, module: Any, prefix: str) -> str:
        """`root3`; a stateless module takes the number of a dead one of its class (a loss that is made again in each step)."""
        if stateless(module):
            kind = type(module).__qualname__
            for place, (reference, site, name, without_state) in enumerate(self._roots):
                if without_state and name == kind and reference() is None and site.startswith(prefix):
                    del self._roots[place]
                    return site
        taken = {site for _, site, _, _ in self._roots}
        number = sum(site.startswith(prefix) for site in taken) + 1
        while "%s%d" % (prefix, number) in taken:
            number += 1
        return "%s%d" % (prefix, number)

    def _sweep(self) -> None:
        """Removes modules that no longer exist, now and then: a script that keeps making modules must not fill the table."""
        if len(self._modules) > 10000 and len(self._modules) % 1000 == 0:
            self._modules = {key: entry for key, entry in self._modules.items() if entry.reference() is not None}
            self._tensors = {key: entry for key, entry in self._tensors.items() if entry[0]() is not None}


def stateless(module: Any) -> bool:
    """Whether a module has no parameters, buffers or children, like a loss or an activation."""
    return not (module._parameters or module._modules or any(b is not None for b in module._buffers.values()))
