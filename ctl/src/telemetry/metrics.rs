//! What a host counts, as metrics of OTLP: sums and histograms since its start, and gauges. Names are those of the families.

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value;
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, Gauge, Histogram, HistogramDataPoint, Metric, NumberDataPoint,
    ResourceMetrics, ScopeMetrics, Sum,
};
use opentelemetry_proto::tonic::resource::v1::Resource;

use super::openmetrics::{Family, Kind, Sample};
use super::wire::{scope, text};

/// The gauge that says when the host started.
const STARTED: &str = "process_start_time_seconds";
/// The label of a bucket's upper end.
const BOUND: &str = "le";
/// Whole numbers up to here are exact.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// The message that exports them, read at a moment in nanoseconds of Unix time.
///
/// # Errors
/// When a histogram is none.
pub(super) fn export(
    resource: &Resource,
    families: Vec<Family>,
    now: u64,
) -> Result<ExportMetricsServiceRequest, String> {
    let started = families.iter().find(|family| family.name == STARTED);
    let started = started.and_then(|family| family.samples.first());
    // 0 is: nobody knows.
    let started = started.map_or(0, |sample| {
        whole(sample.value).saturating_mul(1_000_000_000)
    });
    let times = Times {
        start: started,
        now,
    };
    let metrics = families.into_iter().map(|family| metric(family, times));
    let metrics: Vec<Metric> = metrics.collect::<Result<_, String>>()?;
    Ok(ExportMetricsServiceRequest {
        resource_metrics: vec![ResourceMetrics {
            resource: Some(resource.clone()),
            scope_metrics: vec![ScopeMetrics {
                scope: Some(scope()),
                metrics,
                ..ScopeMetrics::default()
            }],
            ..ResourceMetrics::default()
        }],
    })
}

#[derive(Debug, Clone, Copy)]
struct Times {
    start: u64,
    now: u64,
}

fn metric(family: Family, times: Times) -> Result<Metric, String> {
    let unit = match family.name.rsplit('_').next() {
        Some("seconds") => "s",
        Some("bytes") => "By",
        _ => "",
    };
    let cumulative = AggregationTemporality::Cumulative.into();
    let data = match family.kind {
        Kind::Counter => Data::Sum(Sum {
            data_points: family.samples.iter().map(|it| point(it, times)).collect(),
            aggregation_temporality: cumulative,
            is_monotonic: true,
        }),
        Kind::Gauge => {
            let at_once = Times { start: 0, ..times };
            let points = family.samples.iter().map(|it| point(it, at_once));
            Data::Gauge(Gauge {
                data_points: points.collect(),
            })
        }
        Kind::Histogram => Data::Histogram(Histogram {
            data_points: histograms(&family.samples, times)
                .ok_or_else(|| format!("the histogram {} does not add up", family.name))?,
            aggregation_temporality: cumulative,
        }),
    };
    Ok(Metric {
        name: family.name,
        description: family.help,
        unit: unit.to_owned(),
        data: Some(data),
        ..Metric::default()
    })
}

fn point(sample: &Sample, times: Times) -> NumberDataPoint {
    let is_whole = sample.value.fract() == 0.0 && sample.value.abs() < EXACT;
    let value = match i64::try_from(whole(sample.value)) {
        Ok(value) if is_whole && sample.value >= 0.0 => Value::AsInt(value),
        _ => Value::AsDouble(sample.value),
    };
    NumberDataPoint {
        attributes: attributes(sample),
        start_time_unix_nano: times.start,
        time_unix_nano: times.now,
        value: Some(value),
        ..NumberDataPoint::default()
    }
}

/// All but the end of a bucket.
fn attributes(sample: &Sample) -> Vec<KeyValue> {
    let labels = sample.labels.iter().filter(|(name, _)| name != BOUND);
    labels.map(|(name, value)| text(name, value)).collect()
}

