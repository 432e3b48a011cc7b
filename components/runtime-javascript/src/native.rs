//! What the prelude asks Rust for.

use std::cell::Cell;
use std::io::{Read, Write};
use std::rc::Rc;
use std::time::Instant;

use rquickjs::function::{Func, Opt};
use rquickjs::{Ctx, Error, Exception, Object, Result, TypedArray};
use url::{Url, quirks};

use crate::bindings::hypervisor::plugin::crypto;
use crate::bytes::copied;
use crate::engine::Asked;
use crate::fetch::{Exchanges, Outgoing};

type Bytes<'js> = TypedArray<'js, u8>;

/// When what runs began.
pub type Began = Rc<Cell<Instant>>;

/// An object with a function for each thing.
pub fn functions<'js>(
    ctx: &Ctx<'js>,
    asked: &Asked,
    began: &Began,
    exchanges: &Exchanges,
) -> Result<Object<'js>> {
    let native = Object::new(ctx.clone())?;
    native.set("engine", "ng")?;
    let asked = Asked::clone(asked);
    let exit = move |code: f64| asked.set(Some(exit_code(code)));
    native.set("exit", Func::from(exit))?;
    native.set(
        "write",
        Func::from(|to: i32, text: String| write(to, text.as_bytes())),
    )?;
    native.set("write_bytes", Func::from(write_bytes))?;
    native.set("read", Func::from(read))?;
    let began = Began::clone(began);
    native.set(
        "now",
        Func::from(move || began.get().elapsed().as_secs_f64() * 1e3),
    )?;
    native.set("random", Func::from(random))?;
    native.set("random_bytes", Func::from(random_bytes))?;
    native.set(
        "encode",
        Func::from(|ctx, text: String| Bytes::new(ctx, text)),
    )?;
    native.set("decode", Func::from(decode))?;
    native.set("digest", Func::from(digest))?;
    native.set("hmac", Func::from(hmac))?;
    native.set("url", Func::from(url))?;
    native.set("url_get", Func::from(url_get))?;
    native.set("url_set", Func::from(url_set))?;
    let table = exchanges.clone();
    let send = move |method, url, headers, body: Opt<Option<Bytes<'js>>>| {
        table.start(Outgoing {
            method,
            url,
            headers,
            body: body.0.flatten().map_or_else(Vec::new, |it| copied(&it)),
        })
    };
    native.set("fetch_start", Func::from(send))?;
    let table = exchanges.clone();
    native.set("fetch_next", Func::from(move |id: u32| table.ask(id)))?;
    let table = exchanges.clone();
    native.set("fetch_end", Func::from(move |id: u32| table.end(id)))?;
    Ok(native)
}

/// The exit code of a process: the lowest eight bits of an integer.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
pub fn exit_code(code: f64) -> u8 {
    (code.trunc() as i64 & 0xff) as u8
}

/// At once: what a limit ends is seen as far as it got. A host that takes no more output has its reason, and ends the script itself.
fn write(to: i32, bytes: &[u8]) {
    fn all(mut to: impl Write, bytes: &[u8]) -> std::io::Result<()> {
        to.write_all(bytes)?;
        to.flush()
    }
    let written = match to {
        1 => all(std::io::stdout().lock(), bytes),
        _ => all(std::io::stderr().lock(), bytes),
    };
    drop(written);
}

/// Opens the standard streams, which the host makes when they are used first: a state may hold no handle that an instance made ready
/// does not. What is written here is dropped.
pub fn open_streams() {
    write(1, b"\n");
    write(2, b"\n");
    drop(std::io::stdin().read(&mut [0]));
}

fn write_bytes(to: i32, bytes: Bytes<'_>) {
    write(to, &copied(&bytes));
}

