//! Pushing and fetching one component.

use std::collections::BTreeMap;

use bytes::Bytes;
use hypervisor_wasm_check::{Kind, inspect};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::access::Access;
use crate::error::Error;
use crate::reference::{Digest, Pin, Reference};
use crate::registry::{Registry, Right};
use crate::signature::{self, PAYLOAD, SIGNATURE};
use crate::{MAX_COMPONENT, MAX_MANIFEST};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.wasm.config.v0+json";
const WASM: &str = "application/wasm";

/// Signatures of one manifest that are looked at: each is a request.
const MAX_SIGNATURES: usize = 16;
/// Bytes of what is signed.
const MAX_PAYLOAD: u64 = 64 << 10;

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Manifest {
    schema_version: u32,
    media_type: Option<String>,
    config: Descriptor,
    layers: Vec<Descriptor>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor {
    media_type: String,
    digest: String,
    size: u64,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    annotations: BTreeMap<String, String>,
}

impl Descriptor {
    fn of(media_type: &str, content: &[u8]) -> Self {
        Self {
            media_type: media_type.to_owned(),
            digest: Digest::of(content).to_string(),
            size: content.len() as u64,
            annotations: BTreeMap::new(),
        }
    }

    /// What is named, where it is no more than this.
    fn named(&self, what: &'static str, most: u64) -> Result<Digest, Error> {
        if self.size > most {
            return Err(Error::TooLarge { what, most });
        }
        Digest::parse(&self.digest).ok_or(Error::Answered {
            registry: "named in the manifest".to_owned(),
            what: what.to_owned(),
            words: "its digest is not a SHA-256".to_owned(),
        })
    }
}

/// A component that was fetched.
#[derive(Debug)]
pub struct Pulled {
    /// What it is called by its digest.
    pub reference: Reference,
    /// SHA-256 of its manifest.
    pub digest: Digest,
    /// Its bytes.
    pub component: Vec<u8>,
}

impl Access {
    /// Pushes a component, under the tag of the reference if it has one; gives the reference by which it can be fetched. The same bytes make
    /// the same artifact.
    ///
    /// # Errors
    /// [`Error`]; a digest in the reference is refused, since it is the content that decides it.
    pub async fn push(&self, to: &Reference, component: Vec<u8>) -> Result<Reference, Error> {
        let config = config(&component)?;
        let component = Bytes::from(component);
        let manifest = Manifest {
            schema_version: 2,
            media_type: Some(MANIFEST.to_owned()),
            config: Descriptor::of(CONFIG, &config),
            layers: vec![Descriptor::of(WASM, &component)],
        };
        let manifest = Bytes::from(json!(manifest).to_string());
        let reference = to.at(Digest::of(&manifest));
        let tag = match to.pin() {
            Pin::Tag(tag) => tag.clone(),
            Pin::None => Digest::of(&manifest).to_string(),
            Pin::Digest(_) => {
                return Err(Error::Reference {
                    text: to.to_string(),
                    reason: "the digest comes of what is pushed: name a tag, or nothing",
                });
            }
        };
        let mut registry = Registry::new(to, self.plain_http, Right::Push)?;
        registry.upload(component).await?;
        registry.upload(config).await?;
        registry.put_manifest(&tag, MANIFEST, manifest).await?;
        Ok(reference)
    }

    /// Fetches a component: the very one that the digest names, and only where one of the keys signed it if there are any. With keys a tag
    /// may be named.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn pull(&self, from: &Reference) -> Result<Pulled, Error> {
        let keys = self.keys()?;
        let mut registry = Registry::new(from, self.plain_http, Right::Pull)?;
        let manifest = registry.manifest(from, MANIFEST, MAX_MANIFEST).await?;
        let digest = Digest::of(&manifest);
        match from.pin() {
            Pin::Digest(wanted) => same("its manifest", digest, *wanted)?,
            _ if keys.is_empty() => {
                return Err(Error::Movable(
                    from.to_string(),
                    from.at(digest).to_string(),
                ));
            }
            _ => {}
        }
        let from = from.at(digest);
        if !keys.is_empty() {
            let payloads = signatures(&mut registry, &from, digest).await?;
            let signed = payloads.iter().any(|(payload, signature)| {
                keys.iter()
                    .any(|key| key.signed(payload, signature, digest))
            });
            if !signed {
                let count = payloads.len();
                let found = format!("{count} signatures, and none with it");
                return Err(Error::Unsigned(from.to_string(), found));
            }
        }

        let other = |reason: String| Error::NotAComponent(from.to_string(), reason);
        let manifest: Manifest =
            serde_json::from_slice(&manifest).map_err(|error| other(error.to_string()))?;
        let config = &manifest.config.media_type;
        let ([layer], CONFIG) = (manifest.layers.as_slice(), config.as_str()) else {
            let layers = manifest.layers.len();
            return Err(other(format!(
                "it has {layers} layers and a configuration of {config}"
            )));
        };
        if layer.media_type != WASM {
            return Err(other(format!("its layer is {}", layer.media_type)));
        }
        let wanted = layer.named("the component", MAX_COMPONENT)?;
        let component = registry.blob(wanted, "the component", layer.size).await?;
        same("the component", Digest::of(&component), wanted)?;
        Ok(Pulled {
            reference: from,
            digest,
            component,
        })
    }
}

/// The signatures beside a manifest, and what they are over.
async fn signatures(
    registry: &mut Registry,
    of: &Reference,
    digest: Digest,
) -> Result<Vec<(Vec<u8>, String)>, Error> {
    let beside = of.tagged(signature::tag(digest));
    let manifest = match registry.manifest(&beside, MANIFEST, MAX_MANIFEST).await {
        Err(Error::Unknown(_)) => {
            return Err(Error::Unsigned(
                of.to_string(),
                "there is no signature".to_owned(),
            ));
        }
        other => other?,
    };
    let manifest: Manifest = serde_json::from_slice(&manifest)
        .map_err(|error| Error::NotAComponent(beside.to_string(), error.to_string()))?;
    let mut found = Vec::new();
    let payloads = manifest
        .layers
        .iter()
        .filter(|layer| layer.media_type == PAYLOAD);
    for layer in payloads.take(MAX_SIGNATURES) {
        let Some(signature) = layer.annotations.get(SIGNATURE) else {
            continue;
        };
        let wanted = layer.named("a signature", MAX_PAYLOAD)?;
        let payload = registry.blob(wanted, "a signature", layer.size).await?;
        found.push((payload, signature.clone()));
    }
    Ok(found)
}

fn same(what: &'static str, found: Digest, wanted: Digest) -> Result<(), Error> {
    if found == wanted {
        Ok(())
    } else {
        Err(Error::Altered {
            what,
            found,
            wanted,
        })
    }
}

/// What the artifact says of itself. The time that others write is left at its beginning, so that pushing twice makes one artifact.
fn config(program: &[u8]) -> Result<Bytes, Error> {
    let inspected = inspect(program).map_err(|refusal| Error::NotWebAssembly(refusal.detail))?;
    let imports = inspected.imports.iter().map(|import| &import.name);
    let imports: Vec<&String> = imports.collect();
    let (os, component) = match inspected.kind {
        Kind::Component => (
            "wasip2",
            json!({ "exports": inspected.exports, "imports": imports, "target": null }),
        ),
        Kind::Preview1Module => ("wasip1", json!(null)),
    };
    let config = json!({
        "created": "1970-01-01T00:00:00Z",
        "author": null,
        "architecture": "wasm",
        "os": os,
        "layerDigests": [Digest::of(program).to_string()],
        "component": component,
    });
    Ok(Bytes::from(config.to_string()))
}
