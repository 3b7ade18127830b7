use super::*;

const GOOD: &str = "apiVersion: lastgood.dev/v1alpha1\nsinks:\n";

/// The mistakes in a file of sinks, one a line.
fn mistakes(yaml: &str) -> Vec<String> {
    match read("s", yaml.as_bytes()) {
        Ok(sinks) => panic!("it was taken: {sinks:?}"),
        Err(mistakes) => mistakes.iter().map(Mistake::one_line).collect(),
    }
}

#[test]
fn a_sink_needs_three_lines() {
    let yaml =
        format!("{GOOD}  - {{ name: siem, url: \"https://siem.example.com/x\", format: cloudevents }}\n");
    let sinks = read("s", yaml.as_bytes()).unwrap();
    let sink = &sinks[0];
    assert_eq!(
        (sink.timeout, sink.dead_letter_after),
        (Duration::from_secs(15), Duration::from_secs(24 * 3600))
    );
    assert_eq!((&sink.filter, &sink.proxy, sink.since), (&Filter::default(), &None, None));
}

#[test]
fn a_mistake_is_shown_where_it_is() {
    let check = |lines: &str, expected: &[&str]| assert_eq!(mistakes(&format!("{GOOD}{lines}")), expected);
    let good = "  - name: a\n    url: https://a\n    format: json\n";
    let with = |line: &str| format!("{good}    {line}\n");
    check(
        &good.replace("format: json", "format: jsn"),
        &["s:5:13: unknown format `jsn`; did you mean `json`?"],
    );
    check(
        &good.replace("https://a", "https://me:hunter2@a"),
        &[
            "s:4:10: the URL holds a user name or a password, and a file like this is no place for secrets; take out everything up to `@`",
        ],
    );
    check(
        &good.replace("name: a", "name: A b"),
        &["s:3:11: `A b` cannot be a sink's name; use small letters, digits and `-`"],
    );
    check(&format!("{good}{good}"), &["s:6:11: another sink is called `a`; give each a name of its own"]);
    check(
        "  - name: a\n    format: json\n",
        &["s:4:5: `url` is missing; say where it is, as in `url: https://siem.example.com/events`"],
    );
    check(
        &with("headers: { Authorization: Bearer x }"),
        &[
            "s:6:31: the header `Authorization` cannot be set here; put `token`, or `username` and `password`, where `credentials` says",
        ],
    );
    check(
        &with("headers: { ce-id: x }"),
        &["s:6:23: the header `ce-id` cannot be set here; it is that of the event"],
    );
    check(&with("sign: true"), &["s:3:5: `credentials` are missing; say where `webhookSecret` can be found"]);
    check(&with("index: logs"), &["s:6:12: `index` means nothing to the format `json`"]);
    check(&with("deadLetterAfter: 5s"), &["s:6:22: `5s` is too short; at least 1m"]);
    check(
        &with("since: yesterday"),
        &["s:6:12: `yesterday` is not a point in time; write it like `2026-01-31T12:00:00Z`, with its zone"],
    );
    check(
        &with("filter: { reasons: [\"Hold[\"] }"),
        &[
            "s:6:25: `Hold[` is not a glob: unclosed character class; missing ']'; globs use `*`, `?`, `[a-z]` and `{a,b}`",
        ],
    );
    check(
        &with("filter: { severity: high }"),
        &["s:6:25: unknown severity `high`; known here: `normal`, `warning`"],
    );
    check(
        &with("credentials: { folder: secrets }"),
        &[
            "s:6:28: `secrets` is not an absolute path; begin it with `/`: the daemon's working folder is nobody's choice",
        ],
    );
    check(
        "  - name: a\n    url: https://a\n    format: sentinel\n    stream: Custom-a\n    rule: dcr-1\n    credentials: { secret: a }\n",
        &[
            "s:3:5: `oauth` is missing, which `sentinel` needs; add `oauth: { tokenUrl: \"https://login.microsoftonline.com/TENANT/oauth2/v2.0/token\", scope: \"https://monitor.azure.com/.default\" }`",
        ],
    );
    assert_eq!(
        mistakes("sinks: []\n"),
        ["s:1:1: `apiVersion` is missing; begin the file with `apiVersion: lastgood.dev/v1alpha1`"]
    );
    assert_eq!(
        mistakes(&format!("{GOOD}{good}---\na: 1\n")),
        [
            "s:7:1: a second document begins here; one document holds all sinks: add these to the list `sinks` of the first"
        ]
    );
}

#[test]
fn no_message_repeats_a_password() {
    let yaml = format!(
        "{GOOD}  - name: a\n    url: https://me:hunter2@a\n    proxy: http://me:hunter2@b\n    format: x\n"
    );
    assert!(!read("s", yaml.as_bytes()).unwrap_err().to_string().contains("hunter2"));
}
