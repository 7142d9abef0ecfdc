//! Numbers, durations and truth as Go spells them (`strconv`, `time.ParseDuration`).

use std::time::Duration;

/// Reads a number as Go does where the base is left to the text: `0x10`, `0b1`, `0o17` or `017`, and `1_000`.
pub(super) fn parse_uint(text: &str) -> Result<u64, String> {
    const PREFIXES: [(&str, u32); 7] =
        [("0x", 16), ("0X", 16), ("0b", 2), ("0B", 2), ("0o", 8), ("0O", 8), ("0", 8)];
    let prefixed = |(prefix, base)| Some((text.strip_prefix(prefix)?, base));
    let (digits, base) = match text {
        "0" => ("0", 10),
        _ => PREFIXES.into_iter().find_map(prefixed).unwrap_or((text, 10)),
    };
    // Underscores stand one by one, each before a digit and none before all of them.
    let is_digit = |c: char| c.is_digit(base) || c == '_';
    let is_set_apart = text.starts_with('_') || digits.contains("__") || digits.ends_with('_');
    if digits.is_empty() || is_set_apart || !digits.chars().all(is_digit) {
        return Err("parse error".to_owned());
    }
    u64::from_str_radix(&digits.replace('_', ""), base)
        .map_err(|_too_large| "value out of range".to_owned())
}

pub(super) fn parse_int(text: &str) -> Result<i64, String> {
    let out_of_range = |_| "value out of range".to_owned();
    match text.strip_prefix('-') {
        Some(digits) => i64::try_from(-i128::from(parse_uint(digits)?)).map_err(out_of_range),
        None => {
            i64::try_from(parse_uint(text.strip_prefix('+').unwrap_or(text))?).map_err(out_of_range)
        }
    }
}

pub(super) fn parse_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// Reads a duration as Go writes them: `1h2m3.5s`, `100ms`, `0`.
///
/// The sign of a negative one is not read; what such settings mean says `leeway`.
pub(super) fn parse_duration(text: &str) -> Option<Duration> {
    let text = text.strip_prefix('+').unwrap_or(text);
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let mut rest = text;
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, tail) = rest.split_at(digits);
        let unit = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit);
        let nanoseconds = nanoseconds(unit)?;
        let number: f64 = number.parse().ok()?;
        total = total.checked_add(Duration::try_from_secs_f64(number * nanoseconds / 1e9).ok()?)?;
        rest = tail;
    }
    (!text.is_empty()).then_some(total)
}

/// Nanoseconds of a unit of time.
fn nanoseconds(unit: &str) -> Option<f64> {
    Some(match unit {
        "ns" => 1.0,
        "us" | "µs" | "μs" => 1e3,
        "ms" => 1e6,
        "s" => 1e9,
        "m" => 60e9,
        "h" => 3600e9,
        _ => return None,
    })
}

/// What Go says of a text that is no duration (`time.ParseDuration`).
pub(super) fn no_duration(text: &str) -> String {
    let is_digit = |c: char| c.is_ascii_digit() || c == '.';
    let mut rest = text.strip_prefix(['-', '+']).unwrap_or(text);
    while rest.starts_with(is_digit) {
        let tail = rest.trim_start_matches(is_digit);
        let (unit, next) = tail.split_at(tail.find(is_digit).unwrap_or(tail.len()));
        if unit.is_empty() {
            return format!("time: missing unit in duration \"{text}\"");
        }
        if nanoseconds(unit).is_none() {
            return format!("time: unknown unit \"{unit}\" in duration \"{text}\"");
        }
        rest = next;
    }
    format!("time: invalid duration \"{text}\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_go_writes_them() {
        let cases = [
            ("5s", Some(Duration::from_secs(5))),
            ("1h2m3.5s", Some(Duration::from_millis(3_723_500))),
            ("100ms", Some(Duration::from_millis(100))),
            ("0", Some(Duration::ZERO)),
            ("0s", Some(Duration::ZERO)),
            ("5000000000ns", Some(Duration::from_secs(5))),
            ("+.5s", Some(Duration::from_millis(500))),
            ("5", None),
            ("", None),
            ("abc", None),
            ("-1s", None),
            ("1d", None),
            ("1e99s", None),
            ("99999999999999999999h", None),
        ];
        for (text, duration) in cases {
            assert_eq!(parse_duration(text), duration, "{text}");
        }
    }

    #[test]
    fn numbers_are_read_as_go_writes_them() {
        let cases = [
            ("0", Ok(0)),
            ("100", Ok(100)),
            ("0x10", Ok(16)),
            ("0X1F", Ok(31)),
            ("0b101", Ok(5)),
            ("0o17", Ok(15)),
            ("017", Ok(15)),
            ("1_000", Ok(1000)),
            ("0_7", Ok(7)),
            ("0x_f", Ok(15)),
            ("1__0", Err("parse error")),
            ("_1", Err("parse error")),
            ("1_", Err("parse error")),
            ("09", Err("parse error")),
            ("0x", Err("parse error")),
            ("+5", Err("parse error")),
            ("1e3", Err("parse error")),
            (" 1", Err("parse error")),
            ("", Err("parse error")),
            ("0x10000000000000000", Err("value out of range")),
        ];
        for (text, number) in cases {
            assert_eq!(parse_uint(text), number.map_err(str::to_owned), "{text}");
        }
        let cases = [
            ("+5", Ok(5)),
            ("-0x10", Ok(-16)),
            ("-1_0", Ok(-10)),
            ("-0x8000000000000000", Ok(i64::MIN)),
            ("0x8000000000000000", Err("value out of range")),
            ("--5", Err("parse error")),
        ];
        for (text, number) in cases {
            assert_eq!(parse_int(text), number.map_err(str::to_owned), "{text}");
        }
    }

    #[test]
    fn a_text_that_is_no_duration_is_told_of_in_the_words_of_go() {
        for (text, words) in [
            ("", "invalid duration \"\""),
            ("abc", "invalid duration \"abc\""),
            ("24", "missing unit in duration \"24\""),
            ("-1", "missing unit in duration \"-1\""),
            ("1h30", "missing unit in duration \"1h30\""),
            ("7d", "unknown unit \"d\" in duration \"7d\""),
            ("1h-5m", "unknown unit \"h-\" in duration \"1h-5m\""),
        ] {
            assert_eq!(no_duration(text), format!("time: {words}"));
        }
    }
}
