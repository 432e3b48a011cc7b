//! `hv proxy`: an HTTP server on this machine that makes each request a sealed call.

mod answer;
mod call;
mod card;
mod fields;
mod gate;
mod problem;
mod receive;
mod target;
mod worlds;

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use hypervisor_client::Session;
use hypervisor_client::protocol::HexArray;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::attest::Form;
use crate::console::{document, note, plain, print};
use crate::desk::{Desk, Trouble};
use crate::output::attested;
use crate::owner::Owner;
use crate::pay::Pay;
use crate::session::Verify;
use crate::signals::Stop;
use crate::{Failure, VERIFICATION_FAILED};

use call::Caller;
use gate::Gate;

/// Connections at once.
const CONNECTIONS: usize = 256;
/// Bytes of an answer.
const LARGEST_ANSWER: usize = 64 << 20;
/// Time for the head of a request.
const HEAD_TIME: Duration = Duration::from_secs(30);
/// Bytes of a head.
const HEAD: usize = 64 << 10;
/// After an error of the listener's own, such as too many open files.
const PAUSE: Duration = Duration::from_millis(100);
/// How long requests that are under way are waited for at the end.
const FAREWELL: Duration = Duration::from_secs(10);

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hv proxy --server https://host.example --verify policy.toml
  hv proxy --verify policy.toml --listen 127.0.0.1:9000
  hv proxy --verify policy.toml --owner work.key             private agents of this owner, too
  hv proxy --verify policy.toml --pay ~/payer.key --max-price 0.05

  curl http://127.0.0.1:8090/agents/weather/forecast?city=Oslo

Clients of A2A, MCP and plain HTTP know nothing of sealing. They are pointed at this command's address in the place of the host's: what they
ask of /agents/NAME/… is a sealed call of that agent, and any other path one of what answers there in the host's own name, such as /mcp and
/a2a/. With --verify, nothing is sent to a host that is not what the policy wants.

Exit status: 0 when it is told to end, 1 failure, 2 usage, 3 the host failed verification.")]
pub(crate) struct Proxy {
    /// Address to listen on. Whoever reaches it can use the owner's agents and spend what --max-price allows, so it is this machine's own
    /// unless another is given.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8090")]
    listen: SocketAddr,
    /// A further name in the Host of requests that are taken, besides this machine's own names and addresses; may be given several times.
    #[arg(long = "allow-host", value_name = "NAME")]
    hosts: Vec<String>,
    /// Pass every answer on while it comes; otherwise those to clients that accept text/event-stream. Who watches the network then sees when
    /// an agent writes.
    #[arg(long)]
    stream: bool,
    /// Longest wait for an answer to begin, and between two parts of one.
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = humantime::parse_duration)]
    timeout: Duration,
    /// Form of the line that says where it listens, and what was verified.
    #[arg(long, value_enum, default_value = "text")]
    output: Form,
    #[command(flatten)]
    verify: Verify,
    // Last: their headings would hold for what follows.
    #[command(flatten)]
    owner: Owner,
    #[command(flatten)]
    pay: Pay,
}

impl Proxy {
    pub(crate) async fn execute(&self, server: &str) -> Result<ExitCode, Failure> {
        let policy = self.verify.policy()?;
        let payer = self.pay.payer(server)?;
        let desk = Desk::new(server, policy, payer, self.owner.named()?)?;
        let desk = Arc::new(desk.with_largest_answer(LARGEST_ANSWER));
        let session = desk.session().await.map_err(unopened)?;
        let listener = TcpListener::bind(self.listen).await;
        let listener = listener.map_err(|source| Failure::Io {
            what: format!("cannot listen on {}", self.listen),
            source,
        })?;
        let address = listener.local_addr().map_err(|source| Failure::Io {
            what: "cannot tell where it listens".to_owned(),
            source,
        })?;
        if !address.ip().is_loopback() {
            note(format_args!(
                "warning: {address} is reached from other machines: whoever does can call what this command may call, and requests come to it unencrypted"
            ))?;
        }
        let stop = Stop::listen()?;
        self.say(address, server, &session)?;
        drop(session);
        let gate = Gate::new(&self.hosts);
        let caller = Caller::new(Arc::clone(&desk), server, self.stream, self.timeout);
        serve((listener, stop), gate, caller).await?;
        Ok(match desk.was_refused() {
            true => ExitCode::from(VERIFICATION_FAILED),
            false => ExitCode::SUCCESS,
        })
    }

