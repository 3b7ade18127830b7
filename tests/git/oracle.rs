//! Plans over thousands of made-up histories, compared with what Git itself makes of each.
//!
//! `git merge-tree` is the oracle: with bad as the merge base, the tip as ours and last good as theirs it is `git revert`
//! without a working tree, and one process answers for all cases.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use git2::{Oid, Repository, Signature, Time};
use lastgood::act::git::never::Never;
use lastgood::act::git::plan::{Found, OnConflict, Request, Stop, plan};
use lastgood::act::git::{Footprint, Git};
use lastgood::engine::action::Refusal;

use super::rng::Rng;

/// Cases that are tried; `ORACLE_CASES=100000` tries more.
const CASES: u64 = 2000;

#[derive(Clone, Debug, PartialEq, Eq)]
struct File {
    mode: i32,
    content: Vec<u8>,
}

/// The files of a footprint, by their path in it.
type Files = BTreeMap<String, File>;

const FOLDERS: [&str; 4] = ["", "base/", "overlay/eu/", "overlay/us/"];
const PLAIN: i32 = 0o100_644;
const PROGRAM: i32 = 0o100_755;
const LINK: i32 = 0o120_000;

/// Any number below `n`, as an index.
fn any(rng: &mut Rng, n: usize) -> usize {
    usize::try_from(rng.below(n as u64)).unwrap()
}

fn text(rng: &mut Rng) -> Vec<u8> {
    let (id, lines) = (rng.below(1_000_000), 8 + rng.below(12));
    (0..lines).flat_map(|n| format!("line {n} of {id}\n").into_bytes()).collect()
}

fn name(rng: &mut Rng) -> String {
    format!("{}{}.yaml", FOLDERS[any(rng, 4)], rng.below(30))
}

/// Whether a file may be there beside the others: no folder stands there, and no file where its folder would be.
fn is_free(files: &Files, path: &str) -> bool {
    let folder = format!("{path}/");
    !files.keys().any(|other| other == path || other.starts_with(&folder))
}

fn first(rng: &mut Rng) -> Files {
    let mut files = Files::new();
    for _ in 0..4 + rng.below(5) {
        let mode = if rng.once_in(8) { PROGRAM } else { PLAIN };
        files.insert(name(rng), File { mode, content: text(rng) });
    }
    files
}

fn mutate(rng: &mut Rng, files: &mut Files) {
    let Some(path) = files.keys().nth(any(rng, files.len())).cloned() else { return };
    let kind = rng.below(20);
    match kind {
        0..=7 => edit(rng, files.get_mut(&path).unwrap()),
        8 | 9 => drop(files.remove(&path)),
        10 | 11 => {
            let new = name(rng);
            if is_free(files, &new) {
                files.insert(new, File { mode: PLAIN, content: text(rng) });
            }
        }
        12..=14 => {
            let new = name(rng);
            if is_free(files, &new) {
                let mut file = files.remove(&path).unwrap();
                if kind == 14 {
                    edit(rng, &mut file);
                }
                files.insert(new, file);
            }
        }
        15 | 16 => {
            let (old, new) = (FOLDERS[1 + any(rng, 3)], FOLDERS[1 + any(rng, 3)]);
            let moved: Vec<String> = files.keys().filter(|path| path.starts_with(old)).cloned().collect();
            for path in moved {
                let to = path.replacen(old, new, 1);
                if is_free(files, &to) {
                    let file = files.remove(&path).unwrap();
                    files.insert(to, file);
                }
            }
        }
        17 => {
            let file = files.get_mut(&path).unwrap();
            if file.mode != LINK {
                file.mode = if file.mode == PLAIN { PROGRAM } else { PLAIN };
            }
        }
        18 => {
            let content = format!("target-{}", rng.below(5)).into_bytes();
            files.insert(path, File { mode: LINK, content });
        }
        _ => {
            let content = [b"\0binary".to_vec(), text(rng)].concat();
            files.insert(path, File { mode: PLAIN, content });
        }
    }
}

