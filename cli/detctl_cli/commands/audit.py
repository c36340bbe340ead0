"""detctl audit RECIPE --machines …; detctl audit -- COMMAND"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import rich_click as click
from detctl_proto.recordings.run_labels import DEFAULT_ENVIRONMENT

from detctl_cli.audits.options import WAIT_S, AuditOptions, AuditWaiting, CommandRuns
from detctl_cli.commands.options import (
    AuditOutput,
    DashCommand,
    command_after_dashes,
    configured,
    not_configured,
    service,
    service_options,
    settings,
)
from detctl_cli.errors import UsageError
from detctl_cli.exits import Exit
from detctl_cli.option_groups import option_groups

if TYPE_CHECKING:
    from detctl_proto.v1.audits_pb2 import AuditPlan, AuditRequest

    from detctl_cli.audits.confirm import Confirmation
    from detctl_cli.audits.stopwatch import Stopwatch
    from detctl_cli.service.client import Coordinator


@click.command("audit", cls=DashCommand, short_help="Run identical trainings, and report where and why they diverge.")
@click.argument("recipe", required=False)
@option_groups(options=AuditOptions, local=CommandRuns, waiting=AuditWaiting, output=AuditOutput)
@service_options
def command(
    recipe: str | None, options: AuditOptions, local: CommandRuns, waiting: AuditWaiting, output: AuditOutput
) -> Exit:
    """Run trainings that should be identical (twins), and report where, why and from which origin they diverge.

    RECIPE names a training in the catalogs of the machines. To audit a command instead, write it after `--`: it runs
    on this machine without a coordinator, and its data stays in ./.detctl.

    \b
    Examples:
      detctl audit -- python train.py --seed 0
      detctl audit --twins 2 --vary workers=0,2 -- python train.py
      detctl audit --vary env:SANITY_STEPS=0,2 --vary arg:--lr=0.1,0.01 -- python train.py
      detctl audit digits --machines gpu1,gpu2
      detctl audit bert --join-only --machines gpu1,gpu2 --twins 2
    """
    typed = command_after_dashes()
    if options.joining.join_only:
        if typed is not None or waiting.attach:
            raise UsageError(
                "--join-only does not take a command or --attach", "give the command to detctl record --join"
            )
        recipe = recipe or "joined"
    elif options.joining.joiners:
        raise UsageError("--joiners is given without --join-only", "add --join-only")
    if waiting.attach:
        return _attach(recipe, typed, options, waiting, output)
    if typed is not None:
        _check_local(typed, recipe, options, local, waiting)
        return _audit_command(typed, options, local, waiting, output)
    return _audit_recipe(_checked_recipe(recipe, options, local), options, waiting, output)


def _attach(
    recipe: str | None, typed: list[str] | None, options: AuditOptions, waiting: AuditWaiting, output: AuditOutput
) -> Exit:
    from detctl_cli.audits.flow import finish

    if recipe or typed is not None or options.runs.machines:
        raise UsageError("--attach does not take a recipe, a command or machines", "write detctl audit --attach AUDIT")
    assert waiting.attach is not None
    with service() as coordinator:
        return finish(
            coordinator, waiting.attach, waiting.wait_s, output.form(), attached=True, stopwatch=_stopwatch(output)
        )


def _check_local(
    typed: list[str], recipe: str | None, options: AuditOptions, local: CommandRuns, waiting: AuditWaiting
) -> None:
    if not typed:
        raise UsageError("there is no command after --", "for example: detctl audit -- python train.py")
    if Path.cwd() == Path("/"):
        raise UsageError(
            "the current folder is /, and twins get a private view of the current folder",
            "change to the folder of the training first",
        )
    if recipe:
        raise UsageError(f"both a recipe ({recipe}) and a command after -- are given", "leave one of them out")
    if options.runs.machines:
        raise UsageError(
            "--machines does not go with a command after --, which runs on this machine", "machines run recipes"
        )
    if waiting.detach:
        raise UsageError(
            "--detach does not go with a command after --, whose coordinator ends with this command",
            "leave --detach out",
        )
    if local.in_place and (local.parallel or 1) > 1:
        raise UsageError(
            "--parallel does not go with --in-place, in which all runs write to the same folder",
            "leave one of them out",
        )
    if local.copy and local.in_place:
        raise UsageError("--copy and --in-place exclude each other", "leave one of them out")
    if local.keep_files and local.in_place:
        raise UsageError(
            "--keep-files does not go with --in-place", "runs in the folder itself leave their files there"
        )
    if options.runs.environments not in ([], [DEFAULT_ENVIRONMENT]):
        raise UsageError(
            "--environments does not go with a command after --, which runs in this environment",
            "machines with a catalog have environments",
        )


def _checked_recipe(recipe: str | None, options: AuditOptions, local: CommandRuns) -> str:
    """Returns the recipe. Raises CliError if the options do not fit one."""
    if local.given():
        raise UsageError(
            "--copy, --in-place, --timeout and --parallel go with a command after --",
            "recipes and machines set their own",
        )
    if not recipe:
        raise UsageError("neither a recipe nor a command after -- is given", "detctl audit -- python train.py")
    if Path(recipe).suffix == ".py":
        raise UsageError(f"{recipe} is a script, and not the name of a recipe", f"detctl audit -- python {recipe}")
    if settings().config().coordinator is None:
        # Catalogs lie on machines, which only a coordinator knows.
        raise not_configured("or run a command here: detctl audit -- python train.py")
    if not options.runs.machines:
        raise UsageError("no machine is given", "add --machines NAME,NAME; detctl machines lists them")
    return recipe


def _audit_recipe(recipe: str, options: AuditOptions, waiting: AuditWaiting, output: AuditOutput) -> Exit:
    from detctl_cli.audits.flow import finish, start
    from detctl_cli.audits.request import request_of
    from detctl_cli.progress.progress import Progress

    request = request_of(options, recipe, options.runs.machines)
    stopwatch = _stopwatch(output)
    with configured() as coordinator, Progress(quiet=output.quiet) as progress:
        if options.runs.dry_run:
            progress.stop()
            return _show_plan(coordinator, request, output.as_json)
        progress.short_stage(f"requesting the audit from the coordinator at {coordinator.address}")
        plan = start(coordinator, request)
        if options.joining.join_only:
            _explain_how_to_join(plan)
        if waiting.detach:
            progress.stop()
            return _detached(plan.audit_id, output.as_json)
        return finish(
            coordinator,
            plan.audit_id,
            waiting.wait_s,
            output.form(),
            progress=progress,
            explainable=not options.joining.join_only,
            confirmation=_confirmation(options, output, quiet=output.quiet),
            stopwatch=stopwatch,
        )


def _audit_command(
    typed: list[str], options: AuditOptions, local: CommandRuns, waiting: AuditWaiting, output: AuditOutput
) -> Exit:
    import os

    from detctl_proto.security.redaction import redact_command

    from detctl_cli.audits.request import request_of
    from detctl_cli.local.catalog import TIMEOUT_S, catalog_toml, recipe_of
    from detctl_cli.local.command_check import check_command
    from detctl_cli.local.kept_audits import keep
    from detctl_cli.local.places import audit_runs
    from detctl_cli.local.session import LocalService, local_machine
    from detctl_cli.output.terminal import note, stderr_is_a_file_in
    from detctl_cli.progress.progress import Progress

    if (config := settings().config()).coordinator is not None:
        note(f"the command runs on this machine; the coordinator of {config.source} ({config.coordinator}) is not used")
    request_of(options, "checked", ["before-anything-starts"])
    check_command(typed, Path.cwd())
    variation = options.variation
    single = options.runs.twins * variation.configurations() == 1
    in_copy = local.copy or local.keep_files or (not local.in_place and not single)
    recipe = recipe_of(
        typed,
        Path.cwd(),
        copy=in_copy,
        timeout_s=local.timeout_s or TIMEOUT_S,
        keep_files=local.keep_files,
        given=variation.given(),
    )
    catalog = catalog_toml(replace(recipe, side_by_side=in_copy and local.parallel is None))
    quiet = output.quiet or stderr_is_a_file_in(Path.cwd())
    stopwatch = _stopwatch(output)
    if stopwatch is not None:
        stopwatch.enter("services")
    started = Progress(quiet=quiet)
    service = LocalService(parallel=local.parallel or 1, only_kept_answers=variation.configurations() == 1)
    with started as progress, local_machine(catalog, service, report=progress.stage) as (coordinator, machine):
        from detctl_cli.audits.flow import finish, start  # with gRPC, which was imported while the services started

        if stopwatch is not None:
            stopwatch.enter("planning")
        request = request_of(options, recipe.name, [machine], recipe.parameters)
        if options.runs.dry_run:
            progress.stop()
            return _show_plan(coordinator, request, output.as_json)
        progress.short_stage("planning the audit")
        audit_id = start(coordinator, request).audit_id
        if redact_command(typed) == list(typed):  # a credential is never written to a file that stays
            keep(audit_id, catalog, os.environ)
        code = finish(
            coordinator,
            audit_id,
            WAIT_S,
            output.form(),
            progress=progress,
            confirmation=_confirmation(options, output, quiet=quiet),
            stopwatch=stopwatch,
        )
        if local.keep_files and not quiet:
            note(f"the files that the runs wrote are in {audit_runs(audit_id)}.*/written")
        return code


def _stopwatch(output: AuditOutput) -> Stopwatch | None:
    if not output.timings:
        return None
    from detctl_cli.audits.stopwatch import Stopwatch

    return Stopwatch()


def _confirmation(options: AuditOptions, output: AuditOutput, *, quiet: bool) -> Confirmation | None:
    """Returns whether and how long the audit goes on to confirm causes. quiet: a line on stderr would change the source."""
    import sys

    from detctl_cli.audits.confirm import CONFIRM_WITHIN_S, Confirmation
    from detctl_cli.output.terminal import stdout_is_a_file_in

    within_s = options.diagnosis.confirm_within_s
    if within_s is None:
        in_terminal = sys.stdout.isatty() and sys.stderr.isatty() and not output.as_json and options.runs.twins > 1
        within_s = CONFIRM_WITHIN_S if in_terminal else 0.0
    if within_s == 0 or options.diagnosis.explain:
        return None
    last_alone = output.as_json or stdout_is_a_file_in(Path.cwd())
    return Confirmation(within_s, options.experiments.budget_runs, quiet=quiet, first_verdict=not last_alone)


def _show_plan(coordinator: Coordinator, request: AuditRequest, as_json: bool) -> Exit:
    from detctl_cli.output.terminal import console, write_json
    from detctl_cli.reporters.plan import write_plan

    plan = coordinator.plan(request)
    if as_json:
        runs = [{"label": run.label, "machine": run.machine} for run in plan.runs]
        write_json(
            {"schema": "detctl.plan/v1", "recipe": request.recipe, "runs": runs, "warnings": list(plan.warnings)}
        )
    else:
        write_plan(plan, request.recipe, console())
    return Exit.IDENTICAL


def _explain_how_to_join(plan: AuditPlan) -> None:
    """Writes the commands for each machine to stderr; stdout is for the verdict."""
    from collections import Counter

    from detctl_cli.output.clean import clean
    from detctl_cli.output.terminal import note

    note(f"audit {clean(plan.audit_id)} waits for its runs; start them with:")
    counts = Counter((run.machine, run.label.split("/")[1]) for run in plan.runs)
    several = len({environment for _, environment in counts}) > 1
    for (machine, environment), count in counts.items():
        where = f"--machine {clean(machine)}" + (f" --environment {clean(environment)}" if several else "")
        times = f"{count} times" if count > 1 else "once"
        note(f"  on {clean(machine)}, {times}: detctl record --join {clean(plan.audit_id)} {where} -- COMMAND")


def _detached(audit_id: str, as_json: bool) -> Exit:
    from detctl_cli.output.clean import clean
    from detctl_cli.output.terminal import note, write_json

    if as_json:
        write_json({"schema": "detctl.audit/v1", "audit": audit_id})
    else:
        click.echo(clean(audit_id))
        note(f"to wait for the verdict, run: detctl audit --attach {clean(audit_id)}")
        note(f"to cancel the audit, run: detctl cancel {clean(audit_id)}")
    return Exit.IDENTICAL
