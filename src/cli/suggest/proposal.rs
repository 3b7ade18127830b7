//! A policy with limits under which the recorded time would have been quiet.

use std::io::Write;

use anyhow::bail;

use super::draft::{Draft, Origin};
use crate::cli::replay::{Task, interval, percent};
use crate::engine::judge::Verdict;
use crate::engine::judge::slo::number;
use crate::engine::policy::{Objective, Rule, Slo, Strikes};
use crate::policy::{Limit, PolicySet};
use crate::replay::{LEFT_OUT, Quiet, Recorded, Rehearsal, quiet, rehearse, rehearse_each};

/// Verdicts that are listed one by one.
const LISTED_MAX: usize = 10;

/// A policy's text with its new limits.
pub(super) struct Proposal {
    text: String,
    /// A sentence for each limit, and for each that stays.
    told: Vec<String>,
    /// The same policy, read.
    task: Task,
    /// Whether there was a policy before.
    is_new: bool,
}

impl Proposal {
    pub(super) fn of(origin: &Origin, task: &Task, recorded: &Recorded) -> anyhow::Result<Self> {
        let Some(first) = task.syncs.first() else { bail!("there is no time to look at") };
        // The queries as they are sent.
        let probe = rehearse(&task.policy, first, recorded);
        let (mut limits, mut told) = (Vec::new(), Vec::new());
        let is_new = match origin {
            Origin::File(_) => false,
            Origin::Draft(draft) => {
                told.extend(draft.told.iter().cloned());
                true
            }
        };
        for (i, slo) in task.policy.slos.iter().enumerate() {
            let query = probe.queries().iter().find(|query| query.slo == slo.name);
            let (Rule::Threshold { objective, strikes }, Some(query)) = (&slo.rule, query) else {
                told.push(format!("{}: has no limits, and stays as it is", slo.name));
                continue;
            };
            let stretches = recorded.stretches(query);
            let (max, min) = quiet(*objective, *strikes, &stretches);
            let found =
                [("max", max), ("min", min)].into_iter().filter_map(|(field, one)| Some((field, one?)));
            let before = limits.len();
            for (field, quiet) in found {
                let Some((field, value)) = written(origin, slo, field, quiet.limit) else {
                    told.push(format!(
                        "{}: usually {}, of which no limit can be made",
                        slo.name,
                        number(quiet.usual)
                    ));
                    continue;
                };
                told.push(format!("{}: `{field}: {value}`; {}", slo.name, reason(quiet, *strikes)));
                limits.push(Limit { slo: i, field, value });
            }
            if limits.len() == before {
                told.push(format!("{}: too few values, or all the same: stays as it is", slo.name));
            }
        }
        let (file, missing) = origin.with(&limits);
        let named = |limit: &Limit| task.policy.slos.get(limit.slo).map(|slo| slo.name.as_str());
        for name in missing.into_iter().filter_map(named) {
            told.push(format!(
                "{name}: stays as it is, since it is the preset's (`maxErrors`, `maxLatency`)"
            ));
        }
        let set = PolicySet::from_files(std::slice::from_ref(&file)).map_err(|mistakes| {
            anyhow::anyhow!("the proposal is no valid policy; please report this\n{mistakes}")
        })?;
        let mut policy = task.policy.clone();
        for loaded in set.iter() {
            policy.slos.clone_from(&loaded.policy.slos);
        }
        let text = String::from_utf8_lossy(&file.bytes).into_owned();
        Ok(Self { text, told, task: Task { policy, syncs: task.syncs.clone() }, is_new })
    }

    pub(super) fn print(
        &self,
        before: &Task,
        recorded: &Recorded,
        out: &mut dyn Write,
    ) -> anyhow::Result<()> {
        let rehearsals =
            |task: &Task| rehearse_each(&task.policy, &task.syncs, recorded, Rehearsal::without_looks);
        let new = rehearsals(&self.task);
        let convicted =
            |all: &[Rehearsal]| all.iter().filter(|one| matches!(one.verdict, Verdict::Degraded(_))).count();
        let (Some(first), Some(last)) = (new.first(), new.last()) else { return Ok(()) };
        let than_before = if self.is_new {
            String::new()
        } else {
            format!("; with the limits before, {}", convicted(&rehearsals(before)))
        };
        if recorded.missed() {
            bail!("something was asked for that had not been fetched; please report this with the policy");
        }
        let (low, high) = interval(convicted(&new), new.len());
        let what = if self.is_new { "A policy" } else { "Limits" };
        writeln!(out, "# {what} for the time from {} to {}, by `lastgood suggest`:", first.at, last.at)?;
        for line in &self.told {
            writeln!(out, "#   {line}")?;
        }
        writeln!(
            out,
            "# Of {} pretended syncs {} would have been convicted (95 % interval {} to {}){than_before}.",
            new.len(),
            convicted(&new),
            percent(low),
            percent(high),
        )?;
        let inconclusive = new.iter().filter(|one| matches!(one.verdict, Verdict::Inconclusive(_))).count();
        if inconclusive > 0 {
            writeln!(out, "# {inconclusive} would have ended inconclusive.")?;
        }
        let degraded = new.iter().filter(|one| matches!(one.verdict, Verdict::Degraded(_)));
        for one in degraded.take(LISTED_MAX) {
            writeln!(out, "#   {}  {}", one.at, one.reason().replace('\n', " "))?;
        }
        write!(out, "{}", self.text)?;
        Ok(())
    }
}

/// The field of a limit, and its value as it stands in the file.
fn written(origin: &Origin, slo: &Slo, field: &'static str, limit: f64) -> Option<(&'static str, String)> {
    match (origin, &slo.rule) {
        (Origin::Draft(_), Rule::Threshold { objective: Objective::Max(tried), .. }) => {
            Draft::written(&slo.name, limit, *tried)
        }
        (Origin::File(_) | Origin::Draft(_), _) => Some((field, limit.to_string())),
    }
}

fn reason(quiet: Quiet, strikes: Strikes) -> String {
    format!(
        "usually {}, and {} of {} measurements were never beyond {} but for {} of the time",
        number(quiet.usual),
        strikes.failures,
        strikes.of,
        number(quiet.worst),
        percent(LEFT_OUT)
    )
}
