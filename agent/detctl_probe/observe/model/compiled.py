"""Decides when hooks must step aside: under torch.compile, CUDA graph capture and torch.func.

Hooks return early while the compiler traces, and never use torch.compiler.disable (docs/adr/0029). Three consequences, all tested:

* A hook or wrapper that Dynamo inlines sees `is_compiling()` folded to True and vanishes from the graph.
* After a graph break Dynamo also compiles the probe's frames as roots, which would make the fold wrong. `hide` marks their code as
  skipped, `pause` switches frame evaluation off for what they call, and on again for what they wrap.
* `module.compile()` replaces the call in which global hooks fire: it is wrapped so that the boundary is still observed.

The inside of a compiled region is reported as unobserved; its boundary (what the compiled root returned) is a forward record.
"""

from __future__ import annotations

import functools
import sys
from typing import Any, Callable, Optional, TypeVar

from detctl_probe.recording.recorder import Recorder

_COMPILED = (("frames", "ok"), ("stats", "unique_graphs"))

F = TypeVar("F", bound=Callable[..., Any])


def compiling(torch: Any) -> Callable[[], bool]:
    """torch's own `is_compiling`, by identity, so that Dynamo folds it."""
    for holder, name in (
        (getattr(torch, "compiler", None), "is_compiling"),
        (getattr(torch, "_utils", None), "is_compiling"),
    ):
        found = getattr(holder, name, None)
        if found is not None:
            answer: Callable[[], bool] = found
            return answer
    return lambda: False


def pausing(torch: Any) -> Callable[[Any], Any]:
    """pause(None) switches Dynamo's frame evaluation off in this thread and returns what was on; pause(that) restores it."""
    try:
        from torch._C._dynamo import eval_frame  # type: ignore[import-not-found,unused-ignore]

        pause: Callable[[Any], Any] = eval_frame.set_eval_frame
        return pause
    except ImportError:
        return lambda callback: None


def hide(function: F) -> F:
    """Marks a function's code so that Dynamo never compiles its frame as a root; it is still inlined where traced."""
    try:
        from torch._C._dynamo import eval_frame

        if hasattr(eval_frame, "skip_code"):
            eval_frame.skip_code(function.__code__)
        else:
            action = eval_frame._FrameAction
            strategy = eval_frame._FrameExecStrategy(action.SKIP, action.DEFAULT)
            eval_frame.set_code_exec_strategy(function.__code__, strategy)
    except (ImportError, AttributeError, TypeError):
        pass
    return function


def aside(torch: Any, inner: Callable[[], Optional[str]]) -> Callable[[], Optional[str]]:
    """Returns a function that returns why nothing must be recorded now (in a word), or None; inner: the result of inner_aside."""
    is_compiling = compiling(torch)
    has_cuda = bool(getattr(torch._C, "_cuda_isCurrentStreamCapturing", None))

    def why() -> Optional[str]:
        if is_compiling():
            return "compiling"
        found = inner()
        if not found and has_cuda and torch.cuda.is_initialized() and torch._C._cuda_isCurrentStreamCapturing():
            return "CUDA graph capture"
        return found

    return why


def inner_aside(torch: Any) -> Callable[[], Optional[str]]:
    """`aside` inside a root that was not aside, for a hook that has checked whether the compiler traces: called for every module.

    `backward`: the autograd engine runs, so a forward is a recomputation (checkpointing) and a backward a nested one.
    """
    graph_task = torch._C._current_graph_task_id
    tracing = torch._C._get_tracing_state
    functorch = getattr(torch._C, "_functorch", None)
    peek = getattr(functorch, "peek_interpreter_stack", None) or (lambda: None)

    def why() -> Optional[str]:
        if graph_task() != -1:
            return "backward"
        if tracing() is not None:
            return "torch.jit.trace"
        if peek() is not None:
            return "torch.func transform"
        return None

    return why


def install(recorder: Recorder) -> None:
    """Keeps torch's warning about global hooks quiet and the boundary of `module.compile()` visible."""
    torch = sys.modules["torch"]
    row = recorder.observer("compiled", "forward")
    _discount_own_hooks(torch)
    _keep_boundary(torch)
    recorder.at_step_start(lambda: report_compiled_functions(recorder))
    row.installed = True


def is_generated(module: Any) -> bool:
    """Whether this is the inside of a compiled region: a graph module without a name, in a process that compiles."""
    kind = getattr(sys.modules.get("torch.fx.graph_module"), "GraphModule", None)  # torch renames its classes
    return kind is not None and isinstance(module, kind) and compiled_frames()


def compiled_frames() -> bool:
    """Whether Dynamo has compiled anything in this process."""
    counters = getattr(sys.modules.get("torch._dynamo.utils"), "counters", None)
    if counters is None:
        return False
    # With fullgraph=True only the second counts; looking a name up must not make it (a Counter by default).
    return any(name in counters and counters[name].get(key, 0) > 0 for name, key in _COMPILED)


def report_compiled_functions(recorder: Recorder) -> None:
    """Reports the frames that Dynamo compiled as unobserved."""
    if compiled_frames():
        recorder.unobserved("forward", "compiled regions", "torch.compile fuses what modules would return")


def _discount_own_hooks(torch: Any) -> None:
    """Silences torch.compile's warning of global hooks (an error under -W error): the probe's hooks are harmless."""
    holder = torch.nn.modules.module
    original = getattr(holder, "_has_any_global_hook", None)
    if original is None or hasattr(original, "_detctl"):
        return

    def others() -> bool:
        tables = (
            "_global_backward_pre_hooks",
            "_global_backward_hooks",
            "_global_forward_pre_hooks",
            "_global_forward_hooks",
        )
        hooks = [hook for table in tables for hook in getattr(holder, table, {}).values()]
        return any(not hasattr(hook, "_detctl") for hook in hooks)

    others._detctl = True  # type: ignore[attr-defined]
    holder._has_any_global_hook = others


def _keep_boundary(torch: Any) -> None:
    module_class = torch.nn.Module
    original = getattr(module_class, "compile", None)
    if original is None or hasattr(original, "_detctl"):
        return
    is_compiling = compiling(torch)

    @functools.wraps(original)
    def compile_module(self: Any, *args: Any, **kwargs: Any) -> Any:
        result = original(self, *args, **kwargs)
        compiled = self._compiled_call_impl
        hooks = torch.nn.modules.module

        def call(*inputs: Any, **named: Any) -> Any:
            if is_compiling():
                return compiled(*inputs, **named)
            before = [h for h in hooks._global_forward_pre_hooks.values() if hasattr(h, "_detctl")]
            after = [h for h in hooks._global_forward_hooks.values() if hasattr(h, "_detctl")]
            for hook in before:
                hook(self, inputs)
            output = None
            try:
                output = compiled(*inputs, **named)
                return output
            finally:
                for hook in after:
                    hook(self, inputs, output)

        if compiled is not None:
            self._compiled_call_impl = hide(call)
        return result

    compile_module._detctl = True  # type: ignore[attr-defined]
    module_class.compile = compile_module
