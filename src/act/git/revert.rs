//! One revert from fetch to push, again and again while others push first.

use std::sync::Arc;

use git2::{Oid, Repository};
use jiff::Timestamp;

use super::cache::{self, Target};
use super::commit;
use super::defined::{self, Change};
use super::error::{Class, Failure};
use super::footprint::{Followed, Footprint, FootprintError};
use super::history::{self, History, revision};
use super::hydrated::dry;
use super::message::{self, TRAILER_ROLLBACK, Told, trailer, trailers};
use super::never::Never;
use super::plan::{self, Already, Evidence, Found, OnConflict, Plan, Request, Rollback, Stop, commit_id};
use super::propose::Aside;
use super::push::{self, PushOutcome};
use super::shared::{followed, touched};
use super::transport::Session;
use super::tree::Snapshot;
use super::{Identity, Trouble, redact};
use crate::engine::action::{
    Delivery, Refusal, RelateOrder, Relation, RevertOrder, RevertPart, RevertedPart, Standing, Touched,
};
use crate::engine::facts::Revision;
use crate::engine::policy::{self, NeverRevert, OnNewerChange, SharedFiles};

/// Files named in a record; the record is kept in an object of bounded size, and the commit itself has them all.
const RECORD_FILES_MAX: usize = 100;

/// Culprits named in a record, for the same reason.
const RECORD_CULPRITS_MAX: usize = 50;

/// Notes of one record, for the same reason.
const RECORD_NOTES_MAX: usize = 20;

/// What became of one part.
#[derive(Debug)]
pub(crate) enum Done {
    Pushed(RevertedPart, Vec<Touched>),
    /// It is on a side branch.
    Aside(Aside, Vec<Touched>),
    Already(RevertedPart),
    /// It would be pushed.
    Planned(RevertedPart, Vec<Touched>),
    /// It was only looked for.
    NotThere,
    Shared(Vec<Touched>),
    Newer(Revision, String),
}

impl Done {
    /// What is on the branch.
    pub(crate) fn on_branch(&self) -> Option<&RevertedPart> {
        match self {
            Self::Pushed(part, _) | Self::Already(part) => Some(part),
            Self::Aside(..) | Self::Planned(..) | Self::NotThere | Self::Shared(_) | Self::Newer(..) => None,
        }
    }
}

/// One part of one call of [`Git::revert`](super::Git::revert).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Call<'a> {
    pub(crate) order: &'a RevertOrder,
    pub(crate) part: &'a RevertPart,
    pub(crate) identity: &'a Identity,
    pub(crate) now: Timestamp,
    /// Whether to push what is planned.
    pub(crate) push: bool,
}

/// What follows from the look at the branch.
pub(crate) enum Next {
    /// Nothing: it is done, or nothing is to be done.
    Done(Done),
    /// A commit on the tip.
    Commit(Ready),
}

/// A revert that may be pushed.
pub(crate) struct Ready {
    pub(crate) branch: String,
    pub(crate) tip: Oid,
    pub(crate) plan: Plan,
    /// Last good, and bad, as the branch has them.
    pub(crate) good: Revision,
    pub(crate) bad: Revision,
    /// Other applications that are rendered from files that it changes.
    pub(crate) touches: Vec<Touched>,
    /// What the footprint does not hold.
    pub(crate) notes: Vec<String>,
}

