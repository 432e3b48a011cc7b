//! What an agent gives a client to carry from one request to the next. The client can read it and cannot change it: the front signs it, for
//! this agent, this client, this method and name, and for a while. So an agent, of which each request has a fresh instance, takes what it
//! gets back for its own.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::ports::Seals;

/// How long a client has to come back, in seconds.
const VALID_FOR: u64 = 3600;
/// The longest state, in bytes.
const LONGEST: usize = 16 * 1024;
const SIGNATURE: usize = 64;
const CONTEXT: &[u8] = b"hypervisor mcp request-state 1";

/// What a state is for, and nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bound<'a> {
    /// The agent's address.
    pub agent: &'a str,
    /// Who asks, where the host knows; otherwise empty.
    pub caller: &'a str,
    /// The method.
    pub method: &'a str,
    /// What it is about.
    pub name: &'a str,
}

impl Bound<'_> {
    /// What is signed: each part with its length ahead of it, so that no two states have the same.
    fn signed(&self, until: [u8; 8], state: &[u8]) -> Vec<u8> {
        let texts = [self.agent, self.caller, self.method, self.name].map(str::as_bytes);
        let mut message = Vec::new();
        for part in [CONTEXT, &until]
            .iter()
            .copied()
            .chain(texts)
            .chain([state])
        {
            let length = u64::try_from(part.len()).unwrap_or(u64::MAX);
            message.extend(length.to_be_bytes());
            message.extend(part);
        }
        message
    }
}

/// The state as a client carries it. An error says why there is none.
pub fn sealed(seals: &impl Seals, bound: &Bound<'_>, state: &str) -> Result<String, &'static str> {
    if state.len() > LONGEST {
        return Err("its state is longer than 16 KiB");
    }
    let until = seals.now().saturating_add(VALID_FOR).to_be_bytes();
    let signature = seals.sign(&bound.signed(until, state.as_bytes()));
    let signature = signature.filter(|it| it.len() == SIGNATURE);
    let signature = signature.ok_or("the host does not sign its state")?;
    let parts = [&signature, &until[..], state.as_bytes()];
    Ok(URL_SAFE_NO_PAD.encode(parts.concat()))
}

/// The state that a client brings, if it was given for this and not too long ago.
pub fn opened(seals: &impl Seals, bound: &Bound<'_>, text: &str) -> Option<String> {
    // Base64 of the longest takes less than twice its bytes.
    if text.len() > 2 * LONGEST {
        return None;
    }
    let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
    let (signature, rest) = bytes.split_at_checked(SIGNATURE)?;
    let (until, state) = rest.split_first_chunk::<8>()?;
    let is_valid = seals.is_signed(&bound.signed(*until, state), signature)
        && seals.now() < u64::from_be_bytes(*until);
    let state = std::str::from_utf8(state).ok()?;
    is_valid.then(|| state.to_owned())
}

#[cfg(test)]
mod tests {
    use front::ports::Answer;
    use front::world::World;
    use proptest::prelude::*;

    use super::*;
    use crate::tests::Desk;

    fn world() -> World {
        World::answering(|_, _| Answer::default())
    }

    const BOUND: Bound<'_> = Bound {
        agent: "a.operator",
        caller: "anonymous",
        method: "tools/call",
        name: "book",
    };

    #[test]
    fn what_comes_back_is_what_was_given() {
        let world = world();
        let signer = Desk::of(&world);
        let carried = sealed(&signer, &BOUND, "step 2").unwrap();
        assert_eq!(opened(&signer, &BOUND, &carried).as_deref(), Some("step 2"));
        assert!(sealed(&signer, &BOUND, &"a".repeat(LONGEST)).is_ok());
        assert!(sealed(&signer, &BOUND, &"a".repeat(LONGEST + 1)).is_err());
    }

    #[test]
    fn a_state_is_for_nobody_and_nothing_else_and_not_for_ever() {
        let world = world();
        let signer = Desk::of(&world);
        let carried = sealed(&signer, &BOUND, "step 2").unwrap();
        for other in [
            Bound {
                agent: "b.operator",
                ..BOUND
            },
            Bound {
                caller: "owner=1",
                ..BOUND
            },
            Bound {
                method: "prompts/get",
                ..BOUND
            },
            Bound {
                name: "pay",
                ..BOUND
            },
            // The same letters, otherwise divided.
            Bound {
                method: "tools/callb",
                name: "ook",
                ..BOUND
            },
        ] {
            assert_eq!(opened(&signer, &other, &carried), None, "{other:?}");
        }
        for changed in [
            format!("{carried}-TAMPERED"),
            carried.replace('A', "B"),
            String::new(),
        ] {
            assert_eq!(opened(&signer, &BOUND, &changed), None);
        }
        signer.now.set(VALID_FOR);
        assert_eq!(opened(&signer, &BOUND, &carried), None);
    }

    proptest! {
        #[test]
        fn any_text_is_no_state(text in "[A-Za-z0-9_-]{0,200}") {
            let world = world();
            prop_assert_eq!(opened(&Desk::of(&world), &BOUND, &text), None);
        }
    }
}
