//! The language: what a line of a history may say, and what it does to the world.

use std::collections::BTreeMap;
use std::time::Duration;

use lastgood::engine::action::{Refusal, RevertOutcome, Standing, Touched};
use lastgood::engine::event::Event;
use lastgood::engine::facts::{
    AppKey, ApplicationFacts, Dry, Gap, OperationPhase, Origin, Reading, Source, SyncStatus, TroubleKind,
};
use lastgood::engine::forge::{ForgeRules, ProposalRules, PullRequestState};
use lastgood::engine::policy::{
    BurnRate, Comparison, GitRules, Guard, Mode, Objective, OnNewerChange, Policy, Prometheus, RevertRules,
    RollbackRules, RolloutRules, Rule, Series, SharedFiles, Slo, Strikes, Windows, Worse,
};
use lastgood::engine::template::Template;

use crate::argocd;
use crate::script::time;
use crate::world::{Forge, Git, World, content};

/// The rules where the history names no others; no SLO.
pub fn policy() -> Policy {
    let seconds = Duration::from_secs;
    Policy {
        name: "shop".into(),
        text: String::new(),
        mode: Mode::Push,
        duration: seconds(60),
        interval: seconds(10),
        rollout: RolloutRules {
            image_pull_grace: seconds(30),
            crash_loop_grace: seconds(15),
            container_config_grace: seconds(30),
            unschedulable_grace: seconds(60),
            degraded_grace: seconds(20),
            restarts: 3,
            oom_kill: true,
        },
        sync_failed_attempts: 2,
        slos: Vec::new(),
        guards: Vec::new(),
        warm_up: Duration::ZERO,
        baseline: seconds(600),
        false_rollback_rate: 0.001,
        variables: BTreeMap::new(),
        prometheus: Some(Prometheus::new("http://prometheus", seconds(5))),
        rollback: RollbackRules {
            push_timeout: seconds(300),
            live_timeout: seconds(300),
            recovery_timeout: seconds(120),
            terminate_stuck_sync: true,
            reverts_per_day: 3,
            others_degraded: 3,
            revert: RevertRules::default(),
            proposals: ProposalRules::default(),
        },
        git: GitRules {
            secret: None,
            forge: ForgeRules::default(),
            author_name: "lastgood".into(),
            author_email: "lastgood@test".into(),
            signing_secret: None,
        },
    }
}

