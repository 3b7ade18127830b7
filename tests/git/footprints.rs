//! What an application is rendered from, found in real trees.

use std::collections::BTreeMap;

use lastgood::act::git::footprint::{Followed, Footprint, definitions, dry_revision, follow, follow_each};
use lastgood::engine::facts::{AppKey, Directory, Origin, Rendering, Revision, Tool};

use crate::trees::Repo;

fn notes(followed: &Followed) -> Vec<String> {
    followed.notes().map(ToString::to_string).collect()
}

/// Follows in one tree; each note must begin with what is expected of it.
#[track_caller]
fn check(files: &[(&str, &str)], rendering: &Rendering, expected: &[&str], expected_notes: &[&str]) {
    let followed = Repo::new().follow(files, rendering);
    assert_eq!(followed.listed().unwrap(), expected);
    let notes = notes(&followed);
    let fits = notes.len() == expected_notes.len()
        && notes.iter().zip(expected_notes).all(|(note, start)| note.starts_with(start));
    assert!(fits, "{notes:#?} instead of {expected_notes:#?}");
}

fn of(path: &str) -> Rendering {
    Rendering::of_path(path)
}

#[test]
fn a_folder_alone() {
    check(&[("shop/a.yaml", "")], &of("shop"), &["shop/"], &[]);
    check(&[("shop/a.yaml", "")], &of("./shop/../shop/"), &["shop/"], &[]);
    check(&[("shop/a.yaml", "")], &of(""), &["/"], &[]);
    check(&[("shop/a.yaml", "")], &of("shop/a.yaml"), &["shop/a.yaml"], &[]);
    check(&[("shop/a.yaml", "")], &of("blog"), &["blog"], &[]);
    let outside = Repo::new().follow(&[("a", "")], &of("../x"));
    assert_eq!(
        notes(&outside),
        ["`the Application` refers to `../x`, which leaves the repository: not followed"]
    );
    assert!(outside.footprint().unwrap_err().to_string().contains("empty"));
}

#[test]
fn kustomize_bases_give_the_files_that_they_refer_to() {
    check(
        &[
            ("apps/eu/kustomization.yaml", "resources: [../../base, deploy.yaml, ../missing.yaml]"),
            ("apps/eu/deploy.yaml", ""),
            ("base/kustomization.yml", "resources: [a.yaml, ../lib/]\ncomponents: [parts/x]"),
            ("base/a.yaml", ""),
            ("base/overlays/us/kustomization.yaml", "resources: [../..]"),
            ("base/parts/x/Kustomization", "kind: Component\npatches: [{path: p.yaml}]"),
            ("base/parts/x/p.yaml", ""),
            ("base/parts/y.yaml", ""),
            ("base/README.md", ""),
            ("lib/kustomization.yaml", "bases: [../base]"),
            ("lib/other.yaml", ""),
        ],
        &of("apps/eu"),
        &[
            "apps/eu/",
            "apps/missing.yaml",
            "base/a.yaml",
            "base/kustomization.yml",
            "base/parts/x/Kustomization",
            "base/parts/x/p.yaml",
            "lib/kustomization.yaml",
        ],
        &[],
    );
}

