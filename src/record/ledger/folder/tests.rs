use std::sync::atomic::{AtomicIsize, Ordering};

use proptest::prelude::*;

use super::super::record::tests::record;
use super::*;

/// After how many steps the process dies; it does no more then.
#[derive(Debug)]
pub(super) struct Crash(AtomicIsize);

impl Default for Crash {
    fn default() -> Self {
        Self(AtomicIsize::new(isize::MAX))
    }
}

impl Crash {
    pub(super) fn step(&self) -> io::Result<()> {
        match self.0.fetch_sub(1, Ordering::Relaxed) {
            ..=0 => Err(io::Error::other("crash")),
            _ => Ok(()),
        }
    }
}

fn records(ids: &[&str]) -> Vec<Record> {
    ids.iter().map(|id| record(id)).collect()
}

fn open(root: &Path) -> FolderLedger {
    FolderLedger::open(root).unwrap()
}

/// The ids in the order of the chain, which must hold from its first link to its head.
#[track_caller]
fn ids(root: &Path) -> Vec<String> {
    let ledger = open(root);
    let links = ledger.after(0, usize::MAX).unwrap();
    let mut head = None;
    for link in &links {
        assert_eq!(*link, Link::after(head.as_ref(), &link.record().unwrap()).unwrap());
        head = Some(link.head().unwrap());
    }
    assert_eq!(ledger.append(&[]).unwrap(), head);
    links.iter().map(|link| link.record().unwrap().id).collect()
}

#[test]
fn records_are_chained_each_once_and_read_from_anywhere() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = open(&dir.path().join("deep/er"));
    assert_eq!(ledger.append(&[]).unwrap(), None);
    assert_eq!(ledger.after(0, 9).unwrap(), []);
    let first = ledger.append(&records(&["a", "b"])).unwrap().unwrap();
    assert_eq!(first.sequence, 2);
    assert_eq!(ledger.append(&records(&["b", "a"])).unwrap(), Some(first));
    let second = ledger.append(&records(&["b", "c", "c"])).unwrap().unwrap();
    assert_eq!(second.sequence, 3);
    assert_eq!(ids(&dir.path().join("deep/er")), ["a", "b", "c"]);
    let sequences = |after, most| -> Vec<u64> {
        ledger.after(after, most).unwrap().iter().map(|link| link.sequence).collect()
    };
    assert_eq!((sequences(0, 2), sequences(2, 2), sequences(3, 2)), (vec![1, 2], vec![3], vec![]));
    let file = fs::read(dir.path().join("deep/er/2026/01/31/c.json")).unwrap();
    assert_eq!(Head::of(3, &file), second);
}

/// Wherever a process dies, the next one goes on from all of the batch or from none of it.
#[test]
fn a_crash_at_any_step_loses_nothing_and_repeats_nothing() {
    let batch = records(&["b", "c", "d"]);
    for steps in 0.. {
        let dir = tempfile::tempdir().unwrap();
        open(dir.path()).append(&records(&["a"])).unwrap();
        let ledger = open(dir.path());
        ledger.append(&[]).unwrap();
        ledger.crash.0.store(steps, Ordering::Relaxed);
        let died = ledger.append(&batch).is_err();
        // What a crash leaves that an error does not.
        fs::write(dir.path().join(".new-left"), "half").unwrap();
        let index = dir.path().join(INDEX);
        if died && dir.path().join(PENDING).exists() {
            let half = [fs::read(&index).unwrap(), b"2 sha25".to_vec()].concat();
            fs::write(&index, half).unwrap();
        }
        // Somebody else goes on first, and then it is tried again.
        open(dir.path()).append(&records(&["e"])).unwrap();
        let done = dir.path().join("2026/01/31/b.json").exists();
        open(dir.path()).append(&batch).unwrap();
        let expected = if done { ["a", "b", "c", "d", "e"] } else { ["a", "e", "b", "c", "d"] };
        assert_eq!(ids(dir.path()), expected, "after {steps} steps");
        if !died {
            assert!(steps > 8, "only {steps} steps");
            break;
        }
    }
}

#[test]
fn the_files_are_believed_and_not_the_index() {
    let dir = tempfile::tempdir().unwrap();
    open(dir.path()).append(&records(&["a", "b"])).unwrap();
    let index = dir.path().join(INDEX);
    let old = fs::read(&index).unwrap();
    open(dir.path()).append(&records(&["c"])).unwrap();
    let lines = String::from_utf8(fs::read(&index).unwrap()).unwrap();
    let forged = lines.replace("3 sha256:", "4 sha256:");
    for (n, text) in
        [&old, &b"rubbish\n"[..].to_vec(), &Vec::new(), &forged.into_bytes()].into_iter().enumerate()
    {
        fs::write(&index, text).unwrap();
        open(dir.path()).append(&records(&[&format!("d{n}")])).unwrap();
    }
    fs::remove_file(&index).unwrap();
    assert_eq!(ids(dir.path()), ["a", "b", "c", "d0", "d1", "d2", "d3"]);
}

