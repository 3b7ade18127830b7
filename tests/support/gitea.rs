//! A real Gitea: migrated, with an administrator, its web server and its SSH server on free ports of loopback.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use reqwest::Method;
use serde_json::{Value, json};

use crate::process::{Process, Program, tail};
use crate::rundir::{Parts, free_ports};

/// The administrator, who makes repositories and merges.
pub(crate) const ADMIN: &str = "boss";
/// Everybody's password.
pub(crate) const PASSWORD: &str = "s3:cr/et pass";

/// How long it may take to come up: three seconds on an idle machine.
const START_MAX: Duration = Duration::from_secs(120);

/// A Gitea that runs; killed when dropped.
pub(crate) struct Gitea {
    pub(crate) url: String,
    #[allow(dead_code, reason = "not every test pushes over SSH")]
    pub(crate) ssh_port: u16,
    /// Its configuration and its data.
    dir: PathBuf,
    program: PathBuf,
    client: reqwest::Client,
    process: Process,
}

impl Gitea {
    /// Starts it in `dir`, a folder of its own; on a thread that outlives its use, since it ends with that.
    pub(crate) async fn start(parts: &Parts, dir: &Path) -> Result<Arc<Self>> {
        fs::create_dir_all(dir.join("home"))?;
        let program = parts.program("gitea", "gitea")?;
        let [http, ssh] = free_ports()?;
        let url = format!("http://127.0.0.1:{http}");
        let ini = ini(dir, &parts.folder("gitea")?.join("static"), http, ssh)?;
        fs::write(dir.join("app.ini"), ini)?;
        run(&program, dir, &["migrate"])?;
        let (mail, user) =
            (format!("{ADMIN}@example.org"), ["admin", "user", "create", "--admin", "--username", ADMIN]);
        let rest = ["--password", PASSWORD, "--email", &mail, "--must-change-password=false"];
        run(&program, dir, &[&user[..], &rest].concat())?;
        let ini = dir.join("app.ini");
        let web = Program::new("gitea", &program).args(["web", "-c", &ini.to_string_lossy()]);
        let process = web.env("USER", user_name()).start(&dir.join("home"), &dir.join("gitea.log"))?;
        let (dir, client) = (dir.to_owned(), reqwest::Client::builder().no_proxy().build()?);
        let gitea = Arc::new(Self { url, ssh_port: ssh, dir, program, client, process });
        gitea.wait_until_up().await?;
        Ok(gitea)
    }

    async fn wait_until_up(&self) -> Result<()> {
        let start = Instant::now();
        while self.call(ADMIN, Method::GET, "/version", Value::Null).await.is_err() {
            self.process.check_running()?;
            let log = || tail(&self.dir.join("gitea.log"), 15);
            ensure!(start.elapsed() < START_MAX, "Gitea does not come up; the end of its log:\n{}", log());
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Ok(())
    }

    /// Calls the API as a person; fails with its words unless it succeeds.
    pub(crate) async fn call(&self, user: &str, method: Method, path: &str, body: Value) -> Result<Value> {
        let url = format!("{}/api/v1{path}", self.url);
        let mut request = self.client.request(method.clone(), url).basic_auth(user, Some(PASSWORD));
        if !body.is_null() {
            request = request.header("content-type", "application/json").body(body.to_string());
        }
        let response = request.send().await?;
        let (status, text) = (response.status(), response.text().await?);
        ensure!(status.is_success(), "{method} {path} as {user}: {status}: {text}");
        Ok(serde_json::from_str(&text).unwrap_or_default())
    }

    /// Calls the API as the administrator.
    pub(crate) async fn admin(&self, method: Method, path: &str, body: Value) -> Result<Value> {
        self.call(ADMIN, method, path, body).await
    }

    /// Makes a person.
    pub(crate) async fn person(&self, name: &str) -> Result<()> {
        let body = json!({
            "username": name, "email": format!("{name}@example.org"), "password": PASSWORD, "must_change_password": false,
        });
        self.admin(Method::POST, "/admin/users", body).await.map(drop)
    }

    /// Makes a token for a person, with what lastgood's documents ask for.
    pub(crate) fn token(&self, person: &str) -> Result<String> {
        let args = ["admin", "user", "generate-access-token", "--raw", "--username", person];
        let scopes = ["--scopes", "write:repository,write:issue"];
        let said = run(&self.program, &self.dir, &[&args[..], &scopes].concat())?;
        // Its log comes first.
        said.lines().last().map(str::to_owned).context("no token was made")
    }

    /// The URL of a repository, without user and password.
    pub(crate) fn repository(&self, path: &str) -> String {
        format!("{}/{path}.git", self.url)
    }

    /// The same for somebody who pushes with `git`.
    pub(crate) fn repository_for(&self, user: &str, path: &str) -> String {
        let password = PASSWORD.replace(':', "%3A").replace('/', "%2F").replace(' ', "%20");
        self.repository(path).replace("http://", &format!("http://{user}:{password}@"))
    }
}

/// Runs one of Gitea's own commands and returns what it printed.
fn run(program: &Path, dir: &Path, args: &[&str]) -> Result<String> {
    let mut command = Command::new(program);
    command.args(args).arg("-c").arg(dir.join("app.ini"));
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command.env("HOME", dir.join("home")).env("USER", user_name()).current_dir(dir);
    let output = command.output().with_context(|| format!("starting {}", program.display()))?;
    if !output.status.success() {
        let said = [output.stdout, output.stderr].concat();
        bail!("`gitea {}` failed ({}):\n{}", args.join(" "), output.status, String::from_utf8_lossy(&said));
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Gitea refuses to run as anybody but the one in its configuration.
fn user_name() -> String {
    let asked = Command::new("id").arg("-un").output();
    asked.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default()
}

fn ini(dir: &Path, static_files: &Path, http: u16, ssh: u16) -> Result<String> {
    ensure!(static_files.join("options").is_dir(), "the part gitea lacks {}", static_files.display());
    let (user, dir, static_files) = (user_name(), dir.display(), static_files.display());
    Ok(format!(
        "RUN_USER = {user}\n\
         RUN_MODE = prod\n\
         WORK_PATH = {dir}\n\
         I_AM_BEING_UNSAFE_RUNNING_AS_ROOT = true\n\
         [server]\nHTTP_ADDR = 127.0.0.1\nHTTP_PORT = {http}\nROOT_URL = http://127.0.0.1:{http}/\n\
         START_SSH_SERVER = true\nSSH_LISTEN_HOST = 127.0.0.1\nSSH_LISTEN_PORT = {ssh}\nSSH_PORT = {ssh}\n\
         SSH_DOMAIN = 127.0.0.1\nBUILTIN_SSH_SERVER_USER = git\nOFFLINE_MODE = true\n\
         STATIC_ROOT_PATH = {static_files}\n\
         [database]\nDB_TYPE = sqlite3\nPATH = {dir}/gitea.db\nSQLITE_JOURNAL_MODE = WAL\n\
         [security]\nINSTALL_LOCK = true\nPASSWORD_COMPLEXITY = off\nPASSWORD_HASH_ALGO = pbkdf2$1$10\n\
         [repository]\nROOT = {dir}/repositories\nDEFAULT_BRANCH = main\n\
         [indexer]\nISSUE_INDEXER_TYPE = db\n\
         [queue]\nTYPE = channel\n\
         [session]\nPROVIDER = memory\n\
         [log]\nMODE = console\nLEVEL = warn\n\
         [actions]\nENABLED = false\n\
         [packages]\nENABLED = false\n\
         [cron]\nENABLED = false\n"
    ))
}
