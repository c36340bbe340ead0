"""Closures: `step(closure)` (LBFGS, all of Lightning) makes the gradients inside step, so they are read after each call.

The k-th call of one step has occurrence k at each site, and the micro-step of its backward.
"""

from __future__ import annotations

from typing import Any, Callable, Dict, Optional, Tuple


def find(args: Tuple[Any, ...], kwargs: Dict[str, Any]) -> Optional[Callable[..., Any]]:
    """The closure among the arguments of Optimizer.step (without self)."""
    closure = args[0] if args else kwargs.get("closure")
    return closure if callable(closure) else None


def replace(
    args: Tuple[Any, ...], kwargs: Dict[str, Any], closure: Callable[..., Any]
) -> Tuple[Tuple[Any, ...], Dict[str, Any]]:
    """The same arguments with another closure in its place."""
    if args:
        return (closure, *args[1:]), kwargs
    return args, {**kwargs, "closure": closure}


def followed(closure: Callable[..., Any], after: Callable[[], Any]) -> Callable[..., Any]:
    """A closure that calls after() when the given one returned, and returns its result."""

    def call(*args: Any, **kwargs: Any) -> Any:
        result = closure(*args, **kwargs)
        after()
        return result

    return call
