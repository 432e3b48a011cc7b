//! A peer that does the worst it can with a thousand connections, and what another peer's `hello` takes meanwhile.
//!
//! Both are on this machine: the besieger at an address of its own (127.0.0.2), with the host's default limits.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use hypervisor_protocol::ContentFormat;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;

use crate::agents::{deploy_guest, owner};
use crate::client_runtime;
use crate::error::Result;
use crate::http::Connection;
use crate::report::{Group, Section, Unit};
use crate::sealed::{EXECUTE, Ready, Session, guest};
use crate::server::Process;
use crate::stats::{micros, percentile};

const FORMAT: ContentFormat = ContentFormat::Cbor;
const CONNECTIONS: usize = 1_000;
/// How long one phase is.
const PHASE: Duration = Duration::from_secs(8);
/// After this the besieger has all that it gets.
const RAMP: Duration = Duration::from_secs(4);
/// Before a connection that was closed is opened again.
const AGAIN: Duration = Duration::from_millis(500);
const AGENT: &str = "/agents/endless/write-forever";
const AIM: &str = "<= 3";

pub(crate) fn measure(rounds: u32) -> Result<Section> {
    let mut section = Section::new(
        "siege",
        format!(
            "sealed hello over one connection, while another peer holds {CONNECTIONS} connections with slow bodies, closed windows, unread answers and idle streams"
        ),
    );
    let runtime = client_runtime()?;
    let (mut idle, mut besieged, mut held) = (vec![], vec![], vec![]);
    for _ in 0..rounds {
        let [before, during, connections] = runtime.block_on(round())?;
        idle.push(before);
        besieged.push(during);
        held.push(connections);
    }
    let ratio = besieged
        .iter()
        .zip(&idle)
        .map(|(during, idle)| during / idle);
    let mut group = Group::new("p99");
    group.add_with_aim("besieged / idle", Unit::Ratio, ratio, AIM);
    group.add("idle", Unit::Microseconds, idle);
    group.add("besieged", Unit::Microseconds, besieged);
    group.add("connections the besieger holds", Unit::Count, held);
    section.push(group);
    Ok(section)
}

/// p99 before and during the siege, and the connections held at its end.
async fn round() -> Result<[f64; 3]> {
    let host = Process::host()?;
    deploy_guest(&host, &owner()?, "bad-agent.wasm", "endless", "").await?;
    let program = guest("hello.wasm")?;
    let mut connection = Connection::open(host.address()).await?;
    let session = Session::open(&mut connection).await?;
    hellos(&mut connection, &session, &program, Duration::from_secs(1)).await?;
    let idle = hellos(&mut connection, &session, &program, PHASE).await?;

    let held = Arc::new(AtomicUsize::new(0));
    let besieger = Besieger::start(host.address(), Arc::clone(&held));
    tokio::time::sleep(RAMP).await;
    let during = hellos(&mut connection, &session, &program, PHASE).await?;
    let connections = held.load(Ordering::Relaxed) as f64;
    drop(besieger);
    Ok([idle, during, connections])
}

/// p99 of requests, one after another, for some time, each of which has to be answered well.
async fn hellos(
    connection: &mut Connection,
    session: &Session,
    program: &[u8],
    time: Duration,
) -> Result<f64> {
    let until = Instant::now() + time;
    let mut times = Vec::new();
    while Instant::now() < until {
        let Ready { body, pending } = session.seal(FORMAT, program, &[])?;
        let started = Instant::now();
        let answer = connection.post(EXECUTE, FORMAT, body).await?;
        times.push(micros(started.elapsed()));
        session.check(FORMAT, &pending, &answer, b"hello\n")?;
    }
    Ok(percentile(&mut times, 99.0))
}