#[test]
fn everything_a_kustomization_refers_to() {
    let kustomization = r#"
        crds: [../k/crd.json]
        configurations: [../k/names.yaml]
        openapi: { path: ../k/schema.json }
        patchesStrategicMerge:
        - ../k/merge.yaml
        - |-
          kind: Deployment
          metadata: { name: ../k/no.yaml }
        patchesJson6902: [{ path: ../k/json.yaml }]
        patches: [{ path: ../k/patch.yaml }, { patch: "../k/no.yaml" }]
        replacements: [{ path: ../k/replace.yaml }, { source: {} }]
        configMapGenerator:
        - { name: a, files: [../k/f.txt, key=../k/named.txt], envs: [../k/envs] }
        - { name: b, env: ../k/env, literals: ["x=../k/no.yaml"] }
        secretGenerator: [{ files: [../k/secret.txt] }]
        generators: [../k/gen.yaml, ../gens, "kind: ConfigMapGenerator\nfiles: [../k/inline.txt]\n"]
        transformers: [../k/trans.yaml]
        validators: [../k/val.yaml]
        helmGlobals: { chartHome: ../charts }
        helmCharts:
        - { name: one, valuesFile: ../k/values.yaml, additionalValuesFiles: [../k/more.yaml] }
        - { name: two, version: 1.0.0, repo: "https://u:secret@charts.example/x?token=y" }
    "#;
    let names = [
        "crd.json",
        "env",
        "envs",
        "f.txt",
        "inline.txt",
        "json.yaml",
        "merge.yaml",
        "more.yaml",
        "named.txt",
        "names.yaml",
        "no.yaml",
        "patch.yaml",
        "replace.yaml",
        "schema.json",
        "secret.txt",
        "val.yaml",
        "values.yaml",
    ];
    let paths: Vec<String> = names.iter().map(|name| format!("k/{name}")).collect();
    let mut files: Vec<(&str, &str)> = paths.iter().map(|path| (path.as_str(), "")).collect();
    files.extend([
        ("app/kustomization.yaml", kustomization),
        ("k/gen.yaml", "kind: SecretGenerator\nfiles: [../k/of-gen.txt]\n---\nkind: HelmChartInflationGenerator\nname: three\nchartHome: ../charts"),
        ("k/of-gen.txt", ""),
        ("k/trans.yaml", "kind: PatchTransformer\npath: ../k/of-trans.yaml"),
        ("gens/kustomization.yaml", "resources: [g.yaml]"),
        ("gens/g.yaml", ""),
        ("gens/no.yaml", ""),
        ("charts/one/Chart.yaml", ""),
        ("charts/one/templates/a.yaml", ""),
        ("charts/three/values.yaml", ""),
        ("charts/no/values.yaml", ""),
    ]);
    let mut expected: Vec<String> = paths.iter().filter(|path| !path.ends_with("no.yaml")).cloned().collect();
    expected.extend(
        ["app/", "charts/one/", "charts/three/", "gens/g.yaml", "gens/kustomization.yaml", "k/gen.yaml"]
            .map(str::to_owned),
    );
    expected.extend(["k/of-gen.txt", "k/of-trans.yaml", "k/trans.yaml"].map(str::to_owned));
    expected.sort();
    let followed = Repo::new().follow(&files, &of("app"));
    assert_eq!(followed.listed().unwrap(), expected);
    assert_eq!(
        notes(&followed),
        [
            "`app/kustomization.yaml` refers to `https://u:***@charts.example/x`, which is not in this repository: not \
          followed"
        ]
    );
}

#[test]
fn kustomizations_are_written_in_many_ways() {
    for text in [
        "resources:\r\n- ../x.yaml\r\n# a comment\r\n",
        "\u{feff}resources: [../x.yaml]\n",
        "---\nresources:\n  - ../x.yaml # it\n...\n",
        "{\"resources\": [\"../x.yaml\"]}",
        "resources:\n- &x ../x.yaml\n- *x\nresources:\n- '../x.yaml'\n",
        "images:\n- name: a\n  newTag: 1.10\n  newName: ~\nnamePrefix: 08\nresources:\n- >-\n  ../x.yaml\n",
        "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\ngeneratorOptions:\n  disableNameSuffixHash: yes\nresources: [./../app/../x.yaml]",
    ] {
        check(&[("app/kustomization.yaml", text), ("x.yaml", "")], &of("app"), &["app/", "x.yaml"], &[]);
    }
}

#[test]
fn remote_bases_are_named() {
    let files = [(
        "app/kustomization.yaml",
        "resources: [https://e.com/a.yaml, 'git@host:o/r.git', github.com/o/r?ref=v1, ssh://h/r]\n\
            components: ['https://e.com/o/r//c?ref=2']",
    )];
    check(
        &files,
        &of("app"),
        &["app/"],
        &[
            "`app/kustomization.yaml` refers to `git@host:o/r.git`, which is not in",
            "`app/kustomization.yaml` refers to `github.com/o/r?ref=v1`, which is not in",
            "`app/kustomization.yaml` refers to `https://e.com/a.yaml`, which is not in",
            "`app/kustomization.yaml` refers to `https://e.com/o/r//c?ref=2`, which is not in",
            "`app/kustomization.yaml` refers to `ssh://h/r`, which is not in",
        ],
    );
}

