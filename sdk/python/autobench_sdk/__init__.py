"""What the author of a driver in Python uses.

A driver is a class that derives from `Driver`, in a module that ends with `Guest = export_driver(MyDriver)`. The host pushes events into it;
what it may touch stands in its `Context`. It keeps its slice in `cx.slice` and edits it in place: after each call the SDK compares it with what
was last published and sends only the fields that differ, at most 20 times a second, with a timer for the rest.

The same class runs in plain Python under `autobench_sdk.bench.Bench`, a host made of plain code with scripted ports and a clock that the test
owns, so a driver is tested with `python -m unittest`.

    class Seen(Slice):
        line_count: int = member(0, "Lines so far.")

    class Counter(Driver):
        Slice = Seen

        @classmethod
        def manifest(cls):
            return Manifest("line-counter", "1.0.0", "Counts lines.").port(PortWish("main", "Any text."))

        def start(self, cx, start):
            self.framer = LineFramer(1024)

        def on_bytes(self, cx, event):
            for _line in self.framer.feed(event.data):
                cx.edit.line_count += 1

        def snapshot(self):
            return Snapshot(rereading={"main": self.framer.held})

    Guest = export_driver(Counter)
"""

from .context import Context
from .driver import Command, Driver, Snapshot, Start
from .framer import Line, LineFramer, PacketFramer, Piece
from .manifest import Manifest, PortWish, line
from .records import (
    Attached,
    Bytes,
    Cancellation,
    HostError,
    Identity,
    InvalidSettings,
    LeaseEnd,
    Level,
    Lost,
    MissingPort,
    Observed,
    OtherEvent,
    Overrun,
    PortState,
    Refusal,
    Refused,
    Severity,
    StartReason,
    StopReason,
    UnknownSnapshot,
)
from .shapes import Choice, History, Mismatch
from .time import iso_8601
from .typed import U32, U64, Arguments, NoArguments, NoSettings, Settings, Slice, member, says

__all__ = [
    "U32", "U64", "Arguments", "Attached", "Bytes", "Cancellation", "Choice", "Command", "Context", "Driver", "History", "HostError", "Identity",
    "InvalidSettings", "LeaseEnd", "Level", "Line", "LineFramer", "Lost", "Manifest", "Mismatch", "MissingPort", "NoArguments", "NoSettings",
    "Observed", "OtherEvent", "Overrun", "PacketFramer", "Piece", "PortState", "PortWish", "Refusal", "Refused", "Settings", "Severity", "Slice",
    "Snapshot", "Start", "StartReason", "StopReason", "UnknownSnapshot", "export_driver", "iso_8601", "line", "member", "says",
]  # fmt: skip


def export_driver(driver_class: type[Driver]):
    """The class behind the component's exports, to be named `Guest` in the driver's module. In plain Python there is none: the driver is tested
    under `autobench_sdk.bench`."""
    try:
        import wit_world  # noqa: F401
    except ModuleNotFoundError:
        return None
    from .component import guest_of

    return guest_of(driver_class)
