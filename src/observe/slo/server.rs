//! One request to a Prometheus server: sent within its time-out, and read up to a limit.

use std::time::Duration;

use reqwest::{StatusCode, Url};

use crate::engine::facts::Gap;
use crate::engine::policy::Prometheus;

/// How long connecting may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// The HTTP client for Prometheus servers.
pub(super) fn http() -> Result<reqwest::Client, reqwest::Error> {
    crate::cluster::install_crypto();
    reqwest::Client::builder()
        // HTTPS_PROXY is meant for Git, and would see the queries.
        .no_proxy()
        // A redirected POST would be sent again as GET, without the query.
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(CONNECT_TIMEOUT)
        .build()
}

/// A server, and how it is reached.
pub(super) struct Server<'a> {
    pub(super) http: &'a reqwest::Client,
    pub(super) prometheus: &'a Prometheus,
}

impl Server<'_> {
    /// Sends a form to one method of the API; gives the answer's status and body.
    pub(super) async fn post(
        &self,
        method: &str,
        form: &[(&str, &str)],
        bytes_max: usize,
    ) -> Result<(StatusCode, Vec<u8>), Gap> {
        let answer = self.send(method, form, bytes_max);
        tokio::time::timeout(self.prometheus.timeout, answer).await.unwrap_or(Err(Gap::TimedOut))
    }

    async fn send(
        &self,
        method: &str,
        form: &[(&str, &str)],
        bytes_max: usize,
    ) -> Result<(StatusCode, Vec<u8>), Gap> {
        let url = self.address(method)?;
        // The server need not go on after we have stopped listening.
        let timeout = format!("{}ms", self.prometheus.timeout.as_millis());
        let request = self.http.post(url).form(&[form, &[("timeout", &timeout)]].concat());
        let mut response = request.send().await.map_err(|error| broken(&error))?;
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| broken(&error))? {
            if body.len() + chunk.len() > bytes_max {
                return Err(Gap::ServerError(format!("its answer is longer than {bytes_max} bytes")));
            }
            body.extend_from_slice(&chunk);
        }
        Ok((response.status(), body))
    }

    // No message repeats the URL: it may hold a password.
    fn address(&self, method: &str) -> Result<Url, Gap> {
        let not_a_url =
            |why: &str| Gap::Unreachable(format!("the policy's `prometheus.url` is no URL: {why}"));
        let mut url = Url::parse(&self.prometheus.url).map_err(|error| not_a_url(&error.to_string()))?;
        url.path_segments_mut()
            .map_err(|()| not_a_url("it has no host"))?
            .pop_if_empty()
            .extend(["api", "v1", method]);
        Ok(url)
    }
}

fn broken(error: &reqwest::Error) -> Gap {
    if error.is_timeout() {
        return Gap::TimedOut;
    }
    // The innermost cause says it best: "Connection refused", "failed to lookup address".
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    Gap::Unreachable(cause.to_string())
}
