//! How many successive values of a series it takes to learn as much as from one independent value.

use super::{real, sorted};

/// The integrated autocorrelation time of a series, in steps: 1 where the values are independent, at most its length.
///
/// By the initial monotone sequence of C. J. Geyer, "Practical Markov chain Monte Carlo", Statistical Science 7 (1992),
/// 473-483: sums of neighbouring pairs of autocorrelations, up to the first that is not positive, each at most the one
/// before. The autocorrelations are those of the ranks, which heavy tails do not blind, and which no change of unit moves.
pub fn time(series: &[f64]) -> f64 {
    let centred = centred_ranks(series);
    let length = real(centred.len());
    let variance: f64 = centred.iter().map(|x| x * x).sum();
    if variance <= 0.0 {
        return 1.0;
    }
    let at = |lag: usize| {
        let later = centred.get(lag..).unwrap_or_default();
        later.iter().zip(&centred).map(|(x, y)| x * y).sum::<f64>() / variance
    };
    let mut sum = 0.0;
    let mut before = f64::INFINITY;
    for pair in 0..centred.len() / 2 {
        let both = (at(2 * pair) + at(2 * pair + 1)).min(before);
        if both <= 0.0 {
            break;
        }
        sum += both;
        before = both;
    }
    (2.0 * sum - 1.0).clamp(1.0, length.max(1.0))
}

/// The mid-ranks of a series, less their mean.
fn centred_ranks(series: &[f64]) -> Vec<f64> {
    let ascending = sorted(series.iter().copied());
    let length = ascending.len();
    series
        .iter()
        .map(|value| {
            let below = ascending.partition_point(|x| x < value);
            let up_to = ascending.partition_point(|x| x <= value);
            (real(below + up_to) - real(length)) / 2.0
        })
        .collect()
}
