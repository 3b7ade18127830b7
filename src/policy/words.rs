//! The fields of a policy file that take one of a few words.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::mistake::suggestion;

/// Makes an enum of words.
///
/// By hand, since a derived one would also take a mapping, and say so in its messages.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident, $what:literal: $($(#[$of:meta])* $word:literal => $variant:ident,)*) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
        #[serde(try_from = "String", into = "String")]
        #[schemars(!try_from, !into)]
        pub enum $name {
            $($(#[$of])* #[schemars(rename = $word)] $variant,)*
        }

        impl TryFrom<String> for $name {
            type Error = String;

            fn try_from(text: String) -> Result<Self, String> {
                match text.as_str() {
                    $($word => Ok(Self::$variant),)*
                    _ => Err(format!("unknown {} `{text}`\n{}", $what, suggestion(&text, &[$($word),*]))),
                }
            }
        }

        impl From<$name> for String {
            fn from(value: $name) -> Self {
                match value {
                    $($name::$variant => $word.to_owned(),)*
                }
            }
        }
    };
}

pub(crate) use words;

words! {
    /// What to do on a degraded verdict.
    Mode, "mode":
    /// Push the revert.
    "push" => Push,
    /// Propose the revert in a pull request.
    "pull-request" => PullRequest,
    /// Only say what would be pushed.
    "dry-run" => DryRun,
}

words! {
    /// What a guard suspends.
    Suspends, "thing to suspend":
    /// SLOs, workloads and pods.
    "slos-and-rollout" => SlosAndRollout,
    /// SLOs alone.
    "slos" => Slos,
}

#[allow(clippy::derivable_impls, reason = "the macro derives for all words alike")]
impl Default for Suspends {
    fn default() -> Self {
        Self::SlosAndRollout
    }
}

words! {
    /// What several series of one query mean.
    Series, "way to take series":
    /// One number is wanted; several are inconclusive.
    "one" => One,
    /// Each is judged by itself.
    "each" => Each,
}

words! {
    /// What an application is.
    PresetKind, "kind":
    /// It answers requests over HTTP.
    "http" => Http,
    /// It answers calls over gRPC.
    "grpc" => Grpc,
    /// It takes tasks from a queue.
    "worker" => Worker,
}

words! {
    /// Who measures an application.
    Metrics, "source of metrics":
    /// Istio's proxies, on the side of the application.
    "istio" => Istio,
    /// Linkerd's proxies, on the side of the application.
    "linkerd" => Linkerd,
    /// ingress-nginx.
    "ingress-nginx" => IngressNginx,
    /// Traefik.
    "traefik" => Traefik,
    /// Envoy Gateway.
    "envoy-gateway" => EnvoyGateway,
    /// The application itself, by `http_requests_total` or `grpc_server_handled_total`.
    "plain" => Plain,
    /// celery-exporter.
    "celery" => Celery,
}

words! {
    /// Which change of a value is bad.
    Worse, "direction":
    /// A greater value.
    "increase" => Increase,
    /// A smaller value.
    "decrease" => Decrease,
    /// Any other value.
    "either" => Either,
}

words! {
    /// What it means that a query answers 1.
    TrueIs, "answer":
    /// Something is wrong.
    "bad" => Bad,
    /// All is well.
    "good" => Good,
}

words! {
    /// What to do where later commits changed the same lines.
    #[derive(Default)]
    OnConflict, "word":
    /// Leave it to a person.
    #[default]
    "hold" => Hold,
    /// Put the files back to what they were at last good.
    "restore" => Restore,
}

words! {
    /// What to do where a newer commit, not synced yet, changes the application's files too.
    #[derive(Default)]
    OnNewerChange, "word":
    /// Wait until it is synced, and judge it.
    #[default]
    "wait" => Wait,
    /// Revert under it.
    "revert" => Revert,
}

words! {
    /// What to do where other applications are rendered from files that the revert changes.
    #[derive(Default)]
    SharedFiles, "word":
    /// Leave it to a person, unless all of them are degraded too.
    #[default]
    "hold" => Hold,
    /// Revert.
    "revert" => Revert,
    /// Propose it in a pull request, unless all of them are degraded too.
    "pull-request" => PullRequest,
}

words! {
    /// What to do where the branch is protected and takes no push.
    #[derive(Default)]
    OnProtected, "word":
    /// Propose the revert in a pull request.
    #[default]
    "pull-request" => PullRequest,
    /// Leave it to a person.
    "hold" => Hold,
}

words! {
    /// How the forge merges a pull request by itself.
    AutoMerge, "merge method":
    /// With a merge commit.
    "merge" => Merge,
    /// As one new commit.
    "squash" => Squash,
    /// As the same commit on the newest one.
    "rebase" => Rebase,
}

words! {
    /// A kind of forge, by the API that it speaks.
    ForgeKind, "kind of forge":
    /// github.com or GitHub Enterprise.
    "github" => GitHub,
    /// gitlab.com or one's own GitLab.
    "gitlab" => GitLab,
    /// Gitea or Forgejo.
    "gitea" => Gitea,
}
