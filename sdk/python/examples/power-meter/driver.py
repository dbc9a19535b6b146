"""Driver of the Watts Up? PRO power meter, the same as `plugins/power-meter` in Rust: the same slice, series and snapshot, so that each goes on
where the other was. `protocol.py` reads and writes the meter's packets; this is the glue: when to ask what, what to publish, and what to do when
the meter is silent.

    Away -> Identifying -> Asking -> Streaming <-> Silent     attached; version record; first row; no row in time, asked again
                 |  ^         |                      |
                 v  +---------+----------------------+        no row although asked twice
              Waiting                                         three questions without an answer: again after five seconds

Rows are taken at every stage, because a meter that streamed before may still have some on the line. Loss of the line leads to `Away` from
everywhere.
"""

from typing import Annotated

import protocol
from autobench_sdk import (
    U64,
    Attached,
    Bytes,
    Choice,
    Context,
    Driver,
    HostError,
    InvalidSettings,
    Lost,
    Manifest,
    Overrun,
    PacketFramer,
    PortWish,
    Settings,
    Slice,
    Snapshot,
    Start,
    StopReason,
    UnknownSnapshot,
    export_driver,
    iso_8601,
    line,
    member,
    says,
)
from protocol import Kind, Message, Reading

PORT = "main"
#: The one timer. It may come early or late: what is due is decided by `deadline_ns`.
TICK = 1
#: The meter answers within this time, or not at all.
REPLY_MS = 2000
QUESTIONS = 3
#: How long to leave a meter alone that does not answer.
WAIT_MS = 5000
#: No meter is called silent sooner than this, however short its interval.
SILENCE_MS = 3000
#: In how many intervals at least one row has to come.
SILENCE_INTERVALS = 3


class MeterSettings(Settings):
    """`[devices.<id>.settings]`."""

    interval_s: Annotated[int, says(format="uint32", minimum=1, maximum=3600)] = member(1, "Seconds between two rows.")


class Phase(Choice):
    """How the device is."""

    DISCONNECTED = "disconnected", "The line is away."
    CONNECTING = "connecting", "The meter is being identified or asked for rows."
    STREAMING = "streaming", "Rows are coming."
    ERROR = "error", "The meter does not answer."


class Stats(Slice):
    """Counts."""

    total_samples: U64 = member(0, "Rows that were read.")
    bad_rows: U64 = member(0, "Rows that were lost in damage.")
    bytes_received: U64 = member(0, "Bytes that came from the line.")
    last_sample_at: U64 | None = member(None, "Milliseconds since 1970.")
    last_error_at: U64 | None = member(None, "Milliseconds since 1970.")


class LastSample(Slice):
    """The newest row. What the meter does not log is not there."""

    ts: str = member("", "When its last byte was received.")
    watts: float | None = member(None, "Real power.", absent=True)
    volts: float | None = member(None, "Voltage.", absent=True)
    amps: float | None = member(None, "Current.", absent=True)
    frequency_hz: float | None = member(None, "Line frequency.", absent=True)
    power_factor: float | None = member(None, "From 0 to 1.", absent=True)
    energy_wh: float | None = member(None, "Energy since the meter's memory was cleared.", absent=True)


class State(Slice):
    """The slice."""

    phase: Phase = member(Phase.DISCONNECTED, "How the device is.")
    message: str | None = member(None, "What there is to say, for a person.", absent=True)
    stats: Stats = member(factory=Stats, description="Counts since the driver started without a predecessor.")
    last_sample: LastSample | None = member(None, "The newest row.")


