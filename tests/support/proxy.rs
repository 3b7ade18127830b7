//! A proxy for HTTP and HTTPS that remembers what it was asked for.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;

/// Runs until it is dropped.
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    heads: Arc<Mutex<Vec<String>>>,
    // Dropped last; ends the proxy.
    _runtime: Runtime,
}

impl Proxy {
    /// Lets through who shows this header, or anybody.
    pub(crate) fn start(wanted: Option<&'static str>) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let heads = Arc::<Mutex<Vec<String>>>::default();
        let log = Arc::clone(&heads);
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(pass(stream, wanted, Arc::clone(&log)));
            }
        });
        Self { address, heads, _runtime: runtime }
    }

    /// The heads of the requests so far, in lower case.
    pub(crate) fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }
}

async fn pass(
    mut client: TcpStream,
    wanted: Option<&'static str>,
    log: Arc<Mutex<Vec<String>>>,
) -> Option<()> {
    let mut begin = Vec::new();
    while !begin.windows(4).any(|four| four == b"\r\n\r\n") {
        if client.read_buf(&mut begin).await.ok()? == 0 {
            return None;
        }
    }
    let head = String::from_utf8_lossy(&begin).to_lowercase();
    log.lock().unwrap().push(head.clone());
    if wanted.is_some_and(|wanted| !head.contains(&wanted.to_lowercase())) {
        let no =
            "HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
        client.write_all(no.as_bytes()).await.ok()?;
        return client.shutdown().await.ok();
    }
    let target = head.split(' ').nth(1)?;
    let is_tunnel = head.starts_with("connect ");
    let place = target.trim_start_matches("http://").split('/').next()?.to_owned();
    let mut server = TcpStream::connect(place).await.ok()?;
    if is_tunnel {
        client.write_all(b"HTTP/1.1 200 Connected\r\n\r\n").await.ok()?;
    } else {
        server.write_all(&begin).await.ok()?;
    }
    tokio::io::copy_bidirectional(&mut client, &mut server).await.ok()?;
    Some(())
}
