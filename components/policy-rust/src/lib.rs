//! A policy engine in Rust: programs run if their SHA-256 is on the operator's list.
//!
//! It exports what the Python engine exports and takes its place by configuration alone. The rules are text: one digest
//! a line, in hexadecimal, `#` for comments.
//!
//! ```text
//! # hello, built 2026-11-20
//! 0f8c3d0c5e1b7a3f0d5c9a1e4b2f6d8c7a9e0b1d2c3f4a5b6c7d8e9f0a1b2c3d
//! ```
//!
//! What has no program of its own to run, a request that an agent sends, is decided by the digest of the agent.

use bindings::exports::hypervisor::plugin::policy::{Action, Decision, ErrorCode, Guest};

/// What the world needs of the canonical ABI; the macro writes `unsafe` functions.
#[expect(unsafe_code)]
mod bindings {
    wit_bindgen::generate!({
        path: "../../wit",
        inline: "
            package hypervisor:policy-rust@0.1.0;

            world policy-rust {
                export hypervisor:plugin/policy@0.1.1;
            }
        ",
    });

    export!(AllowList with_types_in self);

    use super::AllowList;
}

/// A SHA-256.
type Digest = [u8; 32];

struct AllowList;

impl Guest for AllowList {
    fn authorize(rules: Vec<u8>, action: Action) -> Result<Decision, ErrorCode> {
        let listed = parse(&rules)?;
        let Ok(subject) = Digest::try_from(action.subject) else {
            return Err(ErrorCode::InternalError(Some(
                "the subject is not a SHA-256".to_owned(),
            )));
        };
        if listed.contains(&subject) {
            return Ok(Decision::Allow);
        }
        Ok(Decision::Deny(format!(
            "the program {} is not on the list",
            hex(&subject)
        )))
    }

    fn check(rules: Vec<u8>) -> Result<(), ErrorCode> {
        parse(&rules).map(drop)
    }
}

/// The digests on the list. Every line is read, also behind the one that is looked for: a list with a mistake decides nothing.
fn parse(rules: &[u8]) -> Result<Vec<Digest>, ErrorCode> {
    let text = str::from_utf8(rules).map_err(|error| {
        let line = 1 + rules[..error.valid_up_to()]
            .iter()
            .filter(|byte| **byte == b'\n')
            .count();
        invalid(line, "not UTF-8")
    })?;
    let mut listed = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let digest = line.split('#').next().unwrap_or_default().trim();
        if !digest.is_empty() {
            listed.push(digest_of(digest).map_err(|problem| invalid(index + 1, problem))?);
        }
    }
    Ok(listed)
}

/// Reads 64 hexadecimal digits, with or without `0x`.
fn digest_of(text: &str) -> Result<Digest, &'static str> {
    let digits = text.strip_prefix("0x").unwrap_or(text).as_bytes();
    if digits.len() != 64 {
        return Err("not a SHA-256: 64 hexadecimal digits are needed");
    }
    let mut digest = Digest::default();
    for (byte, pair) in digest.iter_mut().zip(digits.chunks_exact(2)) {
        for digit in pair {
            let value = char::from(*digit).to_digit(16).ok_or("not hexadecimal")?;
            *byte = *byte << 4 | value as u8;
        }
    }
    Ok(digest)
}

fn invalid(line: usize, problem: &str) -> ErrorCode {
    ErrorCode::InvalidRules(format!("rules, line {line}: {problem}"))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
