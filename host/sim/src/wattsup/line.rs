//! The meter's cable as what runs any cable sees it.

use std::time::Duration;

use super::cable::Cable;
use crate::line::Outgoing;

impl crate::line::Cable for Cable {
    fn set_host_rate(&mut self, baud_rate: u32) {
        self.set_host_rate(baud_rate);
    }

    fn host_came(&mut self) {
        self.host_came();
    }

    fn host_gone(&mut self, unread_bytes: u64) {
        self.host_gone(unread_bytes);
    }

    fn receive(&mut self, bytes: &[u8], now: Duration) {
        self.receive(bytes, now);
    }

    fn outgoing(&self, now: Duration) -> Option<Outgoing<'_>> {
        self.outgoing(now)
    }

    fn line_due(&self) -> Option<Duration> {
        self.line_due()
    }

    fn sent(&mut self, count: usize) {
        self.sent(count);
    }

    fn awaits_reader(&self) -> bool {
        self.awaits_reader()
    }

    fn drained(&mut self) {
        self.drained();
    }

    fn hurry(&mut self, now: Duration) {
        self.hurry(now);
    }

    fn unplugged(&mut self, unread_bytes: u64, _: Duration) {
        self.unplugged(unread_bytes);
    }

    fn plugged(&mut self, _: Duration) {
        self.plugged();
    }

    fn set_muted(&mut self, muted: bool) {
        self.set_muted(muted);
    }

    fn add_noise(&mut self, bytes: &[u8], now: Duration) {
        self.add_noise(bytes, now);
    }
}
