use serde::{Deserialize, Serialize};

/// What some rounds came to.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) lowest: f64,
    pub(crate) highest: f64,
    /// The median absolute deviation from the median, times 1.4826: what the standard deviation would be
    /// without the outliers, if rounds were spread normally.
    pub(crate) deviation: f64,
}

impl Spread {
    /// Of at least one round.
    pub(crate) fn of(rounds: &[f64]) -> Self {
        let median = median(rounds);
        let away: Vec<_> = rounds.iter().map(|round| (round - median).abs()).collect();
        Self {
            median,
            lowest: rounds.iter().copied().fold(f64::INFINITY, f64::min),
            highest: rounds.iter().copied().fold(f64::NEG_INFINITY, f64::max),
            deviation: 1.4826 * self::median(&away),
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
    fn of_an_even_number_the_middle_of_the_two_in_the_middle() {
        assert_eq!(Spread::of(&[4.0, 1.0, 2.0, 3.0]).median, 2.5);
        assert_eq!(Spread::of(&[7.0]).deviation, 0.0);
    }
}
