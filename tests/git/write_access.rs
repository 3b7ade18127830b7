//! The right to push is known before it is needed, and asking for it leaves no trace.

use std::path::Path;
use std::time::{Duration, Instant};

use lastgood::act::git::{Access, WriteAccess};
use lastgood::engine::action::Refusal;

use super::git_http::PASSWORD;
use super::git_repo::{git, run};
use super::over_http::Remote;
use super::over_ssh::Sshd;
use super::{Daemon, Story};

fn check(access: &Access, target: &str) -> WriteAccess {
    Daemon::new().git.check_write(access, target, Instant::now() + Duration::from_secs(20))
}

/// Everything in a repository that a push could change.
fn content(bare: &Path) -> String {
    let refs = run(bare, &["for-each-ref"]).stdout;
    let objects = git(bare, &["count-objects", "-v"]);
    let files: Vec<_> = std::fs::read_dir(bare).unwrap().map(|file| file.unwrap().file_name()).collect();
    format!("{} {objects} {files:?}", String::from_utf8_lossy(&refs))
}

#[track_caller]
fn refusal(access: WriteAccess) -> Refusal {
    match access {
        WriteAccess::Refused(refusal) => refusal,
        other => panic!("not refused: {other:?}"),
    }
}

#[test]
fn over_http_it_is_known_without_a_trace() {
    let remote = Remote::new();
    let bare = &remote.story.world.bare;
    // No hook may see it either.
    let touched = bare.join("touched");
    for hook in ["pre-receive", "update", "post-receive", "reference-transaction"] {
        remote.hook(hook, &format!("touch {}", touched.display()));
    }
    let before = content(bare);
    for target in ["main", "refs/heads/main", "HEAD", ""] {
        assert_eq!(check(&remote.access(PASSWORD), target), WriteAccess::Allowed, "{target}");
    }
    assert_eq!(
        remote.server.log()[..2],
        ["GET /repo.git/info/refs?service=git-receive-pack 200", "POST /repo.git/git-receive-pack 200",]
    );
    for target in ["nowhere", "v1", &remote.story.good] {
        assert!(matches!(refusal(check(&remote.access(PASSWORD), target)), Refusal::NotABranch { .. }));
    }
    let wrong = refusal(check(&remote.access("inc0rrect"), "main"));
    assert!(wrong.to_string().contains("wrong name or password"), "{wrong}");

    git(bare, &["config", "http.receivepack", "false"]);
    let read_only = refusal(check(&remote.access(PASSWORD), "main"));
    assert!(matches!(read_only, Refusal::NotAuthorised { .. }), "{read_only:?}");
    assert_eq!(content(bare), before);
}

#[test]
fn over_ssh_it_is_known_without_a_trace() {
    let Some(sshd) = Sshd::start() else { return };
    let story = Story::new();
    let (bare, url) = (&story.world.bare, sshd.url(&story.world.bare));
    let before = content(bare);
    let access = sshd.access(&url, "user");
    assert_eq!(check(&access, "main"), WriteAccess::Allowed);
    assert_eq!(check(&access, "HEAD"), WriteAccess::Allowed);
    assert!(matches!(refusal(check(&access, "nowhere")), Refusal::NotABranch { .. }));
    sshd.read_only();
    let read_only = refusal(check(&access, "main"));
    assert!(read_only.to_string().contains("marked as read only"), "{read_only}");
    assert_eq!(content(bare), before);
}

#[test]
fn on_the_same_disk_it_is_known_without_a_trace() {
    let story = Story::new();
    let before = content(&story.world.bare);
    let here = Access::new(&story.world.file_url());
    assert_eq!(check(&here, "main"), WriteAccess::Allowed);
    assert_eq!(check(&here, "HEAD"), WriteAccess::Allowed);
    assert!(matches!(refusal(check(&here, "nowhere")), Refusal::NotABranch { .. }));
    assert_eq!(content(&story.world.bare), before);
    let missing = check(&Access::new("file:///no/such.git"), "main");
    assert!(matches!(missing, WriteAccess::Unknown(_)), "{missing:?}");
    let work = check(&Access::new(&format!("file://{}", story.world.work.display())), "main");
    assert!(matches!(&work, WriteAccess::Unknown(e) if e.to_string().contains("working tree")), "{work:?}");
    let strange = refusal(check(&Access::new("oci://host/a"), "main"));
    assert!(matches!(strange, Refusal::Unsupported { .. }));
}

#[test]
fn a_server_that_cannot_be_reached_says_nothing_about_it() {
    let access = Access::new("http://ann:secret@127.0.0.1:1/a.git");
    let WriteAccess::Unknown(error) = check(&access, "main") else { panic!("known") };
    let error = error.to_string();
    assert!(
        error.contains("no answer from `http://127.0.0.1:1/a.git`") && !error.contains("secret"),
        "{error}"
    );
    let remote = Remote::new();
    *remote.server.faults.hang.lock().unwrap() = true;
    let started = Instant::now();
    let soon = Instant::now() + Duration::from_millis(300);
    let unknown = Daemon::new().git.check_write(&remote.access(PASSWORD), "main", soon);
    assert!(matches!(unknown, WriteAccess::Unknown(_)), "{unknown:?}");
    assert!(started.elapsed() < Duration::from_secs(5));
}
