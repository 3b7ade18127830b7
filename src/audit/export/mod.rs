//! Records in the forms that other tools read, one line each.

mod cef;
mod csv;
mod ocsf;

use serde_json::{Value, json};

use super::placed::Placed;

pub use csv::HEADER as CSV_HEADER;

/// A form that other tools read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// One JSON object a line: the record, its number and the hash of its file.
    Jsonl,
    /// Comma-separated values (RFC 4180), under [`CSV_HEADER`].
    Csv,
    /// Common Event Format 0 of `ArcSight`, without a syslog prefix.
    Cef,
    /// Open Cybersecurity Schema Framework 1.3.0, class Application Lifecycle, one object a line.
    Ocsf,
}

impl Form {
    /// The line of a record, without its end.
    pub fn line(self, placed: &Placed) -> String {
        match self {
            Self::Jsonl => jsonl(placed).to_string(),
            Self::Csv => csv::line(placed),
            Self::Cef => cef::line(placed),
            Self::Ocsf => ocsf::event(placed).to_string(),
        }
    }
}

fn jsonl(placed: &Placed) -> Value {
    json!({ "sequence": placed.sequence, "hash": placed.hash, "record": placed.record })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::ledger::{Destination, Digest, PolicyUsed, Record, Recorder, Subject};

    /// A record whose texts try to break out of every form.
    fn hostile() -> Record {
        let hash = Digest::of(b"policy");
        Record {
            id: "20260131T235900000Z-8b5c-000001".into(),
            at: "2026-01-31T23:59:00.25Z".parse().unwrap(),
            reason: "RevertPushed".into(),
            sentence: "pushed \"a\", b=c | d\\e\r\nCEF:0|x\u{1b}[31m".into(),
            warning: true,
            cluster: "=cmd|x".into(),
            application: Some(Subject {
                namespace: "argocd".into(),
                name: "shop".into(),
                uid: "8b5c".into(),
                project: Some("a,b".into()),
                destination: Some(Destination { cluster: "in-cluster".into(), namespace: "shop".into() }),
            }),
            rollback: Some("shop@1".into()),
            by: Recorder {
                version: "0.1.0".into(),
                pod: Some("argocd/lastgood-0".into()),
                service_account: None,
            },
            policy: Some(PolicyUsed { name: "shop".into(), hash, text: None }),
            detail: json!({ "already": false }),
            evidence: None,
            inputs: None,
        }
    }

    fn line(form: Form, record: &Record) -> String {
        let hash = Digest::of(b"file");
        form.line(&Placed { sequence: 7, hash, record: record.clone() })
    }

    #[test]
    fn each_form_takes_any_text_and_stays_one_line() {
        let record = hostile();
        for form in [Form::Jsonl, Form::Cef, Form::Ocsf] {
            assert!(!line(form, &record).contains(['\n', '\r', '\u{1b}']), "{form:?}");
        }
        assert_eq!(
            line(Form::Cef, &record),
            "CEF:0|lastgood|lastgood|0.1.0|RevertPushed|Revert pushed|6|rt=1769903940250 \
             externalId=20260131T235900000Z-8b5c-000001 msg=pushed \"a\", b\\=c | d\\\\e\\r\\nCEF:0|x [31m act=RevertPushed \
             deviceExternalId=argocd/lastgood-0 cs1Label=application cs1=argocd/shop cs2Label=cluster cs2=\\=cmd|x \
             cs3Label=rollback cs3=shop@1 cs4Label=policy cs4=shop cs5Label=destination cs5=in-cluster/shop cs6Label=recordHash \
             cs6=sha256:3b9c358f36f0a31b6ad3e14f309c7cf198ac9246e8316f9ce543d5b19ac02b80 cn1Label=sequence cn1=7"
        );
        assert_eq!(
            line(Form::Csv, &record),
            "7,20260131T235900000Z-8b5c-000001,2026-01-31T23:59:00.25Z,RevertPushed,true,'=cmd|x,argocd,shop,\"a,b\",in-cluster,\
             shop,shop@1,shop,\"pushed \"\"a\"\", b=c | d\\e\r\nCEF:0|x\u{1b}[31m\",0.1.0,argocd/lastgood-0,\
             sha256:3b9c358f36f0a31b6ad3e14f309c7cf198ac9246e8316f9ce543d5b19ac02b80"
        );
        assert_eq!(CSV_HEADER.split(',').count(), 17);
    }

    /// The required attributes of the class and of its objects, and the values that go together.
    #[test]
    fn an_event_of_ocsf_has_what_its_class_requires() {
        let event: Value = serde_json::from_str(&line(Form::Ocsf, &hostile())).unwrap();
        for required in
            ["activity_id", "category_uid", "class_uid", "type_uid", "severity_id", "time", "metadata", "app"]
        {
            assert!(!event[required].is_null(), "{required}: {event}");
        }
        assert_eq!(event["metadata"]["version"], "1.3.0");
        assert!(event["metadata"]["product"]["vendor_name"].is_string());
        let number = |key: &str| event[key].as_u64().unwrap();
        assert_eq!(number("type_uid"), number("class_uid") * 100 + number("activity_id"));
        assert_eq!((number("class_uid") / 1000, number("activity_id")), (number("category_uid"), 8));
        assert_eq!(number("time"), 1_769_903_940_250);
        // Of a record about the daemon itself the daemon is the application.
        let event: Value =
            serde_json::from_str(&line(Form::Ocsf, &Record { application: None, ..hostile() })).unwrap();
        assert_eq!(event["app"]["name"], "lastgood");
    }
}
