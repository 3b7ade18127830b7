//! Reverts that a person asks for, from a repository alone: no cluster, no state, no history of rollbacks.

mod report;

use std::sync::Arc;
use std::time::Instant;

use git2::{ErrorCode, ObjectType, Oid, Repository};
use jiff::Timestamp;

use super::access::Access;
use super::cache::{self, Target};
use super::error::{Class, Failure, GitError};
use super::footprint::{Followed, Footprint, follow};
use super::history::{History, revision};
use super::message::{self, Told};
use super::never::Never;
use super::plan::{self, Found, OnConflict, Plan, Request, Stop};
use super::push::{self, PushOutcome};
use super::transport::Session;
use super::tree;
use super::url::{Scheme, local_path};
use super::{Git, Identity, Trouble, commit};
use crate::engine::action::Refusal;
use crate::engine::facts::Rendering;

pub use report::{Change, Outcome, Report};

/// Pushes tried while others push first.
const PUSHES_MAX: u32 = 10;

/// Asked before the files of the repository, whose priority is 2 at most.
const MEMORY_FIRST: i32 = 100;

/// What a person asks for.
#[derive(Clone, Debug)]
pub struct Wish<'a> {
    /// The branch.
    pub branch: &'a str,
    /// The application's folders or files from the repository's root.
    pub paths: &'a [String],
    /// Whether what they refer to belongs to the footprint too.
    pub follow: bool,
    /// Paths of other applications, of which it is said whether they are touched.
    pub others: &'a [String],
    /// Bad, as anything that names a commit.
    pub bad: &'a str,
    /// Last good; none means the newest commit before bad whose footprint differs.
    pub good: Option<&'a str>,
    /// What to do where later commits changed the same lines.
    pub on_conflict: OnConflict,
    /// What must not be reverted.
    pub never: &'a Never,
    /// Why, for the commit's message.
    pub because: &'a [String],
    /// Whose commit it is, if it is to be pushed.
    pub push: Option<(&'a Identity, Timestamp)>,
}

impl Git {
    /// Plans a person's revert, and pushes it if that is wished.
    ///
    /// A repository on the same disk is read where it is; what a plan writes there are unreferenced objects, and where it
    /// may not be written to, nothing.
    ///
    /// # Errors
    /// When it is not known what would have to be done: the repository cannot be read, or the wish names what is not
    /// there. What must not be done is a [`Report`].
    pub fn offline(&self, wish: &Wish<'_>, access: &Access, deadline: Instant) -> Result<Report, GitError> {
        let done = match Scheme::of(&access.url) {
            Some(Scheme::Local) => {
                open(&access.url, wish.push.is_some()).map_err(Trouble::from).and_then(|repo| {
                    let session = Session::new(access, deadline);
                    run(&repo, wish, &session, true)
                })
            }
            _ => self.with_copy(access, deadline, |repo, session| run(repo, wish, session, false)),
        };
        done.map_err(|trouble| trouble.into_failure().on(&access.url))
    }
}

fn open(url: &str, pushes: bool) -> Result<Repository, Failure> {
    let path =
        local_path(url).ok_or_else(|| Failure::new(Class::NotFound, "the file URL names no path here"))?;
    // `open_bare` does not mind who owns the files, and a bare repository is what a server has.
    let repo =
        Repository::open_bare(&path).or_else(|_| Repository::open(&path)).map_err(|e| match e.code() {
            ErrorCode::NotFound if !path.exists() => Failure::new(Class::NotFound, "there is no such folder"),
            ErrorCode::NotFound => Failure::new(Class::NotFound, "the folder holds no Git repository"),
            _ => Failure::from_git2(&e),
        })?;
    // Whoever may only read plans in memory.
    let odb = repo.odb().map_err(|e| Failure::from_git2(&e))?;
    if !pushes && odb.write(ObjectType::Blob, b"").is_err() {
        odb.add_new_mempack_backend(MEMORY_FIRST).map_err(|e| Failure::from_git2(&e))?;
    }
    drop(odb);
    Ok(repo)
}

