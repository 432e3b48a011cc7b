//! Greets its caller, in JSON.

use serde::Deserialize;
use serde_json::{Value, json};
use wstd::http::{Body, Error, Method, Request, Response, StatusCode};

/// The body of a POST: `{"name": "Ada"}`.
#[derive(Deserialize)]
struct Visitor {
    name: String,
}

/// Called for each request.
#[wstd::http_server]
async fn main(mut request: Request<Body>) -> Result<Response<Body>, Error> {
    match *request.method() {
        Method::GET => reply(StatusCode::OK, json!({ "greeting": "hello, world" })),
        Method::POST => match request.body_mut().json::<Visitor>().await {
            Ok(Visitor { name }) => reply(
                StatusCode::OK,
                json!({ "greeting": format!("hello, {name}") }),
            ),
            Err(error) => reply(
                StatusCode::BAD_REQUEST,
                json!({ "error": format!("{error:#}") }),
            ),
        },
        _ => reply(
            StatusCode::METHOD_NOT_ALLOWED,
            json!({ "error": "ask by GET or POST" }),
        ),
    }
}

fn reply(status: StatusCode, value: Value) -> Result<Response<Body>, Error> {
    Ok(Response::builder()
        .status(status)
        .header("content-type", "application/json")
        .body(Body::from(value.to_string()))?)
}
