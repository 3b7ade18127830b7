//! What holds for any policy and for any bytes.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;

use super::check::check as findings;
use super::duration::Span;
use super::file::{
    Analysis, ApiVersion, Application, Author, Credentials, Git, Mode, PolicyFile, Prometheus, Rollback,
    Rollout, Slo, SyncRules,
};
use super::lint::{Assumptions, warnings};
use super::share::Share;
use super::{SourceFile, read, structure};

fn word() -> impl Strategy<Value = String> {
    "[a-zA-Z0-9_]{1,12}"
}

fn slo() -> impl Strategy<Value = (String, f64, f64, u32, u32)> {
    (word(), 0.0..1e9_f64, 0.0..1e9_f64, 1..=10_u32, 0..=10_u32)
}

fn policy_file() -> impl Strategy<Value = PolicyFile> {
    let names = (proptest::option::of(word()), word(), proptest::collection::btree_map(word(), word(), 0..3));
    let slos = proptest::collection::vec(slo(), 0..4);
    (names, slos, 1..=20_u64, any::<bool>(), any::<[bool; 2]>(), 0..5_000_u64, "[^<>\\p{C}\\p{Z}]{1,20}")
        .prop_map(|((name, project, labels), slos, interval, push, [oom_kill, stuck], grace, author)| {
            let interval = Span::secs(interval);
            let slos: Vec<Slo> = slos
                .into_iter()
                .enumerate()
                .map(|(i, (name, a, b, failures, more))| Slo {
                    query: format!(r#"rate(m_{name}{{app="{{{{ application }}}}"}}[1m]) > {a}"#),
                    name: format!("{name}{i}"),
                    min: (more % 2 == 0).then_some(a.min(b)),
                    max: (more % 2 == 1 || more % 3 == 0).then_some(a.max(b)),
                    true_is: None,
                    comparison: None,
                    burn_rate: None,
                    series: None,
                    fail_after_missing: None,
                    failures: Some(failures),
                    of: Some(failures + more),
                })
                .collect();
            PolicyFile {
                guards: Vec::new(),
                api_version: ApiVersion,
                application: Application { name, project: Some(project), labels, namespace: None },
                analysis: Analysis {
                    duration: Span::secs(interval.0.as_secs() * 20 + 60),
                    interval,
                    false_rollback_rate: Share(0.002),
                    ..Analysis::default()
                },
                prometheus: Some(Prometheus {
                    url: "http://p".into(),
                    timeout: Span::secs(3),
                    tenant: interval.0.as_secs().is_multiple_of(2).then(|| "team-a|team-b".to_owned()),
                    headers: BTreeMap::from([("X-Team".to_owned(), "shop".to_owned())]),
                    credentials: push.then(|| Credentials { secret: Some("mimir".into()), folder: None }),
                }),
                variables: BTreeMap::from([("v".to_owned(), author.clone())]),
                preset: None,
                slos,
                sync: SyncRules::default(),
                rollout: Rollout {
                    oom_kill,
                    crash_loop_grace: Span(Duration::from_millis(grace)),
                    ..Rollout::default()
                },
                rollback: Rollback {
                    terminate_stuck_sync: stuck,
                    ..Rollback::new(if push { Mode::Push } else { Mode::DryRun })
                },
                git: Git { author: Author { name: author, email: "a@b".into() }, ..Git::default() },
            }
        })
}

proptest! {
    /// JSON is YAML: a policy that is written out and read again is the same, and makes sense.
    #[test]
    fn a_policy_survives_writing_and_reading(file in policy_file()) {
        prop_assert_eq!(findings(&file), vec![]);
        let text = serde_json::to_string_pretty(&file).unwrap();
        prop_assert_eq!(structure::read("p", &text).policy, Some(file), "{}", text);
        prop_assert!(read("p", text.as_bytes()).is_ok());
    }

    #[test]
    fn any_bytes_are_answered(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        if let Err(mistakes) = read("p", &bytes) {
            prop_assert!(mistakes.to_string().starts_with("error: "));
        }
    }

    /// Damaged policies reach deeper than noise does.
    #[test]
    fn any_damage_is_answered(cuts in proptest::collection::vec((any::<prop::sample::Index>(), 0..12_usize, "[ -~\n\t\u{e9}]{0,6}"), 1..4)) {
        let mut text: Vec<char> = include_str!("../../config/variables.yaml").chars().collect();
        for (at, length, put) in cuts {
            let at = at.index(text.len());
            let end = (at + length).min(text.len());
            text.splice(at..end, put.chars());
        }
        let text: String = text.into_iter().collect();
        let file = SourceFile { name: "p".to_owned(), bytes: text.clone().into_bytes() };
        let mut told = warnings(&file, Assumptions { scrape_interval: Duration::from_secs(15) });
        if let Err(mistakes) = read("p", text.as_bytes()) {
            prop_assert!(mistakes.to_string().starts_with("error: "));
            told.extend(mistakes.iter().cloned());
        }
        for mistake in told {
            let lines = text.split('\n').count();
            prop_assert!(mistake.place.as_ref().is_none_or(|p| p.line >= 1 && p.line <= lines + 1), "{}", mistake);
        }
    }
}
