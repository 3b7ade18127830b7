//! A rollback that a person asks for: the person is the evidence, and every guard still counts.

use std::collections::BTreeMap;

use super::{Turn, newer_operation};
use crate::engine::analysis::{Bad, LastGood, Phase};
use crate::engine::entry::{Kind, LastGoodFrom};
use crate::engine::facts::HistoryEntry;
use crate::engine::judge::{Breach, Signal};

impl Turn<'_> {
    /// Begins a rollback of what runs, as if an analysis had ended degraded.
    ///
    /// Nothing happens where there is nothing to roll back yet, where it is being rolled back already, and where
    /// Argo CD has synced something that was not looked at yet. The sync that the person names becomes last good: whoever
    /// sees that what was judged healthy is not has to say what is.
    pub(super) fn asked(&mut self, because: String, to: Option<&HistoryEntry>) {
        let Some(application) = self.app.seen.application.clone() else { return };
        if newer_operation(&application, &self.app).is_some() {
            return;
        }
        if matches!(self.app.state.phase, Phase::Analysing(_) | Phase::Idle { .. })
            && let Some(HistoryEntry { revisions, spec_digest, started_at, deployed_at, .. }) = to
        {
            let (revisions, spec_digest) = (revisions.clone(), spec_digest.clone());
            let (at, from) = (self.context.now, LastGoodFrom::Person);
            self.record(Kind::LastGood { revisions: revisions.clone(), from });
            // The history does not say what a hydrator rendered from then; whoever asks has seen the plan.
            let dry_digest = application.dry_digest();
            let (tracked, synced_at) = (application.tracked(&spec_digest), started_at.or(Some(*deployed_at)));
            self.app.state.last_good =
                Some(LastGood { revisions, spec_digest, dry_digest, tracked, synced_at, at, from });
        }
        // Said by whoever may, once, and nobody saw it before.
        let breach =
            Breach { signal: Signal::Person, why: because, failing: 1, needed: 1, passing_before: 1 };
        match &self.app.state.phase {
            Phase::Analysing(analysis) => {
                let analysis = (**analysis).clone();
                self.end_degraded(&analysis, vec![breach], BTreeMap::new());
            }
            Phase::Idle { current } => {
                let revisions = current.clone();
                let operation = self.app.state.operation.as_ref().filter(|o| o.revisions == revisions);
                let good = self.app.state.last_good.as_ref().filter(|good| good.revisions == revisions);
                let digest = operation
                    .map(|operation| &operation.spec_digest)
                    .filter(|digest| !digest.is_empty())
                    .or(good.map(|good| &good.spec_digest));
                let bad = Bad {
                    spec_digest: digest.unwrap_or(&application.spec_digest).clone(),
                    synced_at: operation.map_or(self.context.now, |operation| operation.started_at),
                    degraded_at: self.context.now,
                    breaches: vec![breach],
                    broken: BTreeMap::new(),
                    revisions,
                };
                self.begin_rollback(bad);
            }
            Phase::New | Phase::Adopting(_) | Phase::Reverting(_) | Phase::Confirming(_) => {}
        }
    }
}
