//! Azure's metadata service.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hypervisor_simulated::Simulator;
use hypervisor_vtpm::Imds;

/// Where the report data is in a TDREPORT.
const REPORT_DATA: std::ops::Range<usize> = 128..192;

/// The first line, and the body.
fn request(stream: &mut TcpStream) -> (String, Vec<u8>) {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let length = stream.read(&mut buffer).unwrap();
        bytes.extend_from_slice(&buffer[..length]);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            continue;
        };
        assert!(head.contains("\r\nMetadata: true"), "{head}");
        let expected = head
            .lines()
            .find_map(|line| line.strip_prefix("Content-Length: "));
        if body.len() >= expected.unwrap().parse().unwrap() {
            return (head.lines().next().unwrap().to_owned(), body.into());
        }
    }
}

/// Answers one request.
fn serve(answer: impl FnOnce(&str, &[u8]) -> String + Send + 'static) -> Imds {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let (line, body) = request(&mut stream);
        let _ = stream.write_all(answer(&line, &body).as_bytes());
    });
    Imds::at(address)
}

/// One that has quotes made of TDs' reports, by a simulator.
pub(crate) fn quoting(simulator: &Arc<Simulator>) -> Imds {
    let simulator = Arc::clone(simulator);
    serve(move |line, body| {
        assert_eq!(line, "POST /acc/tdquote HTTP/1.0");
        let body: serde_json::Value = serde_json::from_slice(body).unwrap();
        let report = URL_SAFE_NO_PAD
            .decode(body["report"].as_str().unwrap())
            .unwrap();
        let report_data = report[REPORT_DATA].try_into().unwrap();
        let quote = simulator.raw_quote(report_data).unwrap();
        format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n{{\"quote\":\"{}\"}}",
            URL_SAFE_NO_PAD.encode(quote)
        )
    })
}

/// One with this answer to everything.
pub(crate) fn answering(answer: &'static str) -> Imds {
    serve(move |_, _| answer.to_owned())
}
