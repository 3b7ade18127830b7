//! The file of sinks: each field's first sentence is its entry in the reference.

use std::collections::BTreeMap;

use jiff::Timestamp;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use crate::policy::duration::Span;
use crate::policy::file::{ApiVersion, or_default};
use crate::policy::mistake::suggestion;
use crate::policy::words;

/// A file of sinks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SinksFile {
    /// The format of this file: `lastgood.dev/v1alpha1`.
    pub api_version: ApiVersion,
    /// Where records are sent; each gets all that its filter lets pass.
    pub sinks: Vec<SinkFile>,
}

/// One place that records are sent to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SinkFile {
    /// A name of your own, by which it is remembered what was sent: small letters, digits and `-`.
    pub name: String,
    /// The base URL, without a password; a format with a path of its own adds it.
    pub url: String,
    /// In which form records are sent.
    pub format: Format,
    /// Which records are sent; all by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filter: Option<FilterFile>,
    /// Where tokens, passwords and certificates for this sink are; without, none are sent, and the system's authorities are
    /// trusted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials: Option<SinkCredentials>,
    /// Whether requests are signed by Standard Webhooks, with the keys in `webhookSecret`; for `cloudevents`,
    /// `cloudevents-binary` and `json`.
    #[serde(default)]
    pub sign: bool,
    /// Where a token is fetched with `clientId` and `clientSecret` (OAuth 2.0 client credentials); Microsoft Sentinel needs
    /// one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oauth: Option<OAuth>,
    /// Further headers to send with each request, none of which may be a secret.
    #[serde(default, deserialize_with = "or_default")]
    pub headers: BTreeMap<String, String>,
    /// The index or data stream: `logs-lastgood-default` by default for `elastic`, the token's own for `splunk`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index: Option<String>,
    /// The immutable id of the data collection rule (`dcr-…`), for `sentinel`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// The rule's stream (`Custom-…`), for `sentinel`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream: Option<String>,
    /// An HTTP proxy, without a password; none by default, whatever the environment says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy: Option<String>,
    /// How long one request may take; `15s` by default.
    #[serde(default = "fifteen_seconds")]
    pub timeout: Span,
    /// How long after its first failed attempt a record is set aside, so that later ones of the same application go on;
    /// `1day` by default.
    #[serde(default = "a_day")]
    pub dead_letter_after: Span,
    /// The time from which on records are sent; all that the ledger holds by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Moment>,
}

/// Which records are sent: those that everything given here matches.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct FilterFile {
    /// Reasons such as `RevertPushed`, or globs such as `Hold*`; all by default.
    pub reasons: Vec<String>,
    /// Applications, as `name` or `namespace/name`, or globs; all by default, with what concerns none.
    pub applications: Vec<String>,
    /// Projects of Argo CD, or globs; all by default, with what concerns none.
    pub projects: Vec<String>,
    /// The least severity: `normal` by default, which is all.
    pub severity: Severity,
}

/// Where credentials and certificates for a sink are: one of the two.
///
/// Keys, all of them optional: `token`, sent as the format wants it; or `username` and `password`; `webhookSecret`, keys for
/// signatures (`whsec_…`), several divided by blanks or lines while one is exchanged for another; `clientId` and
/// `clientSecret` for `oauth`; `tls.crt` and `tls.key`, a client certificate; `ca.crt`, the only authorities to trust;
/// `proxyUsername` and `proxyPassword`. They are read anew every half minute.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct SinkCredentials {
    /// A Secret in Argo CD's namespace (`--argocd-namespace`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
    /// A folder with a file for each key, such as a mounted Secret or a projected volume.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub folder: Option<String>,
}

/// Where a token is fetched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OAuth {
    /// The token endpoint, without a password.
    pub token_url: String,
    /// The scope that is asked for; none by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
}

fn fifteen_seconds() -> Span {
    Span::secs(15)
}

fn a_day() -> Span {
    Span::secs(24 * 3600)
}

words! {
    /// The form in which records are sent.
    Format, "format":
    /// `CloudEvents` 1.0 in structured mode: one event a request, all of it in the body.
    "cloudevents" => CloudEvents,
    /// `CloudEvents` 1.0 in binary mode: one event a request, its attributes in headers.
    "cloudevents-binary" => CloudEventsBinary,
    /// The event as it is: one a request.
    "json" => Json,
    /// Splunk's HTTP Event Collector.
    "splunk" => Splunk,
    /// The bulk API of Elasticsearch and OpenSearch.
    "elastic" => Elastic,
    /// Datadog's logs.
    "datadog" => Datadog,
    /// The Logs Ingestion API of Azure Monitor, which Microsoft Sentinel reads from.
    "sentinel" => Sentinel,
    /// Grafana Loki's push API.
    "loki" => Loki,
    /// OpenTelemetry by OTLP/HTTP in JSON: a log record for each, and a trace for each rollback.
    "otlp" => Otlp,
}

words! {
    /// How much attention a record asks for.
    #[derive(Default)]
    Severity, "severity":
    /// All.
    #[default]
    "normal" => Normal,
    /// What a person should see without looking for it.
    "warning" => Warning,
}

/// A point in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Moment(pub Timestamp);

impl TryFrom<String> for Moment {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse().map(Self).map_err(|_| {
            format!("`{text}` is not a point in time\nwrite it like `2026-01-31T12:00:00Z`, with its zone")
        })
    }
}

impl From<Moment> for String {
    fn from(moment: Moment) -> Self {
        moment.0.to_string()
    }
}

impl JsonSchema for Moment {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Moment".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "date-time", "examples": ["2026-01-31T12:00:00Z"] })
    }
}
