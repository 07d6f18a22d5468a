//! What one run has measured, and the median and the spread of several.

use serde::Serialize;

/// One run of one case through one proxy. What a case does not measure, or a proxy does not have, is None.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Figures {
    /// Units (transactions, MB, ..) per second.
    pub per_second: Option<f64>,
    pub p50_us: Option<f64>,
    pub p99_us: Option<f64>,
    /// Processor microseconds of the proxy for each unit.
    pub cpu_us: Option<f64>,
    /// The most resident memory of the proxy, in bytes.
    pub peak_bytes: Option<f64>,
    /// Resident bytes that each idle client adds.
    pub idle_client_bytes: Option<f64>,
    /// Peak of resident bytes above those before the run.
    pub over_idle_bytes: Option<f64>,
}

/// Over the rounds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Spread {
    pub median: f64,
    pub min: f64,
    pub max: f64,
}

impl Spread {
    /// None without values.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<Spread> {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let (min, max) = (*values.first()?, *values.last()?);
        let middle = values.len() / 2;
        let upper = *values.get(middle)?;
        let median = match values.len() % 2 {
            0 => (upper + values.get(middle.checked_sub(1)?)?) / 2.0,
            _ => upper,
        };
        Some(Spread { median, min, max })
    }
}

/// The value below which `part` of the sorted values lie (nearest rank).
pub fn quantile(sorted: &[u64], part: f64) -> Option<f64> {
    let rank = (part * sorted.len() as f64).ceil() as usize;
    sorted
        .get(rank.saturating_sub(1))
        .map(|value| *value as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_and_quantiles() {
        let check = |values: &[f64], expect: Option<(f64, f64, f64)>| {
            let spread = Spread::of(values.iter().copied());
            assert_eq!(
                spread.map(|s| (s.median, s.min, s.max)),
                expect,
                "{values:?}"
            );
        };
        check(&[], None);
        check(&[3.0], Some((3.0, 3.0, 3.0)));
        check(&[5.0, 1.0, 2.0], Some((2.0, 1.0, 5.0)));
        check(&[5.0, 1.0, 2.0, 4.0], Some((3.0, 1.0, 5.0)));
        let values: Vec<u64> = (1..=200).collect();
        assert_eq!(quantile(&values, 0.5), Some(100.0));
        assert_eq!(quantile(&values, 0.99), Some(198.0));
        assert_eq!(quantile(&[7], 0.99), Some(7.0));
        assert_eq!(quantile(&[], 0.5), None);
    }
}
