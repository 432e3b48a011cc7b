//! The plugins that a configuration names, as they are read from the disk.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use hypervisor::config::Config;
use hypervisor::executor::{Import, Standing, inspect};
use hypervisor::manifest::hex;
use serde::Serialize;
use sha2::{Digest, Sha384};

use crate::error::Error;
use crate::output::plain;
use crate::world::World;

/// A plugin of a configuration.
#[derive(Debug, Serialize)]
pub struct Named {
    /// The world that it is loaded as.
    pub world: World,
    /// The version of what it exports for it.
    pub version: Option<String>,
    /// The component.
    pub component: PathBuf,
    /// SHA-384 of the component, hex.
    pub sha384: String,
    /// Whether its machine code was made beforehand.
    pub compiled: bool,
    /// What it imports.
    pub imports: Vec<Import>,
    /// What it decides by.
    pub rules: Option<Rules>,
}

/// Rules as they were read.
#[derive(Debug, Serialize)]
pub struct Rules {
    /// The file.
    pub file: PathBuf,
    /// Its size.
    pub bytes: usize,
    /// Its lines.
    pub lines: usize,
    /// SHA-384 of it, hex.
    pub sha384: String,
}

/// All plugins of a configuration that a host loaded.
///
/// # Errors
/// Where a file cannot be read any more.
pub fn of(config: &Config) -> Result<Vec<Named>, Error> {
    let is_set = |path: &Path| !path.as_os_str().is_empty();
    let (policy, payments) = (&config.policy, &config.payments);
    let (python, javascript) = (&config.runtime.python, &config.runtime.javascript);
    let protocols = config.protocols.iter();
    let protocols = protocols.map(|it| (World::Protocol, &it.component, &it.compiled));
    let named = [
        (World::ScriptEngine, &python.component, &python.compiled),
        (
            World::ScriptEngine,
            &javascript.component,
            &javascript.compiled,
        ),
        (World::PolicyEngine, &policy.component, &policy.compiled),
        (World::Payments, &payments.component, &payments.compiled),
    ];
    let named = named
        .into_iter()
        .chain(protocols)
        .filter(|(_, component, _)| is_set(component));
    named
        .map(|(world, component, compiled)| {
            let bytes = read(component)?;
            let program = inspect(&bytes).ok();
            let rules = (world == World::PolicyEngine).then(|| rules(&policy.rules));
            Ok(Named {
                world,
                version: program.as_ref().and_then(|program| world.version(program)),
                component: component.clone(),
                sha384: hex(&Sha384::digest(&bytes)),
                compiled: is_set(compiled),
                imports: program.map_or_else(Vec::new, |program| {
                    world.judged(program, Default::default()).imports
                }),
                rules: rules.transpose()?,
            })
        })
        .collect()
}

fn rules(file: &Path) -> Result<Rules, Error> {
    let text = read(file)?;
    Ok(Rules {
        file: file.to_owned(),
        bytes: text.len(),
        lines: text.split_inclusive(|byte| *byte == b'\n').count(),
        sha384: hex(&Sha384::digest(&text)),
    })
}

fn read(file: &Path) -> Result<Vec<u8>, Error> {
    std::fs::read(file).map_err(|source| Error::FileUnreadable {
        path: file.to_owned(),
        source,
    })
}

impl Named {
    /// Prints for people, in lines that are comments of a configuration.
    ///
    /// # Errors
    /// When the output cannot be written.
    pub fn print(&self, out: &mut impl Write) -> io::Result<()> {
        let version = self.version.as_deref().unwrap_or("no version");
        let component = plain(&self.component.display().to_string());
        let compiled = if self.compiled {
            ", compiled beforehand"
        } else {
            ""
        };
        writeln!(
            out,
            "# plugin {}, by {}@{}: {component}{compiled}",
            self.world.name(),
            self.world.export(),
            plain(version)
        )?;
        writeln!(out, "#   sha384   {}", self.sha384)?;
        for standing in [Standing::Granted, Standing::Inert] {
            let of_it = self
                .imports
                .iter()
                .filter(|import| import.standing == standing);
            let names: Vec<String> = of_it.map(|import| plain(&import.name)).collect();
            if !names.is_empty() {
                writeln!(out, "#   {standing:<8} {}", names.join(", "))?;
            }
        }
        if let Some(rules) = &self.rules {
            let file = plain(&rules.file.display().to_string());
            writeln!(
                out,
                "#   rules    {file}: {} bytes in lines 1 to {}, read and accepted by the plugin; SHA-384 {}",
                rules.bytes, rules.lines, rules.sha384
            )?;
        }
        Ok(())
    }
}
