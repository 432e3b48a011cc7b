//! Agents that an earlier version of the host kept in files of their own, moved into the store.
//!
//! ```text
//! <folder>/<64 hex digits>.agent   an agent, sealed; registry.json   names of the registry and Unix times, JSON
//! file    = "HVAGENT" 0x00 ‖ 0x01 ‖ 16 random bytes ‖ u32 BE length of the sealed head ‖ head ‖ component ‖ code
//! section = 12 bytes, the nonce ‖ AES-256-GCM-SIV(k, nonce, aad, plaintext), the tag at its end
//! aad     = "hypervisor/v1 agent-file" ‖ 0x00 ‖ 0x01 ‖ section 0, 1 or 2 ‖ file id, 32 bytes ‖ the 16 random bytes
//! ```

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use aes_gcm_siv::aead::AeadInOut;
use aes_gcm_siv::{Aes256GcmSiv, KeyInit, Tag};
use hypervisor_protocol::{HexBytes, PublicKey};
use hypervisor_store::SealingKey;
use serde::Deserialize;
use zeroize::Zeroizing;

use super::{Record, Store};
use crate::error::{Damage, StoreError};
use crate::name::Name;

const MAGIC: [u8; 9] = *b"HVAGENT\0\x01";
const LABEL: &[u8] = b"hypervisor/v1 agent-file\0\x01";
const SEAL_LABEL: &[u8] = b"hypervisor/v1 agent-store seal";
const REGISTRY: &str = "registry.json";
const UNFINISHED: &str = ".unfinished-";

/// The head of a file, as far as it is moved.
#[derive(Deserialize)]
struct Contents {
    owner: Option<HexBytes>,
    manifest: Zeroizing<String>,
    deployed_at: u64,
    component_length: u64,
    code_length: u64,
    code_fingerprint: String,
    details: HexBytes,
}

impl Store {
    /// Moves what is in `folder` into the store, and removes each file once it is there. `key` is the platform's; without one
    /// agents are left where they are. Gives how many were moved, and what is wrong with those that were not.
    ///
    /// # Errors
    /// [`StoreError::Io`], [`StoreError::Rows`].
    pub fn import(
        &self,
        folder: &Path,
        key: Option<&SealingKey>,
    ) -> Result<(usize, Vec<StoreError>), StoreError> {
        let mut damaged = Vec::new();
        let mut moved = 0;
        for path in files(folder)? {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if name == REGISTRY {
                self.import_registry(&path)?;
            } else if let (Some(stem), Some(key)) = (name.strip_suffix(".agent"), key) {
                if let Err(damage) = self.import_agent(&path, stem, key)? {
                    let what = path.display().to_string();
                    damaged.push(StoreError::Damaged(what, damage));
                    continue;
                }
                moved += 1;
            } else if !name.starts_with(UNFINISHED) {
                continue;
            }
            fs::remove_file(&path).map_err(failed("remove", &path))?;
        }
        // Goes when it is empty.
        let _ = fs::remove_dir(folder);
        Ok((moved, damaged))
    }

    fn import_registry(&self, path: &Path) -> Result<(), StoreError> {
        let text = fs::read(path).map_err(failed("read", path))?;
        let names: BTreeMap<Name, u64> = serde_json::from_slice(&text).map_err(|error| {
            StoreError::Damaged(path.display().to_string(), super::contents::wrong(error))
        })?;
        (names.iter()).try_for_each(|(name, since)| self.note(name, *since))
    }

    fn import_agent(
        &self,
        path: &Path,
        stem: &str,
        key: &SealingKey,
    ) -> Result<Result<(), Damage>, StoreError> {
        let bytes = fs::read(path).map_err(failed("read", path))?;
        let seal = key.derive::<32>(SEAL_LABEL)?;
        let cipher = Aes256GcmSiv::new((&*seal).into());
        let (contents, component, code) = match read(bytes, stem, &cipher) {
            Ok(parts) => parts,
            Err(damage) => return Ok(Err(damage)),
        };
        let owner = match contents.owner.map(|key| PublicKey::from_sec1(&key.0)) {
            None => None,
            Some(Ok(owner)) => Some(owner),
            Some(Err(error)) => return Ok(Err(super::contents::wrong(error))),
        };
        self.put(&Record {
            owner: owner.as_ref(),
            manifest_text: &contents.manifest,
            component: &component,
            code: &code,
            code_fingerprint: &contents.code_fingerprint,
            deployed_at: contents.deployed_at,
            details: &contents.details.0,
        })
        .map(|_| Ok(()))
    }
}

type Parts = (Contents, Vec<u8>, Vec<u8>);

fn read(bytes: Vec<u8>, stem: &str, cipher: &Aes256GcmSiv) -> Result<Parts, Damage> {
    let mut id = [0; 32];
    const_hex::decode_to_slice(stem, &mut id).map_err(|_| Damage::Foreign)?;
    let rest = bytes.strip_prefix(&MAGIC).ok_or(Damage::Foreign)?;
    let (writing, rest) = rest.split_first_chunk::<16>().ok_or(Damage::Foreign)?;
    let (length, mut rest) = rest.split_first_chunk::<4>().ok_or(Damage::Foreign)?;
    let mut section = |number: u8, name: &'static str, sealed: u64| {
        let damage = || Damage::Authentication(name);
        let (nonce, after) = rest.split_first_chunk::<12>().ok_or_else(damage)?;
        let sealed = usize::try_from(sealed).map_err(|_| damage())?;
        let (sealed, after) = after.split_at_checked(sealed).ok_or_else(damage)?;
        rest = after;
        let (text, tag) = sealed.split_last_chunk::<16>().ok_or_else(damage)?;
        let mut text = text.to_vec();
        let aad = [LABEL, &[number], &id, writing].concat();
        cipher
            .decrypt_inout_detached(
                nonce.into(),
                &aad,
                text.as_mut_slice().into(),
                &Tag::from(*tag),
            )
            .map_err(|_| damage())?;
        Ok(text)
    };
    let head = Zeroizing::new(section(0, "head", u32::from_be_bytes(*length).into())?);
    let contents: Contents = ciborium::from_reader(head.as_slice()).map_err(|error| {
        // The library's words may repeat what it read.
        let _: ciborium::de::Error<io::Error> = error;
        super::contents::wrong("it is not what an earlier version wrote")
    })?;
    let component = section(1, "component", contents.component_length.saturating_add(16))?;
    let code = section(2, "code", contents.code_length.saturating_add(16))?;
    Ok((contents, component, code))
}

/// The regular files of a folder, and none where there is no folder.
fn files(folder: &Path) -> Result<Vec<PathBuf>, StoreError> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed("read", folder)(error)),
    };
    let mut files = Vec::new();
    for entry in entries {
        let entry = entry.map_err(failed("read", folder))?;
        // Links are not followed, and pipes would be waited for.
        if entry.file_type().map_err(failed("read", folder))?.is_file() {
            files.push(entry.path());
        }
    }
    files.sort();
    Ok(files)
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StoreError {
    let path = path.to_owned();
    move |source| StoreError::Io(action, path, source)
}
