//! Names that are also names in Kubernetes.

use std::borrow::{Borrow, Cow};
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize};

/// What a name looks like, as a regular expression.
pub(crate) const PATTERN: &str = "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$";
/// What a name looks like, in words.
pub(crate) const TITLE: &str = "a name in lower-case letters, digits and `-`";

/// A name: lower-case letters, digits and `-`, beginning and ending with a letter or digit, at most 63 characters.
///
/// This is a DNS label, so that the same name serves as the name of a folder, a Kubernetes object and a host.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Name(String);

impl Name {
    /// The most characters of a name.
    pub const LENGTH_MAX: usize = 63;

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Name {
    type Err = String;

    fn from_str(text: &str) -> Result<Name, String> {
        let letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let bytes = text.as_bytes();
        let valid = bytes.len() <= Name::LENGTH_MAX
            && bytes.iter().all(|&byte| letter(byte) || byte == b'-')
            && bytes.first().is_some_and(|&byte| letter(byte))
            && bytes.last().is_some_and(|&byte| letter(byte));
        if valid {
            Ok(Name(text.to_owned()))
        } else {
            Err(format!("`{text}` is no name: expected lower-case letters, digits and `-`, at most 63"))
        }
    }
}

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Name, D::Error> {
        let text = Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for Name {
    fn schema_name() -> Cow<'static, str> {
        "Name".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "title": TITLE,
            "description": "Lower-case letters, digits and `-`, beginning and ending with a letter or digit, at most 63 characters.",
            "pattern": PATTERN,
            "examples": ["ztf-raw"],
        })
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl AsRef<str> for Name {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for Name {
    fn borrow(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_dns_labels() {
        for good in ["a", "ztf-raw", "0", &"a".repeat(63)] {
            assert_eq!(good.parse::<Name>().unwrap().as_str(), good);
        }
        for bad in ["", "-a", "a-", "A", "a_b", "a.b", "é", &"a".repeat(64)] {
            assert!(bad.parse::<Name>().is_err(), "{bad}");
        }
    }
}
