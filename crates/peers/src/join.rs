//! How a host that starts comes to the fleet's key.

use std::sync::Arc;
use std::time::Duration;

use hypervisor_attestation::{Attestation, now};
use hypervisor_evidence::Peer;
use hypervisor_fleet::{Address, connections};
use hypervisor_protocol::{PrivateKey, SessionId};
use hypervisor_store::{Error as RowError, Ring, SealingKey};
use tokio::time::Instant;

use crate::ask::{Asking, CONNECT, Failed};
use crate::error::{Error, Refused};
use crate::judge::{Judge, evidence};
use crate::member::Member;
use crate::message::NONCE;
use crate::rotation::{Phase, Rotations};
use crate::rows::{KeyRow, Rows, Vault};
use crate::terms::Terms;

/// Time within which a member has to give the key.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);
/// Time between two looks at who is there.
const LOOK: Duration = Duration::from_millis(200);
/// Whoever made the key has so many microseconds to say where it is.
const SETTLING: u64 = 5_000_000;
/// Members that are asked in one round, and whose words are in an error.
pub(crate) const MOST_ASKED: usize = 16;
const MOST_NAMED: usize = 4;

/// A host that wants the key.
pub struct Joining<'a> {
    /// The fleet's database.
    pub rows: Rows,
    /// By what hosts judge each other.
    pub terms: &'a Terms,
    /// What makes this host's evidence.
    pub attestation: &'a Attestation,
    /// The platform's sealing key, where it gives one.
    pub platform: Option<&'a SealingKey>,
    /// Where others reach this host. Members on sockets are asked by those alone that have one: the database must not have a host
    /// speak to programs of its machine.
    pub own: Option<&'a Address>,
}

/// Where a host has the key from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Origin {
    /// It made it: the database was empty.
    Made,
    /// A member gave it.
    Given,
    /// It, or a host like it, had sealed it to the platform.
    Unsealed,
}

