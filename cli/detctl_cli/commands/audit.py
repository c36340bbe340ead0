"""detctl audit RECIPE --machines …; detctl audit -- COMMAND"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import rich_click as click
from detctl_proto.levels import DEFAULT_LEVEL, LEVELS
from detctl_proto.limits import TWINS_DEFAULT, TWINS_MAX

from detctl_cli.commands.options import (
    WAIT_S,
    DashCommand,
    command_after_dashes,
    configured,
    experiment_options,
    html_option,
    json_option,
    names,
    not_configured,
    service_options,
    settings,
    verbose_option,
    wait_option,
)
from detctl_cli.errors import UsageError
from detctl_cli.exits import Exit

if TYPE_CHECKING:
    from detctl_proto.v1.audits_pb2 import AuditPlan, AuditRequest

    from detctl_cli.audits.request import AuditOptions
    from detctl_cli.reporters.verdict import Form
    from detctl_cli.service.client import Coordinator


@click.command(
    "audit", cls=DashCommand, short_help="Train twins on machines, or a command here, and say where they part."
)
@click.argument("recipe", required=False)
@click.option("--machines", metavar="A,B", help="The machines that train.")
@click.option(
    "--twins",
    type=click.IntRange(1, TWINS_MAX),
    default=TWINS_DEFAULT,
    show_default=True,
    help="Runs of each arm on each machine.",
)
@click.option("--steps", metavar="A:B", help="Compare steps A to B-1; 0:32 by default.")
@click.option("--to-end", is_flag=True, help="Compare up to the end of training.")
@click.option("--environments", metavar="A,B", help="Environments of the machines' catalogs; default: default.")
@click.option(
    "--set",
    "set_",
    metavar="NAME=V",
    multiple=True,
    help="For all runs: a parameter, env:VAR or an intervention.",
)
@click.option("--vary", metavar="NAME=V,W", multiple=True, help="Compare across these values.")
@click.option("--level", type=click.Choice(LEVELS), default=DEFAULT_LEVEL, show_default=True, help="How fine.")
@click.option(
    "--zoom/--no-zoom",
    default=True,
    show_default=True,
    help="Where runs part in what is computed, run that step again at level op and name the operation.",
)
@click.option(
    "--explain",
    is_flag=True,
    help="Confirm causes by experiments: two more runs, and two for each setting in which the arms differ.",
)
@experiment_options
@click.option(
    "--budget",
    metavar="SHARE",
    help="Share of step time that the probe may take, as 2%: it leaves out what costs more.",
)
@click.option(
    "--copy", "copy", is_flag=True, help="With --: each run in its own copy of this folder (default for twins)."
)
@click.option("--in-place", is_flag=True, help="With --: all runs in this folder itself.")
@click.option(
    "--timeout", "timeout_s", metavar="SECONDS", type=click.IntRange(1), help="With --: end a run after that."
)
@click.option(
    "--join-only",
    is_flag=True,
    help="No agent trains: wait for `detctl record --join`, typed on each machine; RECIPE is a name for it.",
)
@click.option(
    "--joiners",
    metavar="A,B",
    help="With --join-only: names of others' tokens with which its runs may be trained; yours always may.",
)
@click.option("--dry-run", is_flag=True, help="Show what would run, and run nothing.")
@click.option("--detach", is_flag=True, help="Start, print the audit's id, and do not wait.")
@click.option("--attach", metavar="AUDIT", help="Wait for an audit that was started before.")
@wait_option
@html_option
@verbose_option
@json_option
@service_options
def command(
    recipe: str | None,
    machines: str | None,
    twins: int,
    steps: str | None,
    to_end: bool,
    environments: str | None,
    set_: tuple[str, ...],
    vary: tuple[str, ...],
    level: str,
    budget: str | None,
    zoom: bool,
    explain: bool,
    budget_runs: int | None,
    self_test: bool,
    copy: bool,
    in_place: bool,
    timeout_s: int | None,
    join_only: bool,
    joiners: str | None,
    dry_run: bool,
    detach: bool,
    attach: str | None,
    wait_s: float,
    html: Path | None,
    verbose: bool,
    as_json: bool,
) -> Exit:
    """Train twins of RECIPE on machines and say where, why and from which origin they part.

    With `--`, the command that follows is trained here, without any service; its data stays in ./.detctl.

    Examples: detctl audit digits --machines gpu1,gpu2 --vary workers=0,2

    detctl audit --twins 2 -- python train.py --seed 0

    detctl audit bert --join-only --machines gpu1,gpu2 --twins 2
    """
    from detctl_cli.audits.flow import finish, start
    from detctl_cli.audits.request import AuditOptions
    from detctl_cli.audits.window import share_of
    from detctl_cli.reporters.verdict import Form

    form = Form(as_json, verbose, html)
    options = AuditOptions(
        twins, steps, to_end, tuple(names(environments)), set_, vary, level, share_of(budget), zoom, explain,
        budget_runs or 0, self_test, join_only, names(joiners),
    )  # fmt: skip
    typed = command_after_dashes()
    if join_only:
        if typed is not None or attach:
            raise UsageError("--join-only goes with --machines alone", "the command is typed with detctl record --join")
        recipe = recipe or "joined"
    elif joiners:
        raise UsageError("--joiners goes with --join-only")
    _check_fits(typed, recipe, machines, attach, copy=copy, in_place=in_place, detach=detach, timeout_s=timeout_s)
    if attach:
        with configured() as coordinator:
            return finish(coordinator, attach, wait_s, form)
    if typed is not None:
        return _local(typed, options, copy, in_place, timeout_s, dry_run, form)
    from detctl_cli.audits.request import request_of

    request = request_of(options, recipe or "", names(machines))
    with configured() as coordinator:
        if dry_run:
            return _show_plan(coordinator, request, as_json)
        plan = start(coordinator, request)
        audit_id = plan.audit_id
        if join_only:
            _tell_joins(plan)
        if detach:
            return _detached(audit_id, as_json)
        return finish(coordinator, audit_id, wait_s, form, explain=None if join_only else "")


def _check_fits(
    typed: list[str] | None,
    recipe: str | None,
    machines: str | None,
    attach: str | None,
    *,
    copy: bool,
    in_place: bool,
    detach: bool,
    timeout_s: int | None,
) -> None:
    if attach:
        if recipe or typed is not None or machines:
            raise UsageError("--attach AUDIT takes no recipe, command or machines")
        return
    if typed is not None:
        if not typed:
            raise UsageError("no command after --", "for example: detctl audit -- python train.py")
        if recipe:
            raise UsageError(f"both a recipe ({recipe}) and a command after --", "leave one out")
        if machines:
            raise UsageError("--machines does not go with a command after --: it runs here", "machines run recipes")
        if detach:
            raise UsageError("--detach does not go with a command after --: its coordinator ends with this command")
        if copy and in_place:
            raise UsageError("--copy and --in-place exclude each other")
        return
    if copy or in_place or timeout_s is not None:
        raise UsageError("--copy, --in-place and --timeout go with a command after --", "recipes have their own")
    if not recipe:
        raise UsageError("say what to train: a recipe, or a command after --", "detctl audit -- python train.py")
    if settings().config().coordinator is None:
        # The recipe lies in a catalog of machines that only a coordinator knows.
        script = Path(recipe)
        example = f"python {recipe}" if script.suffix == ".py" else "python train.py"
        raise not_configured(f"or train here: detctl audit -- {example}")
    if not names(machines):
        raise UsageError("say where: --machines NAME,NAME", "detctl machines lists them")


def _local(
    typed: list[str],
    options: AuditOptions,
    copy: bool,
    in_place: bool,
    timeout_s: int | None,
    dry_run: bool,
    form: Form,
) -> Exit:
    from detctl_cli.audits.flow import finish, start
    from detctl_cli.audits.request import request_of
    from detctl_cli.local.catalog import TIMEOUT_S, catalog_toml, recipe_of
    from detctl_cli.local.session import local_machine
    from detctl_cli.output.terminal import note, stderr_is_a_file_in

    if (config := settings().config()).coordinator is not None:
        note(f"a command after -- runs here; {config.source} ({config.coordinator}) is not asked")
    if options.environments not in ((), ("default",)):
        raise UsageError("--environments needs a catalog: a command after -- runs in this environment")
    request_of(options, "checked", ["before-anything-starts"])
    single = options.twins * options.arms() == 1
    in_copy = copy or (not in_place and not single)
    recipe = recipe_of(typed, Path.cwd(), copy=in_copy, timeout_s=timeout_s or TIMEOUT_S, given=options.given())
    with local_machine(catalog_toml(recipe)) as (coordinator, machine):
        request = request_of(options, recipe.name, [machine])
        if dry_run:
            return _show_plan(coordinator, request, form.as_json)
        audit_id = start(coordinator, request).audit_id
        hints = (
            ["each run trained in a copy of this folder without ignored files; --in-place trains in it"]
            if in_copy
            else []
        )
        again = "detctl audit --explain -- …"
        quiet = stderr_is_a_file_in(Path.cwd())
        return finish(coordinator, audit_id, WAIT_S, form, if_unverified=hints, quiet=quiet, explain=again)


def _show_plan(coordinator: Coordinator, request: AuditRequest, as_json: bool) -> Exit:
    from detctl_cli.output.terminal import console, write_json
    from detctl_cli.reporters.plan import print_plan

    plan = coordinator.plan(request)
    if as_json:
        runs = [{"label": run.label, "machine": run.machine} for run in plan.runs]
        write_json(
            {"schema": "detctl.plan/v1", "recipe": request.recipe, "runs": runs, "warnings": list(plan.warnings)}
        )
    else:
        print_plan(plan, request.recipe, console())
    return Exit.IDENTICAL


def _tell_joins(plan: AuditPlan) -> None:
    """What to type where; on stderr, since the verdict is what goes to stdout."""
    from collections import Counter

    from detctl_cli.output.clean import clean
    from detctl_cli.output.terminal import note

    note(f"audit {clean(plan.audit_id)} waits for its runs:")
    arms = Counter((run.machine, run.label.split("/")[1]) for run in plan.runs)
    several = len({environment for _, environment in arms}) > 1
    for (machine, environment), count in arms.items():
        words = f"--machine {clean(machine)}" + (f" --environment {clean(environment)}" if several else "")
        times = f"{count} times" if count > 1 else "once"
        note(f"  on {clean(machine)}, {times}: detctl record --join {clean(plan.audit_id)} {words} -- COMMAND")


def _detached(audit_id: str, as_json: bool) -> Exit:
    from detctl_cli.output.clean import clean
    from detctl_cli.output.terminal import note, write_json

    if as_json:
        write_json({"schema": "detctl.audit/v1", "audit": audit_id})
    else:
        click.echo(clean(audit_id))
        note(f"to wait for the verdict: detctl audit --attach {clean(audit_id)}")
    return Exit.IDENTICAL
