//! The nodes of the fleet, for `hypervisor-ctl fleet`.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde::{Deserialize, Serialize};

use super::json;
use crate::fleet::{Member, Phase};
use crate::manifest::hex;
use crate::pipeline::Host;

/// Microseconds of a second.
const SECOND: u64 = 1_000_000;

/// A fleet, as one of its nodes sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fleet {
    /// The node that says so.
    pub tag: String,
    /// How often it took over what a dead node left, since it started.
    pub takeovers: u64,
    /// How many requests of other nodes' sessions came to it, since it started.
    #[serde(default)]
    pub forwarded: u64,
    /// What its rows are sealed under; none where that is in a file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<Key>,
    /// All nodes, by their tags.
    pub nodes: Vec<Node>,
}

/// The key of a fleet whose hosts give it to each other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Key {
    /// The id of the one that the node writes under, hex.
    pub id: String,
    /// The id of the one that takes, or took, the place of another; none where that is over.
    pub to: Option<String>,
    /// How far that is: `offered`, while nodes get it, or `writing`, while rows are sealed anew.
    pub phase: Option<String>,
    /// The tags of nodes that live and do not have it yet.
    pub waits_for: Vec<String>,
}

impl Key {
    fn of(member: &Member) -> Self {
        let (id, turning) = &member.turning();
        let phase = |it: Phase| match it {
            Phase::Offered => "offered",
            Phase::Writing | Phase::Done => "writing",
        };
        Self {
            id: hex(id),
            to: turning.as_ref().map(|it| hex(&it.to)),
            phase: turning.as_ref().map(|it| phase(it.phase).to_owned()),
            waits_for: turning.as_ref().map_or_else(Vec::new, |it| {
                it.waits_for.iter().map(ToString::to_string).collect()
            }),
        }
    }
}

/// A node of a fleet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// What the ids of its sessions end in.
    pub tag: String,
    /// Where other nodes reach it; none where they cannot.
    pub address: Option<String>,
    /// The version of the host.
    pub version: String,
    /// `serving`, `leaving` or `dead`.
    pub state: String,
    /// When it started, by the database's clock: Unix time, seconds.
    pub started_at: u64,
    /// When it was last seen, likewise.
    pub seen_at: u64,
    /// Sessions that it held then.
    pub sessions: u64,
}

impl Fleet {
    /// Of a host that runs; none where it is alone.
    pub(super) fn of(host: &Host) -> Option<Self> {
        let fleet = host.fleet()?;
        let node = |it: crate::fleet::Node| Node {
            tag: it.tag.to_string(),
            address: it.address.as_ref().map(ToString::to_string),
            state: match (it.alive, it.leaving || it.closed) {
                (false, _) => "dead",
                (true, true) => "leaving",
                (true, false) => "serving",
            }
            .to_owned(),
            version: it.host,
            started_at: it.started / SECOND,
            seen_at: it.seen / SECOND,
            sessions: it.sessions,
        };
        Some(Self {
            tag: fleet.tag().to_string(),
            takeovers: fleet.takeovers(),
            forwarded: hypervisor_telemetry::metrics::all_forwarded(),
            key: host.member().map(|member| Key::of(member)),
            nodes: fleet.nodes().into_iter().map(node).collect(),
        })
    }

    /// How many nodes are in each state.
    pub(super) fn by_state(&self) -> Vec<(&'static str, u64)> {
        let count = |state| {
            let nodes = self.nodes.iter().filter(|node| node.state == state);
            (state, u64::try_from(nodes.count()).unwrap_or(u64::MAX))
        };
        ["serving", "leaving", "dead"].map(count).to_vec()
    }
}

/// `GET /fleet`.
pub(super) async fn show(State(app): State<Arc<Host>>) -> Response {
    match Fleet::of(&app) {
        Some(fleet) => json(&fleet),
        None => {
            let words = "this host is alone: [fleet] names no store\n";
            (StatusCode::NOT_FOUND, words).into_response()
        }
    }
}

/// `POST /fleet/rotate`.
pub(super) async fn rotate(State(app): State<Arc<Host>>) -> Response {
    // In a task of its own: what was begun is known, also where the operator goes away.
    let host = Arc::clone(&app);
    let rotated = tokio::spawn(async move { host.rotate().await });
    match rotated.await {
        Ok(Ok(key)) => {
            app.operated("rotate", &key);
            (StatusCode::ACCEPTED, format!("{key}\n")).into_response()
        }
        Ok(Err(words)) => (StatusCode::CONFLICT, format!("{words}\n")).into_response(),
        Err(_) => (StatusCode::INTERNAL_SERVER_ERROR, "internal error\n").into_response(),
    }
}