fn edit(rng: &mut Rng, file: &mut File) {
    if file.mode == LINK {
        return;
    }
    let mut lines: Vec<Vec<u8>> = file.content.split_inclusive(|b| *b == b'\n').map(<[u8]>::to_vec).collect();
    let at = any(rng, lines.len() + 1);
    let new = format!("changed {}\n", rng.below(1_000_000)).into_bytes();
    match rng.below(6) {
        0..=2 if at < lines.len() => lines[at] = new,
        3 => lines.insert(at, new),
        4 if at < lines.len() => drop(lines.remove(at)),
        5 => lines.iter_mut().filter(|l| l.ends_with(b"\n") && !l.ends_with(b"\r\n")).for_each(|line| {
            line.pop();
            line.extend(b"\r\n");
        }),
        _ => {}
    }
    file.content = lines.concat();
}

/// The footprint of a case: the whole folder, or two folders and a file of it.
fn roots(seed: u64) -> &'static [&'static str] {
    if seed.is_multiple_of(3) { &["base", "overlay/eu", "7.yaml"] } else { &[""] }
}

fn within(files: &Files, roots: &[&str]) -> Files {
    let is_in = |path: &str| {
        roots.iter().any(|root| root.is_empty() || path == *root || path.starts_with(&format!("{root}/")))
    };
    files.iter().filter(|(path, _)| is_in(path)).map(|(path, file)| (path.clone(), file.clone())).collect()
}

/// One history: last good, bad and the tip, each with the footprint's files.
struct Case {
    good: Files,
    bad: Files,
    tip: Files,
}

impl Case {
    fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let good = first(&mut rng);
        let (mut bad, mut tip);
        loop {
            bad = good.clone();
            for _ in 0..=rng.below(3) {
                mutate(&mut rng, &mut bad);
            }
            if bad != good {
                break;
            }
        }
        tip = bad.clone();
        for _ in 0..rng.below(5) {
            mutate(&mut rng, &mut tip);
        }
        Self { good, bad, tip }
    }
}

impl Case {
    fn show(&self) {
        for (name, files) in [("good", &self.good), ("bad", &self.bad), ("tip", &self.tip)] {
            for (path, file) in files {
                let content = String::from_utf8_lossy(&file.content).replace('\n', "|");
                super::say(&format!("{name:<5}{:o} {path:<24} {content:?}", file.mode));
            }
        }
    }
}

fn tree(repo: &Repository, files: &Files, prefix: &str, outside: Option<u8>) -> Oid {
    let empty = repo.find_tree(repo.treebuilder(None).unwrap().write().unwrap()).unwrap();
    let mut update = git2::build::TreeUpdateBuilder::new();
    let mode = |mode: i32| match mode {
        PROGRAM => git2::FileMode::BlobExecutable,
        LINK => git2::FileMode::Link,
        _ => git2::FileMode::Blob,
    };
    for (path, file) in files {
        update.upsert(format!("{prefix}{path}"), repo.blob(&file.content).unwrap(), mode(file.mode));
    }
    if let Some(outside) = outside {
        // What others do in the same commits must not matter, be it that a file of ours seems to have moved to them.
        update.upsert("apps/shop-2/a.yaml", repo.blob(&[outside]).unwrap(), git2::FileMode::Blob);
        if let Some(file) = files.values().nth(usize::from(outside)) {
            let copy = repo.blob(&file.content).unwrap();
            update.upsert(format!("apps/copy-{outside}.yaml"), copy, git2::FileMode::Blob);
        }
    }
    update.create_updated(repo, &empty).unwrap()
}

fn commit(repo: &Repository, tree: Oid, parents: &[Oid]) -> Oid {
    let parents: Vec<_> = parents.iter().map(|id| repo.find_commit(*id).unwrap()).collect();
    let parents: Vec<_> = parents.iter().collect();
    let time = Time::new(1_000_000_000 + i64::try_from(parents.len()).unwrap(), 0);
    let signature = Signature::new("Ann", "ann@example.org", &time).unwrap();
    repo.commit(None, &signature, &signature, "step", &repo.find_tree(tree).unwrap(), &parents).unwrap()
}

/// Git's answer to a merge.
#[derive(Clone, Copy, Debug)]
enum Answer {
    Clean(Oid),
    Conflict,
    /// It crashed: version 2.39 does on some renames.
    None,
}