impl Call<'_> {
    pub(crate) fn run(&self, repo: &Repository, session: &Arc<Session>) -> Result<Done, Trouble> {
        let mut attempts = 0;
        loop {
            attempts += 1;
            let ready = match self.next(repo, session, attempts)? {
                Next::Done(done) => return Ok(done),
                Next::Commit(ready) => ready,
            };
            if self.order.mode == Delivery::DryRun || !self.push {
                return Ok(Done::Planned(self.record(repo, &ready, ready.tip, attempts)?, ready.touches));
            }
            if matches!(self.order.mode, Delivery::PullRequest { .. }) {
                let (ours, side) = self.propose(repo, session, &ready)?;
                let part = self.record(repo, &ready, ours, attempts)?;
                let (repo_url, message) = (self.part.repo_url.clone(), history::message(repo, ours)?);
                return Ok(Done::Aside(Aside { part, repo_url, branch: side, message }, ready.touches));
            }
            let new = self.commit(repo, &ready)?;
            let record = self.record(repo, &ready, new, attempts)?;
            if push_and_look(repo, session, &ready.branch, new, ready.tip)? {
                return Ok(Done::Pushed(record, ready.touches));
            }
            session.pause(attempts);
            if session.is_over() {
                let why = format!("the branch moved before each of {attempts} pushes, until the time was up");
                return Err(Failure::new(Class::Unreachable, why).into());
            }
        }
    }

    /// Fetches, looks whether it is done, plans, and asks whether it may be done.
    pub(crate) fn next(
        &self,
        repo: &Repository,
        session: &Arc<Session>,
        attempts: u32,
    ) -> Result<Next, Trouble> {
        if session.is_over() {
            return Err(Failure::new(Class::Unreachable, "the time was up before the push").into());
        }
        let hydrated = self.part.hydrated.as_ref();
        let good_revision = dry(repo, session, hydrated, &self.part.good)?;
        let bad_revision = dry(repo, session, hydrated, &self.part.bad)?;
        let (good, bad) = (commit_id(&good_revision)?, commit_id(&bad_revision)?);
        let NeverRevert { paths, kinds } = &self.order.rules.never_revert;
        let never = Never::new(paths, kinds).map_err(unsupported)?;
        let target = &self.part.target_revision;
        let Target::Branch { name: branch, tip } = cache::fetch_branch(repo, session, target)? else {
            return Err(Stop::from(Refusal::NotABranch { target_revision: target.clone() }).into());
        };
        let (whole, at_bad) = self.files(repo, good, bad)?;
        let request = Request {
            good,
            bad,
            tip,
            branch: &branch,
            footprint: &whole.footprint,
            at_bad: &at_bad.footprint,
            rollback: Some(Rollback {
                id: &self.order.rollback,
                app: &self.order.app,
                quarantine: &self.order.quarantine,
            }),
            on_conflict: match self.order.rules.on_conflict {
                policy::OnConflict::Hold => OnConflict::Hold,
                policy::OnConflict::Restore => OnConflict::Restore,
            },
            never: &never,
        };
        let plan = match plan::plan(repo, &request) {
            Ok(Found::Already(done)) => {
                let Already { commit, evidence } = done;
                let record = self.part_record(repo, &branch, commit, &evidence, &whole.notes, attempts)?;
                return Ok(Next::Done(Done::Already(record)));
            }
            Ok(Found::Plan(plan)) => plan,
            Err(Stop::Conflict(_)) if self.order.only_look => return Ok(Next::Done(Done::NotThere)),
            Err(Stop::Conflict(files)) => match self.newer(repo, &request)? {
                // What changed the same lines may well be the fix.
                Some(fix) => return Ok(Next::Done(Done::Newer(revision(fix), branch))),
                None => return Err(Stop::Conflict(files).into()),
            },
            Err(stop) => return Err(stop.into()),
        };
        if self.order.only_look {
            return Ok(Next::Done(Done::NotThere));
        }
        // Found out before anything is written, and in a dry run too.
        self.identity.signer()?;
        if let Some(fix) = self.newer(repo, &request)? {
            return Ok(Next::Done(Done::Newer(revision(fix), branch)));
        }
        let mut touches = touched(repo, &self.part.others, &[bad, tip], &plan.evidence.files)?;
        if let Some(definition) = &self.part.definition {
            let change = Change { tip, tree: plan.tree, files: &plan.evidence.files };
            let defined = defined::touched(repo, definition, &self.part.others, &change)?;
            touches.extend(defined.into_iter().filter(|other| !touches.contains(other)).collect::<Vec<_>>());
        }
        if !self.may_touch(&touches) {
            return Ok(Next::Done(Done::Shared(touches)));
        }
        let notes = whole.notes;
        let (good, bad) = (good_revision, bad_revision);
        Ok(Next::Commit(Ready { branch, tip, plan, good, bad, touches, notes }))
    }

    /// What is undone, and what of it is at bad.
    fn files(&self, repo: &Repository, good: Oid, bad: Oid) -> Result<(Files, Files), Trouble> {
        let renderings = &self.part.renderings;
        if let Some(definition) = &self.part.definition {
            let here = defined::here(repo, definition, renderings, [good, bad], &self.part.unchanged)?;
            return Ok((Files { notes: here.notes, footprint: here.whole }, Files::plain(here.at_bad)));
        }
        let at_bad = followed(repo, &[bad], renderings)?;
        let mut whole = followed(repo, &[good], renderings)?;
        whole.unite(at_bad.clone());
        Ok((Files::of(&whole)?, Files::of(&at_bad)?))
    }

    /// Whether the policy allows a revert that changes files of these applications.
    fn may_touch(&self, touches: &[Touched]) -> bool {
        match self.order.rules.shared_files {
            SharedFiles::Revert => true,
            // In a pull request a person decides.
            SharedFiles::PullRequest if matches!(self.order.mode, Delivery::PullRequest { .. }) => true,
            SharedFiles::Hold | SharedFiles::PullRequest => {
                touches.iter().all(|other| other.standing == Standing::Sick)
            }
        }
    }

    /// The newest commit after bad that changes the footprint and may be the fix, where the policy waits for one.
    fn newer(&self, repo: &Repository, request: &Request<'_>) -> Result<Option<Oid>, Trouble> {
        if self.order.rules.on_newer_change == OnNewerChange::Revert {
            return Ok(None);
        }
        // The fix may be a file that was not there before, which only the tip is rendered from.
        let commits = [request.good, request.bad, request.tip];
        let footprint = match &self.part.definition {
            // What else stands in the file may change as it likes.
            Some(definition) if defined::is_same(repo, definition, request)? => return Ok(None),
            Some(_) => request.footprint.clone(),
            None => Files::of(&followed(repo, &commits, &self.part.renderings)?)?.footprint,
        };
        let mut history = History::new(repo, &footprint);
        if history.snapshot(request.tip)? == history.snapshot(request.bad)? {
            return Ok(None);
        }
        let no_fix = self.part.no_fix.as_ref().map(commit_id).transpose()?;
        for commit in history.newer(request.bad, request.tip)? {
            let known = match no_fix {
                Some(no_fix) => no_fix == commit || repo.graph_descendant_of(no_fix, commit)?,
                None => false,
            };
            let message = history::message(repo, commit)?;
            if !known && trailer(&trailers(&message), TRAILER_ROLLBACK).is_none() {
                return Ok(Some(commit));
            }
        }
        Ok(None)
    }

    /// Writes the commit, without a reference to it.
    pub(crate) fn commit(&self, repo: &Repository, ready: &Ready) -> Result<Oid, Trouble> {
        let app = self.order.app.to_string();
        let touches: Vec<String> = ready.touches.iter().map(|other| other.app.to_string()).collect();
        Ok(commit::of_plan(repo, self.identity, &ready.plan, ready.tip, self.now, |undone| {
            message::compose(&Told {
                name: &self.order.app.name,
                app: &app,
                cluster: &self.order.cluster,
                rollback: &self.order.rollback,
                bad: &ready.bad,
                good: &ready.good,
                evidence: &self.order.evidence,
                touches: &touches,
                parent: self.part.definition.as_ref().map(|definition| &definition.parent),
                record: self.order.record.as_deref(),
                undone,
            })
        })?)
    }

    /// What is told of the revert `commit`.
    pub(crate) fn record(
        &self,
        repo: &Repository,
        ready: &Ready,
        commit: Oid,
        attempts: u32,
    ) -> Result<RevertedPart, Trouble> {
        self.part_record(repo, &ready.branch, commit, &ready.plan.evidence, &ready.notes, attempts)
    }

    fn part_record(
        &self,
        repo: &Repository,
        branch: &str,
        revert: Oid,
        evidence: &Evidence,
        notes: &[String],
        attempts: u32,
    ) -> Result<RevertedPart, Trouble> {
        let mut culprits = Vec::new();
        for id in evidence.culprits.iter().take(RECORD_CULPRITS_MAX) {
            culprits.push(plan::culprit(repo, *id)?);
        }
        let mut files = plan::lossy(evidence.files.get(..RECORD_FILES_MAX).unwrap_or(&evidence.files));
        if let Some(more) = evidence.files.len().checked_sub(RECORD_FILES_MAX).filter(|more| *more > 0) {
            files.push(format!("and {more} more"));
        }
        Ok(RevertedPart {
            repo_url: redact(&self.part.repo_url),
            branch: branch.to_owned(),
            sources: self.part.sources.clone(),
            definition: self.part.definition.clone(),
            bad: self.part.bad.clone(),
            revert: revision(revert),
            culprits,
            files,
            quarantine: evidence.content.clone(),
            notes: notes.to_vec(),
            attempts,
        })
    }
}

