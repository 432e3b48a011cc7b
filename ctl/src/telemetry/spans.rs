//! Requests as spans: one for a request, of the kind that servers have, and one below it for each step.

use hypervisor::admin::{Recent, Stepped, Traced};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use sha2::{Digest, Sha256};

use super::wire::{count, scope, text};

/// The lowest byte is that of `traceparent`: sampled. The others: whether the parent is of another process, and that this is known.
const SAMPLED: u32 = 0x1;
const PARENT_IS_KNOWN: u32 = 0x100;
const PARENT_IS_REMOTE: u32 = 0x200;

/// The message that exports them.
pub(super) fn export(resource: &Resource, spans: Vec<Span>) -> ExportTraceServiceRequest {
    ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans {
            resource: Some(resource.clone()),
            scope_spans: vec![ScopeSpans {
                scope: Some(scope()),
                spans,
                ..ScopeSpans::default()
            }],
            ..ResourceSpans::default()
        }],
    }
}

/// The spans of a request: its own first.
pub(super) fn of(request: &Traced) -> Vec<Span> {
    let steps = (0_u64..).zip(&request.steps);
    let steps = steps.map(|(place, step)| of_step(request, place, step));
    std::iter::once(of_request(request)).chain(steps).collect()
}

fn of_request(request: &Traced) -> Span {
    let name = match &request.route {
        Some(route) => format!("{} {route}", request.method),
        None => request.method.to_string(),
    };
    let parent = request.parent_span_id;
    let is_remote = if parent.is_some() {
        PARENT_IS_REMOTE
    } else {
        0
    };
    // What clients do wrong is no fault of the server's.
    let code = match request.status {
        Some(status) if status < 500 => StatusCode::Unset,
        Some(_) | None => StatusCode::Error,
    };
    Span {
        parent_span_id: parent.map(|it| it.0.to_vec()).unwrap_or_default(),
        flags: SAMPLED | PARENT_IS_KNOWN | is_remote,
        kind: SpanKind::Server.into(),
        attributes: attributes(request),
        status: Some(Status {
            code: code.into(),
            ..Status::default()
        }),
        ..span(request, request.span_id.0, name, (0, request.took_us))
    }
}

fn attributes(request: &Traced) -> Vec<KeyValue> {
    let id = request.request_id.to_string();
    let mut all = vec![
        text("http.request.method", &request.method),
        text("hypervisor.request_id", &id),
    ];
    if let Some(route) = &request.route {
        all.push(text("http.route", route));
    }
    match request.status {
        Some(status) => all.push(count("http.response.status_code", status.into())),
        None => all.push(text("error.type", "broken-off")),
    }
    if let Some(problem) = &request.problem {
        all.push(text("error.type", problem));
    }
    if let Some(sealed) = &request.sealed {
        let Recent {
            at: _,
            kind,
            outcome,
            received_bytes,
            sent_bytes,
            cpu_us,
            wall_us,
            peak_memory_bytes,
        } = sealed;
        all.extend([
            text("hypervisor.kind", kind),
            text("hypervisor.outcome", outcome),
            count("hypervisor.received_bytes", *received_bytes),
            count("hypervisor.sent_bytes", *sent_bytes),
            count("hypervisor.cpu_us", *cpu_us),
            count("hypervisor.wall_us", *wall_us),
            count("hypervisor.peak_memory_bytes", *peak_memory_bytes),
        ]);
    }
    all
}

/// Its id follows from the request's, so that what is exported twice has the same.
fn of_step(request: &Traced, place: u64, step: &Stepped) -> Span {
    let mut hash = Sha256::new();
    hash.update(request.trace_id.0);
    hash.update(request.span_id.0);
    hash.update(place.to_be_bytes());
    let hash: [u8; 32] = hash.finalize().into();
    let [a, b, c, d, e, f, g, h, ..] = hash;
    let id = [a, b, c, d, e, f, g, h];
    let name = step.step.to_string();
    Span {
        parent_span_id: request.span_id.0.to_vec(),
        flags: SAMPLED | PARENT_IS_KNOWN,
        kind: SpanKind::Internal.into(),
        ..span(request, id, name, (step.after_us, step.took_us))
    }
}

/// `time`: when it began after the request had, and how long it took.
fn span(request: &Traced, id: [u8; 8], name: String, time: (u64, u64)) -> Span {
    let start = request.began_us.saturating_add(time.0);
    Span {
        trace_id: request.trace_id.0.to_vec(),
        span_id: id.to_vec(),
        name,
        start_time_unix_nano: start.saturating_mul(1_000),
        end_time_unix_nano: start.saturating_add(time.1).saturating_mul(1_000),
        ..Span::default()
    }
}

#[cfg(test)]
mod tests {
    use hypervisor_protocol::HexArray;

    use super::*;

    fn request() -> Traced {
        Traced {
            trace_id: HexArray([1; 16]),
            span_id: HexArray([2; 8]),
            method: "POST".into(),
            route: Some("/test/execute/wasm".into()),
            began_us: 1_000_000,
            took_us: 500,
            status: Some(200),
            steps: vec![
                Stepped {
                    step: "open".into(),
                    after_us: 10,
                    took_us: 20,
                },
                Stepped {
                    step: "run".into(),
                    after_us: 40,
                    took_us: 300,
                },
            ],
            ..Traced::default()
        }
    }

    #[test]
    fn steps_are_children_of_their_request_in_its_trace_and_its_time() {
        let spans = of(&request());
        let names: Vec<&str> = spans.iter().map(|it| it.name.as_str()).collect();
        assert_eq!(names, ["POST /test/execute/wasm", "open", "run"]);
        assert!(spans.iter().all(|it| it.trace_id == [1; 16]));
        assert!(spans[1..].iter().all(|it| it.parent_span_id == [2; 8]));
        assert_ne!(spans[1].span_id, spans[2].span_id);
        assert_eq!(of(&request()), spans, "ids are the same every time");
        let time = |span: &Span| (span.start_time_unix_nano, span.end_time_unix_nano);
        assert_eq!(time(&spans[0]), (1_000_000_000, 1_000_500_000));
        assert_eq!(time(&spans[2]), (1_000_040_000, 1_000_340_000));
    }

    #[test]
    fn a_request_is_a_servers_span_and_says_whose_child_it_is() {
        let root = &of(&request())[0];
        assert_eq!(root.kind, i32::from(SpanKind::Server));
        assert_eq!((root.flags, root.parent_span_id.len()), (0x101, 0));
        let called = Traced {
            parent_span_id: Some(HexArray([3; 8])),
            ..request()
        };
        let root = &of(&called)[0];
        assert_eq!((root.flags, &root.parent_span_id[..]), (0x301, &[3; 8][..]));
    }

    #[test]
    fn faults_of_the_host_are_errors_and_those_of_clients_are_not() {
        let code = |status| {
            let request = Traced {
                status,
                ..request()
            };
            of(&request)[0].status.clone().unwrap().code()
        };
        assert_eq!(code(Some(402)), StatusCode::Unset);
        assert_eq!(code(Some(503)), StatusCode::Error);
        assert_eq!(code(None), StatusCode::Error);
    }
}
