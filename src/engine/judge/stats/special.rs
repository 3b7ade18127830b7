//! The few special functions that the tests need, to nearly full precision.

use std::f64::consts::{PI, SQRT_2, TAU};

/// Terms of a series or a continued fraction past which it has converged for every argument in use.
const TERMS_MAX: u32 = 20_000;

/// `ln sqrt(2 pi)`.
const LN_SQRT_TAU: f64 = 0.918_938_533_204_672_8;

/// What Stirling's formula leaves out of `ln gamma(x)`: its asymptotic series (DLMF 5.11.1), for `x` of at least 10.
fn stirling_rest(x: f64) -> f64 {
    let inverse = 1.0 / (x * x);
    let series = [
        1.0 / 12.0,
        -1.0 / 360.0,
        1.0 / 1260.0,
        -1.0 / 1680.0,
        1.0 / 1188.0,
        -691.0 / 360_360.0,
        1.0 / 156.0,
        -3617.0 / 122_400.0,
    ];
    series.iter().rev().fold(0.0, |sum, coefficient| sum * inverse + coefficient) / x
}

/// The natural logarithm of the gamma function, for positive `x`.
pub fn ln_gamma(x: f64) -> f64 {
    // Moved up by the recurrence to where the asymptotic series is exact to the last digits.
    let mut shift = 1.0;
    let mut x = x;
    while x < 10.0 {
        shift *= x;
        x += 1.0;
    }
    (x - 0.5) * x.ln() - x + LN_SQRT_TAU + stirling_rest(x) - shift.ln()
}

/// `ln gamma(x + 1) - ((x + 1/2) ln x - x + ln sqrt(2 pi))`.
fn stirling_error(x: f64) -> f64 {
    if x >= 10.0 { stirling_rest(x) } else { ln_gamma(x + 1.0) - (x + 0.5) * x.ln() + x - LN_SQRT_TAU }
}

/// `x ln(x / mean) + mean - x`, without cancellation where the two are close.
fn deviance(x: f64, mean: f64) -> f64 {
    let relative = (x - mean) / (x + mean);
    if relative.abs() >= 0.1 {
        return x * (x / mean).ln() + mean - x;
    }
    // ln(x / mean) = 2 atanh(relative), as a series.
    let mut sum = (x - mean) * relative;
    let mut term = 2.0 * x * relative;
    for j in 1..TERMS_MAX {
        term *= relative * relative;
        let next = sum + term / f64::from(2 * j + 1);
        #[allow(clippy::float_cmp, reason = "a term that changes nothing is the end of the series")]
        if next == sum {
            break;
        }
        sum = next;
    }
    sum
}

/// The binomial density at `x` of `n`, for any positive real `x < n`.
///
/// Source: C. Loader, "Fast and accurate computation of binomial probabilities" (2000): by deviances, so that the digits
/// do not cancel where counts are large.
fn binomial_density(x: f64, n: f64, p: f64) -> f64 {
    let rest = n - x;
    let exponent = stirling_error(n)
        - stirling_error(x)
        - stirling_error(rest)
        - deviance(x, n * p)
        - deviance(rest, n * (1.0 - p));
    exponent.exp() * (n / (TAU * x * rest)).sqrt()
}

/// The regularised incomplete beta function `I_x(a, b)`, for positive `a` and `b`.
///
/// By its continued fraction (DLMF 8.17.22), evaluated from the front as Lentz does.
pub fn beta_regularised(x: f64, a: f64, b: f64) -> f64 {
    if x <= 0.0 {
        return 0.0;
    }
    if x >= 1.0 {
        return 1.0;
    }
    // The fraction converges quickly below the mean.
    if x > (a + 1.0) / (a + b + 2.0) { 1.0 - beta_lower(1.0 - x, b, a) } else { beta_lower(x, a, b) }
}

/// `1 - I_x(a, b)`, without cancellation where that is tiny.
pub fn beta_complement(x: f64, a: f64, b: f64) -> f64 {
    beta_regularised(1.0 - x, b, a)
}

#[allow(clippy::many_single_char_names, reason = "the names of the formula")]
fn beta_lower(x: f64, a: f64, b: f64) -> f64 {
    const TINY: f64 = 1e-300;
    let held = |value: f64| if value.abs() < TINY { TINY } else { value };
    let mut d = 1.0 / held(1.0 - (a + b) * x / (a + 1.0));
    let mut c = 1.0;
    let mut fraction = d;
    for step in 1..TERMS_MAX {
        let m = f64::from(step);
        let even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
        d = 1.0 / held(1.0 + even * d);
        c = held(1.0 + even / c);
        fraction *= d * c;
        let odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
        d = 1.0 / held(1.0 + odd * d);
        c = held(1.0 + odd / c);
        let change = d * c;
        fraction *= change;
        if (change - 1.0).abs() < 1e-16 {
            break;
        }
    }
    // x^a (1-x)^b / (a B(a, b)) = b / (a + b) * density.
    (binomial_density(a, a + b, x) * b / (a + b) * fraction).min(1.0)
}

/// The chance that a standard normal variable is at least `z`.
pub fn normal_tail(z: f64) -> f64 {
    if z < 0.0 {
        return 1.0 - normal_tail(-z);
    }
    let density = (-z * z / 2.0).exp() / (PI.sqrt() * SQRT_2);
    if z < 3.0 {
        // The series of the lower half (DLMF 7.6.2).
        let mut term = z;
        let mut sum = z;
        for j in 1..TERMS_MAX {
            term *= z * z / f64::from(2 * j + 1);
            sum += term;
            if term < sum * 1e-17 {
                break;
            }
        }
        return 0.5 - density * sum;
    }
    // The continued fraction of the tail (DLMF 7.9.3), from the back.
    let fraction = (1..200_u32).rev().fold(z, |below, k| z + f64::from(k) / below);
    density / fraction
}

/// The value that a standard normal variable is at least with this chance, which lies between 0 and 1.
pub fn normal_quantile_of_tail(chance: f64) -> f64 {
    bisect(-40.0, 40.0, |z| normal_tail(z) > chance)
}

/// The place between `low` and `high` where `below` turns from true to false.
pub(super) fn bisect(low: f64, high: f64, below: impl Fn(f64) -> bool) -> f64 {
    let (mut low, mut high) = (low, high);
    loop {
        let middle = low / 2.0 + high / 2.0;
        if middle <= low || middle >= high {
            return middle;
        }
        if below(middle) {
            low = middle;
        } else {
            high = middle;
        }
    }
}
