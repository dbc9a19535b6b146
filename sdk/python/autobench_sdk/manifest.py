"""What a driver says of itself before it runs."""

from typing import Any

from .typed import Arguments, NoArguments
from .values import camel_case, json_text


def line(baud_rate: int, data_bits: str = "eight", parity: str = "none", stop_bits: str = "one", flow_control: str = "none") -> dict:
    """Line settings, in the words of `wit/types.wit`; 8N1 without flow control unless said otherwise."""
    return {
        "baud_rate": baud_rate,
        "data_bits": data_bits,
        "parity": parity,
        "stop_bits": stop_bits,
        "flow_control": flow_control,
    }


class PortWish:
    """A serial port that a driver wants, 115200 8N1 and required unless said otherwise."""

    def __init__(self, name: str, description: str, line: dict = line(115_200), required: bool = True):
        self.name, self.description, self.line, self.required = name, description, line, required
        self.hints: list[tuple] = []

    def usb(self, vendor: int, product: int) -> "PortWish":
        """The device may have this USB vendor and product id."""
        self.hints.append(("usb", vendor, product))
        return self

    def handshake(self, send: bytes, expect: str, timeout_ms: int) -> "PortWish":
        """The device answers to `send` with what the regular expression `expect` matches."""
        self.hints.append(("handshake", send, expect, timeout_ms))
        return self


class Manifest:
    """A manifest in the making. Name (lower case with dashes), version, and one sentence for a person. The device's type is the name, and the
    slice is the name in camel case, unless said otherwise. Schemas of settings and slice and the snapshot's version come from the driver."""

    def __init__(self, name: str, version: str, description: str, *, device_type: str | None = None, slice: str | None = None):
        self.name, self.version, self.description = name, version, description
        self.device_type = device_type or name
        self.slice = slice or camel_case(name, "-")
        self.ports: list[PortWish] = []
        self.series: list[tuple[str, str, str, str]] = []
        self.commands: list[tuple[str, str, str, bool]] = []
        self.observed: list[str] = []
        self.limits: list[tuple[str, int]] = []
        self.pane_text: str | None = None

    def port(self, wish: PortWish) -> "Manifest":
        """Adds a port that it wants."""
        self.ports.append(wish)
        return self

    def measurement(self, name: str, unit: str, description: str) -> "Manifest":
        """Adds a series whose samples stand each for itself. The number of a series is its position."""
        self.series.append((name, unit, "measurement", description))
        return self

    def total(self, name: str, unit: str, description: str) -> "Manifest":
        """Adds a series whose samples are running totals."""
        self.series.append((name, unit, "total", description))
        return self

    def command(
        self, name: str, description: str, arguments: type[Arguments] = NoArguments, dangerous: bool = False, hold: bool = False
    ) -> "Manifest":
        """Adds a command with arguments of this type. A dangerous one can harm or stop what the bench runs. What a hold begins lasts only as long as the
        client that asked for it says so; its lease names the command as its `holder`."""
        self.commands.append((name, description, json_text(arguments.json_schema()), dangerous, hold))
        return self

    def observes(self, slice: str) -> "Manifest":
        """Adds a foreign slice that it wants to observe."""
        self.observed.append(slice)
        return self

    def memory_bytes(self, count: int) -> "Manifest":
        """Asks for at most this much memory. Python itself takes 13 MiB of it."""
        self.limits.append(("memory-bytes", count))
        return self

    def slice_bytes(self, count: int) -> "Manifest":
        """Asks for a slice of at most this size."""
        self.limits.append(("slice-bytes", count))
        return self

    def pane(self, pane: Any) -> "Manifest":
        """How a generic pane should show it."""
        self.pane_text = json_text(pane)
        return self
