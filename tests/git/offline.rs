//! `lastgood revert`: what a person gets from a repository alone.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::git_http::{GitServer, PASSWORD, USER};
use super::git_repo::{World, git, run};
use super::{Story, TEN_LINES};

/// What the command said.
struct Answer {
    code: i32,
    json: Value,
    errors: String,
}

impl Answer {
    fn list(&self, key: &str) -> Vec<&str> {
        self.json[key].as_array().unwrap().iter().map(|v| v.as_str().unwrap()).collect()
    }

    #[track_caller]
    fn is(&self, outcome: &str) -> &Self {
        let code = match outcome {
            "revert" | "nothing" => 0,
            "conflict" => 2,
            "refused" => 3,
            other => panic!("no outcome `{other}`"),
        };
        assert_eq!((self.json["outcome"].as_str(), self.code), (Some(outcome), code), "{}", self.json);
        self
    }

    #[track_caller]
    fn because(&self, part: &str) {
        let reason = self.json["reason"].as_str().unwrap_or_default();
        assert!(reason.contains(part), "`{reason}` does not say `{part}`");
    }
}

fn lastgood(args: &[&str]) -> Answer {
    lastgood_in(&[], args)
}

fn lastgood_in(environment: &[(&str, &str)], args: &[&str]) -> Answer {
    let output = Command::new(env!("CARGO_BIN_EXE_lastgood"))
        .args(["revert", "--output", "json"])
        .args(args)
        .env_remove("LASTGOOD_GIT_PASSWORD")
        .envs(environment.iter().copied())
        .output()
        .unwrap();
    Answer {
        code: output.status.code().unwrap(),
        json: serde_json::from_slice(&output.stdout).unwrap_or_default(),
        errors: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// Asks for `apps/shop` on `main`, read where the repository lies.
fn ask(repo: &Path, bad: &str, more: &[&str]) -> Answer {
    let repo = repo.to_str().unwrap();
    let args = ["--repo", repo, "--branch", "main", "--application-path", "apps/shop", "--bad", bad];
    lastgood(&[&args, more].concat())
}

/// The repository's references, which a plan must leave as they are.
fn refs(repo: &Path) -> String {
    git(repo, &["for-each-ref"])
}

fn tree_of(world: &World, revision: &str) -> String {
    git(&world.bare, &["rev-parse", &format!("{revision}^{{tree}}")])
}

#[test]
fn a_plan_is_told_whole_and_changes_nothing() {
    let story = Story::new();
    let later =
        story.world.change("apps/shop/a.yaml", TEN_LINES.replace("3\n", "three\n").replace("9\n", "nine\n"));
    let before = refs(&story.world.bare);
    let answer = ask(&story.world.bare, &story.bad, &["--other-path", "apps/other", "--other-path", "apps"]);
    answer.is("revert");
    assert_eq!(refs(&story.world.bare), before);
    assert_eq!(answer.json["tip"], later.as_str());
    assert_eq!(answer.json["good"], story.good.as_str());
    assert_eq!(answer.list("files"), ["apps/shop/a.yaml"]);
    assert_eq!(answer.list("culprits"), [story.bad.as_str()]);
    assert_eq!(answer.list("footprint"), ["apps/shop/"]);
    assert_eq!(answer.list("touched"), ["apps"]);
    assert_eq!(answer.json["newer"][0]["id"], later.as_str());
    assert_eq!(
        answer.json["diffstat"][0],
        serde_json::json!({"file": "apps/shop/a.yaml", "added": 1, "removed": 1})
    );
    let tree = answer.json["tree"].as_str().unwrap();
    let stat = git(&story.world.bare, &["diff-tree", "-r", "--numstat", &later, tree]);
    assert_eq!(stat, "1\t1\tapps/shop/a.yaml");
    // The same as git's own revert.
    git(&story.world.work, &["revert", "--no-edit", &story.bad]);
    assert_eq!(tree, git(&story.world.work, &["rev-parse", "HEAD^{tree}"]));
}

#[test]
fn a_url_is_fetched_and_pushed_to_and_the_commit_signed() {
    let story = Story::new();
    let world = &story.world;
    let server = GitServer::start(world.dir.path());
    let url = server.url("repo.git");
    let (cache, key) = (world.dir.path().join("copies"), world.dir.path().join("key"));
    let path = |path: &Path| path.to_str().unwrap().to_owned();
    let made = Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "open sesame", "-f", &path(&key)])
        .status()
        .unwrap();
    assert!(made.success());
    let (cache, key_file) = (path(&cache), path(&key));
    let base = ["--repo", &url, "--branch", "main", "--application-path", "apps/shop", "--bad", "main"];
    let push = [&base[..], &["--cache", &cache, "--signing-key", &key_file, "--push"]].concat();
    let known = [("LASTGOOD_GIT_USERNAME", USER), ("LASTGOOD_GIT_PASSWORD", PASSWORD)];
    let locked = lastgood_in(&known, &push);
    assert!(locked.code == 1 && world.tip() == story.bad, "{}", locked.errors);
    let unlocked = [&known[..], &[("LASTGOOD_SIGNING_PASSPHRASE", "open sesame")]].concat();
    let stranger = [("LASTGOOD_GIT_PASSWORD", "wrong"), unlocked[2]];
    let refused = lastgood_in(&stranger, &push);
    assert!(refused.code == 1 && !refused.errors.contains("wrong"), "{}", refused.errors);
    let answer = lastgood_in(&unlocked, &push);
    assert_eq!(answer.is("revert").json["pushed"], world.tip().as_str());
    assert_eq!(tree_of(world, "main"), answer.json["tree"].as_str().unwrap());
    assert_eq!(std::fs::read_dir(&cache).unwrap().count(), 1, "the copy is kept");
    let public = std::fs::read_to_string(key.with_extension("pub")).unwrap();
    let allowed = world.dir.path().join("allowed");
    std::fs::write(&allowed, format!("lastgood@localhost {public}")).unwrap();
    let trusted = format!("gpg.ssh.allowedSignersFile={}", allowed.display());
    git(&world.bare, &["-c", "gpg.format=ssh", "-c", &trusted, "verify-commit", "main"]);
    // Without a folder for it the copy is gone afterwards; what is done is found.
    lastgood_in(&known, &[&base[..7], &[story.bad.as_str()]].concat()).is("nothing");
}

