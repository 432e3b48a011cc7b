//! A session with the host, and requests sealed before the clock starts.

use std::fs;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use hypervisor_protocol::{
    ClientSession, ContentFormat, CreateKeypairRequest, CreateKeypairResponse,
    ExecutePythonRequest, ExecuteResponse, ExecuteWasmRequest, Exit, Operation, PendingRequest,
    PrivateKey, PublicKey,
};

use crate::error::{Context, Error, Result};
use crate::http::Connection;
use crate::server::this_executable;

pub(crate) const EXECUTE: &str = "/test/execute/wasm";
pub(crate) const SCRIPT: &str = "/test/policy/unsafe/python";

/// A program of `target/guests`.
pub(crate) fn guest(name: &str) -> Result<Vec<u8>> {
    fs::read(target()?.join("guests").join(name))
        .context(format_args!("target/guests/{name} (make guests)"))
}

/// Where a guest is.
pub(crate) fn guest_path(name: &str) -> Result<PathBuf> {
    Ok(target()?.join("guests").join(name))
}

/// A file of `target/components`.
pub(crate) fn component(name: &str) -> Result<PathBuf> {
    Ok(target()?.join("components").join(name))
}

fn target() -> Result<PathBuf> {
    let executable = this_executable()?;
    executable
        .parent()
        .and_then(Path::parent)
        .map(Path::to_owned)
        .context("this program is in no target folder")
}

/// A request ready to send, and what opens its answer.
pub(crate) struct Ready {
    pub(crate) body: Bytes,
    pub(crate) pending: PendingRequest,
}

pub(crate) struct Session(ClientSession);

impl Session {
    pub(crate) async fn open(connection: &mut Connection) -> Result<Self> {
        let key = PrivateKey::generate();
        let format = ContentFormat::Cbor;
        let request = CreateKeypairRequest::new(key.public_key(), None);
        let body = format.encode(&request).context("encoding")?;
        let answer = connection
            .post("/encrypt/create_keypair", format, body.into())
            .await?;
        let answer: CreateKeypairResponse = format.decode(&answer).context("decoding")?;
        let host = PublicKey::from_sec1(&answer.session_pubkey.0).context("session key")?;
        let session = ClientSession::new(key, host, answer.session_id).context("session")?;
        Ok(Self(session))
    }

    pub(crate) fn inner(&self) -> &ClientSession {
        &self.0
    }

    /// Seals an execution under the next sequence.
    pub(crate) fn seal(
        &self,
        format: ContentFormat,
        program: &[u8],
        arguments: &[&str],
    ) -> Result<Ready> {
        let (request, pending) = self
            .0
            .seal_request(Operation::Wasm, program, None, arguments)
            .context("sealing")?;
        let request = ExecuteWasmRequest::new(self.0.public_key(), *self.0.id(), request);
        let body = format.encode(&request).context("encoding")?.into();
        Ok(Ready { body, pending })
    }

    /// Seals an execution of a script under the next sequence.
    pub(crate) fn seal_script(&self, format: ContentFormat, script: &str) -> Result<Ready> {
        let (request, pending) = self
            .0
            .seal_request(Operation::Python, script.as_bytes(), None, &[] as &[&str])
            .context("sealing")?;
        let request = ExecutePythonRequest::new(self.0.public_key(), *self.0.id(), request);
        let body = format.encode(&request).context("encoding")?.into();
        Ok(Ready { body, pending })
    }

    /// Opens an answer, which has to be a run that ended well with `expected` on standard output.
    pub(crate) fn check(
        &self,
        format: ContentFormat,
        pending: &PendingRequest,
        answer: &[u8],
        expected: &[u8],
    ) -> Result<()> {
        let output = self.open_answer(format, pending, answer)?;
        if output == expected {
            Ok(())
        } else {
            Err(Error::new("the program did not print what it should"))
        }
    }

    /// Opens an answer, which has to be a run that ended well, and gives its standard output.
    pub(crate) fn open_answer(
        &self,
        format: ContentFormat,
        pending: &PendingRequest,
        answer: &[u8],
    ) -> Result<Vec<u8>> {
        let answer: ExecuteResponse = format.decode(answer).context("decoding an answer")?;
        let opened = self
            .0
            .open_response(pending, answer.into())
            .context("opening an answer")?;
        if opened.report.exit == Exit::Ok {
            Ok(opened.result)
        } else {
            Err(Error::new(format!(
                "the program did not do its work: {:?}",
                opened.report.exit
            )))
        }
    }
}
