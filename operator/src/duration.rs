//! Durations as resources write them, in Go's form: `8h`, `1h30m`, `1.5h`. Unlike the client library's reader, no text
//! makes it panic.

use std::time::Duration;

/// Nanoseconds.
const UNITS: [(&str, u128); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("\u{b5}s", 1_000),
    ("\u{3bc}s", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];
/// Digits of a number, before and after the point.
const DIGITS: usize = 12;

/// Reads one that is more than nothing; `None` for everything else.
#[must_use]
pub fn positive(text: &str) -> Option<Duration> {
    parse(text).filter(|duration| !duration.is_zero())
}

/// Reads one, `0s` too; `None` for everything else.
#[must_use]
pub fn parse(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut total: u128 = 0;
    while !rest.is_empty() {
        let (whole, after) = digits(rest);
        let (fraction, after) = after.strip_prefix('.').map_or(("", after), digits);
        let unit_length = after.find(|character: char| character.is_ascii_digit() || character == '.');
        let (name, after) = after.split_at_checked(unit_length.unwrap_or(after.len()))?;
        let (_, unit) = UNITS.iter().find(|(known, _)| *known == name)?;
        if whole.len() + fraction.len() == 0 || whole.len() > DIGITS || fraction.len() > DIGITS {
            return None;
        }
        let number: u128 = format!("{whole}{fraction}").parse().ok()?;
        let scale = 10_u128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
        total = total.checked_add(number.checked_mul(*unit)?.checked_div(scale)?)?;
        rest = after;
    }
    let nanoseconds = u64::try_from(total).ok().filter(|_| !text.is_empty())?;
    Some(Duration::from_nanos(nanoseconds))
}

fn digits(text: &str) -> (&str, &str) {
    let length = text.bytes().take_while(u8::is_ascii_digit).count();
    text.split_at_checked(length).unwrap_or(("", text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_go_writes_them() {
        for (text, millis) in [
            ("8h", 28_800_000),
            ("90m", 5_400_000),
            ("1h30m", 5_400_000),
            ("1.5h", 5_400_000),
            (".5s", 500),
            ("1m0.25s", 60_250),
            ("2s500ms", 2_500),
        ] {
            assert_eq!(parse(text), Some(Duration::from_millis(millis)), "{text}");
        }
        assert_eq!(parse("7\u{b5}s"), Some(Duration::from_micros(7)));
    }

    /// Among them what makes the client library's reader panic.
    #[test]
    fn everything_else_is_refused() {
        for text in ["", "0", "8", "h", "-8h", "+8h", "8h-3h", "1e300h", "999999999999h", "8 h", "8d", "1..5h", ".h"] {
            assert_eq!(parse(text), None, "{text}");
        }
        for nothing in ["0s", "0h0m", "0.0s"] {
            assert_eq!((parse(nothing), positive(nothing)), (Some(Duration::ZERO), None), "{nothing}");
        }
        assert_eq!(positive("1s"), Some(Duration::from_secs(1)));
    }
}