#[test]
fn what_the_application_adds_to_kustomize() {
    let rendering = Rendering {
        components: vec!["../parts".into()],
        patches: vec!["../p.yaml".into()],
        instance: Some("shop".into()),
        ..of("app")
    };
    let files = [
        ("app/kustomization.yaml", "{}"),
        ("app/.argocd-source-shop.yaml", "kustomize: { components: [../others] }"),
        ("app/.argocd-source-blog.yaml", "kustomize: { components: [../no] }"),
        ("parts/kustomization.yaml", "{}"),
        ("others/kustomization.yaml", "resources: [o.yaml]"),
        ("others/o.yaml", ""),
        ("p.yaml", ""),
    ];
    check(&files, &rendering, &["app/", "others/kustomization.yaml", "others/o.yaml", "p.yaml"], &[]);
    check(&files[..1], &rendering, &["app/", "p.yaml", "parts"], &[]);
}

#[test]
fn helm_values_and_local_charts() {
    let rendering = Rendering {
        value_files: [
            "v.yaml",
            "../env/$ARGOCD_APP_NAME.yaml",
            "/top.yaml",
            "/env/*/b.yaml",
            "https://e.com/v.yaml",
        ]
        .map(str::to_owned)
        .to_vec(),
        file_parameters: vec!["../f.txt".into(), "../../x".into(), "${ARGOCD_APP_REVISION}.txt".into()],
        instance: Some("shop".into()),
        ..of("chart")
    };
    check(
        &[
            (
                "chart/Chart.yaml",
                "dependencies: [{ name: common, repository: file://../libs/common }, { name: x }, \
                 { name: db, repository: oci://r.example/c }, { name: mq, repository: '@q' }]",
            ),
            ("chart/requirements.yaml", "dependencies: [{ name: old, repository: 'file://../libs/old' }]"),
            ("chart/charts/mq-1.0.0.tgz", ""),
            ("libs/common/Chart.yaml", "dependencies: [{ name: deep, repository: file://../deep }]"),
            ("libs/common/templates/a.tpl", ""),
            ("libs/deep/Chart.yaml", "dependencies: [{ name: common, repository: file://../common }]"),
            ("libs/other/Chart.yaml", ""),
            ("env/shop.yaml", ""),
            ("env/a/b.yaml", ""),
            ("env/a/b/b.yaml", ""),
            ("env/c/b.yaml", ""),
            ("env/c/c.yaml", ""),
            ("top.yaml", ""),
            ("f.txt", ""),
        ],
        &rendering,
        &[
            "chart/",
            "env/a/b.yaml",
            "env/c/b.yaml",
            "env/shop.yaml",
            "f.txt",
            "libs/common/",
            "libs/deep/",
            "libs/old",
            "top.yaml",
        ],
        &[
            "`chart/Chart.yaml` refers to `db of oci://r.example/c`",
            "`the Application` refers to `https://e.com/v.yaml`",
            "`the Application` refers to `../../x`, which leaves the repository",
            "`the Application` refers to `${ARGOCD_APP_REVISION}.txt`, whose name is not known",
        ],
    );
}

#[test]
fn values_named_in_the_folder_take_the_place_of_the_applications() {
    let rendering =
        Rendering { value_files: vec!["../a.yaml".into()], instance: Some("team_shop".into()), ..of("c") };
    let files = [
        ("c/Chart.yaml", ""),
        ("c/.argocd-source.yaml", "helm: { valueFiles: [../b.yaml], fileParameters: [{ path: ../p.txt }] }"),
        ("c/.argocd-source-team_shop.yaml", "helm: { valueFiles: [../c.yaml] }"),
    ];
    check(&files, &rendering, &["c/", "c.yaml", "p.txt"], &[]);
    check(&files[..2], &rendering, &["b.yaml", "c/", "p.txt"], &[]);
    check(&files[..1], &rendering, &["a.yaml", "c/"], &[]);
    // What is null there is none.
    let nothing = [files[0], ("c/.argocd-source.yaml", "helm: { valueFiles: null }\nkustomize: null")];
    check(&nothing, &rendering, &["c/"], &[]);
    // Offline nobody knows the application's name.
    check(&files, &of("c"), &["c/", "c.yaml", "p.txt"], &[]);
}

