//! What a sealed execution costs beside what it cannot do without: HTTP, AEAD and the run itself.

use std::hint::black_box;
use std::time::Instant;

use aes_gcm_siv::aead::{AeadInOut, KeyInit};
use aes_gcm_siv::{Aes256GcmSiv, Nonce, Tag};
use bytes::Bytes;
use hypervisor_protocol::commitment::{request_commitment, result_commitment};
use hypervisor_protocol::{
    ContentFormat, ExecuteResponse, ExecuteWasmRequest, Operation, PublicKey, SealedRequest,
    SealedResponse,
};
use hypervisor_runtime::{Executor, Program};
use tokio::runtime::Runtime;

use crate::client_runtime;
use crate::error::{Context, Result};
use crate::executor::{executor, prepare, run};
use crate::http::Connection;
use crate::report::{Group, Section, Unit};
use crate::sealed::{EXECUTE, Ready, Session, guest};
use crate::server::Process;
use crate::stats::{median_micros, micros, percentile};

/// Requests of each kind in a round.
const REQUESTS: usize = 150;
const EXPECTED: &[u8] = b"hello\n";
const AIM: &str = "<= 1.3";

pub(crate) fn measure(rounds: u32) -> Result<Section> {
    let program = guest("hello.wasm")?;
    let mut section = Section::new(
        "overhead",
        format!(
            "a sealed execution of hello ({} bytes), compiled before, over one keep-alive connection",
            program.len()
        ),
    );
    let runtime = client_runtime()?;
    for format in [ContentFormat::Cbor, ContentFormat::Json] {
        let mut bench = Overhead::start(&runtime, format, &program)?;
        let rounds = (0..rounds)
            .map(|_| bench.round(&runtime))
            .collect::<Result<Vec<Round>>>()?;
        section.push(group(format, &rounds));
    }
    Ok(section)
}

/// Medians of one round, microseconds.
#[derive(Debug, Default)]
struct Round {
    request: f64,
    request_cpu: f64,
    echo: f64,
    echo_cpu: f64,
    aead: f64,
    run: f64,
    commitments: f64,
    lookup: f64,
    codec: f64,
    key: f64,
}

impl Round {
    fn floor(&self) -> f64 {
        self.echo + self.aead + self.run
    }

    fn floor_cpu(&self) -> f64 {
        self.echo_cpu + self.aead + self.run
    }

    /// With what the protocol asks for besides: two hashes over the program.
    fn floor_with_hashes(&self) -> f64 {
        self.floor() + self.commitments + self.lookup
    }

    fn named(&self) -> f64 {
        self.floor_with_hashes() + self.codec
    }
}

fn group(format: ContentFormat, rounds: &[Round]) -> Group {
    let mut group = Group::new(format.media_type());
    let mut add = |name: &str, value: fn(&Round) -> f64| {
        group.add(name, Unit::Microseconds, rounds.iter().map(value));
    };
    add("request, end to end", |r| r.request);
    add("floor: HTTP + AEAD + run", Round::floor);
    add("  HTTP: echo of bodies of the same sizes", |r| r.echo);
    add("  AEAD: open the request, seal the answer", |r| r.aead);
    add("  run: instantiate, run, drop, in process", |r| r.run);
    add("beyond the floor: commitments (SHA-256)", |r| r.commitments);
    add("  digest and look-up (BLAKE3, cache)", |r| r.lookup);
    add("  decoding and encoding bodies", |r| r.codec);
    add("  rest", |r| r.request - r.named());
    add("not counted: reading a client's key anew", |r| r.key);
    add("server processor time, request", |r| r.request_cpu);
    add("server processor time, echo", |r| r.echo_cpu);
    let ratio = rounds.iter().map(|r| r.request / r.floor());
    group.add_with_aim("time / floor", Unit::Ratio, ratio, AIM);
    let ratio = rounds.iter().map(|r| r.request_cpu / r.floor_cpu());
    group.add_with_aim("server processor time / floor", Unit::Ratio, ratio, AIM);
    let ratio = rounds.iter().map(|r| r.request / r.floor_with_hashes());
    let name = "time / floor with commitments and digest";
    group.add(name, Unit::Ratio, ratio);
    group
}

struct Overhead {
    format: ContentFormat,
    wasm: Vec<u8>,
    /// Ended when dropped.
    host: Process,
    echo: Process,
    to_host: Connection,
    to_echo: Connection,
    session: Session,
    answer: Bytes,
    executor: Executor,
    prepared: Program,
    aead: Aead,
}

impl Overhead {
    fn start(runtime: &Runtime, format: ContentFormat, wasm: &[u8]) -> Result<Self> {
        let (host, echo) = (Process::host()?, Process::echo()?);
        let executor = executor()?;
        runtime.block_on(async {
            let mut to_host = Connection::open(host.address()).await?;
            let to_echo = Connection::open(echo.address()).await?;
            let session = Session::open(&mut to_host).await?;
            // Compiles; its answer is as large as all others will be.
            let Ready { body, pending } = session.seal(format, wasm, &[])?;
            let answer = to_host.post(EXECUTE, format, body).await?;
            session.check(format, &pending, &answer, EXPECTED)?;
            let prepared = prepare(&executor, wasm).await?;
            Ok(Self {
                format,
                wasm: wasm.to_vec(),
                host,
                echo,
                to_host,
                to_echo,
                session,
                aead: Aead::new(wasm, &answer),
                answer,
                executor,
                prepared,
            })
        })
    }

