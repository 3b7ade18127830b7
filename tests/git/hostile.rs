//! Servers that mean no good, or are broken: a clear error in time, and no password for anybody else.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use lastgood::act::git::{Access, Auth, Secret};
use lastgood::engine::action::RevertOutcome;

use super::git_repo::git;
use super::{Daemon, Story, failed, order, refused};

const USER: &str = "ann";
const PASSWORD: &str = "s3cret-passw0rd";
/// The same in the form of a header.
const BASIC: &str = "YW5uOnMzY3JldC1wYXNzdzByZA==";
/// How long a call may take here.
const WITHIN: Duration = Duration::from_millis(1500);
/// How much later it may end on a busy machine.
const SLACK: Duration = Duration::from_secs(5);

/// What a client sent.
#[derive(Clone, Debug, Default)]
struct Request {
    /// `GET /a.git/info/refs?service=git-upload-pack`
    line: String,
    head: String,
    body: Vec<u8>,
}

impl Request {
    fn read(stream: &TcpStream) -> Option<Self> {
        let mut reader = BufReader::new(stream);
        let (mut request, mut length) = (Self::default(), 0);
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).ok()? == 0 {
                return None;
            }
            if line.trim().is_empty() {
                break;
            }
            if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().ok()?;
            }
            request.head += &line;
        }
        request.line = request.head.lines().next()?.rsplit_once(' ')?.0.to_owned();
        request.body = vec![0; length];
        reader.read_exact(&mut request.body).ok()?;
        Some(request)
    }

    fn is_advertisement(&self) -> bool {
        self.line.starts_with("GET")
    }

    fn is_push(&self) -> bool {
        self.line.contains("git-receive-pack")
    }
}

type Answer = Box<dyn Fn(&Request, &mut Stream) -> std::io::Result<()> + Send + Sync>;

/// Answers each connection in its own way, and remembers every request.
struct Hostile {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<Request>>>,
    over: Arc<AtomicBool>,
}

impl Hostile {
    fn start(answer: impl Fn(&Request, &mut Stream) -> std::io::Result<()> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (requests, over) = (Arc::<Mutex<Vec<Request>>>::default(), Arc::new(AtomicBool::new(false)));
        let (log, ended, answer) = (Arc::clone(&requests), Arc::clone(&over), Arc::new(answer));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if ended.load(Ordering::Relaxed) {
                    return;
                }
                let (log, answer) = (Arc::clone(&log), Arc::clone(&answer));
                let mut stream = Stream { stream, over: Arc::clone(&ended) };
                std::thread::spawn(move || {
                    let Some(request) = Request::read(&stream.stream) else { return };
                    log.lock().unwrap().push(request.clone());
                    // That the client left is what most of these wait for.
                    answer(&request, &mut stream).ok();
                });
            }
        });
        Self { address, requests, over }
    }

    fn url(&self) -> String {
        format!("http://{}/a.git", self.address)
    }

    fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }
}

impl Drop for Hostile {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        drop(TcpStream::connect(self.address));
    }
}

struct Stream {
    stream: TcpStream,
    over: Arc<AtomicBool>,
}

impl Stream {
    fn write(&mut self, bytes: impl AsRef<[u8]>) -> std::io::Result<()> {
        self.stream.write_all(bytes.as_ref())
    }

    /// Answers with a body that ends with the connection.
    fn ok(&mut self, kind: &str, body: impl AsRef<[u8]>) -> std::io::Result<()> {
        self.begin(kind)?;
        self.write(body)
    }

    fn begin(&mut self, kind: &str) -> std::io::Result<()> {
        self.write(format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/x-{kind}\r\nConnection: close\r\n\r\n"
        ))
    }

    /// Waits until the client leaves.
    fn hang(&mut self) -> std::io::Result<()> {
        self.stream.read_to_end(&mut Vec::new()).map(drop)
    }

    /// Sends the same again and again, with a pause, until the client leaves.
    fn repeat(&mut self, bytes: impl AsRef<[u8]>, pause: Duration) -> std::io::Result<()> {
        while !self.over.load(Ordering::Relaxed) {
            self.write(bytes.as_ref())?;
            std::thread::sleep(pause);
        }
        Ok(())
    }
}

