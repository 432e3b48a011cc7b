//! The verdict as an EAT attestation result (draft-ietf-rats-ear): the AR4SI trustworthiness vector on top, the list of
//! checks below it. The document is not signed here; who passes it on signs it.

use serde_json::{Map, Value, json};

use super::{Area, Assurance, Status, Verdict};

/// Values of the vector (draft-ietf-rats-ar4si).
const NO_CLAIM: i8 = 0;
const AFFIRMING: i8 = 2;
const WARNING: i8 = 32;
const CONTRAINDICATED: i8 = 96;

const PROFILE: &str = "tag:github.com,2023:veraison/ear";

impl Area {
    const ALL: [Self; 4] = [
        Self::InstanceIdentity,
        Self::Configuration,
        Self::Executables,
        Self::Hardware,
    ];

    const fn claim(self) -> &'static str {
        match self {
            Self::InstanceIdentity => "instance-identity",
            Self::Configuration => "configuration",
            Self::Executables => "executables",
            Self::Hardware => "hardware",
        }
    }
}

impl Verdict {
    fn tier(&self, area: Area) -> i8 {
        let of_area = || self.checks.iter().filter(|check| check.id.area() == area);
        if of_area().any(|check| check.status == Status::Fail) {
            CONTRAINDICATED
        } else if area == Area::Hardware && self.simulated {
            WARNING
        } else if of_area().any(|check| check.status == Status::Pass) {
            AFFIRMING
        } else {
            NO_CLAIM
        }
    }

    /// The verdict as EAR-shaped JSON. `hypervisor.checks` has every check, `hypervisor.assurance` says `hardware`,
    /// `simulated` or `none`.
    pub fn to_ear(&self) -> Value {
        let vector: Map<String, Value> = Area::ALL
            .into_iter()
            .map(|area| (area.claim().to_owned(), self.tier(area).into()))
            .collect();
        let status = match self.assurance() {
            Assurance::None => "contraindicated",
            Assurance::Simulated => "warning",
            Assurance::Hardware => "affirming",
        };
        json!({
            "eat_profile": PROFILE,
            "iat": self.at,
            "ear.verifier-id": {
                "developer": env!("CARGO_PKG_NAME"),
                "build": env!("CARGO_PKG_VERSION"),
            },
            "submods": {
                "hypervisor": {
                    "ear.status": status,
                    "ear.trustworthiness-vector": vector,
                    "ear.appraisal-policy-id": format!("sha-256:{}", const_hex::encode(self.policy_digest)),
                    "hypervisor.policy-name": self.policy_name,
                    "hypervisor.assurance": self.assurance(),
                    "hypervisor.checks": self.checks,
                },
            },
        })
    }
}
