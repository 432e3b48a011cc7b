//! Evidence over HTTP: of the host's identity.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use http::{Uri, header};
use hypervisor_evidence::{Subject, VerifierNonce};
use hypervisor_protocol::{ContentFormat, HexBytes};
use hypervisor_telemetry::metrics::{self, Step};

use super::address_of;
use super::form::in_format;
use crate::pipeline::{Host, Refusal};

/// `GET /attestation?nonce=…`: evidence of the identity key, the manifest and the component log.
pub(super) async fn identity(
    State(host): State<Arc<Host>>,
    request: Request,
) -> Result<Response, Refusal> {
    let attestation = host.attestation()?;
    let nonce = nonce_of(request.uri())?;
    let wants_cbor = request
        .headers()
        .get(header::ACCEPT)
        .is_some_and(|accept| accept.as_bytes().starts_with(b"application/cbor"));
    let format = if wants_cbor {
        ContentFormat::Cbor
    } else {
        ContentFormat::Json
    };
    let peer = address_of(&request);
    let quoting = metrics::timed(Step::Quote);
    let evidence = attestation
        .evidence(peer, Subject::Identity, Some(nonce))
        .await?;
    drop(quoting);
    let bytes = evidence
        .encode(format)
        .map_err(|e| Refusal::internal(e.to_string()))?;
    Ok(in_format(format, bytes.into()))
}

fn nonce_of(uri: &Uri) -> Result<VerifierNonce, Refusal> {
    let query = uri.query().unwrap_or_default();
    let mut nonces = query
        .split('&')
        .filter_map(|pair| pair.strip_prefix("nonce="));
    match (nonces.next(), nonces.next()) {
        (Some(nonce), None) => nonce
            .parse()
            .map_err(|e| Refusal::malformed(format!("`nonce`: {e}"))),
        (None, _) => Err(Refusal::malformed(
            "missing query parameter `nonce`: 16 to 64 random bytes of your own, in hex",
        )),
        (Some(_), Some(_)) => Err(Refusal::malformed("duplicate query parameter `nonce`")),
    }
}

/// A nonce from the body of a request.
pub(super) fn nonce_from(bytes: Option<HexBytes>) -> Result<Option<VerifierNonce>, Refusal> {
    bytes
        .map(|bytes| VerifierNonce::new(bytes.0))
        .transpose()
        .map_err(|e| Refusal::malformed(format!("`nonce`: {e}")))
}
