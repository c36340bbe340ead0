"""`detctl-agent run FOLDER --attach SHARED`: the recorder of a Job that an agent launched. The training runs beside it (attach.py)."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from detctl_agent import logs, manifest
from detctl_agent.catalog.places import Private
from detctl_agent.cluster import handover
from detctl_agent.errors import AgentError, RunRefusedError
from detctl_agent.runs.outcome import Outcome, failed
from detctl_agent.runs.recipe_training import prepare_recipe
from detctl_agent.runs.runner import Runner
from detctl_agent.sidecar.attached import Attached
from detctl_agent.state.run_folder import RunFolder
from detctl_agent.state.sockets import RuntimeFolder
from detctl_agent.toolkit import click

WAIT_S = 900.0  # for the training's container, whose image may have to be pulled
EVERY_S = 0.5


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option(
    "--attach",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    required=True,
    metavar="SHARED",
    help="Folder that both containers of the pod see at the same path.",
)
def run(folder: Path, attach: Path) -> None:
    """Records one run of an agent that launches Jobs.

    The Job's template calls this command. To record a training in another container yourself, use `detctl record --attach`.

    \b
    Example:
      detctl-agent run RUN_FOLDER --attach=/detctl
    """
    logs.setup("info")
    place = RunFolder(folder.absolute())
    try:
        outcome = _recorded(place, attach.absolute())
    except RunRefusedError as error:
        outcome = Outcome(end="refused", exit_code=127, message=str(error))
    except AgentError as error:
        outcome = failed(error)
    place.clean_private()
    handover.write_outcome(place, outcome)


def _recorded(folder: RunFolder, shared: Path) -> Outcome:
    order = handover.read_order(folder)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # before the training starts, it only ends the wait
    attached = Attached(shared, WAIT_S)
    runtime = RuntimeFolder(folder.tmp, root=shared)
    try:
        prepared = prepare_recipe(
            order.admitted,
            order.source,
            folder,
            runtime,
            machine=order.machine,
            attached=attached,
            private=Private(),
            key=order.key,
        )
        folder.write_manifest(prepared.manifest)
        runner = Runner(prepared.plan, folder, runtime)
    except BaseException:
        attached.close()
        runtime.remove()
        raise
    signal.signal(signal.SIGTERM, lambda number, frame: runner.end("lost", "its pod was ended"))
    with _exchanging(folder, runner):
        outcome = runner.run()
    folder.write_manifest(manifest.with_observed(prepared.manifest, outcome.torch, prepared.shown, outcome.read))
    return outcome


@contextmanager
def _exchanging(folder: RunFolder, runner: Runner) -> Iterator[None]:
    """Reports progress to the agent and carries out its requests while the training runs."""
    over = threading.Event()

    def exchange() -> None:
        ended = stopped = False
        while True:
            try:
                handover.write_progress(folder, runner.progress)
            except AgentError:
                pass  # the spool ends the run if the disk is full
            if not ended and (wish := handover.read_wish(folder, handover.END)):
                ended = True
                runner.end(str(wish["reason"]), str(wish["message"]), wish["grace_s"])
            if not stopped and (wish := handover.read_wish(folder, handover.STOP)):
                stopped = True
                runner.stop_after(int(wish["after_step"]))
            if over.wait(EVERY_S):
                return

    thread = threading.Thread(target=exchange, name="handover", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
