//! Commands and answers of a TPM (TPM 2.0 Library, Part 3), big-endian.

use crate::error::Error;

/// A command without sessions, and one with.
const NO_SESSIONS: u16 = 0x8001;
const SESSIONS: u16 = 0x8002;
/// The authorization of an object without a password: `TPM_RS_PW`, no nonce, no attributes, no password.
const EMPTY_PASSWORD: [u8; 9] = [0x40, 0, 0, 0x09, 0, 0, 0, 0, 0];
const HEADER: usize = 10;

/// What is asked, by name and number.
pub(crate) type Code = (&'static str, u32);

pub(crate) const CREATE_PRIMARY: Code = ("TPM2_CreatePrimary", 0x131);
pub(crate) const NV_READ: Code = ("TPM2_NV_Read", 0x14e);
pub(crate) const QUOTE: Code = ("TPM2_Quote", 0x158);
pub(crate) const NV_READ_PUBLIC: Code = ("TPM2_NV_ReadPublic", 0x169);
pub(crate) const READ_PUBLIC: Code = ("TPM2_ReadPublic", 0x173);
pub(crate) const PCR_READ: Code = ("TPM2_PCR_Read", 0x17e);

/// A command on `handles`, the first of which is authorized with an empty password if `authorized`.
pub(crate) fn command(
    (_, code): Code,
    handles: &[u32],
    authorized: bool,
    parameters: &[&[u8]],
) -> Vec<u8> {
    let mut body = Vec::new();
    for handle in handles {
        body.extend_from_slice(&handle.to_be_bytes());
    }
    if authorized {
        body.extend_from_slice(&length_u32(EMPTY_PASSWORD.len()));
        body.extend_from_slice(&EMPTY_PASSWORD);
    }
    for parameter in parameters {
        body.extend_from_slice(parameter);
    }
    let tag = if authorized { SESSIONS } else { NO_SESSIONS };
    let mut command = tag.to_be_bytes().to_vec();
    command.extend_from_slice(&length_u32(body.len().saturating_add(HEADER)));
    command.extend_from_slice(&code.to_be_bytes());
    command.extend_from_slice(&body);
    command
}

fn length_u32(length: usize) -> [u8; 4] {
    u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes()
}

/// Bytes after their length (a TPM2B).
pub(crate) fn sized(bytes: &[u8]) -> Vec<u8> {
    let length = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
    [&length.to_be_bytes(), bytes].concat()
}

/// What is left of an answer.
pub(crate) struct Answer<'a> {
    command: &'static str,
    rest: &'a [u8],
}

impl<'a> Answer<'a> {
    /// The answer to a command. Its parameters are what is left: after a handle if there is to be one, and without the sessions'
    /// authorization.
    pub(crate) fn of((command, _): Code, bytes: &'a [u8]) -> Result<Self, Error> {
        let mut answer = Self {
            command,
            rest: bytes,
        };
        let (tag, length, code) = (answer.u16()?, answer.u32()?, answer.u32()?);
        if code != 0 {
            return Err(Error::Refused {
                command,
                code,
                advice: advice(code),
            });
        }
        let is_whole = usize::try_from(length).is_ok_and(|length| length == bytes.len());
        if !is_whole || !matches!(tag, NO_SESSIONS | SESSIONS) {
            return Err(answer.malformed());
        }
        Ok(answer)
    }

    pub(crate) fn malformed(&self) -> Error {
        Error::Malformed {
            command: self.command,
        }
    }

    pub(crate) fn bytes(&mut self, length: usize) -> Result<&'a [u8], Error> {
        let (taken, rest) = self
            .rest
            .split_at_checked(length)
            .ok_or_else(|| self.malformed())?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let bytes = self.bytes(N)?;
        bytes.try_into().map_err(|_| self.malformed())
    }

    pub(crate) fn u16(&mut self) -> Result<u16, Error> {
        self.array().map(u16::from_be_bytes)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, Error> {
        self.array().map(u32::from_be_bytes)
    }

    /// A TPM2B.
    pub(crate) fn sized(&mut self) -> Result<&'a [u8], Error> {
        let length = self.u16()?;
        self.bytes(length.into())
    }

    /// The parameters of an answer to a command with sessions: their length stands in front.
    pub(crate) fn parameters(mut self) -> Result<Self, Error> {
        let length = self.u32()?;
        let length = usize::try_from(length).map_err(|_| self.malformed())?;
        self.rest = self.bytes(length)?;
        Ok(self)
    }
}

/// Codes that an operator can do something about; the others are in Part 2, 6.6.
fn advice(code: u32) -> &'static str {
    // Of format 1 the lowest six bits and bit 7 count: the rest says which handle or parameter.
    match code & 0xbf {
        0x8b => ": there is no such key or index; this is not the TPM of such a guest",
        0x8e | 0xa2 => ": it wants a password",
        _ => "",
    }
}
