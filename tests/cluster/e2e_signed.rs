//! An AppProject that takes signed commits only: Argo CD itself checks the daemon's signature.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use tokio::process::Command;

use crate::app::{AppSpec, SYNC_TIMEOUT};
use crate::argocd::NAMESPACE;
use crate::developer::git;
use crate::kubernetes::apply;
use crate::manifests::web;
use crate::scenario::Scenario;
use crate::story::{
    File, Shop, deploy, follow_rollback, policy, stays_at_one_rollback, stays_unpushed, wait_last_good,
};
use crate::wait::wait_until;

/// The Secret with the daemon's key.
const SECRET: &str = "signed-key";

/// A keyring of a person's or a program's; its agent ends with it.
struct Keyring {
    home: tempfile::TempDir,
    /// The primary key's ID, by which Argo CD knows the public key.
    id: String,
    /// The ID of the subkey that signs, which the AppProject has to name.
    signing: String,
}

impl Drop for Keyring {
    fn drop(&mut self) {
        let mut gpgconf = std::process::Command::new("gpgconf");
        drop(gpgconf.args(["--kill", "all"]).env("GNUPGHOME", self.home.path()).output());
    }
}

impl Keyring {
    async fn new(user: &str) -> Result<Self> {
        let private = std::os::unix::fs::PermissionsExt::from_mode(0o700);
        let home = tempfile::Builder::new().permissions(private).tempdir()?;
        let mut keyring = Self { home, id: String::new(), signing: String::new() };
        keyring.gpg(&["--quick-generate-key", user, "ed25519", "cert", "never"]).await?;
        let listed = keyring.gpg(&["--list-keys", "--with-colons"]).await?;
        let field = |line: &str, n: usize| line.split(':').nth(n).unwrap_or_default().to_owned();
        let primary = listed.lines().find(|line| line.starts_with("fpr:")).context("gpg made no key")?;
        let fingerprint = field(primary, 9);
        keyring.gpg(&["--quick-add-key", &fingerprint, "ed25519", "sign", "1y"]).await?;
        let listed = keyring.gpg(&["--list-keys", "--with-colons"]).await?;
        let id = |kind: &str| listed.lines().find(|line| line.starts_with(kind)).map(|line| field(line, 4));
        keyring.id = id("pub:").context("gpg lists no primary key")?;
        keyring.signing = id("sub:").context("gpg lists no subkey")?;
        Ok(keyring)
    }

    async fn gpg(&self, args: &[&str]) -> Result<String> {
        let output = Command::new("gpg")
            .args(["--batch", "--pinentry-mode", "loopback", "--passphrase", ""])
            .args(args)
            .env("GNUPGHOME", self.home.path())
            .output()
            .await
            .context("starting gpg")?;
        let stderr = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "`gpg {}` failed: {stderr}", args.join(" "));
        Ok(String::from_utf8(output.stdout)?)
    }

    /// Makes the public key known to Argo CD, as the mounted ConfigMap `argocd-gpg-keys-cm` does.
    async fn make_known(&self, scenario: &Scenario) -> Result<()> {
        let key = self.gpg(&["--armor", "--export"]).await?;
        let (keys, id) = (&scenario.stack.argocd.public_keys, &self.id);
        // Moved in at once: Argo CD reads a file as soon as it appears.
        let beside = keys.with_extension(id);
        fs::write(&beside, key)?;
        fs::rename(&beside, keys.join(id))?;
        let keyring = scenario.stack.argocd.keyring.path();
        wait_until(&format!("Argo CD to know the key {id}"), SYNC_TIMEOUT, async || {
            let mut list = Command::new("gpg");
            let listed = list.args(["--batch", "--list-keys", id]).env("GNUPGHOME", keyring).output().await?;
            ensure!(listed.status.success(), "its keyring does not have it");
            Ok(())
        })
        .await
    }

    /// Has git sign every commit of a clone.
    async fn sign_in(&self, clone: &Path) -> Result<()> {
        let program = self.home.path().join("gpg");
        let (home, script) = (self.home.path().display(), "exec gpg --batch --pinentry-mode loopback");
        fs::write(&program, format!("#!/bin/sh\nGNUPGHOME='{home}' {script} --passphrase '' \"$@\"\n"))?;
        fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o700))?;
        for (name, value) in [
            ("gpg.program", program.to_str().context("a folder that is not UTF-8")?),
            ("user.signingKey", &self.signing),
            ("commit.gpgSign", "true"),
        ] {
            git(clone, &["config", name, value]).await?;
        }
        Ok(())
    }
}

