//! The agents of the host: kept with their owners, run by rules of this file.

use std::collections::BTreeMap;
use std::io::Cursor;
use std::sync::Mutex;

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, Method, Response};
use bhttp::{Message, Mode};
use hypervisor_client::protocol::owner::owner_id;
use hypervisor_client::protocol::{
    AgentImport, AgentInfo, AgentList, AgentLog, AgentRequest, AgentWorld, ContentFormat,
    DeployRequest, DeployResponse, Exit, Found, HexArray, HostSession, LimitKind, OpenRequest,
    Operation, OwnerProof, ProblemType, RegistryRequest, Rejection, SealedRequest, SearchRequest,
    SearchResponse,
};
use serde_json::json;
use sha2::{Digest, Sha256, Sha384};

use super::{Host, Inner, altered, cbor, paid, problem, seal};

/// The owner of the agents of the registry.
const OPERATOR: &str = "operator";

/// What the host does wrong with sealed answers about agents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Trick {
    /// Nothing.
    #[default]
    None,
    /// Alters a byte of the sealed result.
    Alter,
    /// Deploys another component than it got.
    OtherComponent,
    /// Seals `{}` as a result.
    Empty,
    /// Writes what steers a terminal into names, texts and logs.
    Escape,
}

#[derive(Default)]
pub(super) struct Agents {
    /// By address.
    deployed: Mutex<BTreeMap<String, AgentInfo>>,
    trick: Mutex<Trick>,
}

impl Host {
    /// Makes sealed answers about agents wrong from now on.
    pub(crate) fn trick(&self, trick: Trick) {
        *self.inner.agents.trick.lock().unwrap() = trick;
    }

    /// The addresses of all agents.
    pub(crate) fn addresses(&self) -> Vec<String> {
        let deployed = self.inner.agents.deployed.lock().unwrap();
        deployed.keys().cloned().collect()
    }
}

pub(super) fn serve(
    host: &Inner,
    method: &Method,
    path: &str,
    headers: &HeaderMap,
    body: &Bytes,
) -> Response<Body> {
    let agent = path.strip_prefix("/agents/");
    let get = method == Method::GET;
    let answer = match (path, agent) {
        ("/agents", _) if get => return cbor(&host.agents.public()),
        (_, Some(agent)) if get => return show(host, agent),
        ("/search", _) => return search(host, body),
        ("/agent/deploy", _) => deploy(host, body),
        ("/agent/list", _) => about(host, Operation::List, "", body),
        ("/agent/logs", _) => about(host, Operation::Logs, "", body),
        (_, Some(agent)) if method == Method::DELETE => about(host, Operation::Remove, agent, body),
        (_, Some(agent)) => match host.agents.find(agent, None) {
            Some(info) if info.price.is_some() => paid(host, path, headers, body, |exit| {
                call(host, agent, body, exit)
            }),
            _ => call(host, agent, body, Exit::Ok),
        },
        _ => return problem(ProblemType::NotFound),
    };
    match host.agents.trick() {
        Trick::Alter => altered(answer),
        _ => answer,
    }
}

impl Agents {
    fn trick(&self) -> Trick {
        *self.trick.lock().unwrap()
    }

    fn all(&self) -> Vec<AgentInfo> {
        self.deployed.lock().unwrap().values().cloned().collect()
    }

    fn public(&self) -> AgentList {
        let mut agents = self.all();
        agents.retain(|info| !info.private);
        AgentList { agents }
    }

    /// By address, or by the name where its path says that it has it; private ones for their owner only.
    fn find(&self, agent: &str, owner: Option<&str>) -> Option<AgentInfo> {
        let bare = format!("/agents/{agent}/");
        let named = |info: &AgentInfo| info.address == agent || info.path == bare;
        let known = |info: &AgentInfo| {
            !info.private || owner.is_some_and(|owner| info.address.ends_with(owner))
        };
        let mut agents = self.all().into_iter();
        agents.find(|info| named(info) && known(info))
    }

