//! How the error rate of an analysis is shared out among the looks at its data.

use std::f64::consts::PI;

/// The level of the `look`th look, counted from 1, if all looks together may spend `level`.
///
/// Alpha spending (Lan and `DeMets`, Biometrika 70 (1983), 659-663) in its plainest form: the levels add up
/// to `level` however many looks there will be, since 1 + 1/4 + 1/9 + … is pi²/6. By the union bound the guarantee
/// then holds whatever the looks have to do with each other. The first gets most, since a big break shows in it; the
/// chance under an innocent change falls much faster with each look than the level does.
pub fn level_of(look: u32, level: f64) -> f64 {
    if look == 0 {
        return 0.0;
    }
    let look = f64::from(look);
    level * 6.0 / (PI * PI * look * look)
}

/// Looks by which [`even_level_of`] is behind [`level_of`].
const BEHIND: u32 = 4;

/// The level of the `look`th look, the first ones being nearly alike: for a test that sees little at first.
///
/// The same with the terms 1/25 + 1/36 + 1/49 + …, the rest of the sum after its first four: four tenths of the level are
/// spent by the first three looks, and a quarter is left after a dozen.
pub fn even_level_of(look: u32, level: f64) -> f64 {
    if look == 0 {
        return 0.0;
    }
    let rest = PI * PI / 6.0 - (1..=BEHIND).map(|term| 1.0 / f64::from(term * term)).sum::<f64>();
    let look = f64::from(look) + f64::from(BEHIND);
    level / (look * look * rest)
}
