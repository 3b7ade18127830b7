//! Over a real `sshd`: `/usr/sbin/sshd`, or the program that the variable `SSHD` names. Skipped where there is none.

use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use lastgood::act::git::{Access, Auth, Secret};
use lastgood::engine::action::{Refusal, RevertOutcome};

use super::{Story, TEN_LINES, already, failed, order, pushed, refused};

struct Sshd {
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

impl Sshd {
    fn start() -> Option<Self> {
        let program = std::env::var_os("SSHD").map_or_else(|| PathBuf::from("/usr/sbin/sshd"), PathBuf::from);
        if !program.exists() {
            eprintln!("skipped: no sshd at {}", program.display());
            return None;
        }
        let dir = tempfile::tempdir().unwrap();
        for name in ["host", "user", "stranger"] {
            let made = Command::new("ssh-keygen")
                .args(["-q", "-t", "ed25519", "-N", "", "-f"])
                .arg(dir.path().join(name))
                .status();
            assert!(made.unwrap().success());
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
        let child = Command::new(program)
            .args(["-D", "-e", "-f"])
            .arg(dir.path().join("config"))
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let until = Instant::now() + Duration::from_secs(5);
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < until, "sshd does not start");
            std::thread::sleep(Duration::from_millis(20));
        }
        Some(Self { child, port, dir })
    }

    fn url(&self, repository: &Path) -> String {
        let user = Command::new("id").arg("-un").output().unwrap().stdout;
        let user = String::from_utf8(user).unwrap();
        format!("ssh://{}@127.0.0.1:{}{}", user.trim(), self.port, repository.display())
    }

    fn access(&self, url: &str, key: &str) -> Access {
        let host = text(&self.dir.path().join("host.pub"));
        let key = Secret::new(text(&self.dir.path().join(key)));
        let known_hosts = Some(format!("[127.0.0.1]:{} {host}", self.port));
        Access { auth: Auth::SshKey { key }, known_hosts, ..Access::new(url) }
    }
}

#[test]
fn a_revert_goes_over_ssh_and_strangers_are_told_apart() {
    let Some(sshd) = Sshd::start() else { return };
    let story = Story::new();
    let url = sshd.url(&story.world.bare);
    let order = order(&url, &story.good, &story.bad);
    let within = Duration::from_secs(20);
    let revert = |access: &Access| -> RevertOutcome { story.daemon.revert_with(&order, access, within) };

    let refusal = refused(revert(&sshd.access(&url, "stranger")));
    assert!(
        matches!(&refusal, Refusal::NotAuthorised { message, .. } if message.contains("Permission denied"))
    );
    let unknown_host = Access { known_hosts: None, ..sshd.access(&url, "user") };
    let error = failed(revert(&unknown_host));
    assert!(error.contains("Host key verification failed"), "{error}");

    let started = Instant::now();
    let record = pushed(revert(&sshd.access(&url, "user")));
    eprintln!("fetch, plan, push and look over SSH: {:?}", started.elapsed());
    assert_eq!(record.revert.as_str(), story.world.tip());
    assert_eq!(story.world.text("apps/shop/a.yaml"), TEN_LINES);
    already(revert(&sshd.access(&url, "user")));

    let missing = sshd.url(Path::new("/no/such.git"));
    let order = super::order(&missing, &story.good, &story.bad);
    let error = failed(story.daemon.revert_with(&order, &sshd.access(&missing, "user"), within));
    assert!(error.contains("no repository at"), "{error}");
}

#[test]
fn a_dead_ssh_server_is_left_at_the_deadline() {
    // Accepts and says nothing.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ssh://git@{}/a.git", listener.local_addr().unwrap());
    let id = "1".repeat(40);
    let daemon = super::Daemon::new();
    let started = Instant::now();
    let outcome = daemon.revert_with(&order(&url, &id, &id), &Access::new(&url), Duration::from_millis(300));
    assert!(failed(outcome).contains("the time was up"));
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
}