    /// Adds or replaces an agent.
    fn add(&self, manifest: &str, component: &[u8], owner: &str) -> Result<AgentInfo, String> {
        let manifest: toml::Table = manifest.parse().map_err(|_| "it is not TOML".to_owned())?;
        let text = |key: &str| manifest.get(key).and_then(|value| value.as_str());
        let name = text("name").ok_or("it has no name")?.to_owned();
        let address = format!("{name}.{owner}");
        let taken = self
            .find(&name, None)
            .is_some_and(|info| info.address != address);
        let reference = if taken { &address } else { &name };
        let mut info = AgentInfo {
            path: format!("/agents/{reference}/"),
            name,
            description: text("description").unwrap_or("A test.").to_owned(),
            version: text("version").unwrap_or("1.0.0").to_owned(),
            world: match text("world") {
                Some("command") => AgentWorld::Command,
                _ => AgentWorld::Service,
            },
            skills: vec!["testing".to_owned()],
            private: manifest.get("private").and_then(|v| v.as_bool()) == Some(true),
            price: text("price").map(str::to_owned),
            digest: HexArray(Sha256::digest(component).into()),
            sha384: HexArray(Sha384::digest(component).into()),
            outgoing: vec!["https://api.example.org".to_owned()],
            reuse: 1,
            imports: vec![
                import("wasi:http/types@0.2.6", "granted"),
                import("wasi:filesystem/types@0.2.6", "inert"),
            ],
            persistent: false,
            note: Some("the host keeps no agents on disk".to_owned()),
            tool: None,
            deployed_at: 1_767_225_600,
            address,
        };
        match self.trick() {
            Trick::OtherComponent => info.digest = HexArray([7; 32]),
            Trick::Escape => info.description = "\u{1b}[2Jgone".to_owned(),
            _ => {}
        }
        let mut deployed = self.deployed.lock().unwrap();
        deployed.insert(info.address.clone(), info.clone());
        Ok(info)
    }
}

fn import(name: &str, standing: &str) -> AgentImport {
    AgentImport {
        name: name.to_owned(),
        standing: standing.to_owned(),
        host_version: Some("0.2.12".to_owned()),
    }
}

fn show(host: &Inner, agent: &str) -> Response<Body> {
    match host.agents.find(agent, None) {
        Some(info) => cbor(&info),
        None => problem(ProblemType::AgentNotFound),
    }
}

/// Finds agents whose description has a word of it, and one of the registry that is not deployed.
fn search(host: &Inner, body: &[u8]) -> Response<Body> {
    let request: SearchRequest = ContentFormat::Cbor.decode(body).unwrap();
    let words: Vec<&str> = request.description.split(' ').collect();
    let mut agents = host.agents.public().agents;
    agents.retain(|info| words.iter().any(|word| info.description.contains(word)));
    let found = agents.into_iter().map(|info| Found {
        name: info.name,
        address: info.address,
        description: info.description,
        version: info.version,
        skills: info.skills,
        score: 1.5,
        price: info.price,
        digest: info.digest,
        deployed: info.deployed_at % 2 == 0,
    });
    let agents: Vec<Found> = found
        .take(request.limit.unwrap_or(10).try_into().unwrap())
        .collect();
    let message = agents.first().map(|found| found.name.clone());
    cbor(&SearchResponse {
        message: message.unwrap_or_else(|| "no agent found".to_owned()),
        agents,
    })
}

fn deploy(host: &Inner, body: &[u8]) -> Response<Body> {
    if let Ok(request) = ContentFormat::Cbor.decode::<RegistryRequest>(body) {
        if request.agent != "registered" {
            return problem(ProblemType::AgentNotFound);
        }
        let manifest = "name = 'registered'\ndescription = 'One of the registry.'";
        let agent = host.agents.add(manifest, b"\0asm", OPERATOR).unwrap();
        return cbor(&DeployResponse {
            message: format!("{} is deployed", agent.name),
            agent,
        });
    }
    let request: DeployRequest = ContentFormat::Cbor.decode(body).unwrap();
    let (id, proof) = (request.session_id.unwrap(), request.owner.clone());
    let request = SealedRequest::from(request);
    seal(host, Operation::Deploy, id, request, |session, opened| {
        let Some(owner) = owner(session, Some(&proof)) else {
            return rejected(Rejection::NotOwner, "the signature does not hold");
        };
        if !opened.program.starts_with(b"\0asm") {
            let detail = "nn:a/b@1.0.0: the host does not have it; nn:c/d@1.0.0: nor this";
            return rejected(Rejection::MissingImport, detail);
        }
        let manifest = String::from_utf8(opened.stdin.clone().unwrap()).unwrap();
        match host.agents.add(&manifest, &opened.program, &owner) {
            Ok(info) => granted(host, &json!(info)),
            Err(reason) => rejected(Rejection::InvalidManifest, &reason),
        }
    })
}

/// What owners ask about their agents.
fn about(host: &Inner, operation: Operation, path: &str, body: &[u8]) -> Response<Body> {
    let request: AgentRequest = ContentFormat::Cbor.decode(body).unwrap();
    let (id, proof) = (request.session_id.unwrap(), request.owner.clone());
    seal(host, operation, id, request.into(), |session, opened| {
        let agent = String::from_utf8(opened.program.clone()).unwrap();
        assert!(path.is_empty() || path == agent, "path and field agree");
        let Some(owner) = owner(session, proof.as_ref()) else {
            return rejected(Rejection::NotOwner, "there is no proof that holds");
        };
        let own = |info: &AgentInfo| info.address.ends_with(&owner);
        if operation == Operation::List {
            let mut agents = host.agents.all();
            agents.retain(own);
            return granted(host, &json!(AgentList { agents }));
        }
        let Some(info) = host.agents.find(&agent, Some(&owner)) else {
            return rejected(Rejection::UnknownAgent, &format!("`{agent}` is not here"));
        };
        if !own(&info) {
            return rejected(Rejection::NotOwner, "it is somebody else's");
        }
        if operation == Operation::Logs {
            let lines = match host.agents.trick() {
                Trick::Escape => vec!["\u{1b}]0;title\u{7}".to_owned()],
                _ => vec!["one".to_owned(), "two".to_owned()],
            };
            return granted(host, &json!(AgentLog { lines, dropped: 3 }));
        }
        host.agents.deployed.lock().unwrap().remove(&info.address);
        granted(host, &json!(info))
    })
}

