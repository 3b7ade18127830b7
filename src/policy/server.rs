//! The `prometheus` section: what of it makes no sense, and what the engine gets of it.

use http::{HeaderName, HeaderValue};

use super::check::{Report, keys, short_text, web_url};
use super::file::{Credentials, PolicyFile, Prometheus};
use crate::engine::policy::{self, CredentialsAt};

/// The header by which Mimir, Cortex and their like know whose data is meant.
const TENANT: &str = "X-Scope-OrgID";

/// Headers of one policy; past it something else was pasted.
const HEADERS_MAX: usize = 20;

/// Headers that are lastgood's own, or whose value is a secret.
const NOT_YOURS: [(&str, &str); 10] = [
    ("x-scope-orgid", "give it as `tenant`"),
    ("authorization", "put `bearerToken`, or `username` and `password`, where `credentials` says"),
    ("proxy-authorization", "policies are no place for secrets"),
    ("cookie", "policies are no place for secrets"),
    ("host", "it is that of `url`"),
    ("content-type", "it is that of a query"),
    ("content-length", "it is that of a query"),
    ("transfer-encoding", "it is that of a query"),
    ("connection", "it is that of a query"),
    ("accept-encoding", "answers are read as they are"),
];

/// Finds what makes no sense about the server.
pub(super) fn prometheus(file: &PolicyFile, report: &mut Report) {
    let Some(prometheus) = &file.prometheus else {
        let (what, there_is) = match file.preset {
            Some(_) => ("preset", "is a `preset`"),
            None if file.slos.is_empty() => ("guards", "are `guards`"),
            None => ("slos", "are `slos`"),
        };
        if file.preset.is_some() || !file.slos.is_empty() || !file.guards.is_empty() {
            report.add(
                &keys(&[what]),
                format!("there {there_is} but no `prometheus` to ask"),
                "add `prometheus: { url: \"http://prometheus.monitoring:9090\" }`",
            );
        }
        return;
    };
    let path = keys(&["prometheus", "url"]);
    if let Some(url) = web_url(&prometheus.url, &path, "http://prometheus.monitoring:9090", report)
        && url.path().contains("/api/v1")
    {
        report.add(&path, "the URL holds `/api/v1`, which is added by lastgood", "give the base URL only");
    }
    if let Some(tenant) = &prometheus.tenant {
        let path = keys(&["prometheus", "tenant"]);
        if short_text(tenant, &path, "tenant", report) && !tenant.bytes().all(|byte| byte.is_ascii_graphic())
        {
            report.add(&path, format!("`{tenant}` cannot be sent in a header"), "use ASCII without blanks");
        }
    }
    headers(prometheus, report);
    if let Some(credentials) = &prometheus.credentials {
        self::credentials(credentials, report);
    }
}

fn headers(prometheus: &Prometheus, report: &mut Report) {
    let count = prometheus.headers.len();
    if count > HEADERS_MAX {
        let message = format!("{count} headers are too many");
        report.add(&keys(&["prometheus", "headers"]), message, format!("at most {HEADERS_MAX}"));
    }
    for (name, value) in &prometheus.headers {
        let path = keys(&["prometheus", "headers", name]);
        let lower = name.to_ascii_lowercase();
        if let Some((_, help)) = NOT_YOURS.iter().find(|(not_yours, _)| *not_yours == lower) {
            report.add(&path, format!("the header `{name}` cannot be set here"), *help);
        } else if HeaderName::from_bytes(name.as_bytes()).is_err() {
            report.add(&path, format!("`{name}` is not the name of a header"), "use letters, digits and `-`");
        } else if short_text(value, &path, name, report) && HeaderValue::from_str(value).is_err() {
            report.add(&path, format!("the value of `{name}` cannot be sent in a header"), "use ASCII");
        }
    }
}

fn credentials(credentials: &Credentials, report: &mut Report) {
    let path = |field: &str| keys(&["prometheus", "credentials", field]);
    match (&credentials.secret, &credentials.folder) {
        (Some(secret), None) => {
            short_text(secret, &path("secret"), "secret", report);
        }
        (None, Some(folder)) => {
            if short_text(folder, &path("folder"), "folder", report) && !folder.starts_with('/') {
                report.add(
                    &path("folder"),
                    format!("`{folder}` is not an absolute path"),
                    "begin it with `/`: the daemon's working folder is nobody's choice",
                );
            }
        }
        (Some(_), Some(_)) => {
            report.add(
                &path("folder"),
                "the credentials are in a Secret already",
                "give `secret` or `folder`",
            );
        }
        (None, None) => report.add(
            &keys(&["prometheus", "credentials"]),
            "`credentials` does not say where they are",
            "give `secret: NAME` or `folder: PATH`; neither is needed for a server that wants none",
        ),
    }
}

/// What the engine gets of it.
pub(super) fn convert(prometheus: &Prometheus) -> policy::Prometheus {
    let mut headers = prometheus.headers.clone();
    headers.extend(prometheus.tenant.iter().map(|tenant| (TENANT.to_owned(), tenant.clone())));
    let credentials = prometheus.credentials.as_ref().and_then(|credentials| {
        let Credentials { secret, folder } = credentials;
        let secret = secret.clone().map(CredentialsAt::Secret);
        secret.or_else(|| folder.clone().map(CredentialsAt::Folder))
    });
    policy::Prometheus {
        url: prometheus.url.trim_end_matches('/').to_owned(),
        timeout: prometheus.timeout.0,
        headers,
        credentials,
    }
}
