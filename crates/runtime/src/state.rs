//! The state of an environment or a session, between two calls of it.

use std::fmt;
use std::sync::Arc;

use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::access::WASM_PAGE;
use super::instrument::SCRATCH;
use super::script::Language;
use super::snapshot::{Delta, Part};

/// Most bytes of memory that a state keeps.
pub const MAX_STATE: usize = 64 << 20;

const MAGIC: &[u8; 8] = b"HVSTATE\x01";
/// Memories that a component may have at the most.
const MAX_MEMORIES: usize = 8;

/// What a bundle's setup, or a session's turns, left behind: memory of the engine, as far as it differs from that of an engine that
/// ran nothing. It is the owner's: seal it where it is kept, and drop it at its end, which wipes it.
#[derive(Clone)]
pub struct State {
    /// SHA-384 of the engine's component.
    pub(super) engine: [u8; 48],
    /// Of what its memory is compared with.
    pub(super) base: [u8; 32],
    /// SHA-384 of the bundle, or of the first turn where there is none.
    pub(super) program: [u8; 48],
    pub(super) delta: Arc<Delta>,
}

/// Why a state is not used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StateError {
    /// No engine of this language is loaded that can set up environments.
    #[error("no engine is loaded that sets up environments in {0}")]
    NoEngine(Language),
    /// It was made by another component than the one that is loaded.
    #[error(
        "the state is of another engine than the one that is loaded; set the environment up again"
    )]
    WrongEngine,
    /// It was made by the same component on other ground: another version of what instruments it.
    #[error(
        "the state does not fit the engine as this host starts it; set the environment up again"
    )]
    WrongBase,
    /// It is no state, or was altered.
    #[error("the state is damaged: {0}")]
    Damaged(&'static str),
}

impl State {
    /// What [`Self::from_bytes`] reads.
    pub fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        let size = usize::try_from(self.size()).unwrap_or_default();
        let mut bytes = Zeroizing::new(Vec::with_capacity(size));
        let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX).to_be_bytes();
        let Delta {
            pages,
            globals,
            parts,
        } = &*self.delta;
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&self.engine);
        bytes.extend_from_slice(&self.base);
        bytes.extend_from_slice(&self.program);
        bytes.extend_from_slice(&count(pages.len()));
        for pages in pages {
            bytes.extend_from_slice(&pages.to_be_bytes());
        }
        bytes.extend_from_slice(&count(globals.len()));
        bytes.extend_from_slice(globals);
        bytes.extend_from_slice(&count(parts.len()));
        for Part { memory, runs } in parts {
            bytes.push(*memory);
            bytes.extend_from_slice(&count(runs.len()));
            bytes.extend_from_slice(runs);
        }
        let digest = Sha256::digest(&*bytes);
        bytes.extend_from_slice(&digest);
        bytes
    }

    /// Reads a state. Whether it fits the engine is seen where it is used.
    ///
    /// # Errors
    /// [`StateError::Damaged`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, StateError> {
        let (body, digest) = bytes.split_last_chunk::<32>().ok_or(CUT)?;
        if Sha256::digest(body).as_slice() != digest {
            return Err(StateError::Damaged("its digest is another"));
        }
        let mut rest = Rest(body);
        if rest.array()? != *MAGIC {
            return Err(StateError::Damaged("it is no state of this version"));
        }
        let (engine, base, program) = (rest.array()?, rest.array()?, rest.array()?);
        let memories = rest.count(MAX_MEMORIES)?;
        let pages = (0..memories).map(|_| rest.number());
        let pages: Vec<u32> = pages.collect::<Result<_, _>>()?;
        let globals = rest.bytes(SCRATCH as usize)?;
        let parts = (0..rest.count(MAX_STATE)?).map(|_| {
            let [memory] = rest.array()?;
            let runs = rest.bytes(SCRATCH as usize)?;
            let end = pages.get(usize::from(memory)).ok_or(ASTRAY)?;
            within(runs, u64::from(*end).saturating_mul(WASM_PAGE))?;
            Ok(Part {
                memory,
                runs: Zeroizing::new(runs.to_vec()),
            })
        });
        let parts = parts.collect::<Result<_, _>>()?;
        if !rest.0.is_empty() {
            return Err(StateError::Damaged("there is more behind it"));
        }
        Ok(Self {
            engine,
            base,
            program,
            delta: Arc::new(Delta {
                pages,
                globals: Zeroizing::new(globals.to_vec()),
                parts,
            }),
        })
    }

    /// Bytes that it takes.
    pub fn size(&self) -> u64 {
        let Delta {
            pages,
            globals,
            parts,
        } = &*self.delta;
        let head = MAGIC.len() + 48 + 32 + 48 + 3 * 4 + 32;
        let of_parts = parts.iter().map(|part| part.runs.len().saturating_add(5));
        let size = of_parts.fold(head, usize::saturating_add);
        let size = size.saturating_add(globals.len());
        let size = size.saturating_add(pages.len().saturating_mul(4));
        u64::try_from(size).unwrap_or(u64::MAX)
    }

    /// SHA-256 of it.
    pub fn digest(&self) -> [u8; 32] {
        Sha256::digest(&*self.to_bytes()).into()
    }

    /// SHA-384 of the component that made it.
    pub fn engine(&self) -> &[u8; 48] {
        &self.engine
    }
}

