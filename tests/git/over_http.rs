//! The same over a real server: races, refusals, lost answers, wrong passwords, dead hosts.

use std::sync::Arc;
use std::time::{Duration, Instant};

use lastgood::act::git::{Access, Auth, Secret};
use lastgood::engine::action::{Refusal, RevertOrder, RevertOutcome};

use super::git_http::{GitServer, PASSWORD, USER};
use super::git_repo::{git, run};
use super::{Story, TEN_LINES, already, failed, order, pushed, refused};

pub(super) struct Remote {
    pub(super) story: Story,
    pub(super) server: GitServer,
}

impl Remote {
    pub(super) fn new() -> Self {
        let story = Story::new();
        let server = GitServer::start(story.world.dir.path());
        Self { story, server }
    }

    pub(super) fn order(&self) -> RevertOrder {
        order(&self.server.url("repo.git"), &self.story.good, &self.story.bad)
    }

    pub(super) fn access(&self, password: &str) -> Access {
        let auth = Auth::Basic { username: USER.into(), password: Secret::new(password) };
        Access { auth, ..Access::new(&self.server.url("repo.git")) }
    }

    pub(super) fn revert(&self) -> RevertOutcome {
        self.revert_within(Duration::from_secs(20))
    }

    pub(super) fn revert_within(&self, within: Duration) -> RevertOutcome {
        self.story.daemon.revert_with(&self.order(), &self.access(PASSWORD), within)
    }

    /// Lets somebody else push between our look and our push.
    fn race(&self, path: &'static str, content: &'static str) {
        let (bare, work) = (self.story.world.bare.clone(), self.story.world.work.clone());
        *self.server.faults.before_push.lock().unwrap() = Some(Box::new(move || {
            std::fs::write(work.join(path), content).unwrap();
            git(&work, &["commit", "-qam", "race"]);
            git(&work, &["push", "-q", bare.to_str().unwrap(), "HEAD:refs/heads/main"]);
        }));
    }

