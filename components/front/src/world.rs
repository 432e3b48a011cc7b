//! A world of a test's own.

use std::cell::RefCell;

use crate::error::WebError;
use crate::ports::{Answer, Asked, Piece, Ports, Streams};

type Answering = dyn Fn(&Asked, usize) -> Result<Answer, WebError>;

/// Answers what it is told to answer, and keeps what it was asked.
pub struct World {
    answering: Box<Answering>,
    sent: RefCell<Vec<Asked>>,
}

impl World {
    /// One that answers a request, of which so many came before.
    pub fn answering(answering: impl Fn(&Asked, usize) -> Answer + 'static) -> Self {
        Self::trying(move |asked, before| Ok(answering(asked, before)))
    }

    /// One whose requests may fail.
    pub fn trying(answering: impl Fn(&Asked, usize) -> Result<Answer, WebError> + 'static) -> Self {
        Self {
            answering: Box::new(answering),
            sent: RefCell::default(),
        }
    }

    /// What it was asked.
    pub fn sent(&self) -> Vec<Asked> {
        self.sent.borrow().clone()
    }
}

impl Ports for World {
    fn send(&self, asked: &Asked) -> Result<Answer, WebError> {
        let before = self.sent.borrow().len();
        self.sent.borrow_mut().push(asked.clone());
        (self.answering)(asked, before)
    }

    fn pause(&self, _: u64) -> bool {
        true
    }
}

impl Streams for World {
    /// The body comes in pieces of a few bytes.
    fn stream(
        &self,
        asked: &Asked,
        each: &mut dyn FnMut(Piece<'_>) -> bool,
    ) -> Result<(), WebError> {
        let answer = self.send(asked)?;
        if each(Piece::Head(answer.status, &answer.fields)) {
            let mut pieces = answer.body.chunks(7);
            while pieces.next().is_some_and(|piece| each(Piece::Body(piece))) {}
        }
        Ok(())
    }
}
