//! A facilitator that misbehaves as it is told: on its own, or in front of a real one whose work it may let happen.

mod fault;
mod server;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use serde_json::Value;
use tokio::net::TcpSocket;
use tokio::sync::watch;
use tokio::task::JoinHandle;

pub use fault::{Fault, Reply, lies};

use super::sign::Payment;

/// A call that a facilitator answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// `POST /verify`.
    Verify,
    /// `POST /settle`.
    Settle,
}

/// A facilitator on a free loopback port; ended when dropped.
pub struct Facilitator {
    address: SocketAddr,
    shared: Arc<Shared>,
    serving: Option<JoinHandle<()>>,
    // Bound and never listening: keeps the port from others while this facilitator is down.
    _reserved: TcpSocket,
}

/// What the server and the test both see.
struct Shared {
    real: Option<String>,
    http: reqwest::Client,
    verify: Mutex<Desk>,
    settle: Mutex<Desk>,
    /// `authorization` of every call.
    authorizations: Mutex<Vec<Option<String>>>,
    counts: watch::Sender<Counts>,
    released: watch::Sender<bool>,
}

/// What is to happen with one kind of call, and what came.
#[derive(Default)]
struct Desk {
    /// Each for any payment, or for the one of this nonce.
    next: VecDeque<(Option<String>, Fault)>,
    usual: Fault,
    received: Vec<Value>,
}

#[derive(Clone, Copy, Default)]
struct Counts {
    verify: usize,
    settle: usize,
    held: usize,
}

impl Facilitator {
    /// Starts one that does no wrong yet. Without the URL of a real one it says yes to everything and moves no money.
    pub async fn start(real: Option<&str>) -> Self {
        crate::prepare_tls();
        let reserved = bind("127.0.0.1:0".parse().unwrap());
        let mut facilitator = Self {
            address: reserved.local_addr().unwrap(),
            shared: Arc::new(Shared {
                real: real.map(str::to_owned),
                http: reqwest::Client::new(),
                verify: Mutex::default(),
                settle: Mutex::default(),
                authorizations: Mutex::default(),
                counts: watch::Sender::default(),
                released: watch::Sender::default(),
            }),
            serving: None,
            _reserved: reserved,
        };
        facilitator.restart().await;
        facilitator
    }

    /// Starts one that is down; [`Facilitator::restart`] brings it up.
    pub async fn down(real: Option<&str>) -> Self {
        let mut facilitator = Self::start(real).await;
        facilitator.stop().await;
        facilitator
    }

    /// Its address, the same whether it is up or down.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Goes down: the port refuses connections, and those that are open are cut.
    pub async fn stop(&mut self) {
        if let Some(serving) = self.serving.take() {
            serving.abort();
            // Ends with the error that says so.
            let _ = serving.await;
        }
    }

    /// Comes up again at the same address.
    pub async fn restart(&mut self) {
        self.stop().await;
        let listener = bind(self.address).listen(128).unwrap();
        self.serving = Some(tokio::spawn(server::serve(listener, self.shared.clone())));
    }

    /// From now on, what happens with `/verify`.
    pub fn on_verify(&self, fault: Fault) {
        self.desk(Call::Verify).usual = fault;
    }

    /// From now on, what happens with `/settle`.
    pub fn on_settle(&self, fault: Fault) {
        self.desk(Call::Settle).usual = fault;
    }

    /// What happens with the next `/verify` that nothing is planned for, once.
    pub fn next_verify(&self, fault: Fault) {
        self.desk(Call::Verify).next.push_back((None, fault));
    }

    /// What happens with the next `/settle` that nothing is planned for, once.
    pub fn next_settle(&self, fault: Fault) {
        self.desk(Call::Settle).next.push_back((None, fault));
    }

    /// What happens with the next `/settle` of this payment, once.
    pub fn next_settle_of(&self, payment: &Payment, fault: Fault) {
        let nonce = const_hex::encode_prefixed(payment.authorization.nonce);
        self.desk(Call::Settle).next.push_back((Some(nonce), fault));
    }

    /// How often `/verify` was called.
    pub fn verify_calls(&self) -> usize {
        self.shared.counts.borrow().verify
    }

    /// How often `/settle` was called.
    pub fn settle_calls(&self) -> usize {
        self.shared.counts.borrow().settle
    }

    /// The bodies of all calls of one kind, in order; `null` for one that was not JSON.
    pub fn received(&self, call: Call) -> Vec<Value> {
        self.desk(call).received.clone()
    }

    /// The field `authorization` of every call, in order.
    pub fn authorizations(&self) -> Vec<Option<String>> {
        self.shared.authorizations.lock().unwrap().clone()
    }

    /// Waits until `/verify` was called so often.
    pub async fn verify_arrived(&self, times: usize) {
        self.until(|counts| counts.verify >= times).await;
    }

    /// Waits until `/settle` was called so often.
    pub async fn settle_arrived(&self, times: usize) {
        self.until(|counts| counts.settle >= times).await;
    }

    /// Waits until so many calls were held: what the real facilitator had to do for them is done, and no answer is
    /// given yet.
    pub async fn held(&self, calls: usize) {
        self.until(|counts| counts.held >= calls).await;
    }

    /// Lets all calls go that are held or trickle, now and later.
    pub fn release(&self) {
        self.shared.released.send_replace(true);
    }

    async fn until(&self, enough: impl FnMut(&Counts) -> bool) {
        let mut counts = self.shared.counts.subscribe();
        let mut enough = enough;
        counts.wait_for(|counts| enough(counts)).await.unwrap();
    }

    fn desk(&self, call: Call) -> std::sync::MutexGuard<'_, Desk> {
        self.shared.desk(call)
    }
}

impl Drop for Facilitator {
    fn drop(&mut self) {
        if let Some(serving) = &self.serving {
            serving.abort();
        }
    }
}

impl Shared {
    fn desk(&self, call: Call) -> std::sync::MutexGuard<'_, Desk> {
        match call {
            Call::Verify => &self.verify,
            Call::Settle => &self.settle,
        }
        .lock()
        .unwrap()
    }

    /// Notes a call and says what is to happen with it.
    fn arrived(&self, call: Call, request: Value) -> Fault {
        let mut desk = self.desk(call);
        let nonce = request.pointer("/paymentPayload/payload/authorization/nonce");
        let nonce = nonce.and_then(Value::as_str).map(str::to_owned);
        let is_meant = |(of, _): &(Option<String>, Fault)| of.is_none() || *of == nonce;
        let planned = desk.next.iter().position(is_meant);
        let planned = planned.and_then(|index| desk.next.remove(index));
        let fault = planned.map_or_else(|| desk.usual.clone(), |(_, fault)| fault);
        desk.received.push(request);
        drop(desk);
        self.counts.send_modify(|counts| match call {
            Call::Verify => counts.verify += 1,
            Call::Settle => counts.settle += 1,
        });
        fault
    }

    async fn gate(&self) {
        let mut released = self.released.subscribe();
        released.wait_for(|released| *released).await.unwrap();
    }
}

fn bind(address: SocketAddr) -> TcpSocket {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_reuseaddr(true).unwrap();
    socket.bind(address).unwrap();
    socket
}
