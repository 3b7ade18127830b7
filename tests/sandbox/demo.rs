//! The demo's story, with a daemon that only pretends.

use std::time::Duration;

use jiff::Timestamp;
use lastgood::sandbox::apiserver::APPLICATIONS;
use lastgood::sandbox::demo::{Beat, DemoError, Format, Story, Timeline, Told, git_log, play};
use lastgood::sandbox::{APP, ARGOCD_NAMESPACE, BRANCH, DEPLOYMENT_FILE, shop_manifest};
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::time::sleep;

use crate::world::World;

/// What a pretended daemon does after a bad deploy.
#[derive(Clone, Copy, PartialEq)]
enum Honesty {
    Reverts,
    OnlySaysSo,
}

/// Lets time pass in the sandbox, with everybody else looking.
async fn pass(world: &World, seconds: u32) {
    for _ in 0..seconds * 10 {
        sleep(Duration::from_millis(100)).await;
        world.sandbox.advance(Duration::from_millis(100));
    }
}

/// Judges by the tag, a few seconds after each sync, and moves the sandbox's time on the way.
async fn pretend(world: &World, told: mpsc::Sender<Told>, honesty: Honesty) {
    let mut judged = String::new();
    let mut good_tag = "v1";
    loop {
        sleep(Duration::from_millis(100)).await;
        world.sandbox.advance(Duration::from_millis(100));
        let app = world.sandbox.store().get(&APPLICATIONS, ARGOCD_NAMESPACE, APP).unwrap();
        let synced = app.pointer("/status/operationState/syncResult/revision").and_then(Value::as_str);
        let revision = synced.unwrap_or_default().to_owned();
        if revision.is_empty() || revision == judged {
            continue;
        }
        judged.clone_from(&revision);
        pass(world, 5).await;
        let tag = ["v1", "v2", "v3-crash", "v4-errors"]
            .into_iter()
            .find(|tag| app.pointer("/status/summary/images").unwrap().to_string().contains(*tag))
            .unwrap();
        let (beat, sentence) = if tag.len() == 2 {
            good_tag = tag;
            (Beat::BecameGood, format!("{tag} is good"))
        } else {
            if honesty == Honesty::Reverts {
                let files = [(DEPLOYMENT_FILE, Some(shop_manifest(good_tag)))];
                let files: Vec<_> = files.iter().map(|(path, content)| (*path, content.as_deref())).collect();
                let message = format!("Revert \"shop\"\n\nThis reverts commit {revision}.\n");
                judged =
                    world.sandbox.developer().commit(&files, &message, "lastgood <l@example.com>").unwrap();
                pass(world, 8).await;
            }
            (Beat::Recovered, format!("{tag} is undone"))
        };
        let at = world.sandbox.clock().now();
        let told_it = told.send(Told { at, beat, sentence }).await;
        if told_it.is_err() {
            return;
        }
    }
}

async fn run(honesty: Honesty) -> (Result<(), DemoError>, String, World) {
    let world = World::new().await;
    let (tell, mut told) = mpsc::channel(8);
    let mut timeline = Timeline::new(Vec::new(), Format::Text, world.sandbox.clock().now());
    let result = tokio::select! {
        result = play(&world.sandbox, Story::default(), &mut told, &mut timeline) => result,
        () = pretend(&world, tell, honesty) => panic!("the pretended daemon never ends"),
    };
    (result, String::from_utf8(timeline.into_inner()).unwrap(), world)
}

#[tokio::test(start_paused = true)]
async fn the_story_ends_well_when_both_bad_deploys_are_undone() {
    let (result, timeline, world) = run(Honesty::Reverts).await;
    result.unwrap_or_else(|error| panic!("{error}\n{timeline}"));
    for line in [
        "Ben deploys a version that crashes at start",
        "a pod of v3-crash is in CrashLoopBackOff, the version before still serves",
        "lastgood   v3-crash is undone",
        "all 3 pods run v4-errors",
        "lastgood   v4-errors is undone",
        "all 3 pods run v2",
    ] {
        assert!(timeline.contains(line), "no `{line}` in\n{timeline}");
    }
    let mut log = Vec::new();
    git_log(world.sandbox.repository(), BRANCH, &mut log).unwrap();
    let log = String::from_utf8(log).unwrap();
    assert_eq!(log.matches("\ncommit ").count() + 1, 6, "{log}");
    let first = log.lines().rev().take(3).collect::<Vec<_>>();
    assert_eq!(first, ["    shop: first version", "", "Date:   Tue Nov 3 10:00:00 2026 +0000"]);
}

#[tokio::test(start_paused = true)]
async fn the_story_does_not_believe_a_daemon_that_only_says_so() {
    let (result, _, _) = run(Honesty::OnlySaysSo).await;
    let error = result.unwrap_err().to_string();
    assert!(error.contains("was reported as recovered from, but"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn the_story_ends_when_the_daemon_does() {
    let world = World::new().await;
    let (_, mut told) = mpsc::channel(1);
    let mut timeline = Timeline::new(Vec::new(), Format::JsonLines, Timestamp::UNIX_EPOCH);
    let result = play(&world.sandbox, Story::default(), &mut told, &mut timeline).await;
    assert!(matches!(result, Err(DemoError::DaemonEnded)));
}