fn line(text: impl AsRef<[u8]>) -> Vec<u8> {
    let text = text.as_ref();
    [format!("{:04x}", text.len() + 4).as_bytes(), text].concat()
}

const ID: &str = "1111111111111111111111111111111111111111";
const FLUSH: &[u8] = b"0000";

fn advertisement(service: &str, refs: &[u8]) -> Vec<u8> {
    [&line(format!("# service={service}\n"))[..], FLUSH, refs, FLUSH].concat()
}

/// What a real server says to this request.
fn real(bare: &Path, request: &Request) -> Vec<u8> {
    let service = if request.is_push() { "receive-pack" } else { "upload-pack" };
    let mut git = Command::new("git");
    git.args([service, "--stateless-rpc"]).args(request.is_advertisement().then_some("--advertise-refs"));
    git.arg(bare).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = git.spawn().unwrap();
    child.stdin.take().unwrap().write_all(&request.body).unwrap();
    let output = child.wait_with_output().unwrap().stdout;
    if request.is_advertisement() {
        return [&line(format!("# service=git-{service}\n"))[..], FLUSH, &output].concat();
    }
    output
}

fn kind(request: &Request) -> String {
    let service = if request.is_push() { "git-receive-pack" } else { "git-upload-pack" };
    format!("{service}-{}", if request.is_advertisement() { "advertisement" } else { "result" })
}

fn access(url: &str) -> Access {
    let auth = Auth::Basic { username: USER.into(), password: Secret::new(PASSWORD) };
    Access { auth, ..Access::new(url) }
}

/// Asks a server, which must be left in time, and never be given away.
#[track_caller]
fn ask_within(server: &Hostile, good: &str, bad: &str, within: Duration) -> RevertOutcome {
    let url = server.url();
    let started = Instant::now();
    let outcome = Daemon::new().revert_with(&order(&url, good, bad), &access(&url), within);
    assert!(started.elapsed() < within + SLACK, "left only after {:?}", started.elapsed());
    let shown = format!("{outcome:?}");
    assert!(!shown.contains(PASSWORD) && !shown.contains(BASIC), "{shown}");
    outcome
}

#[track_caller]
fn ask(server: &Hostile, story: &Story) -> RevertOutcome {
    ask_within(server, &story.good, &story.bad, WITHIN)
}

/// The error of a server that answers everything in this way, and so never comes as far as a commit.
#[track_caller]
fn error(answer: impl Fn(&Request, &mut Stream) -> std::io::Result<()> + Send + Sync + 'static) -> String {
    let server = Hostile::start(answer);
    let error = failed(ask_within(&server, ID, ID, WITHIN));
    assert!(error.contains(&server.url()), "the error does not name the repository: {error}");
    error
}

#[test]
fn a_server_that_is_slow_on_purpose_is_left_at_the_deadline() {
    let refs = advertisement("git-upload-pack", &line(format!("{ID} HEAD\0side-band-64k\n")));
    let half = refs[..refs.len() / 2].to_vec();
    let pause = Duration::from_millis(20);
    let answers: Vec<Answer> = vec![
        Box::new(|_, stream| stream.hang()),
        Box::new(|_, stream| stream.begin("git-upload-pack-advertisement").and_then(|()| stream.hang())),
        Box::new(move |_, stream| {
            stream.ok("git-upload-pack-advertisement", &half).and_then(|()| stream.hang())
        }),
        // A byte now and then keeps every single read from timing out.
        Box::new(move |_, stream| {
            stream.begin("git-upload-pack-advertisement")?;
            stream.write("ffff")?;
            stream.repeat("0", pause)
        }),
        Box::new(move |_, stream| {
            stream.write("HTTP/1.1 200 OK\r\n")?;
            stream.repeat("X: y\r\n", pause)
        }),
        Box::new(move |_, stream| {
            stream.write("HTTP/1.1 503 Later\r\nContent-Type: text/plain\r\n\r\n")?;
            stream.repeat("later ", pause)
        }),
    ];
    let asked: Vec<_> = answers.into_iter().map(|answer| std::thread::spawn(|| error(answer))).collect();
    for thread in asked {
        let error = thread.join().unwrap();
        assert!(error.contains("the time was up"), "{error}");
    }
}

