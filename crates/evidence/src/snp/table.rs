//! The certificate table that comes with a report (AMD 56421, GHCB, "SNP Extended Guest Request"): what Linux gives as
//! `auxblob`. The hypervisor fills it.

use crate::Error;
use crate::error::bound;
use crate::reader::{CutOff, Reader};

/// The most entries that are read; the specification names six kinds.
const MAX_ENTRIES: usize = 32;

/// The most bytes of a table that is passed on: a chain is under 8 KiB.
const MAX_TABLE: usize = 64 << 10;

type Guid = [u8; 16];

const VCEK: Guid = 0x63da758d_e664_4564_adc5_f4b93be8accd_u128.to_be_bytes();
const VLEK: Guid = 0xa8074bc2_a25a_483e_aae6_39c045a0b8a1_u128.to_be_bytes();
const ASK: Guid = 0x4ab7b379_bbac_4fe4_a02f_05aef327c782_u128.to_be_bytes();
const ARK: Guid = 0xc0b406a4_a803_4952_9743_3fb6014cd0ae_u128.to_be_bytes();
const CRL: Guid = 0x92f81bc3_5811_4d3d_97ff_d19f88dc67ea_u128.to_be_bytes();

/// What a table holds, in the form of evidence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableCertificates {
    /// VCEK or VLEK, then ASK and ARK where they are there: DER, one after the other.
    pub certs: Vec<u8>,
    /// AMD's revocation list, where it is there: DER.
    pub crl: Option<Vec<u8>>,
}

fn malformed(reason: String) -> Error {
    Error::Quote {
        what: "certificate table",
        reason,
    }
}

/// The certificates of a table. `vlek` says which key the report names as its signer: [`super::SnpReport::is_vlek`].
///
/// # Errors
/// [`Error::TooLarge`], and [`Error::Quote`] when an entry points outside the table, the table has no end, or it lacks the
/// endorsement key's certificate (the host then fetches it from AMD).
pub fn certificates_of_table(table: &[u8], vlek: bool) -> Result<TableCertificates, Error> {
    bound(
        "certificate table",
        table,
        crate::evidence::MAX_CERTIFICATES,
    )?;
    let entries = entries(table)?;
    let find = |guid: Guid| {
        entries
            .iter()
            .find(|(found, _)| *found == guid)
            .map(|(_, bytes)| *bytes)
    };
    let (key, name) = if vlek { (VLEK, "VLEK") } else { (VCEK, "VCEK") };
    let mut certs = find(key)
        .ok_or_else(|| {
            malformed(format!(
                "it holds no {name}; fetch the certificate from AMD for this chip and its reported TCB"
            ))
        })?
        .to_vec();
    for guid in [ASK, ARK] {
        certs.extend_from_slice(find(guid).unwrap_or_default());
    }
    Ok(TableCertificates {
        certs,
        crl: find(CRL).map(<[u8]>::to_vec),
    })
}

/// A table with this VCEK alone, DER, for platforms that give the certificate by another way.
pub fn table_of_vcek(certificate: &[u8]) -> Vec<u8> {
    // One entry, and the one that ends them.
    const OFFSET: u32 = 2 * 24;
    let length = u32::try_from(certificate.len()).unwrap_or(u32::MAX);
    let mut table = VCEK.to_vec();
    table.extend_from_slice(&OFFSET.to_le_bytes());
    table.extend_from_slice(&length.to_le_bytes());
    table.extend_from_slice(&[0; 24]);
    table.extend_from_slice(certificate);
    table
}

fn entries(table: &[u8]) -> Result<Vec<(Guid, &[u8])>, Error> {
    let mut reader = Reader::new(table);
    let mut entries = Vec::new();
    for _ in 0..=MAX_ENTRIES {
        let (guid, offset, length) =
            entry(&mut reader).map_err(|error| malformed(error.to_string()))?;
        if (guid, offset, length) == ([0; 16], 0, 0) {
            return Ok(entries);
        }
        let bytes = usize::try_from(offset)
            .ok()
            .zip(usize::try_from(length).ok())
            .and_then(|(offset, length)| table.get(offset..offset.checked_add(length)?))
            .ok_or_else(|| {
                malformed(format!(
                    "an entry points to {length} bytes at {offset}, it has {} in all",
                    table.len()
                ))
            })?;
        entries.push((guid, bytes));
    }
    Err(malformed(format!("more than {MAX_ENTRIES} entries")))
}

