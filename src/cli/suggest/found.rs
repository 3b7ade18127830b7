//! Which preset an application's metrics fit: whichever has the most to say.

use std::time::Duration;

use anyhow::{Context as _, bail};
use jiff::Timestamp;

use super::draft::{Draft, TRIED_ERRORS};
use super::{Suggest, read};
use crate::cli::replay::{Task, fetch, percent};
use crate::engine::judge::stats::real;
use crate::policy::file::{Metrics, PresetKind};
use crate::policy::preset;
use crate::replay::{Recorded, Stretch, needs};

/// The windows that are tried, the preset's own first. A Prometheus that scrapes each minute has values from two minutes on,
/// and steady ones from four.
pub(super) const WINDOWS: [&str; 2] = ["1m", "4m"];

/// How far apart the looks are by which it is known who has values: a fortnight in 337.
const GLANCE: Duration = Duration::from_secs(3600);

/// A preset that was tried.
struct Tried {
    draft: Draft,
    task: Task,
    glances: Vec<(String, Stretch)>,
}

impl Suggest {
    /// Makes a policy of the preset whose metrics have values for the most of the time.
    pub(super) async fn find(&self) -> anyhow::Result<Draft> {
        let Some(url) = self.subject.prometheus() else {
            bail!("there is no policy yet that names a Prometheus: give --prometheus");
        };
        if self.subject.application().is_none() && self.selector.is_none() {
            bail!("say which series are the application's: give --application, or --selector");
        }
        for window in WINDOWS {
            let presets = match (self.preset, self.metrics) {
                // Whether there is one is said where it is read.
                (Some(kind), Some(metrics)) => vec![(kind, metrics)],
                (kind, _) => preset::known()
                    .into_iter()
                    .filter(|known| kind.is_none_or(|kind| kind == known.0))
                    .collect(),
            };
            let tried =
                presets.into_iter().map(|(kind, metrics)| self.try_preset(kind, metrics, window, url));
            let tried = tried.collect::<anyhow::Result<Vec<_>>>()?;
            let Some(policy) = tried.first().map(|one| one.task.policy.clone()) else { break };
            let glances = tried.iter().flat_map(|one| &one.glances).map(|(_, stretch)| stretch.clone());
            let recorded = fetch(&policy, glances.collect(), self.subject.timeout).await?;
            if let Some(draft) = best(tried, &recorded) {
                return Ok(draft);
            }
        }
        let selector = self.selector.as_deref().unwrap_or("the labels that the presets go by");
        bail!(
            "no metrics that a preset knows have values for {selector}\n  give --preset with --selector, and --set namespace=… where its workloads live in another one than {}",
            self.subject.application().unwrap_or("its own")
        );
    }

    /// A policy of this preset, and what is to be looked at to know whether it has values.
    fn try_preset(
        &self,
        kind: PresetKind,
        metrics: Metrics,
        window: &'static str,
        url: &str,
    ) -> anyhow::Result<Tried> {
        let draft = Draft {
            application: self.subject.application().map(str::to_owned),
            url: url.to_owned(),
            kind,
            metrics,
            selector: self.selector.clone(),
            window,
            max_errors: Some(TRIED_ERRORS.to_owned()),
            max_latency: None,
            told: Vec::new(),
        };
        let draft = draft.with_latency();
        let mut span: Option<(Timestamp, Timestamp)> = None;
        let task = self.subject.task(&read(&draft.file())?, |policy| {
            let (from, to) = self.span(policy);
            span = Some((from, to));
            Ok(vec![to])
        })?;
        let (from, to) = span.context("a policy has a time to look at")?;
        let mut glances: Vec<(String, Stretch)> = Vec::new();
        for Stretch { query, .. } in needs(&task.policy, &task.syncs) {
            if glances.iter().all(|(_, known)| known.query.promql != query.promql) {
                glances.push((query.slo.clone(), Stretch { query, from, to, step: GLANCE }));
            }
        }
        Ok(Tried { draft, task, glances })
    }
}

/// The preset with values for the most of the time; of several the first. Its latency is judged if that has values.
fn best(tried: Vec<Tried>, recorded: &Recorded) -> Option<Draft> {
    let share = |one: &Tried, name: &str| {
        let of = one.glances.iter().filter(|(slo, _)| slo == name);
        let values: Vec<Option<f64>> =
            of.flat_map(|(_, stretch)| recorded.stretches(&stretch.query)).flatten().collect();
        real(values.iter().flatten().count()) / real(values.len().max(1))
    };
    let shares: Vec<f64> = tried.iter().map(|one| share(one, preset::ERRORS)).collect();
    let most = shares.iter().copied().max_by(f64::total_cmp).filter(|most| *most > 0.0)?;
    let name = |draft: &Draft| format!("`{}` by `{}`", String::from(draft.kind), String::from(draft.metrics));
    let others: Vec<String> = tried
        .iter()
        .zip(&shares)
        .filter(|(_, share)| **share > 0.0)
        .map(|(one, share)| format!("{} has values for {} of the time", name(&one.draft), percent(*share)))
        .collect();
    let (place, _) = shares.iter().enumerate().find(|(_, share)| share.total_cmp(&most).is_eq())?;
    let chosen = tried.into_iter().nth(place)?;
    let has_latency = share(&chosen, preset::LATENCY) > 0.0;
    let mut draft = chosen.draft;
    draft.told = others;
    if !has_latency {
        draft.max_latency = None;
        draft.told.push(format!("{}: no values, so it is not judged", preset::LATENCY));
    }
    Some(draft)
}
