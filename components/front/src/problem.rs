//! What the host says where it refuses, in words; and requests that are worth repeating.

use serde_json::{Map, Value};

use crate::error::WebError;
use crate::json;
use crate::ports::{Answer, Asked, Ports};
use crate::words::words;

const PREFIX: &str = "urn:hypervisor:problem:";
/// How often a paid request is sent at most.
const TIMES: u32 = 5;
/// The longest wait between two, whatever the host asks for.
const LONGEST_WAIT_MS: u64 = 5_000;

/// The problem in an answer, where it has one.
pub fn of(answer: &Answer) -> Option<Map<String, Value>> {
    json::object(&answer.body)
        .ok()
        .filter(|problem| json::text(problem, "type").is_some_and(|it| it.starts_with(PREFIX)))
}

/// Whether the host does not know yet what became of a payment: the same request is to be sent again.
pub fn is_unsettled(answer: &Answer) -> bool {
    let open = ["settlement-unknown", "payment-unverified"];
    answer.status == 503 && open.iter().any(|name| is(answer, name))
}

/// How long to wait before an unsettled request is sent again, in milliseconds.
pub fn settling_wait(answer: &Answer) -> u64 {
    let seconds = retry_after(answer).unwrap_or(1);
    seconds.saturating_mul(1000).clamp(100, LONGEST_WAIT_MS)
}

/// Whether an answer is the problem of this name.
pub fn is(answer: &Answer, name: &str) -> bool {
    let kind = of(answer).and_then(|problem| json::text(&problem, "type").map(str::to_owned));
    kind.is_some_and(|kind| kind.strip_prefix(PREFIX) == Some(name))
}

/// A refusal in words: what kind it is, what happened, and when to try again.
pub fn refusal(answer: &Answer) -> String {
    let mut text = format!("the host refused with status {}", answer.status);
    if let Some(problem) = of(answer) {
        let kind = json::text(&problem, "type").unwrap_or_default();
        let kind = words(kind.trim_start_matches(PREFIX), 64);
        let detail = json::text(&problem, "detail").or_else(|| json::text(&problem, "title"));
        let detail = words(detail.unwrap_or_default(), 1000);
        text = format!("the host refused: {kind}: {detail}");
        if let (Some(limit), Some(used), Some(allowed)) = (
            json::text(&problem, "limit"),
            problem.get("used"),
            problem.get("allowed"),
        ) {
            let limit = words(limit, 64);
            text = format!("{text} (limit {limit}: {used} used of {allowed})");
        }
    }
    if let Some(seconds) = retry_after(answer) {
        text = format!("{text}; try again in {seconds} s");
    }
    text
}

/// After how many seconds the host says to try again.
pub fn retry_after(answer: &Answer) -> Option<u64> {
    answer.fields.first("retry-after")?.parse().ok()
}

/// Sends a request that is paid for, again and the same where the host does not know yet what became of the payment.
pub fn send_paid(ports: &impl Ports, asked: &Asked) -> Result<Answer, WebError> {
    let mut answer = ports.send(asked)?;
    for _ in 1..TIMES {
        if !is_unsettled(&answer) || !ports.pause(settling_wait(&answer)) {
            break;
        }
        answer = ports.send(asked)?;
    }
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::fields::Fields;
    use crate::world::World;

    fn problem(status: u16, name: &str) -> Answer {
        Answer {
            status,
            fields: Fields::of(&[("retry-after", "3")]),
            body: json!({"type": format!("{PREFIX}{name}"), "title": "t", "detail": "d\n"})
                .to_string()
                .into_bytes(),
            is_cut: false,
        }
    }

    #[test]
    fn a_refusal_is_told_by_its_kind_and_detail() {
        let answer = problem(503, "overloaded");
        assert!(is(&answer, "overloaded") && !is(&answer, "not-found"));
        let text = refusal(&answer);
        assert_eq!(text, "the host refused: overloaded: d ; try again in 3 s");
        let other = Answer {
            status: 500,
            body: b"secret".to_vec(),
            ..Answer::default()
        };
        assert_eq!(refusal(&other), "the host refused with status 500");
    }

    #[test]
    fn what_was_paid_is_asked_again_a_few_times() {
        let asked = Asked::host("POST", "/x402_execute/test/wasm".to_owned(), 1000);
        let world = World::answering(|_, _| problem(503, "settlement-unknown"));
        assert_eq!(send_paid(&world, &asked).unwrap().status, 503);
        assert_eq!(world.sent().len(), TIMES as usize);
        let world = World::answering(|_, times| match times {
            0 => problem(503, "payment-unverified"),
            _ => problem(200, "ok"),
        });
        assert_eq!(send_paid(&world, &asked).unwrap().status, 200);
        assert_eq!(world.sent().len(), 2);
        assert_eq!(world.sent().first(), world.sent().last());
        let world = World::answering(|_, _| problem(503, "overloaded"));
        let _ = send_paid(&world, &asked);
        assert_eq!(world.sent().len(), 1);
    }
}
