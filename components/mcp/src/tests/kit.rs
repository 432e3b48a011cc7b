//! All of the world that this front needs.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use front::error::WebError;
use front::ports::{Answer, Asked, Client, Piece, Ports, Streams};
use front::world::World;

use crate::error::Unkept;
use crate::ports::{Rows, Seals};

type Meanwhile = Box<dyn Fn(&Desk<'_>)>;

/// A host, a client of it, and what is kept between two requests.
pub struct Desk<'a> {
    world: &'a World,
    rows: RefCell<BTreeMap<String, Vec<u8>>>,
    made: Cell<u128>,
    /// Seconds since 1970.
    pub now: Cell<u64>,
    /// What the client was sent, piece by piece.
    pub sent: RefCell<String>,
    /// What happens while the front waits: a client answers.
    pub meanwhile: RefCell<Option<Meanwhile>>,
}

impl<'a> Desk<'a> {
    /// One at which this host answers.
    pub fn of(world: &'a World) -> Self {
        Self {
            world,
            rows: RefCell::default(),
            made: Cell::new(0),
            now: Cell::new(0),
            sent: RefCell::default(),
            meanwhile: RefCell::default(),
        }
    }
}

impl Ports for Desk<'_> {
    fn send(&self, asked: &Asked) -> Result<Answer, WebError> {
        self.world.send(asked)
    }

    /// Waits as long as something happens meanwhile.
    fn pause(&self, _: u64) -> bool {
        let meanwhile = self.meanwhile.take();
        meanwhile.inspect(|it| it(self)).is_some()
    }
}

impl Streams for Desk<'_> {
    fn stream(
        &self,
        asked: &Asked,
        each: &mut dyn FnMut(Piece<'_>) -> bool,
    ) -> Result<(), WebError> {
        self.world.stream(asked, each)
    }
}

impl Client for Desk<'_> {
    fn open(&self, status: u16, headers: &[(&'static str, String)]) {
        self.sent.borrow_mut().push_str(&format!("{status}\n"));
        for (name, value) in headers {
            self.sent
                .borrow_mut()
                .push_str(&format!("{name}: {value}\n"));
        }
        self.sent.borrow_mut().push('\n');
    }

    fn push(&self, piece: &[u8]) -> Result<(), WebError> {
        let piece = std::str::from_utf8(piece).unwrap();
        self.sent.borrow_mut().push_str(piece);
        Ok(())
    }

    fn close(&self) {
        self.sent.borrow_mut().push_str("[whole]");
    }
}

impl Rows for Desk<'_> {
    fn get(&self, bucket: &str, key: &str) -> Result<Option<Vec<u8>>, Unkept> {
        let key = format!("{bucket}/{key}");
        Ok(self.rows.borrow().get(&key).cloned())
    }

    fn set(&self, bucket: &str, key: &str, value: &[u8]) -> Result<(), Unkept> {
        let key = format!("{bucket}/{key}");
        self.rows.borrow_mut().insert(key, value.to_vec());
        Ok(())
    }

    fn delete(&self, bucket: &str, key: &str) -> Result<(), Unkept> {
        self.rows.borrow_mut().remove(&format!("{bucket}/{key}"));
        Ok(())
    }
}

impl Seals for Desk<'_> {
    fn now(&self) -> u64 {
        self.now.get()
    }

    fn random(&self) -> [u8; 16] {
        self.made.set(self.made.get() + 1);
        self.made.get().to_be_bytes()
    }

    /// By a checksum, which nobody forges here.
    fn sign(&self, message: &[u8]) -> Option<Vec<u8>> {
        let sum = message.iter().fold(7_u64, |sum, byte| {
            sum.wrapping_mul(0x0100_0000_01b3) ^ u64::from(*byte)
        });
        Some([[0; 56].as_slice(), &sum.to_be_bytes()].concat())
    }

    fn is_signed(&self, message: &[u8], signature: &[u8]) -> bool {
        self.sign(message).as_deref() == Some(signature)
    }
}
