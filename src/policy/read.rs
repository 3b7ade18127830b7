//! One file's text to one valid policy, or to all its mistakes.

use std::path::Path;
use std::sync::Arc;

use super::check::{Finding, check};
use super::code::Code;
use super::file::{self, PolicyFile};
use super::mistake::{Mistake, Mistakes, Place};
use super::selector::{Pattern, Selector};
use super::slo::looks_back;
use super::structure::Written;
use super::{preset, server, slo, structure};
use crate::engine::forge::{ForgeKind, ForgeRules, MergeMethod, ProposalRules};
use crate::engine::policy::{
    Comparison, GitRules, Mode, NeverRevert, Objective, OnConflict, OnNewerChange, Policy, RevertRules,
    RollbackRules, RolloutRules, Rule, Series, SharedFiles, Slo, Strikes, Worse,
};
use crate::engine::template::Template;

/// Bytes of a policy file; a larger one is something else.
pub(super) const FILE_BYTES_MAX: usize = 256 * 1024;

/// A policy, and which applications it is for.
#[derive(Clone, Debug, PartialEq)]
pub struct Loaded {
    /// The applications.
    pub selector: Selector,
    /// The rules.
    pub policy: Arc<Policy>,
    /// The file that it came from, as the person named it.
    pub file: String,
    /// Where the file selects the applications.
    pub(super) place: Option<Place>,
}

/// Reads one policy file; its name without the ending becomes the policy's name.
pub fn read(file: &str, bytes: &[u8]) -> Result<Loaded, Mistakes> {
    let parsed = read_as(file, bytes, |parsed| {
        let mut findings = check(parsed);
        // Whether its measurements fit can be told of SLOs that make sense each by itself.
        if findings.is_empty()
            && let Ok((_, policy)) = convert(String::new(), parsed)
        {
            findings.extend(slo::too_much(&policy));
        }
        findings
    })?;
    let name = Path::new(file).file_stem().map(|stem| stem.to_string_lossy().into_owned());
    let loaded = convert(name.unwrap_or_else(|| file.to_owned()), &parsed);
    let (selector, mut policy) = loaded.map_err(|why| {
        let message = format!("lastgood contradicts itself about this policy: {why}");
        Mistakes::from(Mistake::whole(file, message, Some("please report it with the file".to_owned())))
    })?;
    let text = text(file, bytes)?;
    text.clone_into(&mut policy.text);
    let place = structure::place_of_application(text);
    Ok(Loaded { selector, policy: Arc::new(policy), file: file.to_owned(), place })
}

/// Reads one file of any kind; `check` finds what makes no sense in it.
pub(crate) fn read_as<T: Written>(
    file: &str,
    bytes: &[u8],
    check: impl FnOnce(&T) -> Vec<Finding>,
) -> Result<T, Mistakes> {
    if bytes.len() > FILE_BYTES_MAX {
        let message = format!("the file has {} bytes, which is no {}", bytes.len(), T::NAME);
        return Err(Mistake::whole(file, message, Some(format!("at most {FILE_BYTES_MAX} bytes"))).into());
    }
    let text = text(file, bytes)?;
    let mut reading = structure::read_as::<T>(file, text);
    if let Some(parsed) = &reading.policy {
        let found = structure::locate(file, text, &reading, check(parsed));
        reading.mistakes.extend(found);
        reading.mistakes.sort_by_key(Mistake::order);
    }
    match (reading.policy, Mistakes::new(reading.mistakes)) {
        (Some(parsed), None) => Ok(parsed),
        (_, Some(mistakes)) => Err(mistakes),
        (None, None) => Err(Mistake::whole(file, "the file cannot be read", None).into()),
    }
}

fn text<'a>(file: &str, bytes: &'a [u8]) -> Result<&'a str, Mistakes> {
    std::str::from_utf8(bytes).map_err(|error| {
        let good = bytes.get(..error.valid_up_to()).unwrap_or_default();
        let good = String::from_utf8_lossy(good);
        let (line, column) =
            (good.split('\n').count(), good.split('\n').next_back().map_or(0, |l| l.chars().count()));
        let place = Place::new(&String::from_utf8_lossy(bytes), line, column + 1, 1);
        let message = "this is not UTF-8 text".to_owned();
        let help = Some("save the file in UTF-8".to_owned());
        Mistake { file: file.to_owned(), place: Some(place), code: Code::Syntax, message, help }.into()
    })
}

