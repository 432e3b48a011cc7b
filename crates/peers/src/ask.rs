//! Asking a member, over HTTP/1.1: its address is what the database says, so nothing that it answers is believed.

use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use hypervisor_attestation::{Attestation, now};
use hypervisor_evidence::Peer;
use hypervisor_fleet::Address;
use hypervisor_protocol::fleet_key::Exchange;
use hypervisor_protocol::{HexArray, HexBytes, PrivateKey};
use hypervisor_store::SealingKey;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

use crate::error::Refused;
use crate::judge::{Judge, evidence};
use crate::message::{self, Answer, Challenge, MOST_BYTES, NONCE, Proof};

/// Where a member answers.
const PATH: &str = "/fleet/join";
/// Time for a member to take a connection, and to begin an exchange.
const CONNECT: Duration = Duration::from_secs(2);
const CHALLENGE: Duration = Duration::from_secs(5);
/// Time for its answer, which waits for a quote.
const ANSWER: Duration = Duration::from_secs(30);

/// Why a member gave no key.
#[derive(Debug)]
pub(crate) enum Failed {
    /// It may be asked again.
    Now(String),
    /// It refuses this host, or this host refuses it.
    Refused(String),
}

/// What a host asks with.
pub(crate) struct Asking<'a> {
    pub(crate) attestation: &'a Attestation,
    pub(crate) judge: &'a Judge,
}

impl Asking<'_> {
    /// Has a member give the key.
    pub(crate) async fn key_of(&self, member: &Address) -> Result<SealingKey, Failed> {
        let challenge = exchange(member, Method::GET, Vec::new(), CHALLENGE).await?;
        let challenge: Challenge = message::decode(&challenge).map_err(no_member)?;
        let member_key = message::key(&challenge.public_key).map_err(no_member)?;
        // Fresh for each member, so that nothing of one exchange is of use in another.
        let own = PrivateKey::try_generate().map_err(|error| Failed::Now(error.to_string()))?;
        let end = |joins: bool| {
            let (mine, other) = (own.public_key(), &member_key);
            let (own, other) = if joins { (mine, other) } else { (other, mine) };
            Peer {
                joins,
                own_public_key: own.clone(),
                exchange: challenge.exchange,
                other_public_key: other.clone(),
            }
        };
        let proved = evidence(self.attestation, end(true), challenge.nonce.0).await;
        let proved = proved.map_err(|error| Failed::Now(error.to_string()))?;
        let (nonce, made_at) = (nonce()?, now());
        let proof = Proof {
            exchange: challenge.exchange,
            public_key: HexBytes(own.public_key().to_bytes().to_vec()),
            nonce: HexArray(nonce),
            evidence: HexBytes(proved),
        };
        let answer = exchange(member, Method::POST, message::encode(&proof), ANSWER).await?;
        let (evidence, sealed) = match message::decode(&answer).map_err(no_member)? {
            Answer::Given { evidence, sealed } => (evidence.0, sealed.0),
            Answer::Busy => return Err(Failed::Now("it judges others now".to_owned())),
            Answer::Refused { check, reason } => {
                let (check, reason) = (message::plain(&check), message::plain(&reason));
                return Err(Failed::Refused(format!(
                    "it refuses this host: {}",
                    Refused { check, reason }
                )));
            }
        };
        let (judge, its) = (self.judge.clone(), end(false));
        let judged =
            tokio::task::spawn_blocking(move || judge.judge(&its, (nonce, made_at), &evidence));
        judged
            .await
            .map_err(|error| Failed::Now(error.to_string()))?
            .map_err(|why| Failed::Refused(format!("this host refuses it: {why}")))?;
        let sealing = Exchange {
            joiner: own.public_key(),
            member: &member_key,
            id: challenge.exchange,
            policy: self.judge.policy(),
        };
        let key = sealing.open(&own, &sealed);
        key.map(SealingKey::new)
            .map_err(|error| Failed::Refused(error.to_string()))
    }
}

fn no_member(refused: Refused) -> Failed {
    Failed::Now(format!("no answer of a member: {}", refused.reason))
}

fn nonce() -> Result<[u8; NONCE], Failed> {
    let mut nonce = [0; NONCE];
    getrandom::fill(&mut nonce).map_err(|error| Failed::Now(error.to_string()))?;
    Ok(nonce)
}

/// One request, on a connection of its own.
async fn exchange(
    member: &Address,
    method: Method,
    body: Vec<u8>,
    patience: Duration,
) -> Result<Bytes, Failed> {
    let asked = async {
        match member {
            Address::Tcp(address) => {
                let stream = within(CONNECT, TcpStream::connect(address)).await?;
                request(stream, method, body).await
            }
            Address::Unix(path) => {
                let stream = within(CONNECT, UnixStream::connect(path)).await?;
                request(stream, method, body).await
            }
        }
    };
    let asked = tokio::time::timeout(patience, asked).await;
    asked.map_err(|_| Failed::Now(format!("no answer within {} s", patience.as_secs())))?
}

async fn within<T>(
    patience: Duration,
    connecting: impl Future<Output = std::io::Result<T>>,
) -> Result<T, Failed> {
    match tokio::time::timeout(patience, connecting).await {
        Ok(connected) => connected.map_err(|error| Failed::Now(error.to_string())),
        Err(_) => Err(Failed::Now("it takes no connection".to_owned())),
    }
}

async fn request<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    stream: S,
    method: Method,
    body: Vec<u8>,
) -> Result<Bytes, Failed> {
    let failed = |error: &dyn std::fmt::Display| Failed::Now(error.to_string());
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| failed(&error))?;
    // Ends with this exchange, whatever the other end does.
    let connection = Ending(tokio::spawn(async move {
        let _ = connection.await;
    }));
    let request = Request::builder()
        .method(method)
        .uri(PATH)
        .header(header::HOST, "member")
        .header(header::CONTENT_TYPE, "application/cbor")
        .body(Full::new(Bytes::from(body)))
        .map_err(|error| failed(&error))?;
    let answer = sender.send_request(request).await;
    let answer = answer.map_err(|error| failed(&error))?;
    if !answer.status().is_success() {
        return Err(Failed::Now(format!("it answers {}", answer.status())));
    }
    let collected = Limited::new(answer.into_body(), MOST_BYTES).collect().await;
    let collected = collected.map_err(|error| failed(&error))?;
    drop(connection);
    Ok(collected.to_bytes())
}

/// A task that ends when this is dropped.
struct Ending(tokio::task::JoinHandle<()>);

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.abort();
    }
}