/// Changes the world; what the watches bring of it.
pub fn happen(world: &mut World, words: &[&str]) -> Result<Vec<Event>, String> {
    let now = world.now;
    match words {
        ["end"] => return Ok(Vec::new()),
        ["tick"] => return Ok(vec![Event::Tick]),
        ["policy", rule @ ..] => {
            change_policy(&mut world.policy, rule)?;
            return Ok(vec![Event::Tick]);
        }
        ["prometheus", what @ ..] => return prometheus(world, what),
        ["pull", "request", "is", "merged"] => {
            world.forge = Forge::Is(PullRequestState::Merged { commit: None });
            return Ok(Vec::new());
        }
        ["pull", "request", "is", "closed"] => {
            world.forge = Forge::Is(PullRequestState::Closed);
            return Ok(Vec::new());
        }
        ["forge", "is", how] => {
            world.forge = match *how {
                "down" => Forge::Down,
                "up" => Forge::Is(PullRequestState::Open),
                "unknown" => Forge::Unknown,
                _ => return Err("how is the forge?".into()),
            };
            return Ok(Vec::new());
        }
        ["git", what @ ..] => return git(world, what),
        ["commit", revision, "follows", ancestor, "with", what @ ..] => {
            return follows(world, revision, ancestor, what);
        }
        ["others", "sick", count] => {
            world.others_degraded = count.parse().map_err(|_| "how many?")?;
            return Ok(Vec::new());
        }
        ["daemon", "stops"] => {
            world.stop();
            return Ok(Vec::new());
        }
        ["daemon", "starts"] => return Ok(world.started()),
        ["restart"] => {
            world.stop();
            return Ok(world.started());
        }
        ["synced", revisions, health, source @ ..] => {
            let revisions = world.names.revisions(revisions);
            let mut application = argocd::synced(&world.app, revisions, now);
            application.health = argocd::health(health)?;
            match source {
                [] => {}
                ["hydrated", "from", branch] => {
                    let source = Source { target_revision: (*branch).to_owned(), ..argocd::git_source() };
                    let dry = Dry { source, digest: "dry".into() };
                    (application.hydrated, application.dry) = (true, Some(dry));
                }
                _ => return Err("synced from what?".into()),
            }
            world.application = Some(application);
            let rollout = world.rollout.insert(argocd::running(now)).clone();
            return Ok([seen(world)?, vec![Event::Rollout(rollout)]].concat());
        }
        ["pods", "of", revision, trouble @ ..] => return pods(world, revision, trouble),
        ["deployment", "gives", "up"] => {
            return Ok(vec![Event::Rollout(world.rollout.insert(argocd::given_up(now)).clone())]);
        }
        ["pod", "watch", "breaks"] => {
            let rollout = world.rollout.as_mut().ok_or("there are no pods yet")?;
            rollout.gap = Some(Gap::NotWatching("pods".into()));
            return Ok(vec![Event::Rollout(rollout.clone())]);
        }
        ["sync", revisions, what @ ..] => sync(world, revisions, what)?,
        ["argocd", what @ ..] => argo(world, what)?,
        ["person", "resumes"] => {
            let hold = world.hold();
            application(world)?.resume = hold;
        }
        ["parent", "syncs", revision] => parent_syncs(world, revision)?,
        ["spec", "changes"] => application(world)?.spec_digest += " changed",
        ["spec", "follows", target] => argocd::follow(application(world)?, target),
        ["spec", "is", "as", "before"] => argocd::follow(application(world)?, ""),
        ["dry", "source", "changes"] => {
            let dry = application(world)?.dry.as_mut().ok_or("it is not hydrated")?;
            dry.digest += " changed";
        }
        ["source", "is", "hydrated"] => application(world)?.hydrated = true,
        ["source", "is", "a", "chart"] => application(world)?.sources = vec![argocd::chart_source()],
        ["source", "is", "joined", "by", "a", "chart"] => {
            application(world)?.sources.push(argocd::chart_source());
        }
        ["source", "is", "joined", "by", "values"] => {
            let values = argocd::values_source();
            application(world)?.sources.push(values);
        }
        _ => return Err("no verb says this; see verbs.rs".into()),
    }
    seen(world)
}

fn application(world: &mut World) -> Result<&mut ApplicationFacts, String> {
    world.application.as_mut().ok_or_else(|| "there is no Application yet".to_owned())
}

/// The Application that writes this one is synced.
fn parent_syncs(world: &mut World, revision: &str) -> Result<(), String> {
    let (app, revisions) = (AppKey::new("argocd", "apps"), world.names.revisions(revision));
    let mut history = world.parent.take().map(|parent| parent.history).unwrap_or_default();
    let mut parent = argocd::synced(&app, revisions, world.now);
    parent.sources[0].repo_url = "https://git.example.com/apps.git".into();
    parent.children = vec![Origin::Application(world.app.clone())];
    history.append(&mut parent.history);
    world.parent = Some(ApplicationFacts { history, ..parent });
    application(world)?.parent = Some(Origin::Application(app));
    Ok(())
}

fn seen(world: &mut World) -> Result<Vec<Event>, String> {
    Ok(vec![Event::Application(Box::new(application(world)?.clone()))])
}

