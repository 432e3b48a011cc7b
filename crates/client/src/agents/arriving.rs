//! A response in Binary HTTP that is not whole yet.

use http::Response;

use super::message;

/// Most bytes of a head that is not whole yet.
const MAX_HEAD: usize = 64 << 10;

/// A response of either form that arrives in parts (RFC 9292 §3). What is no response gives nothing: the whole of it is looked at when
/// it is there.
#[derive(Debug, Default)]
pub(crate) struct Arriving {
    /// What was not understood yet.
    rest: Vec<u8>,
    place: Place,
    /// Whether it is of known length: its content is one piece.
    known: bool,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Place {
    #[default]
    Head,
    /// Before the length of a piece.
    Length,
    /// Within a piece that has so many bytes left.
    Piece(u64),
    /// Behind the content, or in what is no response.
    End,
}

/// What some bytes of a message brought.
#[derive(Debug, Default)]
pub(crate) struct Arrived {
    /// Status and fields, once they are whole; informational responses are passed over.
    pub(crate) head: Option<Response<()>>,
    pub(crate) content: Vec<u8>,
}

impl Arriving {
    /// Takes the next bytes of the message.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Arrived {
        let mut all = std::mem::take(&mut self.rest);
        all.extend_from_slice(bytes);
        let mut rest = all.as_slice();
        let mut head = None;
        let mut content = Vec::new();
        loop {
            self.place = match self.place {
                Place::Head => match head_end(rest) {
                    Head::Whole { end, known } => {
                        let (before, behind) = rest.split_at_checked(end).unwrap_or((rest, &[]));
                        rest = behind;
                        self.known = known;
                        match message::head(before) {
                            Some(read) => {
                                head = Some(read);
                                Place::Length
                            }
                            None => Place::End,
                        }
                    }
                    Head::Partial if rest.len() <= MAX_HEAD => break,
                    _ => Place::End,
                },
                Place::Length => match integer(rest) {
                    None => break,
                    Some((0, _)) => Place::End,
                    Some((length, width)) => {
                        rest = rest.get(width..).unwrap_or_default();
                        Place::Piece(length)
                    }
                },
                Place::Piece(0) if self.known => Place::End,
                Place::Piece(0) => Place::Length,
                Place::Piece(_) if rest.is_empty() => break,
                Place::Piece(left) => {
                    let most = usize::try_from(left).unwrap_or(usize::MAX);
                    let (here, behind) = rest.split_at_checked(most).unwrap_or((rest, &[]));
                    content.extend_from_slice(here);
                    rest = behind;
                    Place::Piece(left.saturating_sub(u64::try_from(here.len()).unwrap_or(left)))
                }
                Place::End => {
                    rest = &[];
                    break;
                }
            };
        }
        self.rest = rest.to_vec();
        Arrived { head, content }
    }
}

enum Head {
    /// It ends here.
    Whole {
        end: usize,
        known: bool,
    },
    Partial,
    /// It is of no response.
    Other,
}

/// Where the head ends: framing indicator 1 or 3, informational responses, the status, and its fields.
fn head_end(bytes: &[u8]) -> Head {
    let mut rest = bytes;
    let known = match take(&mut rest) {
        Some(1) => true,
        Some(3) => false,
        Some(_) => return Head::Other,
        None => return Head::Partial,
    };
    match after_head(&mut rest, known) {
        Some(()) => Head::Whole {
            end: bytes.len().saturating_sub(rest.len()),
            known,
        },
        None => Head::Partial,
    }
}

/// Goes behind the head; none where it is not whole.
fn after_head(rest: &mut &[u8], known: bool) -> Option<()> {
    loop {
        let status = take(rest)?;
        loop {
            // The length of all fields, or of a name: an empty one is behind the last.
            let length = take(rest)?;
            skip(rest, length)?;
            if known || length == 0 {
                break;
            }
            let value = take(rest)?;
            skip(rest, value)?;
        }
        if !(100..200).contains(&status) {
            return Some(());
        }
    }
}

fn take(rest: &mut &[u8]) -> Option<u64> {
    let (value, width) = integer(rest)?;
    *rest = rest.get(width..)?;
    Some(value)
}

