//! A request to a service, and its response.

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use clap::Args;
use http::header::{HOST, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Response, Uri};
use hypervisor_client::Error;
use hypervisor_client::agents::{PaidServiceAnswer, Reference, ServiceAnswer};
use hypervisor_client::payment::Payment;
use hypervisor_client::protocol::Exit;
use serde_json::{Map, Value, json};
use url::Url;

use super::Caller;
use crate::Failure;
use crate::console::{document, note, plain, read, stderr};
use crate::output::{Shown, insert_bytes};

/// Stands for the agent while a path is brought into its form.
const BASE: &str = "http://agent.internal";

#[derive(Debug, Args)]
#[group(id = "service", multiple = true)]
pub(super) struct Request {
    /// For a service: path and query, as the agent sees them; / where they are left out.
    path: Option<String>,
    /// For a service: the method; GET where it is left out, POST with -d.
    #[arg(short = 'X', long = "request", value_name = "METHOD")]
    method: Option<Method>,
    /// For a service: a field of the request's head; may be given several times.
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE", value_parser = field)]
    fields: Vec<(HeaderName, HeaderValue)>,
    /// For a service: the body: text, @FILE, or - for standard input.
    #[arg(short, long, value_name = "DATA|@FILE|-", allow_hyphen_values = true)]
    data: Option<String>,
    /// For a service: print status and head before the body.
    #[arg(short, long)]
    include: bool,
    /// For a service: exit with 1 when its status is 400 or above.
    #[arg(short, long)]
    fail: bool,
}

impl Request {
    /// Whether anything of it is on the command line.
    pub(super) fn is_given(&self) -> bool {
        self.path.is_some()
            || self.method.is_some()
            || !self.fields.is_empty()
            || self.data.is_some()
            || self.include
            || self.fail
    }

    pub(super) fn build(&self) -> Result<http::Request<Vec<u8>>, Failure> {
        let body = self.data.as_deref().map(body).transpose()?;
        let method = match (&self.method, &body) {
            (Some(method), _) => method.clone(),
            (None, Some(_)) => Method::POST,
            (None, None) => Method::GET,
        };
        let mut request = http::Request::new(body.unwrap_or_default());
        *request.method_mut() = method;
        *request.uri_mut() = uri(self.path.as_deref().unwrap_or("/"))?;
        for (name, value) in &self.fields {
            request.headers_mut().append(name, value.clone());
        }
        Ok(request)
    }

    /// The body to standard output, after the head where that is wanted; the rest to standard error.
    pub(super) fn text(
        &self,
        shown: &Shown<'_>,
        answer: &ServiceAnswer,
        verbose: bool,
    ) -> io::Result<()> {
        if let Some(response) = &answer.response {
            let mut out = io::stdout().lock();
            if self.include {
                head(&mut out, response)?;
            }
            if !shown.was_shown {
                out.write_all(response.body())?;
            }
            out.flush()?;
        }
        shown.remarks(verbose)?;
        if self.include || verbose {
            for (name, value) in &answer.trailers {
                let value = String::from_utf8_lossy(value.as_bytes());
                stderr(format_args!("trailer {name}: {}", plain(&value)))?;
            }
        }
        Ok(())
    }

    /// How this command ends after an answer.
    pub(super) fn status(&self, answer: &ServiceAnswer) -> Result<ExitCode, Failure> {
        let status = answer.response.as_ref().map(Response::status);
        match (&answer.execution.report.exit, status) {
            (Exit::Ok, Some(status)) if self.fail && status.as_u16() >= 400 => {
                note(format_args!("the agent answered {status}"))?;
                Ok(ExitCode::FAILURE)
            }
            (Exit::Ok, Some(_)) => Ok(ExitCode::SUCCESS),
            _ => Ok(ExitCode::FAILURE),
        }
    }
}

impl Caller {
    pub(super) async fn service(
        &self,
        agent: &Reference,
        request: http::Request<Vec<u8>>,
    ) -> Result<(ServiceAnswer, Option<Payment>), Error> {
        let (session, owner) = (&self.session, self.owner.as_ref());
        let Some(payer) = &self.payer else {
            return Ok((session.call_service(agent, request, owner).await?, None));
        };
        let paid = session.call_service_paid(agent, request, owner, payer);
        let PaidServiceAnswer { answer, payment } = paid.await?;
        Ok((answer, Some(payment)))
    }
}

