"""What a driver holds is undone on the bench as by the host: in its place among what a call writes, in its time, and whatever becomes of the
driver."""

import unittest

from autobench_sdk import Arguments, Driver, HostError, Manifest, PortWish, Refused, Slice, Snapshot, StopReason, member
from autobench_sdk.bench import Bench


class Told(Slice):
    #: What it was told since its start, in order.
    told: list[str] = member(factory=list)


class Acquire(Arguments):
    id: int
    port: str
    release: str
    ms: int


class Number(Arguments):
    id: int


class Holder(Driver):
    """Does what its commands say, and takes a lease for each byte."""

    Slice = Told

    @classmethod
    def manifest(cls):
        return Manifest("holder", "1.0.0", "Holds.").port(PortWish("main", "One.")).port(PortWish("other", "Another."))

    def start(self, cx, start):
        cx.edit_now.told = [f"start {start.leases}"]

    def on_bytes(self, cx, event):
        for byte in event.data:
            self.acquire(cx, byte, event.port, bytes([byte]), 1000)

    def on_command(self, cx, command):
        if command.name == "acquire":
            lease = command.arguments(Acquire)
            self.acquire(cx, lease.id, lease.port, lease.release.encode(), lease.ms)
        elif command.name == "release":
            cx.release_lease(command.arguments(Number).id)
        elif command.name == "hold":
            cx.acquire_lease(9, "main", b"9", 1000, holder=command.id)
        else:
            # A hold that is over as soon as it has begun, and begins anew.
            cx.write("main", b"<")
            cx.acquire_lease(1, "main", b"1", 1000)
            cx.acquire_lease(2, "main", b"2", 1000)
            cx.release_lease(1)
            cx.write("main", b">")
            cx.acquire_lease(1, "main", b"3", 1000)

    def acquire(self, cx, id, port, release, ms):
        try:
            cx.acquire_lease(id, port, release, ms)
        except HostError as refused:
            cx.warn(str(refused))

    def on_lost(self, cx, event):
        cx.edit_now.told.append(f"lost {event.port}")

    def on_lease_ended(self, cx, event):
        cx.edit_now.told.append(f"{event.id} {event.reason} at {cx.monotonic_ns() // 1_000_000 - 1000}")

    def snapshot(self):
        return Snapshot()

    def stop(self, cx, reason):
        cx.write("main", b"bye")


class Refuser(Holder):
    def start(self, cx, start):
        raise Refused("not today")