#[test]
fn a_server_that_breaks_off_or_talks_rubbish_is_an_error() {
    let short = line(format!("{ID} HEAD\0side-band-64k\n"));
    for (name, message) in [
        ("nothing", error(|_, _| Ok(()))),
        ("rubbish", error(|_, stream| stream.write([0_u8, 255, 1, 254, 13, 10, 13, 10]))),
        ("another protocol", error(|_, stream| stream.write("SSH-2.0-OpenSSH_9.2\r\n"))),
        (
            "a page",
            error(|_, stream| stream.write("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<html>")),
        ),
        ("an empty list", error(|_, stream| stream.begin("git-upload-pack-advertisement"))),
        ("rubbish as a list", error(|_, stream| stream.ok("git-upload-pack-advertisement", "rubbish"))),
        ("half a list", error(move |_, stream| stream.ok("git-upload-pack-advertisement", &short))),
        (
            "an error in the protocol",
            error(|_, stream| stream.ok("git-upload-pack-advertisement", line("ERR the disk is full\n"))),
        ),
        (
            "too short a body",
            error(|_, stream| {
                let kind = "application/x-git-upload-pack-advertisement";
                stream.write(format!(
                    "HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: 4000\r\n\r\n001e"
                ))
            }),
        ),
        (
            "too long a body",
            error(|_, stream| {
                let kind = "application/x-git-upload-pack-advertisement";
                stream.write(format!(
                    "HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: 3\r\n\r\n001e#"
                ))
            }),
        ),
    ] {
        assert!(!message.contains("panic") && message.len() < 900, "{name}: {message}");
    }
    let said = error(|_, stream| stream.ok("git-upload-pack-advertisement", line("ERR the disk is full\n")));
    assert!(said.contains("the disk is full"), "{said}");
}

#[test]
fn headers_without_an_end_are_an_error() {
    error(|_, stream| {
        stream.write("HTTP/1.1 200 OK\r\n")?;
        stream.repeat("X: yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy\r\n".repeat(100), Duration::ZERO)
    });
}

#[test]
fn absurd_references_do_no_harm() {
    let story = Story::new();
    let bare = story.world.bare.clone();
    let server = nearly_real(&story, move |request, stream, _| {
        if request.is_push() || !request.is_advertisement() {
            return None;
        }
        let tip = git(&bare, &["rev-parse", "main"]);
        let names: [&[u8]; 9] = [
            b"refs/heads/caf\xe9",
            b"refs/heads/../../../etc/passwd",
            b"refs/heads/a b~^:?*[\\",
            b"refs/heads/\x1b[2J",
            b"refs/heads/main\0refs/heads/main",
            b"",
            b"main",
            &[&b"refs/heads/"[..], &b"x".repeat(60_000)].concat(),
            b"refs/heads/main",
        ];
        let mut refs = line(format!("{tip} HEAD\0side-band-64k ofs-delta symref=HEAD:refs/heads/main\n"));
        for name in names {
            refs.extend(line([tip.as_bytes(), b" ", name, b"\n"].concat()));
        }
        Some(stream.ok(&kind(request), advertisement("git-upload-pack", &refs)))
    });
    let outcome = ask_within(&server, &story.good, &story.bad, Duration::from_secs(20));
    assert!(matches!(outcome, RevertOutcome::Pushed(_)), "{outcome:?}");
    assert_ne!(story.world.tip(), story.bad);
}

/// Runs in a process of its own, so that its memory can be told; see [`lists_without_an_end_do_not_fill_the_memory`].
#[test]
fn child_of_the_memory_test() {
    let Ok(url) = std::env::var("HOSTILE_URL") else { return };
    let order = order(&url, ID, ID);
    let outcome = Daemon::new().revert_with(&order, &access(&url), Duration::from_secs(30));
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap().trim().to_owned();
    println!("\npeak={peak} outcome={outcome:?}");
}