/// One document; `response` is null when the agent gave none.
pub(super) fn json(shown: &Shown<'_>, answer: &ServiceAnswer) -> io::Result<()> {
    let mut members = shown.members();
    let response = answer.response.as_ref().map(|response| {
        let mut object = Map::new();
        object.insert("status".to_owned(), json!(response.status().as_u16()));
        object.insert("headers".to_owned(), fields(response.headers()));
        insert_bytes(&mut object, "body", response.body());
        object.insert("trailers".to_owned(), fields(&answer.trailers));
        object
    });
    members.insert("response".to_owned(), json!(response));
    document(&mut io::stdout().lock(), &members)
}

/// Pairs, in their order: a name may be there several times.
fn fields(map: &HeaderMap) -> Value {
    let pairs = map
        .iter()
        .map(|(name, value)| json!([name.as_str(), String::from_utf8_lossy(value.as_bytes())]));
    Value::Array(pairs.collect())
}

fn head(out: &mut impl Write, response: &Response<Vec<u8>>) -> io::Result<()> {
    writeln!(out, "HTTP {}", response.status())?;
    for (name, value) in response.headers() {
        write!(out, "{name}: ")?;
        out.write_all(value.as_bytes())?;
        writeln!(out)?;
    }
    writeln!(out)
}

/// Percent-encodes what has to be, as browsers do.
pub(crate) fn uri(path: &str) -> Result<Uri, Failure> {
    let wrong = |reason: String| Failure::Usage(format!("`{path}` is not a path: {reason}"));
    if !path.starts_with('/') {
        return Err(wrong(
            "it begins with a slash, such as /forecast?city=Oslo".to_owned(),
        ));
    }
    let url = Url::parse(&format!("{BASE}{path}")).map_err(|error| wrong(error.to_string()))?;
    let (path, query) = (url.path(), url.query());
    let target = match query {
        Some(query) => format!("{path}?{query}"),
        None => path.to_owned(),
    };
    target
        .parse()
        .map_err(|error: http::uri::InvalidUri| wrong(error.to_string()))
}

fn body(data: &str) -> Result<Vec<u8>, Failure> {
    match (data, data.strip_prefix('@')) {
        ("-", _) => read(Path::new("-")),
        (_, Some(file)) => read(Path::new(file)),
        (text, None) => Ok(text.into()),
    }
}

/// A field as it stands in a head.
fn field(text: &str) -> Result<(HeaderName, HeaderValue), String> {
    let (name, value) = text.split_once(':').ok_or("write a field as NAME: VALUE")?;
    let name: HeaderName = name
        .trim()
        .parse()
        .map_err(|_| format!("`{name}` is not the name of a field"))?;
    if name == HOST {
        return Err("an agent's host is its own name: leave this field out".to_owned());
    }
    let value = HeaderValue::from_bytes(value.trim().as_bytes())
        .map_err(|_| format!("the value of {name} has characters that a field cannot have"))?;
    Ok((name, value))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn paths_are_encoded_as_browsers_do() {
        for (given, sent) in [
            ("/", "/"),
            ("/forecast?city=Oslo", "/forecast?city=Oslo"),
            (
                "/forecast?city=São Paulo",
                "/forecast?city=S%C3%A3o%20Paulo",
            ),
            ("/a/../b#part", "/b"),
            ("//elsewhere.example/x", "//elsewhere.example/x"),
            ("/%2f", "/%2f"),
        ] {
            assert_eq!(uri(given).unwrap().to_string(), sent);
        }
        for given in ["", "forecast", "@elsewhere.example/", ":80/", "http://x/"] {
            assert!(matches!(uri(given), Err(Failure::Usage(_))), "{given}");
        }
    }

    #[test]
    fn fields_are_read_as_curl_does() {
        let (name, value) = field("Accept:  text/html ").unwrap();
        assert_eq!(
            (name.as_str(), value.as_bytes()),
            ("accept", &b"text/html"[..])
        );
        for text in ["accept", "a b: c", "Host: x", "x: a\nb", ": x"] {
            assert!(field(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_path_stays_with_the_agent(path in "/.*") {
            if let Ok(uri) = uri(&path) {
                prop_assert!(uri.authority().is_none() && uri.path().starts_with('/'));
            }
        }
    }
}
