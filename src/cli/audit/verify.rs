//! `lastgood audit verify`: is the ledger what it was when it was written?

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::Args;
use jiff::Timestamp;

use super::super::access;
use super::super::replay::time;
use super::chains;
use super::commits::Look;
use super::output::{Form, Outcome};
use super::source::{Source, Where};
use crate::act::git::Trusted;
use crate::act::git::inspect::Inspected;
use crate::audit::{Leaf, chain, history, reverts};
use crate::record::ledger::{Digest, Head};

/// Exit code for a ledger with findings.
const FINDINGS: u8 = 1;
/// Exit code for a ledger of which it is not known.
const UNKNOWN: u8 = 2;

/// Arguments of `lastgood audit verify`.
#[derive(Args, Debug)]
pub(super) struct Verify {
    #[command(flatten)]
    place: Where,
    /// Another repository with reverts that records name, or their only one beside a folder; may be given several times.
    #[arg(long, value_name = "PATH|URL")]
    reverts_in: Vec<String>,
    /// A branch on which reverts are looked for, beside the default one and those that records name; may be given several
    /// times.
    #[arg(long = "branch", value_name = "NAME")]
    branches: Vec<String>,
    /// Checks the ledger alone, and not the commits that its records name.
    #[arg(long, conflicts_with_all = ["reverts_in", "branches"])]
    chain_only: bool,
    /// Reverts before this time are not looked at, and what was recorded before it may have been put away: RFC 3339 or Unix
    /// seconds.
    #[arg(long, value_name = "TIME", value_parser = time)]
    since: Option<Timestamp>,
    /// A head that the ledger had once, as this command prints it: `CLUSTER SEQUENCE HASH`; may be given several times.
    #[arg(long, value_name = "HEAD", value_parser = remembered)]
    remembered: Vec<Known>,
    /// Reads heads that the ledger had once from this file, and writes the present one to it if nothing is wrong.
    #[arg(long, value_name = "FILE")]
    remember: Option<PathBuf>,
    /// The file with the SSH keys of which one must have signed each commit, as `ssh-keygen -Y verify` reads it.
    #[arg(long, value_name = "FILE")]
    allowed_signers: Option<PathBuf>,
    /// The file with the OpenPGP keys of which one must have signed each commit, as `gpg --armor --export` writes it.
    #[arg(long, value_name = "FILE")]
    keyring: Option<PathBuf>,
    /// The form of the result.
    #[arg(long, value_enum, default_value_t = Form::Text)]
    output: Form,
}

/// A head that a cluster's ledger had.
#[derive(Clone, Debug)]
struct Known {
    cluster: String,
    head: Head,
}

impl Verify {
    /// Prints a line for each finding and a summary. The exit code is 0 if there are none, 1 if there are, and 2 when it is
    /// not known, or not of all that the records name.
    pub(super) fn run(&self, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
        let outcome = match self.check() {
            Ok(outcome) => outcome,
            Err(error) => {
                writeln!(io::stderr(), "error: cannot verify: {error:#}").ok();
                return Ok(ExitCode::from(UNKNOWN));
            }
        };
        self.output.write(&outcome, out)?;
        out.flush()?;
        Ok(match (outcome.findings().next(), outcome.unchecked.is_empty()) {
            (Some(_), _) => ExitCode::from(FINDINGS),
            (None, false) => ExitCode::from(UNKNOWN),
            (None, true) => ExitCode::SUCCESS,
        })
    }

    fn check(&self) -> anyhow::Result<Outcome> {
        let mut known = self.remembered.clone();
        if let Some(file) = &self.remember {
            known.extend(read_heads(file)?);
        }
        let trusted = self.trusted()?;
        let source = self.place.open()?;
        let (mut outcome, leaves) = self.chains(&source, &known, trusted.as_ref())?;
        if !self.chain_only {
            self.commits(&leaves, trusted.as_ref(), &mut outcome)?;
        }
        let is_good = outcome.findings().next().is_none();
        if let Some(file) = self.remember.as_deref().filter(|_| is_good) {
            for chain in &outcome.chains {
                known.retain(|known| known.cluster != chain.cluster);
                let present = chain.head.clone();
                known.extend(present.map(|head| Known { cluster: chain.cluster.clone(), head }));
            }
            write_heads(file, &known)?;
        }
        Ok(outcome)
    }

