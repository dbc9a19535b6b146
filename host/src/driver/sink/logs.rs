//! What a driver logs, and what is logged about it.

use std::time::Instant;

use autobench_core::driver::{LogLevel, LogLine};

use super::DeviceSink;
use super::log_budget::LOG_LINES_PER_SECOND;
use crate::driver::host_state::LOG_LINES_PER_CALL;
use crate::logs::LogRecord;

impl DeviceSink {
    /// What the driver logs, as long as it leaves room in the ring for what others have to say.
    pub(super) fn append_lines(&mut self, lines: &mut Vec<LogLine>, suppressed: u64, mark: Option<&str>) {
        if lines.is_empty() && suppressed == 0 {
            return;
        }
        let now = Instant::now();
        let mut left_out = suppressed;
        for mut line in lines.drain(..) {
            if !self.log_budget.admit(now) {
                left_out += 1;
                continue;
            }
            if let Some(mark) = mark {
                line.attributes.push(("line".to_owned(), mark.to_owned()));
            }
            self.logs.append(LogRecord::of_driver(&self.device, &line));
        }
        if left_out > 0 {
            self.health.log_lines_left_out.add(left_out);
            if let Some(total) = self.log_budget.leave_out(left_out, now) {
                self.log(LogLevel::Warn, format!("{total} of its log lines are left out: it may write {LOG_LINES_PER_CALL} in one call and {LOG_LINES_PER_SECOND} per second"));
            }
        }
    }

    pub(super) fn log(&self, level: LogLevel, message: String) {
        self.logs
            .append(LogRecord::new("device", level, message).of_device(&*self.device));
    }
}
