//! `measure image`: what a guest image will be measured as, from its file alone.

use std::io::{self, Write};
use std::path::{Component, Path, PathBuf};

use clap::{Args, ValueEnum};
use hypervisor::config::{AttestationBackend, Config};
use hypervisor::executor::Surroundings;
use hypervisor::manifest::{Manifest, hex};
use hypervisor::parts::{Parts, runtime};
use hypervisor_ctl::error::Error;
use hypervisor_ctl::output::{json, written};
use hypervisor_image::Image;
use hypervisor_image::boot::{Boot, events, replay};
use hypervisor_image::cpio::{Node, Tree};
use hypervisor_image::policy::{Facts, Roots, Tdx};
use hypervisor_image::snp::{Firmware, PLAIN_FEATURES, Processors, Started, measurement};

/// Where the image has what the manifest is made of.
const HOST: &str = "usr/bin/hypervisor";
const CONFIGURATION: &str = "etc/hypervisor/hypervisor.toml";

#[derive(Debug, Args)]
pub(crate) struct MeasureImage {
    /// The image, as `make image` builds it.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// How the firmware comes by it.
    #[arg(long, value_enum, default_value = "disk")]
    boot: Boot,
    /// SEV-SNP: the firmware, an OVMF that checks the hashes of what it is given (AmdSevX64).
    #[arg(long, value_name = "FILE")]
    ovmf: Option<PathBuf>,
    /// SEV-SNP: how many processors the guest has.
    #[arg(long, value_name = "NUMBER", default_value = "1")]
    vcpus: usize,
    /// SEV-SNP: QEMU's name of their model.
    #[arg(long, value_name = "NAME", default_value = "EPYC-v4")]
    vcpu_type: String,
    /// TDX: the firmware's MRTD, hex.
    #[arg(long, value_name = "HEX", requires_all = ["rtmr0", "xfam", "td_attributes"])]
    mrtd: Option<String>,
    /// TDX: RTMR0, which the firmware's configuration decides, hex.
    #[arg(long, value_name = "HEX", requires = "mrtd")]
    rtmr0: Option<String>,
    /// TDX: the features that the guest may use, hex.
    #[arg(long, value_name = "HEX", requires = "mrtd")]
    xfam: Option<String>,
    /// TDX: the TD's attributes, hex.
    #[arg(long, value_name = "HEX", requires = "mrtd")]
    td_attributes: Option<String>,
    /// Form of the output.
    #[arg(long, value_enum, default_value = "policy")]
    output: Form,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Form {
    /// A verification policy, for `hv --policy`.
    Policy,
    /// One JSON document, with every event.
    Json,
}

pub(crate) fn measure(asked: &MeasureImage) -> Result<(), Error> {
    let path = asked.file.clone();
    let bytes = std::fs::read(&path).map_err(|source| Error::FileUnreadable { path, source })?;
    let image = Image::parse(&bytes)?;
    let events = events(&image, asked.boot)?;
    let registers = replay(&events);
    let snp = asked.ovmf.as_ref().map(|ovmf| {
        let processors = Processors {
            count: asked.vcpus,
            model: asked.vcpu_type.clone(),
            features: PLAIN_FEATURES,
        };
        measurement(&Firmware::read(ovmf)?, &Started::image(&bytes), &processors)
    });
    let snp = snp.transpose()?;
    let folder = tempfile::tempdir().map_err(|source| Error::Io {
        what: "making a folder to unpack the image in",
        source,
    })?;
    unpack(&image.tree()?, folder.path())?;

    let mut config = Config::load(Some(&folder.path().join(CONFIGURATION)), None)?;
    inside(&mut config, folder.path());
    // Only a guest with a TEE could be asked for its quotes, and the manifest does not say who makes them.
    if config.attestation.backend != AttestationBackend::Simulated {
        config.attestation.backend = AttestationBackend::None;
    }
    let host = folder.path().join(HOST);
    let mut parts = Parts::new(&config, None, &host)?;
    let program = parts.facts.program_sha384().ok_or(Error::NoHost(host))?;
    let plugins = runtime()?
        .block_on(parts.executor.load_plugins(config.plugins()?))
        .map_err(hypervisor::error::Error::from)?;
    hypervisor::fronts::measure(&config, &parts.executor, &parts.facts)?;
    hypervisor::page::measure(&config, &parts.facts)?;
    let manifest = Manifest::new(&config, &plugins, Some(program)).digest();
    let components = parts.facts.measurements().entries.into_iter();

    let name = asked.file.file_stem().unwrap_or_default().to_string_lossy();
    let facts = Facts {
        name: &name,
        roots: match parts.platform.simulated_root() {
            Some(root) => Roots::Simulated(hex(root)),
            None => Roots::Vendors,
        },
        manifest,
        components: components
            .map(|entry| (entry.name, hex(&entry.sha384)))
            .collect(),
        registers,
        tdx: asked.tdx(),
        snp,
    };
    let mut out = io::stdout().lock();
    written(match asked.output {
        Form::Policy => write!(out, "{}", facts.policy()),
        Form::Json => json(
            &mut out,
            &serde_json::json!({
                "version": 1, "boot": asked.boot, "events": events, "registers": facts.registers,
                "manifest_sha384": facts.manifest, "components": facts.components,
                "snp_measurement": facts.snp.map(|measurement| hex(&measurement)),
            }),
        ),
    })
}

impl MeasureImage {
    /// What is known of the TD, where all of it is.
    fn tdx(&self) -> Option<Tdx> {
        Some(Tdx {
            mrtd: self.mrtd.clone()?,
            rtmr0: self.rtmr0.clone()?,
            xfam: self.xfam.clone()?,
            td_attributes: self.td_attributes.clone()?,
        })
    }
}

/// Writes what the manifest is made of: folders and files, of which none is outside the folder whatever the image says.
fn unpack(tree: &Tree, to: &Path) -> Result<(), Error> {
    for (name, node) in &tree.0 {
        let plain = Path::new(name)
            .components()
            .all(|part| matches!(part, Component::Normal(_)));
        let path = to.join(name);
        let done = match node {
            _ if !plain => continue,
            Node::Folder => std::fs::create_dir_all(&path),
            Node::File { bytes, .. } => std::fs::write(&path, bytes),
            Node::Link(_) | Node::Device { .. } => continue,
        };
        done.map_err(|source| Error::FileUnwritable { path, source })?;
    }
    Ok(())
}

/// Has the configuration read its files where the image was unpacked.
fn inside(config: &mut Config, root: &Path) {
    let (policy, payments) = (&mut config.policy, &mut config.payments);
    let (python, javascript) = (&mut config.runtime.python, &mut config.runtime.javascript);
    let tls = &mut config.tls;
    let protocols = config.protocols.iter_mut();
    let protocols = protocols.flat_map(|it| [&mut it.component, &mut it.compiled]);
    let all = [
        &mut python.component,
        &mut python.compiled,
        &mut javascript.component,
        &mut javascript.compiled,
        &mut policy.component,
        &mut policy.compiled,
        &mut policy.rules,
        &mut payments.component,
        &mut payments.compiled,
        &mut tls.certificate,
        &mut tls.key,
    ];
    for path in all.into_iter().chain(protocols) {
        if !path.as_os_str().is_empty() {
            // The host's working directory in the image is its root.
            *path = root.join(path.strip_prefix("/").unwrap_or(path));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_writes_nothing_outside_its_folder() {
        let parent = tempfile::tempdir().unwrap();
        let to = parent.path().join("to");
        std::fs::create_dir(&to).unwrap();
        let file = Node::File {
            bytes: Vec::new(),
            program: false,
        };
        let outside = parent.path().join("absolute").display().to_string();
        let names = ["../up", outside.as_str(), "in", "a/../../up"];
        let tree = Tree(names.map(|name| (name.to_owned(), file.clone())).into());
        unpack(&tree, &to).unwrap();
        let names = |folder: &Path| -> Vec<_> {
            let entries = std::fs::read_dir(folder).unwrap();
            entries.map(|entry| entry.unwrap().file_name()).collect()
        };
        assert_eq!(
            (names(parent.path()), names(&to)),
            (vec!["to".into()], vec!["in".into()])
        );
    }
}