    fn round(&mut self, runtime: &Runtime) -> Result<Round> {
        let requests = (0..REQUESTS)
            .map(|_| self.session.seal(self.format, &self.wasm, &[]))
            .collect::<Result<Vec<Ready>>>()?;
        let mut round = Round::default();
        runtime.block_on(self.over_http(&requests, &mut round))?;
        let (format, executor, prepared) = (self.format, &self.executor, &self.prepared);

        round.aead = self.aead.measure();
        round.run = median_micros(0..REQUESTS, |_| {
            black_box(runtime.block_on(run(executor, prepared)));
        });
        round.lookup = median_micros(0..REQUESTS, |_| {
            let found = runtime.block_on(prepare(executor, &self.wasm));
            black_box(found.is_ok());
        });
        let answer: ExecuteResponse = format.decode(&self.answer).context("decoding")?;
        round.codec = median_micros(&requests, |request| {
            let decoded = format.decode::<ExecuteWasmRequest>(&request.body);
            black_box(decoded.is_ok());
            black_box(format.encode(&answer).is_ok());
        });
        let client = self.session.inner().public_key();
        round.key = median_micros(0..REQUESTS, |_| {
            black_box(PublicKey::from_sec1(black_box(client.as_bytes())).is_ok());
        });
        round.commitments = self.commitments(&requests, answer)?;
        Ok(round)
    }

    /// Both servers in turns, request by request, with the same bodies.
    async fn over_http(&mut self, requests: &[Ready], round: &mut Round) -> Result<()> {
        let format = self.format;
        let path = format!("/echo/{}", self.answer.len());
        let (mut to_echo, mut to_host) = (Vec::new(), Vec::new());
        for part in requests.chunks(REQUESTS / 5) {
            let before = self.echo.cpu()?;
            for Ready { body, .. } in part {
                let started = Instant::now();
                black_box(self.to_echo.post(&path, format, body.clone()).await?);
                to_echo.push(micros(started.elapsed()));
            }
            round.echo_cpu += micros(self.echo.cpu()?.saturating_sub(before));

            let mut answers = Vec::with_capacity(part.len());
            let before = self.host.cpu()?;
            for Ready { body, .. } in part {
                let started = Instant::now();
                answers.push(self.to_host.post(EXECUTE, format, body.clone()).await?);
                to_host.push(micros(started.elapsed()));
            }
            round.request_cpu += micros(self.host.cpu()?.saturating_sub(before));
            for (Ready { pending, .. }, answer) in part.iter().zip(&answers) {
                self.session.check(format, pending, answer, EXPECTED)?;
            }
        }
        round.echo = percentile(&mut to_echo, 50.0);
        round.request = percentile(&mut to_host, 50.0);
        round.echo_cpu /= REQUESTS as f64;
        round.request_cpu /= REQUESTS as f64;
        Ok(())
    }

    fn commitments(&self, requests: &[Ready], answer: ExecuteResponse) -> Result<f64> {
        let answer: SealedResponse = answer.into();
        let requests = requests
            .iter()
            .map(|request| self.format.decode::<ExecuteWasmRequest>(&request.body))
            .collect::<std::result::Result<Vec<_>, _>>()
            .context("decoding")?;
        let session = self.session.inner();
        let requests = requests.into_iter().map(SealedRequest::from);
        Ok(median_micros(requests, |request| {
            let committed = request_commitment(
                session.public_key(),
                session.host(),
                *session.id(),
                Operation::Wasm,
                &request,
            );
            if let Ok(committed) = committed {
                let _ = black_box(result_commitment(
                    &committed,
                    &answer.result_nonce,
                    &answer.encrypted_result,
                    &answer.encrypted_report,
                ));
            }
        }))
    }
}

/// AES-256-GCM-SIV with one key, on buffers as large as the real ones.
struct Aead {
    cipher: Aes256GcmSiv,
    ciphertext: Vec<u8>,
    tag: Tag,
    answer: usize,
}

impl Aead {
    const NONCE: [u8; 12] = [0; 12];
    const AAD: [u8; 26] = [0; 26];

    fn new(program: &[u8], answer: &[u8]) -> Self {
        let cipher = Aes256GcmSiv::new(&[7; 32].into());
        let mut ciphertext = program.to_vec();
        let nonce = Nonce::from(Self::NONCE);
        let buffer = ciphertext.as_mut_slice().into();
        // Fails beyond 64 GiB only.
        let tag = cipher.encrypt_inout_detached(&nonce, &Self::AAD, buffer);
        Self {
            cipher,
            ciphertext,
            tag: tag.unwrap_or_default(),
            answer: answer.len(),
        }
    }

    fn measure(&self) -> f64 {
        let buffers: Vec<Vec<u8>> = (0..REQUESTS).map(|_| self.ciphertext.clone()).collect();
        let nonce = Nonce::from(Self::NONCE);
        median_micros(buffers, |mut program| {
            let buffer = program.as_mut_slice().into();
            let cipher = &self.cipher;
            let opened = cipher.decrypt_inout_detached(&nonce, &Self::AAD, buffer, &self.tag);
            black_box(opened.is_ok());
            let (mut result, mut report) = (EXPECTED.to_vec(), vec![0; self.answer]);
            for field in [&mut result, &mut report] {
                let buffer = field.as_mut_slice().into();
                black_box(
                    cipher
                        .encrypt_inout_detached(&nonce, &Self::AAD, buffer)
                        .is_ok(),
                );
            }
        })
    }
}