/// The most memory, in KiB, and the outcome of asking this server.
fn child(server: &Hostile) -> (u64, String) {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "hostile::child_of_the_memory_test", "--nocapture"])
        .env("HOSTILE_URL", server.url())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = text.lines().find_map(|line| line.strip_prefix("peak=")).unwrap_or_else(|| panic!("{text}"));
    let (peak, outcome) = line.split_once(" kB outcome=").unwrap();
    (peak.parse().unwrap(), outcome.to_owned())
}

#[test]
fn lists_without_an_end_do_not_fill_the_memory() {
    // A million references, none of which is asked for: it is as if they were not there.
    let server = Hostile::start(|request, stream| {
        stream.begin(&kind(request))?;
        let mut refs = line(format!("{ID} HEAD\0side-band-64k symref=HEAD:refs/heads/other\n"));
        for i in 0..1_000_000 {
            refs.extend(line(format!("{ID} refs/pull/{i}/head\n")));
        }
        stream.write(advertisement("git-upload-pack", &refs))
    });
    let (peak, outcome) = child(&server);
    eprintln!("a million references: {peak} kB");
    assert!(outcome.contains("NotABranch"), "{outcome}");
    assert!(peak < 100_000, "{peak} kB");

    let server = Hostile::start(|request, stream| {
        stream.begin(&kind(request))?;
        let refs = line(format!("{ID} refs/heads/{}\n", "x".repeat(1000))).repeat(1000);
        stream.repeat(refs, Duration::ZERO)
    });
    let (peak, outcome) = child(&server);
    eprintln!("references without an end: {peak} kB");
    assert!(outcome.contains("list of references is longer than"), "{outcome}");
    assert!(peak < 100_000, "{peak} kB");
}

/// Answers as a real server does, but for what `instead` answers.
fn nearly_real(
    story: &Story,
    instead: impl Fn(&Request, &mut Stream, &dyn Fn() -> Vec<u8>) -> Option<std::io::Result<()>>
    + Send
    + Sync
    + 'static,
) -> Hostile {
    let bare = story.world.bare.clone();
    Hostile::start(move |request, stream| {
        let answer = || real(&bare, request);
        instead(request, stream, &answer).unwrap_or_else(|| stream.ok(&kind(request), answer()))
    })
}

fn is_fetch(request: &Request) -> bool {
    !request.is_advertisement() && !request.is_push()
}

#[test]
fn a_pack_that_is_cut_off_or_spoilt_is_an_error() {
    let story = Story::new();
    for (name, spoil) in [
        ("cut in half", (|pack: &[u8]| pack[..pack.len() / 2].to_vec()) as fn(&[u8]) -> Vec<u8>),
        ("cut before its checksum", |pack| pack[..pack.len() - 30].to_vec()),
        ("empty", |_| Vec::new()),
        ("rubbish", |_| b"0008NAK\n0009\x01PAC".to_vec()),
        ("with a wrong byte", |pack| {
            let mut pack = pack.to_vec();
            let begin = pack.windows(4).position(|four| four == b"PACK").unwrap();
            pack[begin + 60] ^= 0x55;
            pack
        }),
        ("with an unknown channel", |_| [b"0008NAK\n".to_vec(), line(b"\x09what is this")].concat()),
        ("an error on its channel", |_| [b"0008NAK\n".to_vec(), line(b"\x03out of disk")].concat()),
    ] {
        let server = nearly_real(&story, move |request, stream, answer| {
            is_fetch(request).then(|| stream.ok(&kind(request), spoil(&answer())))
        });
        let error = failed(ask(&server, &story));
        assert!(error.contains(&server.url()), "{name}: {error}");
        assert_eq!(story.world.tip(), story.bad, "{name}");
    }
}

#[test]
fn a_server_that_talks_for_ever_is_left_at_the_deadline() {
    let story = Story::new();
    let server = nearly_real(&story, |request, stream, _| {
        is_fetch(request).then(|| {
            stream.ok(&kind(request), b"0008NAK\n")?;
            stream.repeat(line([b"\x02".to_vec(), vec![b'.'; 65_000]].concat()), Duration::ZERO)
        })
    });
    let error = failed(ask(&server, &story));
    assert!(error.contains("the time was up"), "{error}");
}

fn is_last_push(request: &Request) -> bool {
    request.is_push() && !request.is_advertisement()
}

