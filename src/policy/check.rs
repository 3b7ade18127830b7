//! The sense of a policy file: what parses but could never work. Pure; places are added by the reader.

use std::ops::Range;
use std::time::Duration;

use globset::Glob;
use humantime::format_duration;

use super::code::Code;
use super::duration::Span;
use super::file::{Application, PolicyFile};
use super::promql::QUERY_CHARS_MAX;
use super::selector::Pattern;
use super::{guard, preset, server, slo};
use crate::engine::analysis::PAST_REVERTS_MAX;
use crate::engine::template::BUILT_IN;

/// Something in a policy that makes no sense.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The way to the value, from the root.
    pub path: Vec<Step>,
    /// The part of the value that is meant, where it is not the whole.
    pub needle: Option<Needle>,
    /// Of what kind it is.
    pub code: Code,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
}

/// A part of a text value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Needle {
    /// The part.
    pub text: String,
    /// How many times the same text stands before it in the value.
    pub nth: usize,
}

impl Needle {
    /// The first place at which the text stands.
    pub fn first(text: impl Into<String>) -> Self {
        Self { text: text.into(), nth: 0 }
    }

    /// This part of the value.
    pub fn at(value: &str, range: Range<usize>) -> Option<Self> {
        let text = value.get(range.clone())?;
        let nth = value.match_indices(text).position(|(at, _)| at == range.start)?;
        Some(Self { text: text.to_owned(), nth })
    }
}

/// One step into a YAML document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// The value of this key.
    Key(String),
    /// The item of this index.
    Index(usize),
}

/// The longest duration taken anywhere; past it a unit was mistaken (`1M` is a month).
const DURATION_MAX: Duration = Duration::from_secs(24 * 3600);
/// The shortest interval; a Prometheus scrapes far less often.
const INTERVAL_MIN: Duration = Duration::from_millis(100);
/// Characters of names and other short texts.
const SHORT_MAX: usize = 253;

/// Collects findings.
#[derive(Default)]
pub(crate) struct Report(Vec<Finding>);

impl Report {
    pub(crate) fn add(&mut self, path: &[Step], message: impl Into<String>, help: impl Into<String>) {
        let help = Some(help.into()).filter(|help| !help.is_empty());
        let code = Code::BadValue;
        self.0.push(Finding { path: path.to_vec(), needle: None, code, message: message.into(), help });
    }

    /// Adds a mistake in a query.
    pub(super) fn add_query(&mut self, path: &[Step], needle: Option<&str>, message: String, help: &str) {
        self.warn(path, Code::BadQuery, needle.map(Needle::first), message, help);
    }

    /// Adds what its code says, at a part of the value.
    pub(super) fn warn(
        &mut self,
        path: &[Step],
        code: Code,
        needle: Option<Needle>,
        message: String,
        help: &str,
    ) {
        let help = Some(help.to_owned()).filter(|help| !help.is_empty());
        self.0.push(Finding { path: path.to_vec(), needle, code, message, help });
    }

    pub(crate) fn findings(self) -> Vec<Finding> {
        self.0
    }
}

/// Finds everything that makes no sense.
pub fn check(file: &PolicyFile) -> Vec<Finding> {
    let mut report = Report::default();
    application(&file.application, &mut report);
    durations(file, &mut report);
    counts(file, &mut report);
    server::prometheus(file, &mut report);
    variables(file, &mut report);
    preset::check(file, &mut report);
    slo::slos(file, &mut report);
    guard::guards(file, &mut report);
    never_revert(file, &mut report);
    pull_request(file, &mut report);
    git(file, &mut report);
    report.0
}

pub(crate) fn keys(path: &[&str]) -> Vec<Step> {
    path.iter().map(|key| Step::Key((*key).to_owned())).collect()
}

fn application(application: &Application, report: &mut Report) {
    let Application { name, namespace, project, labels } = application;
    if name.is_none() && namespace.is_none() && project.is_none() && labels.is_empty() {
        report.add(
            &keys(&["application"]),
            "`application` selects nothing",
            "give at least one of `name`, `namespace`, `project`, `labels`; `name: \"*\"` selects all",
        );
    }
    for (field, value) in [("name", name), ("namespace", namespace), ("project", project)] {
        let Some(value) = value else { continue };
        let path = keys(&["application", field]);
        if !short_text(value, &path, field, report) {
            continue;
        }
        if let Err(why) = Pattern::parse(value) {
            report.add(
                &path,
                format!("`{value}` is not a glob: {why}"),
                "globs use `*`, `?`, `[a-z]` and `{a,b}`",
            );
        }
    }
    for (label, value) in labels {
        let path = keys(&["application", "labels", label]);
        if label.trim().is_empty() {
            report.add(&path, "a label without a name", "");
        } else if value.contains('*') {
            report.add(
                &path,
                format!("the label value `{value}` can never match: globs are not taken here"),
                "give the whole value",
            );
        }
    }
}

