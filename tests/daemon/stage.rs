//! A sandbox in real time, a daemon that can be killed, and its journal.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams};
use lastgood::cluster::Clients;
use lastgood::engine::entry::{Entry, Kind};
use lastgood::engine::facts::AppKey;
use lastgood::engine::judge::Verdict;
use lastgood::policy::{self, PolicySet};
use lastgood::record::ledger::{FolderLedger, Head, Ledger, LedgerError, Link, Record, Recorder};
use lastgood::record::state::StateStore;
use lastgood::record::state::files::FileStore;
use lastgood::record::state::kube::KubeStore;
use lastgood::run::once::Request;
use lastgood::run::{self, Config, Keeping};
use lastgood::sandbox::apiserver::{EVENTS, PODS};
use lastgood::sandbox::reconciler::Pace;
use lastgood::sandbox::{APP, Clock, DEPLOYMENT_FILE, Options, Sandbox, shop_manifest};
use lastgood::serve::Ready;
use tempfile::TempDir;
use tokio::process::Command;
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, watch};

/// Longer than any step of any story here, also on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// How often the sandbox is looked at.
const LOOK: Duration = Duration::from_millis(20);

/// Where the daemon keeps its states.
pub(crate) enum Keep {
    InFiles,
    InTheCluster,
}

pub(crate) struct Stage {
    pub(crate) sandbox: Sandbox,
    dir: TempDir,
    keep: Keep,
    policies: watch::Sender<Arc<PolicySet>>,
    changed: watch::Receiver<Arc<PolicySet>>,
    daemon: Option<(Runtime, mpsc::UnboundedReceiver<Entry>, Ready)>,
    journal: Vec<Entry>,
    /// What a daemon told before it was killed and nobody has waited for yet.
    unread: VecDeque<Entry>,
    ledger_fault: Arc<AtomicBool>,
    on_branches: bool,
    /// Where the daemon sends records.
    pub(crate) sinks: Vec<lastgood::sinks::Sink>,
}

/// A ledger that can be taken away.
struct Faulty {
    folder: FolderLedger,
    fault: Arc<AtomicBool>,
}

impl Ledger for Faulty {
    fn place(&self) -> String {
        self.folder.place()
    }

    fn append(&self, records: &[Record]) -> Result<Option<Head>, LedgerError> {
        if self.fault.load(Ordering::Acquire) {
            return Err(LedgerError::Unreachable { place: self.place(), why: "it was taken away".into() });
        }
        self.folder.append(records)
    }

    fn after(&self, sequence: u64, most: usize) -> Result<Vec<Link>, LedgerError> {
        self.folder.after(sequence, most)
    }
}

/// A policy with times of seconds instead of minutes.
pub(crate) fn policy(mode: &str, more: &str) -> String {
    format!(
        "apiVersion: lastgood.dev/v1alpha1
application: {{ name: {APP}, namespace: argocd }}
analysis: {{ duration: 1500ms, interval: 200ms }}
rollout: {{ crashLoopGrace: 300ms }}
rollback: {{ mode: {mode}, recoveryTimeout: 20s }}
{more}"
    )
}

impl Stage {
    pub(crate) async fn new(keep: Keep, policies: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let millis = Duration::from_millis;
        let pace = Pace {
            poll: millis(300),
            sync_step: millis(100),
            compare_after_sync: millis(200),
            health_lag: millis(100),
            container_start: millis(100),
            readiness: millis(100),
            crash_after: millis(100),
            backoff_first: millis(300),
            termination: millis(100),
            ..Pace::default()
        };
        let options = Options { clock: Clock::real(), pace, running: true };
        let sandbox = Sandbox::start_with(dir.path(), options).await.unwrap();
        let folder = dir.path().join("policies");
        std::fs::create_dir_all(&folder).unwrap();
        for (name, text) in policies {
            std::fs::write(folder.join(format!("{name}.yaml")), text).unwrap();
        }
        let set = PolicySet::load(&folder).unwrap_or_else(|mistakes| panic!("{mistakes}"));
        let (sender, changed) = watch::channel(Arc::new(set));
        tokio::spawn(policy::watch(folder, Duration::from_millis(100), sender.clone()));
        let (journal, unread, ledger_fault, on_branches, sinks) = Default::default();
        Self {
            sinks,
            sandbox,
            dir,
            keep,
            policies: sender,
            changed,
            daemon: None,
            journal,
            unread,
            ledger_fault,
            on_branches,
        }
    }

    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Adds the error rate to the policy, before the start.
    pub(crate) fn with_slo(&self, mode: &str, duration: &str) {
        let slo = format!(
            r#"prometheus: {{ url: "{}", timeout: 500ms }}
slos:
  - name: error-rate
    query: >-
      sum(rate(http_requests_total{{app="{{{{ application }}}}",code=~"5.."}}[1s]))
      / sum(rate(http_requests_total{{app="{{{{ application }}}}"}}[1s]))
    max: 0.05
    failures: 2
    of: 3
"#,
            self.sandbox.prometheus_url()
        );
        self.write_policy(APP, &policy(mode, &slo).replace("1500ms", duration));
        let set = PolicySet::load(&self.policy_folder()).unwrap_or_else(|mistakes| panic!("{mistakes}"));
        self.policies.send_replace(Arc::new(set));
    }

