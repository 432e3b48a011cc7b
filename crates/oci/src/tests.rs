//! Registries that do what a real one does not.

use axum::Router;
use axum::extract::Request;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use tokio::net::TcpListener;

use crate::{Access, Error, Reference};

/// A registry that answers with this; gives its address.
async fn registry(
    answer: impl Fn(&str, &Request) -> Response + Clone + Send + Sync + 'static,
) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let own = address.clone();
    let router = Router::new().fallback(move |request: Request| {
        let response = answer(&own, &request);
        async move { response }
    });
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

async fn pull(address: &str) -> Error {
    let reference: Reference = format!("{address}/a@sha256:{}", "0".repeat(64))
        .parse()
        .unwrap();
    Access::default().pull(&reference).await.unwrap_err()
}

#[tokio::test]
async fn a_manifest_longer_than_any_is_not_read_to_its_end() {
    let address = registry(|_, _| vec![b' '; 2 << 20].into_response());
    let error = pull(&address.await).await;
    assert!(matches!(error, Error::TooLarge { .. }), "{error}");
}

#[tokio::test]
async fn a_manifest_that_is_another_is_refused() {
    let address = registry(|_, _| "{}".into_response()).await;
    let error = pull(&address).await;
    assert!(error.is_verification_failure(), "{error}");
}

#[tokio::test]
async fn a_token_is_asked_for_where_the_registry_says_and_shown() {
    let address = registry(|own, request| {
        if request.uri().path() == "/token" {
            let query = request.uri().query().unwrap_or_default();
            assert_eq!(query, "scope=repository%3Aa%3Apull&service=registry");
            return r#"{"access_token":"anybody"}"#.into_response();
        }
        match request.headers().get(header::AUTHORIZATION) {
            Some(shown) if shown == "Bearer anybody" => StatusCode::NOT_FOUND.into_response(),
            _ => {
                let challenge = format!("Bearer realm=\"http://{own}/token\",service=\"registry\"");
                let challenge = [(header::WWW_AUTHENTICATE, challenge)];
                (StatusCode::UNAUTHORIZED, challenge).into_response()
            }
        }
    });
    let error = pull(&address.await).await;
    assert!(matches!(error, Error::Unknown(_)), "{error}");
}

#[tokio::test]
async fn a_registry_that_sends_round_in_a_circle_is_left() {
    let address = registry(|own, request| {
        let to = format!("http://{own}{}", request.uri());
        (StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, to)]).into_response()
    });
    let error = pull(&address.await).await;
    assert!(
        error.to_string().contains("from one address to another"),
        "{error}"
    );
}
