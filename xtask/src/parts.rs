//! The cluster's parts: each built from its pinned Go module into a cache folder of its own.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Instant;

use anyhow::{Context as _, Result, bail};

/// One upstream: what is built from it and what is copied out of its module.
#[derive(Debug)]
struct Part {
    /// Folder under tests/cluster/tools that holds its go.mod.
    name: &'static str,
    /// The module whose version counts and whose files are copied.
    module: &'static str,
    /// Packages and the names of their programs.
    programs: &'static [(&'static str, &'static str)],
    /// Linker flags; `{version}` stands for the module's version, `{number}` for that without its `v`, `{major}` and
    /// `{minor}` for its parts.
    ldflags: &'static str,
    /// Files or folders of the module, and where they go.
    files: &'static [(&'static str, &'static str)],
    /// Other names for the first program.
    links: &'static [&'static str],
}

const PARTS: [Part; 8] = [
    Part {
        name: "helm",
        module: "helm.sh/helm/v3",
        programs: &[("helm.sh/helm/v3/cmd/helm", "helm")],
        ldflags: "-s -w",
        files: &[],
        links: &[],
    },
    Part {
        name: "kustomize",
        module: "sigs.k8s.io/kustomize/kustomize/v5",
        programs: &[("sigs.k8s.io/kustomize/kustomize/v5", "kustomize")],
        ldflags: "-s -w",
        files: &[],
        links: &[],
    },
    Part {
        name: "etcd",
        module: "go.etcd.io/etcd/server/v3",
        programs: &[("go.etcd.io/etcd/server/v3", "etcd")],
        ldflags: "-s -w",
        files: &[],
        links: &[],
    },
    Part {
        name: "kubernetes",
        module: "k8s.io/kubernetes",
        programs: &[
            ("k8s.io/kubernetes/cmd/kube-apiserver", "kube-apiserver"),
            ("k8s.io/kubernetes/cmd/kube-controller-manager", "kube-controller-manager"),
            ("k8s.io/kubernetes/cmd/kube-scheduler", "kube-scheduler"),
        ],
        // Without these it calls itself v0.0.0-master+$Format:%H$, which no client can parse.
        ldflags: "-s -w -X k8s.io/component-base/version.gitVersion={version} \
                  -X k8s.io/component-base/version.gitMajor={major} -X k8s.io/component-base/version.gitMinor={minor}",
        files: &[],
        links: &[],
    },
    Part {
        name: "argocd",
        module: "github.com/argoproj/argo-cd/v3",
        programs: &[("github.com/argoproj/argo-cd/v3/cmd", "argocd")],
        ldflags: "-s -w -X github.com/argoproj/argo-cd/v3/common.version={number}",
        files: &[
            ("manifests/crds/application-crd.yaml", "crds/application-crd.yaml"),
            ("manifests/crds/applicationset-crd.yaml", "crds/applicationset-crd.yaml"),
            ("manifests/crds/appproject-crd.yaml", "crds/appproject-crd.yaml"),
            ("hack/git-verify-wrapper.sh", "bin/git-verify-wrapper.sh"),
            ("hack/gpg-wrapper.sh", "bin/gpg-wrapper.sh"),
        ],
        // One program that takes its role from the name it is called by.
        links: &["argocd-application-controller", "argocd-repo-server", "argocd-server"],
    },
    Part {
        name: "kwok",
        module: "sigs.k8s.io/kwok",
        programs: &[("sigs.k8s.io/kwok/cmd/kwok", "kwok")],
        ldflags: "-s -w",
        files: &[
            ("kustomize/stage/node/fast/node-initialize.yaml", "stages/node-initialize.yaml"),
            (
                "kustomize/stage/node/heartbeat-with-lease/node-heartbeat-with-lease.yaml",
                "stages/node-heartbeat-with-lease.yaml",
            ),
            ("kustomize/stage/pod/fast/pod-ready.yaml", "stages/pod-ready.yaml"),
            ("kustomize/stage/pod/fast/pod-complete.yaml", "stages/pod-complete.yaml"),
            ("kustomize/stage/pod/fast/pod-delete.yaml", "stages/pod-delete.yaml"),
        ],
        links: &[],
    },
    Part {
        name: "gitea",
        module: "code.gitea.io/gitea",
        programs: &[("code.gitea.io/gitea", "gitea")],
        ldflags: "-s -w -X main.Version={number}",
        // Read at run time; the pages for browsers are not needed.
        files: &[("options", "static/options"), ("templates", "static/templates")],
        links: &[],
    },
    Part {
        name: "otelcol",
        module: "go.opentelemetry.io/collector/otelcol",
        // The collector is a library: which parts one has is a program of a few lines, beside the go.mod.
        programs: &[("lastgood.dev/tests/cluster/tools/otelcol", "otelcol")],
        ldflags: "-s -w",
        files: &[],
        links: &[],
    },
];