/// One of each set of labels. Their samples follow each other, buckets from the lowest up.
fn histograms(samples: &[Sample], times: Times) -> Option<Vec<HistogramDataPoint>> {
    let mut points: Vec<HistogramDataPoint> = Vec::new();
    for sample in samples {
        let attributes = attributes(sample);
        if points.last().is_none_or(|it| it.attributes != attributes) {
            points.push(HistogramDataPoint {
                attributes,
                start_time_unix_nano: times.start,
                time_unix_nano: times.now,
                ..HistogramDataPoint::default()
            });
        }
        let point = points.last_mut()?;
        match sample.suffix {
            "_sum" => point.sum = Some(sample.value),
            "_count" => point.count = whole(sample.value),
            _ => {
                let (_, bound) = sample.labels.iter().find(|(name, _)| name == BOUND)?;
                // A bucket counts those below it too.
                let below: u64 = point.bucket_counts.iter().sum();
                point
                    .bucket_counts
                    .push(whole(sample.value).checked_sub(below)?);
                if bound != "+Inf" {
                    point.explicit_bounds.push(bound.parse().ok()?);
                }
            }
        }
    }
    let adds_up = |point: &HistogramDataPoint| {
        let bounds = point.explicit_bounds.len();
        let is_rising = point.explicit_bounds.is_sorted_by(|a, b| a < b);
        is_rising
            && point.bucket_counts.len() == bounds.saturating_add(1)
            && point.bucket_counts.iter().sum::<u64>() == point.count
    };
    points.iter().all(adds_up).then_some(points)
}

/// Counts are written as whole numbers.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "what is out of range becomes the nearest that is in it"
)]
fn whole(value: f64) -> u64 {
    value as u64
}

#[cfg(test)]
mod tests {
    use super::super::openmetrics;
    use super::*;

    fn metrics(text: &str) -> Result<Vec<Metric>, String> {
        let families = openmetrics::read(text).unwrap();
        let message = export(&Resource::default(), families, 9)?;
        Ok(message.resource_metrics[0].scope_metrics[0].metrics.clone())
    }

    const STEPS: &str = "# TYPE step_seconds histogram
step_seconds_sum{step=\"run\"} 1.5
step_seconds_count{step=\"run\"} 4
step_seconds_bucket{le=\"0.1\",step=\"run\"} 1
step_seconds_bucket{le=\"1.0\",step=\"run\"} 3
step_seconds_bucket{le=\"+Inf\",step=\"run\"} 4
step_seconds_sum{step=\"seal\"} 0.0
step_seconds_count{step=\"seal\"} 0
step_seconds_bucket{le=\"+Inf\",step=\"seal\"} 0
# EOF
";

    #[test]
    fn counters_are_sums_since_the_start_and_gauges_have_none() {
        let metrics = metrics(
            "# TYPE process_start_time_seconds gauge
process_start_time_seconds 7
# HELP requests Requests.
# TYPE requests counter
requests_total{kind=\"a\"} 3
# EOF
",
        )
        .unwrap();
        let Some(Data::Gauge(gauge)) = &metrics[0].data else {
            panic!("{metrics:?}");
        };
        assert_eq!(gauge.data_points[0].start_time_unix_nano, 0);
        assert_eq!(metrics[0].unit, "s");
        assert_eq!(
            (&*metrics[1].name, &*metrics[1].description),
            ("requests", "Requests.")
        );
        let Some(Data::Sum(sum)) = &metrics[1].data else {
            panic!("{metrics:?}");
        };
        assert!(sum.is_monotonic);
        assert_eq!(
            sum.aggregation_temporality(),
            AggregationTemporality::Cumulative
        );
        let point = &sum.data_points[0];
        assert_eq!(point.value, Some(Value::AsInt(3)));
        assert_eq!(point.attributes, [text("kind", "a")]);
        assert_eq!(
            (point.start_time_unix_nano, point.time_unix_nano),
            (7_000_000_000, 9)
        );
    }

    #[test]
    fn buckets_count_what_is_in_them_alone() {
        let metrics = metrics(STEPS).unwrap();
        let Some(Data::Histogram(histogram)) = &metrics[0].data else {
            panic!("{metrics:?}");
        };
        let [run, seal] = &histogram.data_points[..] else {
            panic!("{histogram:?}");
        };
        assert_eq!(run.bucket_counts, [1, 2, 1]);
        assert_eq!(run.explicit_bounds, [0.1, 1.0]);
        assert_eq!((run.count, run.sum), (4, Some(1.5)));
        assert_eq!(run.attributes, [text("step", "run")]);
        assert_eq!((seal.count, &seal.bucket_counts[..]), (0, &[0][..]));
    }

    #[test]
    fn a_histogram_that_does_not_add_up_is_refused() {
        for (from, to) in [
            ("1.0\",step=\"run\"} 3", "1.0\",step=\"run\"} 0"),
            ("+Inf\",step=\"run\"} 4", "+Inf\",step=\"run\"} 5"),
            ("le=\"1.0\"", "le=\"0.01\""),
            ("le=\"1.0\"", "le=\"x\""),
            ("le=\"0.1\",", ""),
        ] {
            let error = metrics(&STEPS.replacen(from, to, 1)).unwrap_err();
            assert!(error.contains("step_seconds"), "{from}: {error}");
        }
    }
}
