//! Numbers of bytes as they are written in documents.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Each unit with its bytes, the largest first.
const UNITS: [(&str, u64); 5] = [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

/// A number of bytes: `256MiB`, `8KiB`, `1GiB`, or a plain number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ByteSize(u64);

impl ByteSize {
    /// So many bytes.
    pub const fn from_bytes(bytes: u64) -> ByteSize {
        ByteSize(bytes)
    }

    /// So many times 1024 bytes.
    pub const fn from_kib(count: u32) -> ByteSize {
        ByteSize((count as u64) << 10)
    }

    /// So many times 1024² bytes.
    pub const fn from_mib(count: u32) -> ByteSize {
        ByteSize((count as u64) << 20)
    }

    /// The number of bytes.
    pub const fn bytes(self) -> u64 {
        self.0
    }
}

impl FromStr for ByteSize {
    type Err = String;

    fn from_str(text: &str) -> Result<ByteSize, String> {
        let digits = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
        let (count, unit) = text.split_at(digits);
        let unit = UNITS.iter().find(|(name, _)| *name == if unit.is_empty() { "B" } else { unit });
        let bytes = unit.and_then(|(_, bytes)| count.parse::<u64>().ok()?.checked_mul(*bytes));
        bytes.map(ByteSize).ok_or_else(|| format!("`{text}` is no size: expected one such as `256MiB`"))
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = |bytes: u64| self.0 >= bytes && self.0.is_multiple_of(bytes);
        let (unit, bytes) = UNITS.into_iter().find(|(_, bytes)| whole(*bytes)).unwrap_or(("B", 1));
        write!(f, "{}{unit}", self.0 / bytes)
    }
}

impl Serialize for ByteSize {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ByteSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<ByteSize, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written<'a> {
            Bytes(u64),
            #[serde(borrow)]
            Text(Cow<'a, str>),
        }
        match Written::deserialize(deserializer)? {
            Written::Bytes(bytes) => Ok(ByteSize(bytes)),
            Written::Text(text) => text.parse().map_err(serde::de::Error::custom),
        }
    }
}

impl JsonSchema for ByteSize {
    fn schema_name() -> Cow<'static, str> {
        "ByteSize".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "title": "a size",
            "description": "A number of bytes: a whole number with a unit (`B`, `KiB`, `MiB`, `GiB`, `TiB`) or without.",
            "examples": ["256MiB", "8KiB"],
            "anyOf": [
                {"type": "integer", "minimum": 0, "format": "uint64"},
                {"type": "string", "pattern": "^[0-9]{1,19}(B|KiB|MiB|GiB|TiB)?$", "title": "a size", "examples": ["256MiB"]},
            ],
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn sizes_are_numbers_with_units() {
        for (text, bytes) in [("256MiB", 256 << 20), ("8KiB", 8192), ("1GiB", 1 << 30), ("5B", 5), ("5", 5)] {
            assert_eq!(text.parse(), Ok(ByteSize(bytes)), "{text}");
        }
        for bad in ["", "MiB", "1MB", "1 MiB", "1.5GiB", "-1", "99999999999TiB", "1é"] {
            assert!(bad.parse::<ByteSize>().is_err(), "{bad}");
        }
        assert_eq!(ByteSize(1536 << 10).to_string(), "1536KiB");
        assert_eq!(ByteSize(0).to_string(), "0B");
        assert_eq!(serde_json::from_str::<ByteSize>("12").unwrap(), ByteSize(12));
    }

    proptest! {
        #[test]
        fn a_size_reads_back(bytes: u64, shift in 0_u32..50) {
            for size in [ByteSize(bytes), ByteSize(bytes >> shift << shift)] {
                prop_assert_eq!(size.to_string().parse(), Ok(size));
                let json = serde_json::to_string(&size).unwrap();
                prop_assert_eq!(serde_json::from_str::<ByteSize>(&json).unwrap(), size);
            }
        }
    }
}
