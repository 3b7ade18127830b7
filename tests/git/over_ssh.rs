//! Over a real `sshd`: `/usr/sbin/sshd`, or the program that the variable `SSHD` names. Skipped where there is none.

use std::io::Read as _;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use lastgood::act::git::{Access, Auth, Secret};
use lastgood::engine::action::{Refusal, RevertOutcome};

use super::{Story, TEN_LINES, already, failed, order, pushed, refused};

const WITHIN: Duration = Duration::from_secs(20);

pub(super) struct Sshd {
    child: Child,
    port: u16,
    dir: tempfile::TempDir,
}

impl Drop for Sshd {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn text(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap()
}

fn keygen(path: &Path, kind: &[&str]) {
    let made =
        Command::new("ssh-keygen").args(["-q", "-N", "", "-t"]).args(kind).arg("-f").arg(path).status();
    assert!(made.unwrap().success());
}

impl Sshd {
    /// Starts one that lets the key `user` in.
    pub(super) fn start() -> Option<Self> {
        let program = std::env::var_os("SSHD").map_or_else(|| PathBuf::from("/usr/sbin/sshd"), PathBuf::from);
        if !program.exists() {
            eprintln!("skipped: no sshd at {}", program.display());
            return None;
        }
        let dir = tempfile::tempdir().unwrap();
        for name in ["host", "user"] {
            keygen(&dir.path().join(name), &["ed25519"]);
        }
        std::fs::copy(dir.path().join("user.pub"), dir.path().join("authorized_keys")).unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let path = |name: &str| dir.path().join(name).display().to_string();
        let config = format!(
            "Port {port}\nListenAddress 127.0.0.1\nHostKey {}\nAuthorizedKeysFile {}\nPidFile none\n\
             StrictModes no\nUsePAM no\nPermitRootLogin yes\nPasswordAuthentication no\n",
            path("host"),
            path("authorized_keys")
        );
        std::fs::write(dir.path().join("config"), config).unwrap();
        if !may_run(&program, &dir.path().join("config")) {
            return None;
        }
        let child = Command::new(program)
            .args(["-D", "-e", "-f"])
            .arg(dir.path().join("config"))
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let until = Instant::now() + Duration::from_secs(10);
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < until, "sshd does not start");
            std::thread::sleep(Duration::from_millis(20));
        }
        Some(Self { child, port, dir })
    }

    pub(super) fn url(&self, repository: &Path) -> String {
        let user = Command::new("id").arg("-un").output().unwrap().stdout;
        let user = String::from_utf8(user).unwrap();
        format!("ssh://{}@127.0.0.1:{}{}", user.trim(), self.port, repository.display())
    }

    pub(super) fn access(&self, url: &str, key: &str) -> Access {
        let key = Secret::new(text(&self.dir.path().join(key)));
        Access { auth: Auth::SshKey { key }, known_hosts: Some(self.known_hosts("host")), ..Access::new(url) }
    }

    fn known_hosts(&self, host_key: &str) -> String {
        let key = text(&self.dir.path().join(host_key).with_extension("pub"));
        format!("[127.0.0.1]:{} {key}", self.port)
    }

    /// Lets the key `user` read only, in GitHub's words.
    pub(super) fn read_only(&self) {
        let words = "ERROR: The key you are authenticating with has been marked as read only.";
        self.force(&format!(
            "case \"$SSH_ORIGINAL_COMMAND\" in git-receive-pack*) echo '{words}' >&2; exit 1;; esac\n\
             eval exec \"$SSH_ORIGINAL_COMMAND\""
        ));
    }

    /// Runs this script instead of what the key `user` asks for.
    fn force(&self, script: &str) {
        let file = self.dir.path().join("forced");
        std::fs::write(&file, format!("{script}\n")).unwrap();
        let key = text(&self.dir.path().join("user.pub"));
        let line = format!("command=\"sh {}\" {key}", file.display());
        std::fs::write(self.dir.path().join("authorized_keys"), line).unwrap();
    }
}