#[test]
fn a_source_that_others_refer_to() {
    let rendering = Rendering {
        referred: vec!["env/*.yaml".into(), "/x.yaml".into(), "$ARGOCD_APP_REVISION/a".into()],
        ..Rendering::default()
    };
    check(
        &[("env/a.yaml", ""), ("env/b.yaml", ""), ("env/c.yml", ""), ("other.yaml", "")],
        &rendering,
        &["env/a.yaml", "env/b.yaml", "x.yaml"],
        &["`the Application` refers to `$ARGOCD_APP_REVISION/a`, whose name"],
    );
}

#[test]
fn plain_manifests_are_listed_one_by_one() {
    let files = [
        ("m/a.yaml", ""),
        ("m/b.yml", ""),
        ("m/c.json", ""),
        ("m/README.md", ""),
        ("m/sub/d.yaml", ""),
        ("m/sub/deep/e.yaml", ""),
        ("m/x-a.yaml", ""),
        ("other/f.yaml", ""),
    ];
    let with = |recurse: bool, include: &str, exclude: &str| Rendering {
        directory: Some(Directory {
            recurse,
            include: include.into(),
            exclude: exclude.into(),
            libraries: vec![],
        }),
        ..of("m")
    };
    check(&files, &with(false, "", ""), &["m/a.yaml", "m/b.yml", "m/c.json", "m/x-a.yaml"], &[]);
    check(&files, &with(true, "", ""), &["m/"], &[]);
    check(&files, &with(false, "{a,b}*", ""), &["m/a.yaml", "m/b.yml"], &[]);
    check(&files, &with(false, "", "x-?.yaml"), &["m/a.yaml", "m/b.yml", "m/c.json"], &[]);
    // A star stands for slashes too, and two stars for no less than one.
    check(&files, &with(true, "*/*.yaml", ""), &["m/sub/d.yaml", "m/sub/deep/e.yaml"], &[]);
    check(&files, &with(true, "sub/**/*.yaml", ""), &["m/sub/deep/e.yaml"], &[]);
    check(&files, &with(true, "*.yaml", "sub*"), &["m/a.yaml", "m/x-a.yaml"], &[]);
    // Where a pattern is not understood, all files count.
    let notes = ["`the Application` refers to `[a`, whose name is not known"];
    check(&files, &with(false, "[a", ""), &["m/a.yaml", "m/b.yml", "m/c.json", "m/x-a.yaml"], &notes);
    check(&files, &with(false, "a*", "[a"), &["m/a.yaml"], &notes);
}

#[test]
fn jsonnet_imports_are_followed() {
    let directory = Directory { libraries: vec!["lib".into(), "vendor".into()], ..Directory::default() };
    check(
        &[
            (
                "j/a.jsonnet",
                "local x = import 'x.libsonnet'; (import \"../up.libsonnet\") + importstr 'text'",
            ),
            ("j/unused.libsonnet", ""),
            ("lib/x.libsonnet", "import 'no'"),
            ("vendor/x.libsonnet", "import 'y.libsonnet'"),
            ("vendor/y.libsonnet", "import 'x.libsonnet'"),
            ("up.libsonnet", "import 'j/gone.libsonnet'"),
            ("j/text", "import 'never'"),
        ],
        &Rendering { directory: Some(directory), ..of("j") },
        &[
            "j/a.jsonnet",
            "j/gone.libsonnet",
            "j/text",
            "up.libsonnet",
            "vendor/x.libsonnet",
            "vendor/y.libsonnet",
        ],
        &[],
    );
}

