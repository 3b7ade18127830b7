//! Footprints against the real Kustomize and Helm: from the footprint alone they render what they render from the whole
//! repository, and without any file of it they do not.
//!
//! `cargo xtask test --rendered` builds both first.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test may fail"
)]

#[allow(dead_code, reason = "the cluster's tests use the rest")]
#[path = "cluster/rundir.rs"]
mod rundir;
#[path = "support/trees.rs"]
mod trees;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use lastgood::act::git::Footprint;
use lastgood::engine::facts::Rendering;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use rundir::Parts;
use trees::Repo;

type Files = BTreeMap<String, String>;

/// The folder of the application.
const APP: &str = "apps/main";

/// Histories of random repositories; each runs a program four times.
const CASES: u32 = 32;

fn program(name: &str) -> PathBuf {
    Parts::from_env().and_then(|parts| parts.program(name, name)).unwrap()
}

/// Writes files into a folder; a content `-> target` is a link.
fn write<'a>(dir: &Path, files: impl Iterator<Item = (&'a String, &'a String)>) {
    for (path, content) in files {
        let path = dir.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        match content.strip_prefix("-> ") {
            Some(target) => std::os::unix::fs::symlink(target, path).unwrap(),
            None => fs::write(path, content).unwrap(),
        }
    }
}

/// What a program makes of files: none when it fails.
fn rendered<'a>(
    files: impl Iterator<Item = (&'a String, &'a String)>,
    run: &dyn Fn(&Path) -> Option<String>,
) -> Option<String> {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), files);
    run(dir.path())
}

