//! The page at `/`, and the one form on it.

use std::sync::{Arc, OnceLock};

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{StatusCode, header};
use serde::Serialize;
use subtle::ConstantTimeEq;

use super::status::Status;
use super::{json, remove_agent, remove_environments_of};
use crate::manifest::hex;
use crate::pipeline::Host;

/// Bytes of a form at most.
const LONGEST_FORM: usize = 4 << 10;

/// What the component that makes the page is given.
#[derive(Serialize)]
struct Document<'a> {
    status: &'a Status,
    csrf: &'a str,
    nonce: &'a str,
}

/// What a form has to bring: a page of somebody else's cannot read it here.
fn csrf() -> Option<&'static str> {
    static TOKEN: OnceLock<Option<String>> = OnceLock::new();
    TOKEN.get_or_init(random).as_deref()
}

fn random() -> Option<String> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).ok()?;
    Some(hex(&bytes))
}

/// The page; the document where there is no component that makes one.
pub(super) async fn show(State(app): State<Arc<Host>>) -> Response {
    let status = Status::of(&app);
    let (Some(csrf), Some(nonce)) = (csrf(), random()) else {
        return json(&status);
    };
    let document = Document {
        status: &status,
        csrf,
        nonce: &nonce,
    };
    let document = serde_json::to_vec(&document).unwrap_or_default();
    let html = match app.page().render(document).await {
        Ok(Some(html)) => html,
        Ok(None) => return json(&status),
        Err(words) => {
            tracing::error!(words, "the status page cannot be made");
            let words = "the status page cannot be made; the log says why, and GET /status has what it shows\n";
            return (StatusCode::INTERNAL_SERVER_ERROR, words).into_response();
        }
    };
    let policy = format!(
        "default-src 'none'; style-src 'nonce-{nonce}'; img-src data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    );
    let fields = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CONTENT_SECURITY_POLICY, &policy),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "same-origin"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    (fields, html).into_response()
}

/// Takes down what the form names, and leads back to the page.
pub(super) async fn take_down(State(app): State<Arc<Host>>, body: Bytes) -> Response {
    if body.len() > LONGEST_FORM {
        return (StatusCode::PAYLOAD_TOO_LARGE, "the form is too long\n").into_response();
    }
    let mut fields: Vec<_> = form_urlencoded::parse(&body).into_owned().collect();
    let shown = fields.iter().position(|(name, _)| name == "csrf");
    let shown = shown.map(|place| fields.swap_remove(place).1);
    let is_own = csrf()
        .zip(shown)
        .is_some_and(|(own, shown)| bool::from(own.as_bytes().ct_eq(shown.as_bytes())));
    if !is_own {
        let words = "the form is not of this page, or of an earlier start of the host: load the page again\n";
        return (StatusCode::FORBIDDEN, words).into_response();
    }
    let done = match fields.as_slice() {
        [(name, agent)] if name == "agent" => remove_agent(&app, agent).await,
        [(name, owner)] if name == "environments_of" => remove_environments_of(&app, owner).await,
        _ => (StatusCode::BAD_REQUEST, "the form names nothing\n").into_response(),
    };
    if !done.status().is_success() {
        return done;
    }
    (StatusCode::SEE_OTHER, [(header::LOCATION, "/")]).into_response()
}