/// Builds what the cache lacks of the parts that are `wanted`; returns `name=folder` pairs joined by colons, as the tests
/// read them.
pub(crate) fn build(root: &Path, cache: &Path, wanted: impl Fn(&str) -> bool) -> Result<String> {
    fs::create_dir_all(cache).with_context(|| format!("creating the cache folder {}", cache.display()))?;
    let mut built = Vec::new();
    // One after another: a single Go build already fills the cores and most of a small machine's memory.
    for part in PARTS.iter().filter(|part| wanted(part.name)) {
        let folder = part.ensure(root, cache).with_context(|| format!("building the part {}", part.name))?;
        built.push(format!("{}={}", part.name, folder.display()));
    }
    Ok(built.join(":"))
}

impl Part {
    /// The part's folder in the cache, built first if it is not there.
    fn ensure(&self, root: &Path, cache: &Path) -> Result<PathBuf> {
        let source = root.join("tests/cluster/tools").join(self.name);
        let folder = cache.join(format!("{}-{}", self.name, self.key(&source)?));
        if folder.is_dir() {
            println!("{:<12}cached in {}", self.name, folder.display());
            return Ok(folder);
        }
        println!("{:<12}building", self.name);
        let start = Instant::now();
        // Built aside and renamed in: an interrupted build leaves nothing that counts.
        let aside = cache.join(format!(".building-{}-{}", self.name, std::process::id()));
        remove_leftovers(cache, &format!(".building-{}-", self.name))?;
        self.fill(&source, &aside)?;
        if let Err(error) = fs::rename(&aside, &folder) {
            // Somebody else's build of the same part was faster, and is as good.
            if !folder.is_dir() {
                return Err(error).with_context(|| format!("renaming {} to its place", aside.display()));
            }
            fs::remove_dir_all(&aside)?;
        }
        println!("{:<12}built in {} s", self.name, start.elapsed().as_secs());
        Ok(folder)
    }

    /// Changes whenever something that goes into the build does.
    fn key(&self, source: &Path) -> Result<String> {
        let mut hash = Fnv1a::new();
        for file in ["go.mod", "go.sum"] {
            let path = source.join(file);
            hash.add(&fs::read(&path).with_context(|| format!("reading {}", path.display()))?);
        }
        if let Ok(program) = fs::read(source.join("main.go")) {
            hash.add(&program);
        }
        hash.add(format!("{self:?} {:?} {}", self.go_flags(), std::env::consts::ARCH).as_bytes());
        Ok(format!("{:016x}", hash.0))
    }

    fn go_flags(&self) -> GoFlags {
        if self.name == "gitea" { WITH_SQLITE } else { GO_FLAGS }
    }

