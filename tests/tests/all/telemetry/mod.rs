//! What of a host reaches a collector of OpenTelemetry and Prometheus, by the real ones; and what of it reaches nobody.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

mod rig;

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use hypervisor_client::Program;
use hypervisor_client::protocol::ContentFormat;
use hypervisor_tests::agents::owner;
use hypervisor_tests::host::binary;
use hypervisor_tests::programs::{guest, guest_file};
use hypervisor_tests::{Host, RawSession, eventually};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value as Number;
use opentelemetry_proto::tonic::metrics::v1::{AggregationTemporality, Metric};
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use reqwest::RequestBuilder;
use serde_json::Value;

use crate::agents::kit::{Destination, LOOPBACK, outgoing, through};
use crate::payments::kit::{Purchase, Shop};
use rig::{Collector, Exporter, Prometheus, Reserved, attribute, once};

const TRACES: &str = "[telemetry]\ntraces = true\n";
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const SPAN: &str = "00f067aa0ba902b7";
/// What must be nowhere but with the guest and its client.
const PLANTED: &str = "planted-7c3f";

fn bytes(hex: &str) -> Vec<u8> {
    const_hex::decode(hex).unwrap()
}

/// As somebody sends it who traces.
fn traced(request: RequestBuilder, flags: &str) -> RequestBuilder {
    request
        .header("traceparent", format!("00-{TRACE}-{SPAN}-{flags}"))
        .header("tracestate", format!("vendor={PLANTED}"))
        .header("baggage", format!("user={PLANTED}"))
}

/// A sealed run of `echo` with planted input, by somebody who traces.
async fn run_traced(host: &Host, flags: &str) {
    let raw = RawSession::open(host).await;
    let (request, _) = raw.request(
        &guest("echo"),
        Some(PLANTED.as_bytes()),
        &[PLANTED.as_bytes()],
    );
    let format = ContentFormat::Cbor;
    let url = format!("{}/test/execute/wasm", host.url());
    let request = reqwest::Client::new()
        .post(url)
        .header("content-type", format.media_type())
        .body(format.encode(&request).unwrap());
    let answer = traced(request, flags).send().await.unwrap();
    assert_eq!(answer.status(), 200);
}

/// What the host keeps.
async fn kept(host: &Host) -> Vec<Value> {
    let url = format!("{}/spans", host.admin());
    let answer = host.operator().get(url).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    let spans: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
    spans["requests"].as_array().unwrap().clone()
}

/// What the host keeps of a request with this route, which ends after its answer has begun.
async fn kept_of(host: &Host, route: &str) -> Value {
    eventually("the request is kept", async || {
        kept(host).await.into_iter().find(|it| it["route"] == route)
    })
    .await
}

#[tokio::test]
async fn a_sealed_run_is_a_span_in_its_callers_trace_with_its_steps_below_it() {
    let (host, collector) = (Host::with(TRACES), Collector::start().await);
    let exporter = Exporter::start(
        &host,
        &[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.url()),
            ("OTEL_SERVICE_NAME", "cell-7"),
            (
                "OTEL_RESOURCE_ATTRIBUTES",
                "deployment.environment.name=test",
            ),
        ],
    );
    run_traced(&host, "01").await;
    let spans = collector.trace(&bytes(TRACE), 6).await;

    let (roots, steps): (Vec<&Span>, Vec<&Span>) = spans
        .iter()
        .partition(|it| it.parent_span_id == bytes(SPAN));
    let [root] = roots[..] else {
        panic!("{spans:#?}");
    };
    assert_eq!(root.name, "POST /test/execute/wasm");
    assert_eq!(root.kind(), SpanKind::Server);
    for (name, value) in [
        ("http.request.method", "POST"),
        ("http.response.status_code", "200"),
        ("hypervisor.kind", "wasm"),
        ("hypervisor.outcome", "ok"),
    ] {
        let found = attribute(&root.attributes, name);
        assert_eq!(found.as_deref(), Some(value), "{name}");
    }
    let mut names: Vec<&str> = steps.iter().map(|it| it.name.as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["compile", "open", "queue", "run", "seal"]);
    for step in steps {
        assert_eq!(step.parent_span_id, root.span_id, "{}", step.name);
        assert!(step.start_time_unix_nano >= root.start_time_unix_nano);
        assert!(step.end_time_unix_nano <= root.end_time_unix_nano);
    }

    let passed_on = collector.traces();
    let resource = passed_on[0].resource_spans[0].resource.as_ref().unwrap();
    for (name, value) in [
        ("service.name", "cell-7"),
        ("deployment.environment.name", "test"),
    ] {
        let found = attribute(&resource.attributes, name);
        assert_eq!(found.as_deref(), Some(value), "{name}");
    }
    let all = format!("{passed_on:?}");
    assert!(!all.contains(PLANTED), "{all}");
    assert!(exporter.stop().await.success());
}

