"""Framers give the same lines and packets wherever the chunk borders fall, hold no more than their limit, and go on from the bytes they hold."""

import os
import random
import unittest

from autobench_sdk import LineFramer, PacketFramer

SEED = int(os.environ.get("AUTOBENCH_SEED") or random.randrange(2**32))
CASES = 20_000 if os.environ.get("AUTOBENCH_LONG") else 1000


def lines():
    return LineFramer(6)


def packets():
    return PacketFramer(b"#", b";", 6, b"\0\r\n")


def texts(alphabet):
    print(f"seed {SEED}")
    source = random.Random(SEED)
    for _ in range(CASES):
        yield source, bytes(source.choice(alphabet) for _ in range(source.randrange(120)))


class Framers(unittest.TestCase):
    def check(self, alphabet, fresh, most_held):
        for source, text in texts(alphabet):
            framer, pieces, at = fresh(), [], 0
            while at < len(text):
                end = min(at + source.randrange(1, 20), len(text))
                pieces += framer.feed(text[at:end])
                at = end
                if most_held:
                    self.assertLessEqual(framer.held, most_held)
                if source.random() < 0.5:
                    held, skipping = framer.held, getattr(framer, "skipping", False)
                    framer = fresh()
                    if skipping:
                        framer.skipping = True
                    pieces += framer.feed(text[at - held : at])
                    self.assertEqual(framer.held, held, text)
            self.assertEqual(pieces, fresh().feed(text), text)

    def test_lines_do_not_depend_on_chunks_and_go_on_from_what_is_held(self):
        self.check(b"ab\r\n", lines, 7)

    def test_packets_do_not_depend_on_chunks_and_go_on_from_what_is_held(self):
        self.check(b"ab,#;\0\r", packets, None)

    def test_lines_are_what_splitting_gives(self):
        for _, text in texts(b"ab\r\n"):
            expected = []
            for part in text.split(b"\n")[:-1]:
                bare = part[:-1] if part.endswith(b"\r") else part
                expected.append((bare, True) if len(bare) <= 6 else (part[:6], False))
            # A line that is too long is given before its end has come.
            self.assertEqual(lines().feed(text)[: len(expected)], expected, text)

    def test_no_byte_is_lost_between_pieces(self):
        for _, text in texts(b"ab,#;\0\r"):
            # An end, so that nothing is held.
            given = b"".join(piece.text for piece in packets().feed(text + b";"))
            self.assertEqual(given, text.translate(None, b"#;\0\r"))

    def test_packets_stand_among_anything(self):
        pieces = packets().feed(b"hi\r\n#a\0b;\r\n;c,d;#e#f;#;#1234567;x")
        expected = [
            ("junk", b"hi"),
            ("packet", b"ab"),
            ("headless", b"c,d"),
            ("endless", b"e"),
            ("packet", b"f"),
            ("packet", b""),
            ("too-long", b"123456"),
            ("headless", b"7"),
        ]
        self.assertEqual(pieces, expected)

    def test_a_line_and_a_packet_of_just_the_limit_are_whole(self):
        self.assertEqual(packets().feed(b"#123456;"), [("packet", b"123456")])
        self.assertEqual(lines().feed(b"123456\r\n1234567\r\n"), [(b"123456", True), (b"123456", False)])


if __name__ == "__main__":
    unittest.main()
