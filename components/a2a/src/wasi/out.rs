//! What goes to the client, as far as it reads.

use std::collections::VecDeque;

use front::wasi::{Begun, begin};
use wasip2::http::types::ResponseOutparam;
use wasip2::io::poll::Pollable;
use wasip2::io::streams::StreamError;

/// As much of a stream waits for a client that does not read; then it is given up.
const MOST_QUEUED: usize = 1024 * 1024;

/// The answer to a client.
pub struct Out {
    head: Option<ResponseOutparam>,
    begun: Option<Begun>,
    queue: VecDeque<Vec<u8>>,
    queued: usize,
    sent: usize,
    is_dirty: bool,
    is_whole: bool,
}

impl Out {
    /// The one to a client that waits for it.
    pub fn new(head: ResponseOutparam) -> Self {
        Self {
            head: Some(head),
            begun: None,
            queue: VecDeque::new(),
            queued: 0,
            sent: 0,
            is_dirty: false,
            is_whole: false,
        }
    }

    /// Sends the head, with the length of the body where it is known.
    pub fn open(&mut self, status: u16, headers: &[(&'static str, String)], length: Option<usize>) {
        let Some(out) = self.head.take() else { return };
        let length = length.map(|length| ("content-length", length.to_string()));
        self.begun = begin(out, status, headers.iter().chain(&length));
    }

    /// That nothing comes behind what is there.
    pub fn end(&mut self) {
        self.is_whole = true;
    }

    /// Gives a stream up for which too much waits.
    pub fn bound(&mut self) {
        if self.queued > MOST_QUEUED {
            self.give_up();
        }
    }

    /// Whether nobody reads what is sent.
    pub fn is_gone(&mut self) -> bool {
        if self.head.is_some() || self.is_whole {
            return false;
        }
        let is_closed = match &self.begun {
            Some(begun) => begun.stream().check_write().is_err(),
            None => true,
        };
        if is_closed {
            self.give_up();
        }
        is_closed
    }

    /// Some more of the body.
    pub fn push(&mut self, piece: Vec<u8>) {
        if self.begun.is_none() || piece.is_empty() {
            return;
        }
        self.queued = self.queued.saturating_add(piece.len());
        self.queue.push_back(piece);
    }

    /// Sends what can be sent without waiting. What to wait for before there is more; none where there is nothing to send.
    pub fn step(&mut self) -> Option<Pollable> {
        match self.go_on() {
            Ok(true) => self.begun.as_ref().map(|it| it.stream().subscribe()),
            Ok(false) => None,
            Err(_) => {
                self.give_up();
                None
            }
        }
    }

    /// Whether there is something to wait for.
    fn go_on(&mut self) -> Result<bool, StreamError> {
        while let Some(begun) = &self.begun {
            let stream = begun.stream();
            if self.queue.is_empty() && !self.is_dirty && !self.is_whole {
                return Ok(false);
            }
            let room = usize::try_from(stream.check_write()?).unwrap_or(usize::MAX);
            if room == 0 {
                return Ok(true);
            }
            if let Some(piece) = self.queue.front() {
                let rest = piece.get(self.sent..).unwrap_or_default();
                let here = rest.get(..room.min(rest.len())).unwrap_or_default();
                stream.write(here)?;
                self.is_dirty = true;
                self.queued = self.queued.saturating_sub(here.len());
                self.sent = self.sent.saturating_add(here.len());
                if self.sent >= piece.len() {
                    self.queue.pop_front();
                    self.sent = 0;
                }
            } else if self.is_dirty {
                stream.flush()?;
                self.is_dirty = false;
            } else if let Some(begun) = self.begun.take() {
                begun.finish();
            }
        }
        Ok(false)
    }

    /// Sends nothing more: what the client has is not whole.
    fn give_up(&mut self) {
        self.queue.clear();
        self.queued = 0;
        self.begun = None;
    }
}
