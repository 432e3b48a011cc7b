//! What hosts are exported to: a collector of OpenTelemetry that nobody here wrote, and what it passes on; and Prometheus.

use std::fs::File;
use std::io::{Seek, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::routing::post;
use hypervisor_tests::host::binary;
use hypervisor_tests::{Host, eventually};
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Attribute;
use opentelemetry_proto::tonic::metrics::v1::Metric;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use serde_json::Value;
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpSocket};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// A port that nobody else takes, for a program that cannot say which one it took.
pub(crate) struct Reserved(TcpSocket);

impl Reserved {
    pub(crate) fn new() -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_reuseaddr(true).unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        Self(socket)
    }

    pub(crate) fn address(&self) -> String {
        self.0.local_addr().unwrap().to_string()
    }
}

/// A collector, and all that it has passed on; ended when dropped.
pub(crate) struct Collector {
    child: Child,
    address: String,
    passed_on: PassedOn,
    _ports: [Reserved; 2],
    _folder: TempDir,
}

#[derive(Clone, Default)]
struct PassedOn {
    traces: Arc<Mutex<Vec<ExportTraceServiceRequest>>>,
    metrics: Arc<Mutex<Vec<ExportMetricsServiceRequest>>>,
}

impl Collector {
    pub(crate) async fn start() -> Self {
        Self::at(Reserved::new()).await
    }

