//! Requests put together by hand, so that each part can be wrong.

use std::net::IpAddr;

use hypervisor_client::protocol::{
    AgentRequest, ClientSession, ContentFormat, CreateKeypairRequest, CreateKeypairResponse,
    DeployRequest, ExecuteResponse, ExecuteWasmRequest, OpenResponse, Operation, OwnerKey,
    OwnerProof, PendingRequest, PrivateKey, Problem, PublicKey,
};
use reqwest::Method;
use reqwest::header::CONTENT_TYPE;
use serde::Serialize;

use crate::host::Host;

/// A session whose requests can be altered before they are sent.
pub struct RawSession {
    http: reqwest::Client,
    url: String,
    /// The client's half.
    pub session: ClientSession,
}

/// A whole HTTP answer.
#[derive(Debug)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Headers.
    pub headers: reqwest::header::HeaderMap,
    /// Body.
    pub body: Vec<u8>,
}

impl Answer {
    /// The problem's name, the last part of its type.
    pub fn problem(&self) -> String {
        assert_eq!(
            self.headers[CONTENT_TYPE], "application/problem+json",
            "{self:?}"
        );
        let problem: Problem = serde_json::from_slice(&self.body).unwrap();
        assert_eq!(problem.status, self.status);
        assert!(problem.request_id.is_some());
        problem
            .kind
            .strip_prefix("urn:hypervisor:problem:")
            .unwrap()
            .to_owned()
    }

    /// The problem's words.
    pub fn detail(&self) -> String {
        serde_json::from_slice::<Problem>(&self.body)
            .unwrap()
            .detail
    }
}

/// Posts bytes.
pub async fn post(http: &reqwest::Client, url: &str, content_type: &str, body: Vec<u8>) -> Answer {
    send(http, Method::POST, url, content_type, body).await
}

/// The same, with one more header field.
pub async fn post_with(
    url: &str,
    content_type: &str,
    (name, value): (&str, &str),
    body: Vec<u8>,
) -> Answer {
    let request = reqwest::Client::new()
        .post(url)
        .header(CONTENT_TYPE, content_type)
        .header(name, value);
    let response = request.body(body).send().await.unwrap();
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    Answer {
        status,
        headers,
        body: response.bytes().await.unwrap().to_vec(),
    }
}

async fn send(
    http: &reqwest::Client,
    method: Method,
    url: &str,
    content_type: &str,
    body: Vec<u8>,
) -> Answer {
    let request = http.request(method, url).header(CONTENT_TYPE, content_type);
    answered(request.body(body)).await.unwrap()
}

async fn answered(request: reqwest::RequestBuilder) -> reqwest::Result<Answer> {
    let response = request.send().await?;
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    Ok(Answer {
        status,
        headers,
        body: response.bytes().await?.to_vec(),
    })
}

impl RawSession {
    /// Opens a session with a fresh client key.
    pub async fn open(host: &Host) -> Self {
        Self::open_with(host, PrivateKey::generate()).await
    }

    /// Opens a session with whoever answers at a URL.
    pub async fn open_at(url: &str) -> Self {
        Self::open_url(url, reqwest::Client::new(), PrivateKey::generate()).await
    }

    /// The same session, whose requests go to another host.
    #[must_use]
    pub fn sent_to(self, host: &Host) -> Self {
        Self {
            url: host.url().to_owned(),
            ..self
        }
    }

    /// Opens a session from another address of this machine.
    pub async fn open_from(host: &Host, address: IpAddr) -> Self {
        let http = reqwest::Client::builder().local_address(address);
        Self::open_by(host, http.build().unwrap(), PrivateKey::generate()).await
    }

    /// Opens a session with this client key.
    pub async fn open_with(host: &Host, key: PrivateKey) -> Self {
        Self::open_by(host, reqwest::Client::new(), key).await
    }

    async fn open_by(host: &Host, http: reqwest::Client, key: PrivateKey) -> Self {
        Self::open_url(host.url(), http, key).await
    }

    async fn open_url(url: &str, http: reqwest::Client, key: PrivateKey) -> Self {
        crate::prepare_tls();
        let request = CreateKeypairRequest::new(key.public_key(), None);
        let body = ContentFormat::Json.encode(&request).unwrap();
        let url = url.to_owned();
        let answer = post(
            &http,
            &format!("{url}/encrypt/create_keypair"),
            "application/json",
            body,
        )
        .await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let answer: CreateKeypairResponse = ContentFormat::Json.decode(&answer.body).unwrap();
        let host_key = PublicKey::from_sec1(&answer.session_pubkey.0).unwrap();
        Self {
            http,
            url,
            session: ClientSession::new(key, host_key, answer.session_id).unwrap(),
        }
    }