/// Argo CD refuses an unsigned commit of a developer's, and syncs the daemon's signed revert.
pub(crate) async fn signed(scenario: &Scenario) -> Result<()> {
    let developer = Keyring::new("Dana Developer <dana@example.com>").await?;
    let daemon = Keyring::new("lastgood <lastgood@localhost>").await?;
    developer.make_known(scenario).await?;
    daemon.make_known(scenario).await?;
    let client = &scenario.stack.cluster.client;
    apply(client, &project(&[&developer.signing, &daemon.signing])).await?;
    let key = daemon.gpg(&["--armor", "--export-secret-subkeys"]).await?;
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": { "name": SECRET, "namespace": NAMESPACE },
        "stringData": { "gpgPrivateKey": key },
    });
    apply(client, &secret).await?;

    let repository = scenario.repository().await?;
    developer.sign_in(&repository.developer.clone).await?;
    let spec = AppSpec { project: "signed", ..AppSpec::new(&scenario.name, "app") };
    let app = scenario.application(&repository, spec).await?;
    let first = web(&app.name, "v1");
    deploy(&repository, &[&app], "Open the shop", &[("app/web.yaml", Some(&first))]).await?;
    let mut policy = policy(scenario, &app);
    policy.signing = Some(SECRET.to_owned());
    let daemon = scenario.daemon("daemon", &[policy]).await?;
    let second = web(&app.name, "v2");
    let good = deploy(&repository, &[&app], "Release v2", &[("app/web.yaml", Some(&second))]).await?;
    wait_last_good(&app, &good).await?;
    let shop = Shop { repository, app, daemon, good };

    // That the check is on: without a signature nothing syncs, whoever pushed it.
    let clone = &shop.repository.developer.clone;
    git(clone, &["config", "commit.gpgSign", "false"]).await?;
    let files: [File<'_>; 1] = [("README.md", Some("# A shop\n"))];
    let unsigned = shop.repository.developer.commit("Describe the shop", &files).await?;
    shop.app.notify().await?;
    wait_until("Argo CD to refuse the unsigned commit", SYNC_TIMEOUT, async || {
        let object = shop.app.object().await?;
        let conditions = object.pointer("/status/conditions").unwrap_or(&Value::Null).to_string();
        ensure!(conditions.contains("Failed verifying revision"), "its conditions are {conditions}");
        ensure!(conditions.contains(&unsigned), "its conditions are of another revision: {conditions}");
        Ok(())
    })
    .await?;
    git(clone, &["config", "commit.gpgSign", "true"]).await?;
    stays_unpushed(&shop.repository).await?;

    let bad = shop.release("missing").await?;
    let rollback = follow_rollback(scenario, &shop, &bad).await?;
    let history = shop.app.history().await?;
    ensure!(history.last() == Some(&rollback.sha), "what Argo CD synced last is not the revert: {history:?}");
    ensure!(!history.contains(&unsigned), "Argo CD synced the unsigned commit: {history:?}");
    stays_at_one_rollback(&shop.repository).await
}

/// A project that takes commits signed by one of these keys.
fn project(keys: &[&str]) -> Value {
    json!({
        "apiVersion": "argoproj.io/v1alpha1", "kind": "AppProject",
        "metadata": { "name": "signed", "namespace": NAMESPACE },
        "spec": {
            "sourceRepos": ["*"],
            "destinations": [{ "server": "*", "namespace": "*" }],
            "clusterResourceWhitelist": [{ "group": "*", "kind": "*" }],
            "sourceIntegrity": { "git": { "policies": [
                { "repos": [{ "url": "*" }], "gpg": { "mode": "head", "keys": keys } },
            ]}},
        },
    })
}
