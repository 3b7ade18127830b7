//! All applications of a daemon together: is it one change that is sick, or the environment?

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use super::analysis::{AppState, elapsed};
use super::facts::{AppKey, Revisions};

/// How long a sickness counts as "at once" with another one.
const AT_ONCE: Duration = Duration::from_secs(10 * 60);

/// Which applications are sick, since when, and at which revision.
#[derive(Debug, Default)]
pub struct Fleet {
    sick: BTreeMap<AppKey, (Timestamp, Option<Revisions>)>,
}

impl Fleet {
    /// Takes an application's newest state in.
    pub fn note(&mut self, app: &AppKey, state: &AppState) {
        match state.sick_since() {
            Some(since) => {
                self.sick.insert(app.clone(), (since, state.phase.current().cloned()));
            }
            None => self.forget(app),
        }
    }

    /// An application is gone.
    pub fn forget(&mut self, app: &AppKey) {
        self.sick.remove(app);
    }

    /// How many other applications became sick at about this time at another revision.
    ///
    /// Those at the same revision have the culprit in common: one commit that breaks many is still the commit's fault.
    pub fn others_degraded(&self, app: &AppKey, revisions: Option<&Revisions>, now: Timestamp) -> u32 {
        let others = self.sick.iter().filter(|(other, (since, at))| {
            *other != app && elapsed(*since, now) < AT_ONCE && (at.is_none() || at.as_ref() != revisions)
        });
        u32::try_from(others.count()).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::analysis::{Hold, Phase, Sick};
    use crate::engine::entry::Why;
    use crate::engine::fixture::{at, commit};
    use crate::engine::judge::rollout::SickBefore;

    /// An application that rests at a revision and became sick at this second.
    fn sick(revision: char, since: Option<i64>) -> AppState {
        let since = since.map(|second| {
            let what = SickBefore { workloads: Vec::new(), degraded: true };
            Sick { what, since: at(second) }
        });
        AppState {
            phase: Phase::Idle { current: commit(revision).into() },
            sick: since,
            ..AppState::default()
        }
    }

    fn held(why: Why) -> AppState {
        let hold = Hold { id: "hold".into(), why, since: at(1000) };
        AppState { hold: Some(hold), ..sick('c', None) }
    }

    /// How many others are sick for `shop` at revision `b` at second 1000, after these were noted.
    fn check(others: &[AppState], expected: u32) {
        let mut fleet = Fleet::default();
        let shop = AppKey::new("argocd", "shop");
        fleet.note(&shop, &sick('b', Some(1000)));
        for (i, state) in others.iter().enumerate() {
            fleet.note(&AppKey::new("argocd", format!("other-{i}")), state);
        }
        let revisions = Revisions::from(commit('b'));
        assert_eq!(fleet.others_degraded(&shop, Some(&revisions), at(1000)), expected, "{others:?}");
    }

    #[test]
    fn those_count_that_became_sick_at_about_the_same_time_from_another_change() {
        check(&[], 0);
        check(&[sick('c', None)], 0);
        check(&[sick('c', Some(999))], 1);
        check(&[sick('c', Some(999)), sick('d', Some(500))], 2);
        // One commit that breaks several applications is still the commit's fault.
        check(&[sick('b', Some(999))], 0);
        check(&[sick('c', Some(400))], 0);
        check(&[sick('c', Some(401))], 1);
        check(&[AppState { phase: Phase::New, ..sick('c', Some(999)) }], 1);
    }

    #[test]
    fn a_hold_counts_when_it_stands_for_a_sickness() {
        check(&[held(Why::Environment { others: 3 })], 1);
        check(&[held(Why::Conflict { files: Vec::new() })], 0);
    }

    #[test]
    fn who_recovers_or_goes_counts_no_more() {
        let mut fleet = Fleet::default();
        let (shop, cart) = (AppKey::new("argocd", "shop"), AppKey::new("argocd", "cart"));
        fleet.note(&cart, &sick('c', Some(999)));
        assert_eq!(fleet.others_degraded(&shop, None, at(1000)), 1);
        fleet.note(&cart, &sick('c', None));
        assert_eq!(fleet.others_degraded(&shop, None, at(1000)), 0);
        fleet.note(&cart, &sick('c', Some(999)));
        fleet.forget(&cart);
        assert_eq!(fleet.others_degraded(&shop, None, at(1000)), 0);
    }
}
