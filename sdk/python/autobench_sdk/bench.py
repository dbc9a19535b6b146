"""A test bench in plain Python: a host made of plain code, with scripted ports and a clock that the test owns.

It keeps the host's promises: what a call asks for takes effect when the call returns, timers run out in their order, what undoes a hold is written
however its lease ends, a swap gives the successor the bytes from its predecessor's consumed offset on, and what comes again is muted. Time passes
only in `Bench.advance_ms`.
"""

import copy
import json
from typing import Any

from .driver import Driver
from .publisher import SPACING_MS
from .records import (
    Attached,
    Bytes,
    Cancellation,
    Configuration,
    HostError,
    Identity,
    LeaseEnd,
    Level,
    Lost,
    Observed,
    OtherEvent,
    Overrun,
    PortState,
    RawCommand,
    Refusal,
    Severity,
    StartReason,
    StopReason,
)
from .runtime import Runtime
from .values import LARGEST_EXACT, json_text

#: Time at which a bench begins: the monotonic clock is one second old, and it is the new year of 2026.
BEGIN_NS = 1_000_000_000
BEGIN_MS = 1_767_225_600_000.0
# As many as the wit files say.
_MOST_TIMERS = 64
_MOST_ALARMS = 32
_MOST_LEASES = 16
_MOST_RELEASE_BYTES = 1024
_LONGEST_LEASE_MS = 600_000


