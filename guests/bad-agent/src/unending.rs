//! What does not come to an end by itself.

use std::time::Duration;
use std::{hint, thread};

use http_kit::{Error, json, start};
use serde_json::json;
use wasip2::http::types::{IncomingRequest, ResponseOutparam};
use wasip2::io::streams::StreamError;

const PIECE: usize = 1 << 20;

/// Ends when the reader is gone, like every writer.
pub fn write(out: ResponseOutparam) -> Result<(), Error> {
    let body = start(out, 200, &[("content-type", "application/octet-stream")])?;
    let stream = body
        .write()
        .map_err(|()| Error::Taken("response's stream"))?;
    let block = [b'x'; 4096];
    loop {
        http_kit::write(&stream, &block)?;
    }
}

/// Keeps nothing of what it reads.
pub fn read(request: &IncomingRequest, out: ResponseOutparam) -> Result<(), Error> {
    let body = request
        .consume()
        .map_err(|()| Error::Taken("request's body"))?;
    let stream = body
        .stream()
        .map_err(|()| Error::Taken("request's stream"))?;
    let mut bytes: u64 = 0;
    loop {
        match stream.blocking_skip(PIECE as u64) {
            Ok(skipped) => bytes += skipped,
            Err(StreamError::Closed) => return json(out, 200, &json!({ "read": bytes })),
            Err(StreamError::LastOperationFailed(_)) => {
                return Err(Error::Broken("request's body"));
            }
        }
    }
}

pub fn spin() -> ! {
    let mut state: u64 = 1;
    loop {
        state = hint::black_box(
            state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1),
        );
    }
}

pub fn sleep() -> ! {
    loop {
        thread::sleep(Duration::from_secs(3600));
    }
}

pub fn allocate() -> ! {
    let mut pieces: Vec<Vec<u8>> = Vec::new();
    loop {
        pieces.push(hint::black_box(vec![1; PIECE]));
    }
}