    /// Runs `go` in the part's folder and returns what it printed.
    fn go(&self, folder: &Path, args: &[&str]) -> Result<String> {
        let mut command = Command::new("go");
        command.args(args).current_dir(folder).envs(self.go_flags());
        let Output { status, stdout, stderr } = command.output().context("starting go")?;
        if !status.success() {
            let stderr = String::from_utf8_lossy(&stderr);
            // What counts comes last, after a line for each downloaded module.
            let lines: Vec<&str> =
                stderr.lines().filter(|line| !line.starts_with("go: downloading")).collect();
            let tail = lines.get(lines.len().saturating_sub(20)..).unwrap_or_default().join("\n  ");
            bail!("`go {}` in {} failed ({status}):\n  {tail}", args.join(" "), folder.display());
        }
        Ok(String::from_utf8_lossy(&stdout).trim().to_owned())
    }

    fn fill(&self, source: &Path, into: &Path) -> Result<()> {
        let bin = into.join("bin");
        fs::create_dir_all(&bin)?;
        let ldflags = self.ldflags(source)?;
        for (package, program) in self.programs {
            self.go(
                source,
                &["build", "-ldflags", &ldflags, "-o", &bin.join(program).to_string_lossy(), package],
            )?;
        }
        if let Some((_, program)) = self.programs.first() {
            for link in self.links {
                symlink(program, bin.join(link))?;
            }
        }
        if !self.files.is_empty() {
            let module = self.go(source, &["list", "-m", "-f", "{{.Dir}}", self.module])?;
            for (from, to) in self.files {
                copy(&Path::new(&module).join(from), &into.join(to))?;
            }
        }
        Ok(())
    }

    fn ldflags(&self, source: &Path) -> Result<String> {
        let version = self.go(source, &["list", "-m", "-f", "{{.Version}}", self.module])?;
        let number = version.trim_start_matches('v');
        let mut numbers = number.split('.');
        let (major, minor) = numbers
            .next()
            .zip(numbers.next())
            .with_context(|| format!("the version `{version}` of {} has no minor number", self.module))?;
        let values =
            [("{version}", version.as_str()), ("{number}", number), ("{major}", major), ("{minor}", minor)];
        Ok(values.iter().fold(self.ldflags.to_owned(), |flags, (name, value)| flags.replace(name, value)))
    }
}

type GoFlags = [(&'static str, &'static str); 3];

/// Nothing of the user's own settings may change what is built.
const GO_FLAGS: GoFlags =
    [("CGO_ENABLED", "0"), ("GOFLAGS", "-buildvcs=false -mod=readonly"), ("GOWORK", "off")];

/// Gitea's only database that needs no server is written in C.
const WITH_SQLITE: GoFlags = [
    ("CGO_ENABLED", "1"),
    ("GOFLAGS", "-buildvcs=false -mod=readonly -tags=sqlite,sqlite_unlock_notify"),
    ("GOWORK", "off"),
];

/// Copies a file, or a folder with all that is in it.
fn copy(from: &Path, to: &Path) -> Result<()> {
    if from.is_dir() {
        for entry in fs::read_dir(from).with_context(|| format!("reading {}", from.display()))? {
            let name = entry?.file_name();
            copy(&from.join(&name), &to.join(&name))?;
        }
        return Ok(());
    }
    let folder = to.parent().context("a copied file needs a folder")?;
    fs::create_dir_all(folder)?;
    fs::copy(from, to).with_context(|| format!("copying {} to {}", from.display(), to.display()))?;
    // The module cache holds everything read-only and not executable.
    let mode = if to.extension().is_some_and(|extension| extension == "sh") { 0o755 } else { 0o644 };
    fs::set_permissions(to, fs::Permissions::from_mode(mode))?;
    Ok(())
}

/// Removes what interrupted builds left behind; one that still runs keeps its folder.
fn remove_leftovers(cache: &Path, prefix: &str) -> Result<()> {
    for entry in fs::read_dir(cache)? {
        let entry = entry?;
        let name = entry.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.strip_prefix(prefix)) else { continue };
        if !Path::new("/proc").join(pid).exists() {
            fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}

/// FNV-1a: enough to tell versions of a file apart, and the same on every machine and Rust release.
struct Fnv1a(u64);

impl Fnv1a {
    fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    fn add(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
}
