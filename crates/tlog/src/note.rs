//! Signed notes and their keys (C2SP signed-note, and `golang.org/x/mod/sumdb/note`).
//!
//! A note is text with a newline at its end, an empty line, and lines `— NAME BASE64(key id ‖ signature)`. Signatures of unknown
//! keys are kept and mean nothing.

mod public;

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use ed25519_dalek::Signer as _;
use zeroize::Zeroizing;

use crate::Error;

use public::{Public, asn1, id};

/// The most bytes of a note.
pub const MAX_LENGTH: usize = 64 << 10;
/// The most signatures of a note: the log's and those of witnesses.
pub const MAX_SIGNATURES: usize = 64;
/// The most bytes of a key's name, which is also a log's origin.
pub const MAX_NAME: usize = 255;
/// The most bytes of a key as text.
pub const MAX_KEY: usize = 1024;

const WHAT: &str = "signed note";
const NAME: Error = Error::Key("a name has 1 to 255 bytes and neither spaces nor a plus");
const PRIVATE: &str = "PRIVATE+KEY+";

/// What a key signs: it is part of its id, so that no signature passes for one of another kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Algorithm {
    /// Ed25519 over the text: a log's key.
    Ed25519 = 1,
    /// ECDSA with SHA-256 on P-256 over the text: the key of a log that a machine signs with its own identity.
    EcdsaP256 = 2,
    /// Ed25519 over a checkpoint with the time: a witness' key.
    Cosignature = 4,
}

impl Algorithm {
    fn of(byte: u8) -> Result<Self, Error> {
        match byte {
            1 => Ok(Self::Ed25519),
            2 => Ok(Self::EcdsaP256),
            4 => Ok(Self::Cosignature),
            _ => Err(Error::Key(
                "its algorithm is neither Ed25519 (1), ECDSA (2) nor cosignatures with Ed25519 (4)",
            )),
        }
    }
}

/// Whether a name can be that of a key.
pub fn is_name(name: &str) -> bool {
    let odd = |c: char| c.is_whitespace() || c.is_control() || c == '+';
    !name.is_empty() && name.len() <= MAX_NAME && !name.contains(odd)
}

/// `NAME+ID+BASE64(algorithm ‖ key)`, taken apart.
struct Parts<'a> {
    name: &'a str,
    id: u32,
    algorithm: Algorithm,
    key: Zeroizing<Vec<u8>>,
}

fn parts(text: &str) -> Result<Parts<'_>, Error> {
    const FORM: Error = Error::Key("its form is NAME+ID+BASE64");
    if text.len() > MAX_KEY {
        return Err(Error::Key("it is too long"));
    }
    let (name, rest) = text.split_once('+').ok_or(FORM)?;
    let (id, material) = rest.split_once('+').ok_or(FORM)?;
    let lower = id.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    if !is_name(name) || id.len() != 8 || !lower {
        return Err(FORM);
    }
    let id = u32::from_str_radix(id, 16).map_err(|_| FORM)?;
    let decoded = BASE64_STANDARD.decode(material).map_err(|_| FORM)?;
    let decoded = Zeroizing::new(decoded);
    let (algorithm, key) = decoded.split_first().ok_or(FORM)?;
    let algorithm = Algorithm::of(*algorithm)?;
    Ok(Parts {
        name,
        id,
        algorithm,
        key: Zeroizing::new(key.to_vec()),
    })
}

/// A key that signatures are checked with; as text, a C2SP vkey.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifierKey {
    name: String,
    algorithm: Algorithm,
    key: Public,
}

impl VerifierKey {
    /// The key on P-256 of a log that is called `name`: its point in SEC1.
    ///
    /// # Errors
    /// [`Error::Key`].
    pub fn p256(name: &str, point: &[u8]) -> Result<Self, Error> {
        if !is_name(name) {
            return Err(NAME);
        }
        Ok(Self {
            name: name.to_owned(),
            algorithm: Algorithm::EcdsaP256,
            key: Public::p256(point)?,
        })
    }

    /// Its name; of a log's key, the log's origin.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it signs.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Its id, which with its name finds its signatures.
    pub fn id(&self) -> u32 {
        id(&self.name, self.algorithm, &self.key.encoded())
    }