/// Whether `sshd` can run here. As root it wants a folder that only its service makes.
fn may_run(program: &Path, config: &Path) -> bool {
    let test = || Command::new(program).arg("-t").arg("-f").arg(config).output().unwrap();
    let words = |output: &std::process::Output| String::from_utf8_lossy(&output.stderr).trim().to_owned();
    let first = test();
    if let Some((_, folder)) = words(&first).split_once("Missing privilege separation directory: ") {
        drop(std::fs::create_dir_all(folder));
    }
    let second = test();
    if !second.status.success() {
        eprintln!("skipped: {}", words(&second));
    }
    second.status.success()
}

#[test]
fn a_revert_goes_over_ssh_and_strangers_are_told_apart() {
    let Some(sshd) = Sshd::start() else { return };
    let story = Story::new();
    let url = sshd.url(&story.world.bare);
    let order = order(&url, &story.good, &story.bad);
    let revert = |access: &Access| -> RevertOutcome { story.daemon.revert_with(&order, access, WITHIN) };

    keygen(&sshd.dir.path().join("stranger"), &["ed25519"]);
    let refusal = refused(revert(&sshd.access(&url, "stranger")));
    assert!(
        matches!(&refusal, Refusal::NotAuthorised { message, .. } if message.contains("Permission denied"))
    );

    let started = Instant::now();
    let record = pushed(revert(&sshd.access(&url, "user")));
    eprintln!("fetch, plan, push and look over SSH: {:?}", started.elapsed());
    assert_eq!(record.revert.as_str(), story.world.tip());
    assert_eq!(story.world.text("apps/shop/a.yaml"), TEN_LINES);
    already(revert(&sshd.access(&url, "user")));

    let missing = sshd.url(Path::new("/no/such.git"));
    let order = super::order(&missing, &story.good, &story.bad);
    let error = failed(story.daemon.revert_with(&order, &sshd.access(&missing, "user"), WITHIN));
    assert!(error.contains("no repository at"), "{error}");
}

#[test]
fn every_kind_of_key_opens_the_door() {
    let Some(sshd) = Sshd::start() else { return };
    let story = Story::new();
    let url = sshd.url(&story.world.bare);
    let mut order = order(&url, &story.good, &story.bad);
    order.only_look = true;
    let kinds: [(&str, &[&str]); 5] = [
        ("ed25519", &["ed25519"]),
        ("ecdsa", &["ecdsa", "-b", "256"]),
        ("rsa", &["rsa", "-b", "2048"]),
        ("rsa-pem", &["rsa", "-b", "2048", "-m", "PEM"]),
        ("rsa-pkcs8", &["rsa", "-b", "2048", "-m", "PKCS8"]),
    ];
    let mut authorized = String::new();
    for (name, kind) in kinds {
        keygen(&sshd.dir.path().join(name), kind);
        authorized += &text(&sshd.dir.path().join(name).with_extension("pub"));
    }
    std::fs::write(sshd.dir.path().join("authorized_keys"), authorized).unwrap();
    let look = |access: &Access| story.daemon.revert_with(&order, access, WITHIN);
    for (name, _) in kinds {
        let outcome = look(&sshd.access(&url, name));
        assert_eq!(outcome, RevertOutcome::NotThere, "{name}");
    }
    // As a Secret holds it that was made on Windows.
    let mut access = sshd.access(&url, "ed25519");
    let Auth::SshKey { key } = &access.auth else { panic!("no key") };
    access.auth = Auth::SshKey { key: Secret::new(key.reveal().replace('\n', "\r\n")) };
    assert_eq!(look(&access), RevertOutcome::NotThere);
}

#[test]
fn a_key_that_may_only_read_is_told() {
    let Some(sshd) = Sshd::start() else { return };
    sshd.read_only();
    let story = Story::new();
    let url = sshd.url(&story.world.bare);
    let outcome =
        story.daemon.revert_with(&order(&url, &story.good, &story.bad), &sshd.access(&url, "user"), WITHIN);
    let refusal = refused(outcome);
    let Refusal::NotAuthorised { message, .. } = &refusal else { panic!("{refusal:?}") };
    assert!(message.contains("marked as read only"), "{message}");
    assert_eq!(story.world.tip(), story.bad);
}

