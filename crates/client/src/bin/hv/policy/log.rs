//! Reference values that a transparency log holds, and nothing else.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use clap::Args;
use hypervisor_client::attest::policy::{SnpReference, TdxReference, Transparency};
use hypervisor_client::attest::{Policy as Rules, policy};
use hypervisor_client::protocol::HexArray;
use hypervisor_tlog::note::Algorithm;
use hypervisor_tlog::{
    Entry, Error, Folder, Head, Kind, Proof, SignedCheckpoint, Trusted, VerifierKey, entry, proof,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Values;
use crate::Failure;
use crate::console::file;

#[derive(Debug, Default, Args)]
pub(super) struct FromLog {
    /// Take reference values only as far as they are in the transparency log in this folder.
    #[arg(long, value_name = "DIR", conflicts_with = "proof")]
    log: Option<PathBuf>,
    /// The same with proofs of single entries, as `hypervisor-ctl publish prove` writes them.
    #[arg(long, value_name = "FILE")]
    proof: Vec<PathBuf>,
    /// The log's key, or a file with it.
    #[arg(long, value_name = "KEY", value_parser = VerifierKey::given)]
    log_key: Option<VerifierKey>,
    /// A witness' key, or a file with it.
    #[arg(long, value_name = "KEY", value_parser = VerifierKey::given, requires = "log_key")]
    witness: Vec<VerifierKey>,
    /// How many of the witnesses have to have cosigned; all, where left out.
    #[arg(long, value_name = "NUMBER", requires = "witness")]
    witnesses: Option<usize>,
    /// The release whose values are taken; without --measure, that of the log's last entry where left out.
    #[arg(long, value_name = "NAME")]
    release: Option<String>,
    /// A policy that was made from this log before: its keys are taken, and the log must have grown from its checkpoint.
    #[arg(long, value_name = "POLICY", conflicts_with_all = ["log_key", "witness"])]
    since: Option<PathBuf>,
}

type Index<'a> = HashMap<HexArray<48>, Vec<&'a Entry>>;

/// What a log says, proved.
pub(super) struct Published {
    entries: Vec<Entry>,
    trusted: Trusted,
    head: Head,
    checkpoint: SignedCheckpoint,
}

fn refused(error: Error) -> Failure {
    match error.is_refusal() {
        true => Failure::Refused(error.to_string()),
        false => Failure::Input(error.to_string()),
    }
}

impl FromLog {
    /// Whether values are to come from a log.
    pub(super) fn is_asked(&self) -> bool {
        self.log.is_some() || !self.proof.is_empty()
    }

    /// The entries that may be used; none where no log was named.
    ///
    /// # Errors
    /// [`Failure::Refused`] for a log or a proof that is not to be believed.
    pub(super) fn read(&self) -> Result<Option<Published>, Failure> {
        if !self.is_asked() {
            return match self.log_key.is_some() || self.since.is_some() || self.release.is_some() {
                true => Err(Failure::Usage(
                    "name the log with --log, or proofs with --proof".to_owned(),
                )),
                false => Ok(None),
            };
        }
        let (trusted, seen) = self.trusted()?;
        let mut published = match &self.log {
            Some(path) => whole(path, trusted, seen)?,
            None => single(&self.proof, trusted, seen)?,
        };
        if let Some(release) = &self.release {
            published.entries.retain(|entry| entry.release == *release);
            if published.entries.is_empty() {
                let log = published.name();
                let release = release.escape_debug();
                return Err(Failure::Refused(format!(
                    "{log} has no release `{release}`"
                )));
            }
        }
        Ok(Some(published))
    }

    /// Whose log is believed, and the tree that was seen before.
    fn trusted(&self) -> Result<(Trusted, Option<Head>), Failure> {
        let Some(path) = &self.since else {
            let log = self.log_key.clone().ok_or_else(|| {
                Failure::Usage("name the log's key with --log-key, or a policy that was made from the log with --since".to_owned())
            })?;
            let signs = |key: &&VerifierKey| key.algorithm() != Algorithm::Cosignature;
            if let Some(key) = self.witness.iter().find(signs) {
                let name = key.name();
                return Err(Failure::Usage(format!(
                    "--witness: the key of `{name}` is not a witness', it signs logs"
                )));
            }
            let needed = self.witnesses.unwrap_or(self.witness.len());
            if needed > self.witness.len() {
                return Err(Failure::Usage(format!(
                    "--witnesses {needed}: name as many with --witness"
                )));
            }
            let witnesses = self.witness.clone();
            return Ok((
                Trusted {
                    log,
                    witnesses,
                    needed,
                },
                None,
            ));
        };
        let wrong = |reason: &dyn std::fmt::Display| {
            Failure::Input(format!("{}: {reason}", path.display()))
        };
        let text = String::from_utf8(file(path)?).map_err(|error| wrong(&error))?;
        let policy = Rules::parse(&text).map_err(|error| wrong(&error))?;
        let known = policy
            .transparency
            .ok_or_else(|| wrong(&"it has no [transparency]: it was not made from a log"))?;
        let key = |text: &String| text.parse::<VerifierKey>().map_err(|error| wrong(&error));
        let trusted = Trusted {
            log: key(&known.log_key)?,
            witnesses: known.witnesses.iter().map(key).collect::<Result<_, _>>()?,
            needed: known.witnesses_required,
        };
        let seen = SignedCheckpoint::parse(known.checkpoint.as_bytes())
            .and_then(|checkpoint| checkpoint.verify_log(&trusted.log))
            .map_err(|error| wrong(&error))?;
        Ok((trusted, Some(seen)))
    }
}

/// From a log that is there as a whole.
fn whole(path: &Path, trusted: Trusted, seen: Option<Head>) -> Result<Published, Failure> {
    let log = Folder::new(path).read(&trusted.log).map_err(refused)?;
    let checkpoint = log.checkpoint().cloned().ok_or_else(|| {
        let path = path.display();
        Failure::Input(format!("there is no log in {path}: it has no `checkpoint`"))
    })?;
    let head = checkpoint.verify(&trusted).map_err(refused)?;
    if let Some(seen) = seen {
        log.continues(&seen).map_err(refused)?;
    }
    let mut entries = Vec::new();
    for (index, bytes) in (0..).zip(log.entries()) {
        // Entries of a later form are for later programs.
        let Ok(entry) = Entry::decode(bytes) else {
            continue;
        };
        let proof = log.prove(index);
        let proof = proof.ok_or_else(|| refused(Error::NotIncluded("it has no such entry")))?;
        proof.included(bytes, &head).map_err(refused)?;
        entries.push(entry);
    }
    Ok(Published {
        entries,
        trusted,
        head,
        checkpoint,
    })
}

/// From proofs, all of one checkpoint.
fn single(paths: &[PathBuf], trusted: Trusted, seen: Option<Head>) -> Result<Published, Failure> {
    let mut entries = Vec::new();
    let mut last: Option<(Head, SignedCheckpoint)> = None;
    for path in paths {
        let wrong = |error: Error| {
            let path = path.display();
            match refused(error) {
                Failure::Refused(reason) => Failure::Refused(format!("{path}: {reason}")),
                other => other,
            }
        };
        let bytes = hypervisor_tlog::folder::read(path, proof::MAX_LENGTH).map_err(wrong)?;
        let bytes =
            bytes.ok_or_else(|| Failure::Input(format!("{} is not there", path.display())))?;
        let proof = Proof::parse(&bytes).map_err(wrong)?;
        let entry = proof.extra.as_deref().unwrap_or_default();
        let head = proof.verify(entry, &trusted).map_err(wrong)?;
        entries.push(Entry::decode(entry).map_err(wrong)?);
        match &last {
            Some((other, _)) if other.size == head.size && *other != head => {
                let (old, new) = (head.size, head.size);
                return Err(wrong(Error::Forked { old, new }));
            }
            Some((other, _)) if *other != head => {
                return Err(Failure::Refused(format!(
                    "{}: the proofs are of {} and of {} entries; make them again from one checkpoint",
                    path.display(),
                    other.size,
                    head.size
                )));
            }
            _ => last = Some((head, proof.checkpoint)),
        }
    }
    let (head, checkpoint) =
        last.ok_or_else(|| Failure::Usage("name a proof with --proof".to_owned()))?;
    match seen {
        Some(seen) if seen.size < head.size => {
            return Err(Failure::Refused(format!(
                "the proofs are of {} entries and {} were seen before: only the log itself shows that it continues them; give it with --log",
                head.size, seen.size
            )));
        }
        Some(seen) => {
            hypervisor_tlog::tree::verify_consistency(&seen, &head, &[]).map_err(refused)?
        }
        None => {}
    }
    Ok(Published {
        entries,
        trusted,
        head,
        checkpoint,
    })
}

/// An image's table of an entry, with its type.
fn typed<T: DeserializeOwned>(values: &entry::Values) -> Option<T> {
    serde_json::from_value(serde_json::to_value(values).ok()?).ok()
}

/// What has to be the same of two references: names are for people, and events explain what registers decide.
fn compared(reference: &TdxReference) -> TdxReference {
    let mut reference = reference.clone();
    reference.name.clear();
    if !reference.is_by_events() {
        reference.events.clear();
    }
    reference
}

impl Published {
    /// The log, for messages.
    pub(super) fn name(&self) -> String {
        format!(
            "the log {} with {} entries",
            self.trusted.log.name(),
            self.head.size
        )
    }

    /// The values of one release: of the last entry's where no other was asked for.
    pub(super) fn values(&mut self) -> Result<Values, Failure> {
        let release = self.entries.last().map(|entry| entry.release.clone());
        self.entries
            .retain(|entry| Some(&entry.release) == release.as_ref());
        let of = |kind| {
            let entries = self.entries.iter().filter(move |entry| entry.kind == kind);
            entries.filter_map(|entry| Some((entry.name.clone(), entry.sha384?)))
        };
        let digests = |kind| of(kind).map(|(_, digest)| digest).collect::<Vec<_>>();
        let (tdx, snp) = (self.tdx().next().is_some(), self.snp().next().is_some());
        let backend = match (tdx, snp) {
            (true, false) => "tdx",
            (false, true) => "sev-snp",
            _ => "none",
        };
        let values = Values {
            manifests: digests(Kind::Manifest),
            components: of(Kind::Component).collect(),
            compiled: digests(Kind::Compiled),
            backend: backend.to_owned(),
        };
        if values.manifests.is_empty() {
            let (release, log) = (release.unwrap_or_default(), self.name());
            return Err(Failure::Refused(format!(
                "{log} has no manifest of the release `{}`",
                release.escape_debug()
            )));
        }
        Ok(values)
    }

    fn tdx(&self) -> impl Iterator<Item = TdxReference> {
        self.entries
            .iter()
            .filter_map(|entry| typed(entry.tdx.as_ref()?))
    }

    fn snp(&self) -> impl Iterator<Item = SnpReference> {
        self.entries
            .iter()
            .filter_map(|entry| typed(entry.snp.as_ref()?))
    }

    /// Every image's values, as tables of a policy.
    pub(super) fn images(&self) -> Result<String, Failure> {
        #[derive(Serialize)]
        struct Of<T> {
            reference: Vec<T>,
        }
        #[derive(Serialize)]
        struct Images {
            #[serde(skip_serializing_if = "Option::is_none")]
            tdx: Option<Of<TdxReference>>,
            #[serde(skip_serializing_if = "Option::is_none")]
            snp: Option<Of<SnpReference>>,
        }
        fn some<T>(reference: Vec<T>) -> Option<Of<T>> {
            (!reference.is_empty()).then_some(Of { reference })
        }
        let images = Images {
            tdx: some(self.tdx().collect()),
            snp: some(self.snp().collect()),
        };
        let text = toml::to_string(&images);
        text.map_err(|error| Failure::Input(format!("the log's images: {error}")))
    }

    /// Whether the log has this machine code.
    pub(super) fn vouches_for(&self, compiled: &[HexArray<48>]) -> bool {
        let index = self.index();
        let mut digests = compiled.iter();
        digests.all(|digest| self.find(&index, Kind::Compiled, None, digest).is_ok())
    }

    /// The entries by their digests.
    fn index(&self) -> Index<'_> {
        let mut index = Index::new();
        for entry in &self.entries {
            if let Some(digest) = entry.sha384 {
                index.entry(digest).or_default().push(entry);
            }
        }
        index
    }

    fn find(
        &self,
        index: &Index<'_>,
        kind: Kind,
        name: Option<&str>,
        digest: &HexArray<48>,
    ) -> Result<(), Failure> {
        let mut same = index.get(digest).into_iter().flatten();
        let fits = |entry: &Entry| entry.kind == kind && name.is_none_or(|name| entry.name == name);
        if same.clone().any(|entry| fits(entry)) {
            return Ok(());
        }
        let called = name.map_or_else(String::new, |name| format!(" `{}`", name.escape_debug()));
        let instead = same.next().map_or_else(String::new, |entry| {
            let (kind, name) = (entry.kind, entry.name.escape_debug());
            format!("; there it is the {kind} `{name}`")
        });
        Err(Failure::Refused(format!(
            "the {kind}{called} {digest} is not in {}{instead}",
            self.name()
        )))
    }

    /// Refuses a policy that has a reference value which is not in the log.
    pub(super) fn check(&self, rules: &policy::Rules) -> Result<(), Failure> {
        let index = self.index();
        for digest in &rules.manifest.allowed {
            self.find(&index, Kind::Manifest, None, digest)?;
        }
        for component in &rules.components.allowed {
            self.find(
                &index,
                Kind::Component,
                component.name.as_deref(),
                &component.digest,
            )?;
        }
        for digest in rules.components.compiled.iter().flatten() {
            self.find(&index, Kind::Compiled, None, digest)?;
        }
        let missing = |digest: &HexArray<48>| {
            Failure::Refused(format!(
                "the image that measures {digest} is not in {} with these values",
                self.name()
            ))
        };
        for reference in &rules.tdx.reference {
            let wanted = compared(reference);
            if !self.tdx().any(|known| compared(&known) == wanted) {
                return Err(missing(&reference.mrtd));
            }
        }
        for reference in &rules.snp.reference {
            let named = |known: SnpReference| SnpReference {
                name: reference.name.clone(),
                ..known
            };
            if !self.snp().any(|known| named(known) == *reference) {
                return Err(missing(&reference.measurement));
            }
        }
        Ok(())
    }

    /// `[transparency]`.
    pub(super) fn section(&self) -> Result<String, Failure> {
        #[derive(Serialize)]
        struct Section {
            transparency: Transparency,
        }
        let section = Section {
            transparency: Transparency {
                log_key: self.trusted.log.to_string(),
                witnesses: self
                    .trusted
                    .witnesses
                    .iter()
                    .map(VerifierKey::to_string)
                    .collect(),
                witnesses_required: self.trusted.needed,
                checkpoint: self.checkpoint.to_string(),
            },
        };
        let text = toml::to_string(&section);
        let text = text.map_err(|error| Failure::Input(error.to_string()))?;
        Ok(format!(
            "\n# The reference values below are in this log. Newer ones: `hv policy init --log … --since` this file.\n{text}"
        ))
    }
}