fn unsupported(error: impl std::error::Error) -> Stop {
    Refusal::Unsupported { reason: error.to_string() }.into()
}

/// A footprint, and what it does not hold, in words.
pub(crate) struct Files {
    pub(crate) footprint: Footprint,
    notes: Vec<String>,
}

impl Files {
    fn plain(footprint: Footprint) -> Self {
        Self { footprint, notes: Vec::new() }
    }

    pub(crate) fn of(followed: &Followed) -> Result<Self, Trouble> {
        let footprint = match followed.footprint() {
            Ok(footprint) => footprint,
            // The commit is not at hand, which is said by who looks for it, or it is rendered from nothing at all. No
            // tree has a `.git`, so this is a footprint without any file.
            Err(FootprintError::Empty) => Footprint::new(&[".git"]).map_err(unsupported)?,
            Err(error) => return Err(unsupported(error).into()),
        };
        let notes = followed.notes().take(RECORD_NOTES_MAX).map(ToString::to_string).collect();
        Ok(Self { footprint, notes })
    }
}

/// Pushes, and looks at the branch afterwards; false when somebody else was faster.
fn push_and_look(
    repo: &Repository,
    session: &Arc<Session>,
    branch: &str,
    new: Oid,
    tip: Oid,
) -> Result<bool, Trouble> {
    match push::push(repo, session, branch, new, tip) {
        PushOutcome::Moved => Ok(false),
        PushOutcome::Unknown(failure) => Err(failure.into()),
        PushOutcome::NotAuthorised(message) => Err(Failure::new(Class::NotAuthorised, message).into()),
        PushOutcome::Declined(declined) => {
            // A server that lost a race refuses in words of its own; whether it was one, the branch tells.
            let now = cache::fetch_branch(repo, session, &format!("refs/heads/{branch}"))?;
            let moved = !matches!(now, Target::Branch { tip: now, .. } if now == tip);
            if moved {
                return Ok(false);
            }
            let refusal = declined.refusal(branch, &session.access.url)?;
            Err(Stop::from(refusal).into())
        }
        PushOutcome::Pushed => {
            let there = match cache::fetch_branch(repo, session, &format!("refs/heads/{branch}")) {
                Ok(Target::Branch { tip, .. }) => tip == new || repo.graph_descendant_of(tip, new)?,
                Ok(Target::NotABranch) => false,
                // The server's word is final; that it could not be asked again does not change it.
                Err(_) => true,
            };
            if there {
                return Ok(true);
            }
            let why = "the server accepted the push, but the branch does not hold it: somebody rewrote it";
            Err(Failure::new(Class::Other, why).into())
        }
    }
}

