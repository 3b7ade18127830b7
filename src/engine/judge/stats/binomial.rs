//! Counts of events among trials: exact tails, and intervals for the share.

use super::special::{beta_complement, beta_regularised, bisect, normal_quantile_of_tail};

/// The chance of at least `x` events among `n` trials, each with chance `p`: exact for whole numbers.
///
/// By the incomplete beta function (DLMF 8.17.5), which is defined for fractions too; an over-dispersed count is tested
/// as the smaller count that carries as much evidence.
pub fn at_least(x: f64, n: f64, p: f64) -> f64 {
    if x <= 0.0 {
        return 1.0;
    }
    if x > n {
        return 0.0;
    }
    beta_regularised(p, x, n - x + 1.0)
}

/// The chance of at most `x` events among `n` trials, each with chance `p`.
pub fn at_most(x: f64, n: f64, p: f64) -> f64 {
    if x < 0.0 {
        return 0.0;
    }
    if x >= n {
        return 1.0;
    }
    beta_complement(p, x + 1.0, n - x)
}

/// An interval for the share of events.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval {
    /// Its lower end.
    pub low: f64,
    /// Its upper end.
    pub high: f64,
}

/// The exact interval: the shares under which neither tail of what was seen is rarer than `(1 - confidence) / 2`.
///
/// Source: C. J. Clopper and E. S. Pearson, Biometrika 26 (1934), 404-413. It covers at least as often as it says.
pub fn clopper_pearson(x: f64, n: f64, confidence: f64) -> Interval {
    let tail = (1.0 - confidence) / 2.0;
    Interval {
        low: if x <= 0.0 { 0.0 } else { bisect(0.0, 1.0, |p| at_least(x, n, p) < tail) },
        high: if x >= n { 1.0 } else { bisect(0.0, 1.0, |p| at_most(x, n, p) > tail) },
    }
}

/// The score interval: shorter than the exact one, and right on average.
///
/// Source: E. B. Wilson, Journal of the American Statistical Association 22 (1927), 209-212.
pub fn wilson(x: f64, n: f64, confidence: f64) -> Interval {
    if n <= 0.0 {
        return Interval { low: 0.0, high: 1.0 };
    }
    let z = normal_quantile_of_tail((1.0 - confidence) / 2.0);
    let share = x / n;
    let centre = share + z * z / (2.0 * n);
    let half = z * (share * (1.0 - share) / n + z * z / (4.0 * n * n)).sqrt();
    let scale = 1.0 + z * z / n;
    // At the ends they are exact, and the square root is not.
    let low = if x <= 0.0 { 0.0 } else { (centre - half) / scale };
    let high = if x >= n { 1.0 } else { (centre + half) / scale };
    Interval { low, high }
}
