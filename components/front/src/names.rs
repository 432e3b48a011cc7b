//! What agents are called.

/// The longest name of an agent, and the longest of its owner.
const LONGEST_PART: usize = 63;

/// Whether a text may be the reference of an agent, `name` or `name.owner`: then it can be part of a host name or a path.
pub fn is_reference(text: &str) -> bool {
    let (name, owner) = text.split_once('.').unwrap_or((text, "a"));
    let is_part = |part: &str| {
        let is_plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        (1..=LONGEST_PART).contains(&part.len())
            && part.bytes().all(is_plain)
            && !part.starts_with('-')
            && !part.ends_with('-')
    };
    is_part(name) && is_part(owner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_is_a_name_or_an_address() {
        assert!(is_reference("weather") && is_reference("a-b.operator"));
        for text in [
            "", ".", "a.", ".a", "A", "a b", "a/b", "a.b.c", "-a", "a-", "é", "a_b", "a:1", "a@b",
        ] {
            assert!(!is_reference(text), "{text}");
        }
        assert!(!is_reference(&"a".repeat(64)));
    }
}
