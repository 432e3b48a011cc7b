//! The operator's commands to a host that is serving, over its admin port.

use bytes::Bytes;
use http::{HeaderValue, Request, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::TokioIo;
use hypervisor::admin::{Place, Token};
use hypervisor::pipeline::{Plugin, Replacement, Swapped};
use hypervisor_protocol::{ContentFormat, Problem};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

use crate::error::Error;

/// Bytes of an answer at most.
const MAX_ANSWER: usize = 1 << 20;

/// Has the host whose admin port is at `place` swap a plugin, its rules or both; `token` shows who asks.
///
/// # Errors
/// [`Error::NotSwapped`] with the host's words, or with why it was not reached.
pub async fn swap(
    place: &Place,
    token: Option<&Token>,
    plugin: Plugin,
    with: Replacement,
) -> Result<Swapped, Error> {
    let unreached =
        |e: &dyn std::fmt::Display| Error::NotSwapped(format!("the admin port {place}: {e}"));
    let (media_type, body) = match with {
        Replacement {
            component: Some(component),
            rules: None,
        } => ("application/wasm", component.0),
        with => {
            let body = ContentFormat::Cbor.encode(&with);
            let body = body.map_err(|e| unreached(&e))?;
            (ContentFormat::Cbor.media_type(), body)
        }
    };
    let host = match place {
        Place::Tcp(address) => address.to_string(),
        Place::Unix(_) => "localhost".to_owned(),
    };
    let mut request = Request::post(format!("/swap/{}", plugin.name()))
        .header(header::HOST, host)
        .header(header::CONTENT_TYPE, media_type)
        .body(Full::new(Bytes::from(body)))
        .map_err(|e| unreached(&e))?;
    if let Some(token) = token {
        let mut shown = HeaderValue::from_str(&token.authorization()).map_err(|e| unreached(&e))?;
        shown.set_sensitive(true);
        request.headers_mut().insert(header::AUTHORIZATION, shown);
    }
    let stream: Box<dyn Stream> = match place {
        Place::Tcp(address) => Box::new(
            TcpStream::connect(address)
                .await
                .map_err(|e| unreached(&e))?,
        ),
        Place::Unix(path) => Box::new(UnixStream::connect(path).await.map_err(|e| unreached(&e))?),
    };
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|e| unreached(&e))?;
    // Ends with the answer.
    tokio::spawn(connection);
    let response = sender
        .send_request(request)
        .await
        .map_err(|e| unreached(&e))?;
    let status = response.status();
    let body = Limited::new(response.into_body(), MAX_ANSWER)
        .collect()
        .await
        .map_err(|e| unreached(&e))?
        .to_bytes();
    if status == StatusCode::OK {
        return serde_json::from_slice(&body).map_err(|e| unreached(&e));
    }
    let words = serde_json::from_slice::<Problem>(&body).map_or_else(
        |_| String::from_utf8_lossy(&body).trim().to_owned(),
        |problem| problem.detail,
    );
    Err(Error::NotSwapped(words))
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}
