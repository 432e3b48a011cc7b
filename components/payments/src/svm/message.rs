//! Transactions as they go over the wire: signatures, and the message that they are of. Versions 0 and legacy.
//!
//! Read strictly: each length in its shortest form, each index within the accounts, and nothing behind the end. What is read
//! here as one thing and by the chain as another would be checked as one payment and made as another.

use sha2::{Digest, Sha256};

use super::key::Key;

/// The longest transaction that the network takes, in bytes.
pub const LONGEST: usize = 1232;
/// The bit that tells a version from the first byte of a legacy message.
const VERSIONED: u8 = 0x80;

/// Why bytes are not a transaction that can be read here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unreadable {
    /// They are none.
    Malformed,
    /// It names accounts that only the chain knows: those of a lookup table.
    LookupTable,
}

/// A transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transaction<'a> {
    /// The signatures, in the order of the first accounts. Those that are missing are zeros.
    pub signatures: Vec<[u8; 64]>,
    /// What is signed.
    pub signed: &'a [u8],
    /// How many of the accounts have to sign; the first pays the fee.
    pub signers: usize,
    /// The accounts.
    pub accounts: Vec<Key>,
    /// The block after which it is good.
    pub blockhash: Key,
    /// What is done.
    pub instructions: Vec<Instruction<'a>>,
}

/// A call of a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instruction<'a> {
    /// The program.
    pub program: Key,
    /// The accounts that it is given.
    pub accounts: Vec<Key>,
    /// Its argument.
    pub data: &'a [u8],
}

/// A transaction's signatures and its message, unread.
pub fn split(bytes: &[u8]) -> Option<(Vec<[u8; 64]>, &[u8])> {
    let mut reader = Reader(bytes);
    let signatures = reader.list(Reader::array)?;
    Some((signatures, reader.0))
}

/// What a message is unique by.
pub fn digest(message: &[u8]) -> [u8; 32] {
    Sha256::digest(message).into()
}

/// Reads a transaction.
pub fn read(bytes: &[u8]) -> Result<Transaction<'_>, Unreadable> {
    if bytes.len() > LONGEST {
        return Err(Unreadable::Malformed);
    }
    let (signatures, signed) = split(bytes).ok_or(Unreadable::Malformed)?;
    let raw = Raw::read(signed).ok_or(Unreadable::Malformed)?;
    if raw.lookups {
        return Err(Unreadable::LookupTable);
    }
    let signers = usize::from(raw.signers);
    let instructions = raw.resolved().ok_or(Unreadable::Malformed)?;
    if signatures.len() != signers || signers > raw.accounts.len() {
        return Err(Unreadable::Malformed);
    }
    Ok(Transaction {
        signatures,
        signed,
        signers,
        accounts: raw.accounts,
        blockhash: raw.blockhash,
        instructions,
    })
}

/// A message, its accounts still by number.
struct Raw<'a> {
    signers: u8,
    accounts: Vec<Key>,
    blockhash: Key,
    instructions: Vec<(u8, &'a [u8], &'a [u8])>,
    lookups: bool,
}

impl<'a> Raw<'a> {
    fn read(bytes: &'a [u8]) -> Option<Self> {
        let mut reader = Reader(bytes);
        let first = reader.byte()?;
        let versioned = first & VERSIONED != 0;
        if versioned && first != VERSIONED {
            return None;
        }
        let signers = if versioned { reader.byte()? } else { first };
        // How many of either kind are only read: the chain's business.
        reader.array::<2>()?;
        let accounts = reader.list(|reader| reader.array().map(Key))?;
        let blockhash = Key(reader.array()?);
        let instructions =
            reader.list(|reader| Some((reader.byte()?, reader.bytes()?, reader.bytes()?)))?;
        let lookups = if versioned {
            reader.list(|reader| Some((reader.array::<32>()?, reader.bytes()?, reader.bytes()?)))?
        } else {
            Vec::new()
        };
        reader.0.is_empty().then_some(Self {
            signers,
            accounts,
            blockhash,
            instructions,
            lookups: !lookups.is_empty(),
        })
    }

    fn resolved(&self) -> Option<Vec<Instruction<'a>>> {
        let account = |index: &u8| self.accounts.get(usize::from(*index)).copied();
        let instruction = |(program, accounts, data): &(u8, &'a [u8], &'a [u8])| {
            Some(Instruction {
                program: account(program)?,
                accounts: accounts.iter().map(account).collect::<Option<_>>()?,
                data,
            })
        };
        self.instructions.iter().map(instruction).collect()
    }
}

/// What is left to be read.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn byte(&mut self) -> Option<u8> {
        self.array().map(|[byte]: [u8; 1]| byte)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (array, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*array)
    }

    /// A length, 7 bits in each byte, the lowest first: at most 16 bits, in the fewest bytes.
    fn length(&mut self) -> Option<usize> {
        let mut length = 0;
        for index in 0..3 {
            let byte = self.byte()?;
            length |= usize::from(byte & 0x7f) << (7 * index);
            if byte & 0x80 == 0 {
                let shortest = byte != 0 || index == 0;
                return (shortest && length <= usize::from(u16::MAX)).then_some(length);
            }
        }
        None
    }

    fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = self.length()?;
        let (bytes, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(bytes)
    }

    /// Its memory is bounded by what there is to be read, whatever the length says.
    fn list<T>(&mut self, mut item: impl FnMut(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        let length = self.length()?;
        let mut items = Vec::new();
        for _ in 0..length {
            items.push(item(self)?);
        }
        Some(items)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_have_one_form() {
        for (bytes, length) in [
            (&[0][..], Some(0)),
            (&[0x7f], Some(0x7f)),
            (&[0x80, 1], Some(0x80)),
            (&[0xff, 0xff, 3], Some(0xffff)),
            (&[0x80, 0], None),
            (&[0x80, 0x80, 0], None),
            (&[0xff, 0xff, 4], None),
            (&[0x80, 0x80, 0x80, 0], None),
            (&[0x80], None),
            (&[], None),
        ] {
            assert_eq!(Reader(bytes).length(), length, "{bytes:?}");
        }
    }

    #[test]
    fn an_instruction_without_arguments_that_is_repeated_without_end_takes_no_memory() {
        let mut bytes = vec![0, VERSIONED, 0, 0, 0, 0];
        bytes.extend([0; 32]);
        bytes.extend([0xff, 0xff, 3]);
        assert_eq!(read(&bytes), Err(Unreadable::Malformed));
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(0..=u8::MAX, 0..1300)) {
            let _ = read(&bytes);
        }
    }
}
