//! A file of sinks to valid sinks, or to all its mistakes.

use std::path::Path;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};
use jiff::Timestamp;
use reqwest::Url;
use schemars::Schema;

use super::file::{FilterFile, Format, Severity, SinkCredentials, SinkFile, SinksFile};
use super::filter::Filter;
use crate::engine::policy::CredentialsAt;
use crate::policy::mistake::{Mistake, Mistakes};
use crate::policy::{Finding, Pattern, Report, Step, Written, keys, read_as, schema_of, short_text, web_url};

/// A place that records are sent to; what it says makes sense.
#[derive(Clone, Debug)]
pub struct Sink {
    /// Its name.
    pub name: String,
    /// The base URL.
    pub url: Url,
    /// The form of what is sent.
    pub format: Format,
    /// Which records are sent.
    pub filter: Filter,
    /// Where credentials are.
    pub credentials: Option<CredentialsAt>,
    /// Whether requests are signed.
    pub sign: bool,
    /// Where a token is fetched, and for which scope.
    pub oauth: Option<(Url, Option<String>)>,
    /// Further headers.
    pub headers: HeaderMap,
    /// The index, where the format has one.
    pub index: Option<String>,
    /// The data collection rule and its stream, of Azure Monitor.
    pub stream: Option<(String, String)>,
    /// A proxy.
    pub proxy: Option<Url>,
    /// How long one request may take.
    pub timeout: Duration,
    /// How long after its first failed attempt a record is set aside.
    pub dead_letter_after: Duration,
    /// From when on records are sent.
    pub since: Option<Timestamp>,
}

/// Sinks of one file; past it something else is meant.
const SINKS_MAX: usize = 50;

/// Characters of a name: it becomes part of a Kubernetes object's.
const NAME_CHARS_MAX: usize = 63;

/// Headers of one sink; past it something else was pasted.
const HEADERS_MAX: usize = 20;

/// Headers that are lastgood's own, or whose value is a secret.
const NOT_YOURS: [(&str, &str); 10] = [
    ("authorization", "put `token`, or `username` and `password`, where `credentials` says"),
    ("dd-api-key", "put `token` where `credentials` says"),
    ("proxy-authorization", "put `proxyUsername` and `proxyPassword` where `credentials` says"),
    ("cookie", "this file is no place for secrets"),
    ("host", "it is that of `url`"),
    ("content-type", "it is that of the format"),
    ("content-length", "it is that of the format"),
    ("transfer-encoding", "it is that of the format"),
    ("connection", "it is that of the format"),
    ("user-agent", "it names lastgood's version"),
];

impl Written for SinksFile {
    const NAME: &'static str = "file of sinks";
    const SECOND: &'static str = "one document holds all sinks: add these to the list `sinks` of the first";

    fn missing(field: &str) -> Option<&'static str> {
        Some(match field {
            "apiVersion" => "begin the file with `apiVersion: lastgood.dev/v1alpha1`",
            "sinks" => "add `sinks:` and below it an item for each sink",
            "name" => "give the sink a name of its own, as in `name: siem`",
            "url" => "say where it is, as in `url: https://siem.example.com/events`",
            "format" => "say what it takes, as in `format: cloudevents`",
            "tokenUrl" => "say where the token is fetched",
            _ => return None,
        })
    }
}

/// The JSON Schema of a file of sinks.
pub fn schema() -> Schema {
    schema_of::<SinksFile>("Sinks of lastgood")
}

/// Reads a file of sinks from the disk.
pub fn load(path: &Path) -> Result<Vec<Sink>, Mistakes> {
    let name = path.display().to_string();
    let bytes = std::fs::read(path)
        .map_err(|error| Mistake::whole(&name, format!("cannot read the sinks: {error}"), None))?;
    read(&name, &bytes)
}

/// Reads a file of sinks; `file` is its name for messages.
pub fn read(file: &str, bytes: &[u8]) -> Result<Vec<Sink>, Mistakes> {
    let parsed: SinksFile = read_as(file, bytes, check)?;
    parsed.sinks.iter().map(convert).collect::<Result<_, String>>().map_err(|why| {
        let message = format!("lastgood contradicts itself about this file: {why}");
        Mistake::whole(file, message, Some("please report it with the file".to_owned())).into()
    })
}

