//! What a plain scalar means, by the core schema of YAML 1.2.

use crate::node::{Number, Value};

/// The value of a scalar written without quotes.
///
/// What JSON has no number for stays text rather than changing its value: `.inf`, `.nan`, whole numbers past 64 bits.
pub(crate) fn plain(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "true" | "True" | "TRUE" => return Value::Bool(true),
        "false" | "False" | "FALSE" => return Value::Bool(false),
        _ => {}
    }
    match number(text) {
        Some(value) => Value::Number(Number { value, written: text.to_owned() }),
        None => Value::Text(text.to_owned()),
    }
}

fn number(text: &str) -> Option<serde_json::Number> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if let Some(hex) = text.strip_prefix("0x") {
        return radix(hex, 16);
    }
    if let Some(octal) = text.strip_prefix("0o") {
        return radix(octal, 8);
    }
    if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) {
        let unsigned = text.strip_prefix('+').unwrap_or(text);
        return unsigned.parse::<u64>().map(Into::into).or_else(|_| unsigned.parse::<i64>().map(Into::into)).ok();
    }
    is_float(digits).then(|| text.parse::<f64>().ok()).flatten().and_then(serde_json::Number::from_f64)
}

fn radix(digits: &str, radix: u32) -> Option<serde_json::Number> {
    let valid = digits.chars().all(|digit| digit.is_digit(radix));
    if valid { u64::from_str_radix(digits, radix).ok().map(Into::into) } else { None }
}

/// `[0-9]*(\.[0-9]*)?([eE][-+]?[0-9]+)?` with at least one digit before the exponent.
fn is_float(text: &str) -> bool {
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent.strip_prefix(['+', '-']).unwrap_or(exponent))),
        None => (text, None),
    };
    let (whole, part) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let all_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let some_digits = |text: &str| !text.is_empty() && all_digits(text);
    all_digits(whole) && all_digits(part) && !(whole.is_empty() && part.is_empty()) && exponent.is_none_or(some_digits)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number_of(text: &str) -> Option<f64> {
        match plain(text) {
            Value::Number(number) => number.value.as_f64(),
            _ => None,
        }
    }

    #[test]
    fn numbers_are_those_of_the_core_schema() {
        for (text, value) in
            [("12", 12.0), ("-7", -7.0), ("+3", 3.0), ("007", 7.0), ("0x1F", 31.0), ("0o17", 15.0), ("1.50", 1.5)]
        {
            assert_eq!(number_of(text), Some(value), "{text}");
        }
        for (text, value) in [(".5", 0.5), ("1.", 1.0), ("-1e3", -1000.0), ("1E-2", 0.01)] {
            assert_eq!(number_of(text), Some(value), "{text}");
        }
    }

    #[test]
    fn the_rest_stays_text() {
        let texts = ["yes", "no", "on", "1_000", "10s", ".inf", ".nan", "1e999", "18446744073709551616", "-", "+", "."];
        for text in texts.into_iter().chain(["1e", "e5", ".e5", "0x", "0xg", "1.2.3", "infinity", "nan", "0x+1"]) {
            assert_eq!(plain(text), Value::Text(text.to_owned()), "{text}");
        }
    }
}
