use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use chrono::{DateTime, SecondsFormat, Utc};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use stdx::Timestamp;

/// A moment in whole milliseconds. Written as RFC 3339 in UTC; any offset is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(i64);

/// 9999-12-31T23:59:59.999Z: the last moment that RFC 3339 can write.
const LAST: i64 = 253_402_300_799_999;

impl Moment {
    /// From milliseconds since 1970, held within the years that RFC 3339 can write.
    pub const fn from_millis(millis: i64) -> Self {
        Self(if millis < 0 {
            0
        } else if millis > LAST {
            LAST
        } else {
            millis
        })
    }

    /// Milliseconds since 1970.
    pub const fn millis(self) -> i64 {
        self.0
    }

    /// So much later.
    #[must_use]
    pub fn plus(self, by: Duration) -> Self {
        Self::from_millis(self.0.saturating_add(i64::try_from(by.as_millis()).unwrap_or(i64::MAX)))
    }

    /// How long ago `earlier` was: nothing if it is later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0 - earlier.0).unwrap_or(0))
    }

    pub(crate) fn utc(self) -> DateTime<Utc> {
        DateTime::from_timestamp_millis(self.0).unwrap_or_default()
    }
}

impl From<Timestamp> for Moment {
    fn from(timestamp: Timestamp) -> Self {
        Self::from_millis(timestamp.millis())
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.utc().to_rfc3339_opts(SecondsFormat::Millis, true))
    }
}

impl FromStr for Moment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let read = DateTime::parse_from_rfc3339(text).ok().map(|time| time.timestamp_millis());
        match read {
            Some(millis @ 0..=LAST) => Ok(Self(millis)),
            _ => Err(format!("`{text}` is no time: expected one such as `2026-05-01T12:00:00Z`")),
        }
    }
}

impl Serialize for Moment {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Moment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Cow::<str>::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for Moment {
    fn schema_name() -> Cow<'static, str> {
        "Moment".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "title": "a time",
            "format": "date-time",
            "description": "A moment as RFC 3339, such as `2026-05-01T12:00:00Z`.",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_rfc_3339() {
        let moment: Moment = "2026-05-01T14:00:00.25+02:00".parse().unwrap();
        assert_eq!(moment.to_string(), "2026-05-01T12:00:00.250Z");
        for bad in ["", "2026-05-01", "1969-01-01T00:00:00Z", "10000-01-01T00:00:00Z", "now"] {
            assert!(bad.parse::<Moment>().is_err(), "{bad}");
        }
        assert_eq!(Moment::from_millis(i64::MAX).to_string(), "9999-12-31T23:59:59.999Z");
    }
}
