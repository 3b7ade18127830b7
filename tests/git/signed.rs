//! Signed reverts, checked by the programs that people check them with: `git verify-commit`, `ssh-keygen` and `gpg`.
//! Without `gpg` those of OpenPGP are skipped.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use lastgood::act::git::{Access, Identity, KeyText, Secret, SignError, Signer};
use lastgood::engine::action::{Refusal, RevertOutcome};

use super::{Story, pushed, refused};

fn text(key: &str, passphrase: Option<&str>) -> KeyText {
    let (origin, passphrase) = ("the Secret `signing`".to_owned(), passphrase.map(Secret::new));
    KeyText { origin, key: Secret::new(key), passphrase }
}

fn read(key: &str, passphrase: Option<&str>) -> Result<Signer, SignError> {
    Signer::read(&text(key, passphrase), Timestamp::now())
}

#[track_caller]
fn broken(key: &str, passphrase: Option<&str>, expected: &str) {
    let error = read(key, passphrase).unwrap_err().to_string();
    assert!(error.starts_with("the Secret `signing` ") && error.contains(expected), "{error}");
}

impl Story {
    fn signed_revert(&self, signer: Result<Signer, SignError>) -> RevertOutcome {
        let (name, email) = ("lastgood".into(), "lastgood@example.org".into());
        let identity = Identity { name, email, signer: Some(signer) };
        let order = self.order();
        let deadline = Instant::now() + Duration::from_secs(20);
        let access = [Access::new(&self.world.file_url())];
        self.daemon.git.revert(&order, &access, &identity, Timestamp::now(), deadline)
    }

    /// Whether git takes the branch's newest commit for well signed, and what it says.
    fn verify(&self, commit: &str, settings: &[String], home: Option<&Path>) -> (bool, String) {
        let mut git = Command::new("git");
        git.current_dir(&self.world.bare)
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("LC_ALL", "C");
        if let Some(home) = home {
            git.env("GNUPGHOME", home);
        }
        for setting in settings {
            git.args(["-c", setting]);
        }
        let output = git.args(["verify-commit", commit]).output().unwrap();
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    }

    /// The branch's newest commit with another subject.
    fn tampered(&self) -> String {
        let commit = super::git_repo::run(&self.world.bare, &["cat-file", "commit", "main"]).stdout;
        let commit = String::from_utf8(commit).unwrap();
        assert!(commit.contains("\n\nRevert "), "{commit}");
        let other = self.world.dir.path().join("other");
        std::fs::write(&other, commit.replace("\n\nRevert ", "\n\nRevart ")).unwrap();
        let path = other.to_str().unwrap();
        super::git_repo::git(&self.world.bare, &["hash-object", "-t", "commit", "-w", path])
    }

    /// Pushes a signed revert, which must be good, and bad when it is changed.
    #[track_caller]
    fn check(&self, signer: Result<Signer, SignError>, settings: &[String], home: Option<&Path>) -> String {
        pushed(self.signed_revert(signer));
        let (good, words) = self.verify("main", settings, home);
        assert!(good, "{words}");
        let (good, bad_words) = self.verify(&self.tampered(), settings, home);
        assert!(!good, "{bad_words}");
        super::git_repo::git(&self.world.bare, &["fsck", "--strict"]);
        words
    }
}

/// A folder with keys of `ssh-keygen`.
struct SshKeys(tempfile::TempDir);

