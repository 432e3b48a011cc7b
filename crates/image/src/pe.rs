//! Programs that UEFI firmware starts (PE32+): their sections, the digest that firmware measures them by, and adding sections.

use object::LittleEndian as LE;
use object::read::pe::PeFile64;

use crate::digest::Digests;
use crate::error::Error;

/// Bytes of a section's header.
const SECTION_HEADER: usize = 40;
/// Initialised data that can be read.
const READ_ONLY_DATA: u32 = 0x4000_0040;
/// Where the number of sections stands, from the signature on.
const NUMBER_OF_SECTIONS: usize = 6;
/// From the signature to the optional header.
const OPTIONAL_HEADER: usize = 24;
/// In the optional header of PE32+.
const SIZE_OF_INITIALIZED_DATA: usize = 8;
const SIZE_OF_IMAGE: usize = 56;
const CHECKSUM: usize = 64;
/// The entry of the certificate table: where it is in the file, and its size.
const CERTIFICATES: usize = 144;

/// A section.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Section<'a> {
    /// Its name, without the zeros after it.
    pub name: &'a [u8],
    /// Its bytes, as many as it has in memory.
    pub bytes: &'a [u8],
}

/// A program.
#[derive(Debug)]
pub struct Program<'a> {
    bytes: &'a [u8],
    file: PeFile64<'a>,
    what: &'static str,
}

impl<'a> Program<'a> {
    /// Reads headers. `what` names it in errors.
    ///
    /// # Errors
    /// Where it is no PE32+ program.
    pub fn parse(bytes: &'a [u8], what: &'static str) -> Result<Self, Error> {
        let file = PeFile64::parse(bytes).map_err(|error| Error::NotAProgram {
            what,
            reason: error.to_string(),
        })?;
        Ok(Self { bytes, file, what })
    }

    fn refused(&self, reason: &str) -> Error {
        Error::NotAProgram {
            what: self.what,
            reason: reason.to_owned(),
        }
    }