class Bench:
    """A driver on a bench, started from nothing with every port that its manifest wants."""

    def __init__(self, driver_class: type[Driver], settings: dict | None = None, detached: tuple[str, ...] = ()):
        self._class, self._settings = driver_class, settings or {}
        self._host = _Host(driver_class, detached)
        self._runtime = self._start(StartReason.COLD, None)

    @property
    def driver(self) -> Any:
        """The driver itself."""
        return self._runtime.driver

    # --- what happens ---

    def feed(self, port: str, data: bytes) -> None:
        """Bytes from a port, in one event."""
        state = self._host.port(port)
        offset, state.next = state.next, state.next + len(data)
        self._host.record(port, ("bytes", offset, data))
        self.handle("bytes", Bytes(port, offset, self._host.now_ns, self._host.wall_ms(), data))

    def advance_ms(self, milliseconds: int) -> None:
        """Lets time pass; timers and leases run out on the way, each at its time."""
        end_ns = self._host.now_ns + milliseconds * 1_000_000
        while (due := self._host.next_due(end_ns)) is not None:
            kind, id = due
            if kind == "lease":
                self._end_leases([id], "maximum")
            else:
                self.handle(kind, id)
        self._host.now_ns = end_ns

    def settle(self) -> None:
        """Lets pass as much time as a held-back publication waits."""
        self.advance_ms(SPACING_MS)

    def lose(self, port: str, reason: str) -> None:
        """The device of a port goes away, and the leases on it end: their bytes go out when it is back."""
        self._host.record(port, ("port-lost", reason))
        self._host.port(port).attached = False
        lost = [id for id, lease in self._host.leases.items() if lease[0] == port]
        self.handle("port-lost", Lost(port, reason))
        self._end_leases(lost, "port-lost")

    def attach(self, port: str) -> None:
        """The device of a port comes, or comes back."""
        state = self._host.port(port)
        state.attached = True
        state.written.extend(b"".join(state.waiting))
        state.waiting.clear()
        self._host.record(port, ("port-attached",))
        self.handle("port-attached", Attached(port, state.next, _identity(port)))

    def overrun(self, port: str, count: int) -> None:
        """So many bytes of a port are lost."""
        state = self._host.port(port)
        lost_from, state.next = state.next, state.next + count
        self._host.record(port, ("overrun", lost_from, state.next))
        self.handle("overrun", Overrun(port, lost_from, state.next, "bench"))

    def change_settings(self, settings: dict) -> None:
        """New settings."""
        self._settings = settings
        self.handle("settings", json_text(settings))

    def command(self, name: str, arguments: dict | None = None) -> str:
        """A command; the answer is its id."""
        self._host.commands_ever += 1
        command = RawCommand(f"command-{self._host.commands_ever}", name, json_text(arguments or {}), "bench")
        self._host.commands.append(command)
        self.handle("command", command)
        return command.id

    def cancel_command(self, id: str, reason: str) -> None:
        """A command is withdrawn."""
        self.handle("command-cancelled", Cancellation(id, reason))

    def end_lease(self, id: int, reason: str) -> None:
        """A lease that is open ends; the host writes its bytes first."""
        if id not in self._host.leases:
            raise KeyError(f"no lease {id} is open")
        self._end_leases([id], reason)

    def _end_leases(self, ids: list[int], reason: str) -> None:
        """Ends those of these leases that the driver still takes for open."""
        for id in ids:
            if self._host.end_lease(id):
                self.handle("lease-ended", LeaseEnd(id, reason))

    def observe(self, slice: str, value: Any) -> None:
        """A foreign slice has this value from now on."""
        text = self._host.foreign[slice] = json_text(value)
        self.handle("observed", Observed(slice, text))

    def handle(self, kind: str, event: Any) -> None:
        """Any event, by its case's name in `wit/guest.wit`."""
        try:
            self._runtime.handle(kind, event)
        except BaseException:
            # A call that raises has had no effect.
            self._host.discard()
            raise
        refused = self._host.commit()
        if refused is not None:
            self._runtime.handle("other", OtherEvent("update-refused", json_text(refused)))
            # What a driver does about a refusal is as refused as the first, or it is not.
            self._host.commit()

    def stop(self, reason: StopReason, port: str) -> bytes:
        """Stops the driver and gives what went out to a port at last: its last words, and what undoes its holds."""
        self.written(port)
        self._runtime.stop(reason)
        self._host.commit()
        self._host.undo_all()
        return self.written(port)

    def refuse_writes(self, port: str, code: str | None) -> None:
        """Lets every write to a port be refused from now on with this code, such as `full`, or none."""
        self._host.port(port).refuses = code

    # --- swaps and restarts ---

    def checkpoint(self) -> tuple:
        """A checkpoint, as the host takes one at rest. It has no effects."""
        snapshot = self._runtime.snapshot()
        self._host.discard()
        return snapshot, ({name: len(port.records) for name, port in self._host.ports.items()}, list(self._host.known_leases))

    def swap(self, driver_class: type[Driver] | None = None) -> None:
        """Replaces the driver with a new instance of itself, or with another version. A `Refusal` leaves it as it is."""
        self._go_on(StartReason.SWAP, self.checkpoint(), driver_class or self._class)

    def restart(self, checkpoint: tuple | None = None) -> None:
        """Drops the driver, as after a trap, which ends its leases, and starts it from a checkpoint, or from nothing."""
        self._host.undo_all()
        self._go_on(StartReason.RESTART, checkpoint, self._class)

    def swap_from(self, snapshot: Any) -> None:
        """Puts a new instance in the driver's place that goes on from this snapshot, as of another version or in another language."""
        _, seen = self.checkpoint()
        self._go_on(StartReason.SWAP, (snapshot, seen), self._class)

    def _go_on(self, reason: StartReason, checkpoint: tuple | None, driver_class: type[Driver]) -> None:
        snapshot, (records, leases) = checkpoint or (None, ({}, []))
        former, self._class = self._class, driver_class
        # Before a swap they are those already, so that one which is refused changes nothing.
        self._host.known_leases = list(leases)
        try:
            self._runtime = self._start(reason, snapshot)
        except Refusal:
            self._class = former
            raise
        if snapshot:
            self._replay(snapshot, records)
        self._end_leases(self._host.go_on_with_leases(), "driver-failed")

    def _replay(self, snapshot: Any, seen: dict[str, int]) -> None:
        now_ns = self._host.now_ns
        for mark in snapshot.consumed:
            for kind, event, at_ns in self._host.since(mark.port, mark.consumed, seen.get(mark.port, 0)):
                self._host.now_ns = at_ns
                self._host.muted = True
                self.handle(kind, event)
                self._host.muted = False
        self._host.now_ns = now_ns

    def _start(self, reason: StartReason, snapshot: Any) -> Runtime:
        host = self._host
        consumed = {mark.port: mark.consumed for mark in snapshot.consumed} if snapshot else {}
        ports = [PortState(name, port.attached, consumed.get(name, port.next)) for name, port in host.ports.items()]
        configuration = Configuration(
            device="bench",
            reason=reason,
            settings=json_text(self._settings),
            ports=ports,
            slice=None if host.slice is None else json_text(host.slice),
            snapshot=snapshot,
            commands=list(host.commands),
            timers=list(host.timers),
            leases=list(host.known_leases),
        )
        try:
            runtime = Runtime(host, self._class, configuration)
        except BaseException:
            # Nothing of a start that failed takes effect.
            host.discard()
            raise
        host.commit()
        return runtime

    # --- what the driver did ---

    @property
    def slice(self) -> Any:
        """Its slice as parsed JSON; None before the first publication."""
        return self._host.slice

    @property
    def publications(self) -> int:
        """How many times the slice was updated."""
        return self._host.publications

    @property
    def last_operations(self) -> list:
        """The operations of the last update: kind, path, and what belongs to it."""
        return self._host.last_operations

    def samples(self, series: str) -> list[tuple[float, float]]:
        """Everything that was pushed to a series: milliseconds since 1970, and the value."""
        return self._host.series[series]

    def written(self, port: str) -> bytes:
        """What it has written to a port since this was asked last."""
        state = self._host.port(port)
        written, state.written = bytes(state.written), bytearray()
        return written

    @property
    def logs(self) -> list[tuple[Level, str, dict]]:
        """Its log lines: level, text, attributes."""
        return self._host.logs

    @property
    def phases(self) -> list[str]:
        """The phases it has named, oldest first."""
        return self._host.phases

    @property
    def failures(self) -> list[str]:
        """Why it said that it has failed, each time."""
        return self._host.failures

    @property
    def replies(self) -> list[tuple]:
        """Its answers to commands: `acknowledged`, `progress` or `completed`, the id, and what belongs to it."""
        return self._host.replies

    def outcome(self, command: str) -> tuple | None:
        """How a command ended, if it has: `succeeded`, `failed`, `blocked` or `cancelled`, and what belongs to it."""
        return next((reply[2:] for reply in self._host.replies if reply[:2] == ("completed", command)), None)

    @property
    def events(self) -> list[tuple]:
        """The events it has published, oldest first: level, kind, message, context."""
        return self._host.events

    @property
    def alarms(self) -> dict[str, tuple[Severity, str]]:
        """The alarms that stand, with severity and message."""
        return self._host.alarms

    @property
    def leases(self) -> dict[int, tuple[str, bytes, int, str | None]]:
        """The leases that are open, oldest first: port, release bytes, when they end at the latest, and the command whose sender holds them."""
        return dict(self._host.leases)

    @property
    def timers(self) -> dict[int, int]:
        """Timers that run, and when they run out."""
        return dict(self._host.timers)

    @property
    def now_ns(self) -> int:
        """The clock."""
        return self._host.now_ns


