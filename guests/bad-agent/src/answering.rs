//! Answers that come twice, break off, or are not the end.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use std::{env, thread};

use http_kit::{Error, json, respond, start, write};
use serde_json::json;
use wasip2::http::types::{Fields, OutgoingResponse, ResponseOutparam};

const TEXT: &[(&str, &str)] = &[("content-type", "text/plain; charset=utf-8")];

/// The requests that this instance has served.
static SERVED: AtomicU64 = AtomicU64::new(0);

/// A second answer. The types do not allow it, so the handle is used once more behind their back.
#[expect(unsafe_code)]
pub fn twice(out: ResponseOutparam) -> Result<(), Error> {
    let handle = out.handle();
    respond(out, 200, TEXT, b"the first answer\n")?;
    let second = OutgoingResponse::new(Fields::new());
    // SAFETY: a handle is an index that the host checks; it finds that this one is no longer there, and traps.
    let again = unsafe { ResponseOutparam::from_handle(handle) };
    ResponseOutparam::set(again, Ok(second));
    Ok(())
}

pub fn trap_after_headers(out: ResponseOutparam) -> Result<(), Error> {
    let body = start(out, 200, TEXT)?;
    let stream = body
        .write()
        .map_err(|()| Error::Taken("response's stream"))?;
    write(&stream, b"about to panic\n")?;
    panic!("asked to panic");
}

pub fn log(out: ResponseOutparam, bytes: u64) -> Result<(), Error> {
    const LINE: &[u8] = b"the quick brown fox jumps over the lazy dog, again and again\n";
    let mut stderr = io::stderr().lock();
    let mut rest = usize::try_from(bytes).unwrap_or(usize::MAX);
    while rest > 0 {
        let length = rest.min(LINE.len());
        if stderr.write_all(&LINE[..length]).is_err() {
            break;
        }
        rest -= length;
    }
    json(out, 200, &json!({ "asked": bytes, "left": rest }))
}

pub fn after(out: ResponseOutparam) -> Result<(), Error> {
    respond(out, 200, TEXT, b"this is all\n")?;
    thread::sleep(Duration::from_millis(50));
    eprintln!("bad-agent: still here");
    Ok(())
}

pub fn environment(out: ResponseOutparam) -> Result<(), Error> {
    json(out, 200, &env::vars().collect::<BTreeMap<_, _>>())
}

pub fn counter(out: ResponseOutparam) -> Result<(), Error> {
    let served = SERVED.fetch_add(1, Ordering::Relaxed) + 1;
    json(out, 200, &json!({ "served": served }))
}
