//! What lastgood itself writes is found to be whole.

use std::time::Duration;

use lastgood::act::git::ledger::{GitLedger, Reach};
use lastgood::act::git::{Access, Identity};
use lastgood::record::ledger::{FolderLedger, Ledger, Record};

use super::fixture::{audit, record, text, verify};
use super::git_repo::World;

const DAY: i64 = 24 * 60 * 60;

/// Two records of a year and two of the next one, each pair in an append of its own.
fn write(ledger: &dyn Ledger) {
    let healthy = |id: &str, days: i64| record(id, days * DAY, "Healthy", "all is well");
    let years: [[Record; 2]; 2] =
        [[healthy("a", -410), healthy("b", -409)], [healthy("c", -380), healthy("d", -379)]];
    for records in &years {
        ledger.append(records).unwrap();
    }
}

#[test]
fn a_ledger_on_branches_of_two_years_is_whole() {
    let world = World::new();
    world.change("README.md", "read me\n");
    let copy = tempfile::tempdir().unwrap();
    let access = Access::new(&world.file_url());
    let reach: Box<Reach> = Box::new(move || {
        let (name, email) = ("lastgood".to_owned(), "lastgood@example.org".to_owned());
        Ok((access.clone(), Identity { name, email, signer: None }))
    });
    let within = Duration::from_secs(60);
    let ledger = GitLedger::new(copy.path(), &world.file_url(), "test", within, reach).unwrap();
    write(&ledger);
    let repo = ["--repo", text(&world.bare)];
    assert_eq!(verify(&repo), (Some(0), Vec::new()));
    let (_, list, _) = audit(&[&["list"], &repo[..]].concat());
    assert_eq!(list.lines().count(), 5, "{list}");
}

#[test]
fn a_ledger_in_a_folder_is_whole() {
    let dir = tempfile::tempdir().unwrap();
    write(&FolderLedger::open(dir.path()).unwrap());
    assert_eq!(verify(&["--ledger", text(dir.path())]), (Some(0), Vec::new()));
}
