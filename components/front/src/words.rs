//! Words of somebody else's.

/// Those words as one line: without control characters, and at most `most` characters.
pub fn words(text: &str, most: usize) -> String {
    let visible = |c: char| if c.is_control() { ' ' } else { c };
    text.chars().map(visible).take(most).collect()
}

/// Whether bytes are text, or the beginning of one where they were cut.
pub fn is_utf8(bytes: &[u8], is_cut: bool) -> bool {
    let error = std::str::from_utf8(bytes).err();
    error.is_none_or(|error| is_cut && error.error_len().is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_one_line_and_no_longer_than_asked() {
        assert_eq!(words("a\nb\u{7}c", 4), "a b ");
    }

    #[test]
    fn a_character_that_was_cut_through_is_the_beginning_of_a_text() {
        assert!(is_utf8("é".as_bytes(), false));
        assert!(is_utf8(b"a\xc3", true) && !is_utf8(b"a\xc3", false));
        assert!(!is_utf8(b"\xff", true));
    }
}
