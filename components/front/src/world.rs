//! A world of a test's own.

use std::cell::RefCell;

use crate::error::WebError;
use crate::ports::{Answer, Asked, Ports};

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
