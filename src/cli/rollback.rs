//! `lastgood rollback`: rolls a live application back as the daemon would, because a person says so.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use super::recorder;
use super::run::{LedgerAt, State};
use crate::cluster::Clients;
use crate::engine::action::RevertRecord;
use crate::engine::analysis::Phase;
use crate::engine::entry::{Kind, Why};
use crate::engine::facts::AppKey;
use crate::policy::PolicySet;
use crate::run::once::{self, Request, Told};

/// Exit code for a rollback that conflicts with later commits.
const CONFLICT: u8 = 2;
/// Exit code for a rollback that a guard, Git or its server objects to.
const REFUSED: u8 = 3;

/// Arguments of `lastgood rollback`.
#[derive(Args, Debug)]
pub struct Rollback {
    /// The application, as `NAME` or `NAMESPACE/NAME`; its namespace is Argo CD's by default.
    #[arg(value_name = "APPLICATION")]
    application: String,
    /// The folder with the policy files.
    #[arg(long, value_name = "DIR")]
    policies: PathBuf,
    /// Only says what would be done; the default.
    #[arg(long, conflicts_with = "yes")]
    dry_run: bool,
    /// Pushes the revert; a running daemon then sees to it that it becomes live and helps.
    #[arg(long)]
    yes: bool,
    /// The revision to go back to, or how it begins: one that Argo CD's history has. By default last good. Name one when
    /// what lastgood judged healthy is not.
    #[arg(long, value_name = "REV")]
    to: Option<String>,
    /// Why, in a sentence for the commit message and the journal.
    #[arg(long, value_name = "TEXT", default_value = "asked for a rollback")]
    because: String,
    /// A namespace whose Applications are looked at; may be given several times.
    #[arg(long = "namespace", value_name = "NAME", default_value = "argocd")]
    namespaces: Vec<String>,
    /// The namespace of Argo CD's repository Secrets, and of the policies' own Secrets.
    #[arg(long, value_name = "NAME", default_value = "argocd")]
    argocd_namespace: String,
    /// The name of this cluster, for commits: that of the daemon.
    #[arg(long, value_name = "NAME", default_value = "default")]
    cluster: String,
    /// Where states are kept: `kube` for LastGood objects, or a folder; as for the daemon.
    #[arg(long, value_name = "kube|DIR", default_value = "kube")]
    state: State,
    /// Where records go; as for the daemon.
    #[arg(long, value_name = "repository|URL|DIR|none", default_value = "repository")]
    ledger: LedgerAt,
    /// The folder for copies of Git repositories; may be lost at any time.
    #[arg(long, value_name = "DIR", default_value = "/tmp/lastgood-rollback")]
    cache: PathBuf,
    /// The form of the output.
    #[arg(long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

/// The form of the output.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Output {
    /// For people.
    Text,
    /// One JSON object.
    Json,
}

impl Rollback {
    /// Plans the rollback, and carries it out if that was asked for and the plan stands.
    pub fn run(self, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
        let told =
            tokio::runtime::Runtime::new().context("cannot start the runtime")?.block_on(self.roll())?;
        let shown = Shown::of(&told, self.yes);
        match self.output {
            Output::Json => {
                serde_json::to_writer_pretty(&mut *out, &shown.json(&told))?;
                writeln!(out)?;
            }
            Output::Text => shown.print(&told, out)?,
        }
        Ok(ExitCode::from(shown.code))
    }

    async fn roll(&self) -> anyhow::Result<Told> {
        let policies = PolicySet::load(&self.policies).map_err(|mistakes| anyhow::anyhow!("{mistakes}"))?;
        let clients = Clients::infer().await?;
        let request = Request {
            store: self.state.open(&clients)?,
            clients,
            namespaces: self.namespaces.clone(),
            argocd_namespace: self.argocd_namespace.clone(),
            cluster: self.cluster.clone(),
            policies,
            ledger: self.ledger.open()?,
            by: recorder(),
            cache: self.cache.clone(),
            app: self.app(),
            because: self.because.clone(),
            to: self.to.clone(),
        };
        let planned = once::plan(&request).await?;
        if let Some(error) = failure(&planned) {
            bail!("the rollback could not be planned: {error}");
        }
        // What would be refused is not begun, so that it leaves no hold behind.
        if !self.yes || Shown::of(&planned, false).outcome != "planned" {
            return Ok(planned);
        }
        let done = once::carry_out(&request).await?;
        match failure(&done) {
            Some(error) => bail!("the revert was not pushed: {error}; a running daemon goes on trying"),
            None => Ok(done),
        }
    }

