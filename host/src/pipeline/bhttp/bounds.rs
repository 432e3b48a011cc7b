//! Bounds on the fields of a message, held before the message is parsed: each field becomes two allocations, so three bytes of
//! a message could cost a hundred of memory.

/// Fields in the header section, and in the trailer section.
const MAX_FIELDS: usize = 256;
/// Bytes of one section.
const MAX_SECTION: usize = 64 << 10;

/// Refuses a request (RFC 9292 §3) whose sections are over the bounds. What is malformed is left to the parser, which stops
/// where this stops.
pub(super) fn check(bytes: &[u8]) -> Result<(), String> {
    match Walk(bytes).request() {
        Walked::Over(what) => Err(what),
        Walked::Through | Walked::Malformed => Ok(()),
    }
}

enum Walked {
    Through,
    Malformed,
    Over(String),
}

/// What is left of a message.
struct Walk<'a>(&'a [u8]);

/// Ends the walk where a part of the message is not there.
macro_rules! some {
    ($part:expr) => {
        match $part {
            Some(part) => part,
            None => return Walked::Malformed,
        }
    };
}

impl<'a> Walk<'a> {
    fn request(mut self) -> Walked {
        let known = match some!(self.integer()) {
            0 => true,
            2 => false,
            _ => return Walked::Malformed,
        };
        // Method, scheme, authority, path.
        for _ in 0..4 {
            some!(self.sized());
        }
        for is_trailer in [false, true] {
            if is_trailer {
                some!(self.content(known));
            }
            let walked = if known {
                let section = some!(self.sized());
                if section.len() > MAX_SECTION {
                    return over_bytes();
                }
                Walk(section).fields()
            } else {
                self.fields()
            };
            match walked {
                Walked::Through => {}
                ended => return ended,
            }
        }
        Walked::Through
    }

    /// Fields up to the end of what is left, or to a name of no bytes.
    fn fields(&mut self) -> Walked {
        let (mut fields, mut bytes) = (0_usize, 0_usize);
        while !self.0.is_empty() {
            let name = some!(self.sized());
            if name.is_empty() {
                break;
            }
            let value = some!(self.sized());
            fields = fields.saturating_add(1);
            bytes = bytes.saturating_add(name.len()).saturating_add(value.len());
            if fields > MAX_FIELDS {
                return Walked::Over(format!(
                    "the message has more than {MAX_FIELDS} fields in one section"
                ));
            }
            if bytes > MAX_SECTION {
                return over_bytes();
            }
        }
        Walked::Through
    }

    fn content(&mut self, known: bool) -> Option<()> {
        if known {
            return self.sized().map(drop);
        }
        while !self.sized()?.is_empty() {}
        Some(())
    }

    /// Bytes behind their length.
    fn sized(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.integer()?).ok()?;
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    /// An integer of variable length (RFC 9000 §16).
    fn integer(&mut self) -> Option<u64> {
        let (first, rest) = self.0.split_first()?;
        let more = (1_usize << (first >> 6)).saturating_sub(1);
        let (tail, rest) = rest.split_at_checked(more)?;
        self.0 = rest;
        let first = u64::from(first & 0x3f);
        Some(
            tail.iter()
                .fold(first, |sum, byte| (sum << 8) | u64::from(*byte)),
        )
    }
}

fn over_bytes() -> Walked {
    Walked::Over(format!(
        "a section of the message's fields is over {MAX_SECTION} bytes"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use bhttp::{Message, Mode};

    fn message(fields: usize, trailers: usize, mode: Mode) -> Vec<u8> {
        let mut message = Message::request(
            b"GET".to_vec(),
            b"https".to_vec(),
            Vec::new(),
            b"/".to_vec(),
        );
        for _ in 0..fields {
            message.put_header("a", "b");
        }
        message.write_content(vec![7; 100_000]);
        for _ in 0..trailers {
            message.put_trailer("a", "b");
        }
        let mut bytes = Vec::new();
        message.write_bhttp(mode, &mut bytes).unwrap();
        bytes
    }

    #[test]
    fn fields_are_counted_in_both_sections_and_both_framings() {
        for mode in [Mode::KnownLength, Mode::IndeterminateLength] {
            assert!(check(&message(256, 256, mode)).is_ok());
            assert!(check(&message(257, 0, mode)).is_err());
            assert!(check(&message(0, 257, mode)).is_err());
        }
    }

    #[test]
    fn a_section_of_few_long_fields_is_bounded_too() {
        let mut message = Message::request(
            b"GET".to_vec(),
            b"https".to_vec(),
            Vec::new(),
            b"/".to_vec(),
        );
        message.put_header("a", vec![b'b'; MAX_SECTION]);
        for mode in [Mode::KnownLength, Mode::IndeterminateLength] {
            let mut bytes = Vec::new();
            message.write_bhttp(mode, &mut bytes).unwrap();
            assert!(check(&bytes).is_err());
        }
    }

    proptest::proptest! {
        #[test]
        fn arbitrary_bytes_end_the_walk(bytes: Vec<u8>) {
            let _ = check(&bytes);
        }
    }
}