impl SshKeys {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn make(&self, name: &str, arguments: &[&str]) -> String {
        let path = self.path(name);
        let made =
            Command::new("ssh-keygen").arg("-q").args(arguments).arg("-f").arg(&path).status().unwrap();
        assert!(made.success());
        std::fs::read_to_string(path).unwrap()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// The setting by which git trusts this key for signatures of commits, and for nothing else.
    fn settings(&self, name: &str) -> [String; 2] {
        let public = std::fs::read_to_string(self.path(name).with_extension("pub")).unwrap();
        let file = self.path("allowed");
        std::fs::write(&file, format!("lastgood@example.org namespaces=\"git\" {public}")).unwrap();
        ["gpg.format=ssh".to_owned(), format!("gpg.ssh.allowedSignersFile={}", file.display())]
    }
}

#[test]
fn git_takes_the_signature_of_every_kind_of_ssh_key() {
    let keys = SshKeys::new();
    for (name, kind, bits) in [
        ("ed25519", "ed25519", "256"),
        ("p256", "ecdsa", "256"),
        ("p384", "ecdsa", "384"),
        ("rsa", "rsa", "3072"),
    ] {
        let make = |again: u32| keys.make(&format!("{name}-{again}"), &["-t", kind, "-b", bits, "-N", ""]);
        // Some ECDSA keys cannot be read, and say so; three in a row are no chance.
        let is_readable =
            |key: &String| !matches!(read(key, None), Err(e) if e.to_string().ends_with("make another"));
        let (again, key) =
            (0..3).map(|again| (again, make(again))).find(|(_, key)| is_readable(key)).unwrap();
        let settings = keys.settings(&format!("{name}-{again}"));
        // As a Secret may hold it: without the last line break.
        let words = Story::new().check(read(key.trim(), None), &settings, None);
        assert!(words.contains("Good \"git\" signature for lastgood@example.org"), "{name}: {words}");
    }
}

#[test]
fn an_ssh_key_with_a_passphrase_needs_the_right_one() {
    let keys = SshKeys::new();
    let key = keys.make("locked", &["-t", "ed25519", "-a", "1", "-N", "open sesame"]);
    broken(&key, None, "holds an SSH key with a passphrase, but no `passphrase`");
    broken(&key, Some("wrong"), "holds an SSH key that its `passphrase` does not open");
    Story::new().check(read(&key, Some("open sesame")), &keys.settings("locked"), None);
}

#[test]
fn what_is_no_key_is_told_apart() {
    let keys = SshKeys::new();
    let old = keys.make("old", &["-t", "rsa", "-b", "2048", "-m", "PEM", "-N", ""]);
    broken(&old, None, "holds a private key in an old form; rewrite it with `ssh-keygen -p -f FILE`");
    let public = std::fs::read_to_string(keys.path("old.pub")).unwrap();
    broken(&public, None, "holds a public key");
    let good = keys.make("good", &["-t", "ed25519", "-N", ""]);
    broken(&good.replace("AAAA", "AAAB"), None, "holds an SSH key that cannot be read");
}

#[test]
fn without_the_key_nothing_is_pushed_but_what_is_there_is_found() {
    let story = Story::new();
    let before = story.world.tip();
    let no_key = || Err(SignError::new("the Secret `signing`", "holds no `gpgPrivateKey`"));
    let refusal = refused(story.signed_revert(no_key()));
    let Refusal::CannotSign { reason } = &refusal else { panic!("{refusal:?}") };
    assert_eq!(reason, "the Secret `signing` holds no `gpgPrivateKey`");
    assert_eq!(story.world.tip(), before);
    pushed(story.revert());
    super::already(story.signed_revert(no_key()));
}

/// A keyring of its own; its agent ends with it.
struct Gpg {
    home: tempfile::TempDir,
}

impl Drop for Gpg {
    fn drop(&mut self) {
        drop(self.run(Command::new("gpgconf").args(["--kill", "all"]), ""));
    }
}

impl Gpg {
    fn new() -> Option<Self> {
        if Command::new("gpg").arg("--version").output().is_err() {
            eprintln!("skipped: no gpg");
            return None;
        }
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o700);
        let home = tempfile::Builder::new().permissions(mode).tempdir().unwrap();
        // Passphrases that are quick to try: gpg's usual effort takes this test build seconds.
        std::fs::write(home.path().join("gpg-agent.conf"), "s2k-count 65536\n").unwrap();
        Some(Self { home })
    }

