use serde::{Deserialize, Serialize};

/// The distribution of the values of a figure's rounds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) lowest: f64,
    pub(crate) highest: f64,
    /// The median absolute deviation, times 1.4826. For normally distributed rounds without outliers it
    /// equals the standard deviation.
    pub(crate) deviation: f64,
}

impl Spread {
    /// Computes the spread of at least one round.
    pub(crate) fn of(rounds: &[f64]) -> Self {
        let median = median(rounds);
        let distances: Vec<_> = rounds.iter().map(|round| (round - median).abs()).collect();
        Self {
            median,
            lowest: rounds.iter().copied().fold(f64::INFINITY, f64::min),
            highest: rounds.iter().copied().fold(f64::NEG_INFINITY, f64::max),
            deviation: 1.4826 * self::median(&distances),
        }
    }
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => f64::NAN,
        odd if odd % 2 == 1 => sorted[middle],
        _ => f64::midpoint(sorted[middle - 1], sorted[middle]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outlier_moves_neither_median_nor_deviation() {
        let spread = Spread::of(&[100.0, 102.0, 98.0, 101.0, 9_000.0]);
        assert_eq!((spread.median, spread.lowest, spread.highest), (101.0, 98.0, 9_000.0));
        assert!((spread.deviation - 1.4826).abs() < 1e-9, "{spread:?}");
    }

    #[test]
    fn an_even_number_has_the_mean_of_the_middle_two() {
        assert_eq!(Spread::of(&[4.0, 1.0, 2.0, 3.0]).median, 2.5);
        assert_eq!(Spread::of(&[7.0]).deviation, 0.0);
    }
}