/// Answers [`Git::relate`](super::Git::relate).
pub(crate) fn relate(
    order: &RelateOrder,
    repo: &Repository,
    session: &Arc<Session>,
) -> Result<Relation, Trouble> {
    let rendered_from = dry(repo, session, order.hydrated.as_ref(), &order.descendant)?;
    let (ancestor, descendant) = (commit_id(&order.ancestor)?, commit_id(&rendered_from)?);
    // A commit that is here does not change; of many applications in one repository only the first has it fetched.
    if repo.find_commit(ancestor).is_err() || repo.find_commit(descendant).is_err() {
        cache::fetch_any(repo, session, &order.target_revision)?;
    }
    let whole = Files::of(&followed(repo, &[ancestor, descendant], &order.renderings)?)?.footprint;
    let history = History::new(repo, &whole);
    for (id, wanted) in [(ancestor, &order.ancestor), (descendant, &order.descendant)] {
        if !history.has_commit(id)? {
            let target = &order.target_revision;
            let why = format!("{wanted} is not in the history of `{target}`; was the branch rewritten?");
            return Err(Failure::new(Class::Other, why).into());
        }
    }
    let (descends, _, same_content) = plan::relate(repo, &whole, ancestor, descendant)?;
    // What it is rendered from there alone, as for what is quarantined.
    let own = Files::of(&followed(repo, &[descendant], &order.renderings)?)?.footprint;
    let tree = repo.find_commit(descendant)?.tree_id();
    let content = Snapshot::of(repo, Some(tree), &own)?.digest(&own)?;
    let (ancestor, descendant) = (order.ancestor.clone(), order.descendant.clone());
    Ok(Relation { ancestor, descendant, descends, content, same_content })
}