    fn run(&self, command: &mut Command, stdin: &str) -> Output {
        use std::io::Write as _;
        let mut child = command
            .env("GNUPGHOME", self.home.path())
            .env("LC_ALL", "C")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(stdin.as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    }

    fn gpg(&self, passphrase: &str, arguments: &[&str], stdin: &str) -> String {
        let mut gpg = Command::new("gpg");
        gpg.args(["--batch", "--yes", "--pinentry-mode", "loopback", "--passphrase", passphrase]);
        let output = self.run(gpg.args(arguments), stdin);
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Makes a primary key; gives its fingerprint.
    fn key(&self, passphrase: &str, algorithm: &str, usage: &str) -> String {
        let user = "lastgood <lastgood@example.org>";
        self.gpg(passphrase, &["--quick-generate-key", user, algorithm, usage, "never"], "");
        let listed = self.gpg(passphrase, &["--list-keys", "--with-colons"], "");
        let fingerprint = listed.lines().find_map(|line| line.strip_prefix("fpr:::::::::"));
        fingerprint.unwrap().trim_end_matches(':').to_owned()
    }

    fn subkey(&self, passphrase: &str, primary: &str, algorithm: &str, usage: &str, expires: &str) {
        self.gpg(passphrase, &["--quick-add-key", primary, algorithm, usage, expires], "");
    }

    fn secret(&self, passphrase: &str) -> String {
        self.gpg(passphrase, &["--armor", "--export-secret-keys"], "")
    }

    /// Pushes a signed revert that git and gpg take for good.
    fn check(&self, key: &str, passphrase: Option<&str>) -> String {
        let words = Story::new().check(read(key, passphrase), &[], Some(self.home.path()));
        assert!(words.contains("gpg: Good signature from \"lastgood <lastgood@example.org>\""), "{words}");
        words
    }
}

#[test]
fn gpg_takes_the_signature_of_the_subkey_that_is_for_signing() {
    let Some(gpg) = Gpg::new() else { return };
    let primary = gpg.key("", "ed25519", "cert");
    gpg.subkey("", &primary, "cv25519", "encr", "never");
    broken(&gpg.secret(""), None, &format!("no part may sign now: {primary} is not for signing"));
    gpg.subkey("", &primary, "rsa2048", "sign", "1d");
    let key = gpg.secret("");
    let words = gpg.check(&key, None);
    assert!(words.contains("using RSA key"), "{words}");
    // The primary key at home, as is good practice.
    let subkeys = gpg.gpg("", &["--armor", "--export-secret-subkeys"], "");
    assert_ne!(subkeys, key);
    gpg.check(&subkeys, None);

    let later = Timestamp::now() + Duration::from_secs(2 * 86_400);
    let expired = Signer::read(&text(&key, None), later);
    let error = expired.clone().unwrap_err().to_string();
    assert!(error.contains("no part may sign now: ") && error.contains(" expired at 20"), "{error}");
    let story = Story::new();
    assert!(matches!(refused(story.signed_revert(expired)), Refusal::CannotSign { .. }));
    let early = Signer::read(&text(&key, None), "2020-01-01T00:00:00Z".parse().unwrap());
    assert!(early.unwrap_err().to_string().contains("is valid only from 20"));

    // Revoked: the question which key, why, and whether really.
    let answers = "key 2\nrevkey\ny\n0\n\ny\nsave\n";
    gpg.gpg("", &["--no-batch", "--no-tty", "--command-fd", "0", "--edit-key", &primary], answers);
    broken(&gpg.secret(""), None, " was revoked");
}

#[test]
fn gpg_takes_the_signature_of_a_primary_key_with_a_passphrase() {
    let Some(gpg) = Gpg::new() else { return };
    gpg.key("open sesame", "nistp256", "sign,cert");
    let key = gpg.secret("open sesame");
    broken(&key, None, "with a passphrase, but no `passphrase`");
    broken(&key, Some("wrong"), "which its `passphrase` does not open");
    gpg.check(&key, Some("open sesame"));
    let public = gpg.gpg("", &["--armor", "--export"], "");
    broken(&public, None, "holds an OpenPGP block that is no private key");
    let signer = read(&key, Some("open sesame")).unwrap();
    assert!(format!("{signer:?}").starts_with("Signer(\"OpenPGP key "), "{signer:?}");
}