fn sync(world: &mut World, revisions: &str, what: &[&str]) -> Result<(), String> {
    let (now, revisions) = (world.now, world.names.revisions(revisions));
    let application = application(world)?;
    match what {
        ["starts"] => argocd::start(application, revisions, now),
        ["starts", "as", "a", "dry", "run"] => {
            argocd::start(application, revisions.clone(), now);
            argocd::operation(application, &revisions)?.dry_run = true;
        }
        ["succeeds"] => argocd::end(application, &revisions, OperationPhase::Succeeded, "", now)?,
        ["fails"] => {
            let message = "one or more objects failed to apply";
            argocd::end(application, &revisions, OperationPhase::Failed, message, now)?;
        }
        ["errors"] => {
            let message = "the repository could not be reached";
            argocd::end(application, &revisions, OperationPhase::Error, message, now)?;
        }
        ["is", "terminated"] => {
            argocd::end(application, &revisions, OperationPhase::Failed, "Operation terminated", now)?;
        }
        // Argo CD counts the retry, and writes `Running` with `finishedAt`, when it begins to wait for it.
        ["waits", "to", "retry"] => {
            let operation = argocd::operation(application, &revisions)?;
            operation.resource_failed = true;
            operation.retry_count += 1;
            operation.finished_at = Some(argocd::second(now));
            operation.message = "one or more objects failed to apply. Retrying".into();
        }
        ["retries"] => {
            argocd::operation(application, &revisions)?.finished_at = None;
        }
        // A partial operation to what is live: it does not reach the history.
        ["heals", "itself"] => {
            argocd::start(application, revisions.clone(), now);
            application.sync = SyncStatus::Synced;
            application.operation_requested = false;
            let operation = argocd::operation(application, &revisions)?;
            (operation.phase, operation.finished_at) = (OperationPhase::Succeeded, Some(argocd::second(now)));
        }
        _ => return Err("what does the sync do?".into()),
    }
    Ok(())
}

fn argo(world: &mut World, what: &[&str]) -> Result<(), String> {
    let now = argocd::second(world.now);
    let compared = |world: &mut World, name: &str| world.names.revisions(name);
    match what {
        ["says", health] => {
            let health = argocd::health(health)?;
            let application = application(world)?;
            (application.health, application.reconciled_at) = (health, Some(now));
        }
        ["compares", revisions, "without", "a", "sync"] => {
            let revisions = compared(world, revisions);
            let application = application(world)?;
            (application.sync, application.compared) = (SyncStatus::Synced, Some(revisions));
            application.reconciled_at = Some(now);
        }
        ["finds", revisions, "out", "of", "sync"] => {
            let revisions = compared(world, revisions);
            let application = application(world)?;
            (application.sync, application.compared) = (SyncStatus::OutOfSync, Some(revisions));
            application.reconciled_at = Some(now);
        }
        ["repeats", "itself"] => {}
        _ => return Err("what does Argo CD do?".into()),
    }
    Ok(())
}

fn pods(world: &mut World, revision: &str, trouble: &[&str]) -> Result<Vec<Event>, String> {
    let (now, created) = (world.now, argocd::second(world.now));
    let created = *world.pods.entry(revision.to_owned()).or_insert(created);
    let pod = format!("shop-{revision}");
    let troubled = |kind, restarts| argocd::troubled(now, &pod, created, kind, restarts);
    let facts = match trouble {
        ["roll"] => argocd::rolling(now),
        ["run"] => argocd::running(now),
        ["crash"] => troubled(TroubleKind::CrashLoop, 2),
        ["find", "no", "image"] => troubled(TroubleKind::ImagePull, 0),
        ["miss", "a", "secret"] => troubled(TroubleKind::ContainerConfig, 0),
        ["find", "no", "node"] => troubled(TroubleKind::Unschedulable, 0),
        ["are", "killed", "for", "memory"] => troubled(TroubleKind::OomKilled, 1),
        ["restart", times, "times"] => {
            troubled(TroubleKind::Restarted, times.parse().map_err(|_| "how often?")?)
        }
        _ => return Err("what do the pods do?".into()),
    };
    Ok(vec![Event::Rollout(world.rollout.insert(facts).clone())])
}

fn prometheus(world: &mut World, what: &[&str]) -> Result<Vec<Event>, String> {
    match what {
        ["down"] => world.prometheus_down = true,
        ["up"] => world.prometheus_down = false,
        ["answers", "after", delay] => world.prometheus_delay = time(delay).ok_or("after how long?")?,
        [slo, value @ ..] => {
            let reading = match value {
                ["no", "data"] => Reading::Gap(Gap::NoData),
                ["gone"] => Reading::Gap(Gap::NoData),
                ["NaN"] => Reading::Gap(Gap::NotANumber),
                [number] => Reading::Value(number.parse().map_err(|_| "not a number")?),
                _ => return Err("what does Prometheus say?".into()),
            };
            world.values.entry((*slo).to_owned()).or_default().push((world.now, reading));
        }
        [] => return Err("what does Prometheus say?".into()),
    }
    Ok(Vec::new())
}