    /// The key that was given on a command line: itself, or the name of a file that holds it.
    ///
    /// # Errors
    /// [`Error::Key`], and where the file cannot be read.
    pub fn given(text: &str) -> Result<Self, Error> {
        if let Ok(key) = text.parse() {
            return Ok(key);
        }
        let bytes = crate::folder::read(Path::new(text), MAX_KEY)?.ok_or(Error::Key(
            "it is neither NAME+ID+BASE64 nor the name of a file with one",
        ))?;
        String::from_utf8_lossy(&bytes).trim_end().parse()
    }

    /// Whether a signature line says that it is of this key.
    pub(crate) fn made(&self, signature: &Signature) -> bool {
        signature.id == self.id() && signature.name == self.name
    }

    pub(crate) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        self.key.verifies(message, signature)
    }
}

impl FromStr for VerifierKey {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let parts = parts(text)?;
        if id(parts.name, parts.algorithm, &parts.key) != parts.id {
            return Err(Error::Key("its id is not that of its name and bytes"));
        }
        Ok(Self {
            name: parts.name.to_owned(),
            algorithm: parts.algorithm,
            key: Public::read(parts.algorithm, &parts.key)?,
        })
    }
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut material = vec![self.algorithm as u8];
        material.extend(self.key.encoded());
        let material = BASE64_STANDARD.encode(material);
        write!(f, "{}+{:08x}+{material}", self.name, self.id())
    }
}

/// A key that signs; as text, `PRIVATE+KEY+NAME+ID+BASE64(algorithm ‖ seed)`.
pub struct SigningKey {
    public: VerifierKey,
    key: ed25519_dalek::SigningKey,
}

impl SigningKey {
    /// A new key.
    ///
    /// # Errors
    /// [`Error::Key`] for a name that cannot be one, [`Error::NoRandomness`].
    pub fn generate(name: &str, algorithm: Algorithm) -> Result<Self, Error> {
        if !is_name(name) {
            return Err(NAME);
        }
        let mut seed = Zeroizing::new([0; 32]);
        getrandom::fill(seed.as_mut()).map_err(|_| Error::NoRandomness)?;
        Ok(Self::of(name, algorithm, &seed))
    }

    fn of(name: &str, algorithm: Algorithm, seed: &[u8; 32]) -> Self {
        let key = ed25519_dalek::SigningKey::from_bytes(seed);
        let public = VerifierKey {
            name: name.to_owned(),
            algorithm,
            key: Public::Ed25519(Box::new(key.verifying_key())),
        };
        Self { public, key }
    }

    /// The key that its signatures are checked with.
    pub fn verifier(&self) -> &VerifierKey {
        &self.public
    }

    /// The key as text, for a file that its owner alone reads.
    pub fn to_text(&self) -> Zeroizing<String> {
        let mut material = Zeroizing::new([0; 33]);
        let (first, seed) = material.split_at_mut(1);
        first.fill(self.public.algorithm as u8);
        seed.copy_from_slice(self.key.as_bytes());
        let material = Zeroizing::new(BASE64_STANDARD.encode(material.as_ref()));
        let (name, id) = (&self.public.name, self.public.id());
        Zeroizing::new(format!("{PRIVATE}{name}+{id:08x}+{}", *material))
    }

    /// Signs a message as it is.
    pub(crate) fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.key.sign(message).to_bytes()
    }

    pub(crate) fn line(&self, bytes: Vec<u8>) -> Signature {
        Signature {
            name: self.public.name.clone(),
            id: self.public.id(),
            bytes,
        }
    }
}

impl FromStr for SigningKey {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let text = text
            .strip_prefix(PRIVATE)
            .ok_or(Error::Key("a private key begins with PRIVATE+KEY+"))?;
        let parts = parts(text)?;
        let seed = parts.key.as_slice().try_into();
        let seed = seed
            .ok()
            .filter(|_| parts.algorithm != Algorithm::EcdsaP256);
        let seed = seed.ok_or(Error::Key("a private key is an Ed25519 seed of 32 bytes"))?;
        let key = Self::of(parts.name, parts.algorithm, seed);
        if key.public.id() != parts.id {
            return Err(Error::Key("its id is not that of its name and bytes"));
        }
        Ok(key)
    }
}

/// A signature line of a note.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    /// Whose it says it is.
    pub name: String,
    /// The id of that key.
    pub id: u32,
    /// The signature, in the form of its algorithm.
    pub bytes: Vec<u8>,
}

