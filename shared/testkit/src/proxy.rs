//! A TCP proxy between a service and its broker: it can hold, slow down, cut in the midst of a message, and be silent.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Result;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

/// How the proxy treats what passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weather {
    /// Everything passes at once.
    Fair,
    /// Everything passes so much later, in both directions.
    Slow(Duration),
    /// Connections stay, nothing passes; it is kept, and passes later.
    Silent,
    /// Every connection is cut, and new ones are refused.
    Cut,
    /// Of the next portion from the broker so many bytes pass in each connection, then it is cut: within a message, most
    /// likely.
    Truncated(u64),
}

/// A running proxy. Ends with the value, and all its connections with it.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    weather: watch::Sender<Weather>,
    passed: Arc<AtomicU64>,
    running: JoinHandle<()>,
}

const CHUNK_BYTES: usize = 16 * 1024;

// === impl Proxy ===

impl Proxy {
    /// Listens on any free port of this machine, and passes to another one of it.
    pub async fn start(target_port: u16) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let port = listener.local_addr()?.port();
        let (weather, forecast) = watch::channel(Weather::Fair);
        let passed = Arc::new(AtomicU64::new(0));
        let running = tokio::spawn(accept(listener, target_port, forecast, Arc::clone(&passed)));
        Ok(Self { port, weather, passed, running })
    }

    /// As `nats://127.0.0.1:4222`.
    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// From now on.
    pub fn set(&self, weather: Weather) {
        self.weather.send_replace(weather);
    }

    /// Bytes that have passed, both ways.
    pub fn passed(&self) -> u64 {
        self.passed.load(Ordering::Relaxed)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.running.abort();
    }
}

async fn accept(
    listener: TcpListener,
    target_port: u16,
    weather: watch::Receiver<Weather>,
    passed: Arc<AtomicU64>,
) {
    let mut connections = JoinSet::new();
    loop {
        let Ok((client, _)) = listener.accept().await else { continue };
        if *weather.borrow() == Weather::Cut {
            continue;
        }
        connections.spawn(connection(client, target_port, weather.clone(), Arc::clone(&passed)));
        while connections.try_join_next().is_some() {}
    }
}

/// Ends when either side does, or when the weather says so.
async fn connection(
    client: TcpStream,
    target_port: u16,
    weather: watch::Receiver<Weather>,
    passed: Arc<AtomicU64>,
) {
    let Ok(server) = TcpStream::connect(("127.0.0.1", target_port)).await else { return };
    // What is small goes at once, as without a proxy.
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
    tokio::select! {
        () = pass(from_client, to_server, weather.clone(), &passed, false) => {}
        () = pass(from_server, to_client, weather, &passed, true) => {}
    }
}

async fn pass(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut weather: watch::Receiver<Weather>,
    passed: &AtomicU64,
    from_broker: bool,
) {
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        let read = tokio::select! {
            read = from.read(&mut chunk) => read,
            _ = weather.wait_for(|weather| *weather == Weather::Cut) => return,
        };
        let Ok(count @ 1..) = read else { return };
        let now = *weather.borrow();
        let (count, last) = match now {
            Weather::Fair => (count, false),
            Weather::Cut => return,
            Weather::Slow(delay) => {
                tokio::time::sleep(delay).await;
                (count, false)
            }
            Weather::Silent => {
                let changed = weather.wait_for(|weather| *weather != Weather::Silent).await;
                if changed.is_ok_and(|weather| *weather == Weather::Cut) {
                    return;
                }
                (count, false)
            }
            Weather::Truncated(_) if !from_broker => (count, false),
            Weather::Truncated(bytes) => (count.min(usize::try_from(bytes).unwrap_or(usize::MAX)), true),
        };
        if to.write_all(&chunk[..count]).await.is_err() || last {
            return;
        }
        passed.fetch_add(u64::try_from(count).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::timeout;

    use super::*;

    const LONG: Duration = Duration::from_secs(10);
    const SHORT: Duration = Duration::from_millis(100);

    /// A proxy before a server that sends back what it reads, and a connection through it.
    async fn echo() -> Result<(Proxy, TcpStream)> {
        let server = TcpListener::bind("127.0.0.1:0").await?;
        let proxy = Proxy::start(server.local_addr()?.port()).await?;
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = server.accept().await {
                tokio::spawn(async move {
                    let (mut from, mut to) = stream.split();
                    tokio::io::copy(&mut from, &mut to).await
                });
            }
        });
        let client = TcpStream::connect(("127.0.0.1", proxy.port)).await?;
        Ok((proxy, client))
    }

    async fn said(client: &mut TcpStream, text: &str) -> Result<String> {
        client.write_all(text.as_bytes()).await?;
        let mut heard = vec![0; text.len()];
        let mut count = 0;
        while count < heard.len() {
            match timeout(LONG, client.read(&mut heard[count..])).await? {
                Ok(more @ 1..) => count += more,
                Ok(0) | Err(_) => break,
            }
        }
        Ok(String::from_utf8_lossy(&heard[..count]).into_owned())
    }

    #[tokio::test]
    async fn each_weather_does_what_it_says() -> Result<()> {
        let (proxy, mut client) = echo().await?;
        assert_eq!(said(&mut client, "hello").await?, "hello");
        assert_eq!(proxy.passed(), 10);

        proxy.set(Weather::Slow(SHORT));
        let before = tokio::time::Instant::now();
        assert_eq!(said(&mut client, "hello").await?, "hello");
        assert!(before.elapsed() >= SHORT * 2);

        proxy.set(Weather::Silent);
        client.write_all(b"kept").await?;
        let mut heard = [0; 4];
        assert!(timeout(SHORT, client.read(&mut heard)).await.is_err());
        proxy.set(Weather::Fair);
        timeout(LONG, client.read_exact(&mut heard)).await??;
        assert_eq!(&heard, b"kept");

        proxy.set(Weather::Truncated(3));
        assert_eq!(said(&mut client, "hello").await?, "hel");
        let mut again = TcpStream::connect(("127.0.0.1", proxy.port)).await?;
        proxy.set(Weather::Cut);
        assert_eq!(said(&mut again, "hello").await.unwrap_or_default(), "");
        Ok(())
    }
}
