//! What only a component of the world `protocol` has: rows of its own, and time after its client has left.
//!
//! ```text
//! PUT    …/row?bucket=B&key=K      the body becomes the value; GET gives it, DELETE deletes it
//! GET    …/keys?bucket=B           all keys of a bucket
//! POST   …/add?bucket=B&key=K&by=1 adds to a number
//! POST   …/rows?bucket=B           the body, a JSON object of texts, all of it or nothing
//! POST   …/later?bucket=B&key=K&ms=200   answers first, and then writes `done`
//! GET    …/drip?bucket=B&key=K     writes a line every 20 ms until nobody reads, and then writes `left`
//! GET    …/signed?label=L          a statement, its signature by the key of that name, and the public key
//! GET    …/caller                  who asked, as the host says it
//! ```

mod bindings {
    wit_bindgen::generate!({
        path: "../../wit",
        generate_all,
        inline: "
            package guests:keeper;

            world keeper {
                import hypervisor:plugin/crypto@0.1.1;
                import wasi:keyvalue/store@0.2.0-draft;
                import wasi:keyvalue/atomics@0.2.0-draft;
                import wasi:keyvalue/batch@0.2.0-draft;
            }
        ",
    });
}

use std::collections::BTreeMap;

use bindings::hypervisor::plugin::crypto::SigningKey;
use bindings::wasi::keyvalue::{atomics, batch, store};
use http_kit::{Error, Target, header, json, method_name, read_body, respond, start, write};
use serde_json::json;
use wasip2::clocks::monotonic_clock;
use wasip2::exports::http::incoming_handler::Guest;
use wasip2::http::types::{IncomingRequest, ResponseOutparam};

struct Keeper;

wasip2::http::proxy::export!(Keeper);

/// The longest body that is read.
const LONGEST: usize = 16 << 20;
const MILLISECOND: u64 = 1_000_000;
const STATEMENT: &[u8] = b"a statement";

impl Guest for Keeper {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        if let Err(error) = answer(&request, out) {
            eprintln!("keeper: {error}");
        }
    }
}

fn answer(request: &IncomingRequest, out: ResponseOutparam) -> Result<(), Error> {
    let target = Target::of(request);
    let parameter = |name: &str| target.parameter(name).unwrap_or_default();
    let (bucket, key) = (parameter("bucket"), parameter("key"));
    let what = target.path().rsplit('/').next().unwrap_or_default();
    let method = method_name(&request.method()).to_owned();
    match (&*method, what) {
        ("GET", "row") => match store::open(&bucket).and_then(|it| it.get(&key)) {
            Ok(Some(value)) => {
                let headers = [("content-type", "application/octet-stream")];
                respond(out, 200, &headers, &value)
            }
            Ok(None) => json(out, 404, &json!({ "error": "no such row" })),
            Err(error) => refused(out, &error),
        },
        ("PUT", "row") => {
            let value = read_body(request, LONGEST)?;
            done(
                out,
                store::open(&bucket).and_then(|it| it.set(&key, &value)),
            )
        }
        ("DELETE", "row") => done(out, store::open(&bucket).and_then(|it| it.delete(&key))),
        ("GET", "keys") => match keys(&bucket) {
            Ok(keys) => json(out, 200, &json!({ "keys": keys })),
            Err(error) => refused(out, &error),
        },
        ("POST", "add") => {
            let by = parameter("by").parse().unwrap_or(1);
            let sum = store::open(&bucket).and_then(|it| atomics::increment(&it, &key, by));
            match sum {
                Ok(sum) => json(out, 200, &json!({ "sum": sum })),
                Err(error) => refused(out, &error),
            }
        }
        ("POST", "rows") => {
            let rows: BTreeMap<String, String> =
                serde_json::from_slice(&read_body(request, LONGEST)?)?;
            let rows: Vec<_> = rows
                .into_iter()
                .map(|(key, value)| (key, value.into_bytes()))
                .collect();
            let written = store::open(&bucket).and_then(|it| batch::set_many(&it, &rows));
            done(out, written)
        }
        ("POST", "later") => {
            json(out, 202, &json!({ "accepted": true }))?;
            pause(parameter("ms").parse().unwrap_or(200));
            mark(&bucket, &key, "done");
            Ok(())
        }
        ("GET", "drip") => {
            let body = start(out, 200, &[("content-type", "text/plain")])?;
            let stream = body
                .write()
                .map_err(|()| Error::Taken("response's stream"))?;
            while write(&stream, b"drip\n").is_ok() {
                pause(20);
            }
            mark(&bucket, &key, "left");
            Ok(())
        }
        ("GET", "signed") => match SigningKey::named(&parameter("label")) {
            Ok(key) => {
                let signature = key.sign(STATEMENT).unwrap_or_default();
                let signed = json!({
                    "statement": hex(STATEMENT),
                    "signature": hex(&signature),
                    "public_key": hex(&key.public_key()),
                });
                json(out, 200, &signed)
            }
            Err(error) => json(out, 422, &json!({ "error": error.to_string() })),
        },
        ("GET", "caller") => {
            let headers = request.headers();
            let caller = header(&headers, "hypervisor-caller");
            let host = request.authority();
            json(
                out,
                200,
                &json!({ "caller": caller, "host": host, "path": target.path() }),
            )
        }
        _ => json(out, 404, &json!({ "error": "nothing is here" })),
    }
}

fn keys(bucket: &str) -> Result<Vec<String>, store::Error> {
    let bucket = store::open(bucket)?;
    let mut keys = Vec::new();
    let mut cursor = None;
    loop {
        let page = bucket.list_keys(cursor)?;
        keys.extend(page.keys);
        if page.cursor.is_none() {
            keys.sort();
            return Ok(keys);
        }
        cursor = page.cursor;
    }
}

fn done(out: ResponseOutparam, done: Result<(), store::Error>) -> Result<(), Error> {
    match done {
        Ok(()) => json(out, 200, &json!({ "done": true })),
        Err(error) => refused(out, &error),
    }
}

fn refused(out: ResponseOutparam, error: &store::Error) -> Result<(), Error> {
    let words = match error {
        store::Error::NoSuchStore => "no-such-store",
        store::Error::AccessDenied => "access-denied",
        store::Error::Other(words) => words,
    };
    json(out, 507, &json!({ "error": words }))
}

fn mark(bucket: &str, key: &str, mark: &str) {
    let written = store::open(bucket).and_then(|it| it.set(key, mark.as_bytes()));
    if let Err(error) = written {
        eprintln!("keeper: {error}");
    }
}

fn pause(milliseconds: u64) {
    monotonic_clock::subscribe_duration(milliseconds.saturating_mul(MILLISECOND)).block();
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
