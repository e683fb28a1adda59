//! Which ids were seen lately.

use std::collections::{HashSet, VecDeque};
use std::fmt;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use stdx::Timestamp;

/// The ids of one second, as hashes.
#[derive(Debug)]
struct Second {
    at: i64,
    ids: VecDeque<u64>,
}

/// Remembers the hashes of ids for a while.
#[derive(Debug)]
pub(super) struct Seen {
    path: Vec<String>,
    window_seconds: i64,
    ids_max: usize,
    known: HashSet<u64>,
    seconds: VecDeque<Second>,
}

/// What is stored of [`Seen`]: seconds since 1970 and the ids' hashes, 8 bytes each in base64.
pub(super) type Stored = Vec<(i64, String)>;

impl Seen {
    /// Remembers the ids at `path` for `window`, at most `ids_max` of them.
    pub(super) fn new(path: &str, window: Duration, ids_max: usize) -> Self {
        Self {
            path: path.split('.').map(str::to_owned).collect(),
            window_seconds: i64::try_from(window.as_secs()).unwrap_or(i64::MAX),
            ids_max,
            known: HashSet::new(),
            seconds: VecDeque::new(),
        }
    }

    /// Remembers what an earlier one stored.
    pub(super) fn restore(&mut self, stored: &Stored) -> Result<(), base64::DecodeError> {
        for (at, text) in stored {
            for id in STANDARD_NO_PAD.decode(text)?.chunks_exact(8) {
                let id = id.iter().fold(0, |hash, byte| hash << 8 | u64::from(*byte));
                self.remember(id, *at);
            }
        }
        Ok(())
    }

    /// What is remembered, for the record.
    pub(super) fn store(&self) -> Stored {
        let hashes = |ids: &VecDeque<u64>| ids.iter().flat_map(|id| id.to_be_bytes()).collect::<Vec<u8>>();
        self.seconds.iter().map(|second| (second.at, STANDARD_NO_PAD.encode(hashes(&second.ids)))).collect()
    }

    /// Whether the line's id was seen within the window; remembers it if not. A line that is no JSON object, or has no
    /// id, was never seen.
    pub(super) fn is_repeat(&mut self, line: &[u8], received: Timestamp) -> bool {
        let Some(id) = id_of(line, &self.path) else { return false };
        let at = received.millis().div_euclid(1000);
        while let Some(oldest) = self.seconds.front().filter(|oldest| oldest.at < at - self.window_seconds) {
            oldest.ids.iter().for_each(|id| _ = self.known.remove(id));
            self.seconds.pop_front();
        }
        !self.remember(id, at)
    }

    fn remember(&mut self, id: u64, at: i64) -> bool {
        if !self.known.insert(id) {
            return false;
        }
        match self.seconds.back_mut() {
            // A calendar that goes back doesn't disturb the order.
            Some(last) if last.at >= at => last.ids.push_back(id),
            _ => self.seconds.push_back(Second { at, ids: VecDeque::from([id]) }),
        }
        while self.known.len() > self.ids_max
            && let Some(oldest) = self.seconds.front_mut()
        {
            oldest.ids.pop_front().iter().for_each(|id| _ = self.known.remove(id));
            if oldest.ids.is_empty() {
                self.seconds.pop_front();
            }
        }
        true
    }
}

/// The hash of the string, number or boolean at `path` of a JSON object.
fn id_of(line: &[u8], path: &[String]) -> Option<u64> {
    let mut json = serde_json::Deserializer::from_slice(line);
    let id = Seek(path).deserialize(&mut json).ok()?;
    json.end().ok()?;
    id
}

/// Finds the value at a path without keeping anything else.
struct Seek<'p>(&'p [String]);

impl<'de> DeserializeSeed<'de> for Seek<'_> {
    type Value = Option<u64>;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Self::Value, D::Error> {
        from.deserialize_any(self)
    }
}

impl Seek<'_> {
    fn hash(&self, text: &[u8]) -> Option<u64> {
        self.0.is_empty().then(|| stdx::hash(text))
    }
}

