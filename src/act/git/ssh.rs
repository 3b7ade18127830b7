//! The smart protocol over SSH, by the `ssh` program: it knows every kind of key and host certificate.

use std::io::{self, Read, Write};
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use git2::transport::{Service, SmartSubtransport, SmartSubtransportStream};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};
use tokio::task::JoinHandle;

use super::access::{Access, Auth};
use super::advert::Filtered;
use super::error::{Class, Failure, WORDS_CHARS_MAX};
use super::transport::{Session, runtime};
use super::url::SshAddress;

/// Bytes taken from one connection, as over HTTP.
const ANSWER_BYTES_MAX: u64 = 4 * 1024 * 1024 * 1024;
/// How long to wait for a connection.
const CONNECT_TIMEOUT_SECONDS: u32 = 10;
/// How long `ssh` may take to say why it ended.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Ends a session in which nothing is asked for.
const NOTHING: &[u8] = b"0000";

/// The key and the host keys, in a folder that none but us may read; gone with the session.
#[derive(Debug)]
pub(crate) struct Files {
    dir: tempfile::TempDir,
}

impl Files {
    fn write(access: &Access) -> io::Result<Self> {
        let private_folder = std::os::unix::fs::PermissionsExt::from_mode(0o700);
        let dir = tempfile::Builder::new().prefix("lastgood-ssh-").permissions(private_folder).tempdir()?;
        // `ssh` takes a carriage return for a part of the key.
        if let Auth::SshKey { key } = &access.auth {
            private(&dir.path().join("key"), &key.reveal().replace('\r', ""))?;
        }
        let mut hosts = access.known_hosts.clone().unwrap_or_default().replace('\r', "");
        hosts.push('\n');
        private(&dir.path().join("known_hosts"), &hosts)?;
        Ok(Self { dir })
    }

    fn path(&self, name: &str) -> String {
        self.dir.path().join(name).display().to_string()
    }
}

fn private(path: &std::path::Path, content: &str) -> io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(content.as_bytes())
}

/// A connection for one fetch or one push.
pub(crate) struct Ssh {
    session: Arc<Session>,
}

impl Ssh {
    pub(crate) fn new(session: Arc<Session>) -> Self {
        Self { session }
    }

    fn start(&self, service: Service) -> Result<Pipe, Failure> {
        let access = &self.session.access;
        let address = SshAddress::parse(&access.url)
            .ok_or_else(|| Failure::new(Class::Other, "the SSH address cannot be read"))?;
        if self.session.ssh.get().is_none() {
            let files = Files::write(access)
                .map_err(|e| Failure::new(Class::Other, format!("no place for the SSH key: {e}")))?;
            drop(self.session.ssh.set(files));
        }
        let files = self.session.ssh.get().ok_or_else(|| Failure::new(Class::Other, "no SSH files"))?;
        let program = match service {
            Service::UploadPackLs | Service::UploadPack => "git-upload-pack",
            Service::ReceivePackLs | Service::ReceivePack => "git-receive-pack",
        };
        let runtime = runtime()?;
        let _in_runtime = runtime.enter();
        let spawned = Command::new("ssh")
            .args(arguments(access, files, &address, program))
            .env_remove("SSH_AUTH_SOCK")
            .env_remove("SSH_ASKPASS")
            .env_remove("GIT_PROTOCOL")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn();
        let mut child = spawned.map_err(|e| {
            Failure::new(
                Class::Other,
                format!("the program `ssh` cannot be started: {e}; is it in the image?"),
            )
        })?;
        let words = Arc::<Mutex<Vec<u8>>>::default();
        let listening = child.stderr.take().map(|stderr| runtime.spawn(listen(stderr, Arc::clone(&words))));
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        Ok(Pipe { session: Arc::clone(&self.session), child, stdin, stdout, words, listening, taken: 0 })
    }

    fn filtered(&self, pipe: Pipe) -> Filtered<Pipe> {
        let session = Arc::clone(&self.session);
        let fail = move |failure| io::Error::other(session.fail(failure).message);
        Filtered::new(pipe, self.session.wanted(), fail)
    }
}

/// Opens a session for a push; gives the references that it is about, and where to go on.
pub(crate) fn open_push(
    session: &Arc<Session>,
) -> Result<(Vec<(String, String)>, impl Read + Write), Failure> {
    let ssh = Ssh::new(Arc::clone(session));
    let pipe = ssh.start(Service::ReceivePack).map_err(|failure| session.fail(failure))?;
    let mut stream = ssh.filtered(pipe);
    let kept = stream.list().map_err(|e| session.explain_io(&e))?;
    Ok((kept, stream))
}

/// The references that the session is about, as a fetch would find them.
pub(crate) fn list(session: &Arc<Session>) -> Result<Vec<(String, String)>, Failure> {
    let ssh = Ssh::new(Arc::clone(session));
    let pipe = ssh.start(Service::UploadPack).map_err(|failure| session.fail(failure))?;
    let mut stream = ssh.filtered(pipe);
    let kept = stream.list().map_err(|e| session.explain_io(&e))?;
    // Nothing is wanted. Whether the server hears it is its own affair.
    drop(stream.write_all(NOTHING).and_then(|()| stream.flush()));
    Ok(kept)
}

