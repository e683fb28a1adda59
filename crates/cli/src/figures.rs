//! Numbers, times and tables as a person reads them.

use std::fmt::Write as _;
use std::time::Duration;

use chrono::DateTime;

/// `1,234,567`.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 row`, `2 rows`.
pub(crate) fn counted(number: u64, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} {noun}{plural}", count(number))
}

/// `12.3 k`: a rate or another number of which only the size matters.
pub(crate) fn short(number: f64) -> String {
    scaled(number, 1000.0, &["", " k", " M", " G", " T"])
}

/// `1.5 MiB`.
#[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
pub(crate) fn bytes(number: u64) -> String {
    size(number as f64)
}

/// `1.5 MiB`.
pub(crate) fn size(number: f64) -> String {
    scaled(number, 1024.0, &[" B", " KiB", " MiB", " GiB", " TiB", " PiB"])
}

fn scaled(mut number: f64, step: f64, units: &[&str]) -> String {
    let (mut unit, mut larger) = units.split_first().map_or(("", units), |(first, rest)| (*first, rest));
    let smallest = unit;
    while let ([next, rest @ ..], true) = (larger, number >= step - 0.5) {
        number /= step;
        (unit, larger) = (next, rest);
    }
    if unit == smallest && number.fract() < 0.05 || number >= 99.95 {
        format!("{number:.0}{unit}")
    } else {
        format!("{number:.1}{unit}")
    }
}

/// `2026-08-01 12:00:00 UTC`.
pub(crate) fn utc(millis: i64) -> String {
    DateTime::from_timestamp_millis(millis)
        .map_or_else(|| format!("{millis} ms"), |time| time.format("%Y-%m-%d %H:%M:%S UTC").to_string())
}

/// `20260801T120000.123Z`: part of a file's name.
pub(crate) fn utc_compact(millis: i64) -> String {
    DateTime::from_timestamp_millis(millis)
        .map_or_else(|| millis.to_string(), |time| time.format("%Y%m%dT%H%M%S%.3fZ").to_string())
}

/// `850 ms`, `12.3 s`, `4 min 5 s`, `3 h 20 min`.
pub(crate) fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0 => format!("{} ms", duration.as_millis()),
        1..60 => format!("{:.1} s", duration.as_secs_f64()),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3600, seconds / 60 % 60),
    }
}

/// Rows of cells in columns as wide as they need to be. Numbers go to the right.
pub(crate) fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            let is_number = cell.starts_with(|letter: char| letter.is_ascii_digit()) && !cell.contains(['-', ':']);
            // Writing into a string can't fail.
            let _ = if is_number { write!(line, "{cell:>width$}  ") } else { write!(line, "{cell:<width$}  ") };
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short_and_grouped() {
        assert_eq!([count(0), count(999), count(1_234_567)], ["0", "999", "1,234,567"]);
        assert_eq!([counted(1, "row"), counted(2000, "row")], ["1 row", "2,000 rows"]);
        let shorts = [0.0, 0.2, 12.0, 999.0, 999.9, 1234.0, 123_456.0, 2.5e6].map(short);
        assert_eq!(shorts, ["0", "0.2", "12", "999", "1.0 k", "1.2 k", "123 k", "2.5 M"]);
        assert_eq!([bytes(5), bytes(1024), bytes(300 << 20)], ["5 B", "1.0 KiB", "300 MiB"]);
    }

    #[test]
    fn times_are_said_in_utc() {
        assert_eq!(utc(1_754_049_600_123), "2025-08-01 12:00:00 UTC");
        assert_eq!(utc_compact(1_754_049_600_123), "20250801T120000.123Z");
        let durations = [850, 12_345, 245_000, 12_000_000].map(Duration::from_millis).map(duration);
        assert_eq!(durations, ["850 ms", "12.3 s", "4 min 5 s", "3 h 20 min"]);
    }

    #[test]
    fn a_table_has_straight_columns() {
        let rows = [["part", "rows"], ["raw", "5"], ["science", "1,200"]].map(|row| row.map(str::to_owned).to_vec());
        assert_eq!(table(&rows), "part     rows\nraw          5\nscience  1,200\n");
    }
}
