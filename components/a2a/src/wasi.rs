//! The world by WASI. Whatever is waited for, what goes to the client goes on meanwhile.

mod out;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use front::error::WebError;
use front::fields::Fields;
use front::http::Outgoing;
use front::ports::{Answer, Asked, Ports};
use front::wasi::{self as http, Sending};
use wasip2::clocks::{monotonic_clock, wall_clock};
use wasip2::http::outgoing_handler;
use wasip2::http::types::{
    FutureIncomingResponse, IncomingBody, IncomingResponse, ResponseOutparam,
};
use wasip2::io::poll::{self, Pollable};
use wasip2::io::streams::{InputStream, StreamError};
use wasip2::random::random;

use crate::bindings::hypervisor::plugin::attestation::{self, ErrorCode as AttestationError};
use crate::bindings::hypervisor::plugin::crypto::SigningKey;
use crate::bindings::wasi::keyvalue::store::{self, Bucket, Error};
use crate::bindings::wasi::keyvalue::{atomics, batch};
use crate::caller::digest;
use crate::error::{StoreError, Unproved};
use crate::ports::{Call, Client, Clock, Proofs, Step, Store, World};
use out::Out;

const MILLISECOND: u64 = 1_000_000;
/// As much is read at once.
const PIECE: u64 = 64 * 1024;
/// How long a client has to read the end of its answer.
const DRAIN_MS: u64 = 30_000;
/// The name of the key that signs cards.
const CARD_KEY: &str = "a2a-card";
/// As many keys of one bucket are read at most.
const MOST_KEYS: usize = 100_000;
/// As many buckets are held open.
const MOST_BUCKETS: usize = 32;

/// The host, until an instant.
pub struct Wasi {
    shared: Rc<Shared>,
    http: http::Wasi,
    buckets: RefCell<BTreeMap<String, Rc<Bucket>>>,
}

struct Shared {
    deadline: u64,
    out: RefCell<Out>,
}

impl Wasi {
    /// The world for so long from now, with a client that waits for an answer.
    pub fn new(milliseconds: u64, out: ResponseOutparam) -> Self {
        let time = milliseconds.saturating_mul(MILLISECOND);
        Self {
            shared: Rc::new(Shared {
                deadline: monotonic_clock::now().saturating_add(time),
                out: RefCell::new(Out::new(out)),
            }),
            http: http::Wasi::within(milliseconds),
            buckets: RefCell::default(),
        }
    }

    /// Waits until the client has what was sent to it, for a while.
    pub fn drain(&self) {
        let time = DRAIN_MS.saturating_mul(MILLISECOND);
        let until = monotonic_clock::now().saturating_add(time);
        while let Some(ready) = self.shared.out.borrow_mut().step() {
            let timer = monotonic_clock::subscribe_instant(until);
            poll::poll(&[&ready, &timer]);
            if monotonic_clock::now() >= until {
                return;
            }
        }
    }

    fn bucket(&self, name: &str) -> Result<Rc<Bucket>, StoreError> {
        let mut buckets = self.buckets.borrow_mut();
        if let Some(bucket) = buckets.get(name) {
            return Ok(Rc::clone(bucket));
        }
        if buckets.len() >= MOST_BUCKETS {
            buckets.clear();
        }
        let bucket = Rc::new(store::open(name).map_err(refused)?);
        buckets.insert(name.to_owned(), Rc::clone(&bucket));
        Ok(bucket)
    }
}

impl Shared {
    /// Waits until `ready`, or one of what can be moved meanwhile, or this instant.
    fn wait(&self, ready: &[&Pollable], until: u64) {
        let writable = self.out.borrow_mut().step();
        let timer = monotonic_clock::subscribe_instant(until.min(self.deadline));
        let mut all = ready.to_vec();
        all.push(&timer);
        all.extend(&writable);
        poll::poll(&all);
    }
}

