//! The program as a person or a pipeline calls it.

use std::path::Path;
use std::process::Command;

/// Runs the program; gives its exit code, standard output and standard error.
fn lastgood(args: &[&str]) -> (Option<i32>, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lastgood"));
    let output = command.args(args).env_clear().current_dir(env!("CARGO_MANIFEST_DIR")).output();
    let output = output.expect("the program was just built");
    let text = |bytes| String::from_utf8(bytes).expect("output is UTF-8");
    (output.status.code(), text(output.stdout), text(output.stderr))
}

fn path(path: &Path) -> &str {
    path.to_str().expect("temporary paths are UTF-8")
}

#[test]
fn good_policies_pass_the_check() {
    assert_eq!(lastgood(&["check", "config"]), (Some(0), "5 policies are valid\n".into(), String::new()));
    let (code, out, _) = lastgood(&["check", "config/web.yaml", "config/worker.yaml"]);
    assert_eq!((code, out.as_str()), (Some(0), "2 policies are valid\n"));
}

#[test]
fn bad_policies_are_shown_with_their_places() {
    let dir = tempfile::tempdir().unwrap();
    let good = "apiVersion: lastgood.dev/v1alpha1\napplication: { name: a }\nrollback: { mode: push }\n";
    std::fs::write(dir.path().join("good.yaml"), good).unwrap();
    std::fs::write(dir.path().join("bad.yaml"), good.replace("mode: push", "mode: psuh")).unwrap();
    std::fs::write(dir.path().join("worse.yml"), good.replace("application", "aplication")).unwrap();
    std::fs::write(dir.path().join("README.txt"), "not a policy").unwrap();

    let (code, out, err) = lastgood(&["check", path(dir.path())]);
    let out = out.replace(path(dir.path()), "DIR");
    let expected = "\
error: unknown mode `psuh`
 --> DIR/bad.yaml:3:19
  |
3 | rollback: { mode: psuh }
  |                   ^^^^
  = help: did you mean `push`?

error: unknown field `aplication`
 --> DIR/worse.yml:2:1
  |
2 | aplication: { name: a }
  | ^^^^^^^^^^
  = help: did you mean `application`?

2 mistakes found
";
    assert_eq!((code, out.as_str(), err.as_str()), (Some(1), expected, ""));
}

#[test]
fn warnings_fail_only_if_they_are_denied() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("shop.yaml");
    let policy = "apiVersion: lastgood.dev/v1alpha1\napplication: { name: shop }\nrollback: { mode: push }\n\
                  prometheus: { url: http://prometheus:9090 }\n\
                  slos: [{ name: errors, query: 'sum(rate(errors_total[30s]))', max: 1 }]\n";
    std::fs::write(&file, policy).unwrap();
    let check = |more: &[&str]| {
        let (code, out, err) = lastgood(&[&["check", path(&file)], more].concat());
        assert_eq!(err, "");
        (code, out)
    };
    let (code, out) = check(&[]);
    assert_eq!(code, Some(0), "{out}");
    assert!(out.contains("warning[short-window]") && out.contains("shop.yaml:5:53"), "{out}");
    assert!(out.ends_with("1 policy is valid, with 1 warning\n"), "{out}");
    assert_eq!(check(&["--deny-warnings"]).0, Some(1));
    let good = (Some(0), "1 policy is valid\n".to_owned());
    assert_eq!(check(&["--deny-warnings", "--allow", "short-window"]), good);
    assert_eq!(check(&["--deny-warnings", "--scrape-interval", "5s"]), good);

    let (code, _, err) = lastgood(&["check", path(&file), "--allow", "short-windows"]);
    assert!(code == Some(1) && err.contains("did you mean `short-window`?"), "{err}");
    let (code, _, err) = lastgood(&["check", path(&file), "--allow", "bad-query"]);
    assert!(code == Some(1) && err.contains("no policy with it is ever taken"), "{err}");
}

#[test]
fn nothing_to_check_is_a_mistake() {
    let dir = tempfile::tempdir().unwrap();
    let (code, out, _) = lastgood(&["check", path(dir.path())]);
    assert_eq!(code, Some(1));
    assert!(out.contains("there are no policies here"), "{out}");
    let (code, out, _) = lastgood(&["check", path(&dir.path().join("missing"))]);
    assert_eq!(code, Some(1));
    assert!(out.contains("cannot read the policies"), "{out}");
}

#[test]
fn wrong_arguments_are_told_from_bad_policies() {
    let (code, out, err) = lastgood(&["check"]);
    // What is wrong with policies stands on standard output.
    assert_eq!((code, out.as_str()), (Some(1), ""));
    assert!(err.contains("DIR_OR_FILE"), "{err}");
    let (code, out, err) = lastgood(&["chekc", "config"]);
    assert_eq!((code, out.as_str()), (Some(1), ""));
    assert!(err.contains("check"), "{err}");
}