    /// Says that requests are taken, and what answers them.
    fn say(&self, address: SocketAddr, server: &str, session: &Session) -> Result<(), Failure> {
        print(|out| match self.output {
            Form::Text => writeln!(
                out,
                "listening on http://{address} for {server}: {}",
                plain(&verified(session))
            ),
            Form::Json => document(
                out,
                &json!({
                    "url": format!("http://{address}"),
                    "server": server,
                    "verified": verified_json(session),
                }),
            ),
        })
    }
}

/// Says on standard error what went wrong with one answer and ends nothing: nothing of the answer is in it.
fn say(what: &dyn std::fmt::Display) {
    let _ = note(format_args!("{}", plain(&what.to_string())));
}

fn unopened(trouble: Trouble) -> Failure {
    match trouble {
        Trouble::Failed(failure) => failure,
        other => Failure::Input(other.to_string()),
    }
}

fn verified(session: &Session) -> String {
    match session.attestation() {
        None => "not verified, so that the session is as private as the connection: --verify POLICY has the host prove what it is".to_owned(),
        Some(proved) => format!(
            "verified, {}; identity key {}, manifest SHA-384 {}",
            attested::passed(proved),
            proved.identity_public_key(),
            HexArray(*proved.manifest_digest())
        ),
    }
}

fn verified_json(session: &Session) -> Value {
    session.attestation().map_or(Value::Null, |proved| {
        json!({
            "assurance": proved.assurance(),
            "identity_key": proved.identity_public_key().to_string(),
            "manifest_digest": HexArray(*proved.manifest_digest()),
            "checks": attested::summary(proved.verdict()),
        })
    })
}

/// Serves until it is told to stop, and then what is under way.
async fn serve(
    (listener, mut stop): (TcpListener, Stop),
    gate: Gate,
    caller: Caller,
) -> Result<(), Failure> {
    let (gate, caller) = (Arc::new(gate), Arc::new(caller));
    let graceful = GracefulShutdown::new();
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let accepted = async {
            // Where all places are taken, further connections wait in the listener's own queue.
            let place = Arc::clone(&places).acquire_owned().await.ok();
            (listener.accept().await, place)
        };
        tokio::select! {
            (accepted, place) = accepted => match accepted {
                Ok((stream, _)) => connect(stream, place, &graceful, (&gate, &caller)),
                Err(error) => {
                    note(format_args!("a connection was not taken: {error}"))?;
                    tokio::time::sleep(PAUSE).await;
                }
            },
            () = stop.requested() => break,
        }
    }
    drop(listener);
    // What does not end in time breaks off, and so does all where it is told once more.
    tokio::select! {
        _ = tokio::time::timeout(FAREWELL, graceful.shutdown()) => {}
        () = stop.requested() => {}
    }
    Ok(())
}

fn connect(
    stream: TcpStream,
    place: Option<OwnedSemaphorePermit>,
    graceful: &GracefulShutdown,
    (gate, caller): (&Arc<Gate>, &Arc<Caller>),
) {
    let (gate, caller) = (Arc::clone(gate), Arc::clone(caller));
    let service = service_fn(move |request| {
        let (gate, caller) = (Arc::clone(&gate), Arc::clone(&caller));
        async move { answer::answer(&gate, &caller, request).await }
    });
    // A write that waits for more to go with it would hold back the parts of a stream.
    let _ = stream.set_nodelay(true);
    let mut builder = auto::Builder::new(hyper_util::rt::TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .max_buf_size(HEAD);
    builder.http2().timer(TokioTimer::new());
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    let connection = graceful.watch(connection.into_owned());
    tokio::spawn(async move {
        // Who went away is told nothing.
        let _ = connection.await;
        drop(place);
    });
}
