//! The history as `git log` shows it, for machines without the program.

use std::io::{self, Write};
use std::path::Path;

use git2::{Commit, Repository, Sort};
use jiff::Timestamp;
use jiff::tz::{Offset, TimeZone};

/// Writes a branch's history, newest first, in the form of `git log`.
pub fn git_log(repository: &Path, branch: &str, out: &mut impl Write) -> io::Result<()> {
    let failed = |error: git2::Error| io::Error::other(error.message().to_owned());
    let repository = Repository::open_bare(repository).map_err(failed)?;
    let mut walk = repository.revwalk().map_err(failed)?;
    walk.set_sorting(Sort::TOPOLOGICAL | Sort::TIME).map_err(failed)?;
    walk.push_ref(&format!("refs/heads/{branch}")).map_err(failed)?;
    for (position, id) in walk.enumerate() {
        let commit = id.and_then(|id| repository.find_commit(id)).map_err(failed)?;
        if position > 0 {
            writeln!(out)?;
        }
        let decoration = if position == 0 { format!(" (HEAD -> {branch})") } else { String::new() };
        write_commit(&commit, &decoration, out)?;
    }
    Ok(())
}

fn write_commit(commit: &Commit<'_>, decoration: &str, out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "commit {}{decoration}", commit.id())?;
    if commit.parent_count() > 1 {
        let parents: Vec<String> = commit.parent_ids().map(|id| short(&id.to_string())).collect();
        writeln!(out, "Merge: {}", parents.join(" "))?;
    }
    let author = commit.author();
    let (name, address) =
        (String::from_utf8_lossy(author.name_bytes()), String::from_utf8_lossy(author.email_bytes()));
    writeln!(out, "Author: {name} <{address}>")?;
    writeln!(out, "Date:   {}\n", date(author.when()))?;
    for line in String::from_utf8_lossy(commit.message_bytes()).trim_end().lines() {
        writeln!(out, "    {line}")?;
    }
    Ok(())
}

fn short(id: &str) -> String {
    id.get(..7).unwrap_or(id).to_owned()
}

/// `Tue Nov 3 10:00:00 2026 +0000`, in the author's own time zone.
fn date(when: git2::Time) -> String {
    let zone = Offset::from_seconds(when.offset_minutes() * 60).unwrap_or(Offset::UTC);
    let at = Timestamp::from_second(when.seconds()).unwrap_or_default();
    at.to_zoned(TimeZone::fixed(zone)).strftime("%a %b %-d %H:%M:%S %Y %z").to_string()
}