#[test]
fn a_repository_that_may_only_be_read_is_planned_for_in_memory() {
    let story = Story::new();
    let bare = &story.world.bare;
    git(bare, &["repack", "-a", "-d", "-q"]);
    // Also root cannot make a folder where a file is.
    let objects = bare.join("objects");
    for first in 0..=255 {
        std::fs::write(objects.join(format!("{first:02x}")), "").unwrap();
    }
    let answer = ask(bare, &story.bad, &[]);
    assert_eq!(answer.is("revert").list("files"), ["apps/shop/a.yaml"]);
    let pushed = ask(bare, &story.bad, &["--push"]);
    assert_eq!((pushed.code, story.world.tip()), (1, story.bad.clone()), "{}", pushed.errors);
}

#[test]
fn a_push_puts_the_plan_on_the_branch_and_is_not_made_twice() {
    let story = Story::new();
    for url in [story.world.bare.to_str().unwrap().to_owned(), story.world.file_url()] {
        story.world.push();
        let args = [
            "--repo",
            &url,
            "--branch",
            "main",
            "--application-path",
            "apps/shop",
            "--bad",
            "main",
            "--push",
        ];
        let answer = lastgood(&args);
        answer.is("revert");
        assert_eq!(answer.json["pushed"], story.world.tip().as_str());
        assert_eq!(tree_of(&story.world, "main"), answer.json["tree"].as_str().unwrap());
        assert_eq!(git(&story.world.bare, &["rev-parse", "main^"]), story.bad);
        let again = ask(&story.world.bare, &story.bad, &["--push"]);
        again.is("nothing");
        assert_eq!(again.json["tree"].as_str().unwrap(), tree_of(&story.world, "main"));
    }
    // A person may take back what a rollback did, which the daemon never does.
    let revert = story.world.tip();
    ask(&story.world.bare, &revert, &["--push"]).is("revert");
    assert_eq!(tree_of(&story.world, "main"), tree_of(&story.world, &story.bad));
}

