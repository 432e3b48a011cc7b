//! The TLVs of a binding, without their meaning.

use hypervisor_protocol::PublicKey;

use crate::Error;
use crate::report_data::Purpose;

/// Appends TLVs.
#[derive(Default)]
pub(super) struct Writer(Vec<u8>);

impl Writer {
    /// Appends one whose value is the parts in a row. Callers go by ascending tags; values are below 100 bytes.
    pub(super) fn put(&mut self, tag: u16, parts: &[&[u8]]) {
        let length: usize = parts.iter().map(|part| part.len()).sum();
        self.0.extend(tag.to_be_bytes());
        self.0.extend((length as u32).to_be_bytes());
        for part in parts {
            self.0.extend_from_slice(part);
        }
    }

    pub(super) fn finish(self) -> Vec<u8> {
        self.0
    }
}

/// The TLVs not yet taken.
pub(super) struct Tlvs<'a>(Vec<(u16, &'a [u8])>);

impl<'a> Tlvs<'a> {
    /// Splits TLVs. The input is bounded by the caller, and lengths in it are not trusted with allocations.
    pub(super) fn parse(mut rest: &'a [u8]) -> Result<Self, Error> {
        let malformed = |reason| Error::Binding { reason };
        let mut list: Vec<(u16, &[u8])> = Vec::new();
        while !rest.is_empty() {
            let Some((&[t0, t1, l0, l1, l2, l3], after)) = rest.split_first_chunk::<6>() else {
                return Err(malformed(format!(
                    "cut off: {} bytes where a tag and a length (6) should be",
                    rest.len()
                )));
            };
            let tag = u16::from_be_bytes([t0, t1]);
            let length = u32::from_be_bytes([l0, l1, l2, l3]);
            let Some((value, after)) = usize::try_from(length)
                .ok()
                .and_then(|length| after.split_at_checked(length))
            else {
                return Err(malformed(format!(
                    "tag {tag:04x} claims {length} bytes, {} are left",
                    after.len()
                )));
            };
            if let Some((last, _)) = list.last()
                && *last >= tag
            {
                return Err(malformed(format!(
                    "tag {tag:04x} after {last:04x}; tags ascend and none stands twice"
                )));
            }
            list.push((tag, value));
            rest = after;
        }
        Ok(Self(list))
    }

    pub(super) fn take_optional(&mut self, tag: u16) -> Option<&'a [u8]> {
        let at = self.0.iter().position(|(found, _)| *found == tag)?;
        Some(self.0.remove(at).1)
    }

    pub(super) fn take(&mut self, tag: u16, name: &str) -> Result<&'a [u8], Error> {
        self.take_optional(tag).ok_or_else(|| Error::Binding {
            reason: format!("tag {tag:04x} ({name}) is missing"),
        })
    }

    pub(super) fn array<const N: usize>(&mut self, tag: u16, name: &str) -> Result<[u8; N], Error> {
        let value = self.take(tag, name)?;
        value.try_into().map_err(|_| Error::Binding {
            reason: format!("tag {tag:04x} ({name}) has {} bytes, not {N}", value.len()),
        })
    }

    pub(super) fn optional_array<const N: usize>(
        &mut self,
        tag: u16,
        name: &str,
    ) -> Result<Option<[u8; N]>, Error> {
        match self.0.iter().any(|(found, _)| *found == tag) {
            true => self.array(tag, name).map(Some),
            false => Ok(None),
        }
    }

    pub(super) fn key(&mut self, tag: u16, name: &str) -> Result<PublicKey, Error> {
        let bytes: [u8; 33] = self.array(tag, name)?;
        PublicKey::from_sec1(&bytes).map_err(|error| Error::Binding {
            reason: format!("tag {tag:04x} ({name}): {error}"),
        })
    }

    /// A hash and a u64 BE count.
    pub(super) fn counted<const N: usize>(
        &mut self,
        tag: u16,
        name: &str,
    ) -> Result<([u8; N], u64), Error> {
        let value = self.take(tag, name)?;
        let parts = value
            .split_first_chunk::<N>()
            .and_then(|(hash, count)| Some((*hash, u64::from_be_bytes(count.try_into().ok()?))));
        parts.ok_or_else(|| Error::Binding {
            reason: format!(
                "tag {tag:04x} ({name}) has {} bytes, not {}",
                value.len(),
                N.saturating_add(8)
            ),
        })
    }

    /// Refuses what is left.
    pub(super) fn finish(self, purpose: Purpose) -> Result<(), Error> {
        match self.0.first() {
            None => Ok(()),
            Some((tag, _)) => Err(Error::Binding {
                reason: format!("tag {tag:04x} is unknown in a binding for the purpose {purpose}"),
            }),
        }
    }
}