#[test]
fn links_count_with_what_they_lead_to() {
    check(
        &[
            ("app", "-> real/app"),
            ("real/app/kustomization.yaml", "resources: [../../base, file.yaml]"),
            ("real/app/file.yaml", "-> ../../files/f.yaml"),
            ("base", "-> ./bases/b"),
            ("bases/b/kustomization.yaml", "-> ../../files/k.yaml"),
            ("files/k.yaml", "resources: [own.yaml]"),
            ("files/f.yaml", ""),
            ("files/own.yaml", ""),
            ("bases/b/own.yaml", ""),
        ],
        &of("app"),
        &[
            "app",
            "base",
            "bases/b/kustomization.yaml",
            "bases/b/own.yaml",
            "files/f.yaml",
            "files/k.yaml",
            "real/app/",
        ],
        &[],
    );
    // In a whole folder every link counts.
    check(
        &[
            ("c/Chart.yaml", ""),
            ("c/templates", "-> ../shared"),
            ("c/files/a", "-> /etc/passwd"),
            ("c/files/b", "-> ../../../../etc/passwd"),
            ("c/files/c", "-> c"),
            ("c/files/d", "-> ../.."),
            ("shared/t.yaml", "-> ../more/t.yaml"),
            ("more/t.yaml", ""),
        ],
        &of("c"),
        &["c/", "more/t.yaml", "shared/"],
        &[
            "`c/files/a` refers to `c/files/a`, which leaves",
            "`c/files/b` refers to `c/files/b`, which leaves",
            "`c/files/c` refers to `c/files/c`, which goes round",
            "`c/files/d` refers to `/`, which goes round",
        ],
    );
    // Plain manifests: the target of a linked file is read, a linked folder is not.
    check(
        &[("m/a.yaml", "-> ../x/real.txt"), ("m/d.yaml", "-> ../y"), ("x/real.txt", ""), ("y/z", "")],
        &Rendering::plain("m"),
        &["m/a.yaml", "m/d.yaml", "x/real.txt"],
        &[],
    );
}

#[test]
fn submodules_are_pointers() {
    check(
        &[("app/kustomization.yaml", "resources: [../mod/base]"), ("mod", "@")],
        &of("app"),
        &["app/", "mod"],
        &["`app/kustomization.yaml` refers into the submodule `mod`"],
    );
}

#[test]
fn the_annotation_adds_what_lies_elsewhere() {
    let paths = [".", "/", "..", "/common", "../x/*.txt", "../../out", "/gone"].map(str::to_owned).to_vec();
    let files = [
        ("a/app/kustomization.yaml", ""),
        ("a/x/1.txt", ""),
        ("a/x/2.md", ""),
        ("a/x/y/3.txt", ""),
        ("common/z", ""),
        ("other", ""),
    ];
    let rendering = Rendering { generate_paths: paths.clone(), ..of("a/app") };
    let beyond = Rendering { generate_paths: vec!["../../../out".into()], ..of("a/app") };
    check(
        &files,
        &rendering,
        &["a/app/", "a/x/1.txt", "common/", "gone", "out"],
        &[
            "the annotation `argocd.argoproj.io/manifest-generate-paths` names `/`",
            "the annotation `argocd.argoproj.io/manifest-generate-paths` names `a`",
        ],
    );
    check(&files, &beyond, &["a/app/"], &["`the Application` refers to `../../../out`, which leaves"]);
    // Of a plugin nothing else is known.
    let plugin = Rendering { tool: Some(Tool::Plugin), generate_paths: vec!["..".into()], ..of("a/app") };
    check(&files, &plugin, &["a/"], &["`a/app` is rendered by a plugin"]);
    let seen = Rendering { tool_seen: Some(Tool::Plugin), ..of("a/app") };
    check(&files, &seen, &["a/app/"], &["`a/app` is rendered by a plugin"]);
}

#[test]
fn two_trees_are_united() {
    let repo = Repo::new();
    let mut bad = repo.follow(
        &[
            ("app/kustomization.yaml", "resources: [../base, ../new]"),
            ("new/kustomization.yaml", "resources: [n.yaml]"),
            ("new/n.yaml", ""),
        ],
        &of("app"),
    );
    // At bad the base is gone, though something still refers to it.
    assert_eq!(bad.listed().unwrap(), ["app/", "base", "new/kustomization.yaml", "new/n.yaml"]);
    let good = repo.follow(
        &[
            ("app/kustomization.yaml", "resources: [../base]"),
            ("base/kustomization.yaml", "resources: [b.yaml, https://e.com/x.yaml]"),
            ("base/b.yaml", ""),
            ("base/others.yaml", ""),
        ],
        &of("app"),
    );
    bad.unite(good);
    assert_eq!(
        bad.listed().unwrap(),
        ["app/", "base/b.yaml", "base/kustomization.yaml", "new/kustomization.yaml", "new/n.yaml"]
    );
    assert_eq!(notes(&bad).len(), 1);
}

