//! What the simulated trust domain is.

/// Version of the quote and of the body in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum QuoteBody {
    /// Quote version 4, TDX 1.0 body (584 bytes).
    #[default]
    V4,
    /// Quote version 5, body type 2: TDX 1.0.
    V5Td10,
    /// Quote version 5, body type 3: TDX 1.5 (648 bytes), with the current module's TCB and the service TD.
    V5Td15,
    /// Quote version 5, body type 4: TDX 1.5 extended (885 bytes).
    V5Td15Ex,
}

impl QuoteBody {
    /// The body type of a version 5 quote.
    pub(crate) fn kind(self) -> Option<u16> {
        match self {
            Self::V4 => None,
            Self::V5Td10 => Some(2),
            Self::V5Td15 => Some(3),
            Self::V5Td15Ex => Some(4),
        }
    }
}

/// Bits of `td_attributes` (Intel TDX Module ABI specification 348551, table "TD ATTRIBUTES").
pub mod attribute {
    /// DEBUG: the host reads and writes the TD's memory.
    pub const DEBUG: u64 = 1;
    /// PERF_PROF: profiling of the TD by the host.
    pub const PERF_PROF: u64 = 1 << 5;
    /// SERVTD_EXT: the report has a hash of the service TDs' extended structure.
    pub const SERVTD_EXT: u64 = 1 << 17;
    /// SEPT_VE_DISABLE: touching a page that the host took away ends the TD. Must be set.
    pub const SEPT_VE_DISABLE: u64 = 1 << 28;
    /// MIGRATABLE: a migration TD may move the TD to another machine.
    pub const MIGRATABLE: u64 = 1 << 29;
    /// PERFMON: performance counters inside the TD.
    pub const PERFMON: u64 = 1 << 63;
}

/// XFAM of an ordinary Linux guest: x87, SSE, AVX, AVX-512, PKRU, AMX.
pub const XFAM: u64 = 0x0006_02e7;

/// The trust domain that quotes speak of.
#[derive(Debug, Clone)]
pub(crate) struct Td {
    pub(crate) body: QuoteBody,
    pub(crate) attributes: u64,
    pub(crate) xfam: u64,
    pub(crate) mrtd: [u8; 48],
    pub(crate) mr_config_id: [u8; 48],
    pub(crate) mr_owner_config: [u8; 48],
    pub(crate) mr_service_td: [u8; 48],
    pub(crate) registers: [[u8; 48]; 4],
    /// Bytes after the quote's end: how many, and which.
    pub(crate) tail: (usize, u8),
    /// Bytes after the certificate chain, inside the quote.
    pub(crate) filler: usize,
    /// Bytes of the signed part that are others than they should be, and from where on.
    pub(crate) altered: Option<(usize, Vec<u8>)>,
}

impl Default for Td {
    fn default() -> Self {
        Self {
            body: QuoteBody::default(),
            attributes: attribute::SEPT_VE_DISABLE,
            xfam: XFAM,
            mrtd: [0x11; 48],
            mr_config_id: [0; 48],
            mr_owner_config: [0; 48],
            mr_service_td: [0; 48],
            registers: crate::boot_log::boot().1,
            tail: (0, 0),
            filler: 0,
            altered: None,
        }
    }
}
