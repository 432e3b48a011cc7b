//! Opening a session.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use http::{HeaderName, HeaderValue};
use hypervisor_evidence::Subject;
use hypervisor_protocol::{ContentFormat, CreateKeypairRequest, CreateKeypairResponse, HexBytes};
use hypervisor_telemetry::metrics::{self, Step};

use super::evidence::nonce_from;
use super::form::{answer, decoded, format_of};
use super::{address_of, peer_of};
use crate::pipeline::sealed::decode::client_key;
use crate::pipeline::{Host, Refusal};

/// What a client repeats in each request of its session, for those who bring requests to hosts.
pub(super) const SESSION: HeaderName = HeaderName::from_static("hypervisor-session");

/// `POST /encrypt/create_keypair`: a session without evidence. `nonce` is for the attested form and ignored here.
pub(super) async fn create_keypair(
    State(host): State<Arc<Host>>,
    request: Request,
) -> Result<Response, Refusal> {
    let format = format_of(&request)?;
    let peer = peer_of(&request);
    let (request, _share) = decoded::<CreateKeypairRequest>(&host, format, request).await?;
    let client = client_key(&request.pubkey, "pubkey")?;
    let opened = host.sessions().open(peer, client)?;
    opened_session(
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

/// `POST /verifiable/encrypt/create_keypair`: a session with evidence that its key is this host's. With the
/// header `accept-evidence` the client says that it reads evidence whose quote is over many sessions (`session-batch`), and that it
/// wants the platform's boot log too (`boot-log`), separated by commas.
pub(super) async fn create_attested_keypair(
    State(host): State<Arc<Host>>,
    request: Request,
) -> Result<Response, Refusal> {
    let attestation = host.attestation()?;
    let address = address_of(&request);
    let format = format_of(&request)?;
    let in_batch = accepts(&request, "session-batch");
    let with_boot_log = accepts(&request, "boot-log");
    let peer = peer_of(&request);
    let (request, _share) = decoded::<CreateKeypairRequest>(&host, format, request).await?;
    let client = client_key(&request.pubkey, "pubkey")?;
    let nonce = nonce_from(request.nonce)?;
    let opened = host.sessions().open(peer, client)?;
    let session = &opened.session;
    let subject = Subject::Session {
        session_public_key: session.public_key().clone(),
        session_id: *session.id(),
        client_public_key: session.client().clone(),
    };
    let quoting = metrics::timed(Step::Quote);
    let evidence = if in_batch {
        attestation
            .session(address, &subject, nonce.as_ref())
            .await?
    } else {
        attestation.evidence(address, subject, nonce).await?
    };
    drop(quoting);
    let evidence = match with_boot_log {
        true => attestation.with_boot_log(evidence),
        false => evidence,
    };
    let encoded = evidence
        .encode(ContentFormat::Cbor)
        .map_err(|e| Refusal::internal(e.to_string()))?;
    opened_session(
        format,
        &CreateKeypairResponse {
            session_pubkey: HexBytes(session.public_key().to_bytes().to_vec()),
            session_id: *session.id(),
            expires_at: opened.expires_at,
            quote: Some(HexBytes(evidence.quote().to_vec())),
            evidence: Some(HexBytes(encoded)),
        },
    )
}

/// The answer, which names the session in its header too.
fn opened_session(
    format: ContentFormat,
    opened: &CreateKeypairResponse,
) -> Result<Response, Refusal> {
    let mut response = answer(format, opened)?;
    let id = HeaderValue::from_str(&opened.session_id.to_string());
    let id = id.map_err(|_| Refusal::internal("naming a session"))?;
    response.headers_mut().insert(SESSION, id);
    Ok(response)
}

fn accepts(request: &Request, what: &str) -> bool {
    let accepted = request.headers().get("accept-evidence");
    let accepted = accepted.and_then(|accepted| accepted.to_str().ok());
    accepted.is_some_and(|accepted| accepted.split(',').any(|one| one.trim() == what))
}
