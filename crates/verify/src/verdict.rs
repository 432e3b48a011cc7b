//! What a verifier found: every check with its inputs, and what to do about each failure.

mod ear;

use std::fmt;

use serde::{Serialize, Serializer};

use crate::Binding;
use crate::statement::Statement;

/// How a check came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// What it looks at is as it must be.
    Pass,
    /// It is not, or could not be established.
    Fail,
    /// The policy says not to look.
    SkippedByPolicy,
    /// There is nothing to look at in evidence of this kind, or for this question.
    NotApplicable,
}

/// What a check is about: the claims of the AR4SI trustworthiness vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Area {
    /// Who the attester is, and that it speaks now and to us.
    InstanceIdentity,
    /// How it is set up.
    Configuration,
    /// What runs.
    Executables,
    /// What it runs on.
    Hardware,
}

macro_rules! check_ids {
    ($($(#[doc = $doc:literal])+ $id:ident $name:literal $area:ident,)+) => {
        /// The checks. Their names are stable.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum CheckId { $($(#[doc = $doc])+ $id,)+ }

        impl CheckId {
            /// The name in documents.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$id => $name,)+ }
            }

            /// What it is about.
            pub const fn area(self) -> Area {
                match self { $(Self::$id => Area::$area,)+ }
            }
        }
    };
}

check_ids! {
    /// The evidence is of the kind whose root the policy names: a vendor's hardware, or one simulator.
    TrustDomain "trust-domain" Hardware,
    /// The quote or report is well formed, of a TD or an SNP guest, in a version that is known.
    QuoteForm "quote-form" Hardware,
    /// Nothing follows the quote.
    QuoteLength "quote-length" Hardware,
    /// The certificates lead to the root that the policy names.
    CertificateChain "certificate-chain" Hardware,
    /// No certificate is revoked (SEV-SNP; on TDX it is part of `collateral`).
    Revocation "revocation" Hardware,
    /// The report is signed by the attestation key (TDX) or the endorsement key (SEV-SNP).
    QuoteSignature "quote-signature" Hardware,
    /// The quoting enclave vouches for the attestation key (TDX).
    QeBinding "qe-binding" Hardware,
    /// The platform's key signs the quoting enclave's report (TDX).
    QeSignature "qe-signature" Hardware,
    /// TCB info, QE identity and CRLs are signed, in date, and fit the platform and the quoting enclave (TDX).
    Collateral "collateral" Hardware,
    /// The processor's generation is accepted (SEV-SNP).
    Generation "generation" Hardware,
    /// The endorsement key is that of the reported firmware and of this chip (SEV-SNP).
    Endorsement "endorsement" Hardware,
    /// The firmware's security versions are accepted.
    TcbStatus "tcb-status" Hardware,
    /// The collateral knows of the latest TCB recovery that the verifier knows of (TDX).
    TcbEvaluation "tcb-evaluation" Hardware,
    /// No refused advisory applies (TDX).
    Advisories "advisories" Hardware,
    /// The platform's flags are accepted: SMT, packages that can be added, cached keys.
    PlatformFlags "platform-flags" Hardware,
    /// The machine is one of those that are accepted.
    Platform "platform" Hardware,
    /// The guest can not be debugged, profiled or migrated.
    GuestProtection "guest-protection" Configuration,
    /// No service TD is bound (TDX).
    ServiceTd "service-td" Configuration,
    /// The report comes from the expected privilege level (SEV-SNP).
    Vmpl "vmpl" Configuration,
    /// The image's measurements match a reference, all together.
    Measurements "measurements" Executables,
    /// The hardware vouches for a TPM's key: its report is over runtime data that names it (where there is a TPM).
    RuntimeData "runtime-data" Hardware,
    /// The TPM's key is one that the policy accepts.
    VtpmKey "vtpm-key" Hardware,
    /// The TPM's key signs a quote over all PCRs, and those that came along are these.
    VtpmQuote "vtpm-quote" Hardware,
    /// The PCRs are those of a reference, all together.
    Pcrs "pcrs" Executables,
    /// The boot log leads to the quote's registers, and its events are those that the policy names (TDX, TPM).
    BootLog "boot-log" Executables,
    /// The list of measured files leads to PCR10, and the files are those that the policy names (TPM).
    Files "files" Executables,
    /// The register holds the image's value extended by the log (TDX).
    Register "register" Executables,
    /// The binding is well formed.
    BindingForm "binding-form" InstanceIdentity,
    /// The report data is that of the binding.
    ReportData "report-data" InstanceIdentity,
    /// The quote was made for the purpose that it is used for.
    Purpose "purpose" InstanceIdentity,
    /// The backend that the binding names made the quote.
    Backend "backend" InstanceIdentity,
    /// The evidence holds the verifier's nonce.
    Nonce "nonce" InstanceIdentity,
    /// The nonce is recent.
    Age "age" InstanceIdentity,
    /// The session's key is the one in use.
    SessionKey "session-key" InstanceIdentity,
    /// The session's id is the one in use.
    SessionId "session-id" InstanceIdentity,
    /// The client's key is the verifier's own.
    ClientKey "client-key" InstanceIdentity,
    /// The identity key is the one that is known already.
    IdentityKey "identity-key" InstanceIdentity,
    /// The key with which the host ends TLS is that of the connection.
    TlsKey "tls-key" InstanceIdentity,
    /// The result is in the batch.
    Result "result" InstanceIdentity,
    /// A component's statement is signed by the identity key.
    Statement "statement" InstanceIdentity,
    /// The component log is the one that the quote binds.
    Log "log" Executables,
    /// Every component in the log is accepted.
    Components "components" Executables,
    /// What machine code plugins run from that was compiled outside the guest.
    CompiledCode "compiled-code" Executables,
    /// The manifest is the one that the quote binds.
    Manifest "manifest" Configuration,
    /// The manifest is accepted.
    ManifestAllowed "manifest-allowed" Configuration,
    /// Those who may have the key under which the host keeps agents and payments are accepted.
    FleetKey "fleet-key" Configuration,
}

impl Serialize for CheckId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl fmt::Display for CheckId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// Which.
    #[serde(rename = "check")]
    pub id: CheckId,
    /// How it came out.
    pub status: Status,
    /// What it looked at.
    #[serde(skip_serializing_if = "Vec::is_empty", serialize_with = "as_map")]
    pub inputs: Vec<(&'static str, String)>,
    /// For a failure, one sentence that says what to do; for a check that was not made, why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

fn as_map<S: Serializer>(inputs: &[(&str, String)], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(inputs.iter().map(|(name, value)| (name, value)))
}

/// What evidence that passed is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Assurance {
    /// A check failed: rely on nothing in it.
    None,
    /// It passed under a simulator's root: it proves that the software fits, and nothing about hardware.
    Simulated,
    /// It passed under a vendor's root.
    Hardware,
}

/// What a verifier found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    pub(crate) checks: Vec<Check>,
    pub(crate) simulated: bool,
    pub(crate) policy_name: Option<String>,
    pub(crate) policy_digest: [u8; 32],
    pub(crate) at: u64,
    pub(crate) binding: Option<Binding>,
    pub(crate) statement: Option<Statement>,
    pub(crate) tcb_evaluation_data_number: Option<u32>,
}