/// Runs an agent, or nothing where the call is to end in another way.
fn call(host: &Inner, path: &str, body: &[u8], exit: Exit) -> Response<Body> {
    let request: AgentRequest = ContentFormat::Cbor.decode(body).unwrap();
    let (id, proof) = (request.session_id.unwrap(), request.owner.clone());
    let operation = Operation::Agent;
    seal(host, operation, id, request.into(), |session, opened| {
        assert_eq!(opened.program, path.as_bytes(), "path and field agree");
        if exit != Exit::Ok {
            return (exit, Vec::new());
        }
        let owner = owner(session, proof.as_ref());
        let Some(info) = host.agents.find(path, owner.as_deref()) else {
            return rejected(Rejection::UnknownAgent, &format!("`{path}` is not here"));
        };
        match info.world {
            AgentWorld::Command => command(opened),
            AgentWorld::Service => service(opened),
        }
    })
}

/// Writes its arguments and its standard input; `exit N` exits.
fn command(opened: &OpenRequest) -> (Exit, Vec<u8>) {
    let arguments: Vec<&str> = opened
        .arguments
        .iter()
        .map(|argument| std::str::from_utf8(argument).unwrap())
        .collect();
    if let ["exit", code] = arguments[..] {
        let code = code.parse().unwrap();
        return (Exit::Code { code }, Vec::new());
    }
    let stdin = opened.stdin.as_deref().unwrap_or(b"no input");
    let stdin = String::from_utf8_lossy(stdin);
    (Exit::Ok, format!("{arguments:?} {stdin}").into_bytes())
}

/// Says what it was asked, as indeterminate-length Binary HTTP; some paths do something else.
fn service(opened: &OpenRequest) -> (Exit, Vec<u8>) {
    let Some(Ok(request)) = opened
        .stdin
        .as_ref()
        .map(|bytes| Message::read_bhttp(&mut Cursor::new(bytes)))
    else {
        return rejected(Rejection::InvalidRequest, "it is not Binary HTTP");
    };
    let text = |bytes: Option<&[u8]>| String::from_utf8(bytes.unwrap().to_vec()).unwrap();
    let control = request.control();
    let path = text(control.path());
    let status = match path.as_str() {
        "/missing" => 404_u16,
        "/trap" => {
            let reason = "unreachable".to_owned();
            return (Exit::Trap { reason }, Vec::new());
        }
        "/slow" => {
            let (which, used, allowed) = (LimitKind::Wall, 1_000_000, 1_000_000);
            let limit = Exit::Limit {
                which,
                used,
                allowed,
            };
            return (limit, Vec::new());
        }
        "/garbage" => return (Exit::Ok, b"no message".to_vec()),
        _ => 200,
    };
    let mut response = Message::response(bhttp::StatusCode::try_from(status).unwrap());
    response.put_header("content-type", "text/plain");
    for field in request.header().iter() {
        let name = [b"seen-", field.name()].concat();
        response.put_header(name, field.value());
    }
    let (method, authority) = (text(control.method()), text(control.authority()));
    response.write_content(format!("{method} {authority} {path}\n"));
    response.write_content(match path.as_str() {
        "/binary" => &[0xff, 0xfe],
        _ => request.content(),
    });
    response.put_trailer("seen-length", request.content().len().to_string());
    let mut bytes = Vec::new();
    response
        .write_bhttp(Mode::IndeterminateLength, &mut bytes)
        .unwrap();
    (Exit::Ok, bytes)
}

/// The id of the owner whose proof holds for this session.
fn owner(session: &HostSession, proof: Option<&OwnerProof>) -> Option<String> {
    let (client, key) = (session.client(), session.public_key());
    let owner = proof?.verify(client, key, session.id()).ok()?;
    Some(owner_id(&owner))
}

fn granted(host: &Inner, result: &serde_json::Value) -> (Exit, Vec<u8>) {
    let result = match host.agents.trick() {
        Trick::Empty => "{}".to_owned(),
        _ => result.to_string(),
    };
    (Exit::Ok, result.into_bytes())
}

fn rejected(problem: Rejection, detail: &str) -> (Exit, Vec<u8>) {
    let detail = detail.to_owned();
    (Exit::Rejected { problem, detail }, Vec::new())
}
