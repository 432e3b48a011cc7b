//! What the simulated machine is: its TCB levels, its flags, and what its collateral says of it.

/// TCB level of the simulated platform. The collateral has all of them, the PCK certificate's PCE SVN picks one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PlatformTcb {
    /// `UpToDate`.
    #[default]
    UpToDate,
    /// `SWHardeningNeeded`.
    SwHardeningNeeded,
    /// `ConfigurationNeeded`.
    ConfigurationNeeded,
    /// `ConfigurationAndSWHardeningNeeded`.
    ConfigurationAndSwHardeningNeeded,
    /// `OutOfDate`.
    OutOfDate,
    /// `OutOfDateConfigurationNeeded`.
    OutOfDateConfigurationNeeded,
    /// `Revoked`.
    Revoked,
    /// Below every level of the collateral.
    Unlisted,
}

impl PlatformTcb {
    /// The levels that the collateral lists, highest first.
    pub(crate) const LISTED: [Self; 7] = [
        Self::UpToDate,
        Self::SwHardeningNeeded,
        Self::ConfigurationNeeded,
        Self::ConfigurationAndSwHardeningNeeded,
        Self::OutOfDate,
        Self::OutOfDateConfigurationNeeded,
        Self::Revoked,
    ];

    /// The PCE SVN that meets this level and no higher one.
    pub(crate) fn pce_svn(self) -> u16 {
        match self {
            Self::UpToDate => 11,
            Self::SwHardeningNeeded => 10,
            Self::ConfigurationNeeded => 9,
            Self::ConfigurationAndSwHardeningNeeded => 8,
            Self::OutOfDate => 6,
            Self::OutOfDateConfigurationNeeded => 5,
            Self::Revoked => 3,
            Self::Unlisted => 1,
        }
    }

    pub(crate) fn status(self) -> &'static str {
        match self {
            Self::UpToDate => "UpToDate",
            Self::SwHardeningNeeded => "SWHardeningNeeded",
            Self::ConfigurationNeeded => "ConfigurationNeeded",
            Self::ConfigurationAndSwHardeningNeeded => "ConfigurationAndSWHardeningNeeded",
            Self::OutOfDate => "OutOfDate",
            Self::OutOfDateConfigurationNeeded => "OutOfDateConfigurationNeeded",
            Self::Revoked | Self::Unlisted => "Revoked",
        }
    }
}

/// TCB level of a part with an SVN of its own: the TDX module, or the quoting enclave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ComponentTcb {
    /// `UpToDate`.
    #[default]
    UpToDate,
    /// `OutOfDate`.
    OutOfDate,
    /// `Revoked`.
    Revoked,
    /// Below every level of the collateral.
    Unlisted,
}

impl ComponentTcb {
    pub(crate) const LISTED: [Self; 3] = [Self::UpToDate, Self::OutOfDate, Self::Revoked];

    /// The SVN that meets this level and no higher one.
    pub(crate) fn svn(self) -> u8 {
        match self {
            Self::UpToDate => 6,
            Self::OutOfDate => 4,
            Self::Revoked => 2,
            Self::Unlisted => 1,
        }
    }

    pub(crate) fn status(self) -> &'static str {
        match self {
            Self::UpToDate => "UpToDate",
            Self::OutOfDate => "OutOfDate",
            Self::Revoked | Self::Unlisted => "Revoked",
        }
    }
}

/// The simulated machine and its collateral.
#[derive(Debug, Clone)]
pub(crate) struct Platform {
    pub(crate) fmspc: [u8; 6],
    pub(crate) cpu_svn: [u8; 16],
    pub(crate) tcb: PlatformTcb,
    pub(crate) module: ComponentTcb,
    pub(crate) current_module: Option<ComponentTcb>,
    pub(crate) qe: ComponentTcb,
    pub(crate) wrong_qe: bool,
    pub(crate) dynamic_platform: bool,
    pub(crate) cached_keys: bool,
    pub(crate) smt: bool,
    pub(crate) pck_revoked: bool,
    pub(crate) pck_ca_revoked: bool,
    pub(crate) collateral: CollateralOptions,
}

/// What the collateral says.
#[derive(Debug, Clone)]
pub(crate) struct CollateralOptions {
    /// Unix seconds.
    pub(crate) issued: u64,
    /// Unix seconds.
    pub(crate) next_update: u64,
    pub(crate) fmspc: Option<[u8; 6]>,
    pub(crate) evaluation: u32,
    pub(crate) advisories: Vec<String>,
}

/// 2025-01-01T00:00:00Z.
pub(crate) const COLLATERAL_FROM: u64 = 1_735_689_600;
/// 2049-12-31T00:00:00Z: the last year that X.509's short form of time can hold.
pub(crate) const COLLATERAL_UNTIL: u64 = 2_524_521_600;

impl Default for Platform {
    fn default() -> Self {
        Self {
            // A family-model-stepping code of zeros and a mark: no real platform has it.
            fmspc: [0x51, 0x4d, 0, 0, 0, 0],
            cpu_svn: [3, 3, 2, 2, 4, 1, 0, 5, 0, 0, 0, 0, 0, 0, 0, 0],
            tcb: PlatformTcb::default(),
            module: ComponentTcb::default(),
            current_module: None,
            qe: ComponentTcb::default(),
            wrong_qe: false,
            dynamic_platform: false,
            cached_keys: false,
            smt: false,
            pck_revoked: false,
            pck_ca_revoked: false,
            collateral: CollateralOptions {
                issued: COLLATERAL_FROM,
                next_update: COLLATERAL_UNTIL,
                fmspc: None,
                evaluation: 20,
                advisories: Vec::new(),
            },
        }
    }
}