#[test]
fn several_sources_of_one_repository() {
    let repo = Repo::new();
    let tree = repo.tree(&[("a/x.yaml", ""), ("b/Chart.yaml", ""), ("v.yaml", "")]);
    let values = Rendering { referred: vec!["v.yaml".into()], ..Rendering::default() };
    let followed = follow(&repo.repo, tree, &[Rendering::plain("a"), of("b"), values]).unwrap();
    assert_eq!(followed.listed().unwrap(), ["a/x.yaml", "b/", "v.yaml"]);
    // Of several applications each has its own.
    let (a, b) = (Rendering { generate_paths: vec!["/v.yaml".into()], ..of("a") }, Rendering::plain("a"));
    let each = follow_each(&repo.repo, tree, &[&[a], &[b], &[]]).unwrap();
    let listed: Vec<_> = each.iter().map(Followed::listed).collect();
    assert_eq!(
        listed[..2],
        [Ok(vec!["a/".to_owned(), "v.yaml".to_owned()]), Ok(vec!["a/x.yaml".to_owned()])]
    );
    assert!(listed[2].is_err());
}

#[test]
fn names_need_not_be_utf_8() {
    let repo = Repo::new();
    let files: [(&[u8], &str); 3] = [(b"c/Chart.yaml", ""), (b"c/t", "-> ../s"), (b"s/\xff\xfe.yaml", "")];
    let followed = repo.follow(&files, &of("c"));
    assert!(followed.footprint().unwrap().contains(b"s/\xff\xfe.yaml"));
    let files: [(&[u8], &str); 1] = [(b"m/\xff.yaml", "")];
    let followed = repo.follow(&files, &Rendering::plain("m"));
    assert_eq!(followed.footprint().unwrap().roots(), [b"m/\xff.yaml".to_vec()]);
}

#[test]
fn what_cannot_be_read_is_named() {
    let broken = [("app/kustomization.yaml", "resources: [a\n  b: {"), ("app/a.yaml", "")];
    check(
        &broken,
        &of("app"),
        &["app/"],
        &["`app/kustomization.yaml` could not be read for what it refers to: "],
    );
    let odd = "resources: {a: b}\nbases: 7\npatches: [x, 1, null, {path: [y]}, {path: ../p.yaml}]\n1: !tag z\n\
               components:\ncommonLabels: { 1: true, no: off }\nimages: !!binary aGk=\n<<: {crds: [../c]}";
    check(&[("app/kustomization.yaml", odd)], &of("app"), &["app/", "c", "p.yaml"], &[]);
}

#[test]
fn the_file_that_defines_an_application_is_found() {
    let app = |name: &str| {
        format!("apiVersion: argoproj.io/v1alpha1\nkind: Application\nmetadata: {{ name: {name} }}\n")
    };
    let several = format!("# all of them\n---\n{}---\n{}", app("blog"), app("shop"));
    let set = app("shop").replace("Application", "ApplicationSet");
    let elsewhere = app("shop").replace("{ name: shop }", "{ name: shop, namespace: team }");
    let template = "kind: Application\n# argoproj.io\nmetadata:\n  name: {{ .Values.prefix }}shop\n{{- if .x }}\n{{ end }}";
    let list = format!(
        "kind: ApplicationList\nitems: [{}]",
        r#"{kind: Application, apiVersion: argoproj.io/v1, metadata: {name: shop}}"#
    );
    let repo = Repo::new();
    let tree = repo.tree(&[
        ("apps/all.yaml", several.as_str()),
        ("apps/set.yaml", set.as_str()),
        ("apps/elsewhere.yaml", elsewhere.as_str()),
        ("apps/templates/t.yaml", template),
        ("apps/list.yml", list.as_str()),
        ("apps/notes.md", several.as_str()),
        ("others/all.yaml", several.as_str()),
    ]);
    let footprint = Footprint::new(&["apps", "gone"]).unwrap();
    let find = |wanted: Origin| -> Vec<(String, Option<usize>)> {
        let (found, _) = definitions(&repo.repo, tree, &footprint, &wanted).unwrap();
        found.into_iter().map(|d| (String::from_utf8(d.file).unwrap(), d.document)).collect()
    };
    let at = |file: &str, document: Option<usize>| (file.to_owned(), document);
    assert_eq!(
        find(Origin::Application(AppKey::new("argocd", "shop"))),
        [at("apps/all.yaml", Some(1)), at("apps/list.yml", Some(0)), at("apps/templates/t.yaml", None)]
    );
    assert_eq!(find(Origin::ApplicationSet(AppKey::new("argocd", "shop"))), [at("apps/set.yaml", Some(0))]);
    assert_eq!(find(Origin::Application(AppKey::new("argocd", "web"))), []);
}

