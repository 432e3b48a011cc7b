//! The host's policy plugin, called by a service: the request's body are rules in the language of that plugin, the
//! answer is what they decide.
//!
//! ```text
//! curl --data-binary @rules.py 'http://HOST/agents/ask-policy/?subject=0f8c…'
//! ```
//!
//! The action that is decided on is a call of this agent, with the path that was asked for; `subject` in the query is
//! the SHA-256 of the program that acts, zeros if it is left out. A host without a policy plugin does not take this agent.

use http_kit::{Error, Target, json, method_name, read_body};
use hypervisor::plugin::policy::{self, Action, ActionKind, ActionSizes, Decision, ErrorCode};
use serde_json::{Value, json};
use wasip2::exports::http::incoming_handler::Guest;
use wasip2::http::types::{IncomingRequest, ResponseOutparam};

wit_bindgen::generate!({
    path: "../../wit",
    generate_all,
    inline: "
        package guests:ask-policy;

        world ask-policy {
            import hypervisor:plugin/policy@0.1.1;
        }
    ",
});

/// Rules longer than this are not read.
const LONGEST_RULES: usize = 1 << 20;

struct AskPolicy;

wasip2::http::proxy::export!(AskPolicy);

impl Guest for AskPolicy {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        if let Err(error) = ask(&request, out) {
            eprintln!("ask-policy: {error}");
        }
    }
}

fn ask(request: &IncomingRequest, out: ResponseOutparam) -> Result<(), Error> {
    let target = Target::of(request);
    let Some(subject) = target
        .parameter("subject")
        .map_or(Some(vec![0; 32]), |text| digest(&text))
    else {
        return json(
            out,
            400,
            &json!({ "error": "subject is not 64 hexadecimal digits" }),
        );
    };
    let rules = match read_body(request, LONGEST_RULES) {
        Ok(rules) => rules,
        Err(error) => return json(out, 400, &json!({ "error": error.to_string() })),
    };
    let action = Action {
        kind: ActionKind::InvokeAgent,
        subject,
        agent: Some("ask-policy".to_owned()),
        caller: None,
        charge: None,
        resource: target.path().to_owned(),
        method: Some(method_name(&request.method()).to_owned()),
        imports: Vec::new(),
        sizes: ActionSizes {
            program: 0,
            input: rules.len() as u64,
            arguments: 0,
            argument_bytes: 0,
        },
    };
    let (status, answer) = in_words(policy::authorize(&rules, &action));
    json(out, status, &answer)
}

fn in_words(decided: Result<Decision, ErrorCode>) -> (u16, Value) {
    match decided {
        Ok(Decision::Allow) => (200, json!({ "decision": "allow" })),
        Ok(Decision::Deny(reason)) => (200, json!({ "decision": "deny", "reason": reason })),
        Err(ErrorCode::InvalidRules(message)) => {
            (422, json!({ "error": "invalid-rules", "message": message }))
        }
        Err(ErrorCode::InternalError(message)) => (
            500,
            json!({ "error": "internal-error", "message": message }),
        ),
    }
}

/// 32 bytes in hexadecimal.
fn digest(text: &str) -> Option<Vec<u8>> {
    if text.len() != 64 || !text.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    (0..64)
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::digest;

    #[test]
    fn a_digest_is_32_bytes_in_hexadecimal() {
        assert_eq!(digest(&"0fF0".repeat(16)).unwrap(), [0x0f, 0xf0].repeat(16));
        for text in ["", "0f", &"é".repeat(32), &"+f".repeat(32), &"0".repeat(66)] {
            assert!(digest(text).is_none(), "{text}");
        }
    }
}