#[test]
fn nothing_is_added_to_what_is_no_chain() {
    let break_it = |how: &dyn Fn(&Path)| {
        let dir = tempfile::tempdir().unwrap();
        open(dir.path()).append(&records(&["a", "b", "c"])).unwrap();
        how(&dir.path().join("2026/01/31"));
        let error = open(dir.path()).append(&records(&["d"])).unwrap_err();
        assert!(!dir.path().join("2026/01/31/d.json").exists());
        error.to_string()
    };
    let write = |path: PathBuf, bytes: &[u8]| fs::write(path, bytes).unwrap();
    let error = break_it(&|day| write(day.join("c.json"), b"{}"));
    assert!(error.contains("is broken at 2026/01/31/c.json: it is not a record of a ledger"), "{error}");
    let error = break_it(&|day| fs::remove_file(day.join("b.json")).unwrap());
    assert!(error.contains("c.json: it has number 3, where 2 must follow"), "{error}");
    let error = break_it(&|day| write(day.join("x.json"), &fs::read(day.join("b.json")).unwrap()));
    assert!(error.contains("it has number 2, where 3 must follow"), "{error}");
    // A new last file, canonical and of the right number, upon another one.
    let error = break_it(&|day| {
        let mut link = Link::read(&fs::read(day.join("c.json")).unwrap()).unwrap();
        link.previous = Some(super::super::Digest::of(b"other"));
        write(day.join("c.json"), &link.bytes().unwrap());
    });
    assert!(error.contains("c.json: it does not carry the hash of number 2"), "{error}");
    // A record's own file with something else in it is found by who reads it.
    let dir = tempfile::tempdir().unwrap();
    open(dir.path()).append(&records(&["a", "b"])).unwrap();
    let path = dir.path().join("2026/01/31/a.json");
    let text = fs::read_to_string(&path).unwrap().replace("on hold", "of old");
    fs::write(&path, text).unwrap();
    let error = open(dir.path()).after(0, 9).unwrap_err().to_string();
    assert!(error.contains("a.json: it was changed after it was written"), "{error}");
}

#[test]
fn old_years_may_be_put_away() {
    let dir = tempfile::tempdir().unwrap();
    let mut old = record("old");
    old.at = "2025-12-31T23:59:59Z".parse().unwrap();
    open(dir.path()).append(&[old]).unwrap();
    open(dir.path()).append(&records(&["a"])).unwrap();
    fs::remove_dir_all(dir.path().join("2025")).unwrap();
    let ledger = open(dir.path());
    assert_eq!(ledger.append(&records(&["b"])).unwrap().unwrap().sequence, 3);
    assert_eq!(ledger.after(0, 9).unwrap().first().unwrap().sequence, 2);
}

#[test]
fn many_writers_make_one_chain() {
    let dir = tempfile::tempdir().unwrap();
    std::thread::scope(|scope| {
        for writer in 0..4 {
            let root = dir.path();
            scope.spawn(move || {
                let ledger = open(root);
                for n in 0..10 {
                    ledger.append(&records(&[&format!("w{writer}-{n}"), &format!("shared-{n}")])).unwrap();
                }
            });
        }
    });
    let ids = ids(dir.path());
    assert_eq!(ids.len(), 50);
    for writer in 0..4 {
        let own: Vec<_> = ids.iter().filter(|id| id.starts_with(&format!("w{writer}-"))).cloned().collect();
        assert_eq!(own, (0..10).map(|n| format!("w{writer}-{n}")).collect::<Vec<_>>());
    }
}

/// What one of two writers does next.
#[derive(Clone, Debug)]
struct Turn {
    writer: usize,
    ids: Vec<u8>,
    /// After how many steps it dies, if it does.
    dies: Option<isize>,
}

fn turns() -> impl Strategy<Value = Vec<Turn>> {
    let turn = (0..2_usize, prop::collection::vec(0..12_u8, 0..4), prop::option::weighted(0.3, 0..12_isize));
    prop::collection::vec(turn.prop_map(|(writer, ids, dies)| Turn { writer, ids, dies }), 0..12)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_turns_of_two_writers_give_one_chain_with_every_record_once(turns in turns()) {
        let dir = tempfile::tempdir().unwrap();
        let mut writers = [open(dir.path()), open(dir.path())];
        let mut told = std::collections::BTreeSet::new();
        for Turn { writer, ids, dies } in turns {
            let batch: Vec<Record> = ids.iter().map(|id| record(&format!("r{id}"))).collect();
            if let Some(steps) = dies {
                writers[writer].crash.0.store(steps, Ordering::Relaxed);
            }
            if writers[writer].append(&batch).is_err() {
                prop_assert!(dies.is_some());
                writers[writer] = open(dir.path());
                // It is told again until that is answered.
                writers[writer].append(&batch).unwrap();
            }
            writers[writer].crash = Crash::default();
            told.extend(batch.into_iter().map(|record| record.id));
        }
        let found = ids(dir.path());
        prop_assert_eq!(found.len(), told.len());
        prop_assert_eq!(found.into_iter().collect::<std::collections::BTreeSet<_>>(), told);
    }
}