fn skip(rest: &mut &[u8], length: u64) -> Option<()> {
    *rest = rest.get(usize::try_from(length).ok()?..)?;
    Some(())
}

/// A variable-length integer (RFC 9000 §16) at the front, and its width; none where it is not whole.
fn integer(bytes: &[u8]) -> Option<(u64, usize)> {
    let first = *bytes.first()?;
    let width = 1_usize << (first >> 6);
    let (_, rest) = bytes.get(..width)?.split_first()?;
    let value = rest.iter().fold(u64::from(first & 0x3f), |value, &byte| {
        value << 8 | u64::from(byte)
    });
    Some((value, width))
}

#[cfg(test)]
mod tests {
    use bhttp::{Message, Mode};
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::super::message::response;
    use super::*;

    /// The example of RFC 9292 §5.2 in the known-length form, without its informational responses.
    fn hello() -> Vec<u8> {
        let mut bytes = vec![0x01, 0x40, 0xc8, 0x00, 0x07];
        bytes.extend(b"Hello\r\n");
        bytes.push(0x00);
        bytes
    }

    fn in_parts(bytes: &[u8], size: usize) -> Vec<u8> {
        let mut arriving = Arriving::default();
        let parts = bytes.chunks(size.max(1));
        parts.flat_map(|part| arriving.push(part).content).collect()
    }

    #[test]
    fn the_content_of_a_response_is_there_as_it_arrives() {
        // Informational response, status, a field, two pieces, a trailer.
        let mut bytes = vec![
            3, 0x40, 0x67, 1, b'a', 1, b'b', 0, 0x40, 0xc8, 1, b'x', 2, b'y', b'z', 0,
        ];
        let mut arriving = Arriving::default();
        let Arrived { head, content } = arriving.push(&bytes);
        let head = head.unwrap();
        assert_eq!((head.status().as_u16(), content.len()), (200, 0));
        assert_eq!(head.headers()["x"], "yz");
        assert!(!head.headers().contains_key("a"), "not of the answer");
        assert_eq!(arriving.push(b"\x05Hel").content, b"Hel");
        assert_eq!(arriving.push(b"lo").content, b"lo");
        bytes.extend(b"\x05Hello\x06 there\x00\x01t\x01v\x00");
        for size in 1..bytes.len() {
            assert_eq!(in_parts(&bytes, size), b"Hello there");
        }
        assert_eq!(response(&bytes).unwrap().0.body(), b"Hello there");
        assert_eq!(in_parts(&hello(), 1), b"Hello\r\n", "of known length");
    }

    proptest! {
        #[test]
        fn any_bytes_in_parts_are_read_or_left(bytes in vec(any::<u8>(), 0..300), size in 1..20_usize) {
            prop_assert!(in_parts(&bytes, size).len() <= bytes.len());
        }

        #[test]
        fn content_in_parts_is_that_of_the_whole(body in vec(any::<u8>(), 0..2_000), size in 1..200_usize) {
            let mut message = Message::response(bhttp::StatusCode::try_from(200_u16).unwrap());
            message.put_header("a", "b");
            message.write_content(&body);
            for mode in [Mode::KnownLength, Mode::IndeterminateLength] {
                let mut bytes = Vec::new();
                message.write_bhttp(mode, &mut bytes).unwrap();
                prop_assert_eq!(in_parts(&bytes, size), &body[..]);
            }
        }

        #[test]
        fn the_head_comes_once_however_it_is_cut(size in 1..40_usize) {
            let mut message = Message::response(bhttp::StatusCode::try_from(418_u16).unwrap());
            message.put_header("a", "b");
            message.write_content(b"short and stout");
            for mode in [Mode::KnownLength, Mode::IndeterminateLength] {
                let mut bytes = Vec::new();
                message.write_bhttp(mode, &mut bytes).unwrap();
                let mut arriving = Arriving::default();
                let heads: Vec<_> = bytes.chunks(size).filter_map(|part| arriving.push(part).head).collect();
                prop_assert_eq!(heads.len(), 1);
                prop_assert_eq!(heads[0].status().as_u16(), 418);
                prop_assert_eq!(&heads[0].headers()["a"], "b");
            }
        }
    }
}
