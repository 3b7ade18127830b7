//! Plans over histories that nobody thought of.

use git2::{Oid, Repository, Signature, Time};
use lastgood::act::git::never::Never;
use lastgood::act::git::plan::{Found, OnConflict, Request, Stop, plan};
use lastgood::act::git::{Footprint, Git};
use lastgood::engine::action::Refusal;
use proptest::prelude::*;

use super::{Story, git_repo::git};

fn request<'a>(good: Oid, bad: Oid, tip: Oid, footprint: &'a Footprint, never: &'a Never) -> Request<'a> {
    Request {
        good,
        bad,
        tip,
        branch: "main",
        footprint,
        at_bad: footprint,
        rollback: None,
        on_conflict: OnConflict::Hold,
        never,
    }
}

/// A commit of a random history: some files of two folders and the root set to one of a few contents, or removed.
#[derive(Clone, Debug)]
struct Step {
    changes: Vec<(usize, Option<u8>)>,
    merge_with: Option<usize>,
}

const FILES: [&str; 6] =
    ["apps/shop/a", "apps/shop/b", "apps/shop/deep/c", "apps/shop-eu/a", "apps/other/a", "root"];

fn step() -> impl Strategy<Value = Step> {
    let change = (0..FILES.len(), prop_oneof![1 => Just(None), 4 => (0..3_u8).prop_map(Some)]);
    (prop::collection::vec(change, 0..3), prop::option::weighted(0.2, 0..8_usize))
        .prop_map(|(changes, merge_with)| Step { changes, merge_with })
}

/// Content whose lines are far enough apart that two changes of different kinds can be merged.
fn content(kind: u8) -> String {
    let line = |n: u8| if n == kind * 5 { format!("changed {n}\n") } else { format!("{n}\n") };
    (0..12).map(line).collect()
}

fn commit(repo: &Repository, step: &Step, history: &[Oid]) -> Oid {
    let parent = history.last().map(|id| repo.find_commit(*id).unwrap());
    let mut update = git2::build::TreeUpdateBuilder::new();
    let base = match &parent {
        Some(parent) => parent.tree().unwrap(),
        None => repo.find_tree(repo.treebuilder(None).unwrap().write().unwrap()).unwrap(),
    };
    let changes: std::collections::BTreeMap<_, _> = step.changes.iter().copied().collect();
    for (file, kind) in &changes {
        match kind {
            Some(kind) => {
                let blob = repo.blob(content(*kind).as_bytes()).unwrap();
                update.upsert(FILES[*file], blob, git2::FileMode::Blob);
            }
            None if base.get_path(FILES[*file].as_ref()).is_ok() => {
                update.remove(FILES[*file]);
            }
            None => {}
        }
    }
    let tree = repo.find_tree(update.create_updated(repo, &base).unwrap()).unwrap();
    let other = step.merge_with.and_then(|i| history.get(i)).filter(|id| Some(*id) != history.last());
    let other = other.map(|id| repo.find_commit(*id).unwrap());
    let parents: Vec<_> = parent.iter().chain(&other).collect();
    let time = Time::new(1_000_000_000 + i64::try_from(history.len()).unwrap(), 0);
    let signature = Signature::new("Ann", "ann@example.org", &time).unwrap();
    repo.commit(None, &signature, &signature, "step", &tree, &parents).unwrap()
}