    /// A good request with the next sequence.
    pub fn request(
        &self,
        program: &[u8],
        stdin: Option<&[u8]>,
        arguments: &[&[u8]],
    ) -> (ExecuteWasmRequest, PendingRequest) {
        let (sealed, pending) = self
            .session
            .seal_request(Operation::Wasm, program, stdin, arguments)
            .unwrap();
        (
            ExecuteWasmRequest::new(self.session.public_key(), *self.session.id(), sealed),
            pending,
        )
    }

    /// Sends a request as it is.
    pub async fn send(&self, request: &ExecuteWasmRequest) -> Answer {
        self.send_as(ContentFormat::Cbor, request).await
    }

    /// Sends a request as it is, and may get no answer.
    ///
    /// # Errors
    /// Where the connection ends before.
    pub async fn try_send(&self, request: &ExecuteWasmRequest) -> reqwest::Result<Answer> {
        let format = ContentFormat::Cbor;
        let url = format!("{}/test/execute/wasm", self.url);
        let post = self.http.post(url);
        let post = post.header(CONTENT_TYPE, format.media_type());
        answered(post.body(format.encode(request).unwrap())).await
    }

    /// Sends a request in this format.
    pub async fn send_as(&self, format: ContentFormat, request: &ExecuteWasmRequest) -> Answer {
        self.send_bytes(format.media_type(), format.encode(request).unwrap())
            .await
    }

    /// Sends bytes to the execution endpoint.
    pub async fn send_bytes(&self, content_type: &str, body: Vec<u8>) -> Answer {
        post(
            &self.http,
            &format!("{}/test/execute/wasm", self.url),
            content_type,
            body,
        )
        .await
    }

    /// The proof that this session speaks for an owner.
    pub fn prove(&self, owner: &OwnerKey) -> OwnerProof {
        let session = &self.session;
        owner.prove(session.public_key(), session.host(), session.id())
    }

    /// A request about an agent, whose name is sealed in it.
    pub fn about(
        &self,
        operation: Operation,
        agent: &str,
        stdin: Option<&[u8]>,
        owner: Option<OwnerProof>,
    ) -> (AgentRequest, PendingRequest) {
        let (sealed, pending) = self
            .session
            .seal_request::<&[u8]>(operation, agent.as_bytes(), stdin, &[])
            .unwrap();
        let (key, id) = (self.session.public_key(), *self.session.id());
        (AgentRequest::new(key, id, owner, sealed), pending)
    }

    /// Deploys a component, as it is.
    pub async fn deploy(
        &self,
        owner: &OwnerKey,
        component: &[u8],
        manifest: &str,
    ) -> (Answer, PendingRequest) {
        let manifest = Some(manifest.as_bytes());
        let (sealed, pending) = self
            .session
            .seal_request::<&[u8]>(Operation::Deploy, component, manifest, &[])
            .unwrap();
        let (key, id) = (self.session.public_key(), *self.session.id());
        let request = DeployRequest::new(key, id, self.prove(owner), sealed);
        let sent = self.send_to(Method::POST, "/agent/deploy", &request);
        (sent.await, pending)
    }

    /// Sends a body, as CBOR, to a path.
    pub async fn send_to(&self, method: Method, path: &str, body: &impl Serialize) -> Answer {
        let format = ContentFormat::Cbor;
        let url = format!("{}{path}", self.url);
        let body = format.encode(body).unwrap();
        send(&self.http, method, &url, format.media_type(), body).await
    }

    /// Opens the answer to a request.
    pub fn open_answer(
        &self,
        format: ContentFormat,
        pending: &PendingRequest,
        answer: &Answer,
    ) -> OpenResponse {
        assert_eq!(
            answer.status,
            200,
            "{}",
            String::from_utf8_lossy(&answer.body)
        );
        let response: ExecuteResponse = format.decode(&answer.body).unwrap();
        self.session
            .open_response(pending, response.into())
            .unwrap()
    }

    /// The session takes a good request: whatever was refused before lost nothing.
    pub async fn still_works(&self) {
        let (request, pending) =
            self.request(&crate::programs::guest("echo"), None, &[b"still here"]);
        let answer = self.send(&request).await;
        assert_eq!(
            self.open_answer(ContentFormat::Cbor, &pending, &answer)
                .result,
            b"still here\n"
        );
    }
}
