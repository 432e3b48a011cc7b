//! Plain calls of commands: the body is standard input, each `arg` of the query an argument, standard output the answer.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response, StatusCode, header};
use hypervisor_protocol::ProblemType;

use super::{Plain, Ran, Trailers, ended};
use crate::executor::{Chain, Command, Exit, Inputs};
use crate::pipeline::{Call, Host, Refusal};

/// Exit code of a command.
const EXIT_CODE: HeaderName = HeaderName::from_static("x-exit-code");

/// Runs a command.
pub(super) async fn run(
    call: &Call<Plain>,
    host: &Host,
    command: &Command,
    stdin: Bytes,
    chain: Chain,
) -> Result<Ran, Refusal> {
    let query = call.way.head.uri.query().unwrap_or_default();
    let most = host.config().limits.arguments;
    let arguments: Vec<String> = form_urlencoded::parse(query.as_bytes())
        .filter(|(name, _)| name == "arg")
        .map(|(_, value)| value.into_owned())
        .take(most.saturating_add(1))
        .collect();
    if arguments.len() > most {
        return Err(Refusal::new(
            ProblemType::TooManyArguments,
            format!("the query has more arguments (`arg`) than the {most} that this host takes"),
        ));
    }
    let inputs = Inputs {
        arguments,
        stdin,
        budget: None,
        tap: None,
    };
    let outcome = command.call(inputs, chain).await;
    let code = match outcome.exit {
        Exit::Ok => 0,
        Exit::Code { code } => code,
        exit => return Err(ended(exit)),
    };
    let mut response = Response::new(Bytes::from(outcome.stdout));
    if code != 0 {
        *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
    }
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/octet-stream"),
    );
    headers.insert(EXIT_CODE, HeaderValue::from(code));
    Ok(Ran::Whole(response, Trailers::new()))
}