fn run(
    repo: &Repository,
    wish: &Wish<'_>,
    session: &Arc<Session>,
    in_place: bool,
) -> Result<Report, Trouble> {
    if in_place && wish.push.is_some() && !repo.is_bare() {
        let why = "it has a working tree, and a push would leave that behind; name the bare repository or its server";
        return Err(Failure::new(Class::Other, why).into());
    }
    let mut pushes = 0;
    loop {
        let tip = if in_place { tip_of(repo, wish.branch)? } else { fetched(repo, session, wish.branch)? };
        let question = match Question::new(repo, wish, tip) {
            Ok(question) => question,
            Err(Trouble::Stop(Stop::Refused(refusal))) => return Ok(Report::refused(tip, &refusal)),
            Err(trouble) => return Err(trouble),
        };
        let mut report = question.answer()?;
        let (Some(plan), Some((identity, now))) = (report.plan.take(), wish.push) else { return Ok(report) };
        let new = question.commit(&plan, identity, now)?;
        let outcome = if in_place {
            set(repo, wish.branch, new, tip)?
        } else {
            push::push(repo, session, wish.branch, new, tip)
        };
        pushes += 1;
        match outcome {
            PushOutcome::Pushed => {
                report.pushed = Some(new);
                return Ok(report);
            }
            PushOutcome::Moved if pushes < PUSHES_MAX && !session.is_over() => {}
            PushOutcome::Moved => {
                let why = format!("the branch moved before each of {pushes} pushes; try again");
                return Err(Failure::new(Class::Other, why).into());
            }
            PushOutcome::NotAuthorised(message) => {
                return Err(Failure::new(Class::NotAuthorised, message).into());
            }
            PushOutcome::Declined(declined) => {
                // A server that lost a race refuses in words of its own; whether it was one, the branch tells.
                if pushes < PUSHES_MAX && fetched(repo, session, wish.branch)? != tip {
                    continue;
                }
                report.refuse(&declined.refusal(wish.branch, &session.access.url)?);
                return Ok(report);
            }
            PushOutcome::Unknown(failure) => return Err(failure.into()),
        }
    }
}

fn tip_of(repo: &Repository, branch: &str) -> Result<Oid, Failure> {
    repo.refname_to_id(&format!("refs/heads/{branch}")).map_err(|e| match e.code() {
        ErrorCode::NotFound | ErrorCode::InvalidSpec => no_branch(branch),
        _ => Failure::from_git2(&e),
    })
}

fn fetched(repo: &Repository, session: &Session, branch: &str) -> Result<Oid, Failure> {
    match cache::fetch_branch(repo, session, branch)? {
        Target::Branch { tip, .. } => Ok(tip),
        Target::NotABranch => Err(no_branch(branch)),
    }
}

fn no_branch(branch: &str) -> Failure {
    Failure::new(Class::Other, format!("it has no branch `{branch}`; check --branch"))
}

/// Compares and swaps the branch of a repository on the same disk.
fn set(repo: &Repository, branch: &str, new: Oid, expected: Oid) -> Result<PushOutcome, git2::Error> {
    let name = format!("refs/heads/{branch}");
    match repo.reference_matching(&name, new, true, expected, "lastgood: revert") {
        Ok(_) => Ok(PushOutcome::Pushed),
        Err(e) if matches!(e.code(), ErrorCode::Modified | ErrorCode::Locked) => Ok(PushOutcome::Moved),
        Err(e) => Err(e),
    }
}

/// A wish whose names are found.
struct Question<'a> {
    repo: &'a Repository,
    wish: &'a Wish<'a>,
    tip: Oid,
    bad: Oid,
    good: Oid,
    at_bad: Footprint,
    followed: Followed,
    footprint: Footprint,
}

