//! Quantiles of many measurements, and medians of runs.

use std::time::Duration;

use serde::Serialize;

/// Latencies in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Latency {
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    pub(crate) max: f64,
}

impl Latency {
    /// Of all that was measured; zeros where nothing was.
    pub(crate) fn of(mut measured: Vec<Duration>) -> Self {
        measured.sort_unstable();
        let at = |percent| quantile(&measured, percent).map_or(0.0, microseconds);
        Self {
            p50: at(50),
            p99: at(99),
            max: at(100),
        }
    }

    /// The median of each field.
    pub(crate) fn median(runs: &[Self]) -> Self {
        Self {
            p50: median(runs.iter().map(|run| run.p50)),
            p99: median(runs.iter().map(|run| run.p99)),
            max: median(runs.iter().map(|run| run.max)),
        }
    }
}

/// The value in the middle, or between the two in the middle; zero where there is none.
pub(crate) fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<_> = values.into_iter().collect();
    values.sort_unstable_by(f64::total_cmp);
    let upper = values.get(values.len() / 2).copied().unwrap_or_default();
    let lower = values.get(values.len().saturating_sub(1) / 2).copied();
    f64::midpoint(upper, lower.unwrap_or_default())
}

/// The median of whole numbers, rounded down.
pub(crate) fn median_whole(values: impl IntoIterator<Item = u64>) -> u64 {
    let mut values: Vec<_> = values.into_iter().collect();
    values.sort_unstable();
    let upper = values.get(values.len() / 2).copied().unwrap_or_default();
    let lower = values.get(values.len().saturating_sub(1) / 2).copied();
    u64::midpoint(upper, lower.unwrap_or_default())
}

pub(crate) fn microseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}

/// A share of something; zero of nothing.
pub(crate) fn per(total: f64, count: usize) -> f64 {
    match u32::try_from(count) {
        Ok(0) | Err(_) => 0.0,
        Ok(count) => total / f64::from(count),
    }
}

/// The least value that is not exceeded by so many percent of the sorted values (nearest rank).
fn quantile(sorted: &[Duration], percent: usize) -> Option<Duration> {
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted.get(rank.saturating_sub(1)).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_of_the_nearest_rank() {
        let milliseconds = |range: std::ops::RangeInclusive<u64>| {
            Latency::of(range.rev().map(Duration::from_millis).collect())
        };
        for (latency, expected) in [
            (milliseconds(1..=100), [50e3, 99e3, 100e3]),
            (milliseconds(1..=1000), [500e3, 990e3, 1000e3]),
            (milliseconds(1..=1), [1e3; 3]),
            (milliseconds(1..=2), [1e3, 2e3, 2e3]),
        ] {
            let found = [latency.p50, latency.p99, latency.max];
            for (found, expected) in found.iter().zip(expected) {
                assert!((found - expected).abs() < 1e-3, "{found} {expected}");
            }
        }
        assert_eq!(Latency::of(Vec::new()), Latency::default());
    }

    #[test]
    fn medians_are_in_the_middle() {
        for (values, expected) in [
            (vec![], 0),
            (vec![7], 7),
            (vec![9, 1, 5], 5),
            (vec![4, 2], 3),
            (vec![100, 1, 2, 4], 3),
        ] {
            assert_eq!(median_whole(values.clone()), expected);
            let float = |value: u64| f64::from(u32::try_from(value).unwrap());
            let found = median(values.into_iter().map(float));
            assert!((found - float(expected)).abs() < 1e-9);
        }
    }
}