#[test]
fn a_wish_that_makes_no_sense_is_an_error_that_says_why() {
    let story = Story::new();
    let bare = story.world.bare.to_str().unwrap();
    let args = |repo, branch, path, bad| {
        lastgood(&["--repo", repo, "--branch", branch, "--application-path", path, "--bad", bad])
    };
    for (answer, part) in [
        (args(bare, "mian", "apps/shop", "main"), "it has no branch `mian`"),
        (args(bare, "main", "apps/shp", &story.bad), "no `apps/shp`"),
        (args(bare, "main", "../apps", &story.bad), "leaves the repository"),
        (args(bare, "main", "apps/shop", "nonsense"), "`nonsense` names no commit"),
        (args("/no/such/repo.git", "main", "apps/shop", "main"), "no such folder"),
        (lastgood(&["--repo", bare]), "required"),
    ] {
        assert_eq!(answer.code, 1, "{}", answer.errors);
        assert!(answer.errors.contains(part), "`{}` does not say `{part}`", answer.errors);
    }
}

#[test]
fn conflicts_hold_or_are_given_up_as_asked() {
    let story = Story::new();
    story.world.write("apps/shop/b.yaml", "b, and more\n");
    let tip = story.world.change("apps/shop/a.yaml", TEN_LINES.replace("3\n", "drei\n"));
    let answer = ask(&story.world.bare, &story.bad, &[]);
    answer.is("conflict").because("apps/shop/a.yaml");
    assert_eq!(answer.list("conflicts"), ["apps/shop/a.yaml"]);
    assert_eq!(answer.list("culprits"), [story.bad.as_str()]);
    assert_eq!(answer.json["tree"], Value::Null);
    let answer = ask(&story.world.bare, &story.bad, &["--on-conflict", "restore"]);
    answer.is("revert");
    assert_eq!(answer.list("restored"), ["apps/shop/a.yaml"]);
    assert_eq!(answer.list("files"), ["apps/shop/a.yaml", "apps/shop/b.yaml"]);
    let tree = answer.json["tree"].as_str().unwrap();
    let at = |revision: &str| git(&story.world.bare, &["rev-parse", &format!("{revision}:apps/shop")]);
    assert_eq!(at(tree), at(&story.good));
    assert_eq!(git(&story.world.bare, &["diff", "--name-only", &tip, tree, "--", ":!apps/shop"]), "");
}

#[test]
fn without_good_the_newest_commit_with_other_content_is_gone_back_to() {
    let story = Story::new();
    let world = &story.world;
    let elsewhere = world.change("apps/other/a.yaml", "x");
    // A commit that left the application alone goes back past itself.
    assert_eq!(ask(&world.bare, &elsewhere, &[]).json["good"], story.good.as_str());
    // A merge goes back to what the branch had, not to the middle of what came in.
    git(&world.work, &["checkout", "-q", "-b", "topic"]);
    world.write("apps/shop/c.yaml", "half\n");
    git(&world.work, &["add", "-A"]);
    git(&world.work, &["commit", "-q", "-m", "half"]);
    let half = world.head();
    world.write("apps/shop/c.yaml", "whole\n");
    git(&world.work, &["commit", "-q", "-a", "-m", "whole"]);
    let whole = world.head();
    git(&world.work, &["checkout", "-q", "main"]);
    git(&world.work, &["merge", "-q", "--no-ff", "--no-edit", "topic"]);
    let merge = world.push();
    let answer = ask(&world.bare, &merge, &[]);
    assert_eq!(answer.is("revert").json["good"], elsewhere.as_str());
    let mut culprits = answer.list("culprits");
    culprits.sort_unstable();
    let mut expected = [merge.as_str(), whole.as_str(), half.as_str()];
    expected.sort_unstable();
    assert_eq!(culprits, expected);
    git(&world.work, &["revert", "--no-edit", "-m", "1", &merge]);
    assert_eq!(answer.json["tree"], git(&world.work, &["rev-parse", "HEAD^{tree}"]).as_str());
    // One commit that came in by the merge is undone alone.
    let answer = ask(&world.bare, &whole, &[]);
    assert_eq!(answer.is("revert").json["good"], half.as_str());
    git(&world.work, &["reset", "-q", "--hard", &merge]);
    git(&world.work, &["revert", "--no-edit", &whole]);
    assert_eq!(answer.json["tree"], git(&world.work, &["rev-parse", "HEAD^{tree}"]).as_str());
}

