"""The driver on the bench, fed with recorded transcripts: every chunking gives the same samples, every swap gives each sample once, the
conversation with the meter goes as the one of the Rust driver does, and so do slice and snapshot."""

import json
import os
import pathlib
import random
import unittest

from autobench_sdk import InvalidSettings, Level, StopReason
from autobench_sdk.bench import Bench
from driver import PowerMeter

IDENTIFY = b"\x18#V,R,0;"
ASK = b"#L,W,3,E,_,1;"
ASK_AGAIN = b"#L,W,3,E,0,1;"
VERSION = b"#v,-,8,1,65206,5,2,3,14,200612211910,0;\r\n"
ROW = b"#d,-,18,965,1204,792,1,0,69384,5550,965,1205,833,965,1203,779,100,0,0,500,965;\r\n"

# Real records with everything that meters and lines were seen to do to them.
TRANSCRIPT = (
    b"EED05F01 $Revision: 4.41 $ 200612212301 60Hz 120V\r\n"
    b"#d,-,18,0,1203,0,79,0,34,2,0,1203,0,0,1200,0,100,0,0,600,0;\r\n"
    b"#d,-,18,965,1204,792,1,0,69384,5550,965,1205,833,965,1203,779,100,0,0,500,965;\r\n"
    b"\0\0#d,-,18,97\x002,2277,433,5,0,70035,5602,973,2280,435,972,2274,432,95,0,0,500,1020\0;\0\r\n"
    b"#d,-,18,124,1191,97,0,_,_,_,124,_,_,_,_,_,100,_,_,_,_;#d,-,18,610,1186,545,45,_,_,_,610,_,_,_,_,_,94,_,_,_,_;\r\n"
    b"-,18,611,1186,546,46,_,_,_,610,_,_,_,_,_,94,_,_,_,_;\r\n"
    b",-,18,612,1186,547,47,_,_,_,610,_,_,_,_,_,94,_,_,_,_;\r\n"
    b"d,-,18,613,1186,548,48,_,_,_,610,_,_,_,_,_,94,_,_,_,_;\r\n"
    b"#d,-,18,614,1186,54#d,-,18,615,1186,549,49,_,_,_,610,_,_,_,_,_,94,_,_,_,_;\r\n"
    b"4,1186,549,50,_,_,_,610,_,_,_,_,_,94,_,_,_,_;\r\n"
    b"#s,-,3,_,1,1;\r\n~~\xff,,;;#;#x;\r\n"
    b"#d,-,16,616,1186,550,51,_,_,_,610,_,_,_,_,_,93,_,_;\r\n"
    b"#d,-,18,99999,1186,550,51,_,_,_,610,_,_,_,_,_,93,_,_,_,_;\r\n"
    b"#c,-,18,1,1,1,1,0,0,0,1,0,0,0,0,0,1,0,0,0,0;\r\n"
    b"#d,-,18,617,1186,551,52,0,0,0,617,1186,551,0,1186,0,94,0,0,500,654;\r\n"
)
WATTS = [0.0, 96.5, 97.2, 12.4, 61.0, 61.1, 61.2, 61.3, 61.5, 61.6, 61.7]

SEED = int(os.environ.get("AUTOBENCH_SEED") or random.randrange(2**32))
CASES = 2000 if os.environ.get("AUTOBENCH_LONG") else 60
#: What both drivers write after the same minute; the Rust driver's tests read the same file.
SNAPSHOT = pathlib.Path(__file__).parents[5] / "plugins/power-meter/tests/snapshot.json"


def values(samples):
    return [value for _, value in samples]


def streaming():
    bench = Bench(PowerMeter)
    bench.feed("main", VERSION)
    bench.feed("main", ROW)
    bench.settle()
    bench.written("main")
    assert bench.slice["phase"] == "streaming"
    return bench