    pub(crate) async fn at(port: Reserved) -> Self {
        let passed_on = PassedOn::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let to = format!("http://{}", listener.local_addr().unwrap());
        let routes = Router::new()
            .route("/v1/traces", post(traces))
            .route("/v1/metrics", post(metrics))
            .layer(DefaultBodyLimit::max(64 << 20))
            .with_state(passed_on.clone());
        tokio::spawn(axum::serve(listener, routes).into_future());

        let folder = TempDir::new().unwrap();
        let (address, grpc) = (port.address(), Reserved::new());
        let log = folder.path().join("log");
        let child = Command::new(format!("{ROOT}/tests/metrics/.venv/bin/rotel-agent"))
            .args(["start", "--exporter", "otlp"])
            .args(["--otlp-http-endpoint", &address])
            .args(["--otlp-grpc-endpoint", &grpc.address()])
            .args(["--otlp-exporter-endpoint", &to])
            .args(["--otlp-exporter-protocol", "http"])
            .arg("--pid-file")
            .arg(folder.path().join("pid"))
            .arg("--log-file")
            .arg(folder.path().join("agent-log"))
            .stdin(Stdio::null())
            .stdout(File::create(&log).unwrap())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|e| panic!("{e}; run scripts/setup-metrics.sh"));
        eventually("the collector listens", async || {
            tokio::net::TcpStream::connect(&address).await.ok()
        })
        .await;
        Self {
            child,
            address,
            passed_on,
            _ports: [port, grpc],
            _folder: folder,
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn traces(&self) -> Vec<ExportTraceServiceRequest> {
        self.passed_on.traces.lock().unwrap().clone()
    }

    pub(crate) fn metrics(&self) -> Vec<ExportMetricsServiceRequest> {
        self.passed_on.metrics.lock().unwrap().clone()
    }

    /// Every span so far.
    pub(crate) fn spans(&self) -> Vec<Span> {
        let traces = self.traces();
        let resources = traces.iter().flat_map(|it| &it.resource_spans);
        let scopes = resources.flat_map(|it| &it.scope_spans);
        scopes.flat_map(|it| it.spans.iter().cloned()).collect()
    }

    /// The spans of a trace, as soon as there are so many.
    pub(crate) async fn trace(&self, id: &[u8], spans: usize) -> Vec<Span> {
        eventually("the spans of the trace", async || {
            let all = self.spans().into_iter();
            let found: Vec<Span> = all.filter(|span| span.trace_id == id).collect();
            (found.len() >= spans).then_some(found)
        })
        .await
    }

    /// The metrics of the first export.
    pub(crate) async fn first_metrics(&self) -> Vec<Metric> {
        eventually("metrics", async || {
            let first = self.metrics().into_iter().next()?;
            let resources = first.resource_metrics.into_iter();
            let scopes = resources.flat_map(|it| it.scope_metrics);
            Some(scopes.flat_map(|it| it.metrics).collect())
        })
        .await
    }
}

async fn traces(State(passed_on): State<PassedOn>, body: Bytes) {
    let message = ExportTraceServiceRequest::decode(unpacked(&body)).unwrap();
    passed_on.traces.lock().unwrap().push(message);
}

async fn metrics(State(passed_on): State<PassedOn>, body: Bytes) {
    let message = ExportMetricsServiceRequest::decode(unpacked(&body)).unwrap();
    passed_on.metrics.lock().unwrap().push(message);
}

/// The collector passes everything on by gzip, whatever it is told.
fn unpacked(packed: &[u8]) -> Bytes {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(packed).unwrap();
    file.rewind().unwrap();
    let unpacked = Command::new("gzip")
        .arg("-dc")
        .stdin(file)
        .output()
        .unwrap();
    assert!(unpacked.status.success(), "{unpacked:?}");
    unpacked.stdout.into()
}

impl Drop for Collector {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An attribute, as text.
pub(crate) fn attribute(attributes: &[KeyValue], name: &str) -> Option<String> {
    let found = attributes.iter().find(|it| it.key == name)?;
    Some(match found.value.clone()?.value? {
        Attribute::StringValue(text) => text,
        Attribute::IntValue(number) => number.to_string(),
        other => panic!("{other:?}"),
    })
}

/// `hypervisor-ctl telemetry` for a host.
fn command(host: &Host, variables: &[(&str, &str)], arguments: &[&str]) -> Command {
    let mut command = Command::new(binary("hypervisor-ctl"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("OTEL_")) {
        command.env_remove(name);
    }
    command
        .arg("telemetry")
        .args(arguments)
        .args(["--admin", &host.admin()])
        .env("HYPERVISOR_ADMIN_TOKEN_FILE", host.admin_token())
        .envs(variables.iter().copied())
        .stdin(Stdio::null());
    command
}

/// Exports once.
pub(crate) fn once(host: &Host, variables: &[(&str, &str)]) -> Output {
    command(host, variables, &["--once"]).output().unwrap()
}

/// An exporter at work; ended when dropped.
pub(crate) struct Exporter {
    child: Child,
    log: PathBuf,
    _folder: TempDir,
}

impl Exporter {
    pub(crate) fn start(host: &Host, variables: &[(&str, &str)]) -> Self {
        let folder = TempDir::new().unwrap();
        let log = folder.path().join("log");
        let mut command = command(host, variables, &[]);
        let child = command.stderr(File::create(&log).unwrap()).spawn().unwrap();
        Self {
            child,
            log,
            _folder: folder,
        }
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    /// Waits until it has said this.
    pub(crate) async fn has_said(&self, words: &str) {
        eventually(words, async || self.log().contains(words).then_some(())).await;
    }

    /// Tells it to end, and waits until it has.
    pub(crate) async fn stop(mut self) -> ExitStatus {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        eventually("the exporter ends", async || self.child.try_wait().unwrap()).await
    }
}

impl Drop for Exporter {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Prometheus; ended when dropped.
pub(crate) struct Prometheus {
    child: Child,
    url: String,
    _folder: TempDir,
}

impl Prometheus {
    /// One that scrapes a host.
    pub(crate) async fn of(host: &Host) -> Self {
        let folder = TempDir::new().unwrap();
        let file = |name| folder.path().join(name);
        let target = host.admin();
        let target = target.strip_prefix("http://").unwrap();
        let token = host.admin_token();
        std::fs::write(
            file("prometheus.yml"),
            format!(
                "scrape_configs:\n- job_name: hypervisor\n  scrape_interval: 1s\n  authorization: {{ credentials_file: {token:?} }}\n  static_configs: [{{ targets: [{target:?}] }}]\n",
            ),
        )
        .unwrap();
        let program = Path::new(ROOT).join(".tools/prometheus/usr/bin/prometheus");
        let child = Command::new(program)
            .arg(format!(
                "--config.file={}",
                file("prometheus.yml").display()
            ))
            .arg(format!("--storage.tsdb.path={}", file("data").display()))
            .args(["--web.listen-address=127.0.0.1:0", "--log.format=json"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(file("log")).unwrap())
            .spawn()
            .unwrap_or_else(|e| panic!("{e}; run scripts/setup-metrics.sh"));
        let address = eventually("Prometheus listens", async || {
            let log = std::fs::read_to_string(file("log")).unwrap();
            let lines = log.lines().filter_map(|it| serde_json::from_str(it).ok());
            let listening = lines
                .into_iter()
                .find(|line: &Value| line["msg"] == "Listening on")?;
            listening["address"].as_str().map(str::to_owned)
        })
        .await;
        Self {
            child,
            url: format!("http://{address}"),
            _folder: folder,
        }
    }

    /// The value of the one series that answers a query, as soon as there is one.
    pub(crate) async fn value(&self, query: &str) -> String {
        let http = reqwest::Client::new();
        let url = format!("{}/api/v1/query", self.url);
        let url = reqwest::Url::parse_with_params(&url, [("query", query)]).unwrap();
        eventually(query, async || {
            let answer = http.get(url.clone()).send().await.ok()?.text().await.ok()?;
            let answer: Value = serde_json::from_str(&answer).ok()?;
            let series = answer["data"]["result"].as_array()?;
            let [series] = &series[..] else { return None };
            series["value"][1].as_str().map(str::to_owned)
        })
        .await
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