#[test]
fn an_octopus_is_undone_as_one_change() {
    let story = Story::new();
    let world = &story.world;
    for branch in ["one", "two", "three"] {
        git(&world.work, &["checkout", "-q", "-b", branch, "main"]);
        world.write(&format!("apps/shop/{branch}.yaml"), branch);
        world.write(&format!("apps/other/{branch}.yaml"), branch);
        git(&world.work, &["add", "-A"]);
        git(&world.work, &["commit", "-q", "-m", branch]);
    }
    git(&world.work, &["checkout", "-q", "main"]);
    git(&world.work, &["merge", "-q", "--no-ff", "--no-edit", "one", "two", "three"]);
    let merge = world.push();
    assert_eq!(
        git(&world.work, &["rev-list", "--parents", "-1", &merge]).split(' ').count(),
        5,
        "no octopus"
    );
    let answer = ask(&world.bare, &merge, &[]);
    answer.is("revert");
    assert_eq!(answer.list("files"), ["apps/shop/one.yaml", "apps/shop/three.yaml", "apps/shop/two.yaml"]);
    assert_eq!(answer.json["good"], story.bad.as_str());
}

#[test]
fn a_file_that_moved_since_is_followed_and_a_folder_that_left_is_not_recreated() {
    let story = Story::new();
    let world = &story.world;
    git(&world.work, &["mv", "apps/shop/a.yaml", "apps/shop/moved.yaml"]);
    world.commit("move");
    let answer = ask(&world.bare, &story.bad, &[]);
    assert_eq!(answer.is("revert").list("files"), ["apps/shop/moved.yaml"]);
    git(&world.work, &["revert", "--no-edit", &story.bad]);
    assert_eq!(answer.json["tree"], git(&world.work, &["rev-parse", "HEAD^{tree}"]).as_str());
    git(&world.work, &["reset", "-q", "--hard", "HEAD~"]);
    git(&world.work, &["mv", "apps/shop", "apps/store"]);
    world.commit("move all");
    ask(&world.bare, &story.bad, &[]).is("refused").because("moved or removed");
}

#[test]
fn gitattributes_are_heeded_as_git_does() {
    let story = Story::new();
    let world = &story.world;
    world.write("apps/shop/.gitattributes", "list merge=union\nlock merge=ours\nblob -merge\n");
    for file in ["list", "lock", "blob"] {
        world.write(&format!("apps/shop/{file}"), TEN_LINES);
    }
    world.commit("attributes");
    let change = |file: &str, line: &str| {
        let text = std::fs::read_to_string(world.work.join("apps/shop").join(file)).unwrap();
        world.change(&format!("apps/shop/{file}"), text.replace(&format!("{line}\n"), &format!("{line}!\n")))
    };
    let bad = change("list", "3");
    world.change("apps/shop/list", TEN_LINES.replace("3\n", "3!\nnext\n"));
    let answer = ask(&world.bare, &bad, &[]);
    git(&world.work, &["revert", "--no-edit", &bad]);
    assert_eq!(answer.is("revert").json["tree"], git(&world.work, &["rev-parse", "HEAD^{tree}"]).as_str());
    git(&world.work, &["reset", "-q", "--hard", "HEAD~"]);
    for file in ["lock", "blob"] {
        let bad = change(file, "3");
        change(file, "9");
        // Lines would merge; what says how is a program that is not here, or says not at all.
        let answer = ask(&world.bare, &bad, &[]);
        assert_eq!(answer.is("conflict").list("conflicts"), [format!("apps/shop/{file}")]);
    }
    // Nor where the file has moved since, which Git follows.
    world.write("apps/shop/sub/.gitattributes", "lock merge=ours\n");
    world.write("apps/shop/more", TEN_LINES.replace('1', "one"));
    world.commit("another");
    let bad = world.change("apps/shop/more", TEN_LINES.replace('1', "one").replace("3\n", "3!\n"));
    git(&world.work, &["mv", "apps/shop/more", "apps/shop/sub/lock"]);
    world.change(
        "apps/shop/sub/lock",
        TEN_LINES.replace('1', "one").replace("3\n", "3!\n").replace("9\n", "9!\n"),
    );
    assert_eq!(ask(&world.bare, &bad, &[]).is("conflict").list("conflicts"), ["apps/shop/sub/lock"]);
}

