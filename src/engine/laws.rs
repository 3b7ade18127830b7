//! What must always hold, as functions over an application's journal: for tests, the simulation, and audits.
//!
//! The numbers are those of the list in ARCHITECTURE.md. Laws 1, 2 and 12 speak of Git, the cluster and secrets rather
//! than of decisions: no [`Action`](super::action::Action) exists that could break 1, the revert's last guard keeps 2
//! ([`Refusal::OutsideFootprint`](super::action::Refusal::OutsideFootprint)), and types without `Debug` of their
//! content keep 12.

use std::fmt;
use std::time::Duration;

use super::action::{Delivery, RevertOrder, Standing};
use super::entry::{Entry, Kind};
use super::facts::Revision;
use super::judge::Verdict;
use super::policy::{Policy, SharedFiles};
use super::time::elapsed;

/// A law that a journal breaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The law's number.
    pub law: u8,
    /// How.
    pub why: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "law {}: {}", self.law, self.why)
    }
}

type Law = fn(&[Entry], &Policy) -> Result<(), Violation>;

const LAWS: [Law; 10] = [
    one_revert_for_one_range,
    no_rollback_of_a_rollback,
    only_on_evidence,
    only_to_a_standing_last_good,
    not_against_the_environment,
    nobody_elses_files,
    every_degraded_verdict_has_a_consequence,
    one_pull_request_for_one_rollback,
    intent_before_outcome,
    nothing_on_hold_and_nothing_beyond_the_budget,
];

/// Checks the journal of one application, oldest entry first, against every law.
pub fn check(journal: &[Entry], policy: &Policy) -> Result<(), Violation> {
    LAWS.iter().try_for_each(|law| law(journal, policy))
}

fn broken<T>(law: u8, why: impl Into<String>) -> Result<T, Violation> {
    Err(Violation { law, why: why.into() })
}

/// The journal up to each intent, with the intent.
fn intents(journal: &[Entry]) -> impl Iterator<Item = (&[Entry], &RevertOrder, &Kind)> {
    journal.iter().enumerate().filter_map(|(i, entry)| match &entry.kind {
        Kind::RevertIntended { order, .. } => {
            Some((journal.get(..i).unwrap_or_default(), order, &entry.kind))
        }
        _ => None,
    })
}

/// The reverts in a journal: (bad, revert, whether it was there before us).
fn pushed(journal: &[Entry]) -> impl Iterator<Item = (&Revision, &Revision, bool)> {
    let records = journal.iter().filter_map(|entry| match &entry.kind {
        Kind::RevertPushed { record, already, .. } => Some((record, *already)),
        _ => None,
    });
    records
        .flat_map(|(record, already)| record.parts.iter().map(move |part| (&part.bad, &part.revert, already)))
}

/// What an order undoes, for people.
fn bad(order: &RevertOrder) -> String {
    order.parts.iter().map(|part| part.bad.to_string()).collect::<Vec<_>>().join("+")
}

/// Law 3: at most one revert for one culprit range.
fn one_revert_for_one_range(journal: &[Entry], _: &Policy) -> Result<(), Violation> {
    let ours: Vec<_> = pushed(journal).filter(|(_, _, already)| !already).collect();
    for (i, (bad, revert, _)) in ours.iter().enumerate() {
        if let Some((_, first, _)) = ours.iter().take(i).find(|(other, _, _)| other == bad) {
            return broken(3, format!("{bad} was reverted twice, by {first} and {revert}"));
        }
    }
    Ok(())
}

/// Law 3 for pull requests: never two for one rollback in one repository.
fn one_pull_request_for_one_rollback(journal: &[Entry], _: &Policy) -> Result<(), Violation> {
    let mut known: Vec<(&String, Vec<&String>)> = Vec::new();
    for entry in journal {
        let Kind::PullRequestOpened { rollback, pull_requests, .. } = &entry.kind else { continue };
        let urls: Vec<&String> = pull_requests.iter().map(|one| &one.url).collect();
        if let Some((_, first)) = known.iter().find(|(other, first)| *other == rollback && *first != urls) {
            return broken(3, format!("{rollback} was proposed twice, as {first:?} and {urls:?}"));
        }
        known.push((rollback, urls));
    }
    Ok(())
}

/// Law 4: a rollback is never rolled back.
fn no_rollback_of_a_rollback(journal: &[Entry], _: &Policy) -> Result<(), Violation> {
    for (before, order, _) in intents(journal) {
        if pushed(before).any(|(_, revert, _)| order.parts.iter().any(|part| part.bad == *revert)) {
            return broken(4, format!("the rollback {} was to be rolled back", bad(order)));
        }
    }
    Ok(())
}

/// Laws 5 and 6: every breach counts enough failing measurements, and passed before the sync.
fn only_on_evidence(journal: &[Entry], _: &Policy) -> Result<(), Violation> {
    for (_, order, kind) in intents(journal) {
        let Kind::RevertIntended { breaches, .. } = kind else { continue };
        if breaches.is_empty() {
            return broken(5, format!("{} was to be reverted without a breach", bad(order)));
        }
        for breach in breaches {
            if breach.needed == 0 || breach.failing < breach.needed {
                return broken(
                    5,
                    format!("{breach}: {} of {} failing measurements", breach.failing, breach.needed),
                );
            }
            if breach.passing_before == 0 {
                return broken(6, format!("{breach}: not seen to pass before the sync"));
            }
        }
    }
    Ok(())
}

