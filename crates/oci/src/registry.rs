//! The protocol: the parts of the OCI distribution specification that one component needs, with a bound on everything that comes.

use std::error::Error as _;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use docker_credential::DockerCredential;
use http_auth::{ChallengeRef, parse_challenges};
use reqwest::header::{
    ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, LOCATION, WWW_AUTHENTICATE,
};
use reqwest::redirect::{Attempt, Policy};
use reqwest::{Client, Method, Request, Response, StatusCode};
use serde::Deserialize;
use url::Url;

use crate::error::Error;
use crate::reference::{Digest, Pin, Reference};

/// Time to reach a registry.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest pause in an answer.
const PAUSE: Duration = Duration::from_secs(30);
/// Times that a registry may send elsewhere: what it has is often on another host.
const MAX_REDIRECTS: usize = 5;
/// Bytes of a token, or of what a registry says about a mistake.
const MAX_WORDS: u64 = 64 << 10;
/// Characters of that which are shown.
const SHOWN: usize = 300;

/// What is asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Right {
    Pull,
    Push,
}

/// One name in one registry.
pub(crate) struct Registry {
    http: Client,
    /// `…/v2/NAME/`.
    base: Url,
    host: String,
    scope: String,
    /// What the registry wants to be shown, once it has said so.
    authorization: Option<HeaderValue>,
}

/// Who is asked for a token. Some registries call it one thing, some the other.
#[derive(Deserialize)]
struct Token {
    #[serde(alias = "access_token")]
    token: String,
}

impl Registry {
    pub(crate) fn new(of: &Reference, plain: bool, right: Right) -> Result<Self, Error> {
        let host = of.registry().to_owned();
        let plain = plain || of.is_local();
        let scheme = if plain { "http" } else { "https" };
        // What people write, and where it is.
        let at = match host.as_str() {
            "docker.io" => "registry-1.docker.io",
            other => other,
        };
        let base = Url::parse(&format!("{scheme}://{at}/v2/{}/", of.name()));
        let base = base.map_err(|_| Error::Reference {
            text: of.to_string(),
            reason: "it is no address",
        })?;
        // A program that chose another library of cryptography keeps it.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(PAUSE)
            .redirect(Policy::custom(move |attempt| followed(attempt, plain)))
            .build();
        let rights = match right {
            Right::Pull => "pull",
            Right::Push => "pull,push",
        };
        Ok(Self {
            http: http.map_err(|error| unreached(&host, &error))?,
            base,
            host,
            scope: format!("repository:{}:{rights}", of.name()),
            authorization: None,
        })
    }

    /// A manifest as the registry has it, whatever its digest.
    pub(crate) async fn manifest(
        &mut self,
        of: &Reference,
        media_type: &'static str,
        most: u64,
    ) -> Result<Vec<u8>, Error> {
        let which = match of.pin() {
            Pin::Digest(digest) => digest.to_string(),
            Pin::Tag(tag) => tag.clone(),
            Pin::None => "latest".to_owned(),
        };
        let mut request = self.request(Method::GET, &format!("manifests/{which}"))?;
        request
            .headers_mut()
            .insert(ACCEPT, HeaderValue::from_static(media_type));
        let response = self.send(request).await?;
        if response.status() == StatusCode::NOT_FOUND {
            return Err(Error::Unknown(of.to_string()));
        }
        let response = self.expect(response, StatusCode::OK).await?;
        body(&self.host, response, "a manifest", most).await
    }

    /// A blob of at most this size, whatever its digest.
    pub(crate) async fn blob(
        &mut self,
        digest: Digest,
        what: &'static str,
        most: u64,
    ) -> Result<Vec<u8>, Error> {
        let request = self.request(Method::GET, &format!("blobs/{digest}"))?;
        let response = self.send(request).await?;
        let response = self.expect(response, StatusCode::OK).await?;
        body(&self.host, response, what, most).await
    }

