"""The world's records as plain Python. In a component the bindings' own classes take the place of those that the host gives; they have the
same names for their members."""

import enum
from dataclasses import dataclass, field
from typing import Any


class StartReason(enum.Enum):
    """Why the driver is being started."""

    #: For the first time, or without anything to go on from.
    COLD = 0
    #: After a fault, from a checkpoint of the same version where there is one.
    RESTART = 1
    #: In place of a predecessor that is at rest and goes on if this start fails.
    SWAP = 2
    #: In place of a successor that failed in its probation.
    RETURN = 3


class StopReason(enum.Enum):
    """Why a driver is stopped."""

    SHUTDOWN = 0
    REMOVED = 1
    RECONFIGURED = 2


class Level(enum.Enum):
    """Level of a log line."""

    DEBUG = 0
    INFO = 1
    WARN = 2
    ERROR = 3
    FATAL = 4


class Severity(enum.Enum):
    """How grave an alarm is."""

    INFO = 0
    WARNING = 1
    CRITICAL = 2


@dataclass
class Bytes:
    """Bytes from a port."""

    port: str
    #: Number of the first byte.
    offset: int
    #: When they were received, on the monotonic clock.
    received_ns: int
    #: When they were received, in milliseconds since 1970.
    received_ms: float
    data: bytes
    #: Whether a predecessor, or this driver before a fault, has dealt with them already. A driver need not look at this.
    replayed: bool = False


@dataclass
class Identity:
    """What the system knows of the device behind a port."""

    path: str
    usb_vendor_id: int | None = None
    usb_product_id: int | None = None
    serial_number: str | None = None
    attributes: list = field(default_factory=list)


@dataclass
class Attached:
    """A device is there, for the first time or again."""

    port: str
    #: Number of the first byte that will come from the new line.
    offset: int
    identity: Identity


@dataclass
class Lost:
    """A device is gone."""

    port: str
    reason: str


@dataclass
class Overrun:
    """Bytes that the driver will not get. `from_` is the first that is missing, `to` the first that is not."""

    port: str
    from_: int
    to: int
    reason: str


@dataclass
class Cancellation:
    """A command is withdrawn."""

    id: str
    reason: str


@dataclass
class LeaseEnd:
    """A lease is over, and its bytes were written, or will be as soon as its line is back."""

    #: The driver's number for it.
    id: int
    #: `maximum`, `port-lost` or `driver-failed`; where a client held it `released`, `expired` or `client-gone`.
    reason: str


@dataclass
class Observed:
    """A foreign slice has changed; `value` is its JSON text, None when it is gone."""

    slice: str
    value: str | None


@dataclass
class OtherEvent:
    """Something that this version of the world does not name."""

    kind: str
    data: str


@dataclass
class PortState:
    """A port as it is when the driver starts."""

    name: str
    attached: bool
    #: Number of the next byte that the driver will get.
    offset: int


@dataclass
class PortMark:
    """How far a port's bytes are dealt with."""

    port: str
    consumed: int


@dataclass
class DriverSnapshot:
    """A driver's memory of itself, as it travels."""

    schema_version: int
    data: bytes
    consumed: list


@dataclass
class RawCommand:
    """A command as it travels."""

    id: str
    name: str
    arguments: str
    actor: str
    deadline_ns: int | None = None
    attributes: list = field(default_factory=list)


@dataclass
class Configuration:
    """What a driver starts with, as it travels."""

    device: str
    reason: Any
    settings: str
    ports: list
    slice: str | None
    snapshot: Any
    commands: list
    timers: list
    leases: list
    attributes: list = field(default_factory=list)


class HostError(Exception):
    """The host did not do what it was asked. `code` is the case's name in `wit/`, such as `full` or `not-granted`; `detail` is what it says
    beside it."""

    def __init__(self, code: str, detail: Any = None):
        super().__init__(code if detail is None else f"{code}: {detail}")
        self.code, self.detail = code, detail


class Refusal(Exception):
    """Why a driver does not start. Raise one of the four below."""

    case = "other"

    def __init__(self, text: str):
        super().__init__(text)
        self.text = text


class InvalidSettings(Refusal):
    """The settings are wrong; the text says what to write instead."""

    case = "invalid-settings"


class UnknownSnapshot(Refusal):
    """The snapshot is not understood. The host starts cold instead, or leaves the predecessor running."""

    case = "unknown-snapshot"


class MissingPort(Refusal):
    """A port that it needs was not given; the text names it."""

    case = "missing-port"


class Refused(Refusal):
    """Something else, for a person."""