/// A sample as a host writes it: the metric's name and `_total`, its labels and its value.
fn samples(metric: &Metric) -> Vec<String> {
    let Some(Data::Sum(sum)) = &metric.data else {
        return Vec::new();
    };
    assert!(sum.is_monotonic);
    assert_eq!(
        sum.aggregation_temporality(),
        AggregationTemporality::Cumulative
    );
    let points = sum.data_points.iter().map(|point| {
        let labels = point.attributes.iter().map(|it| {
            let value = attribute(&point.attributes, &it.key).unwrap();
            format!("{}=\"{value}\"", it.key)
        });
        let labels: Vec<String> = labels.collect();
        let Some(Number::AsInt(value)) = point.value else {
            panic!("{point:?}");
        };
        format!("{}_total{{{}}} {value}", metric.name, labels.join(","))
    });
    points.collect()
}

#[tokio::test]
async fn metrics_arrive_with_the_names_and_values_of_a_scrape() {
    let (host, collector) = (Host::start(), Collector::start().await);
    let session = host.session().await;
    for _ in 0..3 {
        session
            .run_wasm(Program::new(&guest("hello")))
            .await
            .unwrap();
    }
    let done = once(
        &host,
        &[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.url()),
            ("OTEL_TRACES_EXPORTER", "none"),
        ],
    );
    assert!(done.status.success(), "{done:?}");
    let metrics = collector.first_metrics().await;
    let scrape = reqwest::get(format!("{}/metrics", host.admin()))
        .await
        .unwrap();
    let scrape = scrape.text().await.unwrap();

    let samples: Vec<String> = metrics.iter().flat_map(samples).collect();
    let ran = "hypervisor_sealed_requests_total{kind=\"wasm\",outcome=\"ok\"} 3";
    assert!(samples.iter().any(|it| it == ran), "{samples:#?}");
    for sample in &samples {
        assert!(scrape.lines().any(|line| line == sample), "{sample}");
    }
    let counters = scrape
        .lines()
        .filter(|line| line.contains("_total{"))
        .count();
    assert_eq!(samples.len(), counters);

    let named = |name: &str| metrics.iter().find(|it| it.name == name).unwrap();
    let Some(Data::Histogram(steps)) = &named("hypervisor_step_seconds").data else {
        panic!("no histogram");
    };
    let of_runs = |it: &&_| attribute(it, "step").as_deref() == Some("run");
    let runs = steps
        .data_points
        .iter()
        .find(|it| of_runs(&&it.attributes[..]));
    let runs = runs.unwrap();
    assert_eq!(runs.count, 3);
    assert_eq!(runs.bucket_counts.iter().sum::<u64>(), 3);
    assert_eq!(runs.explicit_bounds.len(), 15);
    assert!(runs.start_time_unix_nano > 0 && runs.start_time_unix_nano <= runs.time_unix_nano);
    let Some(Data::Gauge(ready)) = &named("hypervisor_ready").data else {
        panic!("no gauge");
    };
    assert!(ready.data_points[0].value.is_some());
}

#[tokio::test]
async fn prometheus_scrapes_a_host_and_answers_with_its_counters() {
    let host = Host::start();
    let session = host.session().await;
    for _ in 0..2 {
        session
            .run_wasm(Program::new(&guest("hello")))
            .await
            .unwrap();
    }
    let prometheus = Prometheus::of(&host).await;
    let ran = "hypervisor_sealed_requests_total{job='hypervisor',kind='wasm',outcome='ok'}";
    assert_eq!(prometheus.value(ran).await, "2");
    let quantile = "histogram_quantile(1, hypervisor_step_seconds_bucket{step='run'}) > bool 0";
    assert_eq!(prometheus.value(quantile).await, "1");
    assert_eq!(prometheus.value("up{job='hypervisor'}").await, "1");
}