impl Joining<'_> {
    /// Comes to the key, by itself or from a member, and can give it to others from then on.
    ///
    /// # Errors
    /// [`Error`]: each says what an operator can do.
    pub async fn join(&self) -> Result<Member, Error> {
        let began = Instant::now();
        let platform = self.platform;
        let vault = platform.map(|key| Vault::of(&self.rows, key, self.terms.sha256()));
        let vault = vault.transpose()?;
        let (ring, origin) = self.keys(vault.as_ref()).await?;
        let took = began.elapsed();
        tracing::info!(?origin, ?took, "this host has the key of its fleet");
        let place = (vault, self.own.cloned());
        Member::new(ring, self.rows.clone(), self.terms, place)
    }

    async fn keys(&self, vault: Option<&Vault>) -> Result<(Arc<Ring>, Origin), Error> {
        let judge = self.terms.judge()?;
        let connections = connections(CONNECT);
        let ends = Instant::now() + PATIENCE;
        let mut last = "no member was there".to_owned();
        // Members that refused, by where they are: another answer would take another host.
        let mut refused: Vec<(Address, String)> = Vec::new();
        loop {
            let Some(row) = self.rows.key()? else {
                self.is_fit(&judge).await?;
                let ring = Ring::new()?;
                if self.rows.begin(&ring)? {
                    keep(vault, &ring);
                    return Ok((Arc::new(ring), Origin::Made));
                }
                continue;
            };
            let members: Vec<_> = (self.rows.members(row.id)?.into_iter())
                .filter(|member| reaches(self.own, member))
                .take(MOST_ASKED)
                .collect();
            if members.is_empty() && row.age > SETTLING {
                return self.alone(&judge, &row, vault).await;
            }
            for member in &members {
                if refused.iter().any(|(by, _)| by == member) {
                    continue;
                }
                let asking = Asking {
                    attestation: self.attestation,
                    judge: &judge,
                    connections: &connections,
                };
                match tokio::time::timeout_at(ends, asking.keys_of(member, None)).await {
                    Ok(Ok(ring)) => {
                        let ring = Arc::new(ring);
                        if self.given(&ring, &row)? {
                            keep(vault, &ring);
                            return Ok((ring, Origin::Given));
                        }
                        // It stood still while others changed the key, who may be gone: this host may have been one of them.
                        match self.alone(&judge, &row, vault).await {
                            Err(Error::Lost(_)) => {}
                            done => return done,
                        }
                        last = format!("{member}: its keys are older than the rows");
                    }
                    Ok(Err(Failed::Refused(why))) => {
                        let why = format!("{member}: {why}");
                        tracing::error!(why, "a member of the fleet");
                        refused.push((member.clone(), why));
                    }
                    Ok(Err(Failed::Now(why))) => last = format!("{member}: {why}"),
                    Err(_) => last = format!("{member}: no answer"),
                }
            }
            let has_refused = |member| refused.iter().any(|(by, _)| by == member);
            if !members.is_empty() && members.iter().all(has_refused) {
                let words = refused.iter().take(MOST_NAMED).map(|(_, why)| why.as_str());
                return Err(Error::Refused(words.collect::<Vec<_>>().join("; ")));
            }
            if Instant::now() >= ends {
                return Err(Error::Unanswered(PATIENCE.as_secs(), last));
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Whether what a member gave is enough; it has to be what the database calls it.
    fn given(&self, ring: &Arc<Ring>, row: &KeyRow) -> Result<bool, Error> {
        if ring.id() != row.id {
            return Err(Error::OtherKey {
                said: const_hex::encode(row.id),
                has: const_hex::encode(ring.id()),
            });
        }
        self.is_enough(ring)
    }

    /// Nobody is there: only what was sealed to the platform is left.
    async fn alone(
        &self,
        judge: &Judge,
        row: &KeyRow,
        vault: Option<&Vault>,
    ) -> Result<(Arc<Ring>, Origin), Error> {
        let lost = || Error::Lost(const_hex::encode(row.id));
        let ring = vault.ok_or_else(lost)?.open(row.id)?.ok_or_else(lost)?;
        let ring = Arc::new(ring);
        // The key may have changed while the hosts of this platform were down.
        if !self.is_enough(&ring)? {
            return Err(lost());
        }
        // Its configuration may have changed since.
        self.is_fit(judge).await?;
        Ok((ring, Origin::Unsealed))
    }

    /// Whether what is written now can be read by these keys.
    fn is_enough(&self, ring: &Arc<Ring>) -> Result<bool, Error> {
        match Rotations::of(&self.rows, ring)?.read() {
            Ok(None) => Ok(true),
            Ok(Some((it, _))) => Ok(it.phase == Phase::Offered || ring.has(it.to())),
            Err(RowError::UnknownKey(..)) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Whether this host's own evidence passes the policy. Whoever has the key judges others, so that the first is judged by itself.
    async fn is_fit(&self, judge: &Judge) -> Result<(), Error> {
        let [own, other] = [PrivateKey::try_generate()?, PrivateKey::try_generate()?];
        let end = Peer {
            joins: true,
            own_public_key: own.public_key().clone(),
            exchange: SessionId::new(),
            other_public_key: other.public_key().clone(),
        };
        let mut nonce = [0; NONCE];
        getrandom::fill(&mut nonce).map_err(|_| hypervisor_protocol::Error::Random)?;
        let made_at = now();
        let evidence = evidence(self.attestation, end.clone(), nonce).await;
        let evidence = evidence.map_err(|error| Error::NoEvidence(error.to_string()))?;
        let judge = judge.clone();
        let judged =
            tokio::task::spawn_blocking(move || judge.judge(&end, (nonce, made_at), &evidence));
        let judged = judged.await.map_err(|error| {
            Error::Unfit(Refused {
                check: "evidence".to_owned(),
                reason: error.to_string(),
            })
        })?;
        judged.map_err(Error::Unfit)
    }
}

/// Keeps the keys on a platform that gives a key to seal with. Without it the fleet is only as good as its members live.
pub(crate) fn keep(vault: Option<&Vault>, ring: &Ring) {
    let Some(vault) = vault else {
        return tracing::warn!(
            "the platform gives no sealing key: when all hosts of the fleet are down at once, its key is lost"
        );
    };
    if let Err(error) = vault.keep(ring) {
        tracing::warn!(%error, "the fleet's key is not sealed to this platform");
    }
}

/// Whether a host that others reach at `own` asks a member at this address.
pub(crate) fn reaches(own: Option<&Address>, member: &Address) -> bool {
    let is_socket = |address: &Address| matches!(address, Address::Unix(_));
    own != Some(member) && (!is_socket(member) || own.is_some_and(is_socket))
}
