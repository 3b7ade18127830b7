//! Statistics over plain slices: no times, no policies, no state.
//!
//! Each function names the source of its method. Agreement with scipy to 1e-9 is shown by `tests.rs` over the table
//! `tests/fixtures/statistics/reference.tsv`.

pub mod binomial;
pub mod correlation;
pub mod rank;
pub mod special;
pub mod spending;

#[cfg(test)]
pub(crate) mod tests;

/// A count as a number to calculate with.
#[allow(clippy::cast_precision_loss, reason = "counts of samples and requests are far below 2^52")]
pub fn real(count: usize) -> f64 {
    count as f64
}

/// The values that are numbers, in ascending order.
pub fn sorted(values: impl IntoIterator<Item = f64>) -> Vec<f64> {
    let mut sorted: Vec<f64> = values.into_iter().filter(|value| value.is_finite()).collect();
    sorted.sort_unstable_by(f64::total_cmp);
    sorted
}

/// The median of ascending values.
pub fn median(sorted: &[f64]) -> Option<f64> {
    let upper = *sorted.get(sorted.len() / 2)?;
    let lower = *sorted.get(sorted.len().checked_sub(1)? / 2)?;
    // Halved first: the sum of two huge values is not a number.
    Some(lower / 2.0 + upper / 2.0)
}
