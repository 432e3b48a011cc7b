//! The official clients, each unchanged and with its default policies.

use std::collections::HashMap;
use std::process::Stdio;

use base64::prelude::{BASE64_STANDARD, Engine};
use reqwest::header::HeaderMap;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use super::script;
use super::sign::Payer;
use super::solana::Solana;
use crate::raw::Answer;

/// Which client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Client {
    /// `@x402/fetch`: pays offers of version 2, and of version 1 in a body. At most one dollar by default.
    Current,
    /// `x402-fetch`: knows version 1 only. At most ten cents by default.
    Legacy,
}

/// A request to be paid for.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    /// Where to.
    pub url: &'a str,
    /// HTTP method.
    pub method: &'a str,
    /// Headers.
    pub headers: &'a [(&'a str, &'a str)],
    /// Body; `None` for a request that has none.
    pub body: Option<&'a [u8]>,
}

impl<'a> Request<'a> {
    /// A GET.
    pub fn get(url: &'a str) -> Self {
        Self {
            url,
            method: "GET",
            headers: &[],
            body: None,
        }
    }
}

/// Sends a request and pays if asked to. Returns the last answer.
///
/// # Errors
///
/// The client did not pay, or got no answer: its own words.
pub async fn pay(client: Client, payer: &Payer, request: &Request<'_>) -> Result<Answer, String> {
    let script = match client {
        Client::Current => "client.mjs",
        Client::Legacy => "client-v1.mjs",
    };
    paid(script, &[], described(&payer.private_key(), request)).await
}

/// The payment that the current client makes for a challenge, however that came.
pub async fn payload(payer: &Payer, required: &Value) -> Value {
    let input = json!({"required": required, "privateKey": payer.private_key()});
    serde_json::from_slice(&run("payload.mjs", &[], &input).await.unwrap()).unwrap()
}

/// Sends a request and pays by the current client, which calls the purchase `identifier` by the official extension.
///
/// # Errors
///
/// As those of [`pay`].
pub async fn pay_as(
    identifier: &str,
    payer: &Payer,
    request: &Request<'_>,
) -> Result<Answer, String> {
    let mut input = described(&payer.private_key(), request);
    input["name"] = "pay".into();
    input["identifier"] = identifier.into();
    paid(EXTENSIONS, &[], input).await
}

/// How the official client of `sign-in-with-x` asks.
#[derive(Clone, Copy, Debug)]
pub enum SignIn {
    /// It never pays.
    Only,
    /// It pays where it is not let in.
    OrPay,
}

/// Signs in to a host whose URL is `public`, and asks for what the account has paid for; `request` has the host's true URL.
///
/// # Errors
///
/// As those of [`pay`].
pub async fn sign_in(
    how: SignIn,
    payer: &Payer,
    public: &str,
    request: &Request<'_>,
) -> Result<Answer, String> {
    let url = reqwest::Url::parse(request.url).unwrap();
    let origin = url.origin().ascii_serialization();
    let mut input = described(&payer.private_key(), request);
    input["name"] = match how {
        SignIn::Only => "signIn".into(),
        SignIn::OrPay => "payUnlessPaid".into(),
    };
    input["url"] = request.url.replace(&origin, public).into();
    input["publicUrl"] = public.into();
    input["origin"] = origin.into();
    paid(EXTENSIONS, &[], input).await
}

/// The header by which the official client signs in where a challenge declares `sign-in-with-x` so.
pub async fn proof(payer: &Payer, declared: &Value) -> String {
    let key = payer.private_key();
    let input = json!({"name": "proof", "declared": declared, "privateKey": key});
    serde_json::from_slice(&run(EXTENSIONS, &[], &input).await.unwrap()).unwrap()
}

/// What the official validators have against the extensions of a challenge.
pub async fn problems(extensions: &Value) -> Vec<String> {
    let input = json!({"name": "judge", "extensions": extensions});
    let problems = run(EXTENSIONS, &[], &input).await.unwrap();
    serde_json::from_slice(&problems).unwrap()
}

/// What the official verifier finds in a receipt: `payload`, and as hex the `key` that signed it and the `statement` of its header.
///
/// # Errors
///
/// Its words.
pub async fn verified(receipt: &Value) -> Result<Value, String> {
    let input = json!({"name": "verify", "receipt": receipt});
    let found = run(EXTENSIONS, &[], &input).await?;
    Ok(serde_json::from_slice(&found).unwrap())
}

/// What the official client of the bazaar finds at a host.
pub async fn discover(url: &str, query: &Value) -> Value {
    let input = json!({"name": "discover", "url": url, "query": query});
    let found = run(EXTENSIONS, &[], &input).await.unwrap();
    serde_json::from_slice(&found).unwrap()
}

/// Sends a request and pays on Solana if asked to: `@x402/fetch` with `@x402/svm`. Returns the last answer.
///
/// # Errors
///
/// As [`pay`].
pub async fn pay_on_solana(solana: &Solana, request: &Request<'_>) -> Result<Answer, String> {
    let input = described(solana.private_key(), request);
    paid("client-solana.mjs", &[solana.rpc_url()], input).await
}

/// The script with the official extensions.
const EXTENSIONS: &str = "extensions.mjs";

fn described(private_key: &str, request: &Request<'_>) -> Value {
    json!({
        "url": request.url,
        "method": request.method,
        "headers": request.headers.iter().copied().collect::<HashMap<_, _>>(),
        "body": request.body.map(|body| BASE64_STANDARD.encode(body)),
        "privateKey": private_key,
    })
}

async fn paid(script: &str, arguments: &[&str], input: Value) -> Result<Answer, String> {
    #[derive(Deserialize)]
    struct Output {
        status: u16,
        headers: HashMap<String, String>,
        body: String,
    }

    let output: Output = serde_json::from_slice(&run(script, arguments, &input).await?).unwrap();
    Ok(Answer {
        status: output.status,
        headers: HeaderMap::try_from(&output.headers).unwrap(),
        body: BASE64_STANDARD.decode(output.body).unwrap(),
    })
}

/// Runs a script with this input. What it printed, or its complaint.
async fn run(script: &str, arguments: &[&str], input: &Value) -> Result<Vec<u8>, String> {
    let mut child = Command::new("node")
        .arg(script::path(script))
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(input.to_string().as_bytes()).await.unwrap();
    drop(stdin);
    let output = child.wait_with_output().await.unwrap();
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    Ok(output.stdout)
}