#[test]
fn what_must_stay_is_refused_and_named() {
    let story = Story::new();
    let world = &story.world;
    let documents = |crd: &str, app: &str| {
        format!(
            "# comment\nkind: Deployment\nmetadata: {{name: web}}\nspec: {app}\n---\napiVersion: apiextensions.k8s.io/v1\n\
             kind: CustomResourceDefinition\nmetadata:\n  name: shops.example.org\nspec: {crd}\n"
        )
    };
    world.change("apps/shop/all.yaml", documents("1", "1"));
    let app = world.change("apps/shop/all.yaml", documents("1", "2"));
    ask(&world.bare, &app, &[]).is("revert");
    let crd = world.change("apps/shop/all.yaml", documents("2", "2"));
    let answer = ask(&world.bare, &crd, &[]);
    answer.is("refused").because("CustomResourceDefinition (`shops.example.org`)");
    answer.because("apps/shop/all.yaml");
    ask(&world.bare, &crd, &["--never-kinds", ""]).is("revert");
    ask(&world.bare, &app, &["--never-kinds", "apps/Deployment,Deployment"])
        .is("refused")
        .because("Deployment");
    ask(&world.bare, &story.bad, &["--never-path", "apps/*/a.yaml"]).is("refused").because("`apps/*/a.yaml`");
    world.write("apps/shop/b.yaml", "kept\n");
    let kept = world.commit("migrate\n\nReviewed-by: Ann\nLastgood: skip");
    ask(&world.bare, &kept, &[]).is("refused").because("Lastgood: skip");
    let after = world.change("apps/shop/c.yaml", "c\n");
    ask(&world.bare, &after, &[]).is("revert");
    // Only what it covers: another file of the same range can go.
    ask(&world.bare, &after, &["--good", &crd]).is("refused").because(&kept);
}

#[test]
fn histories_that_cannot_be_trusted_are_refused() {
    let story = Story::new();
    let world = &story.world;
    let tip = world.change("README.md", "x");
    // Shallow.
    let shallow = world.dir.path().join("shallow.git");
    let url = world.file_url();
    git(world.dir.path(), &["clone", "-q", "--bare", "--depth=2", &url, shallow.to_str().unwrap()]);
    ask(&shallow, &story.bad, &[]).is("refused").because("cut off at");
    ask(&shallow, &story.bad, &["--good", &story.good]).is("refused").because("cut off at");
    // Rewritten.
    git(&world.work, &["reset", "-q", "--hard", &story.good]);
    world.change("apps/shop/z.yaml", "z");
    ask(&world.bare, &story.bad, &[]).is("refused").because("its history was rewritten");
    let gone = "1234567890123456789012345678901234567890";
    ask(&world.bare, gone, &[]).is("refused").because("its history was rewritten");
    git(&world.work, &["reset", "-q", "--hard", &tip]);
    world.push();
    // Nothing before.
    let root = git(&world.bare, &["rev-list", "--max-parents=0", "main"]);
    ask(&world.bare, &root, &[]).is("refused").because("nothing to go back to");
    ask(&world.bare, &story.bad, &["--good", &tip]).is("refused").because("not an ancestor");
    // Nothing between, which is no refusal.
    ask(&world.bare, &tip, &["--good", &story.bad]).is("nothing");
}

