//! What the operator sets, by environment variables.
//!
//! | variable | value | default |
//! |---|---|---|
//! | `FACILITATORS` | URLs apart by spaces, tried in order | none: required |
//! | `RPC_URLS` | pairs `CHAIN=URL` apart by spaces: `eip155:84532=https://rpc.example.org` | none |
//! | `CONFIRMATIONS` | pairs `CHAIN=BLOCKS` apart by spaces: how many blocks on top of a transfer make it final | 0 |
//! | `FEE_PAYERS` | pairs `NETWORK=ADDRESS` apart by spaces: whom the facilitator pays the fee with, on Solana | none: required on Solana |
//! | `SHARED_ACCOUNT` | `1`: other hosts are paid on the same account, so a transfer that is found may be theirs | not set |
//! | `SETTLE_FIRST` | `1`: payments are settled before what they pay for | not set |
//! | `PAYMENT_IDENTIFIER` | `off`, `optional` or `required`: names that clients give what they buy | optional |
//! | `UPTO_FACILITATOR` | the account by which the first facilitator settles `upto`: `facilitatorAddress` of its `/supported` | none: no `upto` |
//! | `PUBLIC_URL` | where the host is called: with it, who paid for calls of agents signs in to get their answers again | none |
//! | `SIGN_IN` | `off`: nobody signs in | on |
//! | `FACILITATOR_TIMEOUT_MS` | the longest that one request may take, 100 to 120000 | 10000 for verify and the RPC, 20000 for settle |

use crate::error::Error;
use crate::extensions::identifier;
use crate::{evm, networks};

const MOST_FACILITATORS: usize = 8;
const MOST_RPC_URLS: usize = 64;
const LONGEST_URL: usize = 2048;
const VERIFY_MS: u64 = 10_000;
const SETTLE_MS: u64 = 20_000;

/// The settings.
#[derive(Clone, Debug)]
pub struct Settings {
    /// At least one, without a slash at the end.
    pub facilitators: Vec<String>,
    /// The longest that a `/verify`, or a request to an RPC endpoint, may take.
    pub verify_ms: u64,
    /// The longest that a `/settle` may take.
    pub settle_ms: u64,
    /// Other hosts are paid on the same account.
    pub shared_account: bool,
    /// Whether purchases have names.
    pub identifier: identifier::Policy,
    /// Where the host is called; empty where nobody signs in.
    pub public_url: String,
    rpc: Vec<(String, String)>,
    confirmations: Vec<(String, u64)>,
}

impl Settings {
    /// Reads the process's environment.
    pub fn from_environment() -> Result<Self, Error> {
        Self::from_variables(|name| std::env::var(name).ok())
    }

    /// Reads the variables that `get` has.
    pub fn from_variables(get: impl Fn(&str) -> Option<String>) -> Result<Self, Error> {
        let (verify_ms, settle_ms) = timeouts(get("FACILITATOR_TIMEOUT_MS"))?;
        Ok(Self {
            facilitators: facilitators(get("FACILITATORS"))?,
            verify_ms,
            settle_ms,
            shared_account: get("SHARED_ACCOUNT").as_deref() == Some("1"),
            identifier: identifier::Policy::parse(get("PAYMENT_IDENTIFIER").as_deref())?,
            public_url: public_url(get("PUBLIC_URL"), get("SIGN_IN"))?,
            rpc: rpc_urls(get("RPC_URLS"))?,
            confirmations: confirmations(get("CONFIRMATIONS"))?,
        })
    }

    /// The account of the facilitator that settles `upto`.
    pub fn upto_facilitator() -> Result<Option<String>, Error> {
        let account = std::env::var("UPTO_FACILITATOR").ok();
        match account.as_deref().map(evm::address) {
            Some(None) => Err(Error::Setting {
                variable: "UPTO_FACILITATOR",
                problem: "not an address: 0x and 40 hexadecimal digits".to_owned(),
            }),
            _ => Ok(account),
        }
    }

    /// How many blocks on top of a transfer make it final.
    pub fn confirmations(&self, chain: &str) -> u64 {
        let mut known = self.confirmations.iter();
        known
            .find(|(known, _)| known == chain)
            .map_or(0, |(_, blocks)| *blocks)
    }