impl Verdict {
    /// Every check, in the order in which they were made.
    pub fn checks(&self) -> &[Check] {
        &self.checks
    }

    /// The check of an id, where it was made.
    pub fn check(&self, id: CheckId) -> Option<&Check> {
        self.checks.iter().find(|check| check.id == id)
    }

    /// The checks that failed.
    pub fn failures(&self) -> impl Iterator<Item = &Check> {
        self.checks
            .iter()
            .filter(|check| check.status == Status::Fail)
    }

    /// Whether no check failed.
    pub fn passed(&self) -> bool {
        !self.checks.is_empty() && self.failures().next().is_none()
    }

    /// What the evidence is worth.
    pub fn assurance(&self) -> Assurance {
        match (self.passed(), self.simulated) {
            (false, _) => Assurance::None,
            (true, true) => Assurance::Simulated,
            (true, false) => Assurance::Hardware,
        }
    }

    /// What the evidence binds; none unless it passed. The identity key in it is the one to verify receipts with.
    pub fn binding(&self) -> Option<&Binding> {
        self.binding.as_ref().filter(|_| self.passed())
    }

    /// The component's statement, where there was one; none unless the evidence passed.
    pub fn statement(&self) -> Option<&Statement> {
        self.statement.as_ref().filter(|_| self.passed())
    }

    /// The collateral's `tcbEvaluationDataNumber` (TDX), to be expected at least next time
    /// ([`crate::Expected::last_tcb_evaluation_data_number`]); none unless the evidence passed.
    pub fn tcb_evaluation_data_number(&self) -> Option<u32> {
        self.tcb_evaluation_data_number.filter(|_| self.passed())
    }

