"""The component's side: the world's imports behind what the SDK asks of a host, and the one driver behind the world's exports.

Imported only where componentize-py has put the bindings of the world beside the driver.
"""

import traceback
from typing import Any

from componentize_py_types import Err
from wit_world import exports
from wit_world.exports import guest
from wit_world.imports import alarms, clock, commands, events, lease, log, serial, state, status, telemetry, timer, types

from .driver import Driver
from .manifest import Manifest
from .records import HostError, Level, Refusal
from .runtime import Runtime
from .values import json_text

_EVENTS = {
    guest.Event_Bytes: "bytes",
    guest.Event_PortAttached: "port-attached",
    guest.Event_PortLost: "port-lost",
    guest.Event_Overrun: "overrun",
    guest.Event_LineError: "line-error",
    guest.Event_LinesChanged: "lines-changed",
    guest.Event_TransmitDrained: "transmit-drained",
    guest.Event_Timer: "timer",
    guest.Event_Command: "command",
    guest.Event_CommandCancelled: "command-cancelled",
    guest.Event_LeaseEnded: "lease-ended",
    guest.Event_Observed: "observed",
    guest.Event_Settings: "settings",
    guest.Event_Other: "other",
}

_VALUES = {
    "boolean": types.Value_Boolean,
    "integer": types.Value_Integer,
    "float": types.Value_Float,
    "text": types.Value_Text,
    "json": types.Value_Json,
}

_REFUSALS = {
    "invalid-settings": guest.Refusal_InvalidSettings,
    "unknown-snapshot": guest.Refusal_UnknownSnapshot,
    "missing-port": guest.Refusal_MissingPort,
    "other": guest.Refusal_Other,
}

_OUTCOMES = {"failed": commands.Outcome_Failed, "blocked": commands.Outcome_Blocked}

_NULL = types.Value_Null()


def _value(value: tuple) -> Any:
    kind, content = value
    return _NULL if kind == "null" else _VALUES[kind](content)


def _operation(operation: tuple) -> Any:
    kind, path, *rest = operation
    if kind == "set":
        return state.Operation_Set(state.Assignment(path, _value(rest[0])))
    if kind == "remove":
        return state.Operation_Remove(path)
    return state.Operation_Append(state.Appending(path, _value(rest[0]), rest[1]))


def _host_error(error: Err) -> HostError:
    # `SerialError_NotGranted` is the case `not-granted`.
    case = type(error.value).__name__.split("_")[-1]
    code = "".join("-" + letter.lower() if letter.isupper() else letter for letter in case).lstrip("-")
    return HostError(code, getattr(error.value, "value", None))


def _line(settings: dict) -> Any:
    return types.LineSettings(
        settings["baud_rate"],
        types.DataBits[settings["data_bits"].upper()],
        types.Parity[settings["parity"].upper()],
        types.StopBits[settings["stop_bits"].upper()],
        types.FlowControl[settings["flow_control"].upper()],
    )


class Imports:
    """What the SDK asks of a host, from the world. A port's handle is good for the life of the driver, so each is opened once."""

    def __init__(self) -> None:
        self._ports: dict[str, Any] = {}

    def _port(self, name: str) -> Any:
        port = self._ports.get(name)
        if port is None:
            port = self._ports[name] = serial.open(name)
        return port

    def _on_port(self, name: str, method: str, *arguments: Any) -> Any:
        try:
            return getattr(self._port(name), method)(*arguments)
        except Err as error:
            raise _host_error(error) from None

    def write(self, port: str, data: bytes) -> None:
        self._on_port(port, "write", bytes(data))

    def discard_output(self, port: str) -> None:
        self._on_port(port, "discard_output")

    def set_line(self, port: str, settings: dict) -> None:
        self._on_port(port, "set_line", _line(settings))

    def set_signals(self, port: str, data_terminal_ready: Any, request_to_send: Any, break_: Any) -> None:
        self._on_port(port, "set_signals", serial.OutputSignals(data_terminal_ready, request_to_send, break_))

    def get_signals(self, port: str) -> Any:
        return self._on_port(port, "get_signals")

    def identity(self, port: str) -> Any:
        return self._on_port(port, "identity")

    def intern(self, place: str) -> Any:
        try:
            return state.Path_Interned(state.intern(place))
        except Err:
            # A host that cannot number a path takes it as text.
            return state.Path_Text(place)

    def text_path(self, place: str) -> Any:
        return state.Path_Text(place)

    def update_slice(self, operations: list[tuple]) -> None:
        try:
            state.update_slice([_operation(operation) for operation in operations])
        except Err as error:
            raise _host_error(error) from None

    def read_slice(self, name: str) -> str:
        return _asked(state.read_slice, name)

    def push(self, samples: list[tuple]) -> None:
        try:
            telemetry.push([telemetry.Sample(*sample) for sample in samples])
        except Err as error:
            raise _host_error(error) from None

    def acquire_lease(self, id: int, port: str, release: bytes, maximum_ms: int, holder: str | None) -> None:
        _asked(lease.acquire, id, port, bytes(release), maximum_ms, holder)

    def release_lease(self, id: int) -> None:
        lease.release(id)

    def log(self, level: Level, message: str, attributes: tuple) -> None:
        log.write(log.Level[level.name], message, [types.Attribute(key, value) for key, value in attributes])

    def monotonic_ns(self) -> int:
        return clock.monotonic_ns()

    def wall_ms(self) -> float:
        return clock.wall_ms()

    def set_timer(self, id: int, after_ms: int) -> None:
        _asked(timer.set, id, after_ms)

    def cancel_timer(self, id: int) -> None:
        timer.cancel(id)

    def acknowledge(self, id: str) -> None:
        _asked(commands.acknowledge, id)

    def progress(self, id: str, message: str, share: float | None) -> None:
        _asked(commands.progress, id, message, share)

    def complete(self, id: str, how: str, content: Any) -> None:
        if how == "succeeded":
            outcome: Any = commands.Outcome_Succeeded(None if content is None else _value(content))
        elif how == "cancelled":
            outcome = commands.Outcome_Cancelled()
        else:
            outcome = _OUTCOMES[how](content)
        _asked(commands.complete, id, outcome)

    def raise_alarm(self, key: str, severity: Any, message: str) -> bool:
        return alarms.raise_(key, types.Severity[severity.name], message)

    def clear_alarm(self, key: str) -> None:
        alarms.clear(key)

    def publish(self, level: Level, kind: str, message: str, context: str) -> None:
        _asked(events.publish, log.Level[level.name], kind, message, context)

    def phase(self, name: str) -> None:
        status.phase(name)

    def failed(self, reason: str) -> None:
        status.failed(reason)