    /// Uploads a blob that is not there yet.
    pub(crate) async fn upload(&mut self, content: Bytes) -> Result<(), Error> {
        let digest = Digest::of(&content);
        let request = self.request(Method::HEAD, &format!("blobs/{digest}"))?;
        if self.send(request).await?.status() == StatusCode::OK {
            return Ok(());
        }
        let request = self.request(Method::POST, "blobs/uploads/")?;
        let response = self.send(request).await?;
        let response = self.expect(response, StatusCode::ACCEPTED).await?;
        let location = response.headers().get(LOCATION);
        let location = location.and_then(|location| location.to_str().ok());
        let mut location = location
            .and_then(|location| response.url().join(location).ok())
            .ok_or_else(|| self.answered("no place for an upload", String::new()))?;
        location
            .query_pairs_mut()
            .append_pair("digest", &digest.to_string());
        let mut request = Request::new(Method::PUT, location);
        let binary = HeaderValue::from_static("application/octet-stream");
        request.headers_mut().insert(CONTENT_TYPE, binary);
        *request.body_mut() = Some(content.into());
        let response = self.send(request).await?;
        self.expect(response, StatusCode::CREATED).await.map(drop)
    }

    /// Puts a manifest under a tag, or under its digest.
    pub(crate) async fn put_manifest(
        &mut self,
        tag: &str,
        media_type: &'static str,
        manifest: Bytes,
    ) -> Result<(), Error> {
        let mut request = self.request(Method::PUT, &format!("manifests/{tag}"))?;
        request
            .headers_mut()
            .insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
        *request.body_mut() = Some(manifest.into());
        let response = self.send(request).await?;
        self.expect(response, StatusCode::CREATED).await.map(drop)
    }

    fn request(&self, method: Method, path: &str) -> Result<Request, Error> {
        // `sha256:…` alone would be an address.
        let url = self.base.join(&format!("./{path}"));
        let url = url.map_err(|error| self.answered("an address", error.to_string()))?;
        Ok(Request::new(method, url))
    }

    /// Sends a request; once more, where the registry asks who one is.
    async fn send(&mut self, mut request: Request) -> Result<Response, Error> {
        let again = request.try_clone();
        self.show(&mut request);
        let response = self.execute(request).await?;
        let (StatusCode::UNAUTHORIZED, None, Some(mut again)) =
            (response.status(), &self.authorization, again)
        else {
            return Ok(response);
        };
        self.authorization = Some(self.log_in(response.headers()).await?);
        self.show(&mut again);
        self.execute(again).await
    }

    async fn execute(&self, request: Request) -> Result<Response, Error> {
        let answer = self.http.execute(request).await;
        answer.map_err(|error| unreached(&self.host, &error))
    }

    /// What shows who one is goes to the registry itself, and not where it sends an upload.
    fn show(&self, request: &mut Request) {
        if let Some(shown) = &self.authorization
            && request.url().origin() == self.base.origin()
        {
            request.headers_mut().insert(AUTHORIZATION, shown.clone());
        }
    }

    /// What the registry's challenge asks for: name and password, or a token that they are exchanged for, or that anybody gets.
    async fn log_in(&self, headers: &HeaderMap) -> Result<HeaderValue, Error> {
        let denied = |reason: String| Error::Denied {
            registry: self.host.clone(),
            reason,
        };
        let challenges = headers.get_all(WWW_AUTHENTICATE).iter();
        let challenges = challenges.filter_map(|challenge| challenge.to_str().ok());
        let challenges: Vec<ChallengeRef<'_>> = challenges
            .filter_map(|challenge| parse_challenges(challenge).ok())
            .flatten()
            .collect();
        let of = |scheme: &str| {
            let mut all = challenges.iter();
            all.find(|challenge| challenge.scheme.eq_ignore_ascii_case(scheme))
        };
        let known = credentials(&self.host);
        if let Some(bearer) = of("bearer") {
            let token = self.token(bearer, known).await?;
            return secret(format!("Bearer {token}")).map_err(denied);
        }
        let host = &self.host;
        let (name, password) = known.ok_or_else(|| {
            denied(format!(
                "it wants to know who asks: `docker login {host}`, or what writes the same file"
            ))
        })?;
        if of("basic").is_none() {
            return Err(denied(
                "it wants to be shown something else than a name and a password".to_owned(),
            ));
        }
        let shown = STANDARD.encode(format!("{name}:{password}"));
        secret(format!("Basic {shown}")).map_err(denied)
    }

