//! Two samples compared by ranks: the Mann-Whitney U test, and the shift between them.
//!
//! Sources: H. B. Mann and D. R. Whitney, Annals of Mathematical Statistics 18 (1947), 50-60; J. L. Hodges and
//! E. L. Lehmann, Annals of Mathematical Statistics 34 (1963), 598-611.

use super::special::{ln_gamma, normal_tail};
use super::{real, sorted};

/// Steps of the exact computation past which the normal approximation is taken: about two milliseconds.
const EXACT_STEPS_MAX: usize = 2_000_000;

/// What two samples are, as far as ranks go.
#[derive(Clone, Debug, PartialEq)]
pub struct Ranks {
    /// U of the second sample: the pairs in which it is greater, ties counting half.
    pub u: f64,
    first: usize,
    second: usize,
    /// The sizes of the groups of equal values over both samples, in ascending order of the value.
    ties: Vec<usize>,
}

/// Ranks the `second` sample among the `first`.
pub fn ranks(first: &[f64], second: &[f64]) -> Ranks {
    let first = sorted(first.iter().copied());
    let second = sorted(second.iter().copied());
    let mut ties = Vec::with_capacity(first.len() + second.len());
    let mut doubled = 0;
    let (mut a, mut b) = (first.iter().peekable(), second.iter().peekable());
    let mut below = 0;
    loop {
        let value = match (a.peek(), b.peek()) {
            (None, None) => break,
            (Some(x), None) => **x,
            (None, Some(y)) => **y,
            (Some(x), Some(y)) => x.min(**y),
        };
        let (mut of_first, mut of_second) = (0, 0);
        while a.next_if(|x| **x <= value).is_some() {
            of_first += 1;
        }
        while b.next_if(|y| **y <= value).is_some() {
            of_second += 1;
        }
        doubled += of_second * (2 * below + of_first);
        below += of_first;
        ties.push(of_first + of_second);
    }
    Ranks { u: real(doubled) / 2.0, first: first.len(), second: second.len(), ties }
}

impl Ranks {
    /// The share of pairs in which the second sample is greater.
    pub fn superiority(&self) -> f64 {
        self.u / (real(self.first) * real(self.second))
    }

    /// The chance of a U at least as great, if both samples are of one distribution.
    ///
    /// Exact, also with ties, where the samples are small enough, which includes each case in which one has at most ten
    /// values and the chance is small. Else by the normal approximation.
    pub fn greater(&self) -> f64 {
        if self.first == 0 || self.second == 0 {
            return 1.0;
        }
        self.exact_greater(EXACT_STEPS_MAX).unwrap_or_else(|| self.normal_greater())
    }

    /// The chance of a U at most as great, if both samples are of one distribution.
    pub fn less(&self) -> f64 {
        self.turned().greater()
    }

    /// The chance of a U at least as far from its middle, to either side: twice the smaller tail.
    pub fn two_sided(&self) -> f64 {
        (2.0 * self.greater().min(self.less())).min(1.0)
    }

    /// The same with every value's sign changed.
    pub(super) fn turned(&self) -> Self {
        let mut ties = self.ties.clone();
        ties.reverse();
        Self { u: real(self.first) * real(self.second) - self.u, ties, ..*self }
    }

    /// The upper tail by the normal approximation, with the corrections for ties and for continuity.
    pub fn normal_greater(&self) -> f64 {
        let (n, m) = (real(self.first), real(self.second));
        let all = n + m;
        let ties: f64 = self.ties.iter().map(|t| real(*t)).map(|t| t * t * t - t).sum();
        let variance = n * m / 12.0 * (all + 1.0 - ties / (all * (all - 1.0)));
        // Everything equal: nothing can be said.
        if variance <= 0.0 {
            return 1.0;
        }
        normal_tail((self.u - n * m / 2.0 - 0.5) / variance.sqrt())
    }