#[test]
fn a_server_that_means_no_good_is_left_in_time() {
    let Some(sshd) = Sshd::start() else { return };
    let url = sshd.url(Path::new("/a.git"));
    let id = "1".repeat(40);
    let within = Duration::from_millis(1500);
    for (script, expected) in [
        // Each ends with its connection.
        ("exec cat >/dev/null", "the time was up"),
        ("printf 00; exec cat >/dev/null", "the time was up"),
        ("exec yes 003f", ""),
        ("exec cat /dev/zero", "not in Git's protocol"),
        ("exec yes 'words without an end' >&2", "the time was up"),
        ("echo Welcome", "not in Git's protocol"),
        ("exit 0", ""),
        ("echo 'the disk is full' >&2; exit 1", "the disk is full"),
        ("kill -9 $$", ""),
    ] {
        sshd.force(script);
        let started = Instant::now();
        let outcome =
            super::Daemon::new().revert_with(&order(&url, &id, &id), &sshd.access(&url, "user"), within);
        let error = failed(outcome);
        assert!(error.contains(&url) && error.contains(expected), "{script}: {error}");
        assert!(started.elapsed() < within + Duration::from_secs(6), "{script}: {:?}", started.elapsed());
    }
}

#[test]
fn only_a_known_host_key_is_trusted() {
    let Some(sshd) = Sshd::start() else { return };
    let story = Story::new();
    let url = sshd.url(&story.world.bare);
    let mut order = order(&url, &story.good, &story.bad);
    order.only_look = true;
    let look = |known_hosts: Option<String>| {
        let access = Access { known_hosts, ..sshd.access(&url, "user") };
        story.daemon.revert_with(&order, &access, WITHIN)
    };
    for nothing in [None, Some(String::new()), Some("elsewhere ssh-ed25519 AAAA".into())] {
        let error = failed(look(nothing));
        assert!(error.contains(&url) && error.contains("host key is not known"), "{error}");
        assert!(error.contains("argocd-ssh-known-hosts-cm"), "{error}");
    }

    keygen(&sshd.dir.path().join("other"), &["ed25519"]);
    let error = failed(look(Some(sshd.known_hosts("other"))));
    assert!(error.contains(&url) && error.contains("another host key than the known one"), "{error}");

    let hosts = sshd.dir.path().join("hosts");
    std::fs::write(&hosts, sshd.known_hosts("host")).unwrap();
    let hashed = Command::new("ssh-keygen").arg("-q").arg("-H").arg("-f").arg(&hosts).output().unwrap();
    assert!(hashed.status.success());
    let hashed = text(&hosts);
    assert!(hashed.starts_with("|1|") && !hashed.contains("127.0.0.1"), "{hashed}");
    assert_eq!(look(Some(hashed.clone())), RevertOutcome::NotThere);
    assert_eq!(look(Some(hashed.replace('\n', "\r\n"))), RevertOutcome::NotThere);
}

#[test]
fn a_dead_ssh_server_is_left_at_the_deadline() {
    // Accepts and says nothing.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ssh://git@{}/a.git", listener.local_addr().unwrap());
    let gone = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        stream.read_to_end(&mut Vec::new()).map(|_| Instant::now())
    });
    let id = "1".repeat(40);
    let daemon = super::Daemon::new();
    let started = Instant::now();
    let outcome = daemon.revert_with(&order(&url, &id, &id), &Access::new(&url), Duration::from_millis(300));
    let error = failed(outcome);
    assert!(error.contains("the time was up") && error.contains(&url), "{error}");
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
    let gone = gone.join().unwrap().expect("ssh was not ended");
    assert!(gone - started < Duration::from_secs(5), "ssh was left behind");
}