/// A thread with all its connections; over when dropped.
struct Besieger {
    over: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Besieger {
    fn start(host: SocketAddr, held: Arc<AtomicUsize>) -> Self {
        let (over, ended) = tokio::sync::oneshot::channel::<()>();
        let thread = std::thread::spawn(move || {
            let Ok(runtime) = client_runtime() else {
                return;
            };
            runtime.block_on(async {
                let mut tasks = JoinSet::new();
                for number in 0..CONNECTIONS {
                    tasks.spawn(besiege(host, number, Arc::clone(&held)));
                }
                let _ = ended.await;
            });
        });
        Self {
            over: Some(over),
            thread: Some(thread),
        }
    }
}

impl Drop for Besieger {
    fn drop(&mut self) {
        drop(self.over.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// One connection, opened again whenever the host closes it.
async fn besiege(host: SocketAddr, number: usize, held: Arc<AtomicUsize>) {
    loop {
        if let Ok(stream) = connect(host).await {
            held.fetch_add(1, Ordering::Relaxed);
            // Whatever ends it, it begins again.
            let _ = match number % 4 {
                0 => slow_body(stream).await,
                1 => closed_window(stream).await,
                2 => unread_answer(stream).await,
                _ => idle_streams(stream).await,
            };
            held.fetch_sub(1, Ordering::Relaxed);
        }
        tokio::time::sleep(AGAIN).await;
    }
}

async fn connect(host: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.set_recv_buffer_size(4 << 10)?;
    socket.bind(SocketAddr::from(([127, 0, 0, 2], 0)))?;
    socket.connect(host).await
}

/// A body of a megabyte, some bytes at a time.
async fn slow_body(mut stream: TcpStream) -> std::io::Result<()> {
    let head = "POST /test/execute/wasm HTTP/1.1\r\nhost: a\r\ncontent-type: application/cbor\r\ncontent-length: 1048576\r\n\r\n";
    stream.write_all(head.as_bytes()).await?;
    loop {
        stream.write_all(&[0; 16]).await?;
        tokio::time::sleep(AGAIN).await;
    }
}

/// An endless answer that is never read.
async fn unread_answer(mut stream: TcpStream) -> std::io::Result<()> {
    let head = format!("GET {AGENT} HTTP/1.1\r\nhost: a\r\n\r\n");
    stream.write_all(head.as_bytes()).await?;
    // Without reading, only a failing write shows that the host closed the connection.
    loop {
        tokio::time::sleep(AGAIN).await;
        stream.write_all(b"G").await?;
    }
}

/// Endless answers over HTTP/2 behind a window of 0 (RFC 9113 §6.9.2), pings answered.
async fn closed_window(stream: TcpStream) -> std::io::Result<()> {
    // END_STREAM and END_HEADERS
    http2(stream, &get(AGENT), 0x5, 4).await
}

/// Requests whose bodies never come.
async fn idle_streams(stream: TcpStream) -> std::io::Result<()> {
    // END_HEADERS
    http2(stream, &get(AGENT), 0x4, 32).await
}

const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const PING: u8 = 6;

/// Opens so many streams with one head, and answers pings from then on.
async fn http2(mut stream: TcpStream, head: &[u8], flags: u8, streams: u32) -> std::io::Result<()> {
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    // SETTINGS_INITIAL_WINDOW_SIZE = 0
    bytes.extend(frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0]));
    for number in 0..streams {
        bytes.extend(frame(HEADERS, flags, 2 * number + 1, head));
    }
    stream.write_all(&bytes).await?;
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head).await?;
        let [a, b, c, kind, flags, ..] = head;
        let length = u32::from_be_bytes([0, a, b, c]) as usize;
        let mut payload = vec![0; length];
        stream.read_exact(&mut payload).await?;
        if kind == PING && flags == 0 {
            stream.write_all(&frame(PING, 1, 0, &payload)).await?;
        }
    }
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let [_, length @ ..] = (payload.len() as u32).to_be_bytes();
    let mut frame = length.to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// HPACK of a GET: `:method: GET`, `:scheme: http`, and two literals by the static table's names (RFC 7541).
fn get(path: &str) -> Vec<u8> {
    let mut head = vec![0x82, 0x86, 0x04, path.len() as u8];
    head.extend(path.as_bytes());
    head.extend([0x01, 1, b'a']);
    head
}
