//! `hv policy init`: a policy from what `hypervisor-ctl measure` says, and perhaps from evidence.

mod log;
mod reference;

use std::fmt::Write as _;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};
use hypervisor_client::attest::{
    Binding, Challenge, Evidence, Expected, ExpectedSubject, Policy as Rules, RawQuote, Subject,
    verify,
};
use hypervisor_client::attestation::now;
use hypervisor_client::protocol::HexArray;
use serde::Deserialize;

use crate::Failure;
use crate::attest::evidence;
use crate::console::{file, note, print};
use crate::tpm;
use log::{FromLog, Published};

/// The most bytes of a measurement: a manifest and a component log, both bounded by the host.
const MAX_MEASURE: usize = 8 << 20;
const MEASURE_VERSION: u32 = 1;

#[derive(Debug, Args)]
pub(crate) struct Policy {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Write a policy for the host that `hypervisor-ctl measure` measured.
    Init(Init),
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hypervisor-ctl measure --config hypervisor.toml --output json > measure.json
  hv attest https://host.example --to evidence.cbor
  hv policy init --measure measure.json --evidence evidence.cbor --to policy.toml
  hv policy init --log log --log-key log.key.pub --to policy.toml

Without --evidence the policy names no guest image and refuses every host until you add the image's values; with --log it has those
of the log. With --log every reference value is in the log, or nothing is written (exit status 3).")]
struct Init {
    /// What `hypervisor-ctl measure --output json` printed for the configuration and components that you trust.
    #[arg(long, value_name = "FILE", required_unless_present_any = ["log", "proof"])]
    measure: Option<PathBuf>,
    /// Take the guest image's measurements from this evidence: trust on first use, unless a log has them.
    #[arg(long, value_name = "FILE")]
    evidence: Option<PathBuf>,
    /// For tests: believe the simulator with this root (SHA-256 of its certificate) and no hardware.
    #[arg(long, value_name = "HEX")]
    simulated_root: Option<HexArray<32>>,
    #[command(flatten)]
    from_log: FromLog,
    /// File for the policy; it must not be there yet.
    #[arg(long, value_name = "FILE")]
    to: PathBuf,
}

/// What `hypervisor-ctl measure` prints, as far as a policy needs it.
#[derive(Debug, Deserialize)]
struct Measure {
    version: u32,
    manifest_sha384: HexArray<48>,
    log: Log,
    backend: String,
    #[serde(default)]
    manifest: Manifest,
}

/// The manifest, as far as a policy needs it.
#[derive(Debug, Default, Deserialize)]
struct Manifest {
    #[serde(default)]
    components: Vec<Plugin>,
}

#[derive(Debug, Deserialize)]
struct Plugin {
    #[serde(default)]
    compiled_sha384: Option<HexArray<48>>,
}

#[derive(Debug, Deserialize)]
struct Log {
    entries: Vec<Entry>,
}

#[derive(Debug, Deserialize)]
struct Entry {
    name: String,
    digest: HexArray<48>,
}

/// The reference values that a policy is made of, but for images.
#[derive(Debug, Clone)]
struct Values {
    manifests: Vec<HexArray<48>>,
    components: Vec<(String, HexArray<48>)>,
    compiled: Vec<HexArray<48>>,
    backend: String,
}

impl From<Measure> for Values {
    fn from(measure: Measure) -> Self {
        let components = measure.log.entries.into_iter();
        let plugins = measure.manifest.components.into_iter();
        Self {
            manifests: vec![measure.manifest_sha384],
            components: components.map(|it| (it.name, it.digest)).collect(),
            compiled: plugins.filter_map(|it| it.compiled_sha384).collect(),
            backend: measure.backend,
        }
    }
}

impl Measure {
    fn parse(bytes: &[u8]) -> Result<Self, String> {
        if bytes.len() > MAX_MEASURE {
            return Err(format!("it has more than {MAX_MEASURE} bytes"));
        }
        let measure: Self = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        match measure.version {
            MEASURE_VERSION => Ok(measure),
            other => Err(format!(
                "it has version {other}, this program reads version {MEASURE_VERSION}"
            )),
        }
    }
}

impl Policy {
    pub(crate) fn execute(&self) -> Result<ExitCode, Failure> {
        let Command::Init(init) = &self.command;
        init.execute()
    }
}

impl Init {
    fn execute(&self) -> Result<ExitCode, Failure> {
        let mut published = self.from_log.read()?;
        let values = match (&self.measure, &mut published) {
            (Some(path), _) => read_measure(path)?.into(),
            (None, Some(published)) => published.values()?,
            // clap asked for one of them.
            (None, None) => return Err(Failure::Usage("name --measure or --log".to_owned())),
        };
        let evidence = self.evidence.as_deref().map(evidence).transpose()?;
        let text = self.compose(&values, evidence.as_ref(), published.as_ref())?;
        // What is written is what `hv verify` will read.
        let policy = Rules::parse(&text).map_err(|error| Failure::Input(error.to_string()))?;
        if let Some(published) = &published {
            published.check(&policy.rules)?;
        }
        let written = std::fs::File::create_new(&self.to)
            .and_then(|mut file| file.write_all(text.as_bytes()));
        written.map_err(|source| Failure::Io {
            what: match source.kind() {
                io::ErrorKind::AlreadyExists => format!(
                    "{} is there already; name another file or remove it",
                    self.to.display()
                ),
                _ => format!("cannot write {}", self.to.display()),
            },
            source,
        })?;
        if policy.rules.components.compiled.is_none() {
            warn(format_args!(
                "a plugin runs from machine code that was compiled elsewhere; read what the policy says of `components.compiled`"
            ))?;
        }
        match &evidence {
            Some(evidence) => warn_if_refused(&policy, evidence)?,
            None if policy.rules.tdx.reference.is_empty()
                && policy.rules.snp.reference.is_empty() =>
            {
                warn(format_args!(
                    "the policy names no guest image and so refuses every host; add one, or start over with --evidence"
                ))?
            }
            None => {}
        }
        if let Some(published) = &published {
            note(format_args!(
                "every reference value is in {}",
                published.name()
            ))?;
        }
        print(|out| writeln!(out, "wrote {}", self.to.display()))?;
        Ok(ExitCode::SUCCESS)
    }