/// Git's answers, by one process for many merges; where it crashes, by one for each of them.
fn ask_git(repo: &Path, merges: &[(Oid, Oid)]) -> Vec<Answer> {
    let ask = |merges: &[(Oid, Oid)]| ask_once(repo, merges).filter(|answers| answers.len() == merges.len());
    let one = |merge: &(Oid, Oid)| ask(&[*merge]).map_or(Answer::None, |answers| answers[0]);
    merges.chunks(100).flat_map(|some| ask(some).unwrap_or_else(|| some.iter().map(one).collect())).collect()
}

fn ask_once(repo: &Path, merges: &[(Oid, Oid)]) -> Option<Vec<Answer>> {
    let mut git = Command::new("git")
        .current_dir(repo)
        .args(["-c", "merge.renameLimit=7000", "merge-tree", "--write-tree", "--no-messages", "--stdin"])
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut stdin = git.stdin.take().unwrap();
    let lines = merges.iter().map(|(ours, theirs)| format!("{ours} {theirs}\n")).collect::<Vec<_>>().concat();
    // A hundred lines fit into the pipe. One that crashed has closed it.
    stdin.write_all(lines.as_bytes()).ok();
    drop(stdin);
    let output = git.wait_with_output().unwrap();
    if !output.status.success() {
        return None;
    }
    // For each merge: 1 for a clean one or 0, the tree, lines with conflicting entries; all ended by NUL, and one more.
    let mut answers = Vec::new();
    let mut fields =
        output.stdout.split(|b| *b == 0).map(|field| String::from_utf8_lossy(field).into_owned());
    while let Some(status) = fields.next().filter(|status| !status.trim().is_empty()) {
        let tree = fields.next().unwrap();
        let clean = status.trim() == "1";
        answers.push(if clean { Answer::Clean(tree.parse().unwrap()) } else { Answer::Conflict });
        while fields.next().is_some_and(|field| !field.is_empty()) {}
    }
    Some(answers)
}

fn folder(repo: &Repository, tree: Oid, path: &str) -> Option<Oid> {
    repo.find_tree(tree).unwrap().get_path(path.as_ref()).ok().map(|e| e.id())
}