def _asked(function: Any, *arguments: Any) -> Any:
    try:
        return function(*arguments)
    except Err as error:
        raise _host_error(error) from None


def _hint(hint: tuple) -> Any:
    if hint[0] == "usb":
        return guest.IdentityHint_Usb((hint[1], hint[2]))
    return guest.IdentityHint_Handshake(guest.Handshake(*hint[1:]))


def _limit(limit: tuple) -> Any:
    kind, count = limit
    return guest.Limit_MemoryBytes(count) if kind == "memory-bytes" else guest.Limit_SliceBytes(count)


def manifest_record(driver_class: type[Driver]) -> guest.Manifest:
    """The manifest with what the driver's classes say: schemas and the snapshot's version."""
    manifest: Manifest = driver_class.manifest()
    ports = [
        guest.PortWish(wish.name, wish.description, _line(wish.line), [_hint(hint) for hint in wish.hints], wish.required, [])
        for wish in manifest.ports
    ]
    series = [
        guest.Series(name, unit, guest.SeriesKind[kind.upper()], description, [])
        for name, unit, kind, description in manifest.series
    ]
    descriptions = [
        guest.CommandDescription(name, description, schema, dangerous, hold, [])
        for name, description, schema, dangerous, hold in manifest.commands
    ]
    return guest.Manifest(
        name=manifest.name,
        version=manifest.version,
        description=manifest.description,
        device_type=manifest.device_type,
        slice=manifest.slice,
        ports=ports,
        series=series,
        commands=descriptions,
        observes=manifest.observed,
        limits=[_limit(limit) for limit in manifest.limits],
        settings_schema=json_text(driver_class.Settings.json_schema()),
        slice_schema=json_text(driver_class.Slice.json_schema()),
        pane=manifest.pane_text,
        snapshot_version=driver_class.SNAPSHOT_VERSION,
        attributes=[],
    )


def _told(error: BaseException) -> None:
    """An exception that leaves an export is a bare trap to the host. Its text and place go to the log first, where lines of a failed call stay."""
    log.write(log.Level.ERROR, "".join(traceback.format_exception(error)).rstrip(), [])


def guest_of(driver_class: type[Driver]) -> type:
    """The class that componentize-py exports."""

    host = Imports()
    # Kept here and not in the class's instances: componentize-py makes one for each call.
    running: list[Runtime] = []

    class Guest(exports.Guest):
        def describe(self) -> guest.Manifest:
            try:
                return manifest_record(driver_class)
            except BaseException as error:
                _told(error)
                raise

        def start(self, configuration: guest.Configuration) -> None:
            try:
                running[:] = [Runtime(host, driver_class, configuration)]
            except Refusal as refusal:
                raise Err(_REFUSALS[refusal.case](refusal.text)) from None
            except BaseException as error:
                _told(error)
                raise

        def handle(self, event: guest.Event) -> None:
            try:
                # Before a start there is nobody to handle anything, and the host never calls it then.
                if running:
                    running[0].handle(_EVENTS[type(event)], event.value)
            except BaseException as error:
                _told(error)
                raise

        def snapshot(self) -> guest.DriverSnapshot:
            try:
                if not running:
                    return guest.DriverSnapshot(driver_class.SNAPSHOT_VERSION, b"", [])
                taken = running[0].snapshot()
                consumed = [guest.PortMark(mark.port, mark.consumed) for mark in taken.consumed]
                return guest.DriverSnapshot(taken.schema_version, taken.data, consumed)
            except BaseException as error:
                _told(error)
                raise

        def stop(self, reason: guest.StopReason) -> None:
            try:
                if running:
                    running[0].stop(reason)
            except BaseException as error:
                _told(error)
                raise

    return Guest
