"""Turns the options of `detctl audit` into the request of the contract."""

from __future__ import annotations

import getpass
from collections.abc import Mapping, Sequence

from detctl_proto.v1 import audits_pb2

from detctl_cli.audits.option_values import assignment_of, requested_window
from detctl_cli.audits.options import AuditOptions


def request_of(
    options: AuditOptions, recipe: str, machines: Sequence[str], parameters: Mapping[str, str] | None = None
) -> audits_pb2.AuditRequest:
    """Returns the request. Raises UsageError for options that are malformed or exclude each other.

    parameters: names of --set and --vary -> the parameters of a local recipe that they mean.
    """
    names = parameters or {}
    start, end = requested_window(options.recording.steps, options.recording.to_end)
    return audits_pb2.AuditRequest(
        recipe=recipe,
        machines=machines,
        environments=options.runs.environments,
        twins=options.runs.twins,
        step_from=start,
        step_to=end or 0,
        to_end=end is None,
        level=options.recording.level,
        set=[_variation("--set", text, names) for text in options.variation.set_],
        vary=[_variation("--vary", text, names) for text in options.variation.vary],
        requested_by=_user(),
        budget_share=options.recording.budget_share,
        no_zoom=not options.diagnosis.zoom,
        explain=options.diagnosis.explain,
        budget_runs=options.experiments.budget_runs or 0,
        self_test=options.experiments.self_test,
        strict=options.outcome.strict,
        join_only=options.joining.join_only,
        joiners=options.joining.joiners,
        # Users start joined runs themselves, so a failure of one does not take away the runs of the others.
        stop_on_failure=not options.runs.keep_going and not options.joining.join_only,
    )


def _variation(option: str, text: str, names: Mapping[str, str]) -> audits_pb2.Variation:
    name, values = assignment_of(option, text)
    return audits_pb2.Variation(name=names.get(name, name), values=values)


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):
        return ""
