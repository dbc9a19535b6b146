"""Slices publish what changed and nothing else, settings and arguments are read or refused with words, and a driver on the bench lives through
swaps, restarts and refusals."""

import math
import unittest
from typing import Annotated

from autobench_sdk import (
    U64,
    Arguments,
    Choice,
    Driver,
    History,
    HostError,
    InvalidSettings,
    Level,
    LineFramer,
    Manifest,
    Mismatch,
    PortWish,
    Settings,
    Severity,
    Slice,
    Snapshot,
    StopReason,
    UnknownSnapshot,
    iso_8601,
    member,
    says,
)
from autobench_sdk.bench import Bench


class Mode(Choice):
    IDLE = "idle"
    BUSY = "busy"


class Inner(Slice):
    """Nested."""

    count: U64 = member(0, "So many.")
    share: float = member(0.0)


class Everything(Slice):
    mode: Mode = member(Mode.IDLE)
    inner: Inner = member(factory=Inner)
    maybe: Inner | None = member(None)
    text: str | None = member(None, absent=True)
    flags: dict[str, int] = member(factory=dict)
    newest: History[float] = member(factory=lambda: History(3))


class Pace(Settings):
    every_s: Annotated[int, says(minimum=1)] = member(1, "Seconds.")
    label: str | None = member(None)


class Say(Arguments):
    what: str
    loud: bool = member(False)


class Talker(Driver):
    Settings = Pace
    Slice = Everything

    @classmethod
    def manifest(cls):
        manifest = Manifest("line-talker", "1.2.3", "Talks.").port(PortWish("main", "Lines."))
        return manifest.measurement("length", "1", "Length of each line").command("say", "Says it.", Say)

    def start(self, cx, start):
        self.framer = LineFramer(100)
        self.heard = 0 if start.memory is None else start.memory["heard"]
        cx.phase("ready" if start.port("main").attached else "away")

    def on_bytes(self, cx, event):
        for line in self.framer.feed(event.data):
            if line.text == b"boom":
                cx.warn("here it comes")
                raise RuntimeError("boom")
            self.heard += 1
            cx.sample(0, event.received_ms, float(len(line.text)))
            cx.edit.inner.count = self.heard
            cx.edit.newest.push(float(len(line.text)))

    def on_command(self, cx, command):
        try:
            say = command.arguments(Say)
        except Mismatch as mismatch:
            cx.fail(command.id, str(mismatch))
            return
        cx.acknowledge(command.id)
        cx.write("main", say.what.encode() + b"\n")
        cx.raise_alarm("said", Severity.WARNING if say.loud else Severity.INFO, say.what)
        cx.succeed(command.id, len(say.what))

    def on_lost(self, cx, event):
        self.framer.reset()
        cx.edit_now.mode = Mode.IDLE

    def on_timer(self, cx, id):
        cx.edit.text = f"timer {id}"

    def snapshot(self):
        return Snapshot({"heard": self.heard}, rereading={"main": self.framer.held})


def changes(before, after):
    """What makes one state into the other, by path."""
    places, operations = [], []
    Everything._shape.add_places("", places)
    Everything._shape.diff(after, before, 0, operations)
    return [(kind, places[place], *rest) for kind, place, *rest in operations]


