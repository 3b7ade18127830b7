//! What the cluster tests need from the system, asked for all at once.

use std::path::Path;
use std::process::Command;

use anyhow::{Result, bail};

/// A program, the Debian package that has it, and what it is for.
struct Need {
    program: &'static str,
    package: &'static str,
    what_for: &'static str,
}

const NEEDS: [Need; 6] = [
    Need { program: "git", package: "git", what_for: "the repositories, and Argo CD's repo-server" },
    Need { program: "prometheus", package: "prometheus", what_for: "the metrics that policies query" },
    Need { program: "gpg", package: "gnupg", what_for: "signed commits, and Argo CD's check of them" },
    Need { program: "redis-server", package: "redis-server", what_for: "Argo CD's cache" },
    Need {
        program: "ssh-keygen",
        package: "openssh-client",
        what_for: "the API server's key for service accounts",
    },
    Need {
        program: "setpriv",
        package: "util-linux",
        what_for: "ending every process together with the tests",
    },
];

/// Fails with everything that is missing and the one command that installs it.
pub(crate) fn check(root: &Path) -> Result<()> {
    let mut missing: Vec<&Need> = NEEDS.iter().filter(|need| !on_path(need.program)).collect();
    let http_backend =
        Need { program: "git http-backend", package: "git", what_for: "serving repositories over HTTP" };
    if on_path("git") && !has_http_backend() {
        missing.push(&http_backend);
    }
    let go = go_problem(root);
    if missing.is_empty() && go.is_none() {
        return Ok(());
    }
    let mut message = String::from("this machine lacks what the cluster tests need:");
    for need in &missing {
        message += &format!("\n  {:<18}{}", need.program, need.what_for);
    }
    if let Some(go) = &go {
        message += &format!("\n  {:<18}building the cluster's parts ({go})", "go");
    }
    let mut packages: Vec<&str> = missing.iter().map(|need| need.package).collect();
    packages.dedup();
    if !packages.is_empty() {
        message += &format!("\nOn Debian: apt-get install -y --no-install-recommends {}", packages.join(" "));
    }
    if go.is_some() {
        message += "\nGo: https://go.dev/dl/ (any version since 1.21 fetches the one it needs, unless GOTOOLCHAIN=local)";
    }
    message += "\nWithout them: cargo xtask test --fast";
    bail!(message)
}

fn on_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

fn has_http_backend() -> bool {
    let Ok(output) = Command::new("git").arg("--exec-path").output() else { return false };
    Path::new(String::from_utf8_lossy(&output.stdout).trim()).join("git-http-backend").is_file()
}

/// Asks Go itself whether it can work on the most demanding part's go.mod.
fn go_problem(root: &Path) -> Option<String> {
    let asked = Command::new("go")
        .args(["env", "GOVERSION"])
        .current_dir(root.join("tests/cluster/tools/argocd"))
        .output();
    match asked {
        Err(error) => Some(error.to_string()),
        Ok(output) if output.status.success() => None,
        Ok(output) => Some(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
    }
}
