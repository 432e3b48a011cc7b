//! Asking a member, over HTTP/1.1: its address is what the database says, so nothing that it answers is believed.

use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, header};
use http_body_util::{BodyExt, Full, Limited};
use hypervisor_attestation::{Attestation, now};
use hypervisor_evidence::Peer;
use hypervisor_fleet::{Address, Connections};
use hypervisor_protocol::fleet_key::Exchange;
use hypervisor_protocol::{HexArray, HexBytes, PrivateKey};
use hypervisor_store::{KeyId, Ring};

use crate::error::Refused;
use crate::judge::{Judge, evidence};
use crate::message::{self, Answer, Challenge, MOST_BYTES, NONCE, Proof};

/// Where a member answers.
const PATH: &str = "/fleet/join";
/// Time for a member to take a connection.
pub(crate) const CONNECT: Duration = Duration::from_secs(2);
/// Time to begin an exchange.
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
    pub(crate) connections: &'a Connections,
}

impl Asking<'_> {
    /// Has a member give its keys, this one among them where one is named.
    pub(crate) async fn keys_of(
        &self,
        member: &Address,
        wanted: Option<KeyId>,
    ) -> Result<Ring, Failed> {
        let challenge = (self.ask(member, (Method::GET, Vec::new()), CHALLENGE)).await?;
        let challenge: Challenge = message::decode(&challenge).map_err(no_member)?;
        // Before anybody makes a quote for it.
        if wanted.is_some_and(|wanted| !challenge.keys.contains(&HexArray(wanted))) {
            return Err(Failed::Now("it does not have the key either".to_owned()));
        }
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
        let answer = (self.ask(member, (Method::POST, message::encode(&proof)), ANSWER)).await?;
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
            .map_err(|why| {
                let why = message::plain(&why.to_string());
                Failed::Refused(format!("this host refuses it: {why}"))
            })?;
        let sealing = Exchange {
            joiner: own.public_key(),
            member: &member_key,
            id: challenge.exchange,
            policy: self.judge.policy(),
        };
        let refused = |error: &dyn std::fmt::Display| Failed::Refused(error.to_string());
        let keys = sealing
            .open(&own, &sealed)
            .map_err(|error| refused(&error))?;
        let ring = Ring::read(&keys).map_err(|error| refused(&error))?;
        ring.ok_or_else(|| refused(&"what it gave is not a set of keys"))
    }

    /// Has members give their keys, this one among them, one after the other until one does.
    pub(crate) async fn keys_of_any(
        &self,
        members: &[Address],
        wanted: KeyId,
    ) -> Result<Ring, Failed> {
        let mut last = Failed::Now("no member was there".to_owned());
        for member in members {
            last = match self.keys_of(member, Some(wanted)).await {
                Ok(ring) if ring.has(wanted) => return Ok(ring),
                Ok(_) => Failed::Now(format!("{member}: it has other keys")),
                Err(Failed::Now(why)) => Failed::Now(format!("{member}: {why}")),
                Err(Failed::Refused(why)) => Failed::Refused(format!("{member}: {why}")),
            };
        }
        Err(last)
    }

    /// One request, and its answer within a time.
    async fn ask(
        &self,
        member: &Address,
        (method, body): (Method, Vec<u8>),
        patience: Duration,
    ) -> Result<Bytes, Failed> {
        let failed = |error: &dyn std::fmt::Display| Failed::Now(error.to_string());
        let authority = member.authority();
        let authority = authority.ok_or_else(|| Failed::Now("it is at no address".to_owned()))?;
        let request = Request::builder()
            .method(method)
            .uri(format!("http://{authority}{PATH}"))
            .header(header::HOST, "member")
            .header(header::CONTENT_TYPE, "application/cbor")
            .body(Full::new(Bytes::from(body)))
            .map_err(|error| failed(&error))?;
        let asked = async {
            let answer = self.connections.request(request).await;
            let answer = answer.map_err(|error| match error.is_connect() {
                true => Failed::Now("it takes no connection".to_owned()),
                false => failed(&error),
            })?;
            if !answer.status().is_success() {
                return Err(Failed::Now(format!("it answers {}", answer.status())));
            }
            let collected = Limited::new(answer.into_body(), MOST_BYTES).collect().await;
            let collected = collected.map_err(|error| failed(&error))?;
            Ok(collected.to_bytes())
        };
        let asked = tokio::time::timeout(patience, asked).await;
        asked.map_err(|_| Failed::Now(format!("no answer within {} s", patience.as_secs())))?
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
