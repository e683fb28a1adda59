//! Words, patterns and bounds of scalars.

use serde_json::{Map, Value as Json};

use super::{Checker, Spot, describe};
use crate::node::{Node, Number, Value};

impl<'a> Checker<'a> {
    pub(super) fn scalar(&mut self, spot: &Spot<'_>, keywords: &'a Map<String, Json>) {
        if !is_allowed(spot.node, keywords) {
            let words: Vec<&str> = describe::words(keywords).collect();
            let near = spot.node.text().and_then(|text| crate::nearest(text, words));
            let hint = near.map(|near| format!("did you mean `{near}`?"));
            let found = format!("{} is {}", describe::subject(&spot.path), describe::node(spot.node));
            self.tell(spot, found, describe::schema(self, keywords), hint);
            return;
        }
        let expected = match &spot.node.value {
            Value::Text(text) => self.text_bound(text, keywords),
            Value::Number(number) => number_bound(number, keywords),
            _ => None,
        };
        if let Some(expected) = expected {
            let found = format!("{} is {}", describe::subject(&spot.path), describe::node(spot.node));
            self.tell(spot, found, expected, None);
        }
    }

    /// What a text should be that is too short, too long or not of the pattern.
    fn text_bound(&mut self, text: &str, keywords: &'a Map<String, Json>) -> Option<String> {
        let bound = |key: &str| keywords.get(key).and_then(Json::as_u64).and_then(|bound| usize::try_from(bound).ok());
        let letters = text.chars().count();
        match (bound("minLength"), bound("maxLength")) {
            (Some(1), _) if letters == 0 => return Some("text that is not empty".to_owned()),
            (Some(least), _) if letters < least => return Some(format!("at least {least} characters")),
            (_, Some(most)) if letters > most => return Some(format!("at most {most} characters")),
            _ => {}
        }
        let pattern = keywords.get("pattern").and_then(Json::as_str)?;
        // A pattern that can't be read as one of ours is left to serde.
        let matches = self.pattern(pattern).is_none_or(|pattern| pattern.is_match(text));
        (!matches).then(|| describe::told(keywords).unwrap_or_else(|| format!("text that matches `{pattern}`")))
    }
}

/// Whether the value is one of an `enum` or the `const`, where the schema has them.
fn is_allowed(node: &Node, keywords: &Map<String, Json>) -> bool {
    let value = node.to_json();
    keywords.get("const").is_none_or(|only| *only == value)
        && keywords.get("enum").and_then(Json::as_array).is_none_or(|several| several.contains(&value))
}

/// What a number should be that is out of bounds: those that are told, and those of its Rust type.
fn number_bound(number: &Number, keywords: &Map<String, Json>) -> Option<String> {
    let value = number.value.as_f64()?;
    let bound = |key: &str| keywords.get(key).and_then(Json::as_f64);
    let written = |key: &str| keywords.get(key).map(Json::to_string).unwrap_or_default();
    if bound("minimum").is_some_and(|least| value < least) {
        return Some(format!("at least {}", written("minimum")));
    }
    if bound("maximum").is_some_and(|most| value > most) {
        return Some(format!("at most {}", written("maximum")));
    }
    if bound("exclusiveMinimum").is_some_and(|least| value <= least) {
        return Some(format!("more than {}", written("exclusiveMinimum")));
    }
    if bound("exclusiveMaximum").is_some_and(|most| value >= most) {
        return Some(format!("less than {}", written("exclusiveMaximum")));
    }
    let (least, most): (i128, i128) = match keywords.get("format").and_then(Json::as_str)? {
        "uint8" => (0, u8::MAX.into()),
        "uint16" => (0, u16::MAX.into()),
        "uint32" => (0, u32::MAX.into()),
        "uint" | "uint64" => (0, u64::MAX.into()),
        "int8" => (i8::MIN.into(), i8::MAX.into()),
        "int16" => (i16::MIN.into(), i16::MAX.into()),
        "int32" => (i32::MIN.into(), i32::MAX.into()),
        "int" | "int64" => (i64::MIN.into(), i64::MAX.into()),
        _ => return None,
    };
    let whole = number.value.as_i64().map(i128::from).or_else(|| number.value.as_u64().map(i128::from))?;
    (!(least..=most).contains(&whole)).then(|| format!("a whole number from {least} to {most}"))
}