impl<'a> Question<'a> {
    fn new(repo: &'a Repository, wish: &'a Wish<'a>, tip: Oid) -> Result<Self, Trouble> {
        let bad = named(repo, wish.bad, wish.branch, tip)?;
        let mut followed = footprint_at(repo, bad, wish.paths, wish.follow)?;
        let at_bad = footprint(&followed)?;
        let good = match wish.good {
            Some(good) => named(repo, good, wish.branch, tip)?,
            None => {
                let mut history = History::new(repo, &at_bad);
                history.complete(tip, Some(bad))?;
                if !history.descends(tip, bad)? {
                    let branch = wish.branch.to_owned();
                    return Err(Stop::from(Refusal::BadNotOnBranch { bad: revision(bad), branch }).into());
                }
                match history.newest_differing(bad)? {
                    Some(good) => good,
                    None => {
                        known(repo, wish.paths, &[bad, tip])?;
                        return Err(Stop::from(Refusal::NoOtherContent { bad: revision(bad) }).into());
                    }
                }
            }
        };
        followed.unite(footprint_at(repo, good, wish.paths, wish.follow)?);
        let all = footprint(&followed)?;
        known(repo, wish.paths, &[bad, good, tip])?;
        Ok(Self { repo, wish, tip, bad, good, at_bad, followed, footprint: all })
    }

    fn answer(&self) -> Result<Report, Trouble> {
        let request = Request {
            good: self.good,
            bad: self.bad,
            tip: self.tip,
            branch: self.wish.branch,
            footprint: &self.footprint,
            at_bad: &self.at_bad,
            rollback: None,
            on_conflict: self.wish.on_conflict,
            never: self.wish.never,
        };
        let mut report = Report::new(self.tip, self.good, self.bad);
        report.footprint = self.listed()?;
        report.notes = self.followed.notes().map(ToString::to_string).collect();
        match plan::plan(self.repo, &request) {
            Ok(Found::Plan(plan)) => {
                let newer = History::new(self.repo, &self.footprint).newer(self.bad, self.tip)?;
                report.planned(self.repo, &plan, &newer)?;
                report.touched = self.touched(&plan.evidence.files)?;
                report.plan = Some(plan);
            }
            Ok(Found::Already(already)) => report.nothing(
                &format!("{} already has what last good had there", self.wish.branch),
                Some(already.evidence),
                self.repo,
            )?,
            Err(Stop::Refused(refusal @ Refusal::NothingToRevert { .. })) => {
                report.nothing(&refusal.to_string(), None, self.repo)?;
            }
            Err(Stop::Refused(refusal)) => report.refuse(&refusal),
            Err(Stop::Conflict(files)) => {
                let mut history = History::new(self.repo, &self.footprint);
                let culprits = history.culprits(self.good, self.bad)?;
                report.conflict(self.repo, &files, &culprits.all)?;
            }
            Err(stop) => return Err(stop.into()),
        }
        Ok(report)
    }

    /// The roots for people: folders end in `/`.
    fn listed(&self) -> Result<Vec<String>, git2::Error> {
        let mut listed = Vec::new();
        for root in self.footprint.roots() {
            let mut is_folder = root.is_empty();
            for commit in [self.bad, self.good, self.tip] {
                let tree = self.repo.find_commit(commit)?.tree_id();
                is_folder |= tree::entry_at(self.repo, tree, root)?.is_some_and(tree::Entry::is_folder);
            }
            listed.push(format!("{}{}", plan::quoted(root), if is_folder { "/" } else { "" }));
        }
        Ok(listed)
    }

    /// The other applications that are rendered from one of the files, before or after.
    fn touched(&self, files: &[Vec<u8>]) -> Result<Vec<String>, Trouble> {
        let mut touched = Vec::new();
        for other in self.wish.others {
            let one = std::slice::from_ref(other);
            let mut theirs = footprint_at(self.repo, self.tip, one, self.wish.follow)?;
            theirs.unite(footprint_at(self.repo, self.good, one, self.wish.follow)?);
            let theirs = footprint(&theirs)?;
            if files.iter().any(|file| theirs.contains(file)) {
                touched.push(other.clone());
            }
        }
        Ok(touched)
    }