fn git(world: &mut World, what: &[&str]) -> Result<Vec<Event>, String> {
    let says = |outcome| Git::Says(Box::new(outcome));
    world.git = match what {
        ["says", "pushed"] => Git::Pushes,
        ["says", "conflict"] => says(RevertOutcome::Conflict { files: vec!["shop/app.yaml".into()] }),
        ["says", "already", "reverted", "by", revision] => {
            Git::AlreadyReverted(world.names.revision(revision))
        }
        ["says", "declined"] => says(RevertOutcome::Refused(Refusal::Declined {
            branch: "main".into(),
            message: "protected branch".into(),
        })),
        ["says", "shared", "with", others @ ..] => says(RevertOutcome::Shared { with: touched(others)? }),
        ["says", "pushed", "touching", others @ ..] => Git::Touches(touched(others)?),
        ["says", "newer", revision] => {
            let revision = world.names.revision(revision);
            says(RevertOutcome::Newer { revision, branch: "main".into() })
        }
        ["says", "protected"] => Git::Protected,
        ["says", "partly"] => Git::Partly,
        ["fails"] => says(RevertOutcome::Failed { error: "connection reset".into() }),
        ["is", "silent"] => Git::Silent,
        ["answers", "after", delay] => {
            world.git_delay = time(delay).ok_or("after how long?")?;
            return Ok(Vec::new());
        }
        ["cannot", "relate"] => {
            world.git_down = true;
            return Ok(Vec::new());
        }
        ["can", "relate"] => {
            world.git_down = false;
            return Ok(Vec::new());
        }
        _ => return Err("what does Git do?".into()),
    };
    Ok(Vec::new())
}

/// `blog:sick cart:undecided`
fn touched(others: &[&str]) -> Result<Vec<Touched>, String> {
    let one = |other: &&str| {
        let (name, standing) = other.split_once(':').ok_or("how is it?")?;
        let standing = match standing {
            "sick" => Standing::Sick,
            "undecided" => Standing::Undecided,
            "well" => Standing::Well,
            _ => return Err("it is sick, undecided or well".to_owned()),
        };
        Ok(Touched { app: AppKey::new("argocd", name), standing })
    };
    others.iter().map(one).collect()
}

fn follows(world: &mut World, revision: &str, ancestor: &str, what: &[&str]) -> Result<Vec<Event>, String> {
    let (revision, ancestor) = (world.names.revision(revision), world.names.revision(ancestor));
    let known = match what {
        ["other", "content"] => (content(&revision), false),
        ["the", "same", "content"] => (content(&ancestor), true),
        ["the", "content", "of", bad] => (content(&world.names.revision(bad)), false),
        _ => return Err("with what content?".into()),
    };
    world.relations.insert((ancestor, revision), known);
    Ok(Vec::new())
}