/// Finds everything that makes no sense.
fn check(file: &SinksFile) -> Vec<Finding> {
    let mut report = Report::default();
    if file.sinks.len() > SINKS_MAX {
        let message = format!("{} sinks are too many", file.sinks.len());
        report.add(&keys(&["sinks"]), message, format!("at most {SINKS_MAX}"));
    }
    for (i, sink) in file.sinks.iter().enumerate() {
        let at = |path: &[&str]| {
            let mut steps = vec![Step::Key("sinks".to_owned()), Step::Index(i)];
            steps.extend(keys(path));
            steps
        };
        name(sink, &at(&["name"]), file.sinks.iter().take(i), &mut report);
        web_url(&sink.url, &at(&["url"]), "https://siem.example.com/events", &mut report);
        if let Some(proxy) = &sink.proxy {
            web_url(proxy, &at(&["proxy"]), "http://proxy.example.com:3128", &mut report);
        }
        if let Some(oauth) = &sink.oauth {
            let example = "https://login.microsoftonline.com/TENANT/oauth2/v2.0/token";
            web_url(&oauth.token_url, &at(&["oauth", "tokenUrl"]), example, &mut report);
        }
        spans(sink, &at, &mut report);
        of_format(sink, &at, &mut report);
        headers(sink, &at, &mut report);
        filter(sink, &at, &mut report);
        credentials(sink, &at, &mut report);
    }
    report.findings()
}

fn name<'a>(
    sink: &SinkFile,
    path: &[Step],
    mut before: impl Iterator<Item = &'a SinkFile>,
    report: &mut Report,
) {
    let name = &sink.name;
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if !short_text(name, path, "name", report) {
    } else if !name.chars().all(fits) || name.starts_with('-') || name.ends_with('-') {
        report.add(path, format!("`{name}` cannot be a sink's name"), "use small letters, digits and `-`");
    } else if name.len() > NAME_CHARS_MAX {
        report.add(path, format!("`{name}` is too long"), format!("at most {NAME_CHARS_MAX} characters"));
    } else if before.any(|other| other.name == *name) {
        report.add(path, format!("another sink is called `{name}`"), "give each a name of its own");
    }
}

fn spans(sink: &SinkFile, at: &impl Fn(&[&str]) -> Vec<Step>, report: &mut Report) {
    let (second, minute, days) = (1, 60, 30 * 24 * 3600);
    for (field, value, min, max) in [
        ("timeout", sink.timeout, second, 5 * minute),
        ("deadLetterAfter", sink.dead_letter_after, minute, days),
    ] {
        let said = |seconds| humantime::format_duration(Duration::from_secs(seconds));
        if value.0 < Duration::from_secs(min) {
            report.add(&at(&[field]), format!("`{value}` is too short"), format!("at least {}", said(min)));
        } else if value.0 > Duration::from_secs(max) {
            report.add(&at(&[field]), format!("`{value}` is too long"), format!("at most {}", said(max)));
        }
    }
}

/// What only some formats have.
fn of_format(sink: &SinkFile, at: &impl Fn(&[&str]) -> Vec<Step>, report: &mut Report) {
    let format = String::from(sink.format);
    let mut only = |field: &str, given: bool, fits: bool| {
        if given && !fits {
            report.add(&at(&[field]), format!("`{field}` means nothing to the format `{format}`"), "");
        }
    };
    let events = matches!(sink.format, Format::CloudEvents | Format::CloudEventsBinary | Format::Json);
    let sentinel = sink.format == Format::Sentinel;
    only("sign", sink.sign, events);
    only("index", sink.index.is_some(), matches!(sink.format, Format::Elastic | Format::Splunk));
    only("rule", sink.rule.is_some(), sentinel);
    only("stream", sink.stream.is_some(), sentinel);
    if sentinel {
        for (field, given) in [("rule", &sink.rule), ("stream", &sink.stream)] {
            if given.is_none() {
                let help = "the data collection rule's JSON view in Azure has it";
                report.add(&at(&[]), format!("`{field}` is missing, which `sentinel` needs"), help);
            }
        }
        if sink.oauth.is_none() {
            let help = "add `oauth: { tokenUrl: \"https://login.microsoftonline.com/TENANT/oauth2/v2.0/token\", \
                        scope: \"https://monitor.azure.com/.default\" }`";
            report.add(&at(&[]), "`oauth` is missing, which `sentinel` needs", help);
        }
    }
    for (field, value) in [("index", &sink.index), ("rule", &sink.rule), ("stream", &sink.stream)] {
        let Some(value) = value else { continue };
        let fits = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if short_text(value, &at(&[field]), field, report) && !value.chars().all(fits) {
            let help = "use letters, digits, `-`, `_` and `.`";
            report.add(&at(&[field]), format!("`{value}` cannot be a name there"), help);
        }
    }
    if (sink.sign || sink.oauth.is_some()) && sink.credentials.is_none() {
        let what = if sink.sign { "`webhookSecret`" } else { "`clientId` and `clientSecret`" };
        report.add(&at(&[]), "`credentials` are missing", format!("say where {what} can be found"));
    }
}

