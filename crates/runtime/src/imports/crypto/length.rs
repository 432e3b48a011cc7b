//! Checks of lengths, with an error that says which parameter and which bounds.

use super::{ErrorCode, LengthMismatch};

/// `Ok` if `actual` lies within `minimum..=maximum`.
pub(super) fn within(
    parameter: &str,
    actual: usize,
    minimum: usize,
    maximum: usize,
) -> Result<(), ErrorCode> {
    if (minimum..=maximum).contains(&actual) {
        return Ok(());
    }
    Err(ErrorCode::InvalidLength(LengthMismatch {
        parameter: parameter.to_owned(),
        actual: to_u64(actual),
        minimum: to_u64(minimum),
        maximum: to_u64(maximum),
    }))
}

/// `bytes` as an array, if there are exactly `N`.
pub(super) fn exactly<'a, const N: usize>(
    parameter: &str,
    bytes: &'a [u8],
) -> Result<&'a [u8; N], ErrorCode> {
    within(parameter, bytes.len(), N, N)?;
    bytes.try_into().map_err(|_| ErrorCode::InternalError(None))
}

fn to_u64(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}