    /// The RPC endpoint of a chain.
    pub fn rpc(&self, chain: &str) -> Option<&str> {
        self.rpc
            .iter()
            .find(|(known, _)| known == chain)
            .map(|(_, url)| url.as_str())
    }
}

/// Whether a variable of the process's environment is `1`.
pub fn is_set(name: &str) -> bool {
    std::env::var(name).is_ok_and(|value| value == "1")
}

fn facilitators(value: Option<String>) -> Result<Vec<String>, Error> {
    let wrong = |problem: String| Error::Setting {
        variable: "FACILITATORS",
        problem,
    };
    let mut urls = Vec::new();
    for url in value.unwrap_or_default().split_whitespace() {
        check_url(url).map_err(&wrong)?;
        if url.contains('?') {
            return Err(wrong("a URL has no query".to_owned()));
        }
        urls.push(url.trim_end_matches('/').to_owned());
    }
    match urls.len() {
        0 => Err(wrong(
            "not set: give the URL of a facilitator, or several apart by spaces".to_owned(),
        )),
        count if count > MOST_FACILITATORS => {
            Err(wrong(format!("{count} URLs, at most {MOST_FACILITATORS}")))
        }
        _ => Ok(urls),
    }
}

fn rpc_urls(value: Option<String>) -> Result<Vec<(String, String)>, Error> {
    let wrong = |problem: String| Error::Setting {
        variable: "RPC_URLS",
        problem,
    };
    let mut urls: Vec<(String, String)> = Vec::new();
    for pair in value.unwrap_or_default().split_whitespace() {
        let parts = pair
            .split_once('=')
            .filter(|(network, _)| networks::is_identifier(network));
        let Some((chain, url)) = parts else {
            return Err(wrong(
                "a pair is CHAIN=URL, for example eip155:84532=https://rpc.example.org".to_owned(),
            ));
        };
        check_url(url).map_err(|problem| wrong(format!("{chain}: {problem}")))?;
        if urls.iter().any(|(known, _)| known == chain) {
            return Err(wrong(format!(
                "{chain} occurs twice: one endpoint for each chain"
            )));
        }
        urls.push((chain.to_owned(), url.to_owned()));
    }
    if urls.len() > MOST_RPC_URLS {
        return Err(wrong(format!(
            "{} endpoints, at most {MOST_RPC_URLS}",
            urls.len()
        )));
    }
    Ok(urls)
}

fn confirmations(value: Option<String>) -> Result<Vec<(String, u64)>, Error> {
    let value = value.unwrap_or_default();
    let pairs = value.split_whitespace().map(|pair| {
        let (network, blocks) = pair.split_once('=')?;
        let network = Some(network).filter(|network| networks::is_identifier(network))?;
        Some((network.to_owned(), blocks.parse().ok()?))
    });
    pairs.collect::<Option<_>>().ok_or_else(|| Error::Setting {
        variable: "CONFIRMATIONS",
        problem: "a pair is CHAIN=BLOCKS, for example eip155:8453=5".to_owned(),
    })
}

/// Where payers sign in; nowhere if it is empty.
fn public_url(url: Option<String>, policy: Option<String>) -> Result<String, Error> {
    match policy.as_deref().map(str::trim) {
        None | Some("" | "on") => Ok(url.unwrap_or_default()),
        Some("off") => Ok(String::new()),
        Some(_) => Err(Error::Setting {
            variable: "SIGN_IN",
            problem: "not one of on and off".to_owned(),
        }),
    }
}

fn timeouts(value: Option<String>) -> Result<(u64, u64), Error> {
    let Some(value) = value else {
        return Ok((VERIFY_MS, SETTLE_MS));
    };
    match value.trim().parse() {
        Ok(timeout @ 100..=120_000) => Ok((timeout, timeout)),
        _ => Err(Error::Setting {
            variable: "FACILITATOR_TIMEOUT_MS",
            problem: "not a number of milliseconds between 100 and 120000".to_owned(),
        }),
    }
}

