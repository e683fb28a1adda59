use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// What a job is called: a `UUIDv7`. Later jobs of one store have larger ids.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobId(u128);

/// Bits of a `UUIDv7` that say its version and variant.
const MARKS: u128 = 0xf000_c000_0000_0000_0000;
const VERSION_7: u128 = 0x7000_8000_0000_0000_0000;
/// Bits that are free in the last eight bytes: three of `serial`, and the tail.
const TAIL_BITS: u32 = 59;
/// What an id looks like, for schemas.
const PATTERN: &str = "^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-7[0-9a-fA-F]{3}-[89abAB][0-9a-fA-F]{3}-[0-9a-fA-F]{12}$";
const TAIL: u128 = (1 << TAIL_BITS) - 1;

impl JobId {
    /// From a serial number (48 bits of milliseconds, 15 bits that count within one) and 59 random bits.
    pub const fn new(serial: u64, tail: u64) -> Self {
        let serial = serial as u128 & ((1 << 63) - 1);
        let (millis, count) = (serial >> 15, serial & 0x7fff);
        Self(millis << 80 | VERSION_7 | (count >> 3) << 64 | (count & 7) << TAIL_BITS | (tail as u128 & TAIL))
    }

    /// The serial number: it orders the jobs of a store, and fits a signed 64-bit integer.
    #[expect(clippy::cast_possible_truncation, reason = "63 bits")]
    pub const fn serial(self) -> u64 {
        ((self.0 >> 80) << 15 | (self.0 >> 64 & 0xfff) << 3 | (self.0 >> TAIL_BITS & 7)) as u64
    }

    /// The random bits.
    pub const fn tail(self) -> u64 {
        (self.0 & TAIL) as u64
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hex = format!("{:032x}", self.0);
        write!(f, "{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
    }
}

impl fmt::Debug for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for JobId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        read(text).ok_or_else(|| format!("`{text}` is no job id: expected a UUIDv7, as the reply to an enqueue has"))
    }
}

fn read(text: &str) -> Option<JobId> {
    let is_dash = |at: usize| matches!(at, 8 | 13 | 18 | 23);
    let bytes = text.as_bytes();
    if bytes.len() != 36 || bytes.iter().enumerate().any(|(at, byte)| is_dash(at) != (*byte == b'-')) {
        return None;
    }
    let mut bits = 0_u128;
    for letter in text.chars().filter(|letter| *letter != '-') {
        bits = bits << 4 | u128::from(letter.to_digit(16)?);
    }
    (bits & MARKS == VERSION_7).then_some(JobId(bits))
}

impl Serialize for JobId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for JobId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Cow::<str>::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for JobId {
    fn schema_name() -> Cow<'static, str> {
        "JobId".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "title": "a job's id", "format": "uuid", "pattern": PATTERN, "description": "A job's id: a UUIDv7." })
    }
}

/// What a worker shows to prove that it holds a lease. Opaque, and never used twice: it begins with the number of the
/// lease, which only grows.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Token(String);

impl Token {
    /// The token of a lease: its number, and what can't be guessed.
    pub fn new(number: u64, secret: u64) -> Self {
        Self(format!("{number:x}.{secret:016x}"))
    }

    /// The number of the lease and the secret, if this is one of our tokens.
    pub fn parts(&self) -> Option<(u64, u64)> {
        let (number, secret) = self.0.split_once('.')?;
        Some((u64::from_str_radix(number, 16).ok()?, u64::from_str_radix(secret, 16).ok()?))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<String> for Token {
    fn from(text: String) -> Self {
        Self(text)
    }
}

/// Not shown: who reads a log must not be able to finish a job.
impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn an_id_reads_back_and_keeps_its_order(serial in 0..1_u64 << 63, tail in 0..1_u64 << 59) {
            let id = JobId::new(serial, tail);
            prop_assert_eq!(id.to_string().parse(), Ok(id));
            prop_assert_eq!((id.serial(), id.tail()), (serial, tail));
            prop_assert!(serial == 0 || JobId::new(serial - 1, (1 << 59) - 1) < id);
        }
    }

    #[test]
    fn what_is_no_uuid_of_version_7_is_no_id() {
        let id = JobId::new(7 << 15, 1).to_string();
        assert_eq!(&id[14..15], "7", "{id}");
        for bad in ["", "x", &id[1..], &id.replace('-', "x"), &id.replacen('7', "x", 1), &id.replace("-7", "-4")] {
            assert!(bad.parse::<JobId>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_token_tells_its_number() {
        assert_eq!(Token::new(300, u64::MAX).parts(), Some((300, u64::MAX)));
        assert_eq!(Token::from("garbage".to_owned()).parts(), None);
        assert_eq!(format!("{:?}", Token::new(1, 2)), "Token(..)");
    }
}
