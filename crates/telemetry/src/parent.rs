//! Who called, as W3C Trace Context says it in `traceparent`.

use http::HeaderMap;
use hypervisor_protocol::HexArray;

const TRACEPARENT: &str = "traceparent";
/// Bytes of the fields that every version has.
const LENGTH: usize = 55;

/// The span that a request belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Parent {
    pub(crate) trace_id: HexArray<16>,
    pub(crate) span_id: HexArray<8>,
    /// Whether the caller keeps its own spans.
    pub(crate) is_sampled: bool,
}

impl Parent {
    /// None where the field is missing, is there twice, or is not what the specification says: the request then begins a trace.
    pub(crate) fn of(fields: &HeaderMap) -> Option<Self> {
        let mut all = fields.get_all(TRACEPARENT).iter();
        match (all.next(), all.next()) {
            (Some(only), None) => Self::parse(only.to_str().ok()?),
            _ => None,
        }
    }

    fn parse(text: &str) -> Option<Self> {
        let (fields, more) = text.split_at_checked(LENGTH)?;
        let mut fields = fields.split('-');
        let HexArray([version]) = hex(fields.next()?)?;
        let (trace_id, span_id) = (hex(fields.next()?)?, hex(fields.next()?)?);
        let HexArray([flags]) = hex(fields.next()?)?;
        // Later versions may have more behind a hyphen; 255 is none.
        let is_whole = match version {
            0 => more.is_empty(),
            255 => false,
            _ => more.is_empty() || more.starts_with('-'),
        };
        let is_known = trace_id != HexArray::default() && span_id != HexArray::default();
        (is_whole && is_known && fields.next().is_none()).then_some(Self {
            trace_id,
            span_id,
            is_sampled: flags & 1 == 1,
        })
    }
}

/// Exactly as many lower-case digits as it has to be.
fn hex<const N: usize>(digits: &str) -> Option<HexArray<N>> {
    let is_digit = |b: u8| matches!(b, b'0'..=b'9' | b'a'..=b'f');
    let is_plain = digits.len() == N.saturating_mul(2) && digits.bytes().all(is_digit);
    is_plain.then(|| digits.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    const SPAN: &str = "00f067aa0ba902b7";

    #[test]
    fn a_parent_has_a_trace_a_span_and_whether_it_is_sampled() {
        for (text, is_sampled) in [
            (format!("00-{TRACE}-{SPAN}-01"), true),
            (format!("00-{TRACE}-{SPAN}-00"), false),
            (format!("00-{TRACE}-{SPAN}-03"), true),
            (format!("cc-{TRACE}-{SPAN}-01"), true),
            (format!("cc-{TRACE}-{SPAN}-01-later"), true),
        ] {
            let parent = Parent::parse(&text).unwrap();
            assert_eq!(parent.trace_id.to_string(), TRACE);
            assert_eq!(parent.span_id.to_string(), SPAN);
            assert_eq!(parent.is_sampled, is_sampled, "{text}");
        }
    }

    #[test]
    fn what_the_specification_does_not_allow_is_no_parent() {
        let (no_trace, no_span) = ("0".repeat(32), "0".repeat(16));
        for text in [
            String::new(),
            format!("00-{TRACE}-{SPAN}"),
            format!("00-{TRACE}-{SPAN}-01-later"),
            format!("00-{TRACE}-{SPAN}-01 "),
            format!("cc-{TRACE}-{SPAN}-01later"),
            format!("ff-{TRACE}-{SPAN}-01"),
            format!("00-{no_trace}-{SPAN}-01"),
            format!("00-{TRACE}-{no_span}-01"),
            format!("00-{}-{SPAN}-01", TRACE.to_uppercase()),
            format!("00-0x{}-{SPAN}-01", &TRACE[2..]),
            format!("0-0{TRACE}-{SPAN}-01"),
            format!("00-{TRACE}-{SPAN}-+1"),
            format!("00-{TRACE}{SPAN}--01"),
        ] {
            assert_eq!(Parent::parse(&text), None, "{text}");
        }
    }

    #[test]
    fn of_two_parents_none_is_taken() {
        let mut fields = HeaderMap::new();
        let value = format!("00-{TRACE}-{SPAN}-01");
        fields.append(TRACEPARENT, value.parse().unwrap());
        assert!(Parent::of(&fields).is_some());
        fields.append(TRACEPARENT, value.parse().unwrap());
        assert_eq!(Parent::of(&fields), None);
    }

    proptest::proptest! {
        #[test]
        fn arbitrary_text_is_read_or_refused(text in "\\PC*") {
            let _ = Parent::parse(&text);
        }
    }
}