fn entry(reader: &mut Reader<'_>) -> Result<(Guid, u32, u32), CutOff> {
    Ok((reader.array()?, reader.u32()?, reader.u32()?))
}

/// Cuts a table to the end of its last certificate, and wipes what no entry claims: it comes from memory that the hypervisor
/// filled. `None` when it holds no certificate.
pub(crate) fn cut_table(mut table: Vec<u8>) -> Result<Option<Vec<u8>>, Error> {
    let mut reader = Reader::new(&table);
    let mut ranges = Vec::new();
    while !table.is_empty() {
        let (guid, offset, length) =
            entry(&mut reader).map_err(|error| malformed(error.to_string()))?;
        if (guid, offset, length) == ([0; 16], 0, 0) {
            break;
        }
        if ranges.len() >= MAX_ENTRIES {
            return Err(malformed(format!("more than {MAX_ENTRIES} entries")));
        }
        let (offset, length) = (offset as usize, length as usize);
        ranges.push((offset, offset.saturating_add(length)));
    }
    if ranges.is_empty() {
        return Ok(None);
    }
    let header = reader.offset();
    let mut end = header;
    ranges.sort_unstable();
    for (from, to) in ranges {
        if from < header || to > table.len() || to > MAX_TABLE {
            return Err(malformed(format!(
                "an entry points to bytes {from} to {to} of {}",
                table.len()
            )));
        }
        table
            .get_mut(end.min(from)..from)
            .unwrap_or_default()
            .fill(0);
        end = end.max(to);
    }
    table.truncate(end);
    Ok(Some(table))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    fn table(entries: &[(Guid, &[u8])]) -> Vec<u8> {
        let mut offset = 24 * (entries.len() + 1);
        let (mut header, mut body) = (Vec::new(), Vec::new());
        for (guid, bytes) in entries {
            header.extend(guid);
            header.extend((offset as u32).to_le_bytes());
            header.extend((bytes.len() as u32).to_le_bytes());
            body.extend_from_slice(bytes);
            offset += bytes.len();
        }
        header.extend([0; 24]);
        header.extend(body);
        header
    }

    #[test]
    fn the_endorsement_key_comes_first_whatever_the_order() {
        let table = table(&[
            (ARK, b"ark"),
            (CRL, b"crl"),
            (VLEK, b"vlek"),
            (VCEK, b"vcek"),
            (ASK, b"ask"),
        ]);
        let found = certificates_of_table(&table, false).unwrap();
        assert_eq!(found.certs, b"vcekaskark");
        assert_eq!(found.crl.as_deref(), Some(&b"crl"[..]));
        let found = certificates_of_table(&table, true).unwrap();
        assert_eq!(found.certs, b"vlekaskark");
    }

    #[test]
    fn a_table_without_the_key_says_where_to_get_it() {
        let error = certificates_of_table(&table(&[(ASK, b"ask")]), false).unwrap_err();
        assert!(error.to_string().contains("fetch the certificate from AMD"));
    }

    #[test]
    fn a_table_of_a_key_alone_is_a_table() {
        let made = table_of_vcek(b"vcek");
        assert_eq!(made, table(&[(VCEK, b"vcek")]));
    }

    #[test]
    fn entries_outside_the_table_or_without_end_are_refused() {
        let mut outside = table(&[(VCEK, b"vcek")]);
        outside.pop();
        assert!(certificates_of_table(&outside, false).is_err());
        assert!(certificates_of_table(&[1; 24 * 40], false).is_err());
        assert!(certificates_of_table(&[], false).is_err());
    }
}