    fn commit(&self, plan: &Plan, identity: &Identity, now: Timestamp) -> Result<Oid, Trouble> {
        let app = self.wish.paths.join(", ");
        let rollback = format!("{app}@{:.12}", self.bad.to_string());
        let told = |undone: &message::Undone<'_>| {
            message::compose(&Told {
                name: &app,
                app: &app,
                cluster: "",
                rollback: &rollback,
                bad: &revision(self.bad),
                good: &revision(self.good),
                evidence: self.wish.because,
                touches: &[],
                parent: None,
                record: None,
                undone,
            })
        };
        Ok(commit::of_plan(self.repo, identity, plan, self.tip, now, told)?)
    }
}

/// The commit that a text names: an id, a part of one, a branch, a tag, or one of Git's expressions.
fn named(repo: &Repository, text: &str, branch: &str, tip: Oid) -> Result<Oid, Trouble> {
    // The branch's name and what comes before it mean the branch as it is on the server.
    let text = match text.strip_prefix(branch) {
        Some(rest) if rest.is_empty() || rest.starts_with(['~', '^']) => format!("{tip}{rest}"),
        _ => text.to_owned(),
    };
    match repo.revparse_single(&text).and_then(|object| object.peel_to_commit()) {
        Ok(commit) => Ok(commit.id()),
        // A whole id that is not there is one of a history that was rewritten, or cut off: the plan tells which.
        Err(_) if text.len() == 40 && text.bytes().all(|b| b.is_ascii_hexdigit()) => {
            let id = Oid::from_str(&text)?;
            let footprint = Footprint::new(&[""]).map_err(|e| Failure::new(Class::Other, e.to_string()))?;
            History::new(repo, &footprint).complete(tip, None)?;
            let (bad, branch) = (revision(id), branch.to_owned());
            Err(Stop::from(Refusal::BadNotOnBranch { bad, branch }).into())
        }
        Err(e) => {
            let why = format!("`{text}` names no commit in it: {}; give the commit's id", e.message());
            Err(Failure::new(Class::Other, why).into())
        }
    }
}

fn footprint_at(
    repo: &Repository,
    commit: Oid,
    paths: &[String],
    follows: bool,
) -> Result<Followed, Trouble> {
    let paths = paths.iter().map(|path| clean(path)).collect::<Result<Vec<_>, _>>()?;
    if !follows {
        return Ok(Followed::only(&paths));
    }
    let tree = repo.find_commit(commit)?.tree_id();
    let renderings: Vec<_> = paths.into_iter().map(Rendering::of_path).collect();
    Ok(follow(repo, tree, &renderings)?)
}

/// A path as Git writes it; the repository's root is the empty one.
fn clean(path: &str) -> Result<String, Failure> {
    let parts: Vec<_> = path.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
    if parts.contains(&"..") {
        let why =
            format!("`{path}` leaves the repository: write it from the repository's root, without `..`");
        return Err(Failure::new(Class::Other, why));
    }
    Ok(parts.join("/"))
}

fn footprint(followed: &Followed) -> Result<Footprint, Failure> {
    followed.footprint().map_err(|e| Failure::new(Class::Other, e.to_string()))
}

/// Refuses a path that is at none of the commits: it is misspelt.
fn known(repo: &Repository, paths: &[String], commits: &[Oid]) -> Result<(), Trouble> {
    for path in paths {
        let mut known = false;
        for commit in commits {
            let tree = repo.find_commit(*commit)?.tree_id();
            known |= tree::entry_at(repo, tree, clean(path)?.as_bytes())?.is_some();
        }
        if !known {
            let why =
                format!("there is no `{path}` at bad, at last good or at the tip; check --application-path");
            return Err(Failure::new(Class::Other, why).into());
        }
    }
    Ok(())
}
