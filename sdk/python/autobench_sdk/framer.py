"""Framers: lines and packets out of chunks, wherever the chunk borders fall. Each holds at most its limit in bytes.

A framer that is new at the first byte it holds comes to the same results, so a snapshot leaves those bytes to the successor:
`Snapshot(memory, rereading={"main": framer.held})`.
"""

import re
from typing import NamedTuple


class Line(NamedTuple):
    """One line, without its end. `whole` is False for the start of a line that is longer than the limit; the rest of it is left out."""

    text: bytes
    whole: bool


class LineFramer:
    """Lines that end with LF or CR LF, of at most `limit_bytes`, their end not counted."""

    def __init__(self, limit_bytes: int, skipping: bool = False):
        self._limit = max(limit_bytes, 1)
        self._buffer = b""
        #: Whether it stands in the middle of a line that it has cut. Belongs into a snapshot where lines can be that long.
        self.skipping = skipping

    @property
    def held(self) -> int:
        """How many of the bytes that came last are held, waiting for the end of their line."""
        return len(self._buffer)

    def feed(self, chunk: bytes) -> list[Line]:
        """Takes a chunk and gives every line that ends in it."""
        lines: list[Line] = []
        *ended, rest = chunk.split(b"\n")
        for text in ended:
            self._take(text, True, lines)
            self.skipping = False
        if rest:
            self._take(rest, False, lines)
        return lines

    def _take(self, text: bytes, ended: bool, lines: list[Line]) -> None:
        if self.skipping:
            return
        text = self._buffer + text
        bare = text[:-1] if text.endswith(b"\r") else text
        if len(bare) > self._limit:
            lines.append(Line(text[: self._limit], False))
            self._buffer = b""
            self.skipping = True
        elif ended:
            lines.append(Line(bare, True))
            self._buffer = b""
        else:
            self._buffer = text

    def reset(self) -> None:
        """Forgets a half line, because the rest of it will not come."""
        self._buffer = b""
        self.skipping = False


class Piece(NamedTuple):
    """A piece of the stream, without its borders and without ignored bytes. Its kind is one of those of `PacketFramer`."""

    kind: str
    text: bytes


class PacketFramer:
    """Packets between a start and an end byte, in a stream that may hold anything else too.

    `limit_bytes` counts neither borders nor ignored bytes; `ignored` are left out wherever they stand.
    """

    #: From a start byte to an end byte.
    PACKET = "packet"
    #: From a start byte to another one: the end is lost.
    ENDLESS = "endless"
    #: To an end byte, without a start byte: the start is lost.
    HEADLESS = "headless"
    #: Between packets; neither start nor end byte.
    JUNK = "junk"
    #: As many bytes as the limit, without an end. What follows, up to the next start or end byte, is a piece of its own.
    TOO_LONG = "too-long"

    def __init__(self, start: bytes, end: bytes, limit_bytes: int, ignored: bytes = b""):
        self._start = start[0]
        self._border = re.compile(b"[" + re.escape(start) + re.escape(end) + b"]")
        self._limit = max(limit_bytes, 1)
        self._ignored = ignored
        self._buffer = b""
        self._started = False
        #: How many of the bytes that came last are held, start byte and ignored ones included.
        self.held = 0

    def feed(self, chunk: bytes) -> list[Piece]:
        """Takes a chunk and gives every piece that ends in it. Empty pieces are not given, except empty packets."""
        pieces: list[Piece] = []
        at = 0
        for border in self._border.finditer(chunk):
            index = border.start()
            if index > at:
                self._take(chunk[at:index], pieces)
            if chunk[index] == self._start:
                if self._buffer:
                    pieces.append(Piece(self.ENDLESS if self._started else self.JUNK, self._buffer))
                self._buffer, self._started, self.held = b"", True, 1
            else:
                if self._started:
                    pieces.append(Piece(self.PACKET, self._buffer))
                elif self._buffer:
                    pieces.append(Piece(self.HEADLESS, self._buffer))
                self.reset()
            at = index + 1
        if at < len(chunk):
            self._take(chunk[at:], pieces)
        return pieces

    def _take(self, run: bytes, pieces: list[Piece]) -> None:
        text = run.translate(None, self._ignored)
        if len(self._buffer) + len(text) > self._limit:
            self._overflow(run, pieces)
            return
        # Between two pieces there is nothing that an ignored byte would have to wait with.
        self.held += len(run if self.held else run.lstrip(self._ignored))
        self._buffer += text

    def _overflow(self, run: bytes, pieces: list[Piece]) -> None:
        for byte in run:
            if byte in self._ignored:
                if self.held:
                    self.held += 1
                continue
            if len(self._buffer) == self._limit:
                pieces.append(Piece(self.TOO_LONG, self._buffer))
                self.reset()
            self._buffer += bytes((byte,))
            self.held += 1

    def reset(self) -> None:
        """Forgets a half packet, because the rest of it will not come."""
        self._buffer = b""
        self._started = False
        self.held = 0
