"""When and how a slice is published: all of it at the start, then what differs, at most 20 times a second."""

from typing import Any

from .records import HostError, Level
from .typed import Slice
from .values import value_of

#: The timer that publishes what was held back. Drivers choose small numbers.
TRAILING_TIMER = 0xFFFF_FFFF

#: At most 20 publications a second: faster than anybody looks, slower than any meter that is worth its name.
SPACING_MS = 50
SPACING_NS = SPACING_MS * 1_000_000


class Desk:
    """What the SDK keeps for a driver between calls."""

    def __init__(self, host: Any, slice: Slice, timers: list[int]):
        self.slice = slice
        self._shape = type(slice)._shape
        self._published = self._shape.clone(slice)
        places: list[str] = []
        self._shape.add_places("", places)
        self._paths = [host.intern(place) for place in places]
        self._whole_path = host.text_path("")
        #: Whether the driver has asked for the slice to change it since the last publication.
        self.touched = False
        #: Whether the next publication is due at once.
        self.urgent = False
        #: Whether the next publication is the whole slice, because the host's may be anything.
        self.whole = True
        self._published_ns: int | None = None
        #: Samples of this call, pushed together when it ends.
        self.samples: list[tuple] = []
        #: Timers that the host is believed to run, at most 64.
        self.timers = set(timers)
        # What the host refused last, so that a slice that stays too large is logged once and not twenty times a second.
        self._refused: str | None = None

    def settle(self, host: Any, replayed: bool) -> None:
        """Ends a call: pushes its samples and publishes what is due. In a replay everything is due, because the host drops timers that are set
        in one and puts the slice into the state once at its end."""
        if self.samples:
            samples, self.samples = self.samples, []
            try:
                host.push(samples)
            except HostError as error:
                host.log(Level.ERROR, f"samples were refused: {error}", ())
        if self.touched or self.urgent or self._published_ns is None:
            self._publish(host, replayed)

    def _publish(self, host: Any, replayed: bool) -> None:
        now_ns = host.monotonic_ns()
        since_ns = None if self._published_ns is None else max(now_ns - self._published_ns, 0)
        due = self.urgent or replayed or since_ns is None or since_ns >= SPACING_NS
        if not due and TRAILING_TIMER in self.timers:
            return
        operations = self._operations()
        if not operations:
            self.touched = self.urgent = False
            return
        if not due and since_ns is not None:
            try:
                host.set_timer(TRAILING_TIMER, max(SPACING_MS - since_ns // 1_000_000, 1))
                self.timers.add(TRAILING_TIMER)
                return
            except HostError:
                # Without a timer there is nobody to publish later, so it goes out now.
                pass
        self._send(host, operations, now_ns)

    def _operations(self) -> list[tuple]:
        if self.whole:
            return [("set", self._whole_path, value_of(self.slice.to_json()))]
        changes: list[tuple] = []
        self._shape.diff(self.slice, self._published, 0, changes)
        paths = self._paths
        return [(kind, paths[place], *rest) for kind, place, *rest in changes]

    def _send(self, host: Any, operations: list[tuple], now_ns: int) -> None:
        self.touched = self.urgent = False
        self._published_ns = now_ns
        try:
            host.update_slice(operations)
        except HostError as error:
            # What the host has now is still `published`, unless it was the whole slice that it did not take.
            if self._refused != str(error):
                host.log(Level.ERROR, f"the slice was refused: {error}", ())
                self._refused = str(error)
            return
        self._published = self._shape.clone(self.slice)
        self.whole = False
        self._refused = None
