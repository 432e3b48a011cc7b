//! What a transaction must look like to be a payment, and the payment that it is.
//!
//! The layout is that of the specification and of the official facilitator: a limit and a price for the computation, one
//! `TransferChecked`, and then at most four notes and assertions. It is held to a little more closely: two signers and no more,
//! no account that only the chain knows, and the fee's payer in no instruction, so that nothing can be taken from it. As the first
//! instruction is a limit, none can be the one that makes a transaction good for ever (a durable nonce).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::code;
use super::key::{COMPUTE_BUDGET, Key, LIGHTHOUSE, MEMO, TOKEN, TOKEN_2022};
use super::message::{self, Instruction, LONGEST, Transaction, Unreadable};
use crate::error::Refusal;

/// What a facilitator pays for a unit of computation at the most, in millionths of a lamport.
const HIGHEST_PRICE: u64 = 5_000_000;
/// Instructions, limit, price and transfer among them.
const INSTRUCTIONS: std::ops::RangeInclusive<usize> = 3..=7;

/// A transaction that pays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transfer {
    /// The signed message's SHA-256.
    pub digest: [u8; 32],
    /// What is signed.
    pub signed: Vec<u8>,
    /// The payer's signature of it.
    pub signature: [u8; 64],
    /// Who pays, and owns or may spend from `source`.
    pub payer: Key,
    /// Who pays the fee.
    pub fee_payer: Key,
    /// The token program.
    pub program: Key,
    /// The token.
    pub mint: Key,
    /// The account that the tokens come from.
    pub source: Key,
    /// The account that they go to.
    pub destination: Key,
    /// How many, in the smallest unit.
    pub amount: u64,
    /// The block after which the transaction is good, for a while.
    pub blockhash: Key,
    /// The first note in it.
    pub memo: Option<String>,
}

impl Transfer {
    /// Reads a transaction in base64.
    pub fn read(text: &str) -> Result<Self, Refusal> {
        let malformed = |message: &str| Refusal {
            status: 400,
            ..Refusal::new(code::NOT_DECODED, message)
        };
        // Four digits for each three bytes.
        if text.len() > LONGEST.div_ceil(3) * 4 {
            return Err(malformed("the transaction is longer than 1232 bytes"));
        }
        let bytes = STANDARD
            .decode(text)
            .map_err(|_| malformed("transaction is not standard base64 with padding"))?;
        match message::read(&bytes) {
            Ok(transaction) => Self::of(&transaction),
            Err(Unreadable::Malformed) => Err(malformed("transaction is not a Solana transaction")),
            Err(Unreadable::LookupTable) => Err(Refusal::new(
                code::LOOKUP_TABLE,
                "the transaction names accounts by a lookup table: name them all in it",
            )),
        }
    }

    fn of(transaction: &Transaction<'_>) -> Result<Self, Refusal> {
        let instructions = transaction.instructions.as_slice();
        let [limit, price, transfer, notes @ ..] = instructions else {
            return Err(too_few_or_many());
        };
        if !INSTRUCTIONS.contains(&instructions.len()) {
            return Err(too_few_or_many());
        }
        check_limit(limit)?;
        check_price(price)?;
        let (&[source, mint, destination, payer], amount) = transferred(transfer)?;
        let signers = transaction.accounts.get(..transaction.signers);
        let (Some(&[fee_payer, signer]), &[_, signature]) =
            (signers, transaction.signatures.as_slice())
        else {
            return Err(Refusal::new(
                code::SIGNERS,
                "the payer of the fee and the payer of the tokens sign the transaction, and nobody else",
            ));
        };
        if instructions
            .iter()
            .any(|instruction| instruction.accounts.contains(&fee_payer))
        {
            return Err(Refusal::new(
                code::FEE_PAYER_TRANSFERS,
                "the payer of the fee is an account of an instruction",
            ));
        }
        if signer != payer {
            return Err(Refusal::new(
                code::SIGNATURE,
                "the owner of the tokens does not sign; wallets that are programs are not supported",
            ));
        }
        check_notes(notes)?;
        let memo = notes.iter().find(|note| note.program == MEMO);
        Ok(Self {
            digest: message::digest(transaction.signed),
            signed: transaction.signed.to_vec(),
            signature,
            payer,
            fee_payer,
            program: transfer.program,
            mint,
            source,
            destination,
            amount,
            blockhash: transaction.blockhash,
            memo: memo.and_then(|memo| String::from_utf8(memo.data.to_vec()).ok()),
        })
    }
}

fn too_few_or_many() -> Refusal {
    Refusal::new(
        code::INSTRUCTIONS,
        "a payment has 3 to 7 instructions: a limit, a price, the transfer, and notes",
    )
}

fn check_limit(instruction: &Instruction<'_>) -> Result<(), Refusal> {
    match (instruction.program, instruction.data) {
        (COMPUTE_BUDGET, [2, _, _, _, _]) => Ok(()),
        _ => Err(Refusal::new(
            code::COMPUTE_LIMIT,
            "the first instruction is not SetComputeUnitLimit",
        )),
    }
}

fn check_price(instruction: &Instruction<'_>) -> Result<(), Refusal> {
    let price = match (instruction.program, instruction.data) {
        (COMPUTE_BUDGET, [3, price @ ..]) => price.try_into().ok().map(u64::from_le_bytes),
        _ => None,
    };
    match price {
        Some(0..=HIGHEST_PRICE) => Ok(()),
        Some(_) => Err(Refusal::new(
            code::COMPUTE_PRICE_TOO_HIGH,
            "the transaction bids more for its computation than a facilitator pays",
        )),
        None => Err(Refusal::new(
            code::COMPUTE_PRICE,
            "the second instruction is not SetComputeUnitPrice",
        )),
    }
}

/// Source, token, destination and owner of a `TransferChecked`, and its amount.
fn transferred<'a>(instruction: &'a Instruction<'_>) -> Result<(&'a [Key; 4], u64), Refusal> {
    let amount = match instruction.data {
        // The last byte is the token's decimals, which the chain checks.
        [12, amount @ .., _] => amount.try_into().ok().map(u64::from_le_bytes),
        _ => None,
    };
    let accounts = instruction.accounts.as_slice().try_into().ok();
    match (instruction.program, accounts, amount) {
        (TOKEN | TOKEN_2022, Some(accounts), Some(amount)) => Ok((accounts, amount)),
        _ => Err(Refusal::new(
            code::NO_TRANSFER,
            "the third instruction is not TransferChecked by one owner",
        )),
    }
}

fn check_notes(notes: &[Instruction<'_>]) -> Result<(), Refusal> {
    let codes = [
        code::FOURTH_INSTRUCTION,
        code::FIFTH_INSTRUCTION,
        code::SIXTH_INSTRUCTION,
        code::SEVENTH_INSTRUCTION,
    ];
    for (note, code) in notes.iter().zip(codes) {
        if !matches!(note.program, MEMO | LIGHTHOUSE) {
            return Err(Refusal::new(
                code,
                "behind the transfer, only Memo and Lighthouse may be called",
            ));
        }
    }
    Ok(())
}