fn read(ctx: Ctx<'_>) -> Result<Bytes<'_>> {
    let mut all = Vec::new();
    std::io::stdin()
        .read_to_end(&mut all)
        .map_err(|e| thrown(&ctx, &e.to_string()))?;
    Bytes::new(ctx, all)
}

/// From 0 to 1, of the 53 bits that such a number has.
fn random(ctx: Ctx<'_>) -> Result<f64> {
    let bits = getrandom::u64().map_err(|e| thrown(&ctx, &e.to_string()))?;
    Ok((bits >> 11) as f64 / (1u64 << 53) as f64)
}

fn random_bytes(ctx: Ctx<'_>, count: usize) -> Result<Bytes<'_>> {
    let mut bytes = vec![0; count];
    getrandom::fill(&mut bytes).map_err(|e| thrown(&ctx, &e.to_string()))?;
    Bytes::new(ctx, bytes)
}

/// Nothing where the bytes are to be UTF-8 and are not.
fn decode(bytes: Bytes<'_>, is_fatal: bool) -> Option<String> {
    match (String::from_utf8(copied(&bytes)), is_fatal) {
        (Ok(text), _) => Some(text),
        (Err(_), true) => None,
        (Err(error), false) => Some(String::from_utf8_lossy(error.as_bytes()).into_owned()),
    }
}

fn digest<'js>(ctx: Ctx<'js>, algorithm: String, data: Bytes<'js>) -> Result<Bytes<'js>> {
    let made = algorithm_of(&algorithm).and_then(|it| crypto::digest(it, &copied(&data)).ok());
    let made = made.ok_or_else(|| {
        thrown(
            &ctx,
            &format!("{algorithm} of so much data is not supported"),
        )
    })?;
    Bytes::new(ctx, made)
}

fn hmac<'js>(
    ctx: Ctx<'js>,
    algorithm: String,
    key: Bytes<'js>,
    data: Bytes<'js>,
) -> Result<Bytes<'js>> {
    let made = algorithm_of(&algorithm)
        .and_then(|it| crypto::hmac(it, &copied(&key), &copied(&data)).ok());
    let made = made.ok_or_else(|| {
        thrown(
            &ctx,
            &format!("an HMAC by {algorithm} of so much data is not supported"),
        )
    })?;
    Bytes::new(ctx, made)
}

fn algorithm_of(name: &str) -> Option<crypto::DigestAlgorithm> {
    use crypto::DigestAlgorithm as It;
    Some(match name {
        "SHA-256" => It::Sha256,
        "SHA-384" => It::Sha384,
        "SHA-512" => It::Sha512,
        "KECCAK-256" => It::Keccak256,
        _ => return None,
    })
}

/// A URL in its one form; nothing where it is none.
fn url(href: String, base: Opt<Option<String>>) -> Option<String> {
    let url = match base.0.flatten() {
        None => Url::parse(&href),
        Some(base) => Url::parse(&base).and_then(|base| base.join(&href)),
    };
    url.ok().map(String::from)
}

fn url_get(href: String, part: String) -> String {
    let Ok(url) = Url::parse(&href) else {
        return String::new();
    };
    match part.as_str() {
        "origin" => quirks::origin(&url),
        "protocol" => quirks::protocol(&url).to_owned(),
        "username" => quirks::username(&url).to_owned(),
        "password" => quirks::password(&url).to_owned(),
        "host" => quirks::host(&url).to_owned(),
        "hostname" => quirks::hostname(&url).to_owned(),
        "port" => quirks::port(&url).to_owned(),
        "pathname" => quirks::pathname(&url).to_owned(),
        "search" => quirks::search(&url).to_owned(),
        _ => quirks::hash(&url).to_owned(),
    }
}

/// What cannot be set leaves the URL as it is.
fn url_set(href: String, part: String, value: String) -> String {
    let Ok(mut url) = Url::parse(&href) else {
        return href;
    };
    let set = match part.as_str() {
        "protocol" => quirks::set_protocol(&mut url, &value),
        "username" => quirks::set_username(&mut url, &value),
        "password" => quirks::set_password(&mut url, &value),
        "host" => quirks::set_host(&mut url, &value),
        "hostname" => quirks::set_hostname(&mut url, &value),
        "port" => quirks::set_port(&mut url, &value),
        "pathname" => {
            quirks::set_pathname(&mut url, &value);
            Ok(())
        }
        "search" => {
            quirks::set_search(&mut url, &value);
            Ok(())
        }
        _ => {
            quirks::set_hash(&mut url, &value);
            Ok(())
        }
    };
    match set {
        Ok(()) => url.into(),
        Err(()) => href,
    }
}

fn thrown(ctx: &Ctx<'_>, message: &str) -> Error {
    Exception::throw_message(ctx, message)
}
