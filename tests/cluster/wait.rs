//! Waiting for a condition, and seeing that one stays.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

/// Short enough that timings mean something, long enough not to be the load that is measured.
const POLL: Duration = Duration::from_millis(200);

/// Asks again and again until `condition` gives a value; its error says what was seen instead.
pub(crate) async fn wait_until<T>(
    what: &str,
    timeout: Duration,
    mut condition: impl AsyncFnMut() -> Result<T>,
) -> Result<T> {
    let start = Instant::now();
    loop {
        match condition().await {
            Ok(value) => return Ok(value),
            Err(last) if start.elapsed() >= timeout => {
                bail!("waited {} s for {what}; seen last: {last:#}", timeout.as_secs());
            }
            Err(_) => tokio::time::sleep(POLL).await,
        }
    }
}

/// Holds if `condition` holds for the whole of `time`.
pub(crate) async fn stays(
    what: &str,
    time: Duration,
    mut condition: impl AsyncFnMut() -> Result<()>,
) -> Result<()> {
    let start = Instant::now();
    while start.elapsed() < time {
        condition().await.with_context(|| {
            format!("after {:.1} s it was no longer true that {what}", start.elapsed().as_secs_f32())
        })?;
        tokio::time::sleep(POLL).await;
    }
    Ok(())
}
