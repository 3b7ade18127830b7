//! `lastgood audit show`: one record, readable.

use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::bail;
use clap::{Args, ValueEnum};
use serde_json::Value;

use super::source::Where;
use crate::policy::mistake::printable;
use crate::record::ledger::{Link, Record};

/// Arguments of `lastgood audit show`.
#[derive(Args, Debug)]
pub(super) struct Show {
    #[command(flatten)]
    place: Where,
    /// The record's id, or how it begins if no other begins so.
    #[arg(value_name = "ID")]
    id: String,
    /// Shows also what the decision was taken from, as `lastgood audit replay` reads it.
    #[arg(long)]
    inputs: bool,
    /// The form of the record.
    #[arg(long, value_enum, default_value_t = Form::Text)]
    output: Form,
}

/// The form of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Form {
    /// For people.
    Text,
    /// The file as it is.
    Json,
}

impl Show {
    /// Prints the record.
    pub(super) fn run(&self, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
        let source = self.place.open()?;
        let mut found = source.each(
            |path| name(path).starts_with(&self.id),
            |file, bytes| (file.path.clone(), bytes.to_vec()),
        )?;
        if found.iter().any(|(path, _)| name(path) == self.id) {
            found.retain(|(path, _)| name(path) == self.id);
        }
        let (path, bytes) = match found.as_slice() {
            [one] => one,
            [] => bail!(
                "no record with the id `{}` in {}; `lastgood audit list` shows them",
                self.id,
                source.place()
            ),
            several => {
                let ids: Vec<&str> = several.iter().take(5).map(|(path, _)| name(path)).collect();
                bail!("{} records begin with `{}`: {} …", several.len(), self.id, ids.join(", "))
            }
        };
        if self.output == Form::Json {
            out.write_all(bytes)?;
            writeln!(out)?;
            return Ok(ExitCode::SUCCESS);
        }
        let link = Link::read(bytes).map_err(|error| anyhow::anyhow!("{path}: {error}"))?;
        let record = link.record().map_err(|error| anyhow::anyhow!("{path}: {error}"))?;
        self.print(&link, &record, out)?;
        Ok(ExitCode::SUCCESS)
    }

    fn print(&self, link: &Link, record: &Record, out: &mut dyn Write) -> anyhow::Result<()> {
        writeln!(out, "{} {}: {}\n", record.at, printable(&record.reason), printable(&record.sentence))?;
        let hash = link.head()?.hash;
        let lines = [
            (
                "record",
                Some(format!("{} (number {} of cluster {})", record.id, link.sequence, record.cluster)),
            ),
            (
                "application",
                record.application.as_ref().map(|app| {
                    let uid = if app.uid.is_empty() { String::new() } else { format!(" (uid {})", app.uid) };
                    format!("{}/{}{uid}", app.namespace, app.name)
                }),
            ),
            ("project", record.application.as_ref().and_then(|app| app.project.clone())),
            (
                "destination",
                record
                    .application
                    .as_ref()
                    .and_then(|app| app.destination.as_ref())
                    .map(|to| format!("{}, namespace {}", to.cluster, to.namespace)),
            ),
            ("rollback", record.rollback.clone()),
            ("policy", record.policy.as_ref().map(|policy| format!("{} {}", policy.name, policy.hash))),
            ("by", Some(by(record))),
            ("file", Some(format!("{} {hash}", record.path()))),
            ("record's hash", Some(link.record_hash()?.to_string())),
            ("previous", link.previous.as_ref().map(ToString::to_string)),
        ];
        for (what, value) in lines {
            if let Some(value) = value {
                writeln!(out, "{what:<14} {}", printable(&value))?;
            }
        }
        section("evidence", record.evidence.as_ref(), out)?;
        section("detail", Some(&record.detail), out)?;
        if self.inputs {
            section("inputs", record.inputs.as_ref(), out)?;
        }
        Ok(())
    }
}

/// The id of the record that lies here.
fn name(path: &str) -> &str {
    let file = path.rsplit('/').next().unwrap_or(path);
    file.strip_suffix(".json").unwrap_or(file)
}

fn by(record: &Record) -> String {
    let by = &record.by;
    let pod = by.pod.iter().map(|pod| format!(", pod {pod}"));
    let account = by.service_account.iter().map(|account| format!(", service account {account}"));
    format!("lastgood {}{}", by.version, pod.chain(account).collect::<String>())
}

fn section(title: &str, value: Option<&Value>, out: &mut dyn Write) -> io::Result<()> {
    match value {
        None | Some(Value::Null) => Ok(()),
        Some(value) => {
            writeln!(out, "\n{title}:")?;
            tree(value, 1, out)
        }
    }
}

/// Writes a value as an indented list; what is empty is left out.
fn tree(value: &Value, depth: usize, out: &mut dyn Write) -> io::Result<()> {
    let indent = "  ".repeat(depth);
    match value {
        Value::Object(members) => {
            for (key, value) in members {
                match scalar(value) {
                    Some(text) => writeln!(out, "{indent}{}: {text}", printable(key))?,
                    None if is_empty(value) => {}
                    None => {
                        writeln!(out, "{indent}{}:", printable(key))?;
                        tree(value, depth + 1, out)?;
                    }
                }
            }
        }
        Value::Array(items) => {
            for item in items {
                match scalar(item) {
                    Some(text) => writeln!(out, "{indent}- {text}")?,
                    None => {
                        writeln!(out, "{indent}-")?;
                        tree(item, depth + 1, out)?;
                    }
                }
            }
        }
        other => writeln!(out, "{indent}{}", scalar(other).unwrap_or_default())?,
    }
    Ok(())
}

fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(printable(text)),
        Value::Null | Value::Bool(_) | Value::Number(_) => Some(value.to_string()),
        Value::Array(_) | Value::Object(_) => None,
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Array(items) => items.is_empty(),
        Value::Object(members) => members.is_empty(),
        _ => false,
    }
}