impl Client for Wasi {
    fn answer(&self, outgoing: Outgoing) {
        let mut out = self.shared.out.borrow_mut();
        let length = outgoing.body.len();
        // A body that is not there has no length to be told: 304 says that of another.
        let length = (outgoing.status != 304).then_some(length);
        out.open(outgoing.status, &outgoing.headers, length);
        out.push(outgoing.body);
        out.end();
        let _ = out.step();
    }

    fn open(&self, status: u16, headers: Vec<(&'static str, String)>) {
        self.shared.out.borrow_mut().open(status, &headers, None);
    }

    fn push(&self, piece: Vec<u8>) {
        let mut out = self.shared.out.borrow_mut();
        out.push(piece);
        let _ = out.step();
        out.bound();
    }

    fn close(&self) {
        let mut out = self.shared.out.borrow_mut();
        out.end();
        let _ = out.step();
    }

    fn is_gone(&self) -> bool {
        self.shared.out.borrow_mut().is_gone()
    }
}

impl Ports for Wasi {
    fn send(&self, asked: &Asked) -> Result<Answer, WebError> {
        self.http.send(asked)
    }

    fn pause(&self, milliseconds: u64) -> bool {
        let time = milliseconds.saturating_mul(MILLISECOND);
        let until = monotonic_clock::now().saturating_add(time);
        if until >= self.shared.deadline {
            return false;
        }
        while monotonic_clock::now() < until {
            self.shared.wait(&[], until);
        }
        true
    }
}

impl Clock for Wasi {
    fn now(&self) -> u64 {
        let now = wall_clock::now();
        let milliseconds = u64::from(now.nanoseconds) / MILLISECOND;
        now.seconds
            .saturating_mul(1000)
            .saturating_add(milliseconds)
    }

    fn left(&self) -> u64 {
        let left = self.shared.deadline.saturating_sub(monotonic_clock::now());
        left / MILLISECOND
    }

    fn random(&self) -> [u8; 16] {
        let mut bytes = [0; 16];
        let random = random::get_random_bytes(16);
        for (to, from) in bytes.iter_mut().zip(random) {
            *to = from;
        }
        bytes
    }
}

impl Store for Wasi {
    fn get(&self, bucket: &str, keys: &[String]) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        let found = batch::get_many(&*self.bucket(bucket)?, keys).map_err(refused)?;
        let mut found = found.into_iter();
        let value = |_| found.next().flatten().map(|(_, value)| value);
        Ok(keys.iter().map(value).collect())
    }

    fn set(&self, bucket: &str, rows: Vec<(String, Vec<u8>)>) -> Result<(), StoreError> {
        batch::set_many(&*self.bucket(bucket)?, &rows).map_err(refused)
    }

    fn delete(&self, bucket: &str, keys: &[String]) -> Result<(), StoreError> {
        batch::delete_many(&*self.bucket(bucket)?, keys).map_err(refused)
    }

    fn keys(&self, bucket: &str, most: usize) -> Result<Vec<String>, StoreError> {
        let bucket = self.bucket(bucket)?;
        let most = most.min(MOST_KEYS);
        let (mut keys, mut cursor) = (Vec::new(), None);
        loop {
            let page = bucket.list_keys(cursor).map_err(refused)?;
            keys.extend(page.keys);
            cursor = page.cursor;
            if cursor.is_none() || keys.len() >= most {
                return Ok(keys);
            }
        }
    }

    fn increment(&self, bucket: &str, key: &str) -> Result<u64, StoreError> {
        atomics::increment(&*self.bucket(bucket)?, key, 1).map_err(refused)
    }
}

fn refused(error: Error) -> StoreError {
    match error {
        Error::Other(_) => StoreError::Full,
        Error::NoSuchStore | Error::AccessDenied => StoreError::Broken,
    }
}

impl Proofs for Wasi {
    fn start(&self) -> String {
        let key = attestation::identity().public_key;
        let start = const_hex::encode(digest(&[&key]));
        start.get(..32).unwrap_or_default().to_owned()
    }