#[test]
fn links_modes_submodules_line_ends_and_odd_names_come_back() {
    let story = Story::new();
    let world = &story.world;
    let shop = world.work.join("apps/shop");
    world.write("apps/shop/crlf.yaml", TEN_LINES.replace('\n', "\r\n"));
    world.write("apps/shop/bin", b"\0\x01");
    std::os::unix::fs::symlink("a.yaml", shop.join("link")).unwrap();
    let submodule = |id: &str| {
        git(&world.work, &["update-index", "--add", "--cacheinfo", &format!("160000,{id},apps/shop/sub")]);
    };
    submodule(&story.good);
    world.write("apps/shop/caf\u{e9} \"x\".yaml", "1");
    git(&world.work, &["add", "apps"]);
    git(&world.work, &["commit", "-q", "-m", "all kinds"]);
    let good = world.push();
    world.write("apps/shop/crlf.yaml", TEN_LINES.replace("3\n", "three\n").replace('\n', "\r\n"));
    world.write("apps/shop/bin", b"\0\x02");
    std::fs::remove_file(shop.join("link")).unwrap();
    std::os::unix::fs::symlink("b.yaml", shop.join("link")).unwrap();
    std::fs::remove_file(shop.join("caf\u{e9} \"x\".yaml")).unwrap();
    git(&world.work, &["add", "apps"]);
    git(&world.work, &["update-index", "--chmod=+x", "apps/shop/b.yaml"]);
    submodule(&story.bad);
    git(&world.work, &["commit", "-q", "-m", "all changed"]);
    let bad = world.push();
    // Later: other lines, and the mode's file.
    world.write(
        "apps/shop/crlf.yaml",
        TEN_LINES.replace("3\n", "three\n").replace("9\n", "nine\n").replace('\n', "\r\n"),
    );
    world.write("apps/shop/b.yaml", "b2\n");
    git(&world.work, &["add", "apps/shop/crlf.yaml", "apps/shop/b.yaml"]);
    git(&world.work, &["update-index", "--chmod=+x", "apps/shop/b.yaml"]);
    git(&world.work, &["commit", "-q", "-m", "later"]);
    world.push();
    let answer = ask(&world.bare, &bad, &[]);
    assert_eq!(answer.is("revert").json["good"], good.as_str());
    let quoted = "\"apps/shop/caf\\303\\251 \\\"x\\\".yaml\"";
    assert!(answer.list("files").contains(&quoted), "{}", answer.json);
    git(&world.work, &["reset", "-q", "--hard"]);
    git(&world.work, &["revert", "--no-edit", &bad]);
    assert_eq!(answer.json["tree"], git(&world.work, &["rev-parse", "HEAD^{tree}"]).as_str());
}

#[test]
fn references_are_followed_unless_told_not_to() {
    let story = Story::new();
    let world = &story.world;
    world.write("base/kustomization.yaml", "resources: [web.yaml]\n");
    world.write("base/web.yaml", TEN_LINES);
    world.write("base/README.md", "not rendered\n");
    world.change("apps/shop/kustomization.yaml", "resources: [../../base, a.yaml]\n");
    world.write("base/README.md", "changed\n");
    world.write("base/web.yaml", TEN_LINES.replace("3\n", "three\n"));
    let bad = world.commit("base");
    let answer = ask(&world.bare, &bad, &["--other-path", "base", "--other-path", "apps/other"]);
    assert_eq!(answer.is("revert").list("files"), ["base/web.yaml"]);
    assert_eq!(answer.list("touched"), ["base"]);
    let alone = ask(&world.bare, &bad, &["--no-follow"]);
    assert_eq!(alone.list("footprint"), ["apps/shop/"]);
    // Seen alone, the application last changed before.
    assert_eq!(alone.list("files"), ["apps/shop/kustomization.yaml"]);
}

#[test]
fn the_text_says_the_same_and_ends_with_what_was_done() {
    let story = Story::new();
    let output = Command::new(env!("CARGO_BIN_EXE_lastgood"))
        .args(["revert", "--branch", "main", "--application-path", "apps/shop", "--bad", "main", "--repo"])
        .arg(&story.world.bare)
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    for part in [
        &format!("revert {:.8} to {:.8} on main", story.bad, story.good),
        &format!("  {:.8} change apps/shop/a.yaml (Ann <ann@example.org>)", story.bad),
        "  apps/shop/a.yaml +1 -1",
        "nothing was changed; --push pushes it",
    ] {
        assert!(text.contains(part), "`{part}` is not in\n{text}");
    }
    assert!(run(&story.world.bare, &["fsck", "--strict"]).status.success());
}
