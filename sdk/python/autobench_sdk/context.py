"""What a driver may touch while it is being called."""

import math
from typing import Any

from .publisher import TRAILING_TIMER, Desk
from .records import HostError, Identity, Level, Severity
from .values import json_text, value_of


class Context:
    """What a driver may touch while it is being called. Everything that it asks for takes effect when the call returns, all at once; a call that
    raises has had no effect but its log lines. What the host refuses is raised as `HostError`."""

    def __init__(self, host: Any, desk: Desk):
        self._host, self._desk = host, desk

    # --- slice ---

    @property
    def slice(self) -> Any:
        """The slice as it is; to change it, take `edit`."""
        return self._desk.slice

    @property
    def edit(self) -> Any:
        """The slice, to be changed in place. What differs at the end of the call is published: at once when nothing was published for 50 ms,
        otherwise when they are over."""
        self._desk.touched = True
        return self._desk.slice

    @property
    def edit_now(self) -> Any:
        """As `edit`, published at the end of this call however recent the last publication is. For changes of phase, which somebody waits for;
        measured values take `edit`."""
        self._desk.touched = self._desk.urgent = True
        return self._desk.slice

    def read_slice(self, name: str) -> str:
        """Another slice as JSON text. The manifest has to list it and `plugins.toml` has to grant it."""
        return self._host.read_slice(name)

    # --- telemetry, events, alarms, status, log ---

    def sample(self, series: int, timestamp_ms: float, value: float) -> None:
        """Pushes a sample of a series, by its position in the manifest. All samples of a call go out together when it ends. A value that is not
        finite is no measurement and is left out."""
        if math.isfinite(value) and math.isfinite(timestamp_ms):
            self._desk.samples.append((series, timestamp_ms, value))

    def publish(self, level: Level, kind: str, message: str, context: dict | None = None) -> None:
        """Publishes an event. `context` is whatever belongs to it."""
        self._host.publish(level, kind, message, json_text(context or {}))

    def raise_alarm(self, key: str, severity: Severity, message: str) -> bool:
        """Raises an alarm of this device, or changes one that stands. False when 32 stand already."""
        return self._host.raise_alarm(key, severity, message)

    def clear_alarm(self, key: str) -> None:
        """Clears an alarm. One that does not stand is no error."""
        self._host.clear_alarm(key)

    def phase(self, name: str) -> None:
        """Says in which phase the device is."""
        self._host.phase(str(name))

    def failed(self, reason: str) -> None:
        """Says that the driver cannot serve its device. Soon after a swap this brings the predecessor back; otherwise it is a restart."""
        self._host.failed(reason)

    def log(self, level: Level, message: str, **attributes: Any) -> None:
        """Writes a line, with keys and values, to the log; `debug`, `info`, `warn`, `error` and `fatal` are shorter."""
        self._host.log(level, message, tuple((key.replace("_", "-"), str(value)) for key, value in attributes.items()))

    def debug(self, message: str, **attributes: Any) -> None:
        """For whoever works on the driver."""
        self.log(Level.DEBUG, message, **attributes)

    def info(self, message: str, **attributes: Any) -> None:
        """Worth reading later."""
        self.log(Level.INFO, message, **attributes)

    def warn(self, message: str, **attributes: Any) -> None:
        """Wrong, but the driver goes on as before."""
        self.log(Level.WARN, message, **attributes)

    def error(self, message: str, **attributes: Any) -> None:
        """Something did not work."""
        self.log(Level.ERROR, message, **attributes)

    def fatal(self, message: str, **attributes: Any) -> None:
        """The driver cannot go on."""
        self.log(Level.FATAL, message, **attributes)

    # --- serial ---

    def write(self, port: str, data: bytes) -> None:
        """Queues bytes for a port, all or none."""
        self._host.write(port, data)

    def discard_output(self, port: str) -> None:
        """Throws away what is still queued for a port."""
        self._host.discard_output(port)

    def set_line(self, port: str, settings: dict) -> None:
        """Changes the line settings of a port; `line()` makes them."""
        self._host.set_line(port, settings)

    def set_signals(self, port: str, data_terminal_ready: bool | None = None, request_to_send: bool | None = None, break_: bool | None = None) -> None:
        """Drives DTR, RTS or BREAK of a port."""
        self._host.set_signals(port, data_terminal_ready, request_to_send, break_)

    def get_signals(self, port: str) -> Any:
        """Reads CTS, DSR, DCD and RI of a port."""
        return self._host.get_signals(port)

    def identity(self, port: str) -> Identity:
        """What the system knows of the device, while it is attached."""
        return self._host.identity(port)

    def acquire_lease(self, id: int, port: str, release: bytes, maximum_ms: int, holder: str | None = None) -> None:
        """Leaves with the host the bytes that undo a hold, to be written after `maximum_ms` at the latest, or takes a lease that is open once more,
        with these bytes and this time. `holder` is the id of a command that is a hold: the lease then ends as well when the client that sent it lets
        go or is gone. Where it is refused, the hold must not begin."""
        self._host.acquire_lease(id, port, release, maximum_ms, holder)

    def release_lease(self, id: int) -> None:
        """Ends a lease; its bytes go out in their place among what this call writes. One that is not open is no error."""
        self._host.release_lease(id)

    # --- time ---

    def monotonic_ns(self) -> int:
        """The monotonic clock. Time stands still within a call."""
        return self._host.monotonic_ns()

    def wall_ms(self) -> float:
        """Milliseconds since 1970."""
        return self._host.wall_ms()

    def set_timer(self, id: int, after_ms: int) -> None:
        """Sets a timer, or sets one that runs anew. The largest number belongs to the SDK."""
        if id == TRAILING_TIMER:
            raise HostError("other", f"timer {id} belongs to the SDK")
        self._host.set_timer(id, after_ms)
        self._desk.timers.add(id)

    def cancel_timer(self, id: int) -> None:
        """Takes a timer back."""
        if id != TRAILING_TIMER and id in self._desk.timers:
            self._desk.timers.discard(id)
            self._host.cancel_timer(id)

    def timer_runs(self, id: int) -> bool:
        """Whether a timer runs: set and not run out, here or by the predecessor."""
        return id in self._desk.timers

    # --- commands ---

    def acknowledge(self, command: str) -> None:
        """Says that the device has taken a command."""
        self._host.acknowledge(command)

    def progress(self, command: str, message: str, share: float | None = None) -> None:
        """Says how far a command is."""
        self._host.progress(command, message, share)

    def succeed(self, command: str, value: Any = None) -> None:
        """Ends a command: done. The value is what the device really has now, where it says so."""
        self._host.complete(command, "succeeded", None if value is None else value_of(value))

    def fail(self, command: str, reason: str) -> None:
        """Ends a command: tried, and it did not work."""
        self._host.complete(command, "failed", reason)

    def block(self, command: str, reason: str) -> None:
        """Ends a command: not tried, because something forbids it."""
        self._host.complete(command, "blocked", reason)

    def give_up(self, command: str) -> None:
        """Ends a command: given up on request."""
        self._host.complete(command, "cancelled", None)