    /// The upper tail over all choices of the second sample from the pooled values; `None` where that takes more steps.
    ///
    /// The pooled values are looked at from the greatest down. Twice U falls short of its maximum by the pairs in which the second
    /// sample is not greater; choices that fall shorter than what was seen are never followed, so that a rare tail,
    /// which is the one that matters, costs little.
    pub fn exact_greater(&self, steps_max: usize) -> Option<f64> {
        let (n, m) = (self.first, self.second);
        let most = 2 * n * m;
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "twice U is a small count"
        )]
        let seen = (2.0 * self.u).round() as usize;
        let short = most.checked_sub(seen)?;
        let width = short + 1;
        if (n + m).checked_mul(m)?.checked_mul(width)? > steps_max {
            return None;
        }
        // ways[j][s]: the choices of j values so far whose U falls short by s/2 in all.
        let mut ways = vec![vec![0.0; width]; m + 1];
        *ways.first_mut()?.first_mut()? = 1.0;
        let mut above = 0;
        for group in self.ties.iter().rev() {
            add_group(&mut ways, above, *group, n);
            above += group;
        }
        let favourable: f64 = ways.last()?.iter().sum();
        Some((favourable.ln() - ln_choose(n + m, m)).exp().min(1.0))
    }
}

/// Adds the choices among a further group of equal values, `above` values being greater than it.
fn add_group(ways: &mut [Vec<f64>], above: usize, group: usize, n: usize) {
    let m = ways.len() - 1;
    // From the most chosen down, so that what is read was not changed yet.
    for target in (0..=m).rev() {
        let (fewer, rest) = ways.split_at_mut(target);
        let Some(to) = rest.first_mut() else { continue };
        // Whoever is chosen later loses to all above that are of the first sample; what leads past the end is not followed.
        let later = 2 * (m - target) * (above + group).saturating_sub(target);
        let reachable = to.len().saturating_sub(later);
        if above + group > n + target {
            to.fill(0.0);
        }
        let mut choices = 1.0;
        for more in 1..=group.min(target) {
            choices *= real(group - more + 1) / real(more);
            let Some(from) = fewer.get(target - more) else { break };
            // So many of the values above belong to the first sample.
            let Some(first_above) = above.checked_sub(target - more) else { continue };
            if first_above + group - more > n {
                continue;
            }
            // Each chosen value loses to those above it, and half to its equals of the first sample.
            let loses = more * (2 * first_above + (group - more));
            let reached = to.get_mut(loses..reachable).unwrap_or_default();
            for (to, from) in reached.iter_mut().zip(from) {
                *to += from * choices;
            }
        }
    }
}

/// The logarithm of the number of ways to choose `m` of `all`.
pub fn ln_choose(all: usize, m: usize) -> f64 {
    if m > all {
        return f64::NEG_INFINITY;
    }
    // A product of small factors keeps all digits; there are few.
    if m <= 64 {
        return (1..=m).map(|i| (real(all - m + i) / real(i)).ln()).sum();
    }
    ln_gamma(real(all) + 1.0) - ln_gamma(real(m) + 1.0) - ln_gamma(real(all - m) + 1.0)
}

/// The least chance that the exact test can give for samples of these sizes.
pub fn least_chance(first: usize, second: usize) -> f64 {
    (-ln_choose(first + second, second)).exp()
}

/// The Hodges-Lehmann shift: the median of all differences, second minus first; `None` if one sample is empty.
pub fn shift(first: &[f64], second: &[f64]) -> Option<f64> {
    let mut differences: Vec<f64> = second.iter().flat_map(|y| first.iter().map(move |x| y - x)).collect();
    let middle = differences.len() / 2;
    if differences.is_empty() {
        return None;
    }
    let even = differences.len().is_multiple_of(2);
    let (below, upper, _) = differences.select_nth_unstable_by(middle, f64::total_cmp);
    let upper = *upper;
    let lower = if even { below.iter().copied().max_by(f64::total_cmp)? } else { upper };
    Some(lower / 2.0 + upper / 2.0)
}