fn durations(file: &PolicyFile, report: &mut Report) {
    let (analysis, rollout, rollback) = (&file.analysis, &file.rollout, &file.rollback);
    let minute = Duration::from_secs(60);
    let second = Duration::from_secs(1);
    let zero = Duration::ZERO;
    let mut limits: Vec<(&[&str], Span, Duration, Duration)> = vec![
        (&["analysis", "duration"], analysis.duration, INTERVAL_MIN, DURATION_MAX),
        (&["analysis", "interval"], analysis.interval, INTERVAL_MIN, DURATION_MAX),
        (&["analysis", "warmUp"], analysis.warm_up, zero, DURATION_MAX),
        (&["analysis", "baseline"], analysis.baseline, minute, DURATION_MAX),
        (&["rollout", "imagePullGrace"], rollout.image_pull_grace, zero, DURATION_MAX),
        (&["rollout", "crashLoopGrace"], rollout.crash_loop_grace, zero, DURATION_MAX),
        (&["rollout", "containerConfigGrace"], rollout.container_config_grace, zero, DURATION_MAX),
        (&["rollout", "unschedulableGrace"], rollout.unschedulable_grace, zero, DURATION_MAX),
        (&["rollout", "degradedGrace"], rollout.degraded_grace, zero, DURATION_MAX),
        (&["rollback", "pushTimeout"], rollback.push_timeout, second, DURATION_MAX),
        (&["rollback", "liveTimeout"], rollback.live_timeout, second, DURATION_MAX),
        (&["rollback", "recoveryTimeout"], rollback.recovery_timeout, second, DURATION_MAX),
    ];
    if let Some(prometheus) = &file.prometheus {
        limits.push((&["prometheus", "timeout"], prometheus.timeout, Duration::from_millis(10), minute));
    }
    for (path, value, min, max) in limits {
        if value.0 < min {
            report.add(
                &keys(path),
                format!("`{value}` is too short"),
                format!("at least {}", format_duration(min)),
            );
        } else if value.0 > max {
            let max = format_duration(max);
            report.add(
                &keys(path),
                format!("`{value}` is too long"),
                format!("at most {max} (`m` is minutes, `M` months)"),
            );
        }
    }
    let rate = analysis.false_rollback_rate;
    if !(rate.0 > 0.0 && rate.0 < 0.5) {
        let message = format!("a share of {rate} of false rollbacks cannot be kept");
        report.add(
            &keys(&["analysis", "falseRollbackRate"]),
            message,
            "more than 0 and less than 50%, such as `0.1%`",
        );
    }
    if analysis.warm_up >= analysis.duration {
        let message = format!(
            "the warm-up ({}) takes as long as the analysis ({}): nothing would count",
            analysis.warm_up, analysis.duration
        );
        report.add(&keys(&["analysis", "warmUp"]), message, "shorten `warmUp` or lengthen `duration`");
    }
    if analysis.interval > analysis.duration {
        let message = format!(
            "the interval ({}) is longer than the analysis ({}): nothing would be measured",
            analysis.interval, analysis.duration
        );
        report.add(&keys(&["analysis", "interval"]), message, "shorten `interval` or lengthen `duration`");
    }
}

fn counts(file: &PolicyFile, report: &mut Report) {
    let mut at_least_one = |path: [&str; 2], value: u32, why: &str, help: &str| {
        if value == 0 {
            report.add(&keys(&path), format!("`{}` is 0: {why}", path[1]), help);
        }
    };
    let sync = file.sync.failed_attempts;
    at_least_one(["sync", "failedAttempts"], sync, "every sync would convict at once", "at least 1");
    let restarts = file.rollout.restarts;
    at_least_one(
        ["rollout", "restarts"],
        restarts,
        "every pod would convict at once",
        "at least 1; a high number means that restarts do not count",
    );
    let reverts = file.rollback.reverts_per_day;
    at_least_one(
        ["rollback", "revertsPerDay"],
        reverts,
        "nothing would ever be reverted",
        "to push nothing, say `mode: dry-run`",
    );
    let others = file.rollback.others_degraded;
    at_least_one(
        ["rollback", "othersDegraded"],
        others,
        "the environment would always be blamed, and nothing be reverted",
        "at least 1; `mode: dry-run` is the way to push nothing",
    );
    if reverts as usize > PAST_REVERTS_MAX {
        let message = format!("`{reverts}` rollbacks a day are more than lastgood remembers");
        report.add(&keys(&["rollback", "revertsPerDay"]), message, format!("at most {PAST_REVERTS_MAX}"));
    }
}