#[test]
fn a_hydrated_tree_tells_the_dry_commit() {
    let repo = Repo::new();
    let (old, new) = ("1".repeat(40), "2".repeat(40));
    let metadata =
        |sha: &str| format!(r#"{{"repoURL": "https://e.com/dry", "drySha": "{sha}", "subject": "x"}}"#);
    let (old_file, new_file) = (metadata(&old), metadata(&new));
    let tree = repo.tree(&[
        ("hydrator.metadata", new_file.as_str()),
        ("shop/hydrator.metadata", old_file.as_str()),
        ("shop/manifest.yaml", ""),
        ("odd/hydrator.metadata", "{\"drySha\": \"HEAD\"}"),
        ("broken/hydrator.metadata", "{"),
    ]);
    let check = |path: &str, expected: Option<&str>| {
        let found = dry_revision(&repo.repo, tree, path.as_bytes()).unwrap();
        assert_eq!(found.as_ref().map(Revision::as_str), expected, "{path}");
    };
    check("shop", Some(&old));
    check("", Some(&new));
    // Of a folder without one only the whole branch's is known.
    check("other", Some(&new));
    check("odd", None);
    check("broken", None);
}

/// Whoever can push decides what these files hold.
#[test]
fn hostile_files_end_in_notes() {
    let bomb = "a: &a [x, x, x, x, x, x, x, x, x, x]\nb: &b [*a, *a, *a, *a, *a, *a, *a, *a, *a, *a]\n\
                c: &c [*b, *b, *b, *b, *b, *b, *b, *b, *b, *b]\nd: &d [*c, *c, *c, *c, *c, *c, *c, *c, *c, *c]\n\
                e: &e [*d, *d, *d, *d, *d, *d, *d, *d, *d, *d]\nresources: [*e, *e, *e, *e, *e, *e, *e, *e, *e, *e]";
    let deep = format!("resources: {}", "[".repeat(100_000));
    let large = format!("resources: [{}]", "a, ".repeat(400_000));
    for content in [bomb, &deep, &large] {
        check(
            &[("app/kustomization.yaml", content)],
            &of("app"),
            &["app/"],
            &["`app/kustomization.yaml` could not be read"],
        );
    }
    let many: Vec<String> = (0..80_000).map(|i| format!("../{i}")).collect();
    let many = format!("resources: [{}]", many.join(", "));
    let followed = Repo::new().follow(&[("app/kustomization.yaml", &many)], &of("app"));
    assert_eq!(
        followed.footprint().unwrap().roots().len(),
        9_999,
        "the folder and 9,999 files, one of them in the folder"
    );
    assert_eq!(notes(&followed).len(), 2, "{:#?}", notes(&followed));
    // A hundred thousand folders that all refer to each other.
    let all = "resources: [../a, ../b, ../c, ../d]";
    let files = ["a", "b", "c", "d"].map(|name| (format!("{name}/kustomization.yaml"), all));
    assert_eq!(Repo::new().follow(&files, &of("a")).listed().unwrap().len(), 4);
}

mod garbage {
    use std::time::{Duration, Instant};

    use proptest::prelude::*;
    use proptest::test_runner::TestRunner;

    use super::*;

    /// Text that looks like what is read, in no order.
    fn text() -> impl Strategy<Value = String> {
        let words = prop::sample::select(vec![
            "resources",
            "bases",
            "components",
            "patches",
            "path",
            "dependencies",
            "repository",
            "helm",
            "valueFiles",
            "kustomize",
            "directory",
            "recurse",
            "include",
            "generators",
            "helmCharts",
            "name",
            ":",
            ": ",
            "- ",
            "\n",
            "\n  ",
            "[",
            "]",
            "{",
            "}",
            "'",
            "\"",
            "|",
            ">",
            "&a ",
            "*a",
            "<<",
            "!!binary ",
            "---\n",
            "..",
            "/",
            "../",
            "*",
            "**/",
            "?",
            "$",
            "${",
            "a",
            "b",
            "c",
            "file://",
            "https://",
            "import '",
            "git@h:",
            "\t",
            "\u{0}",
            "é",
            "#",
            "%",
            "@",
            "=",
        ]);
        prop::collection::vec(words, 0..40).prop_map(|words| words.concat())
    }

    fn path() -> impl Strategy<Value = String> {
        let names = prop::sample::select(vec![
            "a/kustomization.yaml",
            "b/kustomization.yml",
            "a/b/Kustomization",
            "a/Chart.yaml",
            "b/Chart.yaml",
            "c/requirements.yaml",
            "a/.argocd-source.yaml",
            "b/.argocd-source-shop.yaml",
            "a/x.jsonnet",
            "b/x.libsonnet",
            "a/v.yaml",
            "c",
            "d",
            "b/l",
            "a/l",
        ]);
        names.prop_map(str::to_owned)
    }

    fn content() -> impl Strategy<Value = String> {
        let target = prop::sample::select(vec![
            "a",
            "..",
            "../a",
            "../../..",
            ".",
            "l",
            "../b/l",
            "/",
            "c",
            "x.jsonnet",
        ]);
        prop_oneof![
            4 => text(),
            1 => target.prop_map(|target| format!("-> {target}")),
            1 => Just("@".to_owned()),
        ]
    }

    fn rendering() -> impl Strategy<Value = Rendering> {
        let tool = prop::sample::select(vec![
            None,
            Some(Tool::Directory),
            Some(Tool::Kustomize),
            Some(Tool::Helm),
            Some(Tool::Plugin),
        ]);
        let place = prop::sample::select(vec!["a", "b", "c", "", "..", "a/../b", "a/l"]);
        (tool, place, text(), text(), any::<bool>()).prop_map(|(tool, path, one, other, flag)| Rendering {
            instance: flag.then(|| "shop".to_owned()),
            tool,
            value_files: vec![one.clone(), other.clone()],
            components: vec![one.clone()],
            generate_paths: vec![other.clone()],
            referred: vec![one.clone()],
            directory: flag.then(|| Directory {
                recurse: true,
                include: one,
                exclude: other,
                libraries: vec!["b".into()],
            }),
            ..Rendering::of_path(path)
        })
    }

    /// Whatever the files hold, it ends soon and says the same again.
    #[test]
    fn never_stops_the_search() {
        let repo = Repo::new();
        let config = ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() };
        let given = (prop::collection::btree_map(path(), content(), 0..10), rendering());
        let ended =
            TestRunner::new(config).run(&given, |(files, rendering)| check(&repo, &files, &rendering));
        ended.unwrap();
    }

    fn check(
        repo: &Repo,
        files: &BTreeMap<String, String>,
        rendering: &Rendering,
    ) -> Result<(), TestCaseError> {
        let mut kept: Vec<(&str, &str)> = Vec::new();
        for (path, content) in files {
            // A file and a folder cannot have the same name.
            if !kept.iter().any(|(other, _)| path.starts_with(&format!("{other}/"))) {
                kept.push((path, content));
            }
        }
        let started = Instant::now();
        let tree = repo.tree(&kept);
        let first = follow(&repo.repo, tree, std::slice::from_ref(rendering)).unwrap();
        let second = follow(&repo.repo, tree, std::slice::from_ref(rendering)).unwrap();
        prop_assert!(started.elapsed() < Duration::from_secs(5));
        prop_assert_eq!(&first, &second);
        let mut both = first.clone();
        both.unite(second);
        prop_assert_eq!(&both, &first);
        if let Ok(footprint) = first.footprint() {
            let leaves = |root: &Vec<u8>| root.split(|b| *b == b'/').any(|part| part == b"..");
            prop_assert!(!footprint.roots().iter().any(leaves));
        }
        Ok(())
    }
}
