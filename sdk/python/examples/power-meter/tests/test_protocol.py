"""Rows are read, in part or not at all, as the meter and bad lines send them. The same laws as those of the Rust driver."""

import unittest

from protocol import Kind, Message, Reading, read_endless, read_headless, read_packet

# Real records.
ROWS = [
    b"d,-,18,0,1203,0,79,0,34,2,0,1203,0,0,1200,0,100,0,0,600,0",
    b"d,-,18,965,1204,792,1,0,69384,5550,965,1205,833,965,1203,779,100,0,0,500,965",
    b"d,-,18,972,2277,433,5,0,70035,5602,973,2280,435,972,2274,432,95,0,0,500,1020",
    b"d,-,18,124,1191,97,0,_,_,_,124,_,_,_,_,_,100,_,_,_,_",
    b"d,-,18,610,1186,545,45,_,_,_,610,_,_,_,_,_,94,_,_,_,_",
]
WORTHLESS = (Kind.BAD, Kind.JUNK)


def row(text):
    message = read_packet(text)
    assert message.kind is Kind.ROW and not message.damaged_before, (text, message)
    return message.reading


class Rows(unittest.TestCase):
    def test_real_rows_are_read(self):
        self.assertEqual(row(ROWS[2]), Reading(97.2, 227.7, 0.433, 0.5, 0.95, 50.0, 102.0))
        self.assertEqual(row(ROWS[0]).watts, 0.0)
        self.assertEqual(row(ROWS[4])[5:], (None, None))

    def test_a_row_survives_the_loss_of_any_part_of_its_head(self):
        for text in ROWS:
            for lost in range(len(b"d,-,18,")):
                self.assertEqual(read_headless(text[lost:]), Message(Kind.ROW, row(text)), (lost, text))

    def test_a_row_that_has_lost_a_byte_of_its_values_or_its_tail_is_never_read(self):
        for text in ROWS:
            for at in range(len(text)):
                self.assertIn(read_endless(text[:at]).kind, WORTHLESS)
                if at >= len(b"d,-,18,"):
                    self.assertIn(read_headless(text[at:]).kind, WORTHLESS, text[at:])

    def test_a_row_is_found_behind_the_remains_of_another(self):
        for kept in range(len(ROWS[1])):
            for lost in range(3):
                text = ROWS[1][:kept] + ROWS[2][lost:]
                message = read_packet(text)
                self.assertEqual((message.kind, message.reading), (Kind.ROW, row(ROWS[2])), text)

    def test_a_row_joined_to_the_values_of_another_is_not_misread(self):
        head = len(b"d,-,18,")
        for kept in range(head, len(ROWS[1])):
            for lost in range(head, len(ROWS[2])):
                text = ROWS[1][:kept] + ROWS[2][lost:]
                # The right count by chance: nothing in the row tells. Any other count does.
                if text.count(b",") != 20:
                    self.assertIn(read_packet(text).kind, WORTHLESS, text)

    def test_values_out_of_range_are_no_row(self):
        def with_(place, value):
            fields = ROWS[1].split(b",")
            fields[place] = value
            return read_packet(b",".join(fields)).kind

        for place, bad in [(3, b"50001"), (4, b"899"), (4, b"2801"), (5, b"20001"), (16, b"101"), (6, b"-1"), (6, b"1.5"), (6, b"4294967296")]:
            self.assertIs(with_(place, bad), Kind.BAD, (place, bad))
        for place, good in [(3, b"50000"), (4, b"900"), (4, b"2800"), (5, b"20000"), (16, b"0"), (6, b"4294967295")]:
            self.assertIs(with_(place, good), Kind.ROW, (place, good))

    def test_absent_is_not_zero(self):
        self.assertEqual(row(b"d,-,18,_,,0,_,_,_,_,_,_,_,_,_,_,_,_,_,_,_"), Reading(amps=0.0))
        serial = row(b"d,-,16,610,1186,545,45,_,_,_,610,_,_,_,_,_,94,_,_")
        self.assertEqual((serial.power_factor, serial.frequency_hz), (0.94, None))

    def test_replies_are_told_apart(self):
        version = read_packet(b"v,-,8,1,65206,5,2,3,14,200612211910,0")
        self.assertEqual((version.kind, version.version), (Kind.VERSION, ("PRO", 5, 2, 3, 14)))
        self.assertIs(read_packet(b"s,-,3,_,1,2").kind, Kind.OTHER)
        self.assertIs(read_packet(b"c,-,18,1,1,1,1,0,0,0,1,0,0,0,0,0,1,0,0,0,0").kind, Kind.OTHER)
        for junk in (b"", b"x", b",,", b"s,-,2,1"):
            self.assertIs(read_packet(junk).kind, Kind.JUNK, junk)


if __name__ == "__main__":
    unittest.main()
