//! Sizes, counts and durations as people write them.

use std::time::Duration;

/// Why a text is not a quantity.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidQuantity {
    /// It does not begin with a number.
    #[error("{text:?} does not begin with a number: write for example {example:?}")]
    NoNumber {
        /// What is written.
        text: String,
        /// What would be right.
        example: &'static str,
    },
    /// The unit is missing or unknown.
    #[error("{text:?} has no unit that is known: use one of {units}, for example {example:?}")]
    Unit {
        /// What is written.
        text: String,
        /// The units that are known.
        units: &'static str,
        /// What would be right.
        example: &'static str,
    },
    /// A fraction that does not come out as a whole number.
    #[error("{text:?} is not a whole number of {what}")]
    Fraction {
        /// What is written.
        text: String,
        /// What is counted.
        what: &'static str,
    },
    /// More than 64 bits can count.
    #[error("{text:?} is too large a number")]
    TooLarge {
        /// What is written.
        text: String,
    },
}

/// A kind of quantity: its units, the largest first, and how to talk about them.
struct Kind {
    units: &'static [(&'static str, u64)],
    listed: &'static str,
    example: &'static str,
    what: &'static str,
}

const SIZES: Kind = Kind {
    units: &[
        ("GiB", 1 << 30),
        ("GB", 1_000_000_000),
        ("MiB", 1 << 20),
        ("MB", 1_000_000),
        ("KiB", 1 << 10),
        ("kB", 1_000),
        ("B", 1),
        ("", 1),
    ],
    listed: "B, kB, KiB, MB, MiB, GB, GiB",
    example: "256MiB",
    what: "bytes",
};

const COUNTS: Kind = Kind {
    units: &[
        ("T", 1_000_000_000_000),
        ("G", 1_000_000_000),
        ("M", 1_000_000),
        ("k", 1_000),
        ("", 1),
    ],
    listed: "k, M, G, T",
    example: "20G",
    what: "units",
};

const DURATIONS: Kind = Kind {
    units: &[("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)],
    listed: "ms, s, m, h, d",
    example: "1m30s",
    what: "milliseconds",
};

/// Reads a number of bytes: `256MiB` (1024s), `1MB` (1000s), `1.5GiB`, or plain bytes.
///
/// # Errors
/// It is something else, or does not fit into 64 bits.
pub fn parse_size(text: &str) -> Result<u64, InvalidQuantity> {
    parse_single(text, &SIZES)
}

/// Reads a count: `20G` (1000s), `1.5M`, `2_000`.
///
/// # Errors
/// It is something else, or does not fit into 64 bits.
pub fn parse_count(text: &str) -> Result<u64, InvalidQuantity> {
    parse_single(text, &COUNTS)
}

/// Reads a duration of whole milliseconds: `60s`, `1m30s`, `1.5s`, `250ms`. A bare number has no
/// meaning.
///
/// # Errors
/// It is something else, or does not fit into 64 bits of milliseconds.
pub fn parse_duration(text: &str) -> Result<Duration, InvalidQuantity> {
    let mut rest = text.trim();
    let mut total = 0u64;
    loop {
        let (part, after) = take_part(text, rest, &DURATIONS)?;
        total = total
            .checked_add(part)
            .ok_or_else(|| InvalidQuantity::TooLarge { text: quoted(text) })?;
        rest = after.trim_start();
        if rest.is_empty() {
            return Ok(Duration::from_millis(total));
        }
    }
}

/// A size for people, rounded: `2.9 MiB`. [`format_size`] is exact.
pub fn round_size(bytes: u64) -> String {
    match bytes {
        ..1_024 => format!("{bytes} bytes"),
        1_024..1_048_576 => format!("{:.0} KiB", bytes as f64 / 1_024.0),
        _ => format!("{:.1} MiB", bytes as f64 / 1_048_576.0),
    }
}

/// Writes a number of bytes so that [`parse_size`] reads it back: `256MiB`, `1000B`.
pub fn format_size(bytes: u64) -> String {
    let binary = SIZES.units.iter().filter(|(unit, _)| unit.ends_with("iB") || *unit == "B");
    format_single(bytes, binary)
}

/// Writes a count so that [`parse_count`] reads it back: `20G`, `200`.
pub fn format_count(count: u64) -> String {
    format_single(count, COUNTS.units.iter())
}

/// Writes a duration so that [`parse_duration`] reads it back, to the millisecond: `1m30s`.
pub fn format_duration(duration: Duration) -> String {
    let mut rest = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    if rest == 0 {
        return "0ms".to_owned();
    }
    let mut text = String::new();
    for (unit, milliseconds) in DURATIONS.units {
        if rest >= *milliseconds {
            text.push_str(&format!("{}{unit}", rest / milliseconds));
            rest %= milliseconds;
        }
    }
    text
}

fn format_single<'a>(value: u64, units: impl Iterator<Item = &'a (&'a str, u64)>) -> String {
    let fitting = units.filter(|(_, factor)| value >= *factor && value.is_multiple_of(*factor));
    let (unit, factor) = fitting.max_by_key(|(_, factor)| *factor).unwrap_or(&("", 1));
    format!("{}{unit}", value / factor)
}

fn parse_single(text: &str, kind: &'static Kind) -> Result<u64, InvalidQuantity> {
    let (value, rest) = take_part(text, text.trim(), kind)?;
    if rest.is_empty() { Ok(value) } else { Err(unit_error(text, kind)) }
}

/// Reads one number and its unit; answers what follows too.
fn take_part<'a>(
    text: &str,
    rest: &'a str,
    kind: &'static Kind,
) -> Result<(u64, &'a str), InvalidQuantity> {
    let too_large = || InvalidQuantity::TooLarge { text: quoted(text) };
    let number_end =
        rest.find(|c: char| !(c.is_ascii_digit() || matches!(c, '_' | '.'))).unwrap_or(rest.len());
    let (number, after) = rest.split_at(number_end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let digits = |text: &str| text.replace('_', "");
    let (whole, fraction) = (digits(whole), digits(fraction));
    if whole.is_empty() || fraction.is_empty() || fraction.contains('.') {
        return Err(InvalidQuantity::NoNumber { text: quoted(text), example: kind.example });
    }

    let after = after.trim_start();
    let unit_end = after.find(|c: char| !c.is_alphabetic()).unwrap_or(after.len());
    let (unit, after) = after.split_at(unit_end);
    let known = kind.units.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit));
    let (_, factor) = known.ok_or_else(|| unit_error(text, kind))?;

    let fraction = fraction.trim_end_matches('0');
    let places = u32::try_from(fraction.len()).map_err(|_| too_large())?;
    let scale = 10u128.checked_pow(places).ok_or_else(too_large)?;
    let scaled: u128 = format!("{whole}{fraction}").parse().map_err(|_| too_large())?;
    let product = scaled.checked_mul(u128::from(*factor)).ok_or_else(too_large)?;
    if !product.is_multiple_of(scale) {
        return Err(InvalidQuantity::Fraction { text: quoted(text), what: kind.what });
    }
    Ok((u64::try_from(product / scale).map_err(|_| too_large())?, after))
}