    /// Its sections, in the order of their headers.
    ///
    /// # Errors
    /// Where one lies outside the file.
    pub fn sections(&self) -> Result<Vec<Section<'a>>, Error> {
        self.file
            .section_table()
            .iter()
            .map(|header| {
                let (start, length) = (
                    header.pointer_to_raw_data.get(LE),
                    header
                        .virtual_size
                        .get(LE)
                        .min(header.size_of_raw_data.get(LE)),
                );
                let bytes = slice(self.bytes, start, length)
                    .ok_or_else(|| self.refused("a section lies outside the file"))?;
                Ok(Section {
                    name: header.raw_name().trim_ascii_end(),
                    bytes,
                })
                .map(|section| Section {
                    name: without_zeros(section.name),
                    ..section
                })
            })
            .collect()
    }

    /// Where the signature stands.
    fn signature(&self) -> usize {
        usize::try_from(self.file.dos_header().nt_headers_offset()).unwrap_or(usize::MAX)
    }

    /// What firmware measures it by: the Authenticode digest (Microsoft, "Windows Authenticode Portable Executable Signature Format"),
    /// of everything but the checksum and the signatures.
    ///
    /// # Errors
    /// Where headers point outside the file.
    pub fn authenticode(&self) -> Result<Digests, Error> {
        let outside = || self.refused("its headers point outside the file");
        let optional = self.signature().saturating_add(OPTIONAL_HEADER);
        let headers = self
            .file
            .nt_headers()
            .optional_header
            .size_of_headers
            .get(LE);
        let (checksum, certificates) = (
            optional.saturating_add(CHECKSUM),
            optional.saturating_add(CERTIFICATES),
        );
        let range = |from: usize, to: usize| self.bytes.get(from..to).ok_or_else(outside);
        let headers_end = usize::try_from(headers).unwrap_or(usize::MAX);
        let mut parts = vec![
            range(0, checksum)?,
            range(checksum.saturating_add(4), certificates)?,
            range(certificates.saturating_add(8), headers_end)?,
        ];
        let mut sections: Vec<(u32, u32)> = self
            .file
            .section_table()
            .iter()
            .map(|header| {
                (
                    header.pointer_to_raw_data.get(LE),
                    header.size_of_raw_data.get(LE),
                )
            })
            .filter(|(_, length)| *length > 0)
            .collect();
        sections.sort_unstable();
        let mut hashed = headers_end;
        for (start, length) in sections {
            parts.push(slice(self.bytes, start, length).ok_or_else(outside)?);
            hashed = hashed.saturating_add(usize::try_from(length).unwrap_or(usize::MAX));
        }
        // What follows the sections, without the certificates, which are at the end.
        let signed = self
            .bytes
            .get(certificates.saturating_add(4)..certificates.saturating_add(8))
            .and_then(|size| size.try_into().ok())
            .map_or(0, u32::from_le_bytes);
        let end = self
            .bytes
            .len()
            .saturating_sub(usize::try_from(signed).unwrap_or(usize::MAX));
        if end > hashed {
            parts.push(range(hashed, end)?);
        }
        Ok(Digests::of_parts(parts))
    }

    /// The program with further sections of read-only data, after those that it has.
    ///
    /// # Errors
    /// Where its headers have no room for as many.
    pub fn with_sections(&self, sections: &[(&str, &[u8])]) -> Result<Vec<u8>, Error> {
        let header = &self.file.nt_headers().optional_header;
        let (in_memory, in_file) = (
            header.section_alignment.get(LE),
            header.file_alignment.get(LE),
        );
        let table = self.file.section_table();
        let too_large = || self.refused("with these sections it would be larger than 4 GiB");
        let mut address = table
            .iter()
            .map(|section| {
                section
                    .virtual_address
                    .get(LE)
                    .saturating_add(section.virtual_size.get(LE))
            })
            .max()
            .unwrap_or_default();
        let signature = self.signature();
        let optional = signature.saturating_add(OPTIONAL_HEADER);
        let size_of_optional = self
            .file
            .nt_headers()
            .file_header
            .size_of_optional_header
            .get(LE);
        let mut at = optional
            .saturating_add(size_of_optional.into())
            .saturating_add(table.len().saturating_mul(SECTION_HEADER));
        let room = usize::try_from(header.size_of_headers.get(LE)).unwrap_or_default();
        if at.saturating_add(sections.len().saturating_mul(SECTION_HEADER)) > room {
            return Err(self.refused("its headers have no room for more sections"));
        }
        let mut program = self.bytes.to_vec();
        let mut data = header.size_of_initialized_data.get(LE);
        for (name, bytes) in sections {
            let size = u32::try_from(bytes.len()).map_err(|_| too_large())?;
            address = address
                .checked_next_multiple_of(in_memory)
                .ok_or_else(too_large)?;
            let padded = size
                .checked_next_multiple_of(in_file)
                .ok_or_else(too_large)?;
            program.resize(
                program
                    .len()
                    .next_multiple_of(usize::try_from(in_file).unwrap_or(1)),
                0,
            );
            let start = u32::try_from(program.len()).map_err(|_| too_large())?;
            program.extend_from_slice(bytes);
            let end = start.checked_add(padded).ok_or_else(too_large)?;
            program.resize(usize::try_from(end).unwrap_or_default(), 0);
            let mut new = [0; SECTION_HEADER];
            for (to, from) in new.iter_mut().zip(name.bytes().take(8)) {
                *to = from;
            }
            for (field, value) in [
                (8, size),
                (12, address),
                (16, padded),
                (20, start),
                (36, READ_ONLY_DATA),
            ] {
                put(&mut new, field, &value.to_le_bytes());
            }
            put(&mut program, at, &new);
            at = at.saturating_add(SECTION_HEADER);
            address = address.checked_add(size).ok_or_else(too_large)?;
            data = data.checked_add(padded).ok_or_else(too_large)?;
        }
        let number = u16::try_from(table.len().saturating_add(sections.len())).unwrap_or(u16::MAX);
        let image = address
            .checked_next_multiple_of(in_memory)
            .ok_or_else(too_large)?;
        put(
            &mut program,
            signature.saturating_add(NUMBER_OF_SECTIONS),
            &number.to_le_bytes(),
        );
        for (field, value) in [
            (SIZE_OF_INITIALIZED_DATA, data),
            (SIZE_OF_IMAGE, image),
            (CHECKSUM, 0),
        ] {
            put(
                &mut program,
                optional.saturating_add(field),
                &value.to_le_bytes(),
            );
        }
        Ok(program)
    }
}

fn without_zeros(name: &[u8]) -> &[u8] {
    let end = name.iter().position(|byte| *byte == 0);
    end.and_then(|end| name.get(..end)).unwrap_or(name)
}

fn slice(bytes: &[u8], start: u32, length: u32) -> Option<&[u8]> {
    let start = usize::try_from(start).ok()?;
    bytes.get(start..start.checked_add(usize::try_from(length).ok()?)?)
}

fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    if let Some(field) = bytes.get_mut(at..at.saturating_add(value.len())) {
        field.copy_from_slice(value);
    }
}
