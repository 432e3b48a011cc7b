//! What an environment is made of.

use std::fmt;

use sha2::{Digest, Sha384};

/// The code of an environment, as it comes from whoever sets it up.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Bundle {
    /// The name of the module that has the handler; empty where there is none.
    pub main: String,
    /// The sources, `main` among them.
    pub modules: Vec<File>,
    /// Packages that they import: in Python wheels, in JavaScript one ES module each.
    pub packages: Vec<File>,
    /// Source that runs before `main` is loaded.
    pub setup: Option<String>,
}

/// A file of a bundle.
#[derive(Clone, PartialEq, Eq)]
pub struct File {
    /// Its path in the bundle.
    pub name: String,
    /// Its bytes.
    pub content: Vec<u8>,
}

impl Bundle {
    /// SHA-384 over all of it, each part behind its length.
    pub fn sha384(&self) -> [u8; 48] {
        let mut hash = Sha384::new();
        let mut part = |bytes: &[u8]| {
            hash.update(u64::try_from(bytes.len()).unwrap_or(u64::MAX).to_be_bytes());
            hash.update(bytes);
        };
        part(self.main.as_bytes());
        for files in [&self.modules, &self.packages] {
            part(&u64::try_from(files.len()).unwrap_or(u64::MAX).to_be_bytes());
            for File { name, content } in files {
                part(name.as_bytes());
                part(content);
            }
        }
        if let Some(source) = &self.setup {
            part(source.as_bytes());
        }
        hash.finalize().into()
    }
}

/// Without what is in it.
impl fmt::Debug for Bundle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bundle")
            .field("modules", &self.modules.len())
            .field("packages", &self.packages.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_bundles_have_one_digest() {
        let file = |name: &str, content: &str| File {
            name: name.to_owned(),
            content: content.as_bytes().to_vec(),
        };
        let bundle = |modules: &[File], packages: &[File], setup: Option<&str>| {
            let setup = setup.map(str::to_owned);
            let (modules, packages) = (modules.to_vec(), packages.to_vec());
            let main = "main.js".to_owned();
            Bundle {
                main,
                modules,
                packages,
                setup,
            }
            .sha384()
        };
        let all = [
            bundle(&[], &[], None),
            bundle(&[], &[], Some("")),
            bundle(&[file("a", "b")], &[], None),
            bundle(&[], &[file("a", "b")], None),
            bundle(&[file("ab", "")], &[], None),
            bundle(&[file("a", ""), file("b", "")], &[], None),
        ];
        let different: std::collections::BTreeSet<_> = all.iter().collect();
        assert_eq!(different.len(), all.len());
    }
}