class _Port:
    def __init__(self, attached: bool):
        self.attached = attached
        self.next = 0
        self.written = bytearray()
        self.refuses: str | None = None
        #: What undoes holds that ended while the device was away.
        self.waiting: list[bytes] = []
        self.records: list[tuple[tuple, int]] = []


class _Host:
    """The fake host: what a call asks for waits until the call returns."""

    def __init__(self, driver_class: type[Driver], detached: tuple[str, ...]):
        manifest = driver_class.manifest()
        self.now_ns = BEGIN_NS
        self.ports = {wish.name: _Port(wish.name not in detached) for wish in manifest.ports}
        self.series: dict[str, list] = {name: [] for name, *_ in manifest.series}
        self._series_names = list(self.series)
        self.slice: Any = None
        self.publications = 0
        self.last_operations: list = []
        self.timers: dict[int, int] = {}
        self.logs: list = []
        self.phases: list[str] = []
        self.failures: list[str] = []
        self.replies: list[tuple] = []
        self.commands: list[RawCommand] = []
        self.commands_ever = 0
        self.events: list[tuple] = []
        self.alarms: dict = {}
        self.leases: dict[int, tuple[str, bytes, int, str | None]] = {}
        #: Leases that the driver takes for open. They differ from those that are only while a driver goes on from a checkpoint.
        self.known_leases: list[int] = []
        self.foreign: dict[str, str] = {}
        self.muted = False
        self._effects: list[Any] = []
        self._operations: list = []
        # Leases that the call takes (true) or gives back.
        self._leased: list[tuple[int, bool]] = []
        # What it left for another port than that for which it takes the same lease once more.
        self._left: list[tuple] = []

    def port(self, name: str) -> _Port:
        if name not in self.ports:
            raise KeyError(f"the manifest wants no port {name!r}")
        return self.ports[name]

    def record(self, port: str, what: tuple) -> None:
        self.port(port).records.append((what, self.now_ns))

    def next_due(self, end_ns: int) -> tuple[str, int] | None:
        """The lease or the timer that is over next, not after `end_ns`; the clock stands at its time then. At the same time leases come first."""
        leases = [(ends_ns, 0, id) for id, (_, _, ends_ns, _) in self.leases.items()]
        timers = [(at_ns, 1, id) for id, at_ns in sorted(self.timers.items())]
        due = min(leases + timers, key=lambda due: due[:2], default=None)
        if due is None or due[0] > end_ns:
            return None
        at_ns, is_timer, id = due
        self.now_ns = max(self.now_ns, at_ns)
        if not is_timer:
            return "lease", id
        del self.timers[id]
        return "timer", id

    def since(self, port: str, consumed: int, seen: int) -> list[tuple]:
        """What came at a port and is not dealt with: bytes from `consumed` on, and everything else that was recorded after `seen`."""
        events, next = [], consumed
        for index, ((kind, *what), at_ns) in enumerate(self.port(port).records):
            if kind == "bytes":
                offset, data = what
                done = max(consumed - offset, 0)
                next = max(next, offset + len(data))
                if done < len(data):
                    wall_ms = _wall_ms(at_ns)
                    events.append((kind, Bytes(port, offset + done, at_ns, wall_ms, data[done:], True), at_ns))
            elif index >= seen:
                if kind == "overrun":
                    next = what[1]
                    events.append((kind, Overrun(port, *what, "bench"), at_ns))
                elif kind == "port-lost":
                    events.append((kind, Lost(port, *what), at_ns))
                else:
                    events.append((kind, Attached(port, next, _identity(port)), at_ns))
        return events

    def discard(self) -> None:
        """Forgets what the call asked for."""
        self._effects, self._operations, self._leased = [], [], []

    def commit(self) -> str | None:
        """Lets what the call asked for take effect. If its slice operations cannot be applied, the answer says why and the rest takes effect."""
        effects, operations = self._effects, self._operations
        self.known_leases = self._knows()
        self.discard()
        refused = None
        if operations:
            try:
                self.slice = _apply(self.slice, operations)
                self.publications += 1
                self.last_operations = operations
            except ValueError as error:
                refused = str(error)
        if not self.muted:
            for effect in effects:
                effect()
        while self._left:
            self._undo(self._left.pop(0))
        return refused

    def _knows(self) -> list[int]:
        """The leases that the driver takes for open after what the call has asked for so far."""
        known = dict.fromkeys(self.known_leases)
        for id, is_taken in self._leased:
            if is_taken:
                known[id] = None
            else:
                known.pop(id, None)
        return list(known)

    def _granted(self, port: str) -> _Port:
        if port not in self.ports:
            raise HostError("not-granted")
        if not self.ports[port].attached:
            raise HostError("not-attached")
        return self.ports[port]

    def _in_flight(self, id: str) -> None:
        if all(command.id != id for command in self.commands):
            raise HostError("unknown-command")

    def write(self, port: str, data: bytes) -> None:
        state = self._granted(port)
        if state.refuses:
            raise HostError(state.refuses)
        self._effects.append(lambda: state.written.extend(data))

    def discard_output(self, port: str) -> None:
        self._granted(port)

    def set_line(self, port: str, settings: dict) -> None:
        self._granted(port)

    def set_signals(self, port: str, *signals: Any) -> None:
        self._granted(port)
        raise HostError("not-supported")

    def get_signals(self, port: str) -> Any:
        self._granted(port)
        raise HostError("not-supported")

    def identity(self, port: str) -> Identity:
        self._granted(port)
        return _identity(port)

    def intern(self, place: str) -> str:
        return place

    def text_path(self, place: str) -> str:
        return place

    def update_slice(self, operations: list[tuple]) -> None:
        for kind, _, *rest in operations:
            if kind != "remove":
                try:
                    _plain(rest[0])
                except ValueError as error:
                    raise HostError("invalid-value", str(error)) from None
        self._operations.extend(operations)

    def read_slice(self, name: str) -> str:
        if name not in self.foreign:
            raise HostError("not-granted")
        return self.foreign[name]

    def push(self, samples: list[tuple]) -> None:
        for series, _, _ in samples:
            if not 0 <= series < len(self._series_names):
                raise HostError("unknown-series", series)
        for series, timestamp_ms, value in samples:
            pushed = self.series[self._series_names[series]]
            self._effects.append(lambda pushed=pushed, sample=(timestamp_ms, value): pushed.append(sample))

    def acquire_lease(self, id: int, port: str, release: bytes, maximum_ms: int, holder: str | None = None) -> None:
        if port not in self.ports:
            raise HostError("not-granted")
        if not 1 <= len(release) <= _MOST_RELEASE_BYTES:
            raise HostError("invalid", f"1 to {_MOST_RELEASE_BYTES} bytes undo a hold, not {len(release)}")
        if not 1 <= maximum_ms <= _LONGEST_LEASE_MS:
            raise HostError("invalid", f"a lease lasts 1 to {_LONGEST_LEASE_MS} ms, not {maximum_ms}")
        self._granted(port)
        known, waiting = self._knows(), sum(len(state.waiting) for state in self.ports.values())
        if id not in known and len(known) + waiting >= _MOST_LEASES:
            raise HostError("full")
        lease = (port, bytes(release), self.now_ns + maximum_ms * 1_000_000, holder)

        def take() -> None:
            before = self.leases.pop(id, None)
            if before and before[0] != port:
                self._left.append(before)
            self.leases[id] = lease

        self._leased.append((id, True))
        self._effects.append(take)

    def release_lease(self, id: int) -> None:
        self._leased.append((id, False))
        self._effects.append(lambda: self._undo(self.leases.pop(id, None)))

    def _undo(self, lease: tuple | None) -> None:
        """Writes what undoes a hold, or keeps it until the device is back."""
        if lease:
            state = self.port(lease[0])
            if state.attached:
                state.written.extend(lease[1])
            else:
                state.waiting.append(lease[1])

    def end_lease(self, id: int) -> bool:
        """Ends a lease without the driver; whether that takes it for open, and has to be told."""
        if id not in self.known_leases:
            return False
        self.known_leases.remove(id)
        self._undo(self.leases.pop(id, None))
        return True

    def undo_all(self) -> None:
        """Ends all leases."""
        leases, self.leases = self.leases, {}
        for lease in leases.values():
            self._undo(lease)

    def go_on_with_leases(self) -> list[int]:
        """A driver has caught up. Ends what nobody else would, because the driver knows nothing of it; the answer is what it takes for open and is
        over."""
        for id in [id for id in self.leases if id not in self.known_leases]:
            self._undo(self.leases.pop(id))
        return [id for id in self.known_leases if id not in self.leases]

    def log(self, level: Level, message: str, attributes: tuple) -> None:
        self.logs.append((level, message, dict(attributes)))

    def monotonic_ns(self) -> int:
        return self.now_ns

    def wall_ms(self) -> float:
        return _wall_ms(self.now_ns)

    def set_timer(self, id: int, after_ms: int) -> None:
        if id not in self.timers and len(self.timers) >= _MOST_TIMERS:
            raise HostError("full")
        at_ns = self.now_ns + after_ms * 1_000_000
        self._effects.append(lambda: self.timers.update({id: at_ns}))

    def cancel_timer(self, id: int) -> None:
        self._effects.append(lambda: self.timers.pop(id, None))

    def acknowledge(self, id: str) -> None:
        self._in_flight(id)
        self._effects.append(lambda: self.replies.append(("acknowledged", id)))

    def progress(self, id: str, message: str, share: float | None) -> None:
        self._in_flight(id)
        self._effects.append(lambda: self.replies.append(("progress", id, message, share)))

    def complete(self, id: str, how: str, content: Any) -> None:
        self._in_flight(id)
        if how == "succeeded" and content is not None:
            content = _plain(content)

        def over() -> None:
            self.commands = [command for command in self.commands if command.id != id]
            self.replies.append(("completed", id, how, content))

        self._effects.append(over)

    def raise_alarm(self, key: str, severity: Severity, message: str) -> bool:
        if key not in self.alarms and len(self.alarms) >= _MOST_ALARMS:
            return False
        self._effects.append(lambda: self.alarms.update({key: (severity, message)}))
        return True

    def clear_alarm(self, key: str) -> None:
        self._effects.append(lambda: self.alarms.pop(key, None))

    def publish(self, level: Level, kind: str, message: str, context: str) -> None:
        self._effects.append(lambda: self.events.append((level, kind, message, json.loads(context))))

    def phase(self, name: str) -> None:
        self._effects.append(lambda: self.phases.append(name))

    def failed(self, reason: str) -> None:
        self._effects.append(lambda: self.failures.append(reason))


