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