#[tokio::test]
async fn a_host_keeps_no_spans_until_its_configuration_says_so() {
    let host = Host::start();
    run_traced(&host, "01").await;
    let asked = host.operator().get(format!("{}/spans", host.admin()));
    let answer = asked.send().await.unwrap();
    assert_eq!(answer.status(), 404);
    assert!(answer.text().await.unwrap().contains("[telemetry]"));
    let port = Reserved::new();
    let endpoint = format!("http://{}", port.address());
    let done = once(&host, &[("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint)]);
    assert_eq!(done.status.code(), Some(1));
    let words = String::from_utf8(done.stderr).unwrap();
    assert!(
        words.contains("set `traces = true` in [telemetry]"),
        "{words}"
    );
}

#[tokio::test]
async fn spans_are_for_the_operator_alone() {
    let host = Host::with(TRACES);
    let spans = |at: &str| reqwest::get(format!("{at}/spans"));
    assert_eq!(spans(&host.admin()).await.unwrap().status(), 401);
    assert_eq!(spans(host.url()).await.unwrap().status(), 404);
}

#[tokio::test]
async fn what_its_caller_does_not_sample_is_not_kept() {
    let host = Host::with(TRACES);
    run_traced(&host, "00").await;
    run_traced(&host, "01").await;
    let run = kept_of(&host, "/test/execute/wasm").await;
    assert_eq!(
        (&run["trace_id"], &run["parent_span_id"]),
        (&TRACE.into(), &SPAN.into())
    );
    let runs = kept(&host).await.into_iter();
    let runs = runs.filter(|it| it["route"] == "/test/execute/wasm");
    assert_eq!(runs.count(), 1);
}

#[tokio::test]
async fn a_request_without_a_good_parent_begins_a_trace_and_has_the_id_of_its_answer() {
    let host = Host::with(TRACES);
    let request = reqwest::Client::new().get(format!("{}/ping", host.url()));
    let request = request.header("traceparent", format!("ff-{TRACE}-{SPAN}-01"));
    let answer = request.send().await.unwrap();
    let ping = kept_of(&host, "/ping").await;
    assert_ne!(ping["trace_id"], TRACE);
    assert!(ping["parent_span_id"].is_null());
    assert_eq!(
        ping["request_id"],
        answer.headers()["x-request-id"].to_str().unwrap()
    );
}

#[tokio::test]
async fn a_refusal_is_kept_with_its_problem_and_nothing_that_was_sent() {
    let host = Host::with(TRACES);
    let http = reqwest::Client::new();
    let method = PLANTED.to_uppercase().parse().unwrap();
    let url = format!("{}/agents/{PLANTED}/{PLANTED}?q={PLANTED}", host.url());
    let request = http.request(method, url).header("x-planted", PLANTED);
    assert_eq!(request.body(PLANTED).send().await.unwrap().status(), 404);
    let refused = kept_of(&host, "/agents/{agent}/{path}").await;
    assert_eq!(refused["problem"], "agent-not-found");
    assert_eq!(
        (&refused["status"], &refused["method"]),
        (&404.into(), &"_OTHER".into())
    );
    let all = serde_json::to_string(&kept(&host).await).unwrap();
    assert!(!all.to_lowercase().contains(PLANTED), "{all}");
}

#[tokio::test]
async fn a_paid_run_is_one_span_with_its_settlement() {
    let shop = Shop::with(TRACES);
    let purchase = Purchase::of_echo(&shop.host, PLANTED).await;
    let payment = shop.payment(&purchase).await;
    let answer = purchase.pay(&payment).await;
    assert_eq!(answer.status, 200);
    let id = answer.headers["x-request-id"].to_str().unwrap();
    let paid = eventually("the paid run is kept", async || {
        let kept = kept(&shop.host).await;
        kept.into_iter().find(|it| it["request_id"] == id)
    })
    .await;
    let steps = paid["steps"].as_array().unwrap();
    let names: Vec<&str> = steps.iter().filter_map(|it| it["step"].as_str()).collect();
    for step in ["open", "queue", "run", "seal", "settle"] {
        assert!(names.contains(&step), "{step} in {names:?}");
    }
    assert_eq!(paid["sealed"]["outcome"], "ok");
    let payer = shop.chain.payer(0).address().to_string().to_lowercase();
    let all = serde_json::to_string(&paid).unwrap().to_lowercase();
    assert!(!all.contains(payer.trim_start_matches("0x")), "{all}");
}

#[tokio::test]
async fn no_guest_learns_of_traces_and_none_go_where_it_sends_requests() {
    let destination = Destination::start().await;
    let front = guest_file("http-echo");
    let host = Host::with(&format!(
        "[[protocols]]\nname = 'echo'\ncomponent = {front:?}\npaths = ['/info']\n{TRACES}{LOOPBACK}"
    ));
    host.deploy(&owner(), "http-echo", "http-echo", "").await;
    let http = reqwest::Client::new();
    for url in [
        host.agent("http-echo", "/info"),
        format!("{}/info", host.url()),
    ] {
        let request = traced(http.get(url), "01").header("x-seen", "1");
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), 200);
        let seen = answer.text().await.unwrap();
        assert!(seen.contains("x-seen"), "{seen}");
        for unseen in ["traceparent", "tracestate", "baggage", TRACE, PLANTED] {
            assert!(!seen.contains(unseen), "{unseen} in {seen}");
        }
    }

    let may = outgoing(&[destination.origin()]);
    host.deploy(&owner(), "chain", "chain", &may).await;
    let url = through(
        &host.agent("chain", "/"),
        &format!("{}/", destination.origin()),
    );
    let answer = traced(http.get(url), "01").send().await.unwrap();
    assert_eq!(answer.text().await.unwrap(), "arrived");
    let sent = format!("{:?}", destination.seen());
    for unsent in ["traceparent", "tracestate", "baggage", TRACE, PLANTED] {
        assert!(!sent.contains(unsent), "{unsent} in {sent}");
    }
}

#[tokio::test]
async fn what_ends_while_the_collector_is_away_arrives_when_it_is_back() {
    let (host, port) = (Host::with(TRACES), Reserved::new());
    let endpoint = format!("http://{}", port.address());
    run_traced(&host, "01").await;
    let exporter = Exporter::start(
        &host,
        &[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint),
            ("OTEL_BSP_SCHEDULE_DELAY", "50"),
            ("OTEL_METRICS_EXPORTER", "none"),
        ],
    );
    exporter.has_said("no answer").await;
    let collector = Collector::at(port).await;
    let spans = collector.trace(&bytes(TRACE), 6).await;
    let roots = spans.iter().filter(|it| it.kind() == SpanKind::Server);
    assert_eq!(roots.count(), 1);
    exporter.has_said("exporting again").await;
}