class PowerMeter(Driver):
    """The driver. Its memory, which goes into a snapshot, is `stage` (where the conversation with the meter stands), `questions` (how many times it
    was asked who it is, without an answer), `deadline_ns` (when the stage has lasted too long), `interval_s` (what the meter was last asked
    for), `counted_to` (number of the first byte that is not yet in `bytesReceived`: bytes that come again after a swap are not counted
    again) and `noisy` (whether the last row was bad, so that a noisy line is logged once)."""

    Settings = MeterSettings
    Slice = State

    @classmethod
    def manifest(cls) -> Manifest:
        port = (
            PortWish(PORT, "The meter's USB port, an FTDI serial adapter inside the case.", line(115_200))
            .usb(0x0403, 0x6001)
            .handshake(protocol.IDENTIFY, "#v,-,8,[0-9]", 2000)
        )
        # In the order of `_push`.
        return (
            Manifest("power-meter", "0.1.0", "Watts Up? PRO power meter.")
            .port(port)
            .measurement("watts", "W", "Real power")
            .measurement("volts", "V", "Voltage")
            .measurement("amps", "A", "Current")
            .measurement("powerFactor", "1", "Power factor")
            .measurement("frequency", "Hz", "Line frequency")
            .total("energy", "Wh", "Energy since the meter's memory was cleared")
            .measurement("apparentPower", "VA", "Apparent power")
            .memory_bytes(48 << 20)
            .slice_bytes(4 << 10)
        )

    def start(self, cx: Context, start: Start) -> None:
        interval_s = start.settings.interval_s
        if not 1 <= interval_s <= 3600:
            raise InvalidSettings("interval-s is a number of seconds from 1 to 3600")
        port = start.port(PORT)
        self._framer = PacketFramer(protocol.START, protocol.END, protocol.LIMIT_BYTES, protocol.IGNORED)
        self._stage, self._questions, self._deadline_ns = "away", 0, 0
        self._interval_s, self._counted_to, self._noisy = interval_s, port.offset, False
        if start.memory is not None:
            self._remember(start.memory)
        self._go_on(cx, port.attached, interval_s)

    def _remember(self, memory: object) -> None:
        try:
            self._stage = str(memory["stage"])
            self._questions, self._deadline_ns = int(memory["questions"]), int(memory["deadline_ns"])
            self._interval_s, self._counted_to = int(memory["interval_s"]), int(memory["counted_to"])
            self._noisy = bool(memory["noisy"])
        except (KeyError, TypeError, ValueError) as error:
            raise UnknownSnapshot(f"its memory has another form: {error!r}") from None

    def snapshot(self) -> Snapshot:
        memory = {
            "stage": self._stage,
            "questions": self._questions,
            "deadline_ns": self._deadline_ns,
            "interval_s": self._interval_s,
            "counted_to": self._counted_to,
            "noisy": self._noisy,
        }
        return Snapshot(memory, rereading={PORT: self._framer.held})

    def on_bytes(self, cx: Context, event: Bytes) -> None:
        self._count_bytes(cx, event.offset, len(event.data))
        newest = None
        for kind, text in self._framer.feed(event.data):
            if kind == PacketFramer.PACKET:
                message = protocol.read_packet(text)
            elif kind == PacketFramer.HEADLESS:
                message = protocol.read_headless(text)
            else:
                message = protocol.read_endless(text)
            newest = self._take(cx, message, event) or newest
        # Of several rows in one call only the last is ever seen in the slice.
        if newest:
            cx.edit.last_sample = LastSample(
                iso_8601(event.received_ms),
                newest.watts,
                newest.volts,
                newest.amps,
                newest.frequency_hz,
                newest.power_factor,
                newest.energy_wh,
            )

    def on_attached(self, cx: Context, event: Attached) -> None:
        self._framer.reset()
        self._skip_to(event.offset)
        self._connect(cx)

    def on_lost(self, cx: Context, event: Lost) -> None:
        self._framer.reset()
        self._leave(cx, event.reason)

    def on_overrun(self, cx: Context, event: Overrun) -> None:
        self._framer.reset()
        self._skip_to(event.to)
        self._note_error(cx)
        cx.warn(f"{max(event.to - event.from_, 0)} bytes are missing: {event.reason}")

    def on_timer(self, cx: Context, id: int) -> None:
        if id == TICK:
            self._tick(cx)

    def on_settings(self, cx: Context, settings: MeterSettings) -> None:
        if 1 <= settings.interval_s <= 3600:
            self._change_interval(cx, settings.interval_s)
        else:
            cx.warn("interval-s is a number of seconds from 1 to 3600; it stays as it was")

    def stop(self, cx: Context, reason: StopReason) -> None:
        if self._stage != "away":
            _send(cx, protocol.log_internally(self._interval_s))

    # --- the conversation ---

    def _go_on(self, cx: Context, attached: bool, interval_s: int) -> None:
        """Takes up what the memory says. A meter that is being talked to is not spoken to: it would answer twice."""
        if self._stage == "away":
            self._interval_s = interval_s
            if attached:
                self._connect(cx)
            else:
                cx.phase(Phase.DISCONNECTED)
        elif not attached:
            self._leave(cx, "it was away when the driver started")
        else:
            cx.phase(cx.slice.phase)
            if not cx.timer_runs(TICK):
                self._arm(cx)
            self._change_interval(cx, interval_s)

    def _connect(self, cx: Context) -> None:
        _change_phase(cx, Phase.CONNECTING)
        self._questions = 0
        self._identify(cx)

    def _leave(self, cx: Context, reason: str) -> None:
        cx.cancel_timer(TICK)
        self._stage = "away"
        self._note_error(cx)
        _change_phase(cx, Phase.DISCONNECTED, f"the line is away: {reason}")

    def _identify(self, cx: Context) -> None:
        self._questions += 1
        _send(cx, protocol.ABORT + protocol.IDENTIFY)
        self._enter(cx, "identifying", REPLY_MS)

    def _ask(self, cx: Context, reserved: str = "_") -> None:
        _send(cx, protocol.log_externally(self._interval_s, reserved))
        self._enter(cx, "asking" if reserved == "_" else "askingAgain", REPLY_MS + self._interval_s * 1000)

    def _change_interval(self, cx: Context, interval_s: int) -> None:
        if self._interval_s == interval_s:
            return
        self._interval_s = interval_s
        # At the other stages the new interval goes out when the meter is asked for rows.
        if self._stage in ("asking", "askingAgain", "streaming", "silent"):
            self._ask(cx)

    def _take(self, cx: Context, message: Message, event: Bytes) -> Reading | None:
        """Deals with a message that was complete with these bytes, and gives the row if it is one."""
        kind = message.kind
        if kind is Kind.ROW:
            if message.damaged_before:
                self._take_bad_row(cx, event.received_ms)
            self._take_row(cx, message.reading, event)
            return message.reading
        if kind is Kind.VERSION:
            self._take_version(cx, message.version)
        elif kind is Kind.BAD:
            self._take_bad_row(cx, event.received_ms)
        return None

    def _take_version(self, cx: Context, version: tuple) -> None:
        # An answer that comes after its time is still one.
        if self._stage in ("identifying", "waiting"):
            model, hardware, step, firmware, patch = version
            cx.info(f"Watts Up? {model}, hardware {hardware}.{step}, firmware {firmware}.{patch}")
            _change_phase(cx, Phase.CONNECTING)
            self._ask(cx)

    def _take_row(self, cx: Context, reading: Reading, event: Bytes) -> None:
        self._noisy = False
        _push(cx, reading, event.received_ms)
        state = cx.edit
        state.stats.total_samples += 1
        state.stats.last_sample_at = int(event.received_ms)
        if self._stage == "streaming":
            # The timer stays as it is: when it comes it finds the deadline moved.
            self._deadline_ns = event.received_ns + self._silence_ms() * 1_000_000
        elif self._stage not in ("identifying", "away"):
            # What was on the line before the meter was stopped says nothing about whether it listens.
            if state.phase is not Phase.STREAMING:
                cx.info(f"streaming, a row every {self._interval_s} s")
            _change_phase(cx, Phase.STREAMING)
            self._enter(cx, "streaming", self._silence_ms())

    def _take_bad_row(self, cx: Context, received_ms: float) -> None:
        stats = cx.edit.stats
        stats.bad_rows += 1
        stats.last_error_at = int(received_ms)
        if not self._noisy:
            cx.debug("a damaged row is left out; further ones are only counted until a good one comes")
        self._noisy = True

    def _tick(self, cx: Context) -> None:
        if self._stage == "away":
            return
        if cx.monotonic_ns() < self._deadline_ns:
            self._arm(cx)
        elif self._stage == "identifying" and self._questions < QUESTIONS:
            self._identify(cx)
        elif self._stage == "identifying":
            self._note_error(cx)
            if cx.slice.phase is not Phase.ERROR:
                cx.warn("the meter does not answer; asking again every few seconds")
                _change_phase(cx, Phase.ERROR, "the meter does not answer; check that it has power and the baud rate of its model")
            self._enter(cx, "waiting", WAIT_MS)
        elif self._stage == "waiting":
            self._questions = 0
            self._identify(cx)
        elif self._stage == "asking":
            self._ask(cx, "0")
        elif self._stage == "askingAgain":
            self._start_over(cx, "the meter answers, but sends no rows; identifying it again")
        elif self._stage == "streaming":
            self._note_error(cx)
            message = f"no row for {self._silence_ms() // 1000} s; asked for them again"
            cx.warn(message)
            cx.edit_now.message = message
            _send(cx, protocol.log_externally(self._interval_s, "_"))
            self._enter(cx, "silent", self._silence_ms())
        else:
            self._start_over(cx, "the meter is silent; identifying it again")

    def _start_over(self, cx: Context, message: str) -> None:
        self._note_error(cx)
        cx.warn(message)
        _change_phase(cx, Phase.CONNECTING, message)
        self._questions = 0
        self._identify(cx)

    def _enter(self, cx: Context, stage: str, after_ms: int) -> None:
        self._stage = stage
        self._deadline_ns = cx.monotonic_ns() + after_ms * 1_000_000
        self._arm(cx)

    def _arm(self, cx: Context) -> None:
        remaining_ns = max(self._deadline_ns - cx.monotonic_ns(), 0)
        try:
            cx.set_timer(TICK, min(-(-remaining_ns // 1_000_000), 2**32 - 1))
        except HostError as error:
            cx.warn(f"no timer, so a silent meter will not be noticed: {error}")

    def _count_bytes(self, cx: Context, offset: int, length: int) -> None:
        end = offset + length
        fresh = max(end - max(self._counted_to, offset), 0)
        self._counted_to = max(self._counted_to, end)
        cx.edit.stats.bytes_received += fresh

    def _skip_to(self, offset: int) -> None:
        """Bytes below this will not come and were not received."""
        self._counted_to = max(self._counted_to, offset)

    def _note_error(self, cx: Context) -> None:
        cx.edit.stats.last_error_at = int(cx.wall_ms())

    def _silence_ms(self) -> int:
        return max(SILENCE_MS, SILENCE_INTERVALS * self._interval_s * 1000)


def _push(cx: Context, reading: Reading, received_ms: float) -> None:
    """Every quantity of a row as telemetry, in the order of the manifest's series."""
    watts, volts, amps, energy_wh, power_factor, frequency_hz, apparent_va = reading
    for series, value in enumerate((watts, volts, amps, power_factor, frequency_hz, energy_wh, apparent_va)):
        if value is not None:
            cx.sample(series, received_ms, value)


def _change_phase(cx: Context, phase: Phase, message: str | None = None) -> None:
    cx.phase(phase)
    state = cx.edit_now
    state.phase, state.message = phase, message


def _send(cx: Context, data: bytes) -> None:
    """A write that the line does not take is not repeated here: the timer asks again."""
    try:
        cx.write(PORT, data)
    except HostError as error:
        cx.warn(f"the meter could not be asked: {error}")


Guest = export_driver(PowerMeter)
