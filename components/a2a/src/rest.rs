//! The binding of HTTP and JSON: a method and its parameters by method, path and query.

use serde_json::{Map, Value};

use crate::error::A2aError;
use crate::methods::Method;

/// The most parameters of a query.
const MOST: usize = 32;

/// The parameters of a query.
pub fn query(query: &str) -> Result<Map<String, Value>, A2aError> {
    let mut params = Map::new();
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        if params.len() >= MOST {
            return Err(A2aError::Params("there are too many".to_owned()));
        }
        // The first counts.
        params
            .entry(name.into_owned())
            .or_insert_with(|| value.into_owned().into());
    }
    Ok(params)
}

/// The method at a path behind the agent's, and the parameters that path and query have.
pub fn method(
    verb: &str,
    path: &str,
    text: &str,
) -> Result<(Method, Map<String, Value>), A2aError> {
    let path = path.trim_end_matches('/');
    let mut params = Map::new();
    let method = match path {
        "message:send" => allowed(verb, &["POST"], Method::Send)?,
        "message:stream" => allowed(verb, &["POST"], Method::Stream)?,
        "tasks" => {
            params = query(text)?;
            allowed(verb, &["GET"], Method::List)?
        }
        "extendedAgentCard" => allowed(verb, &["GET"], Method::ExtendedCard)?,
        path => {
            let id = path.strip_prefix("tasks/").ok_or(A2aError::Method)?;
            if let Some((_, "pushNotificationConfigs")) = id.split_once('/') {
                return Ok((Method::Push, params));
            }
            if id
                .split_once('/')
                .is_some_and(|(_, rest)| rest.starts_with("pushNotificationConfigs/"))
            {
                return Ok((Method::Push, params));
            }
            if id.contains('/') {
                return Err(A2aError::Method);
            }
            let (id, method) = match id.rsplit_once(':') {
                Some((id, "cancel")) => (id, allowed(verb, &["POST"], Method::Cancel)?),
                // The specification has POST and its definition GET.
                Some((id, "subscribe")) => {
                    (id, allowed(verb, &["POST", "GET"], Method::Subscribe)?)
                }
                Some(_) => return Err(A2aError::Method),
                None => {
                    params = query(text)?;
                    (id, allowed(verb, &["GET"], Method::Get)?)
                }
            };
            params.insert("id".to_owned(), id.into());
            method
        }
    };
    Ok((method, params))
}

fn allowed(verb: &str, verbs: &[&str], method: Method) -> Result<Method, A2aError> {
    match verbs.contains(&verb) || (verb == "HEAD" && verbs.contains(&"GET")) {
        true => Ok(method),
        false => Err(A2aError::Http(405, "This method of HTTP is not taken here")),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn each_method_has_its_path() {
        for (verb, path, expected) in [
            ("POST", "message:send", Method::Send),
            ("POST", "message:stream", Method::Stream),
            ("GET", "tasks", Method::List),
            ("GET", "tasks/a", Method::Get),
            ("POST", "tasks/a:cancel", Method::Cancel),
            ("POST", "tasks/a:subscribe", Method::Subscribe),
            ("GET", "tasks/a:subscribe", Method::Subscribe),
            ("POST", "tasks/a/pushNotificationConfigs", Method::Push),
            ("DELETE", "tasks/a/pushNotificationConfigs/b", Method::Push),
            ("GET", "extendedAgentCard", Method::ExtendedCard),
        ] {
            assert_eq!(method(verb, path, "").unwrap().0, expected, "{path}");
        }
        let (_, params) = method("GET", "tasks/a", "historyLength=2&id=b").unwrap();
        assert_eq!(
            (&params["id"], &params["historyLength"]),
            (&"a".into(), &"2".into())
        );
    }

    #[test]
    fn what_is_no_method_is_told() {
        assert_eq!(method("GET", "message:send", "").unwrap_err().rest().0, 405);
        for path in ["v1/message:send", "tasks/a:b", "tasks/a/b", "other", ""] {
            assert_eq!(
                method("GET", path, "").unwrap_err(),
                A2aError::Method,
                "{path}"
            );
        }
    }

    proptest! {
        #[test]
        fn any_request_is_judged(verb in "(GET|POST|DELETE|X)", path in "(tasks/)?.{0,40}", text in ".{0,60}") {
            let _ = (method(&verb, &path, &text), query(&text));
        }
    }
}
