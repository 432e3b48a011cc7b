//! Counters and histograms of which every label value is known when the program is built: no label can come from outside, there are
//! as many series as are written here, and counting one is an addition that waits for nobody. The library writes them.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;

/// A family of counters, one for each value of a label, or for each pair of values of two.
pub(crate) struct Counters<const N: usize, const M: usize = 1> {
    name: &'static str,
    help: &'static str,
    labels: [&'static str; 2],
    values: ([&'static str; N], [&'static str; M]),
    counts: [[AtomicU64; M]; N],
}

impl<const N: usize> Counters<N> {
    /// `name` is without `_total`, which the library adds.
    pub(crate) const fn new(
        name: &'static str,
        help: &'static str,
        label: &'static str,
        values: [&'static str; N],
    ) -> Self {
        Self::of_two(name, help, [label, ""], (values, [""]))
    }

    /// Counts one of `value`; what is in no class counts as the last one.
    pub(crate) fn count(&self, value: &str) {
        self.count_both(value, "");
    }
}

impl<const N: usize, const M: usize> Counters<N, M> {
    pub(crate) const fn of_two(
        name: &'static str,
        help: &'static str,
        labels: [&'static str; 2],
        values: ([&'static str; N], [&'static str; M]),
    ) -> Self {
        Self {
            name,
            help,
            labels,
            values,
            counts: [const { [const { AtomicU64::new(0) }; M] }; N],
        }
    }

    pub(crate) fn count_both(&self, first: &str, second: &str) {
        let index = |values: &[&str], value: &str| {
            let found = values.iter().position(|known| *known == value);
            found.unwrap_or(values.len().saturating_sub(1))
        };
        let (row, column) = (index(&self.values.0, first), index(&self.values.1, second));
        if let Some(count) = self.counts.get(row).and_then(|row| row.get(column)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// What was counted, of all values.
    pub(crate) fn sum(&self) -> u64 {
        let counts = self.counts.iter().flatten();
        counts.map(|count| count.load(Ordering::Relaxed)).sum()
    }

    /// Whether a value has a counter of its own.
    #[cfg(test)]
    pub(crate) fn knows(&self, value: &str) -> bool {
        self.values.0.contains(&value)
    }

    pub(crate) fn encode(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let mut family =
            encoder.encode_descriptor(self.name, self.help, None, MetricType::Counter)?;
        let [one, two] = self.labels;
        for (first, row) in self.values.0.iter().zip(&self.counts) {
            for (second, count) in self.values.1.iter().zip(row) {
                let labels = [(one, *first), (two, *second)];
                let labels = labels.get(..if M > 1 { 2 } else { 1 }).unwrap_or_default();
                family
                    .encode_family(&labels)?
                    .encode_counter::<NoLabelSet, _, f64>(&count.load(Ordering::Relaxed), None)?;
            }
        }
        Ok(())
    }
}

/// Upper ends of the buckets, seconds: from what a sealed hello takes to the longest wait for a quote.
const BOUNDS: [f64; 15] = [
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 2.5, 10.0,
    60.0,
];

/// A family of histograms of durations, one for each value of a label.
pub(crate) struct Histograms<const N: usize> {
    name: &'static str,
    help: &'static str,
    label: &'static str,
    values: [&'static str; N],
    all: [Histogram; N],
}

struct Histogram {
    /// One more than there are bounds: what is over the last.
    buckets: [AtomicU64; BOUNDS.len() + 1],
    nanoseconds: AtomicU64,
}

/// What one histogram has at the moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Reading {
    buckets: [u64; BOUNDS.len() + 1],
    nanoseconds: u64,
}

impl<const N: usize> Histograms<N> {
    pub(crate) const fn new(
        name: &'static str,
        help: &'static str,
        label: &'static str,
        values: [&'static str; N],
    ) -> Self {
        Self {
            name,
            help,
            label,
            values,
            all: [const {
                Histogram {
                    buckets: [const { AtomicU64::new(0) }; BOUNDS.len() + 1],
                    nanoseconds: AtomicU64::new(0),
                }
            }; N],
        }
    }

    pub(crate) fn values(&self) -> [&'static str; N] {
        self.values
    }

    /// Notes that something of the value at this place took so long.
    pub(crate) fn observe(&self, place: usize, took: Duration) {
        let Some(histogram) = self.all.get(place) else {
            return;
        };
        let seconds = took.as_secs_f64();
        let bucket = BOUNDS.partition_point(|bound| *bound < seconds);
        if let Some(bucket) = histogram.buckets.get(bucket) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
        let nanoseconds = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        histogram
            .nanoseconds
            .fetch_add(nanoseconds, Ordering::Relaxed);
    }

    /// What there is of the value at this place.
    pub(crate) fn read(&self, place: usize) -> Reading {
        let Some(histogram) = self.all.get(place) else {
            return Reading::default();
        };
        Reading {
            buckets: histogram
                .buckets
                .each_ref()
                .map(|it| it.load(Ordering::Relaxed)),
            nanoseconds: histogram.nanoseconds.load(Ordering::Relaxed),
        }
    }

    pub(crate) fn encode(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let mut family =
            encoder.encode_descriptor(self.name, self.help, None, MetricType::Histogram)?;
        for (place, value) in self.values.iter().enumerate() {
            let reading = self.read(place);
            let bounds = BOUNDS.into_iter().chain([f64::INFINITY]);
            let buckets: Vec<(f64, u64)> = bounds.zip(reading.buckets).collect();
            family
                .encode_family(&[(self.label, *value)])?
                .encode_histogram::<NoLabelSet>(
                    reading.seconds(),
                    reading.count(),
                    &buckets,
                    None,
                )?;
        }
        Ok(())
    }
}

impl Reading {
    pub(crate) fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// Of all together.
    pub(crate) fn seconds(&self) -> f64 {
        Duration::from_nanos(self.nanoseconds).as_secs_f64()
    }

    /// What came since an earlier reading.
    pub(crate) fn since(&self, earlier: &Self) -> Self {
        let mut buckets = self.buckets;
        for (bucket, before) in buckets.iter_mut().zip(earlier.buckets) {
            *bucket = bucket.saturating_sub(before);
        }
        Self {
            buckets,
            nanoseconds: self.nanoseconds.saturating_sub(earlier.nanoseconds),
        }
    }

    /// The upper end, in microseconds, of the bucket that so many percent of the durations are not above; 0 of none, and the last
    /// bound where it is over that.
    pub(crate) fn at_most(&self, percent: u64) -> u64 {
        let wanted = self.count().saturating_mul(percent).div_ceil(100);
        let mut counted = 0_u64;
        let bounds = BOUNDS.into_iter().chain(BOUNDS.last().copied());
        for (bound, count) in bounds.zip(self.buckets) {
            counted = counted.saturating_add(count);
            if counted >= wanted && wanted > 0 {
                return u64::try_from(Duration::from_secs_f64(bound).as_micros())
                    .unwrap_or(u64::MAX);
            }
        }
        0
    }
}

/// Gauges of one name, which are read when they are asked for.
#[derive(Debug)]
pub struct Gauges {
    name: &'static str,
    help: &'static str,
    /// None for a gauge that has one value.
    label: Option<&'static str>,
    values: Vec<(&'static str, u64)>,
}

impl Gauges {
    /// A gauge that has one value.
    pub fn one(name: &'static str, help: &'static str, value: u64) -> Self {
        Self {
            name,
            help,
            label: None,
            values: vec![("", value)],
        }
    }

    /// One for each value of a label.
    pub fn of(
        name: &'static str,
        help: &'static str,
        label: &'static str,
        values: Vec<(&'static str, u64)>,
    ) -> Self {
        Self {
            name,
            help,
            label: Some(label),
            values,
        }
    }

    pub(crate) fn encode(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let mut family =
            encoder.encode_descriptor(self.name, self.help, None, MetricType::Gauge)?;
        for (name, value) in &self.values {
            match self.label {
                None => family.encode_gauge(value)?,
                Some(label) => {
                    let labels = [(label, *name)];
                    family.encode_family(&labels)?.encode_gauge(value)?;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::collector::Collector;
    use prometheus_client::encoding::text;
    use prometheus_client::registry::Registry;

    use super::*;

    type Encode = fn(&mut DescriptorEncoder<'_>) -> fmt::Result;

    struct All(Encode);

    impl fmt::Debug for All {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("All")
        }
    }

    impl Collector for All {
        fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
            (self.0)(&mut encoder)
        }
    }

    fn written(encode: Encode) -> Vec<String> {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(All(encode)));
        let mut out = String::new();
        text::encode(&mut out, &registry).unwrap();
        out.lines().map(str::to_owned).collect()
    }

    #[test]
    fn counters_are_written_with_their_labels_and_what_is_in_no_class_is_the_last() {
        static TEST: Counters<2> = Counters::new("test", "Help.", "kind", ["a", "other"]);
        TEST.count("a");
        TEST.count("something else");
        assert_eq!(TEST.sum(), 2);
        assert_eq!(
            written(|encoder| TEST.encode(encoder)),
            [
                "# HELP test Help.",
                "# TYPE test counter",
                "test_total{kind=\"a\"} 1",
                "test_total{kind=\"other\"} 1",
                "# EOF",
            ]
        );
    }

    #[test]
    fn pairs_of_labels_have_a_counter_each() {
        static TEST: Counters<2, 2> =
            Counters::of_two("test", "Help.", ["a", "b"], (["x", "y"], ["1", "2"]));
        TEST.count_both("y", "1");
        assert_eq!(
            written(|encoder| TEST.encode(encoder))[2..6],
            [
                "test_total{a=\"x\",b=\"1\"} 0",
                "test_total{a=\"x\",b=\"2\"} 0",
                "test_total{a=\"y\",b=\"1\"} 1",
                "test_total{a=\"y\",b=\"2\"} 0",
            ]
        );
    }

    #[test]
    fn durations_are_in_the_bucket_of_their_bound_and_in_the_sum() {
        static TEST: Histograms<2> = Histograms::new("test_seconds", "Help.", "step", ["a", "b"]);
        for took in [100, 101, 5_000, 61_000_000] {
            TEST.observe(1, Duration::from_micros(took));
        }
        TEST.observe(2, Duration::from_secs(1));
        let lines = written(|encoder| TEST.encode(encoder));
        for line in [
            "test_seconds_count{step=\"a\"} 0",
            "test_seconds_sum{step=\"b\"} 61.005201",
            "test_seconds_count{step=\"b\"} 4",
            "test_seconds_bucket{le=\"0.0001\",step=\"b\"} 1",
            "test_seconds_bucket{le=\"0.00025\",step=\"b\"} 2",
            "test_seconds_bucket{le=\"60.0\",step=\"b\"} 3",
            "test_seconds_bucket{le=\"+Inf\",step=\"b\"} 4",
        ] {
            assert!(lines.iter().any(|it| it == line), "{line} in {lines:#?}");
        }
    }

    #[test]
    fn what_most_took_is_the_end_of_a_bucket() {
        static TEST: Histograms<1> = Histograms::new("test_seconds", "Help.", "step", ["a"]);
        let none = TEST.read(0);
        assert_eq!((none.count(), none.at_most(50)), (0, 0));
        for took in [90, 90, 900, 99_000_000] {
            TEST.observe(0, Duration::from_micros(took));
        }
        let all = TEST.read(0);
        let shares = [50, 75, 100].map(|percent| all.at_most(percent));
        assert_eq!(shares, [100, 1_000, 60_000_000]);
        TEST.observe(0, Duration::from_micros(4_000));
        let new = TEST.read(0).since(&all);
        assert_eq!((new.count(), new.at_most(99)), (1, 5_000));
    }
}