    /// The ledger that the daemon writes.
    pub(crate) fn ledger(&self) -> Arc<dyn Ledger> {
        let folder = FolderLedger::open(self.dir.path().join("ledger")).unwrap();
        Arc::new(Faulty { folder, fault: Arc::clone(&self.ledger_fault) })
    }

    /// From the next start on the ledger lies in the application's repository.
    pub(crate) fn keep_ledger_on_branches(&mut self) {
        self.on_branches = true;
    }

    /// What the ledger in the application's repository lists, once it has this.
    pub(crate) async fn listed(&self, reason: &str) -> String {
        let repository = self.sandbox.repository().to_str().unwrap().to_owned();
        let listing = async {
            loop {
                let (code, out) = self.audit(&["list", "--repo", &repository]).await;
                if code == 0 && out.contains(&format!(" {reason} ")) {
                    return out;
                }
                tokio::time::sleep(LOOK).await;
            }
        };
        tokio::time::timeout(PATIENCE, listing)
            .await
            .unwrap_or_else(|_| panic!("{reason} is not in the ledger\n{}", self.told()))
    }

    /// Takes the ledger away, or gives it back.
    pub(crate) fn ledger_is_down(&self, down: bool) {
        self.ledger_fault.store(down, Ordering::Release);
    }

    /// The ledger's records, oldest first.
    pub(crate) fn records(&self) -> Vec<Record> {
        let folder = FolderLedger::open(self.dir.path().join("ledger")).unwrap();
        let links = folder.after(0, usize::MAX).unwrap();
        links.iter().map(|link| link.record().unwrap()).collect()
    }

    /// Until the ledger has a record of this.
    pub(crate) async fn recorded(&self, reason: &str) {
        let there = || self.records().iter().any(|record| record.reason == reason);
        self.see(&format!("a record {reason}"), there).await;
    }

    fn policy_folder(&self) -> PathBuf {
        self.dir.path().join("policies")
    }

    pub(crate) fn write_policy(&self, name: &str, text: &str) {
        std::fs::write(self.policy_folder().join(format!("{name}.yaml")), text).unwrap();
    }

    pub(crate) fn remove_policy(&self, name: &str) {
        std::fs::remove_file(self.policy_folder().join(format!("{name}.yaml"))).unwrap();
    }

    /// Until changed files are in force.
    pub(crate) async fn policies_changed(&mut self) {
        tokio::time::timeout(PATIENCE, self.changed.changed()).await.expect("no new policies").unwrap();
    }

    /// Starts a daemon in a runtime of its own, which is all that a process has.
    pub(crate) fn start(&mut self) {
        let (tap, entries) = mpsc::unbounded_channel();
        let clients = Clients::new(&kube::Config::new(self.sandbox.api_url().parse().unwrap())).unwrap();
        let store: Arc<dyn StateStore> = match self.keep {
            Keep::InFiles => Arc::new(FileStore::open(self.dir.path().join("state")).unwrap()),
            Keep::InTheCluster => Arc::new(KubeStore::new(clients.request.clone())),
        };
        let ready = Ready::default();
        let config = Config {
            clients,
            namespaces: vec!["argocd".to_owned()],
            argocd_namespace: "argocd".to_owned(),
            cluster: "test".to_owned(),
            policies: self.policies.subscribe(),
            policy_folder: Some(self.policy_folder()),
            store,
            ledger: if self.on_branches { Keeping::OfRepositories } else { Keeping::In(self.ledger()) },
            sinks: self.sinks.clone(),
            by: Recorder { version: "test".into(), ..Recorder::default() },
            cache: self.dir.path().join("cache"),
            ready: Ready::clone(&ready),
            tap: Some(tap),
        };
        let process = Runtime::new().unwrap();
        process.spawn(async move { run::run(config, std::future::pending()).await.unwrap() });
        self.daemon = Some((process, entries, ready));
    }