fn change_policy(policy: &mut Policy, rule: &[&str]) -> Result<(), String> {
    let long = |word: &str| time(word).ok_or_else(|| format!("`{word}` is not a time"));
    let many = |word: &str| word.parse::<u32>().map_err(|_| format!("`{word}` is not a number"));
    match rule {
        ["slo", name, "at", "most", max, "failures", failures, "of", of] => {
            let query = Template::parse(name).map_err(|e| e.to_string())?;
            let objective = Objective::Max(max.parse().map_err(|_| "not a number")?);
            let strikes = Strikes { failures: many(failures)?, of: many(of)? };
            policy.slos.push(Slo::new(*name, query, Rule::Threshold { objective, strikes }));
        }
        ["slo", name, "says", answer, "failures", failures, "of", of] => {
            let query = Template::parse(name).map_err(|e| e.to_string())?;
            let true_is_bad = match *answer {
                "good" => false,
                "bad" => true,
                _ => return Err("it says good or bad".into()),
            };
            let strikes = Strikes { failures: many(failures)?, of: many(of)? };
            policy.slos.push(Slo::new(*name, query, Rule::Boolean { true_is_bad, strikes }));
        }
        ["slo", name, "compared", worse, "also", ago @ ..] => {
            let query = Template::parse(name).map_err(|e| e.to_string())?;
            let worse = match *worse {
                "increase" => Worse::Increase,
                "decrease" => Worse::Decrease,
                "either" => Worse::Either,
                _ => return Err("increase, decrease or either".into()),
            };
            let also = ago.iter().map(|ago| long(ago)).collect::<Result<_, _>>()?;
            let rule = Comparison { worse, tolerance: 0.25, minimum_change: None, also };
            policy.slos.push(Slo::new(*name, query, Rule::Comparison(rule)));
        }
        ["slo", name, "burns", factor, "within", long_window, short, rest @ ..] => {
            let query = Template::parse(&format!("{name}[{{{{ window }}}}]")).map_err(|e| e.to_string())?;
            let factor = factor.parse().map_err(|_| "not a number")?;
            let pair = Windows { long: long(long_window)?, short: long(short)?, factor };
            let (events, minimum_errors) = match rest {
                [] => (None, 1),
                ["with", least, "errors"] => (Some(query.clone()), many(least)?),
                _ => return Err("with how many errors?".into()),
            };
            let rule = BurnRate { budget: 0.001, events, minimum_errors, windows: vec![pair] };
            policy.slos.push(Slo::new(*name, query, Rule::BurnRate(rule)));
        }
        ["guard", name, "at", "most", max, suspends @ ..] => {
            let query = Template::parse(name).map_err(|e| e.to_string())?;
            let objective = Objective::Max(max.parse().map_err(|_| "not a number")?);
            let rule = Rule::Threshold { objective, strikes: Strikes { failures: 1, of: 100 } };
            let suspends_rollout = match suspends {
                [] => true,
                ["suspends", "slos"] => false,
                _ => return Err("what does it suspend?".into()),
            };
            policy.guards.push(Guard { asks: Slo::new(*name, query, rule), suspends_rollout });
        }
        ["slo", name, "judges", "each", "series"] => {
            let slo = policy.slos.iter_mut().find(|slo| slo.name == *name).ok_or("no such slo")?;
            slo.series = Series::Each;
        }
        ["slo", name, "fails", "after", d, "without", "data"] => {
            let slo = policy.slos.iter_mut().find(|slo| slo.name == *name).ok_or("no such slo")?;
            slo.fails_when_missing = Some(long(d)?);
        }
        ["warm-up", d] => policy.warm_up = long(d)?,
        ["baseline", d] => policy.baseline = long(d)?,
        ["mode", "dry-run"] => policy.mode = Mode::DryRun,
        ["mode", "pull-request"] => policy.mode = Mode::PullRequest,
        ["protected", "hold"] => policy.rollback.proposals.if_protected = false,
        ["shared", "pull-request"] => policy.rollback.revert.shared_files = SharedFiles::PullRequest,
        ["duration", d] => policy.duration = long(d)?,
        ["interval", d] => policy.interval = long(d)?,
        ["push-timeout", d] => policy.rollback.push_timeout = long(d)?,
        ["live-timeout", d] => policy.rollback.live_timeout = long(d)?,
        ["recovery-timeout", d] => policy.rollback.recovery_timeout = long(d)?,
        ["sync-attempts", n] => policy.sync_failed_attempts = many(n)?,
        ["reverts-per-day", n] => policy.rollback.reverts_per_day = many(n)?,
        ["others", n] => policy.rollback.others_degraded = many(n)?,
        ["newer", "revert"] => policy.rollback.revert.on_newer_change = OnNewerChange::Revert,
        ["shared", "revert"] => policy.rollback.revert.shared_files = SharedFiles::Revert,
        ["leaves", "stuck", "syncs"] => policy.rollback.terminate_stuck_sync = false,
        _ => return Err("no such rule".into()),
    }
    Ok(())
}