/// Law 7: only to the newest last good, which is not what was rolled back.
fn only_to_a_standing_last_good(journal: &[Entry], _: &Policy) -> Result<(), Violation> {
    for (before, order, _) in intents(journal) {
        let newest = before.iter().rev().find_map(|entry| match &entry.kind {
            Kind::LastGood { revisions, .. } => Some(revisions),
            _ => None,
        });
        for part in &order.parts {
            let good = |i: &usize| newest.and_then(|newest| newest.iter().nth(*i));
            // Of a definition good is what the parent was synced to when the newest last good was.
            let is_last_good = match &part.definition {
                Some(_) => newest.is_some() && part.sources.is_empty(),
                None => !part.sources.is_empty() && part.sources.iter().all(|i| good(i) == Some(&part.good)),
            };
            if !is_last_good {
                return broken(7, format!("{} is not the newest last good", part.good));
            }
            if part.good == part.bad || pushed(before).any(|(bad, _, _)| *bad == part.good) {
                return broken(7, format!("last good {} was itself rolled back", part.good));
            }
        }
    }
    Ok(())
}

/// Law 8: not while many others are sick.
fn not_against_the_environment(journal: &[Entry], policy: &Policy) -> Result<(), Violation> {
    for (_, order, kind) in intents(journal) {
        if let Kind::RevertIntended { others_degraded, .. } = kind
            && *others_degraded >= policy.rollback.others_degraded
        {
            return broken(
                8,
                format!("{} was to be reverted while {others_degraded} others were sick", bad(order)),
            );
        }
    }
    Ok(())
}

/// Law 9: other applications' files are changed only where all of them are sick, or the policy allows it.
fn nobody_elses_files(journal: &[Entry], _: &Policy) -> Result<(), Violation> {
    let mut intended = None;
    for entry in journal {
        match &entry.kind {
            Kind::RevertIntended { order, .. } => intended = Some(order),
            Kind::RevertPushed { record, already: false, .. } => {
                let allowed = intended.is_some_and(|o| o.rules.shared_files == SharedFiles::Revert);
                let well = record.touches.iter().find(|other| other.standing != Standing::Sick);
                if let Some(other) = well.filter(|_| !allowed) {
                    return broken(9, format!("files of {other} were changed"));
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// Law 10: whatever follows from a degraded verdict is written down next to it.
fn every_degraded_verdict_has_a_consequence(journal: &[Entry], _: &Policy) -> Result<(), Violation> {
    for (i, entry) in journal.iter().enumerate() {
        let Kind::AnalysisEnded { verdict: Verdict::Degraded(_), revisions, .. } = &entry.kind else {
            continue;
        };
        match journal.get(i + 1).map(|next| &next.kind) {
            Some(Kind::RevertIntended { .. } | Kind::HoldBegan { .. } | Kind::Refrained { .. }) => {}
            other => return broken(10, format!("{revisions} is degraded, and then: {other:?}")),
        }
    }
    Ok(())
}

/// Law 11: every outcome has its intent, and one intent has one end.
fn intent_before_outcome(journal: &[Entry], _: &Policy) -> Result<(), Violation> {
    let mut open: Option<&RevertOrder> = None;
    for entry in journal {
        match &entry.kind {
            Kind::RevertIntended { order, .. } => {
                if let Some(open) = open {
                    return broken(
                        11,
                        format!("rollback {} began before {} ended", order.rollback, open.rollback),
                    );
                }
                open = Some(order);
            }
            Kind::RevertPushed { rollback, .. } => {
                let begun = open.take();
                if begun.is_none_or(|order| order.rollback != *rollback || order.mode == Delivery::DryRun) {
                    return broken(11, format!("rollback {rollback} was pushed without an intent"));
                }
            }
            Kind::PullRequestOpened { rollback, .. } => {
                let begun = open.is_some_and(|o| o.rollback == *rollback && o.mode != Delivery::DryRun);
                if !begun {
                    return broken(11, format!("rollback {rollback} was proposed without an intent"));
                }
            }
            Kind::RevertPlanned { .. } => {
                let begun = open.take();
                if begun.is_none_or(|order| order.mode != Delivery::DryRun) {
                    return broken(11, "a dry run ended that had not begun");
                }
            }
            Kind::HoldBegan { .. } | Kind::RevertAbandoned { .. } => open = None,
            _ => {}
        }
    }
    Ok(())
}

/// Law 4, the loop: on hold nothing is begun, and a day has its limit.
fn nothing_on_hold_and_nothing_beyond_the_budget(
    journal: &[Entry],
    policy: &Policy,
) -> Result<(), Violation> {
    const DAY: Duration = Duration::from_secs(24 * 60 * 60);
    let mut held = false;
    let mut pushes = Vec::new();
    for entry in journal {
        match &entry.kind {
            Kind::HoldBegan { .. } => held = true,
            Kind::HoldEnded { .. } => held = false,
            Kind::RevertIntended { order, .. } if held => {
                return broken(4, format!("{} was to be reverted on hold", bad(order)));
            }
            Kind::RevertPushed { rollback, .. } => {
                pushes.push(entry.at);
                let recent = pushes.iter().filter(|at| elapsed(**at, entry.at) < DAY).count();
                if recent > policy.rollback.reverts_per_day as usize {
                    return broken(4, format!("{rollback} was pushed as number {recent} of the day"));
                }
            }
            _ => {}
        }
    }
    Ok(())
}
