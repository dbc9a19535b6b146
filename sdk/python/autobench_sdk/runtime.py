"""Between the world's exports and a driver: parses what comes, keeps account of bytes and timers, publishes what changed."""

from typing import Any

from .context import Context
from .driver import Command, Driver, Start, parse
from .publisher import TRAILING_TIMER, Desk
from .records import Configuration, DriverSnapshot, InvalidSettings, Level, PortMark, StartReason, StopReason, UnknownSnapshot
from .shapes import Mismatch
from .values import json_text


class Runtime:
    """A running driver."""

    def __init__(self, host: Any, driver_class: type[Driver], configuration: Configuration):
        self._host, self._class = host, driver_class
        try:
            settings = driver_class.Settings.from_json(parse(configuration.settings))
        except Mismatch as mismatch:
            raise InvalidSettings(str(mismatch)) from None
        saved = _read(driver_class, configuration.snapshot) if configuration.snapshot is not None else None
        slice, memory = saved if saved is not None else (driver_class.Slice(), None)
        self._next = {port.name: port.offset for port in configuration.ports}
        self._desk = Desk(host, slice, configuration.timers)
        self._cx = Context(host, self._desk)
        self.driver = driver_class()
        start = Start(
            configuration.device,
            StartReason[configuration.reason.name],
            settings,
            configuration.ports,
            configuration.slice,
            [Command(command) for command in configuration.commands],
            list(configuration.timers),
            list(configuration.leases),
            memory,
        )
        self.driver.start(self._cx, start)
        self._desk.settle(host, False)
        driver = self.driver
        self._direct = {
            "port-lost": driver.on_lost,
            "line-error": driver.on_line_error,
            "lines-changed": driver.on_lines_changed,
            "transmit-drained": driver.on_transmit_drained,
            "command-cancelled": driver.on_cancel,
            "lease-ended": driver.on_lease_ended,
            "observed": driver.on_observed,
        }

    def handle(self, kind: str, event: Any) -> None:
        """Deals with one event; its kind is the case's name in `wit/guest.wit`."""
        replayed = False
        if kind == "bytes":
            replayed = event.replayed
            self._next[event.port] = event.offset + len(event.data)
            self.driver.on_bytes(self._cx, event)
        else:
            self._dispatch(kind, event)
        self._desk.settle(self._host, replayed)

    def _dispatch(self, kind: str, event: Any) -> None:
        driver, desk = self.driver, self._desk
        if kind == "timer":
            desk.timers.discard(event)
            if event == TRAILING_TIMER:
                desk.urgent = True
            else:
                driver.on_timer(self._cx, event)
        elif kind == "command":
            driver.on_command(self._cx, Command(event))
        elif kind == "port-attached":
            self._next[event.port] = event.offset
            driver.on_attached(self._cx, event)
        elif kind == "overrun":
            self._next[event.port] = event.to
            driver.on_overrun(self._cx, event)
        elif kind == "settings":
            try:
                settings = self._class.Settings.from_json(parse(event))
            except Mismatch as mismatch:
                self._host.log(Level.ERROR, f"the new settings are not understood: {mismatch}", ())
            else:
                driver.on_settings(self._cx, settings)
        elif kind == "other":
            if event.kind == "update-refused":
                # The operations of that call are gone; the next publication mends it.
                desk.whole = True
            driver.on_other(self._cx, event)
        else:
            self._direct[kind](self._cx, event)

    def snapshot(self) -> DriverSnapshot:
        """The driver's memory of itself."""
        snapshot = self.driver.snapshot()
        data = json_text({"slice": self._desk.slice.to_json(), "driver": snapshot.memory}).encode()
        consumed = [PortMark(port, max(next - snapshot.rereading.get(port, 0), 0)) for port, next in self._next.items()]
        return DriverSnapshot(self._class.SNAPSHOT_VERSION, data, consumed)

    def stop(self, reason: Any) -> None:
        """Last words."""
        self.driver.stop(self._cx, StopReason[reason.name])
        # There is no later, so what a timer would have published goes out now.
        self._desk.urgent = True
        self._desk.settle(self._host, False)


def _read(driver_class: type[Driver], snapshot: DriverSnapshot) -> tuple[Any, Any]:
    try:
        saved = parse(snapshot.data)
        if snapshot.schema_version != driver_class.SNAPSHOT_VERSION:
            saved = driver_class.migrate(snapshot.schema_version, saved)
        if not isinstance(saved, dict) or "slice" not in saved or "driver" not in saved:
            raise UnknownSnapshot("it has no slice or no driver")
        return driver_class.Slice.from_json(saved["slice"]), saved["driver"]
    except Mismatch as mismatch:
        raise UnknownSnapshot(f"its slice has another form: {mismatch}") from None
