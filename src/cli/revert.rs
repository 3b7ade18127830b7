//! `lastgood revert`: plans a revert from a repository alone, and pushes it if asked.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use clap::{Args, ValueEnum};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::access::{Reach, read};
use crate::act::git::never::{KINDS, Never};
use crate::act::git::offline::{Change, Outcome, Report, Wish};
use crate::act::git::plan::OnConflict;
use crate::act::git::{Git, Identity, KeyText, Secret, Signer};
use crate::engine::action::Culprit;

/// Exit code for a plan that conflicts with later commits.
const CONFLICT: u8 = 2;
/// Exit code for a revert that must not be made.
const REFUSED: u8 = 3;

/// Arguments of `lastgood revert`.
#[derive(Args, Debug)]
pub struct Revert {
    /// The repository: a folder on this machine, which is read in place, or a URL, of which a copy is fetched.
    #[arg(long, value_name = "PATH|URL")]
    repo: String,
    /// The branch to revert on.
    #[arg(long, value_name = "NAME")]
    branch: String,
    /// A folder or file that the application is rendered from; may be given several times.
    #[arg(long = "application-path", value_name = "PATH", required = true)]
    paths: Vec<String>,
    /// The commit that made the application sick.
    #[arg(long, value_name = "REV")]
    bad: String,
    /// The commit to go back to; by default the newest one before bad at which the application's files differ.
    #[arg(long, value_name = "REV")]
    good: Option<String>,
    /// The path of another application; the plan says whether it is rendered from files that change.
    #[arg(long = "other-path", value_name = "PATH")]
    others: Vec<String>,
    /// Takes the given paths as all that the plan may touch, and follows no reference in them.
    #[arg(long)]
    no_follow: bool,
    /// What to do where later commits changed the same lines: plan nothing, or put the application's files back to what
    /// they were at good, which gives up what was changed in them since.
    #[arg(long, value_enum, default_value_t = Conflict::Hold)]
    on_conflict: Conflict,
    /// Kinds that must not be reverted, as `Kind` or `group/Kind`; empty for none.
    #[arg(long, value_name = "KIND,…", value_delimiter = ',', default_values_t = KINDS.map(String::from))]
    never_kinds: Vec<String>,
    /// A glob of files that must not be reverted; may be given several times.
    #[arg(long = "never-path", value_name = "GLOB")]
    never_paths: Vec<String>,
    /// Pushes the revert; without it nothing is changed.
    #[arg(long)]
    push: bool,
    /// A reason for the commit's message; may be given several times.
    #[arg(long, value_name = "TEXT")]
    because: Vec<String>,
    /// Who stands on the commit, as `Name <address>`.
    #[arg(long, value_name = "WHO", default_value = "lastgood <lastgood@localhost>")]
    author: String,
    /// The file with the private key that signs the commit, in OpenSSH's form or armored in OpenPGP's; its passphrase, if
    /// it has one, in the environment variable `LASTGOOD_SIGNING_PASSPHRASE`.
    #[arg(long, value_name = "FILE")]
    signing_key: Option<PathBuf>,
    #[command(flatten)]
    reach: Reach,
    /// The folder that keeps the copy of a remote repository; by default a temporary one.
    #[arg(long, value_name = "DIR")]
    cache: Option<PathBuf>,
    /// How long it may take in all.
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = humantime::parse_duration)]
    timeout: Duration,
    /// The form of the answer.
    #[arg(long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

/// What to do where later commits changed the same lines.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Conflict {
    /// Plan nothing.
    Hold,
    /// Put the application's files back to what they were.
    Restore,
}

/// The form of the answer.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Output {
    /// For people.
    Text,
    /// One JSON object.
    Json,
}

impl Revert {
    /// Plans, prints, and pushes if asked.
    pub fn run(self, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
        let access = self.reach.access(&self.repo)?;
        let identity = self.identity()?;
        let kinds: Vec<String> = self.never_kinds.iter().filter(|kind| !kind.is_empty()).cloned().collect();
        let never = Never::new(&self.never_paths, &kinds).context("--never-path")?;
        let wish = Wish {
            branch: self.branch.strip_prefix("refs/heads/").unwrap_or(&self.branch),
            paths: &self.paths,
            follow: !self.no_follow,
            others: &self.others,
            bad: &self.bad,
            good: self.good.as_deref(),
            on_conflict: match self.on_conflict {
                Conflict::Hold => OnConflict::Hold,
                Conflict::Restore => OnConflict::Restore,
            },
            never: &never,
            because: &self.because,
            push: self.push.then_some((&identity, Timestamp::now())),
        };
        let temporary = tempfile::tempdir().context("cannot make a temporary folder")?;
        let copies = self.cache.clone().unwrap_or_else(|| temporary.path().to_owned());
        let report = Git::new(copies)?.offline(&wish, &access, Instant::now() + self.timeout)?;
        match self.output {
            Output::Text => print(&report, &wish, out)?,
            Output::Json => writeln!(out, "{}", serde_json::to_string_pretty(&to_json(&report))?)?,
        }
        Ok(match report.outcome {
            Outcome::Revert | Outcome::Nothing => ExitCode::SUCCESS,
            Outcome::Conflict => ExitCode::from(CONFLICT),
            Outcome::Refused => ExitCode::from(REFUSED),
        })
    }

