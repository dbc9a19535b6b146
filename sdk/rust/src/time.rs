//! Times as they stand in a slice.

/// A time in whole milliseconds, for a slice that has its times as numbers. One before 1970 is 1970.
#[must_use]
pub fn whole_ms(milliseconds: f64) -> u64 {
    milliseconds as u64
}

/// Milliseconds since 1970 as ISO 8601 in UTC, for example `2026-01-01T00:00:00.000Z`. Times that do not fit the years 0 to 9999 are
/// clamped to them, because a longer year is no ISO text for a browser.
#[must_use]
pub fn iso_8601(milliseconds: f64) -> String {
    // First and last millisecond of the years 0 to 9999.
    const RANGE_MS: (f64, f64) = (-62_167_219_200_000.0, 253_402_300_799_999.0);
    const DAY_MS: i64 = 86_400_000;

    // A cast of a number that is not one gives zero: 1970, which is as good as any.
    let total = milliseconds.clamp(RANGE_MS.0, RANGE_MS.1).floor() as i64;
    let (days, rest) = (total.div_euclid(DAY_MS), total.rem_euclid(DAY_MS));
    let (year, month, day) = civil(days);
    // Within these bounds every part is small and positive. Digits are written one by one and not by the formatter, because a slice has a
    // time in every row.
    let [year, month, day, rest] = [year, month, day, rest].map(|part| u32::try_from(part).unwrap_or(0));
    let (hour, minute, second, milli) = (
        rest / 3_600_000,
        rest / 60_000 % 60,
        rest / 1000 % 60,
        rest % 1000,
    );
    let digit = |number: u32| char::from_digit(number % 10, 10).unwrap_or('0');
    [
        digit(year / 1000),
        digit(year / 100),
        digit(year / 10),
        digit(year),
        '-',
        digit(month / 10),
        digit(month),
        '-',
        digit(day / 10),
        digit(day),
        'T',
        digit(hour / 10),
        digit(hour),
        ':',
        digit(minute / 10),
        digit(minute),
        ':',
        digit(second / 10),
        digit(second),
        '.',
        digit(milli / 100),
        digit(milli / 10),
        digit(milli),
        'Z',
    ]
    .into_iter()
    .collect()
}

/// Days since 1970 as year, month and day of the Gregorian calendar. Years are counted from March, so that the leap day is the last one,
/// and in eras of 400 years, which all have the same 146,097 days.
fn civil(days: i64) -> (i64, i64, i64) {
    let since_march_0000 = days + 719_468;
    let (era, day_of_era) = (
        since_march_0000.div_euclid(146_097),
        since_march_0000.rem_euclid(146_097),
    );
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    (era * 400 + year_of_era + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::{iso_8601, whole_ms};

    #[test]
    fn known_times_have_their_text() {
        assert_eq!(iso_8601(0.0), "1970-01-01T00:00:00.000Z");
        assert_eq!(iso_8601(1_767_225_600_000.0), "2026-01-01T00:00:00.000Z");
        assert_eq!(iso_8601(1_709_164_800_123.9), "2024-02-29T00:00:00.123Z");
        assert_eq!(iso_8601(951_868_799_999.0), "2000-02-29T23:59:59.999Z");
        assert_eq!(iso_8601(4_107_542_400_000.0), "2100-03-01T00:00:00.000Z");
        assert_eq!(iso_8601(-1.0), "1969-12-31T23:59:59.999Z");
    }

    #[test]
    fn times_out_of_range_are_clamped() {
        assert_eq!(iso_8601(f64::INFINITY), "9999-12-31T23:59:59.999Z");
        assert_eq!(iso_8601(f64::NEG_INFINITY), "0000-01-01T00:00:00.000Z");
        assert_eq!(iso_8601(f64::NAN), "1970-01-01T00:00:00.000Z");
    }

    #[test]
    fn a_begun_millisecond_does_not_count() {
        assert_eq!(whole_ms(1_767_225_600_000.9), 1_767_225_600_000);
        assert_eq!(whole_ms(-1.0), 0);
        assert_eq!(whole_ms(f64::NAN), 0);
    }

    #[test]
    fn every_day_follows_its_predecessor() {
        let mut previous = iso_8601(-86_400_000.0 * 800_000.0 / 2.0);
        for day in -399_999..400_000_i64 {
            let text = iso_8601(day as f64 * 86_400_000.0);
            assert!(text > previous, "{previous} then {text}");
            previous = text;
        }
    }
}
