"""The class that a driver derives from, and what it starts with and leaves behind."""

import json
from typing import Any

from .manifest import Manifest
from .records import (
    Attached,
    Bytes,
    Cancellation,
    LeaseEnd,
    Lost,
    MissingPort,
    Observed,
    OtherEvent,
    Overrun,
    PortState,
    RawCommand,
    StartReason,
    StopReason,
    UnknownSnapshot,
)
from .shapes import Mismatch
from .typed import Arguments, NoSettings, Settings, Slice


class Command:
    """A command on its way."""

    def __init__(self, raw: RawCommand):
        self.id, self.name, self.actor, self.deadline_ns = raw.id, raw.name, raw.actor, raw.deadline_ns
        self._arguments = raw.arguments

    def arguments(self, cls: type[Arguments]) -> Any:
        """Its arguments. The host has checked them against the schema of this class already. Raises `Mismatch`, whose text is for the one who
        asked."""
        return cls.from_json(parse(self._arguments))


class Start:
    """What a driver starts with."""

    def __init__(self, device: str, reason: StartReason, settings: Any, ports: list[PortState], slice: str | None, commands: list[Command], timers: list[int], leases: list[int], memory: Any):
        #: Id of the device in `plugins.toml`.
        self.device = device
        self.reason = reason
        self.settings = settings
        self.ports = ports
        #: The slice as it stands in the state, as JSON text. For a start from nothing that wants to keep something of it.
        self.slice = slice
        #: Commands in flight, oldest first. Started from nothing, a driver says in its start which of them it goes on with, by acknowledging or
        #: completing them; the host fails the others.
        self.commands = commands
        #: Ids of timers that are running.
        self.timers = timers
        #: Ids of leases that are open. One whose bytes the host has written since is told as ended behind the start.
        self.leases = leases
        #: What the predecessor, or this driver before a fault, put into its snapshot, as parsed JSON; None at a cold start.
        self.memory = memory

    def port(self, name: str) -> PortState:
        """A port by its name, or the refusal that says that it is missing."""
        for port in self.ports:
            if port.name == name:
                return port
        raise MissingPort(name)


class Snapshot:
    """What a driver needs to go on: anything that can be JSON. The slice is added by the SDK. All bytes so far count as dealt with, but for the
    last ones of each port in `rereading`, which the successor gets again: the half packet that a framer holds. What is in the memory must
    not depend on them."""

    def __init__(self, memory: Any = None, rereading: dict[str, int] | None = None):
        self.memory = memory
        self.rereading = rereading or {}


class Driver:
    """A driver of one device. Everything but `manifest`, `start` and `snapshot` has a default that does nothing.

    It never blocks and holds nothing but itself: between two calls it is at rest, and the host may take a snapshot of it, replace it with
    another version, or drop it.
    """

    #: The class of `[devices.<id>.settings]`. Its schema goes into the manifest.
    Settings: type[Settings] = NoSettings
    #: The class of its part of the state. Its schema goes into the manifest. Every field needs a default.
    Slice: type[Slice]
    #: Version of what `snapshot` returns and of the slice inside it; raised when an older one cannot be read.
    SNAPSHOT_VERSION = 1

    @classmethod
    def manifest(cls) -> Manifest:
        """What the driver says of itself; the same each time."""
        raise NotImplementedError("a driver needs a manifest")

    def start(self, cx: Any, start: Start) -> None:
        """Starts the driver. Where it goes on from a predecessor, the slice is already as that one left it, and `start.memory` is what that one
        put into its snapshot. May raise a `Refusal`."""
        raise NotImplementedError("a driver needs a start")

    def snapshot(self) -> Snapshot:
        """What the driver needs to go on, and up to where bytes are dealt with."""
        raise NotImplementedError("a driver needs a snapshot")

    @classmethod
    def migrate(cls, from_version: int, snapshot: Any) -> Any:
        """Makes a snapshot of an older version into one of this version: an object with `slice` and `driver`."""
        raise UnknownSnapshot(f"its version is {from_version}, this driver takes version {cls.SNAPSHOT_VERSION}")

    def on_bytes(self, cx: Any, event: Bytes) -> None:
        """Bytes from a port."""

    def on_attached(self, cx: Any, event: Attached) -> None:
        """A device is there, for the first time or again. A packet that is half read ends here."""

    def on_lost(self, cx: Any, event: Lost) -> None:
        """A device is gone."""

    def on_overrun(self, cx: Any, event: Overrun) -> None:
        """Bytes that the driver will not get. A packet that is half read ends here."""

    def on_line_error(self, cx: Any, event: Any) -> None:
        """A fault on the line that the system reports: `port` and `reason`."""

    def on_lines_changed(self, cx: Any, event: Any) -> None:
        """Lines that the device drives have changed: `port` and `signals`."""

    def on_transmit_drained(self, cx: Any, port: str) -> None:
        """The transmit queue of the named port is empty."""

    def on_timer(self, cx: Any, id: int) -> None:
        """A timer has run out."""

    def on_command(self, cx: Any, command: Command) -> None:
        """A command. It stays in flight until it is completed or expires."""

    def on_cancel(self, cx: Any, event: Cancellation) -> None:
        """A command is withdrawn."""

    def on_lease_ended(self, cx: Any, event: LeaseEnd) -> None:
        """A lease is over without the driver: its bytes were written, or will be as soon as its line is back."""

    def on_observed(self, cx: Any, event: Observed) -> None:
        """A foreign slice has changed."""

    def on_settings(self, cx: Any, settings: Any) -> None:
        """`[devices.<id>.settings]` has changed."""
        cx.warn("this driver takes new settings only when it starts")

    def on_other(self, cx: Any, event: OtherEvent) -> None:
        """Something that this version of the world does not name."""

    def stop(self, cx: Any, reason: StopReason) -> None:
        """Last words: what it writes here still leaves. Not called before a swap."""


def parse(text: "str | bytes") -> Any:
    """Parsed JSON, or a `Mismatch`."""
    try:
        return json.loads(text)
    except ValueError as error:
        raise Mismatch(f"no JSON: {error}") from None
