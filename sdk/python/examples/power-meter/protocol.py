"""The meter's packets: bytes to values and back. Knows neither SDK nor host.

A packet is `#C,S,N,a1,...,aN;`. A data row is `#d,-,18,` with eighteen integers, or `#d,-,16,` from the older serial model. Rows carry no
checksum; what guards them is the declared count, the form of every field, and the ranges that the maker gives.
"""

import enum
from typing import NamedTuple

#: Starts and ends a packet.
START, END = b"#", b";"
#: What the meter, or a bad line, strews in and nothing is lost with, between packets and inside them.
IGNORED = b"\0\r\n\t"
#: No packet that this driver reads is half as long; the longest that the meter knows, its calibration, is just under it.
LIMIT_BYTES = 512
#: Stops whatever the meter is sending.
ABORT = b"\x18"
#: Asks for the version record, which every model answers within two seconds.
IDENTIFY = b"#V,R,0;"

MODELS = ("Standard", "PRO", "ES", "Ethernet", "blind")
_LARGEST = 2**32 - 1
# What each place of a row is divided by, and what it may be; the others are not read.
_PLACES = {0: (10, 0, 50_000), 1: (10, 900, 2800), 2: (1000, 0, 20_000), 3: (10, 0, _LARGEST), 13: (100, 0, 100), 16: (10, 0, _LARGEST), 17: (10, 0, _LARGEST)}


def log_externally(interval_s: int, reserved: str) -> bytes:
    """Lets the meter send a row every `interval_s` seconds until told otherwise. Most models take `_` as the reserved argument, some only `0`."""
    return f"#L,W,3,E,{reserved},{interval_s};".encode()


def log_internally(interval_s: int) -> bytes:
    """Lets the meter log into its own memory again, and so stop sending."""
    return f"#L,W,3,I,_,{interval_s};".encode()


class Reading(NamedTuple):
    """What a data row says. A field that is not logged, not sent or empty is None, never zero."""

    watts: float | None = None
    volts: float | None = None
    amps: float | None = None
    energy_wh: float | None = None
    power_factor: float | None = None
    frequency_hz: float | None = None
    apparent_va: float | None = None


class Kind(enum.Enum):
    """What a piece of the stream turned out to be."""

    #: A whole data row.
    ROW = enum.auto()
    #: The version record.
    VERSION = enum.auto()
    #: Another packet in good form.
    OTHER = enum.auto()
    #: Chatter too short to be a row: a banner, noise, the end of something.
    JUNK = enum.auto()
    #: Something that should have been a row.
    BAD = enum.auto()


class Message(NamedTuple):
    """A piece that was read. `damaged_before` when it also holds the remains of another row; `version` is the model, and the versions of hardware
    and firmware."""

    kind: Kind
    reading: Reading | None = None
    damaged_before: bool = False
    version: tuple | None = None


_OTHER, _JUNK, _BAD = Message(Kind.OTHER), Message(Kind.JUNK), Message(Kind.BAD)


def read_packet(text: bytes) -> Message:
    """Reads what stands between `#` and `;`."""
    return _read_whole(text) or read_headless(text)


def read_headless(text: bytes) -> Message:
    """Reads what ends with `;` and has no `#`."""
    return _read_remainder(text) or read_endless(text)


def read_endless(text: bytes) -> Message:
    """Reads what has no `;`. Nothing of it can be trusted: its last field may have lost digits."""
    return _JUNK if _is_short(text) else _BAD


def _read_whole(text: bytes) -> Message | None:
    """A packet in good form: a letter, `-`, a count, and that many arguments."""
    fields = text.split(b",")
    if len(fields) < 3 or fields[1] != b"-" or not (len(fields[0]) == 1 and b"a" <= fields[0] <= b"z"):
        return None
    count, values = _number(fields[2]), fields[3:]
    if count is None or count != len(values):
        return None
    if fields[0] == b"d":
        reading = _read_fields(values)
        return Message(Kind.ROW, reading) if reading else None
    if fields[0] == b"v":
        return _read_version(values)
    return _OTHER


def _read_remainder(text: bytes) -> Message | None:
    """A row that has lost its head. The places of its values are counted from the end, and that none of them is cut shows in what is left of the
    head: the count, or at least the comma behind it. A piece that ends in `-,18,` and eighteen values is a row whatever stands before it;
    otherwise all that stands before the values has to be the end of `-,18,`. Eighteen values alone are no row: the first may have lost
    digits."""
    for count, head in ((18, b"-,18,"), (16, b"-,16,")):
        fields = text.rsplit(b",", count)
        if len(fields) != count + 1:
            continue
        before, values = fields[0] + b",", fields[1:]
        if before.endswith(head):
            rest = before[: -len(head)]
            damaged_before = not b"d,".endswith(rest) and not _is_short(rest)
        elif head.endswith(before):
            damaged_before = False
        else:
            continue
        reading = _read_fields(values)
        if reading:
            return Message(Kind.ROW, reading, damaged_before)
    return None


def _is_short(text: bytes) -> bool:
    """Fewer than eight characters or at most three fields: not worth a count."""
    return len(text) < 8 or text.count(b",") <= 2


def _read_fields(fields: list[bytes]) -> Reading | None:
    """The fields of a row, from the first value on."""
    if len(fields) not in (16, 18):
        return None
    values: dict[int, float] = {}
    for place, field in enumerate(fields):
        if field in (b"_", b""):
            continue
        value = _number(field)
        if value is None:
            return None
        if place in _PLACES:
            unit, least, most = _PLACES[place]
            if not least <= value <= most:
                return None
            values[place] = value / unit
    get = values.get
    return Reading(get(0), get(1), get(2), get(3), get(13), get(16), get(17))


def _read_version(fields: list[bytes]) -> Message | None:
    """Model, memory, hardware and firmware versions, time stamp, checksum."""
    if len(fields) < 6:
        return None
    numbers = [_number(field) for field in fields[:6]]
    if None in numbers:
        return None
    model, _, *versions = numbers
    name = MODELS[model] if model < len(MODELS) else "of an unknown model"
    return Message(Kind.VERSION, version=(name, *versions))


def _number(digits: bytes) -> int | None:
    """Digits and nothing else, and not more than fit into 32 bits."""
    if not digits.isdigit():
        return None
    value = int(digits)
    return value if value <= _LARGEST else None
