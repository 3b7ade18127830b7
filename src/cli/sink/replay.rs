//! `lastgood sink replay`.

use std::io::Write;
use std::process::ExitCode;
use std::str::FromStr;

use anyhow::{Context as _, bail};
use clap::Args;
use jiff::Timestamp;

use super::At;
use crate::record::state::SaveError;
use crate::sinks::keep::{Keeper, Kept};

/// How often it is tried anew because the daemon saved meanwhile; it does so once a second at most.
const TRIES_MAX: u32 = 10;

/// Arguments of `lastgood sink replay`.
#[derive(Args, Debug)]
pub(super) struct Replay {
    #[command(flatten)]
    at: At,
    /// The sink.
    #[arg(long, value_name = "NAME")]
    sink: String,
    /// From when on: a point in time, or a record's number in the ledger.
    #[arg(long, value_name = "TIME|SEQUENCE")]
    from: From,
    /// Which ledger, where the sink has several; all of them by default.
    #[arg(long, value_name = "PLACE")]
    ledger: Option<String>,
}

/// From when on records are sent again.
#[derive(Clone, Copy, Debug)]
enum From {
    Time(Timestamp),
    Sequence(u64),
}

impl FromStr for From {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(sequence) = text.parse() {
            return Ok(Self::Sequence(sequence));
        }
        text.parse()
            .map(Self::Time)
            .map_err(|_| "write a number, or a time with its zone such as `2026-01-31T12:00:00Z`".to_owned())
    }
}

impl Replay {
    pub(super) fn run(&self, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
        super::runtime()?.block_on(async {
            let sinks = self.at.open().await?;
            let names = sinks.iter().map(|(sink, _)| sink.name.clone()).collect::<Vec<_>>().join(", ");
            let found = sinks.into_iter().find(|(sink, _)| sink.name == self.sink);
            let (_, keeper) =
                found.with_context(|| format!("no sink is called `{}`; there is {names}", self.sink))?;
            for place in self.rewind(&keeper).await? {
                writeln!(
                    out,
                    "{}: a running daemon sends the records of {place} again within half a minute",
                    self.sink
                )?;
            }
            Ok(ExitCode::SUCCESS)
        })
    }

    /// Writes the older cursors down, and says for which ledgers.
    async fn rewind(&self, keeper: &Keeper) -> anyhow::Result<Vec<String>> {
        for _ in 0..TRIES_MAX {
            let (mut kept, version) = keeper.load().await?;
            let places = self.places(&kept)?;
            for (place, progress) in &mut kept.ledgers {
                if places.contains(place) {
                    progress.cursor = match self.from {
                        From::Time(since) => progress.cursor.replayed(0, Some(since)),
                        From::Sequence(sequence) => {
                            progress.cursor.replayed(sequence.saturating_sub(1), None)
                        }
                    };
                }
            }
            match keeper.save(&kept, version.as_ref()).await {
                Ok(_) => return Ok(places),
                Err(SaveError::Conflict { .. }) => {}
                Err(error @ SaveError::Other { .. }) => return Err(error.into()),
            }
        }
        bail!("the daemon saved each time in between; try again")
    }

    fn places(&self, kept: &Kept) -> anyhow::Result<Vec<String>> {
        let all: Vec<String> = kept.ledgers.keys().cloned().collect();
        match (&self.ledger, self.from) {
            _ if all.is_empty() => bail!("nothing was sent to `{}` yet", self.sink),
            (Some(place), _) if !all.contains(place) => {
                bail!("`{}` has no ledger {place}; it has {}", self.sink, all.join(", "))
            }
            (Some(place), _) => Ok(vec![place.clone()]),
            (None, From::Sequence(_)) if all.len() > 1 => {
                bail!("each ledger has its own numbers: say which `--ledger`; there are {}", all.join(", "))
            }
            (None, _) => Ok(all),
        }
    }
}