    /// When it was judged: Unix time, seconds, by the verifier's clock.
    pub fn at(&self) -> u64 {
        self.at
    }
}

impl fmt::Display for Verdict {
    /// One line for each check.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{}",
            match self.assurance() {
                Assurance::None => "REFUSED",
                Assurance::Simulated => "passed, SIMULATED: this proves nothing about hardware",
                Assurance::Hardware => "passed",
            }
        )?;
        for check in &self.checks {
            let mark = match check.status {
                Status::Pass => "pass",
                Status::Fail => "FAIL",
                Status::SkippedByPolicy => "skip",
                Status::NotApplicable => "n/a ",
            };
            write!(f, "{mark}  {}", check.id)?;
            if let Some(reason) = &check.reason {
                write!(f, ": {reason}")?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

/// Collects checks while they are made.
#[derive(Default)]
pub(crate) struct Recorder {
    checks: Vec<Check>,
}

/// A check that is being made.
pub(crate) struct Open<'a> {
    recorder: &'a mut Recorder,
    id: CheckId,
    inputs: Vec<(&'static str, String)>,
}

impl Recorder {
    pub(crate) fn check(&mut self, id: CheckId) -> Open<'_> {
        Open {
            recorder: self,
            id,
            inputs: Vec::new(),
        }
    }

    /// Checks that need what an earlier one did not give.
    pub(crate) fn blocked(&mut self, by: CheckId, ids: &[CheckId]) {
        for id in ids {
            self.check(*id)
                .fail(format!("it could not be judged; put `{by}` right first"));
        }
    }

    pub(crate) fn not_applicable(&mut self, ids: &[CheckId], reason: &str) {
        for id in ids {
            self.check(*id).not_applicable(reason);
        }
    }

    pub(crate) fn finish(self) -> Vec<Check> {
        self.checks
    }
}

impl Open<'_> {
    pub(crate) fn input(mut self, name: &'static str, value: impl fmt::Display) -> Self {
        self.inputs.push((name, value.to_string()));
        self
    }

    pub(crate) fn hex(self, name: &'static str, value: impl AsRef<[u8]>) -> Self {
        self.input(name, const_hex::encode(value))
    }

    fn close(self, status: Status, reason: Option<String>) -> bool {
        self.recorder.checks.push(Check {
            id: self.id,
            status,
            inputs: self.inputs,
            reason,
        });
        status == Status::Pass
    }

    pub(crate) fn pass(self) {
        self.close(Status::Pass, None);
    }

    pub(crate) fn fail(self, reason: impl Into<String>) {
        self.close(Status::Fail, Some(reason.into()));
    }

    pub(crate) fn skip(self, reason: impl Into<String>) {
        self.close(Status::SkippedByPolicy, Some(reason.into()));
    }

    pub(crate) fn not_applicable(self, reason: impl Into<String>) {
        self.close(Status::NotApplicable, Some(reason.into()));
    }

    /// Passes if one of the references has all the values that were found; gives it. Otherwise the closest is named, and given as
    /// the error.
    pub(crate) fn image<'r, R, const N: usize>(
        mut self,
        section: &str,
        found: &[(&'static str, String); N],
        references: &'r [R],
        values: impl Fn(&R) -> (&str, [String; N]),
    ) -> Result<&'r R, Option<&'r R>> {
        self.inputs.extend_from_slice(found);
        let differing = |reference: &R| -> Vec<&str> {
            let (_, wanted) = values(reference);
            let pairs = found.iter().zip(wanted);
            pairs
                .filter_map(|((name, found), wanted)| (*found != wanted).then_some(*name))
                .collect()
        };
        let Some(closest) = references.iter().min_by_key(|r| differing(r).len()) else {
            self.fail(format!("the policy has no reference values, so nothing matches; add the image's as `[[{section}.reference]]`"));
            return Err(None);
        };
        let (name, differing) = (values(closest).0, differing(closest).join(", "));
        let matched = self.input("reference", name).require(differing.is_empty(), || {
            format!("this is no image that the policy names (nearest is `{name}`, which differs in {differing}); do not rely on this host, or add its values as `[[{section}.reference]]` once you know the image")
        });
        matched.then_some(closest).ok_or(Some(closest))
    }

    /// Passes if `holds`. Returns whether it did.
    pub(crate) fn require(self, holds: bool, reason: impl FnOnce() -> String) -> bool {
        if holds {
            self.close(Status::Pass, None)
        } else {
            self.close(Status::Fail, Some(reason()))
        }
    }
}
