//! The layout of ARCHITECTURE.md as a test, read from the source text: who may import whom, and how long a file gets.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a law that is broken ends the test")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// What the engine may import beside itself: no I/O, no clock, no outside types.
const ENGINE_MAY: [&str; 4] = ["std", "serde", "thiserror", "jiff"];

/// The rooms of `src/`, and the rooms that each may import beside itself.
///
/// An adapter knows the engine's facts and actions and how to reach the cluster, and no other adapter; only `run` and
/// `cli` connect rooms. The sandbox stands in for the world, so it knows no adapter.
const ROOMS: [(&str, &[&str]); 16] = [
    ("engine", &[]),
    ("cluster", &[]),
    ("tls", &[]),
    ("codes", &[]),
    ("credentials", &["engine", "tls"]),
    ("observe", &["engine", "cluster", "credentials", "tls"]),
    // Of `record` only the ledger's form: the branch that keeps it is an act of Git.
    ("act", &["engine", "cluster", "tls", "record::ledger"]),
    ("record", &["engine", "cluster"]),
    ("serve", &["engine", "cluster"]),
    ("policy", &["codes", "engine"]),
    ("sandbox", &["engine"]),
    ("replay", &["engine"]),
    ("audit", &["codes", "engine", "record", "act", "replay"]),
    ("sinks", &["engine", "cluster", "credentials", "policy", "record"]),
    ("run", &["engine", "cluster", "observe", "act", "record", "serve", "policy", "sinks"]),
    (
        "cli",
        &[
            "engine", "cluster", "observe", "act", "record", "serve", "policy", "run", "sandbox", "replay",
            "audit", "sinks",
        ],
    ),
];

/// Lines of a file, without its tests, past which nobody reads it from the top to the end.
const LINES_MAX: usize = 520;

/// A source file without its comments and its tests.
struct Source {
    path: PathBuf,
    /// The room that it belongs to.
    room: String,
    /// Number and text.
    lines: Vec<(usize, String)>,
}

impl Source {
    fn at(&self, line: usize) -> String {
        format!("{}:{line}", self.path.display())
    }
}

/// Every file of `src/` that is not a test.
fn sources() -> Vec<Source> {
    let base = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    collect(&base.join("src"), &mut files);
    files.sort();
    let read: Vec<_> =
        files.into_iter().map(|path| (std::fs::read_to_string(&path).unwrap(), path)).collect();
    let of_tests: BTreeSet<PathBuf> = read.iter().flat_map(|(text, path)| test_modules(text, path)).collect();
    read.into_iter()
        .filter(|(_, path)| !of_tests.contains(path))
        .map(|(text, path)| {
            let path = path.strip_prefix(base).unwrap().to_owned();
            let room = path.iter().nth(1).unwrap().to_str().unwrap().trim_end_matches(".rs").to_owned();
            Source { lines: without_tests(&text), path, room }
        })
        .collect()
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|e| e == "rs") {
            files.push(path);
        }
    }
}

/// The files that this one declares as `#[cfg(test)] mod …;`.
fn test_modules(text: &str, path: &Path) -> Vec<PathBuf> {
    let stem = path.file_stem().unwrap().to_str().unwrap();
    let parent = path.parent().unwrap();
    let folder = if ["mod", "lib", "main"].contains(&stem) { parent.to_owned() } else { parent.join(stem) };
    let lines: Vec<_> = text.lines().map(str::trim).collect();
    let after_cfg = lines.iter().enumerate().filter(|(_, line)| line.starts_with("#[cfg(test)]"));
    let mut found = Vec::new();
    for (i, _) in after_cfg {
        let mut file = None;
        for line in lines.iter().skip(i + 1) {
            if let Some(named) = line.strip_prefix("#[path = \"") {
                file = Some(parent.join(named.trim_end_matches("\"]")));
            } else if let Some((_, name)) = line.split_once("mod ").filter(|_| line.ends_with(';')) {
                let name = name.trim_end_matches(';');
                found.push(file.unwrap_or_else(|| folder.join(format!("{name}.rs"))));
                break;
            } else if !line.starts_with("#[") {
                break;
            }
        }
    }
    found
}

/// The lines up to the tests at the end, without comments.
fn without_tests(text: &str) -> Vec<(usize, String)> {
    let lines: Vec<_> = text.lines().collect();
    let tests = lines.windows(2).position(|two| two == ["#[cfg(test)]", "mod tests {"]);
    (1..)
        .zip(lines.into_iter().take(tests.unwrap_or(usize::MAX)))
        .map(|(number, line)| {
            let code = if line.trim_start().starts_with("//") { "" } else { line };
            (number, code.split(" // ").next().unwrap_or_default().to_owned())
        })
        .collect()
}