    fn app(&self) -> AppKey {
        let (namespace, name) =
            self.application.split_once('/').unwrap_or((&self.argocd_namespace, &self.application));
        AppKey::new(namespace, name)
    }
}

/// Why it is not known what became of it.
fn failure(told: &Told) -> Option<&str> {
    told.entries.iter().rev().find_map(|entry| match &entry.kind {
        Kind::RevertRetried { error, .. } => Some(error.as_str()),
        _ => None,
    })
}

/// What is shown of a rollback.
struct Shown<'a> {
    outcome: &'static str,
    code: u8,
    /// The sentence that says why, where nothing is done.
    reason: Option<String>,
    record: Option<&'a RevertRecord>,
}

impl<'a> Shown<'a> {
    fn of(told: &'a Told, yes: bool) -> Self {
        let last = told.entries.iter().rev().find_map(|entry| match &entry.kind {
            Kind::RevertPlanned { record } => Some(Self::made("planned", record)),
            Kind::RevertPushed { record, already, .. } => {
                Some(Self::made(if *already { "already" } else { "pushed" }, record))
            }
            Kind::PullRequestOpened { record, .. } => Some(Self::made("proposed", record)),
            Kind::HoldBegan { why: why @ Why::Conflict { .. }, .. } => {
                Some(Self::not("conflict", CONFLICT, format!("{why}. {}", why.advice())))
            }
            Kind::HoldBegan { why, .. } => {
                Some(Self::not("refused", REFUSED, format!("{why}. {}", why.advice())))
            }
            kind @ (Kind::Refrained { .. } | Kind::RevertWaits { .. }) => {
                Some(Self::not("refused", REFUSED, kind.to_string()))
            }
            _ => None,
        });
        last.unwrap_or_else(|| {
            let why = match &told.phase {
                Phase::Reverting(_) | Phase::Confirming(_) => "it is being rolled back already",
                Phase::New | Phase::Adopting(_) => "lastgood does not know yet what was good",
                Phase::Idle { .. } | Phase::Analysing(_) => "its newest sync has not been looked at yet",
            };
            let daemon = if yes { "" } else { "; is the daemon running?" };
            Self::not("refused", REFUSED, format!("{why}{daemon}"))
        })
    }

    fn made(outcome: &'static str, record: &'a RevertRecord) -> Self {
        Self { outcome, code: 0, reason: None, record: Some(record) }
    }

    fn not(outcome: &'static str, code: u8, reason: String) -> Self {
        Self { outcome, code, reason: Some(reason), record: None }
    }

    fn json(&self, told: &Told) -> Value {
        json!({
            "outcome": self.outcome,
            "reason": self.reason,
            "parts": self.record.map(|record| &record.parts),
            "touches": self.record.map(|record| &record.touches),
            "journal": told.entries.iter().map(|entry| entry.kind.to_string()).collect::<Vec<_>>(),
        })
    }

    fn print(&self, told: &Told, out: &mut dyn Write) -> std::io::Result<()> {
        for entry in &told.entries {
            // What a plan would hold is not held.
            if !matches!(entry.kind, Kind::HoldBegan { .. }) {
                writeln!(out, "{}", entry.kind)?;
            }
        }
        if let Some(reason) = &self.reason {
            return writeln!(out, "Nothing is rolled back: {reason}");
        }
        let Some(record) = self.record else { return Ok(()) };
        for part in &record.parts {
            writeln!(out, "\n{} `{}`", part.repo_url, part.branch)?;
            for culprit in &part.culprits {
                let (id, subject, author) = (culprit.revision.short(), &culprit.subject, &culprit.author);
                writeln!(out, "  undoes {id} {subject} ({author})")?;
            }
            for file in &part.files {
                writeln!(out, "  changes {file}")?;
            }
            for note in &part.notes {
                writeln!(out, "  note: {note}")?;
            }
        }
        for other in &record.touches {
            writeln!(out, "  touches {other}")?;
        }
        if self.outcome == "planned" {
            writeln!(out, "\nNothing was changed. `--yes` pushes it.")?;
        }
        Ok(())
    }
}
