//! Medians and percentiles.

use std::time::{Duration, Instant};

use serde::Serialize;

/// One value a round, summed up: the median and the range in which the rounds lie.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Spread {
    /// The middle one.
    pub median: f64,
    /// The least.
    pub min: f64,
    /// The most.
    pub max: f64,
}

impl Spread {
    /// Sums values up.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.into_iter().collect();
        Self {
            median: percentile(&mut values, 50.0),
            min: percentile(&mut values, 0.0),
            max: percentile(&mut values, 100.0),
        }
    }
}

/// The value below which `percent` of `values` lie, nearest rank; 0 for none. Sorts.
pub fn percentile(values: &mut [f64], percent: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let last = values.len().saturating_sub(1);
    let rank = (percent / 100.0 * last as f64).round() as usize;
    values.get(rank).copied().unwrap_or(0.0)
}

/// Microseconds.
pub fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

/// Median time of one call of `work` on each of `items`, microseconds.
pub fn median_micros<T>(items: impl IntoIterator<Item = T>, mut work: impl FnMut(T)) -> f64 {
    let mut times: Vec<f64> = items
        .into_iter()
        .map(|item| {
            let started = Instant::now();
            work(item);
            micros(started.elapsed())
        })
        .collect();
    percentile(&mut times, 50.0)
}

/// Time of one call, with its result.
pub fn timed<T>(work: impl FnOnce() -> T) -> (Duration, T) {
    let started = Instant::now();
    let result = work();
    (started.elapsed(), result)
}

/// How much `values` grow in one unit of `at`, by least squares; 0 where fewer than two points say so.
pub fn slope(points: &[(f64, f64)]) -> f64 {
    let count = points.len() as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / count;
    let (at, value) = (mean(|point| point.0), mean(|point| point.1));
    let (mut rise, mut run) = (0.0, 0.0);
    for point in points {
        rise += (point.0 - at) * (point.1 - value);
        run += (point.0 - at).powi(2);
    }
    match run > 0.0 {
        true => rise / run,
        false => 0.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_is_the_median_and_the_range() {
        let spread = Spread::of([3.0, 1.0, 2.0]);
        assert_eq!((spread.min, spread.median, spread.max), (1.0, 2.0, 3.0));
    }

    #[test]
    fn a_percentile_is_one_of_the_values() {
        let mut values: Vec<f64> = (0..=100).map(f64::from).collect();
        assert_eq!(percentile(&mut values, 99.0), 99.0);
        assert_eq!(percentile(&mut [], 99.0), 0.0);
    }

    #[test]
    fn a_slope_is_that_of_the_line_through_the_points() {
        assert_eq!(slope(&[(0.0, 1.0), (1.0, 3.0), (2.0, 5.0)]), 2.0);
        assert_eq!(slope(&[(0.0, 2.0), (1.0, 1.0), (2.0, 2.0)]), 0.0);
        assert_eq!(slope(&[(1.0, 1.0)]), 0.0);
        assert_eq!(slope(&[]), 0.0);
    }
}
