//! Opening a session.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use hypervisor_protocol::{
    CreateKeypairRequest, CreateKeypairResponse, HexBytes, ProblemType, PublicKey,
};

use super::App;
use super::body::answer;
use super::problem::ApiError;

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
        },
    )
}

/// `POST /verifiable/encrypt/create_keypair`: refused on a host that has nothing to attest with.
pub(super) async fn create_attested_keypair() -> ApiError {
    ApiError::new(
        ProblemType::AttestationUnavailable,
        "this host has no attester; POST /encrypt/create_keypair opens a session without evidence",
    )
}

/// A client's key from field `field` of a request.
pub(super) fn client_key(bytes: &HexBytes, field: &str) -> Result<PublicKey, ApiError> {
    PublicKey::from_sec1(&bytes.0)
        .map_err(|e| ApiError::new(ProblemType::InvalidKey, format!("`{field}`: {e}")))
}
