//! Limits that a time would not have broken.

use crate::engine::policy::{Objective, Strikes};

/// The share of the time that limits may leave out: twenty minutes of two weeks. What is worse for so short was likely
/// an incident, and a limit that spares it would spare the next one too.
pub const LEFT_OUT: f64 = 0.001;

/// How far beyond what was seen a limit lies, as a share of the distance between the usual and the worst.
const MARGIN: f64 = 0.5;

/// A limit, and what it rests on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Quiet {
    /// The limit.
    pub limit: f64,
    /// The usual value: the median.
    pub usual: f64,
    /// The value that so many of so many measurements were beyond only in the share of the time that is left out.
    pub worst: f64,
}

/// The limits (at most, at least) under which the stretches of measurements would have stayed quiet, as far as the
/// objective has such a limit; none where there were no values, or all were the same.
pub fn quiet(
    objective: Objective,
    strikes: Strikes,
    stretches: &[Vec<Option<f64>>],
) -> (Option<Quiet>, Option<Quiet>) {
    let (max, min) = match objective {
        Objective::Max(_) => (true, false),
        Objective::Min(_) => (false, true),
        Objective::Between { .. } => (true, true),
    };
    let mirrored = || {
        let mirror = |stretch: &Vec<Option<f64>>| stretch.iter().map(|value| value.map(|v| -v)).collect();
        // Of what is never negative, a limit below zero would be none.
        let is_limit = |quiet: &Quiet| quiet.limit > 0.0 || quiet.worst < 0.0;
        let below = at_most(strikes, &stretches.iter().map(mirror).collect::<Vec<_>>())?;
        Some(Quiet { limit: -below.limit, usual: -below.usual, worst: -below.worst }).filter(is_limit)
    };
    (if max { at_most(strikes, stretches) } else { None }, if min { mirrored() } else { None })
}

fn at_most(strikes: Strikes, stretches: &[Vec<Option<f64>>]) -> Option<Quiet> {
    let mut all: Vec<f64> = stretches.iter().flatten().flatten().copied().collect();
    all.sort_by(f64::total_cmp);
    let usual = *all.get(all.len() / 2)?;
    // What convicts is that `failures` of the latest `of` are beyond the limit: that the one of this rank is.
    let mut worst: Vec<f64> = Vec::new();
    for stretch in stretches {
        for window in stretch.windows(strikes.of.max(1) as usize) {
            let mut values: Vec<f64> = window.iter().flatten().copied().collect();
            values.sort_by(|a, b| b.total_cmp(a));
            worst.extend(values.get(strikes.failures.saturating_sub(1) as usize));
        }
    }
    worst.sort_by(f64::total_cmp);
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a share of a count is a count"
    )]
    let left_out = (worst.len() as f64 * LEFT_OUT) as usize;
    let worst = *worst.get(worst.len().checked_sub(1 + left_out)?)?;
    let limit = outward(worst + MARGIN * (worst - usual));
    // All the same, as with no errors at all: nothing is known of how far it goes when nothing is wrong.
    (worst > usual && limit.is_finite()).then_some(Quiet { limit, usual, worst })
}

/// The next greater number of two significant digits.
fn outward(value: f64) -> f64 {
    if value == 0.0 || !value.is_finite() {
        return value;
    }
    let exponent = value.abs().log10().floor() - 1.0;
    // What is such a number but for the last bits of its calculation is one.
    let rounded = (value / 10_f64.powf(exponent) - 1e-9).ceil();
    // By its decimal form, so that 0.03 is not 0.030000000000000002.
    format!("{rounded:.0}e{exponent:.0}").parse().unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO_OF_THREE: Strikes = Strikes { failures: 2, of: 3 };

    /// A minute of values, `.` for none, each a digit in hundredths.
    fn stretch(text: &str) -> Vec<Option<f64>> {
        text.chars().map(|c| c.to_digit(10).map(|digit| f64::from(digit) / 100.0)).collect()
    }

    fn check(objective: Objective, stretches: &[&str], expected: (Option<f64>, Option<f64>)) {
        let stretches: Vec<_> = stretches.iter().map(|text| stretch(text)).collect();
        let (max, min) = quiet(objective, TWO_OF_THREE, &stretches);
        assert_eq!((max.map(|q| q.limit), min.map(|q| q.limit)), expected, "{stretches:?}");
    }

    #[test]
    fn a_limit_lies_beyond_what_so_many_of_so_many_were() {
        let max = Objective::Max(1.0);
        // One spike is none of two; with two of three, the lesser of them counts.
        check(max, &["1111911111"], (None, None));
        check(max, &["1111959111"], (Some(0.13), None));
        check(max, &["11119.5111"], (Some(0.07), None));
        // Not over the end of a stretch.
        check(max, &["1111159", "9211111"], (Some(0.07), None));
        check(Objective::Min(0.0), &["9999595999"], (None, Some(0.03)));
        check(Objective::Between { min: 0.0, max: 1.0 }, &["5552255588555"], (Some(0.095), Some(0.005)));
        check(max, &["0000000"], (None, None));
        check(max, &["....", ""], (None, None));
    }

    #[test]
    fn twenty_minutes_of_two_weeks_are_left_out() {
        // Two weeks at fifteen seconds.
        let mut week = vec![Some(0.01); 80_640];
        for value in week.iter_mut().step_by(2) {
            *value = Some(0.02);
        }
        for value in week.iter_mut().skip(5000).take(70) {
            *value = Some(0.9);
        }
        let limit = |values| quiet(Objective::Max(1.0), TWO_OF_THREE, &[values]).0.map(|q| q.limit);
        assert!(limit(week.clone()) < Some(0.05), "{:?}", limit(week));
        for value in week.iter_mut().skip(9000).take(70) {
            *value = Some(0.9);
        }
        assert!(limit(week.clone()) > Some(0.9), "{:?}", limit(week));
    }

    #[test]
    fn numbers_are_rounded_outward_to_two_digits() {
        let rounded = [0.0301, 0.03, 1234.0, 0.999, -0.0349, 0.0].map(|value| outward(value).to_string());
        assert_eq!(rounded, ["0.031", "0.03", "1300", "1", "-0.034", "0"]);
    }
}