/// Turns a checked file into the engine's types; an error means that `check` let something pass.
fn convert(name: String, file: &PolicyFile) -> Result<(Selector, Policy), String> {
    let pattern = |text: &Option<String>| text.as_deref().map(Pattern::parse).transpose();
    let application = &file.application;
    let selector = Selector {
        name: pattern(&application.name)?,
        namespace: pattern(&application.namespace)?,
        project: pattern(&application.project)?,
        labels: application.labels.clone(),
    };
    let (rollout, rollback, git) = (&file.rollout, &file.rollback, &file.git);
    let policy = Policy {
        name,
        text: String::new(),
        mode: match rollback.mode {
            file::Mode::Push => Mode::Push,
            file::Mode::PullRequest => Mode::PullRequest,
            file::Mode::DryRun => Mode::DryRun,
        },
        duration: file.analysis.duration.0,
        interval: file.analysis.interval.0,
        rollout: RolloutRules {
            image_pull_grace: rollout.image_pull_grace.0,
            crash_loop_grace: rollout.crash_loop_grace.0,
            container_config_grace: rollout.container_config_grace.0,
            unschedulable_grace: rollout.unschedulable_grace.0,
            restarts: rollout.restarts,
            degraded_grace: rollout.degraded_grace.0,
            oom_kill: rollout.oom_kill,
        },
        sync_failed_attempts: file.sync.failed_attempts,
        slos: preset::slos(file).iter().map(|one| slo(one, file)).collect::<Result<_, _>>()?,
        guards: file.guards.iter().map(|one| one.convert(file)).collect::<Result<_, _>>()?,
        warm_up: file.analysis.warm_up.0,
        baseline: file.analysis.baseline.0,
        false_rollback_rate: file.analysis.false_rollback_rate.0,
        variables: file.variables.clone(),
        prometheus: file.prometheus.as_ref().map(server::convert),
        rollback: RollbackRules {
            push_timeout: rollback.push_timeout.0,
            live_timeout: rollback.live_timeout.0,
            recovery_timeout: rollback.recovery_timeout.0,
            terminate_stuck_sync: rollback.terminate_stuck_sync,
            reverts_per_day: rollback.reverts_per_day,
            others_degraded: rollback.others_degraded,
            proposals: proposals(rollback),
            revert: RevertRules {
                on_conflict: match rollback.on_conflict {
                    file::OnConflict::Hold => OnConflict::Hold,
                    file::OnConflict::Restore => OnConflict::Restore,
                },
                on_newer_change: match rollback.on_newer_change {
                    file::OnNewerChange::Wait => OnNewerChange::Wait,
                    file::OnNewerChange::Revert => OnNewerChange::Revert,
                },
                never_revert: NeverRevert {
                    paths: rollback.never_revert.paths.clone(),
                    kinds: rollback.never_revert.kinds.clone(),
                },
                shared_files: match rollback.shared_files {
                    file::SharedFiles::Hold => SharedFiles::Hold,
                    file::SharedFiles::Revert => SharedFiles::Revert,
                    file::SharedFiles::PullRequest => SharedFiles::PullRequest,
                },
            },
        },
        git: GitRules {
            secret: git.secret.clone(),
            forge: forge(&git.forge),
            author_name: git.author.name.clone(),
            author_email: git.author.email.clone(),
            signing_secret: git.signing.as_ref().map(|signing| signing.secret.clone()),
        },
    };
    Ok((selector, policy))
}

fn proposals(rollback: &file::Rollback) -> ProposalRules {
    let pull_request = &rollback.pull_request;
    ProposalRules {
        if_protected: rollback.on_protected == file::OnProtected::PullRequest,
        labels: pull_request.labels.clone(),
        reviewers: pull_request.reviewers.clone(),
        auto_merge: pull_request.auto_merge.map(|method| match method {
            file::AutoMerge::Merge => MergeMethod::Merge,
            file::AutoMerge::Squash => MergeMethod::Squash,
            file::AutoMerge::Rebase => MergeMethod::Rebase,
        }),
    }
}

fn forge(forge: &file::Forge) -> ForgeRules {
    ForgeRules {
        kind: forge.kind.map(|kind| match kind {
            file::ForgeKind::GitHub => ForgeKind::GitHub,
            file::ForgeKind::GitLab => ForgeKind::GitLab,
            file::ForgeKind::Gitea => ForgeKind::Gitea,
        }),
        url: forge.url.as_ref().map(|url| url.trim_end_matches('/').to_owned()),
        secret: forge.secret.clone(),
    }
}

fn slo(slo: &file::Slo, file: &PolicyFile) -> Result<Slo, String> {
    let looks_back = looks_back(slo, file);
    let fails_when_missing = slo.fail_after_missing.map(|after| after.0);
    let series = match slo.series.unwrap_or(file::Series::One) {
        file::Series::One => Series::Refuse,
        file::Series::Each => Series::Each,
    };
    let query = Template::parse(&slo.query).map_err(|error| error.to_string())?;
    let (failures, of) = slo.strikes();
    let strikes = Strikes { failures, of };
    if let (None, None, None, None, Some(rule)) =
        (slo.min, slo.max, slo.true_is, &slo.comparison, &slo.burn_rate)
    {
        let rule = Rule::BurnRate(rule.rule()?);
        return Ok(Slo { looks_back, series, fails_when_missing, ..Slo::new(slo.name.clone(), query, rule) });
    }
    if let (None, None, None, Some(comparison), None) =
        (slo.min, slo.max, slo.true_is, &slo.comparison, &slo.burn_rate)
    {
        let rule = Rule::Comparison(Comparison {
            worse: match comparison.worse {
                file::Worse::Increase => Worse::Increase,
                file::Worse::Decrease => Worse::Decrease,
                file::Worse::Either => Worse::Either,
            },
            tolerance: comparison.tolerance.0,
            minimum_change: comparison.minimum_change,
            also: comparison.also.iter().map(|ago| ago.0).collect(),
        });
        return Ok(Slo { looks_back, series, fails_when_missing, ..Slo::new(slo.name.clone(), query, rule) });
    }
    let rule = match (slo.min, slo.max, slo.true_is) {
        (None, Some(max), None) => Rule::Threshold { objective: Objective::Max(max), strikes },
        (Some(min), None, None) => Rule::Threshold { objective: Objective::Min(min), strikes },
        (Some(min), Some(max), None) => {
            Rule::Threshold { objective: Objective::Between { min, max }, strikes }
        }
        (None, None, Some(answer)) => Rule::Boolean { true_is_bad: answer == file::TrueIs::Bad, strikes },
        _ => return Err(format!("slo `{}` has no rule, or several", slo.name)),
    };
    Ok(Slo { looks_back, series, fails_when_missing, ..Slo::new(slo.name.clone(), query, rule) })
}
