"""One control stream: turns messages of the agent into events, and sends the instructions that follow from the state.

Every heartbeat writes the machine's document. After a restart of the agent, the first document waits for the first heartbeat, because
only that shows which runs of the previous boot are still active.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

from detctl_proto.v1 import agents_pb2 as pb

from detctl_coordinator import limits
from detctl_coordinator.domain.lifecycle_events import Instruction
from detctl_coordinator.domain.machine import Machine
from detctl_coordinator.errors.codes import Code, RefusedCallError
from detctl_coordinator.planning.run_holders import Sender, sent_by_users
from detctl_coordinator.scheduling.connections import OUTBOX_MAX, Connection
from detctl_coordinator.scheduling.engine import Engine
from detctl_coordinator.storage.documents import machine_to_json
from detctl_coordinator.storage.store import DocumentError, StoreError
from detctl_coordinator.wire import control as wire

log = logging.getLogger(__name__)

SILENT_BEATS = 3  # a stream that missed this many heartbeats is probably dead


class ControlStream:
    """See the module's text. sender: who opened the stream; its machine is "" if the metadata names none."""

    def __init__(self, engine: Engine, welcome: pb.Welcome, sender: Sender) -> None:
        self._engine = engine
        self._welcome = welcome
        self._sender = sender
        self._connection: Connection | None = None
        self._published = False
        self._machine_of_run: dict[str, tuple[str, str]] = {}  # run id -> see _owner

    async def serve(self, messages: Any) -> AsyncIterator[pb.CoordinatorMessage]:
        """Yields replies until either side ends the stream. Raises RefusedCallError, StoreError."""
        outbox: asyncio.Queue[pb.CoordinatorMessage | Instruction | Exception | None] = asyncio.Queue(OUTBOX_MAX)
        reader = asyncio.create_task(self._read(messages, outbox))
        try:
            while (item := await outbox.get()) is not None:
                if isinstance(item, Exception):
                    raise item
                yield item if isinstance(item, pb.CoordinatorMessage) else wire.instruction_to_proto(item)
        finally:
            reader.cancel()
            await asyncio.gather(reader, return_exceptions=True)
            await self._leave()

    async def _read(self, messages: Any, outbox: asyncio.Queue[Any]) -> None:
        end: Exception | None = None
        try:
            async for message in messages:
                kind = message.WhichOneof("kind")
                if self._connection is not None:
                    self._connection.note_message()
                if kind == "hello":
                    await self._hello(message.hello, outbox)
                elif self._connection is None:
                    raise RefusedCallError(Code.INVALID_ARGUMENT, "the first message of a control stream must be Hello")
                elif kind == "heartbeat":
                    self._connection.working = wire.working_from_heartbeat(message.heartbeat)
                    await self._publish()
                elif kind == "run_state":
                    await outbox.put(await self._run_state(message.run_state))
        except Exception as error:
            end = error
        await outbox.put(end)

    async def _hello(self, hello: pb.Hello, outbox: asyncio.Queue[Any]) -> None:
        machine = wire.machine_from_hello(hello)
        if self._sender.machine and self._sender.machine != machine.name:
            raise RefusedCallError(
                Code.PERMISSION_DENIED,
                f"the stream belongs to machine {limits.clean(self._sender.machine, 80)}, but its Hello names machine {machine.name}",
            )
        if self._connection is not None and self._connection.machine.name != machine.name:
            raise RefusedCallError(
                Code.INVALID_ARGUMENT,
                f"the stream belongs to machine {self._connection.machine.name}, but a later Hello names {machine.name}",
            )
        known = (await self._engine.machines()).get(machine.name)
        if self._connection is not None:
            self._connection.machine = machine  # its catalog changed
        else:
            self._refuse_second(machine)
            self._connection = Connection(machine, time.monotonic)
            # Instructions and replies share one queue, so that they are sent in the order in which they were decided.
            self._connection.outbox = outbox
            self._engine.connections.add(self._connection)
        log.info("machine=%s boot=%s recipes=%d event=hello", machine.name, machine.boot_id, len(machine.recipes))
        self._published = known is None or known.boot_id == machine.boot_id
        if known is not None and not self._published:
            # No replica may assign runs to the previous boot any more.
            document = machine_to_json(replace(known, connected=False))
            await self._engine.store.put_machine(known.name, document)
        if self._published:
            self._connection.working = self._connection.working or (known.working if known else ())
            await self._publish()
        # Welcome follows the document, so a welcomed agent is always known.
        await outbox.put(pb.CoordinatorMessage(welcome=self._welcome))

    def _refuse_second(self, machine: Machine) -> None:
        """Raises RefusedCallError if another live agent has the same name: the two would take runs from each other."""
        older = self._engine.connections.get(machine.name)
        if older is None or older.machine.boot_id == machine.boot_id:
            return
        if older.silent_s() < SILENT_BEATS * self._welcome.heartbeat_s:
            raise RefusedCallError(
                Code.ALREADY_EXISTS,
                f"another agent named {machine.name} is connected: stop it, or start this one with another --name",
            )

    async def _publish(self) -> None:
        assert self._connection is not None
        self._published = True
        await self._put(replace(self._connection.machine, working=self._connection.working, connected=True))
        self._engine.wake()

    async def _put(self, machine: Machine) -> None:
        machine = replace(machine, beat=secrets.token_hex(8), last_seen_unix_s=time.time())
        await self._engine.store.put_machine(machine.name, machine_to_json(machine))

    async def _run_state(self, state: pb.RunState) -> pb.CoordinatorMessage:
        """Returns the acknowledgement, after the event is durable. A message about a deleted run or an older attempt is acknowledged
        too, so that the agent stops repeating it."""
        event = wire.run_event_from_state(state)
        machine, audit_id = await self._owner(event.run_id)
        assert self._connection is not None
        if audit_id and machine != self._connection.machine.name:
            why = f"run {event.run_id} " + (
                "belongs to another machine" if machine else "belongs to a user, not to an agent"
            )
            sender = replace(self._sender, machine=self._connection.machine.name)
            await self._engine.refusals.append(
                sender, event.run_id, "state-of-another", why, audit_id=audit_id, machine=machine
            )
            raise RefusedCallError(Code.PERMISSION_DENIED, why, f"requested by {sender.name}")
        if audit_id:
            await self._engine.apply(audit_id, event)
        acknowledged = pb.RunStateNoted(run_id=state.run_id, attempt=state.attempt, phase=state.phase)
        return pb.CoordinatorMessage(run_state_noted=acknowledged)

    async def _owner(self, run_id: str) -> tuple[str, str]:
        """Returns (machine, audit) of a run; machine is "" if a user sends it.

        Both are "" if the run was deleted or cannot be read, so that the machine's other runs go on."""
        if run_id not in self._machine_of_run:
            try:
                run = await self._engine.store.run(run_id)
                audit = await self._engine.store.audit(run.spec.audit_id) if run is not None else None
            except DocumentError:
                return "", ""
            if run is None or audit is None:
                return "", ""
            machine = "" if sent_by_users(audit) else run.spec.arm.machine
            self._machine_of_run[run_id] = (machine, audit.audit_id)
        return self._machine_of_run[run_id]

    async def _leave(self) -> None:
        """Marks the machine as not connected. Its runs keep their lease, because it may reconnect at once."""
        connection = self._connection
        if connection is None or not self._engine.connections.remove(connection):
            return
        log.info("machine=%s boot=%s event=disconnected", connection.machine.name, connection.machine.boot_id)
        try:
            known = (await self._engine.machines()).get(connection.machine.name)
            if known is not None and known.boot_id == connection.machine.boot_id:
                document = machine_to_json(replace(known, connected=False))
                await self._engine.store.put_machine(known.name, document)
        except StoreError:
            pass  # the lease expires a little later, with the same result
