//! Lengths of time as they are written in documents.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::time;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Each unit with its milliseconds, the longest first.
const UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];

/// A length of time in whole milliseconds: `100ms`, `10s`, `5m`, `1h`, `1d`, or several in a row as `1h30m`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Duration(time::Duration);

impl Duration {
    /// So many milliseconds.
    pub const fn from_millis(millis: u64) -> Duration {
        Duration(time::Duration::from_millis(millis))
    }

    /// So many seconds.
    pub const fn from_secs(seconds: u64) -> Duration {
        Duration(time::Duration::from_secs(seconds))
    }

    /// The same as the standard library's type.
    pub const fn get(self) -> time::Duration {
        self.0
    }
}

impl From<Duration> for time::Duration {
    fn from(duration: Duration) -> time::Duration {
        duration.0
    }
}

impl FromStr for Duration {
    type Err = String;

    fn from_str(text: &str) -> Result<Duration, String> {
        let millis = parse(text).ok_or_else(|| format!("`{text}` is no duration: expected one such as `10s`"))?;
        Ok(Duration::from_millis(millis))
    }
}

fn parse(text: &str) -> Option<u64> {
    let (mut millis, mut rest) = (0_u64, text);
    loop {
        let unit_at = rest.find(|letter: char| !letter.is_ascii_digit())?;
        let (count, tail) = rest.split_at(unit_at);
        let end = tail.find(|letter: char| letter.is_ascii_digit()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(end);
        let (_, unit_millis) = UNITS.iter().find(|(name, _)| *name == unit)?;
        millis = millis.checked_add(count.parse::<u64>().ok()?.checked_mul(*unit_millis)?)?;
        if tail.is_empty() {
            return Some(millis);
        }
        rest = tail;
    }
}

impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX);
        if rest == 0 {
            return f.write_str("0s");
        }
        for (unit, millis) in UNITS {
            if rest >= millis {
                write!(f, "{}{unit}", rest / millis)?;
            }
            rest %= millis;
        }
        Ok(())
    }
}

impl Serialize for Duration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Duration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        let text = Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for Duration {
    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "title": "a duration",
            "description": "A length of time: a whole number and a unit (`ms`, `s`, `m`, `h`, `d`), or several in a row.",
            "pattern": "^([0-9]{1,15}(ms|s|m|h|d))+$",
            "examples": ["10s", "100ms", "1h30m"],
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn durations_are_numbers_with_units() {
        for (text, millis) in
            [("10s", 10_000), ("100ms", 100), ("5m", 300_000), ("1h30m", 5_400_000), ("1d", 86_400_000)]
        {
            assert_eq!(text.parse(), Ok(Duration::from_millis(millis)), "{text}");
        }
        for bad in ["", "10", "s", "1.5s", "10 s", "-1s", "1w", "99999999999999999999d", "10s5", "é", "1sé"] {
            assert!(bad.parse::<Duration>().is_err(), "{bad}");
        }
        assert_eq!(Duration::from_millis(90_061_001).to_string(), "1d1h1m1s1ms");
        assert_eq!(Duration::default().to_string(), "0s");
    }

    proptest! {
        #[test]
        fn a_duration_reads_back(millis: u64) {
            let duration = Duration::from_millis(millis);
            prop_assert_eq!(duration.to_string().parse(), Ok(duration));
        }
    }
}