    fn identity(&self) -> anyhow::Result<Identity> {
        let parts = self.author.trim().strip_suffix('>').and_then(|rest| rest.split_once('<'));
        let (name, email) = match parts.map(|(name, email)| (name.trim(), email.trim())) {
            Some((name, email)) if !name.is_empty() && !email.is_empty() => (name, email),
            _ => bail!("--author `{}`: write `Name <address>`", self.author),
        };
        let signer = match &self.signing_key {
            Some(path) => {
                let text = KeyText {
                    origin: path.display().to_string(),
                    key: Secret::new(read(path)?),
                    passphrase: std::env::var("LASTGOOD_SIGNING_PASSPHRASE").ok().map(Secret::new),
                };
                Some(Ok(Signer::read(&text, Timestamp::now())?))
            }
            None => None,
        };
        Ok(Identity { name: name.to_owned(), email: email.to_owned(), signer })
    }
}

fn outcome(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Revert => "revert",
        Outcome::Nothing => "nothing",
        Outcome::Conflict => "conflict",
        Outcome::Refused => "refused",
    }
}

fn to_json(report: &Report) -> Value {
    let id = |id: Option<git2::Oid>| id.map(|id| id.to_string());
    let commits = |commits: &[Culprit]| -> Vec<Value> {
        let commit = |c: &Culprit| json!({ "id": c.revision, "author": c.author, "authoredAt": c.authored_at, "subject": c.subject });
        commits.iter().map(commit).collect()
    };
    let change = |c: &Change| json!({ "file": c.file, "added": c.added, "removed": c.removed });
    json!({
        "outcome": outcome(report.outcome),
        "reason": report.reason,
        "tip": report.tip.to_string(),
        "bad": id(report.bad),
        "good": id(report.good),
        "tree": id(report.tree),
        "files": report.changes.iter().map(|c| &c.file).collect::<Vec<_>>(),
        "diffstat": report.changes.iter().map(change).collect::<Vec<_>>(),
        "culprits": report.culprits.iter().map(|c| &c.revision).collect::<Vec<_>>(),
        "commits": commits(&report.culprits),
        "newer": commits(&report.newer),
        "conflicts": report.conflicts,
        "restored": report.restored,
        "footprint": report.footprint,
        "notes": report.notes,
        "touched": report.touched,
        "pushed": id(report.pushed),
    })
}

fn print(report: &Report, wish: &Wish<'_>, out: &mut dyn Write) -> std::io::Result<()> {
    let short = |id: Option<git2::Oid>| id.map_or_else(String::new, |id| format!("{:.8}", id.to_string()));
    let tip = short(Some(report.tip));
    match (report.outcome, report.reason.as_deref()) {
        (Outcome::Revert, _) => writeln!(
            out,
            "revert {} to {} on {} (tip {tip}), tree {}",
            short(report.bad),
            short(report.good),
            wish.branch,
            short(report.tree)
        )?,
        (other, reason) => writeln!(out, "{}: {}", outcome(other), reason.unwrap_or_default())?,
    }
    section(out, "culprits", report.culprits.iter().map(commit))?;
    section(out, "newer commits that touch the footprint, and stay", report.newer.iter().map(commit))?;
    section(out, "footprint", report.footprint.iter().cloned())?;
    section(out, "not followed", report.notes.iter().cloned())?;
    section(out, "files", report.changes.iter().map(stat))?;
    section(out, "conflicts", report.conflicts.iter().cloned())?;
    section(out, "files where later changes are given up", report.restored.iter().cloned())?;
    section(out, "other applications that are touched", report.touched.iter().cloned())?;
    match (report.outcome, report.pushed) {
        (_, Some(id)) => writeln!(out, "pushed {id} to {}", wish.branch),
        (Outcome::Revert, None) => writeln!(out, "nothing was changed; --push pushes it"),
        _ => Ok(()),
    }
}

fn section(out: &mut dyn Write, title: &str, lines: impl Iterator<Item = String>) -> std::io::Result<()> {
    let mut lines = lines.peekable();
    if lines.peek().is_some() {
        writeln!(out, "{title}:")?;
    }
    lines.try_for_each(|line| writeln!(out, "  {line}"))
}

fn commit(commit: &Culprit) -> String {
    format!("{} {} ({})", commit.revision.short(), commit.subject, commit.author)
}

fn stat(change: &Change) -> String {
    match (change.added, change.removed) {
        (Some(added), Some(removed)) => format!("{} +{added} -{removed}", change.file),
        _ => format!("{} (binary)", change.file),
    }
}