#[tokio::test]
async fn an_exporter_that_is_told_to_end_exports_what_came_last() {
    let (host, collector) = (Host::with(TRACES), Collector::start().await);
    let exporter = Exporter::start(
        &host,
        &[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.url()),
            ("OTEL_BSP_SCHEDULE_DELAY", "3600000"),
            ("OTEL_METRIC_EXPORT_INTERVAL", "3600000"),
        ],
    );
    // The first round is over.
    collector.first_metrics().await;
    run_traced(&host, "01").await;
    kept_of(&host, "/test/execute/wasm").await;
    assert!(exporter.stop().await.success());
    collector.trace(&bytes(TRACE), 6).await;
}

#[tokio::test]
async fn variables_that_say_what_is_not_done_are_refused() {
    let host = Host::start();
    for (name, value) in [
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip"),
    ] {
        let done = once(&host, &[(name, value)]);
        assert_eq!(done.status.code(), Some(1));
        let words = String::from_utf8(done.stderr).unwrap();
        assert!(words.contains(name) && words.contains(value), "{words}");
    }
    assert!(
        once(&host, &[("OTEL_SDK_DISABLED", "true")])
            .status
            .success()
    );
}

#[tokio::test]
async fn a_host_that_is_told_to_export_says_who_does() {
    let folder = tempfile::tempdir().unwrap();
    let mut host = Command::new(binary("hypervisor"))
        .args(["--listening", "127.0.0.1:0"])
        .current_dir(folder.path())
        .env_remove("RUST_LOG")
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(host.stderr.take().unwrap()).lines();
    let first = lines.next().unwrap().unwrap();
    host.kill().unwrap();
    host.wait().unwrap();
    assert!(
        first.contains("OTEL_") && first.contains("hypervisor-ctl telemetry"),
        "{first}"
    );
}