#[test]
fn a_push_whose_answer_makes_no_sense_is_not_taken_for_done() {
    let story = Story::new();
    let report = |text: &[u8]| line([&b"\x01"[..], text].concat());
    let huge =
        [line([b"\x02".to_vec(), vec![b'w'; 65_000]].concat()).repeat(50), report(b"000eunpack ok\n0000")];
    let answers: Vec<(&str, Vec<u8>)> = vec![
        ("nothing", Vec::new()),
        ("rubbish", b"rubbish".to_vec()),
        ("unpacked, and no word of the branch", [report(b"000eunpack ok\n0000"), FLUSH.to_vec()].concat()),
        (
            "another branch",
            [
                report(&[&b"000eunpack ok\n"[..], &line("ok refs/heads/other\n"), FLUSH].concat()),
                FLUSH.to_vec(),
            ]
            .concat(),
        ),
        ("a flood of words and no status", [huge.concat(), FLUSH.to_vec()].concat()),
    ];
    for (name, answer) in answers {
        // Nothing is carried out: the real server is never asked.
        let server = nearly_real(&story, move |request, stream, _| {
            is_last_push(request).then(|| stream.ok(&kind(request), &answer))
        });
        let error = failed(ask(&server, &story));
        assert!(error.contains(&server.url()), "{name}: {error}");
        assert_eq!(story.world.tip(), story.bad, "{name}");
    }
}

#[test]
fn a_refusal_that_is_not_utf8_is_a_refusal() {
    let story = Story::new();
    let answer = [&b"000eunpack ok\n"[..], &line(b"ng refs/heads/main caf\xe9\n"), FLUSH].concat();
    let server = nearly_real(&story, move |request, stream, _| {
        is_last_push(request).then(|| stream.ok(&kind(request), &answer))
    });
    let refusal = super::refused(ask(&server, &story));
    assert!(refusal.to_string().contains("caf\u{fffd}"), "{refusal}");
    assert_eq!(story.world.tip(), story.bad);
}

#[test]
fn a_push_without_an_answer_ends_at_the_deadline() {
    let story = Story::new();
    let server = nearly_real(&story, |request, stream, _| is_last_push(request).then(|| stream.hang()));
    let error = failed(ask(&server, &story));
    assert!(error.contains("the time was up"), "{error}");
}