impl SmartSubtransport for Ssh {
    fn action(&self, _: &str, service: Service) -> Result<Box<dyn SmartSubtransportStream>, git2::Error> {
        match self.start(service) {
            Ok(pipe) => Ok(Box::new(self.filtered(pipe))),
            Err(failure) => Err(self.session.fail(failure).to_git2()),
        }
    }

    fn close(&self) -> Result<(), git2::Error> {
        Ok(())
    }
}

fn arguments(access: &Access, files: &Files, address: &SshAddress, program: &str) -> Vec<String> {
    // Nobody's own configuration, no agent, no question, no key but the given one.
    let mut arguments: Vec<String> = vec!["-F".into(), "/dev/null".into(), "-T".into()];
    let (strict, hosts) =
        if access.insecure { ("no", "/dev/null".to_owned()) } else { ("yes", files.path("known_hosts")) };
    for option in [
        "BatchMode=yes".to_owned(),
        format!("StrictHostKeyChecking={strict}"),
        // In quotes, since the option takes a list of files.
        format!("UserKnownHostsFile=\"{hosts}\""),
        "GlobalKnownHostsFile=/dev/null".to_owned(),
        "UpdateHostKeys=no".to_owned(),
        "IdentitiesOnly=yes".to_owned(),
        "IdentityAgent=none".to_owned(),
        "PreferredAuthentications=publickey".to_owned(),
        "ClearAllForwardings=yes".to_owned(),
        format!("ConnectTimeout={CONNECT_TIMEOUT_SECONDS}"),
        "ServerAliveInterval=15".to_owned(),
        "LogLevel=ERROR".to_owned(),
    ] {
        arguments.extend(["-o".to_owned(), option]);
    }
    let key = if matches!(access.auth, Auth::SshKey { .. }) { files.path("key") } else { "none".to_owned() };
    arguments.extend(["-o".to_owned(), format!("IdentityFile=\"{key}\"")]);
    if let Some(port) = address.port {
        arguments.extend(["-p".to_owned(), port.to_string()]);
    }
    if let Some(user) = &address.user {
        arguments.extend(["-l".to_owned(), user.clone()]);
    }
    let path = address.path.replace('\'', r"'\''");
    arguments.extend(["--".to_owned(), address.host.clone(), format!("{program} '{path}'")]);
    arguments
}

/// Keeps the beginning of what `ssh` and the server say.
async fn listen(mut stderr: ChildStderr, words: Arc<Mutex<Vec<u8>>>) {
    let mut buf = [0; 1024];
    while let Ok(read @ 1..) = stderr.read(&mut buf).await {
        let mut words = words.lock().unwrap_or_else(PoisonError::into_inner);
        let room = (4 * WORDS_CHARS_MAX).saturating_sub(words.len());
        words.extend(buf.iter().take(read).take(room));
    }
}

/// A running `ssh`; killed when dropped.
struct Pipe {
    session: Arc<Session>,
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: Option<ChildStdout>,
    words: Arc<Mutex<Vec<u8>>>,
    /// Ends when everything that was said is in `words`.
    listening: Option<JoinHandle<()>>,
    taken: u64,
}

impl Pipe {
    fn out_of_time(&mut self) -> io::Error {
        drop(self.child.start_kill());
        self.fail(Failure::new(Class::Unreachable, "the time was up"))
    }

    fn fail(&self, failure: Failure) -> io::Error {
        io::Error::other(self.session.fail(failure).message)
    }

    /// Why the connection ended: the server's or `ssh`'s own words; none when it ended well.
    fn last_words(&mut self) -> Option<Failure> {
        let runtime = runtime().ok()?;
        let ended = runtime.block_on(async { tokio::time::timeout(LAST_WORDS, self.child.wait()).await });
        let ended = ended.ok().and_then(Result::ok);
        if ended.is_some_and(|status| status.success()) {
            return None;
        }
        // It can have ended before its words were read.
        if let Some(listening) = self.listening.take() {
            drop(runtime.block_on(async { tokio::time::timeout(LAST_WORDS, listening).await }));
        }
        let words = self.words.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let words = String::from_utf8_lossy(&words).into_owned();
        let words = if words.trim().is_empty() { "the connection ended early".to_owned() } else { words };
        Some(explain(&words))
    }
}

/// What `ssh` wrote before it ended; its long warnings are said in one sentence.
fn explain(words: &str) -> Failure {
    let lower = words.to_lowercase();
    if lower.contains("remote host identification has changed") {
        let why = "the server shows another host key than the known one: it was replaced, or somebody is in between; \
                   if it was replaced, correct argocd-ssh-known-hosts-cm";
        return Failure::new(Class::Other, why);
    }
    if lower.contains("host key verification failed") {
        let why = "the server's host key is not known, so it is not trusted; check it, and add it to \
                   argocd-ssh-known-hosts-cm";
        return Failure::new(Class::Other, why);
    }
    Failure::new(classify(&lower), words)
}

