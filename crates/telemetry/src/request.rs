//! The request that a task is about: its id, for the log, and its spans, where they are kept.

use std::sync::Arc;

use http::{HeaderMap, Method};
use uuid::Uuid;

use super::spans::Recording;

tokio::task_local! {
    static REQUEST: Option<Request>;
}

/// A request that is being answered.
#[derive(Debug, Clone)]
pub struct Request {
    id: Uuid,
    recording: Option<Arc<Recording>>,
}

impl Request {
    /// One that came just now. `route` is a template; `fields` are those of a request from outside: what a guest sends says nothing of
    /// traces.
    pub fn begin(method: &Method, route: Option<&str>, fields: Option<&HeaderMap>) -> Self {
        let id = Uuid::now_v7();
        let recording = Recording::begin(id, method, route, fields).map(Arc::new);
        Self { id, recording }
    }

    /// Made here, never taken from the client.
    pub fn id(&self) -> Uuid {
        self.id
    }

    /// Runs what the request causes, so that its lines have the request's id. A span of the log would have it too, and cost more than
    /// some requests do, whether there is a line or not.
    pub fn run<F: Future>(&self, work: F) -> impl Future<Output = F::Output> {
        REQUEST.scope(Some(self.clone()), work)
    }

    /// The answer begins.
    pub fn answered(&self, status: u16) {
        if let Some(recording) = &self.recording {
            recording.note(|request| request.status = Some(status));
        }
    }
}

/// The id of the request that the current task is about.
pub fn request() -> Option<Uuid> {
    of_current(|request| request.id)
}

/// For a task of its own: it is about the same request.
pub fn carried<F: Future>(work: F) -> impl Future<Output = F::Output> {
    REQUEST.scope(of_current(Request::clone), work)
}

/// The recording of the request that the current task is about, where it is kept.
pub(crate) fn recorded(note: impl FnOnce(&Recording)) {
    let _ = REQUEST.try_with(|request| {
        let recording = request.as_ref().and_then(|it| it.recording.as_deref());
        recording.map(note)
    });
}

fn of_current<T>(read: impl FnOnce(&Request) -> T) -> Option<T> {
    REQUEST
        .try_with(|request| request.as_ref().map(read))
        .ok()?
}
