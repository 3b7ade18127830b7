//! Kubernetes Events on the Application, so that `kubectl describe` tells what lastgood did.
//!
//! Written by hand: kube's recorder keeps the first note of a reason for minutes, so that a second rollback would be told
//! with the first one's commit.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::Client;
use kube::api::{Api, ObjectMeta, PostParams};
use tracing::warn;

use crate::engine::facts::AppKey;

/// Bytes of a note that the API server takes.
const NOTE_BYTES_MAX: usize = 1024;

/// Bytes of a reason or an action that the API server takes.
const WORD_BYTES_MAX: usize = 128;

/// Who reports, as the API server wants it: a domain and a name.
const CONTROLLER: &str = "lastgood.dev/lastgood";

/// How much attention an Event asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Urgency {
    /// Something went its way.
    Normal,
    /// Somebody should look.
    Warning,
}

/// What to tell about an application.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice<'a> {
    /// The application.
    pub app: &'a AppKey,
    /// The Application object's uid.
    pub uid: &'a str,
    /// Normal or Warning.
    pub urgency: Urgency,
    /// Why, as one word in upper camel case.
    pub reason: &'a str,
    /// What was done, as one word in upper camel case.
    pub action: &'a str,
    /// The sentence; cut off at 1 KiB.
    pub note: &'a str,
}

/// Writes one Event; a failure is logged and holds nothing up.
pub async fn publish(client: &Client, notice: &Notice<'_>, now: Timestamp) {
    let events: Api<Event> = Api::namespaced(client.clone(), &notice.app.namespace);
    if let Err(error) = events.create(&PostParams::default(), &event(notice, now)).await {
        warn!(app = %notice.app, reason = notice.reason, %error, "A Kubernetes Event could not be written.");
    }
}

fn event(notice: &Notice<'_>, now: Timestamp) -> Event {
    let AppKey { namespace, name } = notice.app;
    Event {
        metadata: ObjectMeta {
            // client-go takes the time alone, but one decision can be told in several Events.
            name: Some(format!("{name}.{:x}.{}", now.as_nanosecond(), notice.reason.to_ascii_lowercase())),
            namespace: Some(namespace.clone()),
            ..ObjectMeta::default()
        },
        regarding: Some(ObjectReference {
            api_version: Some("argoproj.io/v1alpha1".into()),
            kind: Some("Application".into()),
            namespace: Some(namespace.clone()),
            name: Some(name.clone()),
            uid: Some(notice.uid.to_owned()),
            ..ObjectReference::default()
        }),
        event_time: Some(MicroTime(now)),
        type_: Some(match notice.urgency {
            Urgency::Normal => "Normal".into(),
            Urgency::Warning => "Warning".into(),
        }),
        reason: Some(cut(notice.reason, WORD_BYTES_MAX)),
        action: Some(cut(notice.action, WORD_BYTES_MAX)),
        note: Some(cut(notice.note, NOTE_BYTES_MAX)),
        reporting_controller: Some(CONTROLLER.into()),
        reporting_instance: Some("lastgood".into()),
        ..Event::default()
    }
}

/// Shortens a text to so many bytes, at a character's border, with a mark that it was cut.
fn cut(text: &str, bytes_max: usize) -> String {
    const MARK: char = '…';
    if text.len() <= bytes_max {
        return text.to_owned();
    }
    let room = bytes_max.saturating_sub(MARK.len_utf8());
    let end = text.char_indices().map(|(at, c)| at + c.len_utf8()).take_while(|end| *end <= room).last();
    format!("{}{MARK}", text.get(..end.unwrap_or(0)).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_names_the_application_and_fits_the_api_server() {
        let app = AppKey::new("argocd", "shop");
        let note = "ä".repeat(2000);
        let notice = Notice {
            app: &app,
            uid: "u1",
            urgency: Urgency::Warning,
            reason: "RolledBack",
            action: "Reverted",
            note: &note,
        };
        let event = event(&notice, "2026-11-23T10:00:00.000001Z".parse().unwrap());
        assert_eq!(event.metadata.namespace.as_deref(), Some("argocd"));
        assert!(event.metadata.name.unwrap().starts_with("shop."));
        assert_eq!(event.type_.as_deref(), Some("Warning"));
        let regarding = event.regarding.unwrap();
        assert_eq!((regarding.kind.as_deref(), regarding.uid.as_deref()), (Some("Application"), Some("u1")));
        let note = event.note.unwrap();
        assert!(note.len() <= NOTE_BYTES_MAX && note.len() > NOTE_BYTES_MAX - 3, "{}", note.len());
        assert!(note.ends_with('…'));
        assert_eq!(cut("short", 5), "short");
    }
}
