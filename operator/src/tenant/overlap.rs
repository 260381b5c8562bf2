//! How long a client's former secret is valid: `24h`, `90m`, `1h30m`, `0s`.

use std::time::Duration;

/// Longer than this nobody waits for a secret to end.
const LONGEST: Duration = Duration::from_hours(24 * 366);

/// Parses it: numbers with the units `d`, `h`, `m` and `s`.
///
/// # Errors
/// When it is none, with what would be one.
pub(super) fn parse(text: &str) -> Result<Duration, String> {
    let refuse =
        || format!("overlap `{text}`: write numbers with units, such as `24h`, `1h30m` or `0s` (at most 366d)");
    let mut total = 0_u64;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, tail) = rest.split_at_checked(digits).ok_or_else(refuse)?;
        let unit = match tail.bytes().next() {
            Some(b'd') => 86_400,
            Some(b'h') => 3_600,
            Some(b'm') => 60,
            Some(b's') => 1,
            _ => return Err(refuse()),
        };
        let seconds = number.parse::<u64>().ok().and_then(|number| number.checked_mul(unit)).ok_or_else(refuse)?;
        total = total.checked_add(seconds).ok_or_else(refuse)?;
        rest = tail.get(1..).unwrap_or_default();
    }
    let total = Duration::from_secs(total);
    if text.is_empty() || total > LONGEST { Err(refuse()) } else { Ok(total) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overlaps() {
        for (text, seconds) in [("0s", 0), ("24h", 86_400), ("1h30m", 5_400), ("7d", 604_800), ("90s", 90)] {
            assert_eq!(parse(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for bad in
            ["", "24", "h", "1x", "-1h", "1h 30m", "400d", "99999999999999999999h", "18446744073709551615d", "1ä"]
        {
            assert!(parse(bad).unwrap_err().contains("24h"), "{bad}");
        }
    }
}
