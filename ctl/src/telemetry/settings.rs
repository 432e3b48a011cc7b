//! What the variables of OpenTelemetry say. Those that say what this exporter does not do are refused: silence would look like success.

use std::fmt::Display;
use std::path::PathBuf;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry_sdk::trace::Sampler;
use percent_encoding::percent_decode_str;
use url::Url;

use super::sampling::Sampling;
use crate::error::Error;

/// What `service.name` is where nobody says it.
const SERVICE: &str = "hypervisor";
/// Where a collector listens on this machine.
const ENDPOINT: &str = "http://localhost:4318";
const TIMEOUT: Duration = Duration::from_secs(10);
const METRIC_INTERVAL: Duration = Duration::from_secs(60);
/// Shorter than the specification's five seconds: the host keeps a bounded number of requests.
const SPAN_DELAY: Duration = Duration::from_secs(1);
/// The longest time that a variable may name.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// What to export, how often, and where to.
pub struct Settings {
    /// None where spans are not exported.
    pub(super) traces: Option<Target>,
    /// None where metrics are not exported.
    pub(super) metrics: Option<Target>,
    /// Time between two looks for spans.
    pub(super) span_delay: Duration,
    /// Time between two exports of metrics.
    pub(super) metric_interval: Duration,
    pub(super) sampling: Sampling,
    /// Attributes of the resource, `service.name` among them.
    pub(super) resource: Vec<(String, String)>,
}

/// Where one kind of data goes. Its header fields may be keys.
pub(super) struct Target {
    pub(super) url: Url,
    pub(super) headers: HeaderMap,
    pub(super) timeout: Duration,
    /// Certificates, PEM, that sign the collector's; none for those that this machine trusts.
    pub(super) ca: Option<PathBuf>,
    /// The exporter's own certificate and its key, PEM.
    pub(super) identity: Option<(PathBuf, PathBuf)>,
}

/// The value of a variable; one that is empty is none.
struct Variables<'a>(&'a dyn Fn(&str) -> Option<String>);

impl Settings {
    /// Reads them from what gives the values of variables.
    ///
    /// # Errors
    /// [`Error::Telemetry`], which names the variable and what it may be.
    pub fn read(variable: &dyn Fn(&str) -> Option<String>) -> Result<Self, Error> {
        let variables = Variables(variable);
        let is_on = !variables.is_true("OTEL_SDK_DISABLED");
        Ok(Self {
            traces: variables.target(is_on, "TRACES", "v1/traces")?,
            metrics: variables.target(is_on, "METRICS", "v1/metrics")?,
            span_delay: variables.milliseconds("OTEL_BSP_SCHEDULE_DELAY", SPAN_DELAY)?,
            metric_interval: variables
                .milliseconds("OTEL_METRIC_EXPORT_INTERVAL", METRIC_INTERVAL)?,
            sampling: variables.sampling()?,
            resource: variables.resource()?,
        })
    }

    /// Whether there is nothing to export.
    pub fn is_idle(&self) -> bool {
        self.traces.is_none() && self.metrics.is_none()
    }
}

