//! Durations as configuration writes them: whole numbers with a unit, one after the other.

use std::time::Duration;

/// Reads `"500ms"`, `"30s"`, `"5m"`, `"1h30m"`; `None` for anything else, also where the sum does not fit.
pub(crate) fn parse(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut total = 0_u64;
    loop {
        let after_digits = rest.trim_start_matches(|c: char| c.is_ascii_digit());
        let number: u64 = rest.strip_suffix(after_digits)?.parse().ok()?;
        let after_unit = after_digits.trim_start_matches(|c: char| c.is_ascii_alphabetic());
        let milliseconds = match after_digits.strip_suffix(after_unit)? {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            _ => return None,
        };
        total = number
            .checked_mul(milliseconds)
            .and_then(|part| total.checked_add(part))?;
        if after_unit.is_empty() {
            return Some(Duration::from_millis(total));
        }
        rest = after_unit;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        let ms = |n| Some(Duration::from_millis(n));
        for (text, expect) in [
            ("30s", ms(30_000)),
            ("500ms", ms(500)),
            ("5m", ms(300_000)),
            ("2h", ms(7_200_000)),
            ("1h30m", ms(5_400_000)),
            ("1m1s1ms", ms(61_001)),
            ("0s", ms(0)),
            ("18446744073709551615ms", ms(u64::MAX)),
            ("18446744073709551616ms", None),
            ("18446744073709551615ms1ms", None),
            ("18446744073709551615s", None),
            ("", None),
            ("30", None),
            ("s", None),
            ("-1s", None),
            ("+1s", None),
            ("1.5s", None),
            ("1 s", None),
            ("1S", None),
            ("1d", None),
            ("1s ", None),
            ("1ss", None),
        ] {
            assert_eq!(parse(text), expect, "{text:?}");
        }
    }
}