fn unit_error(text: &str, kind: &'static Kind) -> InvalidQuantity {
    InvalidQuantity::Unit { text: quoted(text), units: kind.listed, example: kind.example }
}

/// A text as errors quote it: not longer than anyone needs to recognise it.
fn quoted(text: &str) -> String {
    text.chars().take(40).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn sizes_are_read() {
        #[track_caller]
        fn check(text: &str, expected: u64) {
            assert_eq!(parse_size(text), Ok(expected), "{text}");
        }
        check("256MiB", 256 << 20);
        check("256 mib", 256 << 20);
        check("1MB", 1_000_000);
        check("1.5GiB", 3 << 29);
        check("4096", 4096);
        check("64_000B", 64_000);
    }

    #[test]
    fn counts_and_durations_are_read() {
        assert_eq!(parse_count("20G"), Ok(20_000_000_000));
        assert_eq!(parse_count("2_000"), Ok(2_000));
        assert_eq!(parse_count("1.5k"), Ok(1_500));
        assert_eq!(parse_duration("60s"), Ok(Duration::from_secs(60)));
        assert_eq!(parse_duration("1m30s"), Ok(Duration::from_secs(90)));
        assert_eq!(parse_duration("1h 5m"), Ok(Duration::from_secs(3900)));
        assert_eq!(parse_duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(parse_duration("1.5s"), Ok(Duration::from_millis(1500)));
    }

    #[test]
    fn mistakes_are_explained() {
        #[track_caller]
        fn check(found: Result<u64, InvalidQuantity>, expected: &str) {
            assert_eq!(found.map_err(|error| error.to_string()), Err(expected.to_owned()));
        }
        let milliseconds = |text| parse_duration(text).map(|time| time.as_millis() as u64);
        check(parse_size(""), r#""" does not begin with a number: write for example "256MiB""#);
        check(
            parse_size("-1MB"),
            r#""-1MB" does not begin with a number: write for example "256MiB""#,
        );
        check(
            parse_size("256M"),
            r#""256M" has no unit that is known: use one of B, kB, KiB, MB, MiB, GB, GiB, for example "256MiB""#,
        );
        check(parse_size("1.5B"), r#""1.5B" is not a whole number of bytes"#);
        check(parse_count("99999999T"), r#""99999999T" is too large a number"#);
        check(
            milliseconds("60"),
            r#""60" has no unit that is known: use one of ms, s, m, h, d, for example "1m30s""#,
        );
        check(
            milliseconds("1m30"),
            r#""1m30" has no unit that is known: use one of ms, s, m, h, d, for example "1m30s""#,
        );
        check(milliseconds("s"), r#""s" does not begin with a number: write for example "1m30s""#);
    }

    #[test]
    fn quantities_are_written_as_short_as_they_can_be_exactly() {
        assert_eq!(format_size(256 << 20), "256MiB");
        assert_eq!(format_size(1_000_000), "1000000B");
        assert_eq!(format_count(20_000_000_000), "20G");
        assert_eq!(format_count(1_001), "1001");
        assert_eq!(format_duration(Duration::from_secs(90)), "1m30s");
        assert_eq!(format_duration(Duration::ZERO), "0ms");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(value in any::<u64>(), shift in 0u32..64) {
            let value = value >> shift;
            prop_assert_eq!(parse_size(&format_size(value)), Ok(value));
            prop_assert_eq!(parse_count(&format_count(value)), Ok(value));
            let duration = Duration::from_millis(value);
            prop_assert_eq!(parse_duration(&format_duration(duration)), Ok(duration));
        }

        #[test]
        fn no_text_makes_it_panic(text in "[0-9._ a-zA-Zµ-]{0,50}") {
            let _ = (parse_size(&text), parse_count(&text), parse_duration(&text));
        }
    }
}