class Transcripts(unittest.TestCase):
    def check(self, bench, what):
        """What the transcript has to come to, however it was fed."""
        bench.settle()
        self.assertEqual(values(bench.samples("watts")), WATTS, what)
        self.assertEqual(len(bench.samples("energy")), len(WATTS))
        self.assertEqual(values(bench.samples("frequency")), [60.0, 50.0, 50.0, 50.0])
        self.assertEqual(values(bench.samples("apparentPower")), [0.0, 96.5, 102.0, 65.4])
        stats = bench.slice["stats"]
        self.assertEqual((stats["totalSamples"], stats["badRows"], stats["bytesReceived"]), (len(WATTS), 3, len(TRANSCRIPT)), what)
        self.assertEqual(bench.slice["lastSample"]["watts"], 61.7)

    def test_byte_by_byte_gives_the_same_samples(self):
        bench = Bench(PowerMeter)
        for at in range(len(TRANSCRIPT)):
            bench.feed("main", TRANSCRIPT[at : at + 1])
        self.check(bench, "byte by byte")

    def test_every_split_with_or_without_a_swap_gives_every_sample_once(self):
        for border in range(len(TRANSCRIPT) + 1):
            bench = Bench(PowerMeter)
            bench.feed("main", TRANSCRIPT[:border])
            if border % 2:
                bench.swap()
            bench.feed("main", TRANSCRIPT[border:])
            self.check(bench, border)

    def test_nothing_between_the_bytes_changes_what_they_say(self):
        print(f"seed {SEED}")
        source = random.Random(SEED)
        for case in range(CASES):
            bench, checkpoint, at = Bench(PowerMeter), None, 0
            while at < len(TRANSCRIPT):
                end = min(at + source.randrange(1, 90), len(TRANSCRIPT))
                bench.feed("main", TRANSCRIPT[at:end])
                at = end
                bench.advance_ms(source.randrange(120))
                step = source.randrange(6)
                if step == 0:
                    checkpoint = bench.checkpoint()
                elif step == 1:
                    bench.swap()
                elif step == 2 and checkpoint:
                    bench.restart(checkpoint)
            self.check(bench, case)

    def test_garbage_never_stops_it(self):
        source = random.Random(SEED)
        for _ in range(CASES):
            bench = streaming()
            bench.feed("main", source.randbytes(source.randrange(2000)))
            bench.feed("main", ROW)
            self.assertEqual(bench.samples("watts")[-1][1], 96.5)