class Leases(unittest.TestCase):
    def setUp(self):
        self.bench = Bench(Holder)

    def take(self, id, port, release, ms):
        self.bench.command("acquire", {"id": id, "port": port, "release": release, "ms": ms})

    def told(self):
        return self.bench.slice["told"]

    def refusals(self):
        return [text for _, text, _ in self.bench.logs]

    def test_the_bytes_of_a_lease_that_is_given_back_go_out_in_their_place(self):
        self.bench.command("pulse")
        self.assertEqual(self.bench.written("main"), b"<1>")
        self.assertEqual(list(self.bench.leases), [2, 1])
        self.bench.command("release", {"id": 1})
        self.bench.command("release", {"id": 1})
        self.assertEqual(self.bench.written("main"), b"3", "once, and one that is not open is no error")
        self.assertEqual(self.told(), ["start []"], "it has asked for that itself")

    def test_a_lease_names_the_command_whose_sender_holds_it(self):
        command = self.bench.command("hold")
        self.assertEqual(self.bench.leases[9][3], command)
        manifest = Manifest("holder", "1.0.0", "Holds.").command("hold", "Holds.", hold=True).command("press", "Presses.")
        self.assertEqual([(name, hold) for name, _, _, _, hold in manifest.commands], [("hold", True), ("press", False)])

    def test_a_lease_ends_at_its_time_which_a_new_one_moves(self):
        self.take(7, "main", "a", 100)
        self.take(8, "main", "b", 60)
        self.bench.advance_ms(50)
        self.take(7, "main", "c", 100)
        self.bench.advance_ms(99)
        self.assertEqual(self.bench.written("main"), b"b")
        self.assertEqual(self.bench.leases, {7: ("main", b"c", self.bench.now_ns + 1_000_000, None)})
        self.bench.advance_ms(1)
        self.assertEqual(self.bench.written("main"), b"c")
        self.assertEqual(self.told(), ["start []", "8 maximum at 60", "7 maximum at 150"])
        self.assertEqual(self.bench.leases, {})

    def test_a_lease_that_moves_to_another_port_ends_on_the_first(self):
        self.take(1, "main", "m", 100)
        self.take(1, "other", "o", 100)
        self.assertEqual(self.bench.written("main"), b"m")
        self.bench.end_lease(1, "client-gone")
        self.assertEqual((self.bench.written("main"), self.bench.written("other")), (b"", b"o"))
        self.assertEqual(self.told(), ["start []", "1 client-gone at 0"])
        with self.assertRaisesRegex(KeyError, "no lease 1 is open"):
            self.bench.end_lease(1, "client-gone")

    def test_what_is_out_of_range_is_refused(self):
        self.bench = Bench(Holder, detached=("other",))
        self.take(1, "third", "", 0)
        self.take(1, "other", "", 1)
        self.take(1, "main", "x" * 1025, 1)
        self.take(1, "main", "x", 0)
        self.take(1, "main", "x", 600_001)
        self.take(1, "other", "x", 1)
        expected = [
            "not-granted",
            "invalid: 1 to 1024 bytes undo a hold, not 0",
            "invalid: 1 to 1024 bytes undo a hold, not 1025",
            "invalid: a lease lasts 1 to 600000 ms, not 0",
            "invalid: a lease lasts 1 to 600000 ms, not 600001",
            "not-attached",
        ]
        self.assertEqual(self.refusals(), expected)
        self.assertEqual(self.bench.leases, {})
        self.take(1, "main", "x" * 1024, 600_000)
        self.take(2, "main", "x", 1)
        self.assertEqual(list(self.bench.leases), [1, 2])

    def test_sixteen_leases_are_open_or_wait_for_their_line(self):
        self.bench.feed("other", bytes(range(17)))
        self.assertEqual(len(self.bench.leases), 16, "all in one call")
        self.take(5, "main", "x", 1000)
        self.assertEqual(self.refusals(), ["full"], "one that is open needs no room")
        self.assertEqual(self.bench.written("other"), bytes([5]), "what it left there is written by nobody else")
        self.bench.lose("other", "unplugged")
        self.assertEqual(list(self.bench.leases), [5])
        self.take(17, "main", "x", 1000)
        self.assertEqual(len(self.refusals()), 2, "the bytes of 15 wait, and one is open")
        self.bench.attach("other")
        self.take(17, "main", "x", 1000)
        self.assertEqual(list(self.bench.leases), [5, 17])

    def test_a_line_that_is_lost_ends_its_leases_and_gets_their_bytes_when_it_is_back(self):
        self.take(1, "main", "a", 1000)
        self.take(2, "other", "b", 1000)
        self.take(3, "main", "c", 1000)
        self.bench.lose("main", "unplugged")
        self.assertEqual(self.told(), ["start []", "lost main", "1 port-lost at 0", "3 port-lost at 0"])
        self.assertEqual(list(self.bench.leases), [2])
        self.assertEqual(self.bench.written("main"), b"")
        self.bench.attach("main")
        self.assertEqual(self.bench.written("main"), b"ac")

    def test_a_swap_ends_no_lease_and_neither_does_one_that_is_refused(self):
        self.take(1, "main", "a", 1000)
        self.bench.advance_ms(600)
        with self.assertRaises(Refused):
            self.bench.swap(Refuser)
        self.bench.swap()
        self.assertEqual(self.told(), ["start [1]"])
        self.bench.advance_ms(399)
        self.assertEqual(self.bench.written("main"), b"")
        self.bench.advance_ms(1)
        self.assertEqual(self.bench.written("main"), b"a")
        self.assertEqual(self.told()[1:], ["1 maximum at 1000"])

    def test_a_breakdown_undoes_what_is_held_and_the_driver_is_told_of_what_it_takes_for_open(self):
        self.take(65, "main", "A", 1000)
        self.take(66, "main", "B", 1000)
        checkpoint = self.bench.checkpoint()
        self.bench.command("release", {"id": 66})
        self.bench.feed("main", b"C")
        self.take(1, "main", "d", 1000)
        self.assertEqual(self.bench.written("main"), b"B")
        self.bench.restart(checkpoint)
        self.assertEqual(self.bench.written("main"), b"ACd")
        self.assertEqual(self.bench.leases, {})
        # It has heard of the byte once more, and of the commands it has not.
        ends = [f"{id} driver-failed at 0" for id in (65, 66, 67)]
        self.assertEqual(self.told(), ["start [65, 66]", *ends])

        self.take(1, "main", "e", 1000)
        self.bench.restart()
        self.assertEqual(self.bench.written("main"), b"e")
        self.assertEqual(self.told(), ["start []"])

    def test_a_call_that_raises_takes_no_lease(self):
        with self.assertRaises(TypeError):
            self.bench.feed("main", [65, "no byte"])
        self.assertEqual(self.bench.leases, {})
        self.bench.swap()
        self.assertEqual(self.told(), ["start []"])

    def test_a_stop_undoes_what_is_held_behind_the_last_words(self):
        self.take(1, "main", "a", 1000)
        self.assertEqual(self.bench.stop(StopReason.REMOVED, "main"), b"byea")


if __name__ == "__main__":
    unittest.main()