class Slices(unittest.TestCase):
    def test_only_fields_that_changed_become_operations(self):
        before = Everything()
        after = Everything._shape.clone(before)
        self.assertEqual(changes(before, after), [])
        after.mode = Mode.BUSY
        after.inner.share = 0.5
        after.maybe = Inner(2)
        after.text = "new"
        expected = [
            ("set", "/mode", ("text", "busy")),
            ("set", "/inner/share", ("float", 0.5)),
            ("set", "/maybe", ("json", '{"count":2,"share":0.0}')),
            ("set", "/text", ("text", "new")),
        ]
        self.assertEqual(changes(before, after), expected)
        self.assertEqual(before.inner.share, 0.0, "a copy shares nothing")

    def test_none_removes_what_may_be_absent_and_is_null_elsewhere(self):
        before = Everything(text="old", maybe=Inner(1))
        after = Everything()
        self.assertEqual(changes(before, after), [("set", "/maybe", ("null", None)), ("remove", "/text")])
        self.assertNotIn("text", after.to_json())

    def test_what_has_places_below_it_changes_there(self):
        before, after = Everything(maybe=Inner(1)), Everything(maybe=Inner(2))
        self.assertEqual(changes(before, after), [("set", "/maybe/count", ("integer", 2))])

    def test_a_value_that_is_not_known_is_null_and_published_once(self):
        before, after = Everything(), Everything(inner=Inner(0, math.nan))
        self.assertEqual(changes(before, after), [("set", "/inner/share", ("null", None))])
        self.assertEqual(changes(after, Everything(inner=Inner(0, math.nan))), [])

    def test_a_number_beyond_what_a_browser_keeps_exactly_says_so(self):
        self.assertEqual(changes(Everything(), Everything(inner=Inner(2**53)))[0][2], ("float", 2.0**53))

    def test_a_history_is_published_as_additions(self):
        before = Everything()
        for value in (1.0, 2.0):
            before.newest.push(value)
        after = Everything._shape.clone(before)
        after.newest.push(3.0)
        after.newest.push(4.0)
        expected = [("append", "/newest", ("float", 3.0), 3), ("append", "/newest", ("float", 4.0), 3)]
        self.assertEqual((changes(before, after), list(after.newest)), (expected, [2.0, 3.0, 4.0]))
        after.newest.push(5.0)
        self.assertEqual(changes(before, after), [("set", "/newest", ("json", "[3.0,4.0,5.0]"))])

    def test_a_slice_comes_back_from_its_json_and_older_ones_are_filled_up(self):
        slice = Everything(Mode.BUSY, Inner(3, 0.25), Inner(), "text", {"a": 1}, History(3, [1.0]))
        self.assertEqual(Everything.from_json(slice.to_json()), slice)
        self.assertEqual(Everything.from_json({"inner": {}}), Everything())
        with self.assertRaisesRegex(Mismatch, "`inner.count` is a text, expected an integer"):
            Everything.from_json({"inner": {"count": "three"}})

    def test_the_schema_says_what_the_fields_say(self):
        schema = Everything.json_schema()
        self.assertEqual(schema["$defs"]["Inner"]["properties"]["count"], {"type": "integer", "format": "uint64", "minimum": 0, "description": "So many."})
        self.assertEqual(schema["properties"]["newest"], {"type": "array", "items": {"type": "number", "format": "double"}, "maxItems": 3})
        self.assertEqual(schema["required"], ["mode", "inner", "flags", "newest"])
        self.assertEqual(Say.json_schema()["required"], ["what"])
        self.assertFalse(Pace.json_schema()["additionalProperties"])
        self.assertEqual(Pace.json_schema()["properties"]["every-s"]["default"], 1)


