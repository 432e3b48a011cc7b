//! The packages of an environment: files, and what tools of the language resolve here.

use std::path::PathBuf;

use clap::Args;
use hypervisor_client::environments::Bundle;

use super::bundle::Language;
use super::{npm, wheels};
use crate::Failure;
use crate::console::progress;

#[derive(Debug, Args)]
pub(super) struct Packages {
    /// A package that modules import, in one file: in Python a wheel without native code, in JavaScript an ES module.
    #[arg(long, value_name = "FILE")]
    pub(super) package: Vec<PathBuf>,
    /// A requirements file of Python packages: pip resolves it here, to wheels without native code, and holds them against its hashes.
    #[arg(long, value_name = "FILE", conflicts_with = "package_json")]
    requirements: Option<PathBuf>,
    /// A package.json: npm installs its `dependencies` here, held against the hashes of the package-lock.json beside it, without running
    /// their scripts; they are bundled into ES modules, and `import { z } from "zod"` finds them.
    #[arg(long, value_name = "FILE")]
    package_json: Option<PathBuf>,
}

impl Packages {
    /// Adds what is to be resolved.
    pub(super) fn resolve(&self, bundle: &mut Bundle) -> Result<(), Failure> {
        let is = |language: Language| bundle.language == language.name();
        if self.requirements.is_some() && !is(Language::Python) {
            return Err(Failure::Usage(
                "--requirements is for Python; for JavaScript and TypeScript there is --package-json"
                    .to_owned(),
            ));
        }
        if self.package_json.is_some() && !is(Language::Js) {
            return Err(Failure::Usage(
                "--package-json is for JavaScript and TypeScript; for Python there is --requirements"
                    .to_owned(),
            ));
        }
        let progress = progress();
        progress.set_message("resolving packages");
        let mut found = Vec::new();
        if let Some(requirements) = &self.requirements {
            found = wheels::resolve(requirements)?;
        }
        if let Some(path) = &self.package_json {
            found = npm::resolve(path, bundle, &progress)?;
        }
        progress.finish_and_clear();
        bundle.packages.extend(found);
        Ok(())
    }
}
