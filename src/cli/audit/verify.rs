//! `lastgood audit verify`: is the ledger what it was when it was written?

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::Args;
use jiff::Timestamp;

use super::super::replay::time;
use super::output::{Form, Outcome};
use super::source::Where;
use crate::audit::{Leaf, chain};
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
    /// The cluster whose ledger it is; by default the one that its first record names.
    #[arg(long, value_name = "NAME")]
    cluster: Option<String>,
    /// What was recorded before this time may have been put away: RFC 3339 or Unix seconds.
    #[arg(long, value_name = "TIME", value_parser = time)]
    since: Option<Timestamp>,
    /// A head that the ledger had once, as this command prints it: `CLUSTER SEQUENCE HASH`; may be given several times.
    #[arg(long, value_name = "HEAD", value_parser = remembered)]
    remembered: Vec<Known>,
    /// Reads heads that the ledger had once from this file, and writes the present one to it if nothing is wrong.
    #[arg(long, value_name = "FILE")]
    remember: Option<PathBuf>,
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
    /// not known.
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
        let good = outcome.findings().next().is_none();
        Ok(if good { ExitCode::SUCCESS } else { ExitCode::from(FINDINGS) })
    }

    fn check(&self) -> anyhow::Result<Outcome> {
        let mut known = self.remembered.clone();
        if let Some(file) = &self.remember {
            known.extend(read_heads(file)?);
        }
        let source = self.place.open()?;
        let (mut leaves, mut findings) = (Vec::new(), Vec::new());
        for (leaf, found) in source.each(|_| true, Leaf::read)? {
            leaves.extend(leaf);
            findings.extend(found);
        }
        let first = leaves.iter().min_by_key(|leaf| leaf.sequence);
        let cluster = match (&self.cluster, first) {
            (Some(cluster), _) => cluster.clone(),
            (None, Some(first)) => first.cluster.clone(),
            (None, None) => bail!("{} holds no record that can be read", source.place()),
        };
        let heads: Vec<Head> =
            known.iter().filter(|known| known.cluster == cluster).map(|known| known.head.clone()).collect();
        let mut chain = chain::check(&cluster, &mut leaves, self.since, &heads);
        findings.append(&mut chain.findings);
        chain.findings = findings;
        let outcome = Outcome { place: source.place(), chains: vec![chain] };
        if let Some(file) = self.remember.as_deref().filter(|_| outcome.findings().next().is_none()) {
            known.retain(|known| known.cluster != cluster);
            let present = outcome.chains.iter();
            known.extend(present.filter_map(|chain| {
                Some(Known { cluster: chain.cluster.clone(), head: chain.head.clone()? })
            }));
            write_heads(file, &known)?;
        }
        Ok(outcome)
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