fn blob_of(repo: &Repository, tree: Oid, path: &str) -> Option<Oid> {
    repo.find_tree(tree).unwrap().get_path(path.as_ref()).ok().map(|e| e.id())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_plan_stays_in_the_footprint_and_brings_last_good_back(
        steps in prop::collection::vec(step(), 3..9),
        (good, bad) in (0..3_usize, 1..4_usize),
    ) {
        Git::init().unwrap();
        let dir = tempfile::tempdir().unwrap();
        let repo = Repository::init_bare(dir.path()).unwrap();
        let first = Step { changes: (0..FILES.len()).map(|file| (file, Some(0))).collect(), merge_with: None };
        let mut history = Vec::new();
        for step in std::iter::once(&first).chain(&steps) {
            history.push(commit(&repo, step, &history));
        }
        let (good, bad) = (history[good], history[(good + bad).min(history.len() - 1)]);
        let tip = *history.last().unwrap();
        let footprint = Footprint::new(&["apps/shop"]).unwrap();
        let root = |id: Oid| repo.find_commit(id).unwrap().tree_id();
        let folder = |tree: Oid| blob_of(&repo, tree, "apps/shop");
        let never = Never::default();
        let request = request(good, bad, tip, &footprint, &never);
        match plan(&repo, &request) {
            Ok(Found::Plan(plan)) => {
                prop_assert_ne!(plan.tree, root(tip));
                for file in &FILES[3..] {
                    prop_assert_eq!(blob_of(&repo, plan.tree, file), blob_of(&repo, root(tip), file));
                }
                if folder(root(tip)) == folder(root(bad)) {
                    prop_assert_eq!(folder(plan.tree), folder(root(good)));
                }
                prop_assert!(plan.evidence.files.iter().all(|file| footprint.contains(file)));
                prop_assert!(!plan.evidence.culprits.is_empty());
            }
            Ok(Found::Already(_)) => prop_assert_ne!(folder(root(tip)), folder(root(bad))),
            Err(Stop::Refused(Refusal::NothingToRevert { .. })) => {
                prop_assert_eq!(folder(root(good)), folder(root(bad)));
            }
            Err(Stop::Refused(Refusal::Gone { .. })) => prop_assert_eq!(folder(root(tip)), None),
            Err(Stop::Refused(Refusal::Unsupported { .. })) => prop_assert_eq!(folder(root(good)), None),
            Err(Stop::Conflict(files)) => {
                prop_assert!(files.iter().all(|file| footprint.contains(file)));
                prop_assert_ne!(folder(root(tip)), folder(root(bad)));
            }
            Err(stop) => prop_assert!(false, "{stop:?}"),
        }
    }
}

#[test]
fn a_shallow_boundary_is_refused_where_libgit2_would_see_a_first_commit() {
    Git::init().unwrap();
    let story = Story::new();
    let tip = story.world.change("README.md", "x");
    let shallow = story.world.dir.path().join("shallow");
    let url = story.world.file_url();
    git(story.world.dir.path(), &["clone", "-q", "--depth=2", &url, shallow.to_str().unwrap()]);
    let repo = Repository::open(&shallow).unwrap();
    let boundary = repo.find_commit(story.bad.parse().unwrap()).unwrap();
    assert_eq!(boundary.parent_count(), 0, "libgit2 hides the parents");
    let footprint = Footprint::new(&["apps/shop"]).unwrap();
    let id = |text: &str| text.parse().unwrap();
    let never = Never::default();
    let request = request(id(&story.good), id(&story.bad), id(&tip), &footprint, &never);
    let stop = plan(&repo, &request).unwrap_err();
    assert!(matches!(&stop, Stop::Refused(Refusal::Shallow { at }) if at.as_str() == story.bad), "{stop:?}");
}

#[test]
fn what_others_have_is_not_even_read() {
    Git::init().unwrap();
    let story = Story::new();
    let world = &story.world;
    let tip = world.change("apps/shop/b.yaml", "later\n");
    let repo = Repository::open_bare(&world.bare).unwrap();
    let expected = git(&world.work, &["rev-parse", &format!("{}:apps/shop", story.good)]);
    // Whoever reads the neighbour's folder meets a hole.
    let other = git(&world.bare, &["rev-parse", "main:apps/other"]);
    std::fs::remove_file(world.bare.join("objects").join(&other[..2]).join(&other[2..])).unwrap();
    assert!(repo.find_tree(other.parse().unwrap()).is_err());
    let footprint = Footprint::new(&["apps/shop"]).unwrap();
    let never = Never::new(&[], &lastgood::act::git::never::KINDS).unwrap();
    let id = |text: &str| text.parse().unwrap();
    let request = request(id(&story.good), id(&story.bad), id(&tip), &footprint, &never);
    let Ok(Found::Plan(plan)) = plan(&repo, &request) else { panic!("no plan") };
    assert_eq!(plan.evidence.files, [b"apps/shop/a.yaml"]);
    assert_ne!(blob_of(&repo, plan.tree, "apps/shop").unwrap().to_string(), expected, "what is later stays");
}