def _apply(slice: Any, operations: list[tuple]) -> Any:
    """Operations in order on a copy; the whole is refused when one of them is."""
    root = {"": copy.deepcopy(slice)}
    for kind, path, *rest in operations:
        *parents, name = [part.replace("~1", "/").replace("~0", "~") for part in path.split("/")]
        parent: Any = root
        for part in parents:
            parent = parent.get(part) if isinstance(parent, dict) else None
        if not isinstance(parent, dict):
            raise ValueError(f"there is nothing at the parent of {path!r}")
        if kind == "set":
            parent[name] = _plain(rest[0])
        elif kind == "remove":
            parent.pop(name, None)
        else:
            array = parent.get(name)
            if not isinstance(array, list):
                raise ValueError(f"there is no array at {path!r}")
            array.append(_plain(rest[0]))
            del array[: -rest[1]]
    return root[""]


def _plain(value: tuple) -> Any:
    """A value as JSON, or why a host refuses it."""
    kind, content = value
    wanted = {"null": type(None), "boolean": bool, "integer": int, "float": float, "text": str, "json": str}[kind]
    if type(content) is not wanted:
        raise ValueError(f"{content!r} is no {kind}")
    if kind == "integer" and abs(content) > LARGEST_EXACT:
        raise ValueError(f"{content} is beyond 2^53 - 1")
    if kind == "float" and not abs(content) < float("inf"):
        raise ValueError(f"{content} is not finite")
    return json.loads(content) if kind == "json" else content


def _wall_ms(now_ns: int) -> float:
    return BEGIN_MS + (now_ns - BEGIN_NS) / 1e6


def _identity(port: str) -> Identity:
    return Identity(f"/dev/bench-{port}")