    /// What a person's rollback needs.
    pub(crate) fn request(&self, because: &str) -> Request {
        Request {
            clients: Clients::new(&kube::Config::new(self.sandbox.api_url().parse().unwrap())).unwrap(),
            namespaces: vec!["argocd".to_owned()],
            argocd_namespace: "argocd".to_owned(),
            cluster: "test".to_owned(),
            policies: PolicySet::load(&self.policy_folder()).unwrap_or_else(|mistakes| panic!("{mistakes}")),
            store: Arc::new(FileStore::open(self.dir.path().join("state")).unwrap()),
            ledger: Keeping::In(self.ledger()),
            by: Recorder { version: "test".into(), ..Recorder::default() },
            cache: self.dir.path().join("cache-of-a-person"),
            app: AppKey::new("argocd", APP),
            because: because.to_owned(),
            to: None,
        }
    }

    /// Runs the program's own command for a person's rollback; its exit code and what it printed.
    pub(crate) async fn rollback(&self, args: &[&str]) -> (i32, String) {
        let mut command = self.command("rollback");
        command.args([APP, "--cluster", "test", "--policies"]).arg(self.policy_folder());
        command.arg("--state").arg(self.dir.path().join("state"));
        command.arg("--cache").arg(self.dir.path().join("cache-of-a-command"));
        ended(command.args(args)).await
    }

    /// Runs one of the program's own commands for the ledger; its exit code and what it printed.
    pub(crate) async fn audit(&self, args: &[&str]) -> (i32, String) {
        ended(self.command("audit").args(args)).await
    }

    /// Runs the program's own command for a replay; its exit code and what it printed.
    pub(crate) async fn replay(&self, args: &[&str]) -> (i32, String) {
        let mut command = self.command("replay");
        command.arg("--policy").arg(self.policy_folder().join(format!("{APP}.yaml")));
        let output = command.args(args).output().await.unwrap();
        // Of a sync of just now it notes beside the answer that it may not be over.
        let text = if output.status.success() { output.stdout } else { output.stderr };
        (output.status.code().unwrap(), String::from_utf8(text).unwrap())
    }

    fn command(&self, name: &str) -> Command {
        let kubeconfig = self.dir.path().join("kubeconfig");
        let config = format!(
            "apiVersion: v1
kind: Config
clusters: [{{ name: s, cluster: {{ server: {} }} }}]
users: [{{ name: s, user: {{}} }}]
contexts: [{{ name: s, context: {{ cluster: s, user: s }} }}]
current-context: s
",
            self.sandbox.api_url()
        );
        std::fs::write(&kubeconfig, config).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_lastgood"));
        command.arg(name).env("KUBECONFIG", kubeconfig);
        command
    }

    /// The daemon dies between any two of its instructions.
    pub(crate) fn kill(&mut self) {
        let (process, mut entries, _) = self.daemon.take().expect("a daemon that runs");
        process.shutdown_background();
        while let Ok(entry) = entries.try_recv() {
            self.unread.push_back(entry);
        }
    }

    /// Until the daemon knows all Applications.
    pub(crate) async fn ready(&self) {
        let (_, _, ready) = self.daemon.as_ref().expect("a daemon that runs");
        self.see("the daemon is ready", || ready.load(std::sync::atomic::Ordering::Acquire)).await;
    }

    /// Until the sandbox's pods crash again and again.
    pub(crate) async fn crash_loop(&self) {
        let crashes = || {
            let pods = self.sandbox.store().list(&PODS, Some(APP));
            pods.iter().any(|pod| pod.to_string().contains("CrashLoopBackOff"))
        };
        self.see("a crash loop", crashes).await;
    }

    /// Whether an Event on an Application says that a rollback could not be pushed, and why.
    pub(crate) fn cannot_push(&self, why: &str) -> bool {
        let events = self.sandbox.store().list(&EVENTS, None);
        events
            .iter()
            .map(ToString::to_string)
            .any(|event| event.contains("CannotPush") && event.contains(why))
    }

    /// Until an Event on an Application has this reason.
    pub(crate) async fn told_by_event(&self, reason: &str) {
        let there = || {
            let events = self.sandbox.store().list(&EVENTS, None);
            events.iter().any(|event| event.to_string().contains(reason))
        };
        self.see(&format!("an Event {reason}"), there).await;
    }

