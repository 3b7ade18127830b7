//! One process of the stack: its own log file, and an end that comes with the tests' own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;

use anyhow::{Context as _, Result, bail};

/// A program to start: what it is called in messages, and everything it gets.
pub(crate) struct Program {
    name: String,
    path: PathBuf,
    args: Vec<String>,
    env: Vec<(String, String)>,
}

impl Program {
    pub(crate) fn new(name: &str, path: impl Into<PathBuf>) -> Self {
        Self { name: name.to_owned(), path: path.into(), args: Vec::new(), env: Vec::new() }
    }

    pub(crate) fn arg(mut self, arg: impl Into<String>) -> Self {
        self.args.push(arg.into());
        self
    }

    pub(crate) fn args<'a>(mut self, args: impl IntoIterator<Item = &'a str>) -> Self {
        self.args.extend(args.into_iter().map(str::to_owned));
        self
    }

    pub(crate) fn env(mut self, name: &str, value: impl Into<String>) -> Self {
        self.env.push((name.to_owned(), value.into()));
        self
    }

    /// Starts it with nothing of the tests' own environment but PATH, writing to `log` (at its end, if it exists).
    ///
    /// The kernel kills it when the calling thread ends, so not even a SIGKILL to the tests leaves it behind: call
    /// this on a thread that outlives the process's use.
    pub(crate) fn start(self, home: &Path, log: &Path) -> Result<Process> {
        let file = fs::OpenOptions::new().create(true).append(true).open(log);
        let file = file.with_context(|| format!("opening the log {}", log.display()))?;
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "--"])
            .arg(&self.path)
            .args(&self.args)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", home)
            .envs(self.env)
            .current_dir(home)
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()
            .with_context(|| format!("starting {} ({})", self.name, self.path.display()))?;
        Ok(Process { name: self.name, log: log.to_owned(), child: Mutex::new(child) })
    }
}

/// A started process; killed when dropped.
pub(crate) struct Process {
    name: String,
    log: PathBuf,
    child: Mutex<Child>,
}

impl Process {
    /// Fails with the end of its log if it has ended by itself.
    pub(crate) fn check_running(&self) -> Result<()> {
        let ended = self.child.lock().expect("nobody panics with this lock").try_wait()?;
        if let Some(status) = ended {
            bail!(
                "{} has ended ({status}); the end of {}:\n{}",
                self.name,
                self.log.display(),
                tail(&self.log, 15)
            );
        }
        Ok(())
    }

    /// Its resident memory in KiB, as the kernel counts it.
    pub(crate) fn memory_kib(&self) -> Result<u64> {
        let pid = self.child.lock().expect("nobody panics with this lock").id();
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|rest| rest.trim().strip_suffix(" kB")?.trim().parse().ok());
        kib.with_context(|| format!("{} has no VmRSS", self.name))
    }

    /// Kills it without a chance to tidy up, and waits for its end.
    pub(crate) fn kill(&self) -> Result<()> {
        let mut child = self.child.lock().expect("nobody panics with this lock");
        child.kill().with_context(|| format!("killing {}", self.name))?;
        child.wait().with_context(|| format!("waiting for the end of {}", self.name))?;
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Err(error) = self.kill() {
            eprintln!("{error:#}");
        }
    }
}

/// The last lines of a file, indented; as much as a failure message can bear.
pub(crate) fn tail(file: &Path, lines_max: usize) -> String {
    let Ok(bytes) = fs::read(file) else { return format!("  (cannot read {})", file.display()) };
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().collect();
    let last = lines.get(lines.len().saturating_sub(lines_max)..).unwrap_or_default();
    let line = |line: &&str| format!("  {}", line.chars().take(600).collect::<String>());
    last.iter().map(line).collect::<Vec<_>>().join("\n")
}