    fn compose(
        &self,
        values: &Values,
        evidence: Option<&Evidence>,
        published: Option<&Published>,
    ) -> Result<String, Failure> {
        let mut text = format!(
            "# What evidence of a host must show. Written by `hv policy init`; it is yours to change.\nversion = 1\n\n[roots]\n{}\n",
            self.roots(values, evidence)?
        );
        if let Some(published) = published {
            text.push_str(&published.section()?);
        }
        text.push_str(
            "\n[freshness]\nnonce_required = true\nmax_age = \"5m\"\n\n[manifest]\n# SHA-384 of the measured manifest: host version, engine settings, components, policy rules, limits.\n",
        );
        line(
            &mut text,
            format_args!("allowed = {}", list(&values.manifests)),
        );
        // Tables of TOML: what belongs to [components] itself comes before its list.
        let vouched = published.is_some_and(|log| log.vouches_for(&values.compiled));
        compiled(&mut text, &values.compiled, vouched);
        if !values.components.is_empty() {
            text.push_str(
                "# The measured components. A host that loads any other one is refused.\n",
            );
        }
        for (name, digest) in &values.components {
            let name = toml::Value::from(name.as_str());
            line(
                &mut text,
                format_args!("[[components.allowed]]\nname = {name}\ndigest = \"{digest}\"\n"),
            );
        }
        if let Some(evidence) = evidence {
            text.push('\n');
            text.push_str(&reference::floors(evidence));
            // Values of the log are nobody's word on first use; those that it has not are refused at the end.
            let name = match published {
                Some(_) => "of the log",
                None => {
                    text.push_str(reference::FIRST_USE);
                    "first use"
                }
            };
            let image = reference::image(evidence, name).map_err(|reason| {
                let reason = format!("{reason}; save fresh evidence with `hv attest`");
                Failure::Input(reason)
            })?;
            text.push_str(&image);
            if published.is_some() && evidence.vtpm.is_some() {
                return Err(Failure::Refused(
                    "the host attests through a TPM, and the log holds no values of its registers; leave out --log to take them on first use"
                        .to_owned(),
                ));
            }
            text.push_str(&tpm::policy(evidence));
        } else if let Some(published) = published {
            text.push_str(&published.images()?);
        }
        Ok(text)
    }