impl Variables<'_> {
    fn get(&self, name: &str) -> Option<String> {
        let value = (self.0)(name)?.trim().to_owned();
        (!value.is_empty()).then_some(value)
    }

    fn is_true(&self, name: &str) -> bool {
        self.get(name)
            .is_some_and(|value| value.eq_ignore_ascii_case("true"))
    }

    /// That of one kind of data, or of both; with the name of the variable that says it.
    fn of(&self, signal: &str, what: &str) -> Option<(String, String)> {
        let names = [
            format!("OTEL_EXPORTER_OTLP_{signal}_{what}"),
            format!("OTEL_EXPORTER_OTLP_{what}"),
        ];
        names
            .into_iter()
            .find_map(|name| self.get(&name).map(|value| (name, value)))
    }

    fn target(&self, is_on: bool, signal: &str, path: &str) -> Result<Option<Target>, Error> {
        let exporter = format!("OTEL_{signal}_EXPORTER");
        match self.get(&exporter).as_deref() {
            None | Some("otlp") => {}
            Some("none") => return Ok(None),
            Some(other) => return Err(wrong(&exporter, other, &"otlp or none")),
        }
        if !is_on {
            return Ok(None);
        }
        if let Some((name, other)) = self.of(signal, "PROTOCOL")
            && other != "http/protobuf"
        {
            return Err(wrong(
                &name,
                &other,
                &"http/protobuf, and neither grpc nor http/json",
            ));
        }
        if let Some((name, other)) = self.of(signal, "COMPRESSION")
            && other != "none"
        {
            return Err(wrong(&name, &other, &"none: nothing is compressed"));
        }
        let timeout = match self.of(signal, "TIMEOUT") {
            Some((name, _)) => self.milliseconds(&name, TIMEOUT)?,
            None => TIMEOUT,
        };
        let file = |what| self.of(signal, what).map(|(_, path)| PathBuf::from(path));
        let (certificate, key) = (file("CLIENT_CERTIFICATE"), file("CLIENT_KEY"));
        if certificate.is_some() != key.is_some() {
            let words = "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE and OTEL_EXPORTER_OTLP_CLIENT_KEY go together";
            return Err(Error::Telemetry(words.to_owned()));
        }
        Ok(Some(Target {
            url: self.url(signal, path)?,
            headers: self.headers(signal)?,
            timeout,
            ca: file("CERTIFICATE"),
            identity: certificate.zip(key),
        }))
    }

    /// The endpoint of one kind of data is taken as it is; to that of both its path is added.
    fn url(&self, signal: &str, path: &str) -> Result<Url, Error> {
        let own = format!("OTEL_EXPORTER_OTLP_{signal}_ENDPOINT");
        let both = "OTEL_EXPORTER_OTLP_ENDPOINT";
        let (name, text) = match (self.get(&own), self.get(both)) {
            (Some(text), _) => (own.as_str(), text),
            (None, base) => {
                let base = base.unwrap_or_else(|| ENDPOINT.to_owned());
                (both, format!("{}/{path}", base.trim_end_matches('/')))
            }
        };
        let refused = |_| wrong(name, &text, &"http://HOST:PORT or https://HOST:PORT");
        let url = Url::parse(&text).map_err(|e| refused(e.to_string()))?;
        match (url.scheme(), url.host()) {
            ("http" | "https", Some(_)) => Ok(url),
            _ => Err(refused(String::new())),
        }
    }

    /// Their values may be keys, and are in no message.
    fn headers(&self, signal: &str) -> Result<HeaderMap, Error> {
        let Some((name, text)) = self.of(signal, "HEADERS") else {
            return Ok(HeaderMap::new());
        };
        let refused = || {
            Error::Telemetry(format!(
                "{name}: write it as NAME=VALUE,NAME=VALUE, with what is special in a value percent-encoded"
            ))
        };
        let mut headers = HeaderMap::new();
        for (name, value) in list(&text).ok_or_else(refused)? {
            let name = HeaderName::try_from(name).map_err(|_| refused())?;
            let mut value = HeaderValue::try_from(value).map_err(|_| refused())?;
            value.set_sensitive(true);
            headers.insert(name, value);
        }
        Ok(headers)
    }

    fn milliseconds(&self, name: &str, otherwise: Duration) -> Result<Duration, Error> {
        let Some(text) = self.get(name) else {
            return Ok(otherwise);
        };
        let time = text.parse().map(Duration::from_millis).ok();
        time.filter(|time| !time.is_zero() && *time <= LONGEST)
            .ok_or_else(|| wrong(name, &text, &"milliseconds, a day at the most"))
    }

    fn sampling(&self) -> Result<Sampling, Error> {
        const NAME: &str = "OTEL_TRACES_SAMPLER";
        let text = self.get(NAME);
        let text = text.as_deref().unwrap_or("parentbased_always_on");
        let (keeps_parents, root) = match text.strip_prefix("parentbased_") {
            Some(root) => (true, root),
            None => (false, text),
        };
        let sampler = match root {
            "always_on" => Sampler::AlwaysOn,
            "always_off" => Sampler::AlwaysOff,
            "traceidratio" => Sampler::TraceIdRatioBased(self.ratio()?),
            _ => {
                let words = "always_on, always_off or traceidratio, also behind parentbased_";
                return Err(wrong(NAME, text, &words));
            }
        };
        Ok(Sampling {
            keeps_parents,
            sampler,
        })
    }

    fn ratio(&self) -> Result<f64, Error> {
        const NAME: &str = "OTEL_TRACES_SAMPLER_ARG";
        let Some(text) = self.get(NAME) else {
            return Ok(1.0);
        };
        let ratio = text.parse().ok();
        ratio
            .filter(|ratio| (0.0..=1.0).contains(ratio))
            .ok_or_else(|| wrong(NAME, &text, &"a number from 0 to 1"))
    }

    fn resource(&self) -> Result<Vec<(String, String)>, Error> {
        const NAME: &str = "OTEL_RESOURCE_ATTRIBUTES";
        const SERVICE_NAME: &str = "service.name";
        let text = self.get(NAME).unwrap_or_default();
        let attributes = list(&text).ok_or_else(|| wrong(NAME, &text, &"NAME=VALUE,NAME=VALUE"))?;
        let mut attributes: Vec<(String, String)> = attributes;
        let service = self.get("OTEL_SERVICE_NAME");
        let is_named = attributes.iter().any(|(name, _)| name == SERVICE_NAME);
        if service.is_some() || !is_named {
            attributes.retain(|(name, _)| name != SERVICE_NAME);
            let service = service.unwrap_or_else(|| SERVICE.to_owned());
            attributes.insert(0, (SERVICE_NAME.to_owned(), service));
        }
        Ok(attributes)
    }
}

