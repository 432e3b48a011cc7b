//! Decoding and opening a large request, against the libraries that do the work underneath.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use aes_gcm_siv::aead::{AeadInOut, KeyInit};
use aes_gcm_siv::{Aes256GcmSiv, Nonce, Tag};
use hypervisor_protocol::commitment::request_commitment;
use hypervisor_protocol::{
    ClientSession, ContentFormat, ExecuteWasmRequest, HostSession, Operation, PrivateKey,
    SealedRequest, SessionId,
};
use sha2::{Digest, Sha256};

use crate::error::{Context, Error, Result};
use crate::report::{Group, Section, Unit};
use crate::stats::timed;

const PROGRAM: usize = 16 << 20;
const AIM: &str = "<= 1.5";

pub(crate) fn measure(rounds: u32) -> Result<Section> {
    let mut section = Section::new(
        "ingest",
        "decoding and opening a request with a program of 16 MiB",
    );
    for format in [ContentFormat::Json, ContentFormat::Cbor] {
        let request = Request::new(format)?;
        let rounds = (0..rounds)
            .map(|_| request.round())
            .collect::<Result<Vec<Round>>>()?;
        section.push(group(format, &rounds));
    }
    Ok(section)
}

/// Times of one round, milliseconds.
#[derive(Debug)]
struct Round {
    decode: f64,
    open: f64,
    commitment: f64,
    library_decode: f64,
    library_aead: f64,
    library_sha256: f64,
}

fn group(format: ContentFormat, rounds: &[Round]) -> Group {
    let mut group = Group::new(format.media_type());
    let mut add = |name: &str, value: fn(&Round) -> f64| {
        group.add(name, Unit::Milliseconds, rounds.iter().map(value));
    };
    add("decode", |r| r.decode);
    add("open (commitment and decryption)", |r| r.open);
    add("  of which the commitment", |r| r.commitment);
    match format {
        ContentFormat::Json => add("libraries: serde_json &str + const-hex", |r| {
            r.library_decode
        }),
        ContentFormat::Cbor => add("libraries: memcpy", |r| r.library_decode),
    }
    add("libraries: AES-256-GCM-SIV in place", |r| r.library_aead);
    add("libraries: SHA-256", |r| r.library_sha256);
    let ratio =
        |r: &Round| (r.decode + r.open - r.commitment) / (r.library_decode + r.library_aead);
    let name = "decode and decryption / libraries";
    group.add_with_aim(name, Unit::Ratio, rounds.iter().map(ratio), AIM);
    let ratio =
        |r: &Round| (r.decode + r.open) / (r.library_decode + r.library_aead + r.library_sha256);
    let name = "all / libraries with SHA-256";
    group.add_with_aim(name, Unit::Ratio, rounds.iter().map(ratio), AIM);
    let ratio = |r: &Round| (r.decode + r.open) / (r.library_decode + r.library_aead);
    let name = "all / libraries without SHA-256";
    group.add(name, Unit::Ratio, rounds.iter().map(ratio));
    group
}

struct Request {
    format: ContentFormat,
    body: Vec<u8>,
    session: Arc<HostSession>,
}

impl Request {
    fn new(format: ContentFormat) -> Result<Self> {
        let (host, client) = (PrivateKey::generate(), PrivateKey::generate());
        let id = SessionId::new();
        let session =
            HostSession::new(&host, client.public_key().clone(), id).context("session")?;
        let client =
            ClientSession::new(client, host.public_key().clone(), id).context("session")?;
        let none: [&[u8]; 0] = [];
        let (request, _) = client
            .seal_request(Operation::Wasm, &vec![7; PROGRAM], None, &none)
            .context("sealing")?;
        let request = ExecuteWasmRequest::new(client.public_key(), id, request);
        Ok(Self {
            format,
            body: format.encode(&request).context("encoding")?,
            session: Arc::new(session),
        })
    }

    fn round(&self) -> Result<Round> {
        let millis = |time: Duration| time.as_secs_f64() * 1e3;
        let (decode, request) = timed(|| self.format.decode::<ExecuteWasmRequest>(&self.body));
        let request: SealedRequest = request.context("decoding")?.into();
        let (client, host) = (self.session.client(), self.session.public_key());
        let id = *self.session.id();
        let (commitment, _) = timed(|| {
            black_box(request_commitment(
                client,
                host,
                id,
                Operation::Wasm,
                &request,
            ))
        });
        let (library_sha256, _) = timed(|| black_box(Sha256::digest(&request.program)));
        let (open, opened) = timed(|| self.session.open_request(Operation::Wasm, request));
        drop(black_box(opened.context("opening")?));

        let (library_decode, mut buffer) = timed(|| self.by_libraries());
        let buffer = buffer.as_mut().map_err(|e| Error::new(e.to_string()))?;
        let cipher = Aes256GcmSiv::new(&[7; 32].into());
        let nonce = Nonce::from([0; 12]);
        let tag: Tag = cipher
            .encrypt_inout_detached(&nonce, b"", buffer.as_mut_slice().into())
            .context("sealing")?;
        let (library_aead, opened) = timed(|| {
            cipher.decrypt_inout_detached(&nonce, b"", buffer.as_mut_slice().into(), &tag)
        });
        opened.context("opening")?;
        Ok(Round {
            decode: millis(decode),
            open: millis(open),
            commitment: millis(commitment),
            library_decode: millis(library_decode),
            library_aead: millis(library_aead),
            library_sha256: millis(library_sha256),
        })
    }

    /// The sealed program out of the body, with nothing but the libraries.
    fn by_libraries(&self) -> Result<Vec<u8>> {
        match self.format {
            ContentFormat::Json => {
                #[derive(serde::Deserialize)]
                struct Borrowed<'a> {
                    encrypted_wasm: &'a str,
                }
                let borrowed: Borrowed<'_> =
                    serde_json::from_slice(&self.body).context("parsing")?;
                const_hex::decode(borrowed.encrypted_wasm).context("hex")
            }
            ContentFormat::Cbor => Ok(self.body.clone()),
        }
    }
}