fn output(command: &mut Command) -> Option<String> {
    let output = command.env("HOME", "/nowhere").output().unwrap();
    if !output.status.success() {
        eprintln!("{}", String::from_utf8_lossy(&output.stderr));
    }
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

fn kustomize(dir: &Path) -> Option<String> {
    let args = ["build", "--load-restrictor", "LoadRestrictionsNone", APP];
    output(Command::new(program("kustomize")).args(args).current_dir(dir))
}

/// The whole renders, the footprint renders the same, and each file of it outside of the application counts.
#[track_caller]
fn check(
    files: &Files,
    rendering: &Rendering,
    run: &dyn Fn(&Path) -> Option<String>,
    without: Option<usize>,
) {
    let list: Vec<(&str, &str)> =
        files.iter().map(|(path, content)| (path.as_str(), content.as_str())).collect();
    let followed = Repo::new().follow(&list, rendering);
    let footprint: Footprint = followed.footprint().unwrap();
    let is_in = |path: &str| footprint.contains(path.as_bytes());
    let whole = rendered(files.iter(), run);
    assert!(whole.is_some(), "it renders: {files:#?}");
    let part = rendered(files.iter().filter(|(path, _)| is_in(path)), run);
    let roots: Vec<_> = footprint.roots().iter().map(|root| String::from_utf8_lossy(root)).collect();
    assert_eq!(part, whole, "{files:#?} within {roots:?}");
    let outside: Vec<&String> = files.keys().filter(|path| is_in(path) && !path.starts_with(APP)).collect();
    let Some(less) = without.filter(|_| !outside.is_empty()).map(|at| outside[at % outside.len()]) else {
        return;
    };
    let missing = rendered(files.iter().filter(|(path, _)| is_in(path) && *path != less), run);
    assert_ne!(missing, whole, "{less} counts for nothing in {files:#?}");
}

/// One folder that Kustomize builds.
#[derive(Clone, Debug)]
struct Base {
    /// Which folder refers to it, of those before it.
    parent: usize,
    /// How: as a component, as a base, through a link, as an old base.
    how: u8,
    /// What it holds, one bit each.
    holds: u8,
    /// The name of its file.
    name: usize,
}

fn bases() -> impl Strategy<Value = Vec<Base>> {
    let base = (any::<usize>(), 0..4_u8, any::<u8>(), 0..3_usize);
    let base = base.prop_map(|(parent, how, holds, name)| Base { parent, how, holds, name });
    prop::collection::vec(base, 1..6)
}

/// A repository in which the first folder is the application's and each other one is referred to once.
fn repository(bases: &[Base]) -> Files {
    let folder = |at: usize| if at == 0 { APP.to_owned() } else { format!("bases/b{at}") };
    let mut files = Files::new();
    let mut texts: Vec<String> = vec![String::new(); bases.len()];
    let mut lists: Vec<BTreeMap<&str, Vec<String>>> = vec![BTreeMap::new(); bases.len()];
    for (at, base) in bases.iter().enumerate() {
        let here = folder(at);
        let manifest = format!(
            "kind: ConfigMap\napiVersion: v1\nmetadata: {{ name: own-{at} }}\ndata: {{ a: '{at}' }}\n"
        );
        files.insert(format!("{here}/own.yaml"), manifest);
        files.insert(format!("{here}/unused.yaml"), "nothing".into());
        files.insert(format!("{here}/overlays/x/kustomization.yaml"), "resources: [../..]".into());
        lists[at].entry("resources").or_default().push("own.yaml".into());
        if base.holds & 1 > 0 {
            files.insert(format!("shared/t{at}.txt"), format!("text {at}"));
            files.insert(format!("{here}/t.env"), format!("A={at}"));
            texts[at] += &format!(
                "configMapGenerator: [{{ name: gen-{at}, files: [k=../../shared/t{at}.txt], envs: [t.env] }}]\n"
            );
        }
        if base.holds & 2 > 0 {
            let patch = format!(
                "kind: ConfigMap\napiVersion: v1\nmetadata: {{ name: own-{at} }}\ndata: {{ b: '{at}' }}\n"
            );
            files.insert(format!("shared/p{at}.yaml"), patch);
            texts[at] += &format!("patches: [{{ path: ../../shared/p{at}.yaml }}]\n");
        }
        if base.holds & 4 > 0 {
            let generator = format!(
                "kind: ConfigMapGenerator\napiVersion: builtin\nmetadata: {{ name: made-{at} }}\nfiles: [../../shared/g{at}.txt]\n"
            );
            files.insert(format!("{here}/generator.yaml"), generator);
            files.insert(format!("shared/g{at}.txt"), format!("made {at}"));
            lists[at].entry("generators").or_default().push("generator.yaml".into());
        }
        if base.holds & 8 > 0 {
            let manifest = format!("kind: Secret\napiVersion: v1\nmetadata: {{ name: far-{at} }}\n");
            files.insert(format!("shared/real/s{at}.yaml"), manifest);
            files.insert(format!("shared/s{at}.yaml"), format!("-> real/s{at}.yaml"));
            lists[at].entry("resources").or_default().push(format!("../../shared/s{at}.yaml"));
        }
        if base.holds & 16 > 0 {
            files.insert(format!("shared/r{at}.yaml"), format!(
                "- source: {{ kind: ConfigMap, name: own-{at}, fieldPath: data.a }}\n  targets: [{{ select: {{ kind: ConfigMap, name: own-{at} }}, \
                 fieldPaths: [data.c], options: {{ create: true }} }}]\n"
            ));
            texts[at] += &format!("replacements: [{{ path: ../../shared/r{at}.yaml }}]\n");
        }
        if at == 0 {
            continue;
        }
        let parent = base.parent % at;
        let list = lists.get_mut(parent).unwrap();
        match base.how {
            0 => {
                texts[at] += "kind: Component\napiVersion: kustomize.config.k8s.io/v1alpha1\n";
                list.entry("components").or_default().push(format!("../../bases/b{at}"));
            }
            1 => list.entry("resources").or_default().push(format!("../../bases/b{at}/")),
            2 => {
                files.insert(format!("links/l{at}"), format!("-> ../bases/b{at}"));
                list.entry("resources").or_default().push(format!("../../links/l{at}"));
            }
            _ => list.entry("bases").or_default().push(format!("../../bases/x/../b{at}")),
        }
    }
    for (at, base) in bases.iter().enumerate() {
        let name = ["kustomization.yaml", "kustomization.yml", "Kustomization"][base.name];
        let lists = lists[at].iter().map(|(field, list)| format!("{field}: [{}]\n", list.join(", ")));
        files.insert(format!("{}/{name}", folder(at)), lists.collect::<Vec<_>>().concat() + &texts[at]);
    }
    files
}

#[test]
fn kustomize_builds_the_same_from_the_footprint() {
    let config = ProptestConfig {
        cases: CASES,
        failure_persistence: None,
        max_shrink_iters: 50,
        ..ProptestConfig::default()
    };
    let ended = TestRunner::new(config).run(&(bases(), any::<usize>()), |(bases, without)| {
        check(&repository(&bases), &Rendering::of_path(APP), &kustomize, Some(without));
        Ok(())
    });
    ended.unwrap();
}

fn files(list: &[(&str, &str)]) -> Files {
    list.iter().map(|(path, content)| ((*path).to_owned(), (*content).to_owned())).collect()
}

/// Every file of a chart that lies elsewhere, and values from everywhere.
#[test]
fn helm_renders_the_same_from_the_footprint() {
    let show = "kind: ConfigMap\napiVersion: v1\nmetadata: { name: {{ .Chart.Name }} }\ndata: {{ .Values | toYaml | nindent 2 }}\n";
    let files = files(&[
        (
            "apps/main/Chart.yaml",
            "apiVersion: v2\nname: main\nversion: 0.1.0\ndependencies: [{ name: common, version: 0.1.0, repository: 'file://../../libs/common' }]",
        ),
        ("apps/main/templates/show.yaml", show),
        ("apps/main/values.yaml", "a: own"),
        ("libs/common/Chart.yaml", "apiVersion: v2\nname: common\nversion: 0.1.0"),
        ("libs/common/templates/linked.yaml", "-> ../../../shared/linked.yaml"),
        ("libs/other/Chart.yaml", "apiVersion: v2\nname: other\nversion: 0.1.0"),
        ("shared/linked.yaml", show),
        ("env/prod.yaml", "b: prod"),
        ("env/test.yaml", "b: test"),
        ("top.yaml", "c: top"),
        ("text.txt", "some text"),
    ]);
    let rendering = Rendering {
        value_files: vec!["../../env/prod.yaml".into(), "/top.yaml".into()],
        file_parameters: vec!["../../text.txt".into()],
        ..Rendering::of_path(APP)
    };
    let helm = |dir: &Path| {
        let app = dir.join(APP);
        let helm = |args: &[&str]| output(Command::new(program("helm")).args(args).current_dir(&app));
        helm(&["dependency", "build", "--skip-refresh"])?;
        helm(&[
            "template",
            "x",
            ".",
            "-f",
            "../../env/prod.yaml",
            "-f",
            "../../top.yaml",
            "--set-file",
            "d=../../text.txt",
        ])
    };
    for without in 0..6 {
        check(&files, &rendering, &helm, Some(without).filter(|at| *at > 0).map(|at| at - 1));
    }
}