class Conversation(unittest.TestCase):
    def test_the_snapshot_is_byte_for_byte_that_of_the_rust_driver(self):
        snapshot, _ = streaming().checkpoint()
        self.assertEqual(snapshot.data + b"\n", SNAPSHOT.read_bytes())
        self.assertEqual(snapshot.schema_version, 1)

    def test_it_goes_on_from_the_rust_drivers_snapshot(self):
        bench = streaming()
        snapshot, _ = bench.checkpoint()
        snapshot.data = SNAPSHOT.read_bytes()
        bench.swap_from(snapshot)
        bench.advance_ms(1000)
        self.assertEqual(bench.written("main"), b"")
        bench.feed("main", ROW)
        self.assertEqual(bench.slice["stats"]["totalSamples"], 2)
        snapshot.data = b'{"driver":{"stage":"away"},"slice":{}}'
        with self.assertRaisesRegex(Exception, "its memory has another form"):
            bench.swap_from(snapshot)

    def test_the_slice_has_the_form_that_the_mirror_knows(self):
        bench = Bench(PowerMeter)
        bench.advance_ms(100)
        bench.feed("main", VERSION)
        bench.advance_ms(400)
        bench.feed("main", ROW)
        expected = {
            "phase": "streaming",
            "stats": {"totalSamples": 1, "badRows": 0, "bytesReceived": len(VERSION + ROW), "lastSampleAt": 1_767_225_600_500, "lastErrorAt": None},
            "lastSample": {"ts": "2026-01-01T00:00:00.500Z", "watts": 96.5, "volts": 120.4, "amps": 0.792, "frequencyHz": 50.0, "powerFactor": 1.0, "energyWh": 0.1},
        }
        self.assertEqual(json.dumps(bench.slice, sort_keys=True), json.dumps(expected, sort_keys=True))
        self.assertEqual(bench.phases, ["connecting", "connecting", "streaming"])

    def test_a_row_costs_only_the_fields_that_changed(self):
        bench = streaming()
        bench.advance_ms(1000)
        bench.feed("main", ROW)
        # totalSamples, bytesReceived, lastSampleAt, ts.
        self.assertEqual(len(bench.last_operations), 4, bench.last_operations)

    def test_identification_asks_three_times_and_then_waits(self):
        bench = Bench(PowerMeter)
        for _ in range(3):
            self.assertEqual(bench.written("main"), IDENTIFY)
            bench.advance_ms(1999)
            self.assertEqual(bench.written("main"), b"")
            bench.advance_ms(1)
        self.assertEqual(bench.slice["phase"], "error")
        self.assertIn("does not answer", bench.slice["message"])
        bench.advance_ms(600_000)
        self.assertEqual(len([line for line in bench.logs if line[0] is Level.WARN]), 1)
        bench.written("main")
        bench.feed("main", VERSION)
        self.assertEqual(bench.written("main"), ASK)
        self.assertNotIn("message", bench.slice)

    def test_a_meter_that_sends_no_rows_is_asked_in_the_other_form_and_then_identified_again(self):
        bench = Bench(PowerMeter)
        bench.feed("main", VERSION)
        bench.written("main")
        bench.advance_ms(3000)
        self.assertEqual(bench.written("main"), ASK_AGAIN)
        bench.advance_ms(3000)
        self.assertEqual(bench.written("main"), IDENTIFY)

    def test_a_silent_meter_is_asked_again_and_then_identified_again(self):
        bench = streaming()
        bench.advance_ms(2950)
        self.assertEqual(bench.written("main"), ASK)
        self.assertEqual(bench.slice["message"], "no row for 3 s; asked for them again")
        bench.feed("main", ROW)
        self.assertNotIn("message", bench.slice)
        bench.advance_ms(6000)
        self.assertEqual(bench.written("main"), ASK + IDENTIFY)
        self.assertEqual(bench.slice["phase"], "connecting")

    def test_nothing_is_sent_after_a_swap_or_a_restart_from_a_checkpoint(self):
        bench = streaming()
        bench.swap()
        bench.advance_ms(1000)
        checkpoint = bench.checkpoint()
        bench.feed("main", ROW)
        bench.restart(checkpoint)
        bench.advance_ms(2900)
        self.assertEqual(bench.written("main"), b"")
        self.assertEqual(bench.slice["stats"]["totalSamples"], 2)
        # The watchdog went with it.
        bench.advance_ms(200)
        self.assertEqual(bench.written("main"), ASK)

    def test_a_meter_that_comes_back_is_identified_again_and_half_rows_are_not_joined(self):
        bench = streaming()
        bench.feed("main", ROW[:30])
        bench.lose("main", "unplugged")
        self.assertEqual((bench.slice["phase"], bench.slice["message"]), ("disconnected", "the line is away: unplugged"))
        bench.advance_ms(60_000)
        self.assertEqual(bench.written("main"), b"")
        bench.attach("main")
        self.assertEqual(bench.written("main"), IDENTIFY)
        for data in (ROW[30:], VERSION, ROW):
            bench.feed("main", data)
        self.assertEqual(len(bench.samples("watts")), 2)

    def test_an_overrun_costs_the_row_it_falls_into_and_no_other(self):
        bench = streaming()
        bench.feed("main", ROW[:30])
        bench.overrun("main", 500)
        bench.feed("main", b",0,0,500,965;\r\n")
        bench.feed("main", ROW)
        bench.settle()
        stats = bench.slice["stats"]
        self.assertEqual((stats["totalSamples"], stats["bytesReceived"]), (2, len(VERSION) + 2 * len(ROW) + 30 + 15))

    def test_a_new_interval_is_asked_for_at_once(self):
        bench = streaming()
        bench.change_settings({"interval-s": 1})
        self.assertEqual(bench.written("main"), b"")
        bench.change_settings({"interval-s": 5})
        self.assertEqual(bench.written("main"), b"#L,W,3,E,_,5;")
        self.assertEqual(bench.stop(StopReason.SHUTDOWN, "main"), b"#L,W,3,I,_,5;")
        with self.assertRaisesRegex(InvalidSettings, "from 1 to 3600"):
            Bench(PowerMeter, {"interval-s": 0})

    def test_a_driver_may_start_before_its_meter_is_there(self):
        bench = Bench(PowerMeter, detached=("main",))
        self.assertEqual((bench.slice["phase"], bench.written("main")), ("disconnected", b""))
        bench.attach("main")
        self.assertEqual(bench.written("main"), IDENTIFY)


if __name__ == "__main__":
    unittest.main()
