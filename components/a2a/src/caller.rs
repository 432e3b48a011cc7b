//! Who asks. What callers may see of each other is decided here: tasks, contexts and messages are kept under the digest of who owns them.

use front::fields::Fields;
use front::origin::CALLER;
use sha2::{Digest, Sha256};

/// Somebody who asks.
#[derive(Clone, PartialEq, Eq)]
pub enum Caller {
    /// One who proved something, or holds a secret.
    Known([u8; 32]),
    /// Anybody: what it knows is all that it has.
    Anonymous,
}

impl Caller {
    /// The one who sent a request.
    pub fn of(fields: &Fields) -> Self {
        if let Some(caller) = fields.first(CALLER)
            && let Some(owner) = caller.strip_prefix("owner=")
        {
            return Self::Known(digest(&[b"owner", owner.as_bytes()]));
        }
        let bearer = fields.first("authorization").and_then(|value| {
            let (scheme, token) = value.split_once(' ')?;
            let token = token.trim();
            (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
        });
        match bearer {
            Some(token) => Self::Known(digest(&[b"bearer", token.as_bytes()])),
            None => Self::Anonymous,
        }
    }

    /// Whose tasks at this agent, as a text.
    pub fn owner(&self, agent: &str) -> String {
        let who: &[u8] = match self {
            Self::Known(digest) => digest,
            Self::Anonymous => b"",
        };
        const_hex::encode(digest(&[who, agent.as_bytes()]))
    }

    /// Whether it is known.
    pub fn is_known(&self) -> bool {
        matches!(self, Self::Known(_))
    }
}

/// A digest over parts, each with its length before it, so that no two lists of parts have the same.
pub fn digest(parts: &[&[u8]]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner(headers: &[(&str, &str)]) -> String {
        Caller::of(&Fields::of(headers)).owner("a.operator")
    }

    #[test]
    fn a_caller_is_who_sealed_the_request_or_holds_a_token() {
        let anonymous = owner(&[]);
        let sealed = owner(&[(CALLER, "owner=00ff")]);
        let bearer = owner(&[("authorization", "Bearer secret")]);
        assert!(anonymous != sealed && sealed != bearer && bearer != anonymous);
        assert_eq!(bearer, owner(&[("authorization", "bearer  secret")]));
        assert_ne!(bearer, owner(&[("authorization", "Bearer other")]));
        assert_eq!(anonymous, owner(&[(CALLER, "anonymous")]));
        assert_eq!(anonymous, owner(&[("authorization", "Basic secret")]));
        assert_eq!(anonymous, owner(&[("authorization", "Bearer ")]));
        // Who proved to be an owner is that owner, whatever token comes along.
        let both = [(CALLER, "owner=00ff"), ("authorization", "Bearer secret")];
        assert_eq!(sealed, owner(&both));
    }

    #[test]
    fn a_token_is_not_an_owner_and_one_agent_not_another() {
        let token = Caller::of(&Fields::of(&[("authorization", "Bearer 00ff")]));
        let owner = Caller::of(&Fields::of(&[(CALLER, "owner=00ff")]));
        assert_ne!(token.owner("a.operator"), owner.owner("a.operator"));
        assert_ne!(token.owner("a.operator"), token.owner("b.operator"));
    }

    #[test]
    fn lists_of_parts_differ_wherever_they_are_divided() {
        assert_ne!(digest(&[b"ab", b"c"]), digest(&[b"a", b"bc"]));
        assert_ne!(digest(&[b"a"]), digest(&[b"a", b""]));
    }
}