class Drivers(unittest.TestCase):
    def test_the_whole_slice_is_published_at_the_start_and_then_what_changed(self):
        bench = Bench(Talker)
        self.assertEqual(bench.last_operations, [("set", "", bench.last_operations[0][2])])
        bench.settle()
        bench.feed("main", b"one\n")
        self.assertEqual(bench.last_operations, [("set", "/inner/count", ("integer", 1)), ("set", "/newest", ("json", "[3.0]"))])
        self.assertEqual(bench.samples("length"), [(1_767_225_600_050.0, 3.0)])

    def test_lines_come_faster_than_the_slice(self):
        bench = Bench(Talker)
        before = bench.publications
        for _ in range(1000):
            bench.feed("main", b"x\n")
            bench.advance_ms(1)
        bench.settle()
        self.assertIn(bench.publications - before, (20, 21, 22))
        self.assertEqual(bench.slice["inner"]["count"], 1000)

    def test_a_swap_at_every_byte_counts_every_line_once(self):
        text = b"one\ntwo\r\nthree\n"
        for border in range(len(text) + 1):
            bench = Bench(Talker)
            bench.feed("main", text[:border])
            bench.swap()
            bench.feed("main", text[border:])
            bench.settle()
            self.assertEqual(bench.slice["inner"]["count"], 3, border)
            self.assertEqual([value for _, value in bench.samples("length")], [3.0, 3.0, 5.0], border)

    def test_a_call_that_raises_has_had_no_effect_but_its_log(self):
        bench = Bench(Talker)
        with self.assertRaises(RuntimeError):
            bench.feed("main", b"one\nboom\n")
        self.assertEqual(bench.samples("length"), [])
        self.assertEqual([text for level, text, _ in bench.logs if level is Level.WARN], ["here it comes"])

    def test_a_command_is_answered_or_refused_with_words(self):
        bench = Bench(Talker)
        id = bench.command("say", {"what": "hello", "loud": True})
        self.assertEqual(bench.outcome(id), ("succeeded", 5))
        self.assertEqual(bench.written("main"), b"hello\n")
        self.assertEqual(bench.alarms, {"said": (Severity.WARNING, "hello")})
        id = bench.command("say", {"loud": True})
        self.assertEqual(bench.outcome(id), ("failed", "missing field `what`"))
        id = bench.command("say", {"what": "x", "twice": 2})
        self.assertEqual(bench.outcome(id), ("failed", "unknown field `twice`, expected `what`, `loud`"))

    def test_settings_are_refused_with_what_is_wrong(self):
        with self.assertRaisesRegex(InvalidSettings, "unknown field `every`, expected `every-s`, `label`"):
            Bench(Talker, {"every": 1})
        with self.assertRaisesRegex(InvalidSettings, "`every-s` is a text, expected an integer"):
            Bench(Talker, {"every-s": "1"})
        bench = Bench(Talker)
        bench.change_settings({"every-s": None})
        self.assertIn((Level.ERROR, "the new settings are not understood: `every-s` is null, expected an integer", {}), bench.logs)

    def test_a_snapshot_of_another_form_or_version_is_refused_and_the_driver_goes_on(self):
        bench = Bench(Talker)
        snapshot, _ = bench.checkpoint()
        snapshot.schema_version = 2
        with self.assertRaisesRegex(UnknownSnapshot, "its version is 2, this driver takes version 1"):
            bench.swap_from(snapshot)
        snapshot.schema_version, snapshot.data = 1, b"[]"
        with self.assertRaises(UnknownSnapshot):
            bench.swap_from(snapshot)
        bench.feed("main", b"one\n")
        self.assertEqual(len(bench.samples("length")), 1)

    def test_what_the_host_refuses_is_an_error_with_its_name(self):
        bench = Bench(Talker)
        bench.refuse_writes("main", "full")
        with self.assertRaises(HostError) as raised:
            bench.command("say", {"what": "x"})
        self.assertEqual(raised.exception.code, "full")

    def test_a_publication_that_is_refused_is_mended_by_the_whole_slice(self):
        bench = Bench(Talker)
        bench._host.slice = None
        bench.settle()
        bench.feed("main", b"one\n")
        bench.settle()
        bench.feed("main", b"two\n")
        self.assertEqual(bench.slice["inner"]["count"], 2)

    def test_timers_and_last_words_reach_the_driver(self):
        bench = Bench(Talker)
        bench.handle("timer", 7)
        bench.settle()
        self.assertEqual(bench.slice["text"], "timer 7")
        self.assertEqual(bench.stop(StopReason.REMOVED, "main"), b"")

    def test_times_have_their_text(self):
        self.assertEqual(iso_8601(1_709_164_800_123.9), "2024-02-29T00:00:00.123Z")
        self.assertEqual(iso_8601(-1.0), "1969-12-31T23:59:59.999Z")
        self.assertEqual(iso_8601(math.inf), "9999-12-31T23:59:59.999Z")
        self.assertEqual(iso_8601(math.nan), "1970-01-01T00:00:00.000Z")


if __name__ == "__main__":
    unittest.main()
