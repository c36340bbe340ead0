"""Starts detctl's probe, then runs the sitecustomize that this file hides. The folder stands first on PYTHONPATH."""

import os
import sys


def _start():
    try:
        from detctl_probe.start import start

        start()
    except Exception as error:
        try:
            os.write(
                2,
                ("detctl: the probe does not start: %s: %s\n" % (type(error).__name__, error)).encode(
                    "utf-8", "replace"
                ),
            )
        except OSError:
            pass


def _hidden():
    """The module that `import sitecustomize` would have found without us, or None."""
    from importlib.machinery import PathFinder
    from importlib.util import module_from_spec

    here = os.path.dirname(os.path.abspath(__file__))
    rest = [entry for entry in sys.path if os.path.abspath(entry or ".") != here]
    spec = PathFinder.find_spec("sitecustomize", rest)
    if spec is None or spec.loader is None:
        return None
    return module_from_spec(spec)


_start()
_module = _hidden()
if _module is not None:
    # What it raises is its own business and site.py's to report, as it would be without us.
    sys.modules["sitecustomize"] = _module
    _module.__spec__.loader.exec_module(_module)
