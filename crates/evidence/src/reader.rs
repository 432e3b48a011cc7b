//! Bounds-checked reading of the hardware's little-endian structures.

/// What is left to read.
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
    offset: usize,
}

/// The input ended: where, and how many bytes were wanted there.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CutOff {
    pub(crate) offset: usize,
    pub(crate) wanted: usize,
}

impl std::fmt::Display for CutOff {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "cut off: {} bytes should stand at byte {}",
            self.wanted, self.offset
        )
    }
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self {
            rest: bytes,
            offset: 0,
        }
    }

    pub(crate) fn bytes(&mut self, length: usize) -> Result<&'a [u8], CutOff> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(CutOff {
            offset: self.offset,
            wanted: length,
        })?;
        self.rest = rest;
        self.offset = self.offset.saturating_add(length);
        Ok(taken)
    }

    /// What follows `length` bytes that say nothing.
    pub(crate) fn after(&mut self, length: usize) -> Result<&mut Self, CutOff> {
        self.bytes(length)?;
        Ok(self)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], CutOff> {
        let offset = self.offset;
        self.bytes(N)?
            .try_into()
            .map_err(|_| CutOff { offset, wanted: N })
    }

    pub(crate) fn u16(&mut self) -> Result<u16, CutOff> {
        self.array().map(u16::from_le_bytes)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, CutOff> {
        self.array().map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Result<u64, CutOff> {
        self.array().map(u64::from_le_bytes)
    }

    /// Bytes after a u32 length.
    pub(crate) fn prefixed_u32(&mut self) -> Result<&'a [u8], CutOff> {
        let length = self.u32()?;
        // A length that a 32-bit machine can not hold is beyond the input anyway.
        self.bytes(usize::try_from(length).unwrap_or(usize::MAX))
    }

    /// Bytes after a u16 length.
    pub(crate) fn prefixed_u16(&mut self) -> Result<&'a [u8], CutOff> {
        let length = self.u16()?;
        self.bytes(length.into())
    }

    pub(crate) fn offset(&self) -> usize {
        self.offset
    }

    pub(crate) fn rest(&self) -> &'a [u8] {
        self.rest
    }
}
