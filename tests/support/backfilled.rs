//! A real Prometheus with a history that was written before it started.

use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How far apart its samples are, in seconds.
const SCRAPE: i64 = 15;

/// How long it may take to start.
const START_MAX: Duration = Duration::from_secs(60);

/// The running server; ends when it is dropped.
pub(crate) struct Prometheus {
    /// Its address.
    pub(crate) url: String,
    address: SocketAddr,
    process: Child,
    dir: tempfile::TempDir,
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        // It may have ended by itself.
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

/// A counter: its name, its labels, and how fast it grows at a time.
pub(crate) struct Counter {
    pub(crate) name: &'static str,
    pub(crate) labels: &'static str,
    pub(crate) per_second: fn(i64) -> f64,
}

/// Starts one that remembers these counters from one time to another; none where Prometheus is not installed.
pub(crate) fn start(from: i64, to: i64, counters: &[Counter]) -> Option<Prometheus> {
    let installed = |program| Command::new(program).arg("--version").output().is_ok();
    if !installed("prometheus") || !installed("promtool") {
        return None;
    }
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("history.om"), open_metrics(from, to, counters)).unwrap();
    std::fs::write(dir.path().join("prometheus.yml"), "").unwrap();
    let import = ["tsdb", "create-blocks-from", "openmetrics", "history.om", "data"];
    let output = Command::new("promtool").args(import).current_dir(dir.path()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));

    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap();
    drop(free);
    let log = std::fs::File::create(dir.path().join("log")).unwrap();
    let process = Command::new("prometheus")
        .args([
            "--config.file=prometheus.yml",
            "--storage.tsdb.path=data",
            "--storage.tsdb.retention.time=100y",
        ])
        .arg(format!("--web.listen-address={address}"))
        .current_dir(dir.path())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .unwrap();
    let mut prometheus = Prometheus { url: format!("http://{address}"), address, process, dir };
    prometheus.wait_until_ready();
    Some(prometheus)
}

impl Prometheus {
    fn wait_until_ready(&mut self) {
        let began = Instant::now();
        while !self.is_ready() {
            let log = || std::fs::read_to_string(self.dir.path().join("log")).unwrap();
            assert!(self.process.try_wait().unwrap().is_none(), "it ended:\n{}", log());
            assert!(began.elapsed() < START_MAX, "it does not start:\n{}", log());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn is_ready(&self) -> bool {
        let Ok(mut stream) = TcpStream::connect(self.address) else { return false };
        let mut answer = String::new();
        let asked = stream.write_all(b"GET /-/ready HTTP/1.0\r\n\r\n");
        asked.and_then(|()| stream.read_to_string(&mut answer)).is_ok()
            && answer.lines().next().is_some_and(|status| status.ends_with("200 OK"))
    }
}

/// The counters' samples in the OpenMetrics text format.
fn open_metrics(from: i64, to: i64, counters: &[Counter]) -> String {
    let mut text = String::new();
    for Counter { name, labels, per_second } in counters {
        let mut value = 0.0;
        for at in (from..to).step_by(SCRAPE as usize) {
            writeln!(text, "{name}{{{labels}}} {value} {at}").unwrap();
            value += per_second(at) * SCRAPE as f64;
        }
    }
    text + "# EOF\n"
}
