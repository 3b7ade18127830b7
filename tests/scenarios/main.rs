//! Histories in plain words, and what the engine makes of them: one file each, in virtual time.
//!
//! A file opens with the guarantee that it holds, then comes the history, `----`, and the journal with the actions.
//! `BLESS=1 cargo test --test scenarios` writes the last part anew; `cargo test --test scenarios conflict` runs those
//! whose name contains `conflict`. The verbs are in `verbs.rs`.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::format_collect,
    clippy::cast_precision_loss,
    unreachable_pub,
    reason = "a mistake in a scenario ends its test, and what it prints is short"
)]

mod argocd;
mod script;
mod story;
mod verbs;
mod world;

use std::path::Path;

use libtest_mimic::{Arguments, Failed, Trial};

use script::Script;
use world::{Deliver, World};

/// Between the history and what came of it.
const RULER: &str = "----\n";

fn main() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios");
    let mut trials = Vec::new();
    for file in std::fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_some_and(|e| e == "txt") {
            let name = path.file_stem().unwrap().to_string_lossy().into_owned();
            trials.push(Trial::test(name, move || check(&path)));
        }
    }
    trials.sort_by(|a, b| a.name().cmp(b.name()));
    libtest_mimic::run(&Arguments::from_args(), trials).exit();
}

fn check(path: &Path) -> Result<(), Failed> {
    let text = std::fs::read_to_string(path).unwrap();
    let (given, expected) = text.split_once(RULER).unwrap_or((&text, ""));
    let script = Script::parse(given)?;
    let world = World::play(&script, Deliver::Once)?;
    let told = world.story.to_string();
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(path, format!("{}\n\n{RULER}{told}", given.trim_end())).unwrap();
    } else if told != expected {
        return Err(difference(expected, &told).into());
    }
    // What is seen or answered twice changes nothing: the watches and the clock may repeat themselves at any time.
    let twice = World::play(&script, Deliver::Twice)?.story.journal();
    if twice != world.story.journal() {
        let why = "the journal is another one when every event comes twice";
        return Err(format!("{why}\n{}", difference(&world.story.journal(), &twice)).into());
    }
    // A daemon that dies after every step it saves is slower, but holds the same laws.
    World::play(&script, Deliver::WithRestarts)?;
    Ok(())
}

/// The lines that are not the same, with `-` for what was expected and `+` for what came.
fn difference(expected: &str, got: &str) -> String {
    let (expected, got): (Vec<_>, Vec<_>) = (expected.lines().collect(), got.lines().collect());
    let same = expected.iter().zip(&got).take_while(|(e, g)| e == g).count();
    let rest = |lines: &[&str], sign: &str| -> String {
        lines.iter().skip(same).map(|line| format!("{sign} {line}\n")).collect()
    };
    let before: String = expected.iter().take(same).map(|line| format!("  {line}\n")).collect();
    format!("{before}{}{}BLESS=1 takes it over", rest(&expected, "-"), rest(&got, "+"))
}