/// The URL, if it is one of a server and holds no secret; says what is wrong with it otherwise.
pub(crate) fn web_url(url: &str, path: &[Step], example: &str, report: &mut Report) -> Option<http::Uri> {
    // No message repeats the URL, since what is wrong with it may be a password.
    let Ok(url) = url.parse::<http::Uri>() else {
        report.add(path, "this is not a URL", format!("write it like `{example}`"));
        return None;
    };
    let authority = url.authority().map_or("", http::uri::Authority::as_str);
    if !matches!(url.scheme_str(), Some("http" | "https")) {
        report.add(path, "the URL is neither `http://` nor `https://`", format!("write it like `{example}`"));
    } else if authority.contains('@') {
        report.add(
            path,
            "the URL holds a user name or a password, and a file like this is no place for secrets",
            "take out everything up to `@`",
        );
    } else if url.query().is_some() {
        report.add(path, "the URL has a query part (`?…`)", "give the base URL only");
    } else {
        return Some(url);
    }
    None
}

fn variables(file: &PolicyFile, report: &mut Report) {
    for (name, value) in &file.variables {
        let path = keys(&["variables", name]);
        if BUILT_IN.contains(&name.as_str()) {
            report.add(&path, format!("`{name}` is always there and cannot be set"), "choose another name");
        } else if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
            report.add(&path, format!("`{name}` is not a variable name"), "use letters, digits and `_`");
        } else if value.chars().count() > QUERY_CHARS_MAX {
            report.add(
                &path,
                format!("the variable `{name}` is too long"),
                format!("at most {QUERY_CHARS_MAX} characters"),
            );
        }
    }
}

fn never_revert(file: &PolicyFile, report: &mut Report) {
    let never = &file.rollback.never_revert;
    for (field, values) in [("paths", &never.paths), ("kinds", &never.kinds)] {
        for (i, value) in values.iter().enumerate() {
            let mut path = keys(&["rollback", "neverRevert", field]);
            path.push(Step::Index(i));
            if !short_text(value, &path, field, report) {
                continue;
            }
            if field == "kinds" {
                let (group, kind) = value.rsplit_once('/').unwrap_or(("", value));
                let is_kind = kind.starts_with(|c: char| c.is_ascii_uppercase())
                    && kind.chars().all(|c| c.is_ascii_alphanumeric());
                if !is_kind || group.contains('/') {
                    report.add(
                        &path,
                        format!("`{value}` is not a kind"),
                        "write `Kind` or `group/Kind`, such as `StorageClass` or `storage.k8s.io/StorageClass`",
                    );
                }
            } else if let Err(why) = Glob::new(value) {
                report.add(
                    &path,
                    format!("`{value}` is not a glob: {}", why.kind()),
                    "globs use `*`, `**`, `?`, `[a-z]` and `{a,b}`",
                );
            }
        }
    }
}

fn pull_request(file: &PolicyFile, report: &mut Report) {
    let rules = &file.rollback.pull_request;
    for (field, values) in [("labels", &rules.labels), ("reviewers", &rules.reviewers)] {
        for (i, value) in values.iter().enumerate() {
            let mut path = keys(&["rollback", "pullRequest", field]);
            path.push(Step::Index(i));
            // GitLab takes labels as one list with commas.
            if short_text(value, &path, field, report) && value.contains(',') {
                report.add(&path, format!("`{value}` holds a comma"), "write each as an item of its own");
            }
        }
    }
    if let Some(url) = &file.git.forge.url {
        web_url(url, &keys(&["git", "forge", "url"]), "https://git.example.com", report);
    }
    if let Some(secret) = &file.git.forge.secret {
        short_text(secret, &keys(&["git", "forge", "secret"]), "secret", report);
    }
}

fn git(file: &PolicyFile, report: &mut Report) {
    if let Some(secret) = &file.git.secret {
        short_text(secret, &keys(&["git", "secret"]), "secret", report);
    }
    if let Some(signing) = &file.git.signing {
        short_text(&signing.secret, &keys(&["git", "signing", "secret"]), "secret", report);
    }
    for (field, value) in [("name", &file.git.author.name), ("email", &file.git.author.email)] {
        let path = keys(&["git", "author", field]);
        // Git takes neither in a signature.
        if short_text(value, &path, field, report) && value.contains(['<', '>']) {
            report.add(
                &path,
                format!("the author's {field} holds `<` or `>`"),
                "leave them out; they are added by Git",
            );
        }
    }
}

/// Whether the text can be a name; says why when not.
pub(crate) fn short_text(value: &str, path: &[Step], field: &str, report: &mut Report) -> bool {
    let message = if value.trim().is_empty() {
        format!("`{field}` is empty")
    } else if value.trim() != value || value.chars().any(char::is_control) {
        format!("`{field}` holds a line break, a control character or blanks at its ends")
    } else if value.chars().count() > SHORT_MAX {
        format!("`{field}` is longer than {SHORT_MAX} characters")
    } else {
        return true;
    };
    report.add(path, message, "");
    false
}
