//! Times as the protocol writes them: RFC 3339, in UTC, to the millisecond.

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Milliseconds since 1970 as text.
pub fn stamp(milliseconds: u64) -> String {
    let nanoseconds = i128::from(milliseconds).saturating_mul(1_000_000);
    let at = OffsetDateTime::from_unix_timestamp_nanos(nanoseconds);
    let at = at.unwrap_or(OffsetDateTime::UNIX_EPOCH);
    format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z",
        at.year(),
        u8::from(at.month()),
        at.day(),
        at.hour(),
        at.minute(),
        at.second(),
        at.millisecond()
    )
}

/// The milliseconds since 1970 of a text; those before count as 1970.
pub fn parse(text: &str) -> Option<u64> {
    let at = OffsetDateTime::parse(text, &Rfc3339).ok()?;
    let milliseconds = at.unix_timestamp_nanos().div_euclid(1_000_000);
    Some(u64::try_from(milliseconds).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_time_is_written_in_utc_to_the_millisecond() {
        assert_eq!(stamp(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(stamp(1_795_507_200_007), "2026-11-24T08:00:00.007Z");
        assert_eq!(
            parse("2026-11-24T09:00:00.0075+01:00"),
            Some(1_795_507_200_007)
        );
        assert_eq!(parse("yesterday"), None);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(milliseconds in 0..253_402_300_799_999u64) {
            prop_assert_eq!(parse(&stamp(milliseconds)), Some(milliseconds));
        }

        #[test]
        fn any_text_is_judged(text in ".{0,40}") {
            let _ = parse(&text);
        }
    }
}