    /// Checks the chain of each cluster, and the commits of its branches.
    fn chains(
        &self,
        source: &Source,
        known: &[Known],
        trusted: Option<&Trusted>,
    ) -> anyhow::Result<(Outcome, Vec<Leaf>)> {
        let repo = (!source.branches.is_empty()).then(|| Inspected::open(&source.dir)).transpose()?;
        let (mut chains, mut all) = (Vec::new(), Vec::new());
        for cluster in chains::read(source, self.place.cluster.as_deref())? {
            let name = cluster.name.clone();
            let heads = known.iter().filter(|known| known.cluster == name).map(|known| known.head.clone());
            let (mut chain, mut leaves) = cluster.check(self.since, &heads.collect::<Vec<_>>());
            for branch in source.branches.iter().filter(|branch| branch.cluster == name) {
                let Some(repo) = &repo else { continue };
                chain.findings.append(&mut history::check(&repo.history(branch.tip, trusted)?, &leaves));
            }
            chains.push(chain);
            all.append(&mut leaves);
        }
        // A cluster whose ledger is gone as a whole.
        let gone = known.iter().filter(|known| !chains.iter().any(|chain| chain.cluster == known.cluster));
        let is_asked_for = |known: &&Known| match &self.place.cluster {
            Some(cluster) => *cluster == known.cluster,
            None => !source.branches.is_empty(),
        };
        let lost: Vec<&Known> = gone.filter(is_asked_for).collect();
        for known in lost {
            chains.push(chain::check(&known.cluster, &mut [], self.since, std::slice::from_ref(&known.head)));
        }
        let place = source.place().to_owned();
        Ok((Outcome { place, chains, compared: None, commits: Vec::new(), unchecked: Vec::new() }, all))
    }

    /// Compares the records with the commits that they name, and the reverts on the branches with their records.
    fn commits(
        &self,
        leaves: &[Leaf],
        trusted: Option<&Trusted>,
        outcome: &mut Outcome,
    ) -> anyhow::Result<()> {
        let look = Look {
            place: &self.place,
            given: self.place.repo.iter().chain(&self.reverts_in).cloned().collect(),
            branches: self.branches.iter().cloned().collect(),
            since: self.since,
            trusted,
        };
        let wanted = reverts::wanted(leaves, self.since);
        let read = look.read(&wanted)?;
        for url in &read.missing {
            let commits = wanted.get(url).map_or(0, |wanted| wanted.commits.len());
            let what =
                format!("{commits} commits in {url}, which was not given; see --reverts-in and --chain-only");
            outcome.unchecked.push(what);
        }
        let mut compared = reverts::compare(leaves, self.since, &read.observed);
        let unread = compared
            .unread
            .iter()
            .map(|path| format!("the commits of {path}: this version cannot read them"));
        outcome.unchecked.extend(unread);
        outcome.commits.append(&mut compared.findings);
        outcome.compared = Some(compared);
        Ok(())
    }

    fn trusted(&self) -> anyhow::Result<Option<Trusted>> {
        let mut trusted = Trusted::default();
        let named = |file: &Path, why: String| anyhow::anyhow!("{}: {why}", file.display());
        if let Some(file) = &self.allowed_signers {
            trusted.add_allowed_signers(&access::read(file)?).map_err(|why| named(file, why))?;
        }
        if let Some(file) = &self.keyring {
            trusted.add_keyring(&access::read(file)?).map_err(|why| named(file, why))?;
        }
        let is_asked = self.allowed_signers.is_some() || self.keyring.is_some();
        if is_asked && trusted.is_empty() {
            bail!("the files with trusted keys hold no key for commits");
        }
        Ok(is_asked.then_some(trusted))
    }
}

/// Reads `CLUSTER SEQUENCE HASH`.
fn remembered(text: &str) -> Result<Known, String> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let [cluster, sequence, hash] = words.as_slice() else {
        return Err("write it as `CLUSTER SEQUENCE HASH`, as `lastgood audit verify` prints it".to_owned());
    };
    let sequence = sequence.parse().map_err(|_| format!("`{sequence}` is no number of a record"))?;
    let hash = Digest::try_from((*hash).to_owned())?;
    Ok(Known { cluster: (*cluster).to_owned(), head: Head { sequence, hash } })
}

fn read_heads(file: &Path) -> anyhow::Result<Vec<Known>> {
    let text = match std::fs::read_to_string(file) {
        Ok(text) => text,
        // The first time there is none.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", file.display())),
    };
    let lines = text.lines().zip(1..).filter(|(line, _)| !line.trim().is_empty());
    let read = lines.map(|(line, number)| {
        remembered(line).map_err(|error| anyhow::anyhow!("{}:{number}: {error}", file.display()))
    });
    read.collect()
}

fn write_heads(file: &Path, known: &[Known]) -> anyhow::Result<()> {
    let line = |known: &Known| format!("{} {} {}\n", known.cluster, known.head.sequence, known.head.hash);
    let text: String = known.iter().map(line).collect();
    // In one step: a file that was cut short would forget a head.
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let written = tempfile::NamedTempFile::new_in(folder).and_then(|mut new| {
        new.write_all(text.as_bytes())?;
        new.persist(file).map_err(|error| error.error)
    });
    written.map(drop).with_context(|| format!("cannot write {}", file.display()))
}
