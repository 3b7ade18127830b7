//! The real Prometheus, scraping the applications' traffic each second.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};

use crate::kubernetes::text;
use crate::process::{Process, Program};
use crate::rundir::free_ports;
use crate::wait::wait_until;

const START_TIMEOUT: Duration = Duration::from_secs(30);

/// A running Prometheus.
pub(crate) struct Prometheus {
    /// Its address, for policies.
    pub(crate) url: String,
    /// An address where no Prometheus answers.
    pub(crate) dead_url: String,
    http: reqwest::Client,
    process: Process,
}

impl Prometheus {
    pub(crate) async fn start(dir: &Path, target: SocketAddr) -> Result<Self> {
        let home = dir.join("prometheus");
        fs::create_dir_all(&home)?;
        let config = json!({
            "global": { "scrape_interval": "1s", "scrape_timeout": "1s" },
            "scrape_configs": [{
                "job_name": "applications",
                // The namespace label is the application's, not the scraper's.
                "honor_labels": true,
                "static_configs": [{ "targets": [target.to_string()] }],
            }],
        });
        // JSON is YAML too.
        fs::write(home.join("prometheus.yml"), serde_json::to_vec_pretty(&config)?)?;
        let [port, dead_port] = free_ports()?;
        let process = Program::new("prometheus", "prometheus")
            .args(["--config.file=prometheus.yml", "--storage.tsdb.path=data", "--log.level=warn"])
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .start(&home, &dir.join("logs/prometheus.log"))?;
        let prometheus = Self {
            url: format!("http://127.0.0.1:{port}"),
            dead_url: format!("http://127.0.0.1:{dead_port}"),
            http: reqwest::Client::builder().no_proxy().build()?,
            process,
        };
        wait_until("Prometheus", START_TIMEOUT, async || {
            prometheus.process.check_running()?;
            let targets = prometheus.query("up").await?;
            ensure!(targets == Some(1.0), "its target's `up` is {targets:?}");
            Ok(())
        })
        .await?;
        Ok(prometheus)
    }

    /// Fails if it has ended.
    pub(crate) fn check_running(&self) -> Result<()> {
        self.process.check_running()
    }

    /// The value of a query that gives at most one series; nothing for no data or no number.
    pub(crate) async fn query(&self, query: &str) -> Result<Option<f64>> {
        let mut url = reqwest::Url::parse(&format!("{}/api/v1/query", self.url))?;
        url.query_pairs_mut().append_pair("query", query);
        let body = self.http.get(url).send().await?.text().await?;
        let answer: Value =
            serde_json::from_str(&body).with_context(|| format!("reading the answer {body}"))?;
        ensure!(text(&answer, "/status") == "success", "Prometheus refused `{query}`: {body}");
        let result =
            answer.pointer("/data/result").and_then(Value::as_array).context("an answer has no result")?;
        match result.as_slice() {
            [] => Ok(None),
            [series] => Ok(text(series, "/value/1").parse().ok().filter(|value: &f64| value.is_finite())),
            more => bail!("`{query}` gave {} series instead of one", more.len()),
        }
    }
}