    async fn token(
        &self,
        challenge: &ChallengeRef<'_>,
        known: Option<(String, String)>,
    ) -> Result<String, Error> {
        let parameter = |wanted: &str| {
            let mut all = challenge.params.iter();
            let found = all.find(|(name, _)| name.eq_ignore_ascii_case(wanted));
            found.map(|(_, value)| value.to_unescaped())
        };
        let realm = parameter("realm").and_then(|realm| Url::parse(&realm).ok());
        // A password does not go out in clear because a registry says so.
        let realm = realm.filter(|realm| realm.scheme() == "https" || self.base.scheme() == "http");
        let mut realm = realm.ok_or_else(|| self.answered("no place for tokens", String::new()))?;
        realm.query_pairs_mut().append_pair("scope", &self.scope);
        if let Some(service) = parameter("service") {
            realm.query_pairs_mut().append_pair("service", &service);
        }
        let mut request = self.http.get(realm);
        if let Some((name, password)) = known {
            request = request.basic_auth(name, Some(password));
        }
        let response = request.send().await;
        let response = response.map_err(|error| unreached(&self.host, &error))?;
        let response = self.expect(response, StatusCode::OK).await?;
        let token = body(&self.host, response, "a token", MAX_WORDS).await?;
        let token: Result<Token, _> = serde_json::from_slice(&token);
        // Its words are not shown: they may be the token.
        token
            .map(|token| token.token)
            .map_err(|_| self.answered("something else than a token", String::new()))
    }

    async fn expect(&self, response: Response, wanted: StatusCode) -> Result<Response, Error> {
        let status = response.status();
        if status == wanted {
            return Ok(response);
        }
        let words = body(&self.host, response, "an answer", MAX_WORDS).await;
        let words = String::from_utf8_lossy(&words.unwrap_or_default())
            .trim()
            .chars()
            .take(SHOWN)
            .collect();
        Err(match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Error::Denied {
                registry: self.host.clone(),
                reason: words,
            },
            _ => self.answered(status.as_str(), words),
        })
    }

    fn answered(&self, what: &str, words: String) -> Error {
        Error::Answered {
            registry: self.host.clone(),
            what: what.to_owned(),
            words,
        }
    }
}

/// A body that is no longer than it may be, whatever its header says.
async fn body(
    host: &str,
    mut response: Response,
    what: &'static str,
    most: u64,
) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    loop {
        let chunk = response.chunk().await;
        let Some(chunk) = chunk.map_err(|error| unreached(host, &error))? else {
            return Ok(bytes);
        };
        if bytes.len() as u64 + chunk.len() as u64 > most {
            return Err(Error::TooLarge { what, most });
        }
        bytes.extend_from_slice(&chunk);
    }
}

/// A registry may send elsewhere, and not out of TLS.
fn followed(attempt: Attempt<'_>, plain: bool) -> reqwest::redirect::Action {
    if attempt.previous().len() > MAX_REDIRECTS {
        attempt.error("it sends from one address to another")
    } else if plain || attempt.url().scheme() == "https" {
        attempt.follow()
    } else {
        attempt.error("it sends to an address without TLS")
    }
}

/// What `docker login` and its like wrote for a registry. Tokens of identity are for another exchange, which few registries have.
fn credentials(host: &str) -> Option<(String, String)> {
    let server = match host {
        "docker.io" => "https://index.docker.io/v1/",
        other => other,
    };
    match docker_credential::get_credential(server) {
        Ok(DockerCredential::UsernamePassword(name, password)) => Some((name, password)),
        _ => None,
    }
}

fn secret(text: String) -> Result<HeaderValue, String> {
    let value = HeaderValue::from_str(&text);
    let mut value = value.map_err(|_| "what it wants to be shown is no header".to_owned())?;
    value.set_sensitive(true);
    Ok(value)
}

/// The innermost reason, which is the one that says something.
fn unreached(registry: &str, error: &reqwest::Error) -> Error {
    let mut reason = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        reason = inner.to_string();
        source = inner.source();
    }
    Error::Unreached {
        registry: registry.to_owned(),
        reason,
    }
}
