//! A change of an Application's own specification, undone in the file that defines it.

use lastgood::engine::action::{Definition, Other, RevertOrder, RevertOutcome, Standing, Touched, Unchanged};
use lastgood::engine::facts::{AppKey, Origin, Rendering, Revision};
use lastgood::engine::policy::{OnNewerChange, SharedFiles};

use super::git_repo::git;
use super::{Story, already, pushed, refused};

fn application(name: &str, target: &str) -> String {
    format!(
        "apiVersion: argoproj.io/v1alpha1
kind: Application
metadata:
  name: {name}
  namespace: argocd
spec:
  destination: {{ namespace: {name} }}
  project: default
  source:
    repoURL: https://charts.example.org
    chart: {name}
    targetRevision: {target}
"
    )
}

fn defined(name: &str) -> Origin {
    Origin::Application(AppKey::new("argocd", name))
}

/// The file that defines `shop` at good and at bad, in the folder that the application `apps` is rendered from.
fn story(good: &str, bad: &str) -> (Story, RevertOrder) {
    let mut story = Story::new();
    story.good = story.world.change("defs/shop.yaml", good);
    story.bad = story.world.change("defs/shop.yaml", bad);
    let mut order = story.order();
    let part = &mut order.parts[0];
    part.sources.clear();
    part.renderings = vec![Rendering::plain("defs")];
    let parent = AppKey::new("argocd", "apps");
    part.definition = Some(Definition { object: defined("shop"), parent });
    (story, order)
}

fn other(name: &str, standing: Standing) -> Other {
    Other {
        app: AppKey::new("argocd", name),
        renderings: Vec::new(),
        revision: None,
        defined: Some(defined(name)),
        standing,
    }
}

#[track_caller]
fn why_refused(order: &RevertOrder, story: &Story) -> String {
    let tip = story.world.tip();
    let why = refused(story.daemon.revert(order)).to_string();
    assert_eq!(story.world.tip(), tip, "nothing is pushed");
    why
}

#[test]
fn the_file_that_defines_it_is_put_back_and_nothing_else() {
    let (story, order) = story(&application("shop", "1.2.3"), &application("shop", "1.3.0"));
    story.world.write("defs/blog.yaml", application("blog", "7"));
    story.world.change("defs/notes.yaml", "later: true\n");
    let part = pushed(story.daemon.revert(&order));
    assert_eq!(part.files, ["defs/shop.yaml"]);
    assert_eq!(part.definition.unwrap().parent, AppKey::new("argocd", "apps"));
    assert_eq!(story.world.text("defs/shop.yaml"), application("shop", "1.2.3"));
    assert_eq!(story.world.text("defs/blog.yaml"), application("blog", "7"));
    let trailer = git(&story.world.bare, &["log", "-1", "--format=%(trailers:key=Lastgood-Parent)", "main"]);
    assert_eq!(trailer, "Lastgood-Parent: argocd/apps");
    assert_eq!(already(story.daemon.revert(&order)).revert, part.revert);
}

#[test]
fn of_a_file_with_several_documents_only_the_change_is_undone() {
    let both = |shop: &str, blog: &str| application("shop", shop) + "---\n" + &application("blog", blog);
    let (story, mut order) = story(&both("1", "7"), &both("2", "7"));
    story.world.change("defs/shop.yaml", both("2", "8"));
    order.parts[0].others = vec![other("blog", Standing::Well)];
    // The later change of the file is no fix, and need not be waited for.
    order.rules.on_newer_change = OnNewerChange::Wait;
    pushed(story.daemon.revert(&order));
    assert_eq!(story.world.text("defs/shop.yaml"), both("1", "8"));
}

#[test]
fn a_later_change_of_the_definition_may_be_the_fix() {
    let (story, mut order) = story(&application("shop", "1"), &application("shop", "2"));
    let fix = story.world.change("defs/shop.yaml", application("shop", "3"));
    order.rules.on_newer_change = OnNewerChange::Wait;
    match story.daemon.revert(&order) {
        RevertOutcome::Newer { revision, .. } => assert_eq!(revision.as_str(), fix),
        other => panic!("not awaited: {other:?}"),
    }
}

#[test]
fn another_application_that_the_change_defined_anew_is_touched() {
    let both = |shop: &str, blog: &str| application("shop", shop) + "---\n" + &application("blog", blog);
    let (story, mut order) = story(&both("1", "7"), &both("2", "8"));
    order.parts[0].others = vec![other("blog", Standing::Well), other("cart", Standing::Well)];
    let blog = Touched { app: AppKey::new("argocd", "blog"), standing: Standing::Well };
    match story.daemon.revert(&order) {
        RevertOutcome::Shared { with } => assert_eq!(with, [blog]),
        other => panic!("not shared: {other:?}"),
    }
    order.rules.shared_files = SharedFiles::Revert;
    pushed(story.daemon.revert(&order));
    assert_eq!(story.world.text("defs/shop.yaml"), both("1", "7"));
}

#[test]
fn what_else_the_change_did_to_the_file_is_left_to_a_person() {
    let project = |name: &str| {
        format!(
            "---\napiVersion: argoproj.io/v1alpha1\nkind: AppProject\nmetadata: {{ name: team, labels: {{ x: {name} }} }}\n"
        )
    };
    let both = |shop: &str, x: &str| application("shop", shop) + &project(x);
    let (story, order) = story(&both("1", "a"), &both("2", "b"));
    let why = why_refused(&order, &story);
    assert!(why.contains("it would change AppProject team in `defs/shop.yaml` too"), "{why}");
}

#[test]
fn a_definition_that_is_not_one_plain_document_is_left_to_a_person() {
    let check = |good: &str, bad: &str, expected: &str| {
        let (story, order) = story(good, bad);
        let why = why_refused(&order, &story);
        assert!(why.contains(expected), "{why}");
    };
    let template = |target: &str| {
        application("shop", target) + "    {{- if .Values.x }}\n    helm: {}\n    {{- end }}\n"
    };
    check(&template("1"), &template("2"), "is defined by the template `defs/shop.yaml`");
    check("a: 1\n", "a: 2\n", "no file of argocd/apps at ");
    let (story, order) = story(&application("shop", "1"), &application("shop", "2"));
    story.world.write("defs/again.yaml", application("shop", "1"));
    let bad = story.world.commit("a second definition");
    let mut twice = order;
    twice.parts[0].bad = Revision::new(&bad);
    let why = why_refused(&twice, &story);
    assert!(
        why.contains("in several files at ") && why.contains("`defs/again.yaml`, `defs/shop.yaml`"),
        "{why}"
    );
}

#[test]
fn its_own_files_must_not_have_changed_too() {
    let (story, mut order) = story(&application("shop", "1"), &application("shop", "2"));
    let part = &mut order.parts[0];
    let rendering = Rendering::of_path("apps/shop");
    part.unchanged = vec![Unchanged { rendering, good: part.good.clone(), bad: part.bad.clone() }];
    let bad = story.world.change("apps/shop/b.yaml", "changed too\n");
    let mut both = order.clone();
    (both.parts[0].bad, both.parts[0].unchanged[0].bad) = (Revision::new(&bad), Revision::new(&bad));
    let why = why_refused(&both, &story);
    assert!(why.contains("its own files changed too between"), "{why}");
    pushed(story.daemon.revert(&order));
}