/// The class of what `ssh` or a forge wrote before it ended, in lower case.
fn classify(words: &str) -> Class {
    let says = |signs: &[&str]| signs.iter().any(|sign| words.contains(sign));
    if says(&[
        "permission denied",
        "permission to",
        "access denied",
        "not allowed",
        "deploy key",
        "marked as read only",
        "read-only",
        "not authorized",
        "unauthorized",
    ]) {
        Class::NotAuthorised
    } else if says(&[
        "not found",
        "does not exist",
        "not appear to be a git repository",
        "could not be found",
    ]) {
        Class::NotFound
    } else if says(&[
        "could not resolve",
        "connection refused",
        "connection reset",
        "connection closed",
        "timed out",
        "no route to host",
        "unreachable",
        "ended early",
    ]) {
        Class::Unreachable
    } else {
        Class::Other
    }
}

impl Read for Pipe {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let Some(stdout) = self.stdout.as_mut() else { return Ok(0) };
        let runtime = runtime().map_err(|failure| io::Error::other(failure.message))?;
        let deadline = self.session.deadline.into();
        let read = runtime.block_on(async { tokio::time::timeout_at(deadline, stdout.read(buf)).await });
        match read {
            Err(_) => Err(self.out_of_time()),
            Ok(Err(e)) => Err(self.fail(Failure::new(Class::Unreachable, e.to_string()))),
            Ok(Ok(0)) => match self.last_words() {
                Some(failure) => Err(self.fail(failure)),
                None => Ok(0),
            },
            Ok(Ok(read)) => {
                self.taken += read as u64;
                if self.taken > ANSWER_BYTES_MAX {
                    let why = format!("the server's answer is larger than {ANSWER_BYTES_MAX} bytes");
                    return Err(self.fail(Failure::new(Class::Other, why)));
                }
                Ok(read)
            }
        }
    }
}

impl Write for Pipe {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let Some(stdin) = self.stdin.as_mut() else { return Err(io::ErrorKind::BrokenPipe.into()) };
        let runtime = runtime().map_err(|failure| io::Error::other(failure.message))?;
        let deadline = self.session.deadline.into();
        let wrote = runtime.block_on(async {
            tokio::time::timeout_at(deadline, async {
                let wrote = stdin.write(buf).await?;
                stdin.flush().await.map(|()| wrote)
            })
            .await
        });
        match wrote {
            Err(_) => Err(self.out_of_time()),
            Ok(Ok(wrote)) => Ok(wrote),
            Ok(Err(e)) => {
                let failure =
                    self.last_words().unwrap_or_else(|| Failure::new(Class::Unreachable, e.to_string()));
                Err(self.fail(failure))
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ssh_says_is_told_apart() {
        for (words, expected) in [
            ("git@host: Permission denied (publickey).", Class::NotAuthorised),
            ("ERROR: Permission to a/b.git denied to c.", Class::NotAuthorised),
            ("ERROR: Repository not found.", Class::NotFound),
            ("fatal: '/x' does not appear to be a git repository", Class::NotFound),
            (
                "ERROR: The key you are authenticating with has been marked as read only.",
                Class::NotAuthorised,
            ),
            ("ERROR: This deploy key does not have write access to this project.", Class::NotAuthorised),
            ("Gitea: User: 2:a with Key: 3:b is not authorized to write to c/d.", Class::NotAuthorised),
            ("No ED25519 host key is known for host.\nHost key verification failed.", Class::Other),
            ("ssh: Could not resolve hostname host: Name or service not known", Class::Unreachable),
            ("ssh: connect to host h port 22: Connection refused", Class::Unreachable),
            ("Load key: error in libcrypto", Class::Other),
        ] {
            assert_eq!(explain(words).class, expected, "{words}");
        }
    }

    #[test]
    fn nothing_in_an_address_becomes_an_option_or_a_command() {
        let access = Access::new("ssh://git@host/a'; rm -rf ~; 'b");
        let files = Files::write(&access).unwrap();
        let address = SshAddress::parse(&access.url).unwrap();
        let arguments = arguments(&access, &files, &address, "git-upload-pack");
        let end = arguments.iter().position(|a| a == "--").unwrap();
        assert_eq!(arguments[end + 1..], ["host", r"git-upload-pack '/a'\''; rm -rf ~; '\''b'"]);
        assert!(arguments.iter().any(|a| a == "StrictHostKeyChecking=yes"));
    }

    #[test]
    fn the_key_is_for_us_alone() {
        use std::os::unix::fs::PermissionsExt as _;
        let key = super::super::access::Secret::new("k\n");
        let access = Access { auth: Auth::SshKey { key }, ..Access::new("git@host:a") };
        let files = Files::write(&access).unwrap();
        let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(files.dir.path()), 0o700);
        assert_eq!(mode(&files.dir.path().join("key")), 0o600);
    }
}