    /// One simulator where its root was given, else the vendor of the evidence or of the measuring machine, else both.
    fn roots(&self, values: &Values, evidence: Option<&Evidence>) -> Result<String, Failure> {
        if let Some(root) = &self.simulated_root {
            return Ok(format!(
                "# SIMULATED: evidence under this root proves nothing about hardware. For tests only.\nsimulated = \"{root}\""
            ));
        }
        let simulated = evidence
            .and_then(|evidence| Binding::decode(&evidence.binding).ok())
            .map_or(values.backend == "simulated", |binding| {
                binding.header().flags.simulated
            });
        if simulated {
            return Err(Failure::Usage(
                "this host is simulated and proves nothing about hardware; if that is what you want, give --simulated-root, which `hypervisor-ctl check --output json` prints as `attestation.simulated_root`".to_owned(),
            ));
        }
        let vendors = match (
            evidence.map(|evidence| &evidence.quote),
            values.backend.as_str(),
        ) {
            (Some(RawQuote::Tdx(_)), _) | (None, "tdx") => "[\"intel\"]",
            (Some(RawQuote::SevSnp { .. }), _) | (None, "sev-snp") => "[\"amd\"]",
            _ => "[\"intel\", \"amd\"]",
        };
        Ok(format!("vendors = {vendors}"))
    }
}

fn read_measure(path: &Path) -> Result<Measure, Failure> {
    let wrong = |reason: String| {
        Failure::Input(format!(
            "{} is not what `hypervisor-ctl measure --output json` prints: {reason}",
            path.display()
        ))
    };
    Measure::parse(&file(path)?).map_err(wrong)
}

/// What is to be decided about components as such.
fn compiled(text: &mut String, digests: &[HexArray<48>], vouched: bool) {
    text.push_str(
        "\n[components]\n# Agents are accepted without being named: clients deploy them, and they have no part in other executions. `hv call --digest`\n# calls one component and no other. Set it to false where you know all agents of the host.\nagents = true\n",
    );
    if digests.is_empty() {
        text.push_str("# Every plugin is compiled inside the guest.\ncompiled = []\n\n");
        return;
    }
    let mark = match vouched {
        true => {
            text.push_str("# These plugins run from machine code that was compiled before; it is in the log.\n");
            ""
        }
        false => {
            text.push_str(
                "# These plugins run from machine code that was compiled before, elsewhere. Only its maker knows that it was made from the component below.\n# Compile it yourself with `hypervisor-ctl compile`, compare, and take the mark away from the next line; the verdict says `skip` until then.\n",
            );
            "# "
        }
    };
    line(text, format_args!("{mark}compiled = {}\n", list(digests)));
}

/// Digests as a list of TOML.
fn list(digests: &[HexArray<48>]) -> String {
    let digests: Vec<String> = digests.iter().map(|it| format!("\"{it}\"")).collect();
    format!("[{}]", digests.join(", "))
}

/// The evidence under the policy that was made from it: whatever fails now will fail tomorrow.
fn warn_if_refused(policy: &Rules, evidence: &Evidence) -> Result<(), Failure> {
    let binding = Binding::of(evidence).ok();
    let challenge = binding
        .as_ref()
        .and_then(|binding| binding.nonce.clone())
        .map(|nonce| Challenge {
            nonce,
            made_at: now(),
        });
    let subject = match binding.map(|binding| binding.subject) {
        Some(Subject::Session {
            session_public_key,
            session_id,
            client_public_key,
        }) => ExpectedSubject::Session {
            session_public_key,
            session_id,
            client_public_key,
        },
        _ => ExpectedSubject::Identity,
    };
    let verdict = verify(evidence, policy, &Expected::new(subject, challenge), now());
    for check in verdict.failures() {
        warn(format_args!(
            "this policy refuses the evidence that it was made from: {}: {}",
            check.id,
            check.reason.as_deref().unwrap_or_default()
        ))?;
    }
    Ok(())
}

fn warn(text: std::fmt::Arguments<'_>) -> Result<(), Failure> {
    note(format_args!("warning: {text}"))
}

/// Writing to a `String` does not fail.
fn line(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    let _ = writeln!(text, "{arguments}");
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn init() -> Init {
        Init {
            measure: None,
            evidence: None,
            simulated_root: None,
            from_log: FromLog::default(),
            to: PathBuf::new(),
        }
    }

    fn values(name: &str, backend: &str) -> Values {
        Values {
            manifests: vec![HexArray([1; 48])],
            components: vec![(name.to_owned(), HexArray([2; 48]))],
            compiled: Vec::new(),
            backend: backend.to_owned(),
        }
    }

    #[test]
    fn the_roots_are_those_of_the_measuring_machine_and_both_where_it_has_no_tee() {
        for (backend, vendors) in [
            ("tdx", "vendors = [\"intel\"]"),
            ("sev-snp", "vendors = [\"amd\"]"),
            ("none", "vendors = [\"intel\", \"amd\"]"),
        ] {
            let text = init()
                .compose(&values("policy", backend), None, None)
                .unwrap();
            assert!(text.contains(vendors), "{text}");
        }
    }

    #[test]
    fn machine_code_from_elsewhere_is_for_the_owner_of_the_policy_to_accept() {
        let mut values = values("script", "none");
        let text = init().compose(&values, None, None).unwrap();
        let policy = Rules::parse(&text).unwrap();
        assert_eq!(policy.rules.components.compiled, Some(Vec::new()));
        values.compiled.push(HexArray([3; 48]));
        let text = init().compose(&values, None, None).unwrap();
        assert_eq!(Rules::parse(&text).unwrap().rules.components.compiled, None);
        let marked = format!("# compiled = [\"{}\"]", HexArray([3; 48]));
        let accepted = text.replace(&marked, marked.trim_start_matches("# "));
        let rules = Rules::parse(&accepted).unwrap().rules;
        assert_eq!(rules.components.compiled, Some(vec![HexArray([3; 48])]));
    }

    proptest! {
        #[test]
        fn a_component_of_any_name_is_named_by_the_policy(name in any::<String>()) {
            let text = init().compose(&values(&name, "none"), None, None).unwrap();
            let rules = Rules::parse(&text).unwrap().rules;
            prop_assert_eq!(rules.components.allowed.len(), 1);
            let allowed = rules.components.allowed.first().unwrap();
            prop_assert_eq!(allowed.name.as_deref(), Some(name.as_str()));
            prop_assert_eq!(allowed.digest, HexArray([2; 48]));
            prop_assert!(!rules.components.any && !rules.manifest.any);
        }

        #[test]
        fn no_bytes_make_the_reader_of_measurements_panic(bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
            let _ = Measure::parse(&bytes);
        }
    }
}