#[test]
fn a_plan_is_what_git_makes_of_the_same_revert() {
    Git::init().unwrap();
    let cases = std::env::var("ORACLE_CASES").map_or(CASES, |n| n.parse().unwrap());
    let only = std::env::var("ORACLE_CASE").ok().map(|n| n.parse::<u64>().unwrap());
    let seeds: Vec<u64> = only.map_or_else(|| (0..cases).collect(), |one| vec![one]);
    let dir = tempfile::tempdir().unwrap();
    let repo = Repository::init_bare(dir.path()).unwrap();
    // In memory, and from there to Git as one pack: thousands of cases are hundreds of thousands of small objects.
    let odb = repo.odb().unwrap();
    let memory = odb.add_new_mempack_backend(1000).unwrap();
    let never = Never::default();
    let mut merges = Vec::new();
    let mut plans = Vec::new();
    for seed in &seeds {
        let case = Case::new(*seed);
        if only.is_some() {
            case.show();
        }
        // Git sees the footprint alone; the plan gets it amid others' files.
        let alone = |files: &Files, parents: &[Oid]| {
            commit(&repo, tree(&repo, &within(files, roots(*seed)), "", None), parents)
        };
        let bad = alone(&case.bad, &[]);
        merges.push((alone(&case.tip, &[bad]), alone(&case.good, &[bad])));
        let amid = |files: &Files, other, parents: &[Oid]| {
            commit(&repo, tree(&repo, files, "apps/shop/", Some(other)), parents)
        };
        let good = amid(&case.good, 0, &[]);
        let bad = amid(&case.bad, 1, &[good]);
        plans.push((good, bad, amid(&case.tip, 2, &[bad])));
    }
    let mut pack = git2::Buf::new();
    memory.dump(&repo, &mut pack).unwrap();
    let mut writer = odb.packwriter().unwrap();
    writer.write_all(&pack).unwrap();
    writer.commit().unwrap();
    let (mut clean, mut cautious, mut unanswered, mut wrong) = (0, 0, 0, Vec::new());
    for ((seed, git), (good, bad, tip)) in seeds.iter().zip(ask_git(dir.path(), &merges)).zip(&plans) {
        let paths: Vec<_> = roots(*seed).iter().map(|root| format!("apps/shop/{root}")).collect();
        let footprint = Footprint::new(&paths).unwrap();
        let request = Request {
            good: *good,
            bad: *bad,
            tip: *tip,
            branch: "main",
            footprint: &footprint,
            at_bad: &footprint,
            rollback: None,
            on_conflict: OnConflict::Hold,
            never: &never,
        };
        let root = |id: Oid| repo.find_commit(id).unwrap().tree_id();
        let ours = match plan(&repo, &request) {
            Ok(Found::Plan(plan)) => {
                assert!(plan.evidence.files.iter().all(|file| footprint.contains(file)), "case {seed}");
                reverts_back(&repo, &request, plan.tree, *seed);
                Some(plan.tree)
            }
            Ok(Found::Already(_)) => Some(root(*tip)),
            Err(Stop::Conflict(_)) => None,
            // Where nothing of it is left at the tip or nothing was there at last good, Git would go on.
            Err(Stop::Refused(Refusal::Gone { .. } | Refusal::Unsupported { .. })) => continue,
            // Bad changed other parts of the folder only.
            Err(Stop::Refused(Refusal::NothingToRevert { .. })) => continue,
            Err(stop) => panic!("case {seed}: {stop:?}"),
        };
        match (ours, git) {
            (Some(ours), Answer::Clean(git)) => {
                clean += 1;
                for root in roots(*seed) {
                    let expected = if root.is_empty() { Some(git) } else { folder(&repo, git, root) };
                    let expected = expected.filter(|at| repo.find_tree(*at).map_or(true, |t| !t.is_empty()));
                    if folder(&repo, ours, format!("apps/shop/{root}").trim_end_matches('/')) != expected {
                        wrong.push(format!("case {seed}: another tree than Git's"));
                    }
                }
                for rest in ["overlay/us", "8.yaml"].iter().filter(|_| roots(*seed).len() > 1) {
                    let rest = format!("apps/shop/{rest}");
                    assert_eq!(folder(&repo, ours, &rest), folder(&repo, root(*tip), &rest), "case {seed}");
                }
                for other in ["apps/shop-2", "apps/copy-0.yaml", "apps/copy-1.yaml", "apps/copy-2.yaml"] {
                    assert_eq!(folder(&repo, ours, other), folder(&repo, root(*tip), other), "case {seed}");
                }
            }
            (Some(_), Answer::Conflict) => {
                wrong.push(format!("case {seed}: planned, where Git finds a conflict"));
            }
            (None, Answer::Clean(_)) => {
                cautious += 1;
                super::say(&format!("case {seed}: a conflict that Git does not see"));
            }
            (None, Answer::Conflict) => {}
            (_, Answer::None) => unanswered += 1,
        }
    }
    super::say(&format!(
        "{} cases: {clean} clean as in Git, {cautious} conflicts that Git does not see, {unanswered} crashes of Git",
        seeds.len()
    ));
    assert!(wrong.is_empty(), "ORACLE_CASE=N shows one\n{}", wrong.join("\n"));
    assert!(only.is_some() || (cautious + unanswered) * 200 <= seeds.len(), "the oracle says little");
}

/// The revert of the revert brings the tip back, and the same plan comes out twice.
fn reverts_back(repo: &Repository, request: &Request<'_>, planned: Oid, seed: u64) {
    let Ok(Found::Plan(again)) = plan(repo, request) else { panic!("case {seed}: no plan the second time") };
    assert_eq!(again.tree, planned, "case {seed}: planned twice, differently");
    let revert = commit(repo, planned, &[request.tip]);
    let back = Request { good: request.tip, bad: revert, tip: revert, ..*request };
    match plan(repo, &back) {
        Ok(Found::Plan(back)) => {
            assert_eq!(back.tree, repo.find_commit(request.tip).unwrap().tree_id(), "case {seed}");
        }
        // Nobody brings an application back by deleting all of it.
        Err(Stop::Refused(Refusal::Unsupported { .. })) => {
            let tip = repo.find_commit(request.tip).unwrap().tree_id();
            for root in request.footprint.roots() {
                assert_eq!(folder(repo, tip, std::str::from_utf8(root).unwrap()), None, "case {seed}");
            }
        }
        other => panic!("case {seed}: the revert cannot be reverted: {other:?}"),
    }
}