/// Without what is in it.
impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State")
            .field("size", &self.size())
            .finish_non_exhaustive()
    }
}

const CUT: StateError = StateError::Damaged("it is cut off");
const ASTRAY: StateError = StateError::Damaged("part of it lies outside of memory");

/// What is not read yet.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn array<const N: usize>(&mut self) -> Result<[u8; N], StateError> {
        let (array, rest) = self.0.split_first_chunk::<N>().ok_or(CUT)?;
        self.0 = rest;
        Ok(*array)
    }

    fn number(&mut self) -> Result<u32, StateError> {
        Ok(u32::from_be_bytes(self.array()?))
    }

    fn count(&mut self, most: usize) -> Result<usize, StateError> {
        let count = usize::try_from(self.number()?).ok();
        let count = count.filter(|&count| count <= most);
        count.ok_or(StateError::Damaged("part of it is too large"))
    }

    fn bytes(&mut self, most: usize) -> Result<&'a [u8], StateError> {
        let length = self.count(most)?;
        let (bytes, rest) = self.0.split_at_checked(length).ok_or(CUT)?;
        self.0 = rest;
        Ok(bytes)
    }
}

/// That runs end where their part does, and lie in a memory that ends at `end`.
fn within(mut runs: &[u8], end: u64) -> Result<(), StateError> {
    while !runs.is_empty() {
        let (place, rest) = runs.split_first_chunk::<4>().ok_or(CUT)?;
        let (length, rest) = rest.split_first_chunk::<4>().ok_or(CUT)?;
        let (place, length) = (u32::from_le_bytes(*place), u32::from_le_bytes(*length));
        if u64::from(place).saturating_add(u64::from(length)) > end {
            return Err(ASTRAY);
        }
        let length = usize::try_from(length).map_err(|_| CUT)?;
        (_, runs) = rest.split_at_checked(length).ok_or(CUT)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn state() -> State {
        let mut runs = vec![];
        runs.extend_from_slice(&4096_u32.to_le_bytes());
        runs.extend_from_slice(&3_u32.to_le_bytes());
        runs.extend_from_slice(b"abc");
        State {
            engine: [1; 48],
            base: [2; 32],
            program: [3; 48],
            delta: Arc::new(Delta {
                pages: vec![1],
                globals: Zeroizing::new(vec![4; 16]),
                parts: vec![Part {
                    memory: 0,
                    runs: Zeroizing::new(runs),
                }],
            }),
        }
    }

    /// With a digest that is right.
    fn sealed(mut body: Vec<u8>) -> Vec<u8> {
        let digest = Sha256::digest(&body);
        body.extend_from_slice(&digest);
        body
    }

    #[test]
    fn a_state_is_read_as_it_was_written() {
        let bytes = state().to_bytes();
        assert_eq!(bytes.len() as u64, state().size());
        let again = State::from_bytes(&bytes).unwrap();
        assert_eq!(*again.to_bytes(), *bytes);
        assert_eq!(again.digest(), state().digest());
    }

    #[test]
    fn one_bit_altered_is_seen() {
        let bytes = state().to_bytes();
        for at in 0..bytes.len() * 8 {
            let mut altered = bytes.to_vec();
            altered[at / 8] ^= 1 << (at % 8);
            assert!(State::from_bytes(&altered).is_err());
        }
    }

    #[test]
    fn a_run_outside_of_memory_is_refused() {
        let bytes = state().to_bytes();
        let mut body = bytes[..bytes.len() - 32].to_vec();
        let at = body.windows(4).position(|it| it == 4096_u32.to_le_bytes());
        let at = at.unwrap();
        body[at..at + 4].copy_from_slice(&65_534_u32.to_le_bytes());
        assert_eq!(State::from_bytes(&sealed(body)).unwrap_err(), ASTRAY);
    }

    proptest! {
        #[test]
        fn what_is_no_state_is_refused_and_never_more(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = State::from_bytes(&bytes);
            let mut body = MAGIC.to_vec();
            body.extend_from_slice(&bytes);
            let _ = State::from_bytes(&sealed(body));
        }

        #[test]
        fn a_state_that_is_changed_in_one_place_is_refused_or_reads_as_it_is(at in 0_usize..200, byte in any::<u8>()) {
            let bytes = state().to_bytes();
            let mut body = bytes[..bytes.len() - 32].to_vec();
            let at = at % body.len();
            body[at] = byte;
            let altered = sealed(body);
            if let Ok(state) = State::from_bytes(&altered) {
                prop_assert_eq!(&*state.to_bytes(), &altered);
            }
        }
    }
}