impl<'de> Visitor<'de> for Seek<'_> {
    type Value = Option<u64>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some(wanted) = map.next_key_seed(IsKey(self.0.first().map(String::as_str)))? {
            if wanted {
                found = map.next_value_seed(Seek(&self.0[1..]))?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(None)
    }

    fn visit_str<E>(self, value: &str) -> Result<Self::Value, E> {
        Ok(self.hash(value.as_bytes()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Self::Value, E> {
        Ok(self.hash(value.to_string().as_bytes()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Self::Value, E> {
        Ok(self.hash(value.to_string().as_bytes()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Self::Value, E> {
        Ok(self.hash(value.to_string().as_bytes()))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }
}

/// Whether a key is the wanted one, without allocating it.
struct IsKey<'p>(Option<&'p str>);

impl<'de> DeserializeSeed<'de> for IsKey<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<bool, D::Error> {
        from.deserialize_str(self)
    }
}

impl Visitor<'_> for IsKey<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, key: &str) -> Result<bool, E> {
        Ok(self.0 == Some(key))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(seconds * 1000)
    }

    fn seen(ids_max: usize) -> Seen {
        Seen::new("data.id", Duration::from_mins(10), ids_max)
    }

    #[test]
    fn finds_ids_of_any_kind_and_place() {
        let path = ["data".to_owned(), "id".to_owned()];
        let id = |line: &str| id_of(line.as_bytes(), &path);
        assert_eq!(id(r#"{"x":[{"id":1}],"data":{"text":"\"","id":"a\u0062"},"id":9}"#), Some(stdx::hash(b"ab")));
        assert_eq!(id(r#"{"data":{"id":12}}"#), Some(stdx::hash(b"12")));
        assert_eq!(id(r#"{"data":{"id":-12}}"#), Some(stdx::hash(b"-12")));
        for none in [
            r#"{"data":{"id":null}}"#,
            r#"{"data":{"id":{"id":1}}}"#,
            r#"{"data":["id"]}"#,
            r#"{"data":"id"}"#,
            r#"{"data":{"id":1}"#,
            r#"{"data":{"id":1}} {}"#,
            "data",
            "",
        ] {
            assert_eq!(id(none), None, "{none}");
        }
    }

    #[test]
    fn a_repeat_within_the_window_is_known() {
        let mut seen = seen(100);
        let line = br#"{"data":{"id":"7"}}"#;
        assert!(!seen.is_repeat(line, at(1000)));
        assert!(seen.is_repeat(line, at(1600)));
        assert!(!seen.is_repeat(line, at(1601)));
        assert!(!seen.is_repeat(b"keep", at(1601)) && !seen.is_repeat(b"keep", at(1601)));
    }

    #[test]
    fn the_record_keeps_what_was_seen() {
        let mut first = seen(100);
        let line = |n: i64| format!("{{\"data\":{{\"id\":{n}}}}}").into_bytes();
        for n in 0..10 {
            assert!(!first.is_repeat(&line(n), at(1000 + n / 3)));
        }
        let mut second = seen(100);
        second.restore(&first.store()).unwrap();
        assert_eq!(second.store(), first.store());
        assert!((0..10).all(|n| second.is_repeat(&line(n), at(1010))));
        assert!(second.restore(&vec![(1, "!".to_owned())]).is_err());
    }

    proptest! {
        #[test]
        fn never_keeps_more_than_the_limit_and_never_drops_what_is_new(
            ids in prop::collection::vec((0_u32..50, 0_i64..3), 1..200),
        ) {
            let mut seen = seen(16);
            let (mut now, mut given) = (0, HashSet::new());
            for (id, later) in ids {
                now += later;
                let line = format!("{{\"data\":{{\"id\":{id}}}}}");
                let repeat = seen.is_repeat(line.as_bytes(), at(now));
                prop_assert!(!repeat || given.contains(&id));
                prop_assert!(seen.is_repeat(line.as_bytes(), at(now)));
                given.insert(id);
                prop_assert!(seen.known.len() <= 16);
                prop_assert_eq!(seen.known.len(), seen.seconds.iter().map(|second| second.ids.len()).sum::<usize>());
            }
        }
    }
}