impl Signature {
    /// Reads a line, without its newline.
    ///
    /// # Errors
    /// [`Error::Malformed`].
    pub fn parse(line: &str) -> Result<Self, Error> {
        let wrong = |reason: &str| Error::malformed("signature line", reason);
        let rest = line
            .strip_prefix("— ")
            .ok_or_else(|| wrong("it does not begin with an em dash and a space"))?;
        let (name, text) = rest
            .split_once(' ')
            .filter(|(name, _)| is_name(name))
            .ok_or_else(|| wrong("it has no name of a key"))?;
        let decoded = BASE64_STANDARD
            .decode(text)
            .map_err(|_| wrong("what follows the name is not base64"))?;
        match decoded.split_first_chunk() {
            Some((id, bytes)) if !bytes.is_empty() => Ok(Self {
                name: name.to_owned(),
                id: u32::from_be_bytes(*id),
                bytes: bytes.to_vec(),
            }),
            _ => Err(wrong("it is too short")),
        }
    }
}

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = self.id.to_be_bytes().to_vec();
        bytes.extend(&self.bytes);
        writeln!(f, "— {} {}", self.name, BASE64_STANDARD.encode(bytes))
    }
}

/// A note with its signatures, of which none was checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// The text, with the newline at its end.
    pub text: String,
    /// The signatures.
    pub signatures: Vec<Signature>,
}

impl Note {
    /// Reads a note.
    ///
    /// # Errors
    /// [`Error::TooLarge`] and [`Error::Malformed`].
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        if bytes.len() > MAX_LENGTH {
            return Err(Error::TooLarge {
                what: WHAT,
                maximum: format!("{MAX_LENGTH} bytes"),
            });
        }
        let wrong = |reason: &str| Error::malformed(WHAT, reason);
        let note = std::str::from_utf8(bytes).map_err(|_| wrong("it is not UTF-8"))?;
        if note.bytes().any(|b| b < b' ' && b != b'\n') {
            return Err(wrong("it has control characters"));
        }
        // The text may have empty lines; the last one ends it.
        let (text, lines) = note
            .rsplit_once("\n\n")
            .ok_or_else(|| wrong("no empty line comes before its signatures"))?;
        let lines = lines
            .strip_suffix('\n')
            .ok_or_else(|| wrong("it does not end with a newline"))?;
        if lines.split('\n').count() > MAX_SIGNATURES {
            return Err(Error::TooLarge {
                what: WHAT,
                maximum: format!("{MAX_SIGNATURES} signatures"),
            });
        }
        let signatures = lines.split('\n').map(Signature::parse);
        Ok(Self {
            text: format!("{text}\n"),
            signatures: signatures.collect::<Result<_, _>>()?,
        })
    }

    /// Whether a log's key signed the text.
    ///
    /// # Errors
    /// [`Error::Unsigned`], and [`Error::Forged`] for a signature that says it is the key's and is not.
    pub fn verify(&self, key: &VerifierKey) -> Result<(), Error> {
        let mut found = false;
        for signature in self.signatures.iter().filter(|line| key.made(line)) {
            if key.algorithm == Algorithm::Cosignature
                || !key.verifies(self.text.as_bytes(), &signature.bytes)
            {
                return Err(Error::Forged(key.name.clone()));
            }
            found = true;
        }
        match found {
            true => Ok(()),
            false => Err(Error::Unsigned(key.to_string())),
        }
    }

    /// Signs a text, which ends with a newline.
    pub fn signed(text: String, key: &SigningKey) -> Self {
        let signature = key.line(key.sign(text.as_bytes()).to_vec());
        Self {
            text,
            signatures: vec![signature],
        }
    }

    /// The same with a key on P-256 that somebody else holds: `sign` gives r ‖ s of ECDSA over the SHA-256 of what it gets.
    pub fn signed_by(
        text: String,
        key: &VerifierKey,
        sign: impl FnOnce(&[u8]) -> [u8; 64],
    ) -> Self {
        let signature = Signature {
            name: key.name.clone(),
            id: key.id(),
            bytes: asn1(&sign(text.as_bytes())),
        };
        Self {
            text,
            signatures: vec![signature],
        }
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.text)?;
        self.signatures.iter().try_for_each(|line| line.fmt(f))
    }
}
