//! Who proves to hold the account that paid gets again what it was for, without the payment.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::error::Error;
use crate::ledger::Ledger;
use crate::record::{Request, buyer, digest};

/// That whoever sent a request holds accounts that pay.
#[derive(Debug, Clone)]
pub struct Proof {
    /// Chains and payers, all of them one holder's.
    pub accounts: Vec<(String, String)>,
    /// What makes it the only one of its holder's.
    pub nonce: String,
    /// When it was made, Unix seconds.
    pub issued: u64,
    /// From when on it proves nothing, Unix seconds.
    pub expires: u64,
}

/// Proofs of one holder that are remembered at once: until some expire, no more are taken.
const MOST: usize = 64;

/// The proofs that were taken, for as long as they would prove anything.
pub(crate) struct Taken {
    /// What was taken before is not known, Unix seconds.
    since: u64,
    by_holder: Mutex<HashMap<[u8; 32], Vec<One>>>,
}

/// A proof, and from when on it proves nothing.
type One = ([u8; 32], u64);

impl Taken {
    pub(crate) fn new() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        Self {
            since: since.map_or(u64::MAX, |since| since.as_secs()),
            by_holder: Mutex::default(),
        }
    }

    /// Takes a proof; false where it was taken before, or may have been.
    fn take(&self, payer: &str, proof: &Proof, now: u64) -> bool {
        let mut by_holder = (self.by_holder.lock()).unwrap_or_else(PoisonError::into_inner);
        by_holder.retain(|_, taken| {
            taken.retain(|(_, expires)| *expires > now);
            !taken.is_empty()
        });
        let taken = by_holder.entry(digest(&[payer])).or_default();
        let this = digest(&[&proof.nonce]);
        let is_known = taken.iter().any(|(known, _)| *known == this);
        let is_good = proof.issued >= self.since && !is_known && taken.len() < MOST;
        if is_good {
            taken.push((this, proof.expires));
        }
        is_good
    }
}

impl Ledger {
    /// What a request is to be claimed as whose sender proves to hold the account that paid for the same one; none where none of the
    /// accounts did. Each proof is taken once, and only where something was paid for, so that nothing is kept of strangers' proofs.
    ///
    /// # Errors
    /// [`Error`].
    pub fn signed_in(
        &self,
        request: &Request,
        proof: &Proof,
        now: u64,
    ) -> Result<Option<Request>, Error> {
        let store = &self.shared.store;
        let mut bought = None;
        for (chain, payer) in &proof.accounts {
            let name = buyer((chain, payer), &request.digest);
            if store.named(&name)?.is_some() {
                bought = Some((name, payer));
                break;
            }
        }
        let Some((name, payer)) = bought else {
            return Ok(None);
        };
        let is_taken = match &store.member {
            // Whichever node it was sent to.
            Some(_) => {
                let this = (&digest(&[payer]), &digest(&[&proof.nonce]));
                proof.expires > now && store.take_proof(this, (now, proof.expires), MOST)?
            }
            None => self.shared.taken.take(payer, proof, now),
        };
        Ok(is_taken.then_some(Request {
            name: Some(name),
            ..*request
        }))
    }
}
