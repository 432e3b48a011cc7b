//! Opening a session.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use hypervisor_evidence::Subject;
use hypervisor_protocol::{
    ContentFormat, CreateKeypairRequest, CreateKeypairResponse, HexBytes, ProblemType, PublicKey,
};

use super::App;
use super::body::answer;
use super::evidence::{nonce_from, peer};
use super::problem::ApiError;
use crate::attestation::quote_bytes;

/// `POST /encrypt/create_keypair`: a session without evidence. `nonce` is for the attested form and ignored here.
pub(super) async fn create_keypair(
    State(app): State<Arc<App>>,
    request: Request,
) -> Result<Response, ApiError> {
    let received = app.bodies.receive(request).await?;
    let (request, _share, format) = received.decode::<CreateKeypairRequest>()?;
    let client = client_key(&request.pubkey, "pubkey")?;
    let opened = app.sessions.open(client)?;
    answer(
        format,
        &CreateKeypairResponse {
            session_pubkey: HexBytes(opened.session.public_key().to_bytes().to_vec()),
            session_id: *opened.session.id(),
            expires_at: opened.expires_at,
            quote: None,
            evidence: None,
        },
    )
}

/// `POST /verifiable/encrypt/create_keypair`: a session with evidence that its key is this host's.
pub(super) async fn create_attested_keypair(
    State(app): State<Arc<App>>,
    request: Request,
) -> Result<Response, ApiError> {
    let attestation = app.attestation()?;
    let peer = peer(request.extensions());
    let received = app.bodies.receive(request).await?;
    let (request, _share, format) = received.decode::<CreateKeypairRequest>()?;
    let client = client_key(&request.pubkey, "pubkey")?;
    let nonce = nonce_from(request.nonce)?;
    let opened = app.sessions.open(client)?;
    let session = &opened.session;
    let subject = Subject::Session {
        session_public_key: session.public_key().clone(),
        session_id: *session.id(),
        client_public_key: session.client().clone(),
    };
    let evidence = attestation.evidence(peer, subject, nonce).await?;
    let encoded = evidence
        .encode(ContentFormat::Cbor)
        .map_err(|e| ApiError::internal(e.to_string()))?;
    answer(
        format,
        &CreateKeypairResponse {
            session_pubkey: HexBytes(session.public_key().to_bytes().to_vec()),
            session_id: *session.id(),
            expires_at: opened.expires_at,
            quote: Some(HexBytes(quote_bytes(&evidence))),
            evidence: Some(HexBytes(encoded)),
        },
    )
}

/// A client's key from field `field` of a request.
pub(super) fn client_key(bytes: &HexBytes, field: &str) -> Result<PublicKey, ApiError> {
    PublicKey::from_sec1(&bytes.0)
        .map_err(|e| ApiError::new(ProblemType::InvalidKey, format!("`{field}`: {e}")))
}