#[test]
fn a_server_that_asks_for_the_password_for_ever_hears_it_once() {
    for (status, header) in [
        ("401 Unauthorized", "WWW-Authenticate: Basic realm=\"git\""),
        ("401 Unauthorized", "WWW-Authenticate: Negotiate"),
        ("401 Unauthorized", "X: y"),
        ("407 Proxy Authentication Required", "Proxy-Authenticate: Basic realm=\"git\""),
        ("403 Forbidden", "X: y"),
    ] {
        let answer =
            format!("HTTP/1.1 {status}\r\n{header}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        let server = Hostile::start(move |_, stream| stream.write(&answer));
        let refusal = refused(ask_within(&server, ID, ID, WITHIN));
        assert!(refusal.to_string().contains("not authorised"), "{refusal}");
        assert!(refusal.to_string().contains(&server.url()), "{refusal}");
        assert_eq!(server.requests().len(), 1, "{status}: {:?}", server.requests());
    }
}

#[test]
fn no_redirect_takes_a_password_anywhere_else() {
    let elsewhere = Hostile::start(|_, stream| {
        stream.write("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
    });
    let other = elsewhere.address;
    for to in [
        format!("http://{other}/a.git/info/refs?service=git-upload-pack"),
        format!("http://localhost:{}/a.git/info/refs?service=git-upload-pack", other.port()),
        format!("//{other}/a.git/info/refs?service=git-upload-pack"),
        format!("https://{other}/a.git/info/refs?service=git-upload-pack"),
        format!("http://x:y@{other}/a.git/info/refs?service=git-upload-pack"),
        "file:///etc/passwd".to_owned(),
        "ssh://127.0.0.1/a.git".to_owned(),
        "http://[".to_owned(),
        String::new(),
    ] {
        let answer =
            format!("HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        let error = error(move |_, stream| stream.write(&answer));
        assert!(error.contains("redirect"), "{to}: {error}");
    }
    for status in ["301 Moved", "303 See Other", "307 Temporary", "308 Permanent", "300 Choose"] {
        let answer = format!(
            "HTTP/1.1 {status}\r\nLocation: http://{other}/a.git/info/refs?service=git-upload-pack\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        );
        error(move |_, stream| stream.write(&answer));
    }
    assert!(elsewhere.requests().is_empty(), "{:?}", elsewhere.requests());

    // Also not in the middle, where the request's body would go along.
    let story = Story::new();
    let server = nearly_real(&story, move |request, stream, _| {
        (!request.is_advertisement()).then(|| {
            let to = format!("http://{other}/a.git/git-upload-pack");
            stream.write(format!(
                "HTTP/1.1 307 Temporary\r\nLocation: {to}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            ))
        })
    });
    failed(ask(&server, &story));
    assert!(elsewhere.requests().is_empty(), "{:?}", elsewhere.requests());
}

#[test]
fn a_server_that_repeats_the_password_does_not_get_it_into_an_error() {
    let echo = |request: &Request| format!("you said {PASSWORD} by {}", request.head);
    let answers: Vec<Answer> = vec![
        Box::new(move |request, stream| {
            stream
                .write("HTTP/1.1 403 Forbidden\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n")?;
            stream.write(echo(request))
        }),
        Box::new(move |request, stream| {
            stream.write(format!(
                "HTTP/1.1 302 Found\r\nLocation: http://{PASSWORD}.example/{BASIC}\r\n\r\n"
            ))?;
            stream.write(echo(request))
        }),
        Box::new(move |request, stream| {
            stream.ok(
                "git-upload-pack-advertisement",
                line(format!("ERR {}\n", echo(request).replace("\r\n", " "))),
            )
        }),
        Box::new(move |_, stream| {
            stream.write(format!("HTTP/1.1 200 OK\r\nContent-Type: {PASSWORD}\r\nConnection: close\r\n\r\n"))
        }),
    ];
    for answer in answers {
        let server = Hostile::start(answer);
        // What must not be seen is looked for there.
        let shown = format!("{:?}", ask_within(&server, ID, ID, WITHIN));
        assert!(shown.contains("***"), "{shown}");
    }
    // A hook's words are heard too.
    let story = Story::new();
    let server = nearly_real(&story, |request, stream, _| {
        is_last_push(request).then(|| {
            let words = line(format!("\x02you said {PASSWORD}\n"));
            let report =
                [&b"\x01000eunpack ok\n"[..], &line("ng refs/heads/main hook declined\n"), FLUSH].concat();
            stream.ok(&kind(request), [words, line(report), FLUSH.to_vec()].concat())
        })
    });
    let shown = format!("{:?}", ask(&server, &story));
    assert!(shown.contains("HookDeclined") && shown.contains("you said ***"), "{shown}");
}

#[test]
fn redirects_without_an_end_are_not_followed() {
    let server = Hostile::start(|request, stream| {
        let path = request.line.split(' ').nth(1).unwrap_or_default().to_owned();
        stream.write(format!(
            "HTTP/1.1 302 Found\r\nLocation: /x{path}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        ))
    });
    let error = failed(ask_within(&server, ID, ID, WITHIN));
    assert!(error.contains("redirects"), "{error}");
    assert!(server.requests().len() <= 4, "{:?}", server.requests());
    assert!(server.requests().iter().all(|request| request.head.contains(BASIC)), "this test is of no use");
}

#[test]
fn without_a_password_another_host_may_be_followed() {
    let elsewhere = Hostile::start(|_, stream| {
        stream.write("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
    });
    let to = format!("{}/info/refs?service=git-upload-pack", elsewhere.url());
    let server = Hostile::start(move |_, stream| {
        stream.write(format!(
            "HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        ))
    });
    let url = server.url();
    let outcome = Daemon::new().revert_with(&order(&url, ID, ID), &Access::new(&url), WITHIN);
    assert!(failed(outcome).contains("no repository at"));
    let [request] = &elsewhere.requests()[..] else { panic!("not followed") };
    assert!(!request.head.to_lowercase().contains("authorization"), "{}", request.head);
}