    pub(super) fn hook(&self, name: &str, script: &str) {
        use std::os::unix::fs::PermissionsExt as _;
        let path = self.story.world.bare.join("hooks").join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
}

#[test]
fn a_push_is_accepted_and_seen() {
    let remote = Remote::new();
    let started = Instant::now();
    let record = pushed(remote.revert());
    eprintln!("fetch, plan, push and look over HTTP: {:?}", started.elapsed());
    assert_eq!(record.revert.as_str(), remote.story.world.tip());
    assert_eq!(remote.story.world.text("apps/shop/a.yaml"), TEN_LINES);
    assert!(run(&remote.story.world.bare, &["fsck", "--strict"]).status.success());
    let started = Instant::now();
    already(remote.revert());
    eprintln!("look again over HTTP: {:?}", started.elapsed());
}

#[test]
fn somebody_who_pushed_first_keeps_the_commit() {
    let remote = Remote::new();
    remote.race("apps/other/a.yaml", "race");
    let record = pushed(remote.revert());
    let world = &remote.story.world;
    assert_eq!(record.attempts, 2);
    assert_eq!(
        (world.text("apps/other/a.yaml").as_str(), world.text("apps/shop/a.yaml").as_str()),
        ("race", TEN_LINES)
    );
    assert_eq!(git(&world.bare, &["log", "-1", "--format=%s", "main^"]), "race");
}

#[test]
fn a_branch_that_moved_before_the_push_is_planned_again() {
    let remote = Remote::new();
    remote.race("apps/other/a.yaml", "race");
    let faults = &remote.server.faults;
    *faults.before_refs.lock().unwrap() = faults.before_push.lock().unwrap().take();
    assert_eq!(pushed(remote.revert()).attempts, 2);
    assert_eq!(remote.story.world.text("apps/other/a.yaml"), "race");
    let pushes =
        remote.server.log().iter().filter(|line| line.starts_with("POST /repo.git/git-receive")).count();
    assert_eq!(pushes, 1, "{:?}", remote.server.log());
}

#[test]
fn a_branch_that_never_stands_still_is_tried_until_the_time_is_up() {
    let remote = Remote::new();
    // Each push finds that somebody was faster, between what it was told and what it sent.
    remote.hook(
        "pre-receive",
        "unset GIT_QUARANTINE_PATH GIT_OBJECT_DIRECTORY GIT_ALTERNATE_OBJECT_DIRECTORIES\n\
         new=$(git -c user.name=Race -c user.email=race@example.org commit-tree -p main -m race 'main^{tree}')\n\
         git update-ref refs/heads/main \"$new\"",
    );
    let started = Instant::now();
    let error = failed(remote.revert_within(Duration::from_secs(3)));
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
    assert!(
        error.contains("the branch moved before each of") || error.contains("the time was up"),
        "{error}"
    );
    let races = git(&remote.story.world.bare, &["rev-list", "--count", "--grep=race", "main"]);
    assert!(races.parse::<u32>().unwrap() >= 2, "{races}");
    assert_ne!(remote.story.world.text("apps/shop/a.yaml"), TEN_LINES);
}

#[test]
fn a_branch_that_somebody_rewound_does_not_get_its_commits_back() {
    let remote = Remote::new();
    let (bare, good) = (remote.story.world.bare.clone(), remote.story.good.clone());
    let rewind = move || drop(git(&bare, &["update-ref", "refs/heads/main", &good]));
    *remote.server.faults.before_refs.lock().unwrap() = Some(Box::new(rewind));
    assert!(matches!(refused(remote.revert()), Refusal::BadNotOnBranch { .. }));
    assert_eq!(remote.story.world.tip(), remote.story.good);
}

#[test]
fn a_race_into_the_same_lines_ends_as_a_conflict() {
    let remote = Remote::new();
    remote.race("apps/shop/a.yaml", "race");
    assert!(matches!(remote.revert(), RevertOutcome::Conflict { .. }));
    assert_eq!(remote.story.world.text("apps/shop/a.yaml"), "race");
}

#[test]
fn a_lost_answer_is_unknown_and_the_second_call_finds_the_revert() {
    let remote = Remote::new();
    *remote.server.faults.lose_answers.lock().unwrap() = true;
    let error = failed(remote.revert());
    assert!(error.contains("no answer from"), "{error}");
    assert_eq!(remote.story.world.text("apps/shop/a.yaml"), TEN_LINES);
    *remote.server.faults.lose_answers.lock().unwrap() = false;
    let tip = remote.story.world.tip();
    assert_eq!(already(remote.revert()).revert.as_str(), tip);
    assert_eq!(remote.story.world.tip(), tip);
}

#[test]
fn a_branch_whose_name_is_not_utf_8_does_no_harm() {
    use std::os::unix::ffi::OsStrExt as _;
    let remote = Remote::new();
    let name = std::ffi::OsStr::from_bytes(b"refs/heads/caf\xe9");
    let path = remote.story.world.bare.join(name);
    std::fs::write(path, format!("{}\n", remote.story.good)).unwrap();
    pushed(remote.revert());
}

#[test]
fn a_wrong_password_is_asked_once() {
    let remote = Remote::new();
    let access = remote.access("inc0rrect");
    let outcome = remote.story.daemon.revert_with(&remote.order(), &access, Duration::from_secs(20));
    let refusal = refused(outcome);
    let Refusal::NotAuthorised { message, .. } = &refusal else { panic!("{refusal:?}") };
    assert!(message.contains("wrong name or password"), "{message}");
    assert_eq!(remote.server.log(), ["GET /repo.git/info/refs?service=git-upload-pack 401"]);
    let none = Access::new(&remote.server.url("repo.git"));
    let refusal = refused(remote.story.daemon.revert_with(&remote.order(), &none, Duration::from_secs(20)));
    assert!(refusal.to_string().contains("no credentials are known"), "{refusal}");
}

#[test]
fn credentials_that_may_only_read_are_refused() {
    let remote = Remote::new();
    git(&remote.story.world.bare, &["config", "http.receivepack", "false"]);
    assert!(matches!(refused(remote.revert()), Refusal::NotAuthorised { .. }));
    let log = remote.server.log();
    assert_eq!(log.last().unwrap(), "GET /repo.git/info/refs?service=git-receive-pack 403");
}

#[test]
fn the_servers_words_and_class_are_kept() {
    let remote = Remote::new();
    let answer = |status: u16, text: &str| {
        *remote.server.faults.answer.lock().unwrap() = Some((status, text.to_owned()));
        remote.revert()
    };
    let forbidden = refused(answer(403, "the account\n\nis suspended"));
    assert!(forbidden.to_string().contains("the account is suspended"), "{forbidden}");
    let gone = failed(answer(404, "no such project"));
    assert!(gone.contains("no repository at") && gone.contains("no such project"), "{gone}");
    let down = failed(answer(503, "maintenance"));
    assert!(
        down.contains("no answer from") && down.contains("retry after 7") && down.contains("maintenance"),
        "{down}"
    );
    let login_page = failed(answer(200, "<html>"));
    assert!(login_page.contains("is this a repository?"), "{login_page}");
}

#[test]
fn a_dead_server_is_left_at_the_deadline() {
    let remote = Remote::new();
    *remote.server.faults.hang.lock().unwrap() = true;
    let started = Instant::now();
    let error = failed(remote.revert_within(Duration::from_millis(300)));
    assert!(error.contains("the time was up"), "{error}");
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
}

#[test]
fn a_moved_repository_is_found_but_never_on_another_host() {
    let remote = Remote::new();
    *remote.server.faults.redirect.lock().unwrap() = Some("/repo.git".into());
    let mut order = remote.order();
    order.parts[0].repo_url = remote.server.url("old.git");
    let access = Access { url: order.parts[0].repo_url.clone(), ..remote.access(PASSWORD) };
    // The redirect is for one path only, or it would be one of itself.
    let faults = Arc::clone(&remote.server.faults);
    let outcome = remote.story.daemon.revert_with(&order, &access, Duration::from_secs(20));
    pushed(outcome);
    *faults.redirect.lock().unwrap() = Some("http://localhost:1".into());
    let error = failed(remote.revert());
    assert!(error.contains("redirects to http://localhost"), "{error}");
}

#[test]
fn two_daemons_at_once_make_one_revert() {
    let remote = Arc::new(Remote::new());
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let remote = Arc::clone(&remote);
            std::thread::spawn(move || {
                let daemon = super::Daemon::new();
                daemon.revert_with(&remote.order(), &remote.access(PASSWORD), Duration::from_secs(20))
            })
        })
        .collect();
    let outcomes: Vec<_> = threads.into_iter().map(|t| t.join().unwrap()).collect();
    let pushed = outcomes.iter().filter(|o| matches!(o, RevertOutcome::Pushed(_))).count();
    let already = outcomes.iter().filter(|o| matches!(o, RevertOutcome::AlreadyReverted(_))).count();
    assert_eq!((pushed, already), (1, 3), "{outcomes:?}");
    assert_eq!(git(&remote.story.world.bare, &["rev-list", "--count", "main"]), "3");
}
