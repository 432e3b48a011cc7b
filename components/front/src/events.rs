//! Server-sent events (`text/event-stream`) as they come.

/// As much is held of an event that is not whole, in bytes.
pub const MOST_EVENT: usize = 4 * 1024 * 1024;

/// An event, or a line of one, that does not end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an event is longer than {MOST_EVENT} bytes")]
pub struct TooLong;

/// Reads a stream in whatever pieces it comes. Of an event it gives the data; names, ids and comments are passed over.
#[derive(Default)]
pub struct Reader {
    line: Vec<u8>,
    data: Vec<u8>,
    has_data: bool,
    after_return: bool,
}

impl Reader {
    /// The data of the events that are whole with these bytes.
    pub fn push(&mut self, bytes: &[u8]) -> Result<Vec<Vec<u8>>, TooLong> {
        let mut whole = Vec::new();
        for byte in bytes {
            let follows_return = std::mem::replace(&mut self.after_return, *byte == b'\r');
            match byte {
                // The second half of a line's end.
                b'\n' if follows_return => {}
                b'\n' | b'\r' => whole.extend(self.end_line()),
                _ if self.line.len().saturating_add(self.data.len()) >= MOST_EVENT => {
                    return Err(TooLong);
                }
                _ => self.line.push(*byte),
            }
        }
        Ok(whole)
    }

    /// Takes in the line that ended; gives the event that ends with it.
    fn end_line(&mut self) -> Option<Vec<u8>> {
        let line = std::mem::take(&mut self.line);
        if line.is_empty() {
            let data = std::mem::take(&mut self.data);
            return std::mem::take(&mut self.has_data).then_some(data);
        }
        let rest = line.strip_prefix(b"data")?;
        let data = match rest.strip_prefix(b":") {
            Some(data) => data.strip_prefix(b" ").unwrap_or(data),
            None if rest.is_empty() => rest,
            // A field of another name.
            None => return None,
        };
        if self.has_data {
            self.data.push(b'\n');
        }
        self.data.extend(data);
        self.has_data = true;
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn events_are_read_whatever_pieces_they_come_in() {
        let text =
            b": comment\nevent: x\ndata: a\ndata:b\n\ndata\r\n\r\nid: 1\ndatax: 1\n\ndata: c\r\rdata: d";
        let mut whole = Reader::default();
        let expected: Vec<Vec<u8>> = vec![b"a\nb".to_vec(), Vec::new(), b"c".to_vec()];
        assert_eq!(whole.push(text).unwrap(), expected);
        let mut single = Reader::default();
        let pieces = text.iter().flat_map(|byte| single.push(&[*byte]).unwrap());
        assert_eq!(pieces.collect::<Vec<_>>(), expected);
    }

    #[test]
    fn an_event_that_does_not_end_is_refused() {
        let mut reader = Reader::default();
        assert!(reader.push(&vec![b'a'; MOST_EVENT]).is_ok());
        assert_eq!(reader.push(b"a"), Err(TooLong));
        let mut reader = Reader::default();
        let line = [
            b"data: ".to_vec(),
            vec![b'a'; MOST_EVENT / 2],
            b"\n".to_vec(),
        ]
        .concat();
        assert!((0..3).any(|_| reader.push(&line).is_err()));
    }

    /// Events are the same whatever pieces they come in (`make fuzz`).
    #[test]
    fn server_sent_events() {
        bolero::check!(name = "server_sent_events").for_each(|bytes: &[u8]| {
            let whole = Reader::default().push(bytes).unwrap();
            for size in [1, 5] {
                let mut reader = Reader::default();
                let pieces = bytes.chunks(size).flat_map(|it| reader.push(it).unwrap());
                assert_eq!(pieces.collect::<Vec<_>>(), whole);
            }
            assert!(whole.concat().len() <= bytes.len());
        });
    }

    proptest! {
        #[test]
        fn any_bytes_are_events_or_none(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Reader::default().push(&bytes);
        }
    }
}