/// The names that stand before `::` in a line, with what follows.
fn paths(line: &str) -> Vec<(&str, &str)> {
    let word = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices("::")
        .map(|(at, _)| {
            let (before, after) = line.split_at(at);
            let start = before.rfind(|c| !word(c)).map_or(0, |i| i + 1);
            let after = &after[2..];
            let end = after.find(|c| !word(c)).unwrap_or(after.len());
            (&before[start..], &after[..end])
        })
        .collect()
}

/// The crates of Cargo.toml's `[dependencies]`, as code names them.
fn dependencies() -> BTreeSet<String> {
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml")).unwrap();
    let section = text.split("\n[dependencies]\n").nth(1).unwrap();
    section
        .lines()
        .take_while(|line| !line.starts_with('['))
        .filter_map(|line| line.split_once('='))
        .map(|(name, _)| name.trim().replace('-', "_"))
        .collect()
}

#[test]
fn the_engine_imports_nothing_that_could_do_anything() {
    let dependencies = dependencies();
    assert!(dependencies.contains("kube") && dependencies.contains("serde_json"), "{dependencies:?}");
    let mut broken = Vec::new();
    for source in sources().iter().filter(|source| source.room == "engine") {
        for (number, line) in &source.lines {
            for (name, _) in paths(line) {
                if dependencies.contains(name) && !ENGINE_MAY.contains(&name) {
                    broken.push(format!("{}: {name}: {}", source.at(*number), line.trim()));
                }
            }
        }
    }
    assert!(
        broken.is_empty(),
        "the engine is pure: only {ENGINE_MAY:?}. Parse outside types where they come in (observe, act, record).\n{}",
        broken.join("\n")
    );
}

#[test]
fn rooms_import_only_what_they_may() {
    let rooms: BTreeSet<&str> = ROOMS.iter().map(|(room, _)| *room).collect();
    let mut broken = Vec::new();
    for source in sources() {
        let may = ROOMS.iter().find(|(room, _)| *room == source.room);
        if may.is_none() && !["lib", "main"].contains(&source.room.as_str()) {
            broken.push(format!(
                "{}: the room `{}` is not in the list of this test",
                source.at(1),
                source.room
            ));
        }
        let Some((_, may)) = may else { continue };
        for (number, line) in &source.lines {
            for (name, room) in paths(line) {
                let other = name == "crate" && rooms.contains(room) && room != source.room;
                // A part of a room: `record::ledger`.
                let part = |may: &&&str| may.contains("::") && line.contains(&format!("crate::{may}"));
                if other && !may.contains(&room) && !may.iter().any(|may| part(&may)) {
                    broken.push(format!(
                        "{}: `{}` imports `{room}`: {}",
                        source.at(*number),
                        source.room,
                        line.trim()
                    ));
                }
            }
            // A list of rooms in braces would pass unseen.
            if line.contains("crate::{") {
                broken.push(format!("{}: name the room right after `crate::`", source.at(*number)));
            }
        }
    }
    assert!(
        broken.is_empty(),
        "data goes observe -> engine -> act -> record, and only `run` and `cli` connect rooms: {ROOMS:?}\n{}",
        broken.join("\n")
    );
}

#[test]
fn no_file_is_too_long_to_be_read() {
    let long: Vec<_> = sources()
        .iter()
        .filter(|source| source.lines.len() > LINES_MAX)
        .map(|source| format!("{} has {} lines", source.path.display(), source.lines.len()))
        .collect();
    assert!(
        long.is_empty(),
        "more than {LINES_MAX} lines without tests. Look for the seam: two things that change for different reasons.\n{}",
        long.join("\n")
    );
}

#[test]
fn this_test_reads_what_it_should() {
    let sources = sources();
    let rooms: BTreeSet<&str> = sources.iter().map(|source| source.room.as_str()).collect();
    for (room, _) in ROOMS {
        assert!(rooms.contains(room), "`{room}` is gone from src/: take it out of the list");
    }
    assert!(
        !sources.iter().any(|source| source.path.ends_with("policy/tests.rs")),
        "tests are not looked at"
    );
    assert_eq!(
        paths("use crate::act::git; kube::Api::all()"),
        [("crate", "act"), ("act", "git"), ("kube", "Api"), ("Api", "all")]
    );
}
