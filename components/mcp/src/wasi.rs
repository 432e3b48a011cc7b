//! The world by WASI.

use front::error::WebError;
use front::http::Outgoing;
use front::ports::{Answer, Asked, Client, Piece, Ports, Streams};
use front::wasi::{Waiting, Wasi as Http};
use wasip2::clocks::wall_clock;
use wasip2::http::types::ResponseOutparam;
use wasip2::random::random;

use crate::bindings::hypervisor::plugin::crypto::{SigningKey, p256_verify};
use crate::bindings::wasi::keyvalue::store::{self, Bucket};
use crate::error::Unkept;
use crate::ports::{Rows, Seals};

/// The name of the key that signs what clients carry from one request to the next.
const STATE_KEY: &str = "mcp-state";

/// The host, until an instant, and a client that waits for an answer.
pub struct Wasi {
    http: Http,
    client: Waiting,
}

impl Wasi {
    /// The world for so many milliseconds from now, and for so many until the client has its answer.
    pub fn within(milliseconds: u64, answered: u64, out: ResponseOutparam) -> Self {
        Self {
            http: Http::within(milliseconds),
            client: Waiting::within(answered, out),
        }
    }

    /// Sends a whole answer.
    pub fn answer(&self, outgoing: &Outgoing) {
        self.client.answer(outgoing);
    }
}

impl Ports for Wasi {
    fn send(&self, asked: &Asked) -> Result<Answer, WebError> {
        self.http.send(asked)
    }

    fn pause(&self, milliseconds: u64) -> bool {
        self.http.pause(milliseconds)
    }
}

impl Streams for Wasi {
    fn stream(
        &self,
        asked: &Asked,
        each: &mut dyn FnMut(Piece<'_>) -> bool,
    ) -> Result<(), WebError> {
        self.http.stream(asked, each)
    }
}

impl Client for Wasi {
    fn open(&self, status: u16, headers: &[(&'static str, String)]) {
        self.client.open(status, headers);
    }

    fn push(&self, piece: &[u8]) -> Result<(), WebError> {
        self.client.push(piece)
    }

    fn close(&self) {
        self.client.close();
    }
}

fn bucket(name: &str) -> Result<Bucket, Unkept> {
    store::open(name).map_err(|_| Unkept)
}

impl Rows for Wasi {
    fn get(&self, name: &str, key: &str) -> Result<Option<Vec<u8>>, Unkept> {
        bucket(name)?.get(key).map_err(|_| Unkept)
    }

    fn set(&self, name: &str, key: &str, value: &[u8]) -> Result<(), Unkept> {
        bucket(name)?.set(key, value).map_err(|_| Unkept)
    }

    fn delete(&self, name: &str, key: &str) -> Result<(), Unkept> {
        bucket(name)?.delete(key).map_err(|_| Unkept)
    }
}

impl Seals for Wasi {
    fn now(&self) -> u64 {
        wall_clock::now().seconds
    }

    fn random(&self) -> [u8; 16] {
        let mut bytes = [0; 16];
        let random = random::get_random_bytes(16);
        for (to, from) in bytes.iter_mut().zip(random) {
            *to = from;
        }
        bytes
    }

    fn sign(&self, message: &[u8]) -> Option<Vec<u8>> {
        SigningKey::named(STATE_KEY).ok()?.sign(message).ok()
    }

    fn is_signed(&self, message: &[u8], signature: &[u8]) -> bool {
        let Ok(key) = SigningKey::named(STATE_KEY) else {
            return false;
        };
        p256_verify(&key.public_key(), message, signature).is_ok()
    }
}