/// `NAME=VALUE,NAME=VALUE`, as W3C Baggage writes it.
fn list(text: &str) -> Option<Vec<(String, String)>> {
    let members = text.split(',').map(str::trim);
    let pair = |member: &str| {
        let (name, value) = member.split_once('=')?;
        let name = name.trim();
        let value = percent_decode_str(value.trim()).decode_utf8().ok()?;
        (!name.is_empty()).then(|| (name.to_owned(), value.into_owned()))
    };
    members
        .filter(|member| !member.is_empty())
        .map(pair)
        .collect()
}

fn wrong(name: &str, value: &str, may: &dyn Display) -> Error {
    Error::Telemetry(format!("{name} is `{value}`; it may be {may}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Settings, String> {
        let value = |name: &str| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        Settings::read(&value).map_err(|error| error.to_string())
    }

    fn urls(variables: &[(&str, &str)]) -> [Option<String>; 2] {
        let settings = read(variables).unwrap();
        [settings.traces, settings.metrics].map(|it| it.map(|it| it.url.to_string()))
    }

    fn both(traces: &str, metrics: &str) -> [Option<String>; 2] {
        [Some(traces.to_owned()), Some(metrics.to_owned())]
    }

    #[test]
    fn without_a_word_it_exports_both_to_a_collector_on_this_machine() {
        let own = "http://localhost:4318/v1";
        let defaults = both(&format!("{own}/traces"), &format!("{own}/metrics"));
        assert_eq!(urls(&[]), defaults);
        assert_eq!(urls(&[("OTEL_EXPORTER_OTLP_ENDPOINT", " ")]), defaults);
        let settings = read(&[]).unwrap();
        assert_eq!(
            settings.resource,
            [("service.name".to_owned(), "hypervisor".to_owned())]
        );
        assert_eq!(settings.metric_interval, Duration::from_secs(60));
        assert!(!settings.is_idle());
    }

    #[test]
    fn an_endpoint_for_both_gets_paths_and_one_of_its_own_is_taken_as_it_is() {
        let base = ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://c.example/otlp/");
        assert_eq!(
            urls(&[base]),
            both(
                "https://c.example/otlp/v1/traces",
                "https://c.example/otlp/v1/metrics"
            )
        );
        let own = (
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
            "http://t.example:1/in",
        );
        assert_eq!(
            urls(&[base, own]),
            both("http://t.example:1/in", "https://c.example/otlp/v1/metrics")
        );
    }

    #[test]
    fn what_is_switched_off_is_not_exported() {
        assert!(read(&[("OTEL_SDK_DISABLED", "TRUE")]).unwrap().is_idle());
        let settings = read(&[("OTEL_TRACES_EXPORTER", "none")]).unwrap();
        assert!(settings.traces.is_none() && settings.metrics.is_some());
    }

    #[test]
    fn what_this_exporter_does_not_do_is_refused_by_its_name() {
        for (name, value) in [
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
            ("OTEL_EXPORTER_OTLP_METRICS_PROTOCOL", "http/json"),
            ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip"),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "c.example:4318"),
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "ftp://c.example"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "10s"),
            ("OTEL_METRIC_EXPORT_INTERVAL", "0"),
            ("OTEL_BSP_SCHEDULE_DELAY", "99999999999"),
            ("OTEL_TRACES_EXPORTER", "zipkin"),
            ("OTEL_METRICS_EXPORTER", "prometheus"),
            ("OTEL_TRACES_SAMPLER", "jaeger_remote"),
            ("OTEL_RESOURCE_ATTRIBUTES", "no pair"),
        ] {
            let error = read(&[(name, value)]).err().unwrap();
            assert!(error.contains(name), "{error}");
        }
        let ratio = [
            ("OTEL_TRACES_SAMPLER", "traceidratio"),
            ("OTEL_TRACES_SAMPLER_ARG", "2"),
        ];
        assert!(read(&ratio).is_err());
        let half = [("OTEL_EXPORTER_OTLP_CLIENT_KEY", "key.pem")];
        assert!(read(&half).is_err());
    }

    #[test]
    fn header_fields_are_decoded_and_are_in_no_message() {
        let name = "OTEL_EXPORTER_OTLP_HEADERS";
        let settings = read(&[(name, "api-key=a%20b%2Cc, x=1")]).unwrap();
        let headers = settings.traces.unwrap().headers;
        assert_eq!(
            (&headers["api-key"], &headers["x"]),
            (&"a b,c".parse().unwrap(), &"1".parse().unwrap())
        );
        assert!(headers["api-key"].is_sensitive());
        let error = read(&[(name, "api key=secret")]).err().unwrap();
        assert!(error.contains(name) && !error.contains("secret"), "{error}");
    }

    #[test]
    fn the_name_of_the_service_goes_before_that_among_the_attributes() {
        let attributes = (
            "OTEL_RESOURCE_ATTRIBUTES",
            "service.name=a,deployment.environment.name=test%3D1",
        );
        let resource = |variables: &[(&str, &str)]| {
            let resource = read(variables).unwrap().resource;
            let pairs = resource
                .iter()
                .map(|(name, value)| format!("{name}={value}"));
            pairs.collect::<Vec<String>>()
        };
        assert_eq!(
            resource(&[attributes]),
            ["service.name=a", "deployment.environment.name=test=1"]
        );
        assert_eq!(
            resource(&[attributes, ("OTEL_SERVICE_NAME", "b")]),
            ["service.name=b", "deployment.environment.name=test=1"]
        );
    }

    proptest::proptest! {
        #[test]
        fn arbitrary_lists_are_read_or_refused(text in "\\PC*") {
            let _ = list(&text);
        }
    }
}