fn headers(sink: &SinkFile, at: &impl Fn(&[&str]) -> Vec<Step>, report: &mut Report) {
    if sink.headers.len() > HEADERS_MAX {
        let message = format!("{} headers are too many", sink.headers.len());
        report.add(&at(&["headers"]), message, format!("at most {HEADERS_MAX}"));
    }
    for (name, value) in &sink.headers {
        let path = at(&["headers", name]);
        let lower = name.to_ascii_lowercase();
        if let Some((_, help)) = NOT_YOURS.iter().find(|(not_yours, _)| *not_yours == lower) {
            report.add(&path, format!("the header `{name}` cannot be set here"), *help);
        } else if lower.starts_with("webhook-") || lower.starts_with("ce-") {
            report.add(&path, format!("the header `{name}` cannot be set here"), "it is that of the event");
        } else if HeaderName::from_bytes(name.as_bytes()).is_err() {
            report.add(&path, format!("`{name}` is not the name of a header"), "use letters, digits and `-`");
        } else if short_text(value, &path, name, report) && HeaderValue::from_str(value).is_err() {
            report.add(&path, format!("the value of `{name}` cannot be sent in a header"), "use ASCII");
        }
    }
}

fn filter(sink: &SinkFile, at: &impl Fn(&[&str]) -> Vec<Step>, report: &mut Report) {
    let Some(filter) = &sink.filter else { return };
    let FilterFile { reasons, applications, projects, severity: _ } = filter;
    for (field, values) in [("reasons", reasons), ("applications", applications), ("projects", projects)] {
        for (i, value) in values.iter().enumerate() {
            let mut path = at(&["filter", field]);
            path.push(Step::Index(i));
            if !short_text(value, &path, field, report) {
                continue;
            }
            if let Err(why) = Pattern::parse(value) {
                let help = "globs use `*`, `?`, `[a-z]` and `{a,b}`";
                report.add(&path, format!("`{value}` is not a glob: {why}"), help);
            }
        }
    }
}

fn credentials(sink: &SinkFile, at: &impl Fn(&[&str]) -> Vec<Step>, report: &mut Report) {
    let Some(SinkCredentials { secret, folder }) = &sink.credentials else { return };
    let path = |field: &str| at(&["credentials", field]);
    match (secret, folder) {
        (Some(secret), None) => {
            short_text(secret, &path("secret"), "secret", report);
        }
        (None, Some(folder)) => {
            if short_text(folder, &path("folder"), "folder", report) && !folder.starts_with('/') {
                let help = "begin it with `/`: the daemon's working folder is nobody's choice";
                report.add(&path("folder"), format!("`{folder}` is not an absolute path"), help);
            }
        }
        (Some(_), Some(_)) => {
            let help = "give `secret` or `folder`";
            report.add(&path("folder"), "the credentials are in a Secret already", help);
        }
        (None, None) => {
            let help = "give `secret: NAME` or `folder: PATH`; neither is needed for a sink that wants none";
            report.add(&at(&["credentials"]), "`credentials` does not say where they are", help);
        }
    }
}

/// Turns a checked sink into what is used; an error means that `check` let something pass.
fn convert(sink: &SinkFile) -> Result<Sink, String> {
    let url = |text: &str| Url::parse(text).map_err(|error| error.to_string());
    let mut headers = HeaderMap::new();
    for (name, value) in &sink.headers {
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|error| error.to_string())?;
        headers.insert(name, HeaderValue::from_str(value).map_err(|error| error.to_string())?);
    }
    let credentials = sink.credentials.clone().and_then(|SinkCredentials { secret, folder }| {
        secret.map(CredentialsAt::Secret).or_else(|| folder.map(CredentialsAt::Folder))
    });
    let oauth =
        sink.oauth.as_ref().map(|oauth| Ok::<_, String>((url(&oauth.token_url)?, oauth.scope.clone())));
    Ok(Sink {
        name: sink.name.clone(),
        url: url(&sink.url)?,
        format: sink.format,
        filter: convert_filter(sink.filter.as_ref())?,
        credentials,
        sign: sink.sign,
        oauth: oauth.transpose()?,
        headers,
        index: sink.index.clone(),
        stream: sink.rule.clone().zip(sink.stream.clone()),
        proxy: sink.proxy.as_deref().map(url).transpose()?,
        timeout: sink.timeout.0,
        dead_letter_after: sink.dead_letter_after.0,
        since: sink.since.map(|since| since.0),
    })
}

fn convert_filter(filter: Option<&FilterFile>) -> Result<Filter, String> {
    let Some(filter) = filter else { return Ok(Filter::default()) };
    let patterns = |texts: &[String]| texts.iter().map(|text| Pattern::parse(text)).collect::<Result<_, _>>();
    Ok(Filter {
        reasons: patterns(&filter.reasons)?,
        applications: patterns(&filter.applications)?,
        projects: patterns(&filter.projects)?,
        warnings_only: filter.severity == Severity::Warning,
    })
}

#[cfg(test)]
#[path = "read_tests.rs"]
mod tests;
