//! One keep-alive HTTP/1.1 connection. The host and the echo floor are measured through the same code.

use std::net::SocketAddr;

use bytes::Bytes;
use http::{HeaderValue, Request, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use hypervisor_protocol::ContentFormat;
use tokio::net::TcpStream;

use crate::error::{Context, Error, Result};

pub(crate) struct Connection {
    sender: SendRequest<Full<Bytes>>,
    host: HeaderValue,
}

impl Connection {
    pub(crate) async fn open(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address).await.context("connecting")?;
        stream.set_nodelay(true).context("TCP_NODELAY")?;
        let (sender, connection) = handshake(TokioIo::new(stream))
            .await
            .context("HTTP handshake")?;
        tokio::spawn(connection);
        let host = HeaderValue::from_str(&address.to_string()).context("Host header")?;
        Ok(Self { sender, host })
    }

    /// Posts a body and gives the answer's, which has to be a 200.
    pub(crate) async fn post(
        &mut self,
        path: &str,
        format: ContentFormat,
        body: Bytes,
    ) -> Result<Bytes> {
        self.post_with(path, format, body, &[]).await
    }

    /// The same with more headers.
    pub(crate) async fn post_with(
        &mut self,
        path: &str,
        format: ContentFormat,
        body: Bytes,
        headers: &[(&str, &str)],
    ) -> Result<Bytes> {
        self.sender.ready().await.context("connection")?;
        let mut request = Request::post(path)
            .header(header::HOST, &self.host)
            .header(header::CONTENT_TYPE, format.media_type());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(body)).context("request")?;
        self.exchange(path, request).await
    }

    /// Gets a path and gives the answer's body, which has to be a 200.
    pub(crate) async fn get(&mut self, path: &str) -> Result<Bytes> {
        self.sender.ready().await.context("connection")?;
        let request = Request::get(path)
            .header(header::HOST, &self.host)
            .body(Full::default())
            .context("request")?;
        self.exchange(path, request).await
    }

    async fn exchange(&mut self, path: &str, request: Request<Full<Bytes>>) -> Result<Bytes> {
        let response = self
            .sender
            .send_request(request)
            .await
            .context("sending a request")?;
        let status = response.status();
        let body = response
            .into_body()
            .collect()
            .await
            .context("receiving an answer")?
            .to_bytes();
        if status == StatusCode::OK {
            Ok(body)
        } else {
            Err(Error::new(format!(
                "{path}: {status}: {}",
                String::from_utf8_lossy(&body)
            )))
        }
    }
}
