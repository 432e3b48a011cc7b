//! Connections: held, not read, put together wrongly.

use hypervisor_client::{Error, Program};
use hypervisor_tests::{Host, PATIENCE};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

async fn connect(host: &Host) -> TcpStream {
    let address = host.url().strip_prefix("http://").unwrap();
    TcpStream::connect(address).await.unwrap()
}

/// Everything that comes until the host closes the connection.
async fn rest(stream: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    let read = timeout(PATIENCE, stream.read_to_end(&mut bytes)).await;
    // A reset is an end, too.
    let _ = read.expect("the host closes the connection");
    bytes
}

async fn answer(host: &Host, request: &str) -> String {
    let mut stream = connect(host).await;
    stream.write_all(request.as_bytes()).await.unwrap();
    String::from_utf8(rest(&mut stream).await).unwrap()
}

#[tokio::test]
async fn one_address_cannot_take_all_connections() {
    let host = Host::with("[limits]\nconnections_per_peer = 4\n");
    let mut held = Vec::new();
    for _ in 0..4 {
        held.push(connect(&host).await);
    }
    let mut fifth = connect(&host).await;
    assert!(rest(&mut fifth).await.is_empty());
    held.pop();
    hypervisor_tests::eventually("a place for another connection", async || {
        reqwest::get(format!("{}/ping", host.url())).await.ok()
    })
    .await;
}

#[tokio::test]
async fn a_request_names_one_host() {
    let host = Host::start();
    for fields in ["", "host: a\r\nhost: b\r\n", "host: a\r\nhost: a\r\n"] {
        for path in ["/ping", "/agents/name/"] {
            let request = format!("GET {path} HTTP/1.1\r\n{fields}connection: close\r\n\r\n");
            let answer = answer(&host, &request).await;
            assert!(answer.starts_with("HTTP/1.1 400 "), "{fields:?}: {answer}");
            assert!(answer.contains("application/problem+json"), "{answer}");
        }
    }
    let old = answer(&host, "GET /ping HTTP/1.0\r\n\r\n").await;
    assert!(old.starts_with("HTTP/1.0 200 "), "{old}");
}

/// A peer of HTTP/2 that reads nothing of any answer and answers every ping.
struct Http2 {
    stream: TcpStream,
}

/// Types of frames (RFC 9113 §6).
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;

impl Http2 {
    /// A connection whose windows for answers are closed.
    async fn open(host: &Host) -> Self {
        let mut stream = connect(host).await;
        stream
            .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
            .await
            .unwrap();
        let mut peer = Self { stream };
        // SETTINGS_INITIAL_WINDOW_SIZE = 0
        peer.write(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0]).await;
        peer
    }

    async fn write(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let mut frame = length[1..].to_vec();
        frame.extend([kind, flags]);
        frame.extend(stream.to_be_bytes());
        frame.extend(payload);
        self.stream.write_all(&frame).await.unwrap();
    }

    async fn get(&mut self, stream: u32, path: &str) {
        // HPACK: `:method: GET`, `:scheme: http`, and two literals by the static table's names.
        let mut head = vec![0x82, 0x86, 0x04, u8::try_from(path.len()).unwrap()];
        head.extend(path.as_bytes());
        head.extend([0x01, 1, b'a']);
        // END_STREAM and END_HEADERS
        self.write(HEADERS, 0x5, stream, &head).await;
    }

    /// The next frame: type, stream and payload; none at the end of the connection.
    async fn frame(&mut self) -> Option<(u8, u32, Vec<u8>)> {
        let read = async {
            let mut head = [0; 9];
            self.stream.read_exact(&mut head).await.ok()?;
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
            let mut payload = vec![0; usize::try_from(length).unwrap()];
            self.stream.read_exact(&mut payload).await.ok()?;
            let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
            Some((head[3], head[4], stream, payload))
        };
        let (kind, flags, stream, payload) = timeout(PATIENCE, read).await.expect("a frame")?;
        if kind == PING && flags == 0 {
            self.write(PING, 1, 0, &payload).await;
        }
        Some((kind, stream, payload))
    }
}

#[tokio::test]
async fn an_answer_that_nobody_reads_is_reset_though_pings_are_answered() {
    let host = Host::with("[limits]\nsend = '500ms'\nreceive = '200ms'\n");
    let mut peer = Http2::open(&host).await;
    peer.get(1, "/openapi.json").await;
    loop {
        match peer.frame().await.expect("the connection goes on") {
            (RST_STREAM, 1, _) => break,
            (GOAWAY, ..) => panic!("the whole connection ended"),
            _ => {}
        }
    }
    // The other streams of the connection are not touched.
    peer.get(3, "/openapi.json").await;
    loop {
        match peer.frame().await.expect("the connection goes on") {
            (HEADERS, 3, _) => break,
            (GOAWAY, ..) => panic!("the whole connection ended"),
            _ => {}
        }
    }
}

#[tokio::test]
async fn a_connection_of_http_2_without_a_request_ends() {
    let host = Host::with("[limits]\nidle = '300ms'\nreceive = '200ms'\n");
    let mut peer = Http2::open(&host).await;
    let mut away = false;
    while let Some((kind, ..)) = peer.frame().await {
        away |= kind == GOAWAY;
    }
    assert!(away);
}

#[tokio::test]
async fn half_a_preface_does_not_hold_a_connection() {
    let host = Host::with("[limits]\nidle = '300ms'\nreceive = '200ms'\n");
    let mut stream = connect(&host).await;
    stream.write_all(b"PRI * HTT").await.unwrap();
    rest(&mut stream).await;
}

#[tokio::test]
async fn a_connection_has_few_streams_at_once() {
    let host = Host::start();
    let mut peer = Http2::open(&host).await;
    let settings = loop {
        if let (SETTINGS, _, payload) = peer.frame().await.unwrap()
            && !payload.is_empty()
        {
            break payload;
        }
    };
    // SETTINGS_MAX_CONCURRENT_STREAMS and its value.
    let streams = settings.chunks(6).find(|setting| setting[..2] == [0, 3]);
    assert_eq!(streams.unwrap()[2..], 32_u32.to_be_bytes());
}

#[tokio::test]
async fn who_sends_too_much_is_told_so_and_not_cut_off() {
    let host = Host::with("[limits]\nbody = '1 MiB'\n");
    let program = vec![0; 24 << 20];
    for _ in 0..5 {
        let session = host.session().await;
        let error = session.run_wasm(Program::new(&program)).await.unwrap_err();
        let Error::Refused(problem) = &error else {
            panic!("{error}")
        };
        assert_eq!(problem.status, 413, "{problem:?}");
    }
}

#[tokio::test]
async fn a_handshake_that_does_not_come_to_an_end_does_not_hold_a_connection() {
    let tls = crate::tls::section("host");
    let limits = "[limits]\nreceive = '300ms'\nconnections_per_peer = 2\n";
    let host = Host::with(&format!("{limits}{tls}"));
    let address = host.url().strip_prefix("https://").unwrap();
    let mut held = Vec::new();
    // The head of a handshake, and the part of a message.
    for part in [&[0x16][..], &[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3]] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(part).await.unwrap();
        held.push(stream);
    }
    for mut stream in held {
        rest(&mut stream).await;
    }
    // What is no TLS is not answered either.
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream
        .write_all(b"GET /ping HTTP/1.1\r\nhost: a\r\n\r\n")
        .await
        .unwrap();
    let answered = rest(&mut stream).await;
    assert!(!answered.windows(4).any(|part| part == b"pong"));
    assert_eq!(crate::tls::version(&host).await, reqwest::Version::HTTP_2);
}