    fn is_attested(&self) -> bool {
        attestation::identity().backend != "none"
    }

    fn card_key(&self) -> Result<Vec<u8>, Unproved> {
        let key = SigningKey::named(CARD_KEY).map_err(|_| Unproved::Failed)?;
        Ok(key.public_key())
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Unproved> {
        let key = SigningKey::named(CARD_KEY).map_err(|_| Unproved::Failed)?;
        key.sign(message).map_err(|_| Unproved::Failed)
    }

    fn evidence(&self, claim: &[u8; 64]) -> Result<Vec<u8>, Unproved> {
        attestation::evidence(claim).map_err(|error| match error {
            AttestationError::Unavailable(why) => Unproved::Unavailable(why),
            AttestationError::Busy => Unproved::Busy,
            AttestationError::ClaimTooLong(_) | AttestationError::InternalError(_) => {
                Unproved::Failed
            }
        })
    }
}

impl World for Wasi {
    type Call = WasiCall;

    fn call(&self, asked: Asked) -> Result<WasiCall, WebError> {
        let request = http::prepared(&asked)?;
        let body = match asked.body {
            Some(bytes) => Some((request.body().map_err(|()| WebError::Invalid)?, bytes)),
            None => None,
        };
        let coming = outgoing_handler::handle(request, None);
        let coming = coming.map_err(|error| http::classify(&error))?;
        Ok(WasiCall {
            shared: Rc::clone(&self.shared),
            stream: None,
            body: None,
            response: None,
            coming,
            sending: Sending::new(body)?,
        })
    }
}

/// A call that is under way.
pub struct WasiCall {
    shared: Rc<Shared>,
    sending: Sending<Vec<u8>>,
    // Each belongs to the one behind it: fields drop in this order.
    stream: Option<InputStream>,
    body: Option<IncomingBody>,
    response: Option<IncomingResponse>,
    coming: FutureIncomingResponse,
}

impl WasiCall {
    /// What is there already; otherwise what to wait for.
    fn ready(&mut self) -> Result<Step, Pollable> {
        if let Some(stream) = &self.stream {
            return match stream.read(PIECE) {
                Ok(piece) if piece.is_empty() => Err(stream.subscribe()),
                Ok(piece) => Ok(Step::Piece(piece)),
                Err(StreamError::Closed) => Ok(Step::End),
                Err(StreamError::LastOperationFailed(_)) => Ok(Step::Failed(WebError::Broken)),
            };
        }
        match self.coming.get() {
            None => Err(self.coming.subscribe()),
            Some(Ok(Ok(response))) => {
                let fields = Fields::new(response.headers().entries());
                let status = response.status();
                let body = response.consume();
                let stream = body.as_ref().ok().and_then(|body| body.stream().ok());
                let (Ok(body), Some(stream)) = (body, stream) else {
                    return Ok(Step::Failed(WebError::Broken));
                };
                self.stream = Some(stream);
                self.body = Some(body);
                self.response = Some(response);
                Ok(Step::Head(status, fields))
            }
            Some(Ok(Err(error))) => Ok(Step::Failed(http::classify(&error))),
            Some(Err(())) => Ok(Step::Failed(WebError::Broken)),
        }
    }
}

impl Call for WasiCall {
    fn next(&mut self, milliseconds: u64) -> Step {
        let time = milliseconds.saturating_mul(MILLISECOND);
        let until = monotonic_clock::now().saturating_add(time);
        loop {
            let movable = self.sending.step();
            let ready = match self.ready() {
                Ok(step) => return step,
                Err(ready) => ready,
            };
            if monotonic_clock::now() >= until.min(self.shared.deadline) {
                return Step::Waiting;
            }
            let mut all = vec![&ready];
            all.extend(&movable);
            self.shared.wait(&all, until);
        }
    }
}