/// `http` or `https`, a host, no user, no fragment. The error does not quote the URL, which may hold a key.
fn check_url(url: &str) -> Result<(), String> {
    let problem = if url.len() > LONGEST_URL {
        "a URL is longer than 2048 bytes"
    } else if Url::parse(url).is_none() {
        "a URL starts with http:// or https:// and a host, without a user, in ASCII"
    } else if url.contains('#') {
        "a URL has no fragment"
    } else {
        return Ok(());
    };
    Err(problem.to_owned())
}

/// The parts of a URL that an HTTP request is made of.
#[derive(Debug, PartialEq, Eq)]
pub struct Url<'a> {
    /// `https`, not `http`.
    pub secure: bool,
    /// Host and port.
    pub authority: &'a str,
    /// Path and query, with its slash.
    pub path: &'a str,
}

impl<'a> Url<'a> {
    /// Splits an absolute URL. `None` if it is not one that HTTP can be sent to.
    pub fn parse(url: &'a str) -> Option<Self> {
        let (secure, rest) = match url.strip_prefix("https://") {
            Some(rest) => (true, rest),
            None => (false, url.strip_prefix("http://")?),
        };
        let (authority, path) = match rest.find(['/', '?']) {
            Some(at) => rest.split_at_checked(at)?,
            None => (rest, "/"),
        };
        let usable = !authority.is_empty()
            && path.starts_with('/')
            && !authority.contains('@')
            && url.bytes().all(|byte| byte.is_ascii_graphic());
        usable.then_some(Self {
            secure,
            authority,
            path,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Settings, String> {
        Settings::from_variables(|name| {
            variables
                .iter()
                .find(|(known, _)| *known == name)
                .map(|(_, value)| (*value).to_owned())
        })
        .map_err(|error| error.to_string())
    }

    #[test]
    fn reads_facilitators_endpoints_and_the_timeout() {
        let settings = read(&[
            ("FACILITATORS", " http://a.example/x/  https://b.example"),
            ("RPC_URLS", "eip155:84532=http://127.0.0.1:8545/?key=1"),
            ("FACILITATOR_TIMEOUT_MS", "500"),
        ])
        .unwrap();
        assert_eq!(
            settings.facilitators,
            ["http://a.example/x", "https://b.example"]
        );
        assert_eq!(
            settings.rpc("eip155:84532"),
            Some("http://127.0.0.1:8545/?key=1")
        );
        assert_eq!(settings.rpc("eip155:1"), None);
        assert_eq!((settings.verify_ms, settings.settle_ms), (500, 500));
    }

    #[test]
    fn names_the_variable_that_is_wrong_and_quotes_no_url() {
        let good = ("FACILITATORS", "http://a.example");
        for (variables, start) in [
            (vec![], "FACILITATORS: not set"),
            (vec![("FACILITATORS", "ftp://secret")], "FACILITATORS: "),
            (
                vec![("FACILITATORS", "http://secret@a.example")],
                "FACILITATORS: ",
            ),
            (
                vec![("FACILITATORS", "http://a.example/?secret")],
                "FACILITATORS: ",
            ),
            (vec![good, ("RPC_URLS", "http://secret")], "RPC_URLS: "),
            (
                vec![
                    good,
                    ("RPC_URLS", "eip155:1=http://secret eip155:1=http://b"),
                ],
                "RPC_URLS: eip155:1 occurs twice",
            ),
            (
                vec![good, ("FACILITATOR_TIMEOUT_MS", "0")],
                "FACILITATOR_TIMEOUT_MS: ",
            ),
        ] {
            let error = read(&variables).unwrap_err();
            assert!(error.starts_with(start), "{error}");
            assert!(!error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn splits_urls_for_http() {
        assert_eq!(
            Url::parse("https://a.example:444/b/c?d"),
            Some(Url {
                secure: true,
                authority: "a.example:444",
                path: "/b/c?d"
            })
        );
        for bad in [
            "a.example",
            "http://",
            "http:///x",
            "http://a?b",
            "http://ä",
            "http://a/\u{0}",
        ] {
            assert_eq!(Url::parse(bad), None, "{bad}");
        }
    }
}