    /// A person ends a hold.
    pub(crate) async fn resume(&self, hold: &str) {
        let client =
            kube::Client::try_from(kube::Config::new(self.sandbox.api_url().parse().unwrap())).unwrap();
        let kind = GroupVersionKind::gvk("argoproj.io", "v1alpha1", "Application");
        let api: Api<DynamicObject> = Api::namespaced_with(client, "argocd", &ApiResource::from_gvk(&kind));
        let patch = serde_json::json!({ "metadata": { "annotations": { "lastgood.dev/resume": hold } } });
        api.patch(APP, &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
    }

    /// Until no record waits in the saved state any more.
    pub(crate) async fn nothing_waits(&self) {
        let path = self.dir.path().join("state").join(format!("argocd_{APP}.json"));
        let nothing = || {
            let state: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
            state["state"]["records"]["records"].as_array().is_none_or(Vec::is_empty)
        };
        self.see("that nothing waits for the ledger", nothing).await;
    }

    /// The first commit of the branch.
    pub(crate) fn first_commit(&self) -> String {
        let repository = git2::Repository::open_bare(self.sandbox.repository()).unwrap();
        let mut walk = repository.revwalk().unwrap();
        walk.push_ref("refs/heads/main").unwrap();
        walk.map(Result::unwrap).last().unwrap().to_string()
    }

    /// Until such an Event is there.
    pub(crate) async fn told_that_it_cannot_push(&self, why: &str) {
        self.see("an Event that nothing can be pushed", || self.cannot_push(why)).await;
    }

    async fn see(&self, what: &str, seen: impl Fn() -> bool) {
        let waiting = async {
            while !seen() {
                tokio::time::sleep(LOOK).await;
            }
        };
        let seen = tokio::time::timeout(PATIENCE, waiting).await;
        assert!(seen.is_ok(), "{what} was not seen\n{}", self.told());
    }

    /// Commits a version of the shop.
    pub(crate) fn deploy(&self, tag: &str) -> String {
        let manifest = shop_manifest(tag);
        let files = [(DEPLOYMENT_FILE, Some(manifest.as_str()))];
        self.sandbox.developer().commit(&files, &format!("shop: {tag}\n"), "Bob <bob@example.com>").unwrap()
    }

    /// Until the journal tells this.
    pub(crate) async fn until(&mut self, reason: &str) {
        self.until_one_of(&[reason]).await;
    }

    pub(crate) async fn until_one_of(&mut self, reasons: &[&str]) -> String {
        loop {
            let reason = self.until_any().await;
            if reasons.contains(&reason.as_str()) {
                return reason;
            }
        }
    }

    /// The next entry.
    pub(crate) async fn until_any(&mut self) -> String {
        let entry = match self.unread.pop_front() {
            Some(entry) => entry,
            None => self.next_entry().await,
        };
        let reason = entry.kind.reason().to_owned();
        self.journal.push(entry);
        reason
    }

    async fn next_entry(&mut self) -> Entry {
        let (_, entries, _) = self.daemon.as_mut().expect("a daemon that runs");
        let Ok(told) = tokio::time::timeout(PATIENCE, entries.recv()).await else {
            panic!("the daemon tells nothing more\n{}", self.told())
        };
        told.unwrap_or_else(|| panic!("the daemon ended\n{}", self.told()))
    }

    /// The newest verdict: when the daemon saw the sync, when the verdict fell, and what it is.
    pub(crate) fn verdict(&self) -> (Timestamp, Timestamp, Verdict) {
        let newest = || self.journal.iter().rev();
        let began = newest().find(|entry| matches!(entry.kind, Kind::AnalysisBegan { .. }));
        let ended = newest().find_map(|entry| match &entry.kind {
            Kind::AnalysisEnded { verdict, .. } => Some((entry.at, verdict.clone())),
            _ => None,
        });
        let (Some(began), Some((at, verdict))) = (began, ended) else {
            panic!("no verdict\n{}", self.told())
        };
        (began.at, at, verdict)
    }

    /// How often the journal tells this.
    pub(crate) fn times(&self, reason: &str) -> usize {
        self.journal.iter().filter(|entry| entry.kind.reason() == reason).count()
    }

    /// The journal, for a failure.
    pub(crate) fn told(&self) -> String {
        self.journal.iter().map(|entry| format!("{} {}\n", entry.at, entry.kind)).collect()
    }

    /// The commits on the branch whose message holds a line that begins so.
    pub(crate) fn commits_with(&self, line: &str) -> Vec<String> {
        let repository = git2::Repository::open_bare(self.sandbox.repository()).unwrap();
        let mut walk = repository.revwalk().unwrap();
        walk.push_ref("refs/heads/main").unwrap();
        let holds = |id: &git2::Oid| {
            let commit = repository.find_commit(*id).unwrap();
            commit.message().unwrap().lines().any(|one| one.starts_with(line))
        };
        walk.map(Result::unwrap).filter(holds).map(|id| id.to_string()).collect()
    }
}

async fn ended(command: &mut Command) -> (i32, String) {
    let output = command.output().await.unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.code().unwrap(), String::from_utf8(text).unwrap())
}

impl Drop for Stage {
    fn drop(&mut self) {
        if let Some((process, _, _)) = self.daemon.take() {
            process.shutdown_background();
        }
    }
}
