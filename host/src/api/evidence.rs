//! Evidence over HTTP: of the host's identity, and beside results.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use http::{Uri, header};
use hypervisor_evidence::{Subject, VerifierNonce};
use hypervisor_protocol::{ContentFormat, ExecuteResponse, HexBytes, PaymentReceipt};

use super::App;
use super::body::in_format;
use super::problem::ApiError;
use super::route::Route;
use crate::attestation::{self, quote_bytes};

/// `GET /attestation?nonce=…`: evidence of the identity key, the manifest and the component log.
pub(super) async fn identity(
    State(app): State<Arc<App>>,
    request: Request,
) -> Result<Response, ApiError> {
    let attestation = app.attestation()?;
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
    let peer = peer(request.extensions());
    let evidence = attestation
        .evidence(peer, Subject::Identity, Some(nonce))
        .await?;
    let bytes = evidence
        .encode(format)
        .map_err(|e| ApiError::internal(e.to_string()))?;
    Ok(in_format(format, bytes))
}

fn nonce_of(uri: &Uri) -> Result<VerifierNonce, ApiError> {
    let query = uri.query().unwrap_or_default();
    let mut nonces = query
        .split('&')
        .filter_map(|pair| pair.strip_prefix("nonce="));
    match (nonces.next(), nonces.next()) {
        (Some(nonce), None) => nonce
            .parse()
            .map_err(|e| ApiError::malformed(format!("`nonce`: {e}"))),
        (None, _) => Err(ApiError::malformed(
            "`nonce` is missing: 16 to 64 random bytes of your own, in hex",
        )),
        (Some(_), Some(_)) => Err(ApiError::malformed("duplicate query parameter `nonce`")),
    }
}

/// Who sent a request, where the server says so.
pub(super) fn peer(extensions: &http::Extensions) -> Option<IpAddr> {
    extensions.get::<SocketAddr>().map(SocketAddr::ip)
}

/// A nonce from the body of a request.
pub(super) fn nonce_from(bytes: Option<HexBytes>) -> Result<Option<VerifierNonce>, ApiError> {
    bytes
        .map(|bytes| VerifierNonce::new(bytes.0))
        .transpose()
        .map_err(|e| ApiError::malformed(format!("`nonce`: {e}")))
}

/// What the host is at one moment; none where it proves nothing.
pub(super) type Manifest = Option<Arc<attestation::Document>>;

/// Adds the receipt. `manifest` is what the host was when the request came.
pub(super) fn receipt(
    app: &App,
    sequence: u64,
    payment: Option<&PaymentReceipt>,
    manifest: &Manifest,
    response: &mut ExecuteResponse,
) -> Result<(), ApiError> {
    if let (Ok(attestation), Some(manifest)) = (&app.attestation, manifest) {
        let receipt = attestation
            .receipt(response, sequence, payment, manifest)
            .map_err(|e| ApiError::internal(e.to_string()))?;
        response.receipt = Some(HexBytes(receipt));
    }
    Ok(())
}

/// Adds the quote and its evidence, on an attested route. The response without it is whole, and can be quoted later.
pub(super) async fn quote(
    app: &App,
    route: &Route,
    mut response: ExecuteResponse,
) -> Result<ExecuteResponse, ApiError> {
    if route.attested && response.result_quote.is_none() {
        let attestation = app.attestation()?;
        let receipt = response.receipt.as_ref().map(AsRef::as_ref);
        let evidence = attestation
            .result(response.result_commitment, receipt)
            .await?;
        let encoded = evidence
            .encode(ContentFormat::Cbor)
            .map_err(|e| ApiError::internal(e.to_string()))?;
        response.result_quote = Some(HexBytes(quote_bytes(&evidence)));
        response.result_evidence = Some(HexBytes(encoded));
    }
    Ok(response)
}
