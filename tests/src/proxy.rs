//! A stretch of network between two processes that a test can make bad.

use std::{io, net::Ipv4Addr, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
    task::{JoinHandle, JoinSet},
    time::sleep,
};

/// What is read at once, bytes.
const BUFFER_BYTES: usize = 16 * 1024;

/// How a stretch of network behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weather {
    /// Everything goes through.
    Open,
    /// Nothing goes through and nobody is told: what was sent waits.
    Silent,
    /// What goes this way waits, and nobody is told; the other way is open.
    OneWay(Way),
    /// So many bytes a second go through, each way of each connection.
    Slow(u32),
    /// Connections are torn, new ones too.
    Cut,
}

/// A way through a proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// From who connected to the target.
    Forth,
    /// From the target to who connected.
    Back,
}

impl Weather {
    fn holds_back(self, way: Way) -> bool {
        self == Self::Silent || self == Self::OneWay(way)
    }

    /// How long so many bytes take.
    fn time_for(self, bytes: usize) -> Duration {
        match self {
            Self::Slow(rate) => Duration::from_secs(bytes as u64) / rate.max(1),
            _ => Duration::ZERO,
        }
    }
}

/// A TCP proxy on the loopback address. Dropping it ends it and its connections.
#[derive(Debug)]
pub struct Proxy {
    address: String,
    weather: watch::Sender<Weather>,
    serving: JoinHandle<()>,
}

impl Proxy {
    /// Starts in front of `target` (`host:port`), which need not be there yet.
    ///
    /// # Errors
    /// When no port is free.
    pub async fn start(target: &str) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?.to_string();
        let (weather, watched) = watch::channel(Weather::Open);
        let serving = tokio::spawn(serve(listener, target.to_owned(), watched));
        Ok(Self {
            address,
            weather,
            serving,
        })
    }

    /// Where it listens, `host:port`.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Changes how it behaves, from now on and for open connections too.
    pub fn set(&self, weather: Weather) {
        self.weather.send_replace(weather);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn serve(listener: TcpListener, target: String, weather: watch::Receiver<Weather>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => if let Ok((client, _)) = accepted {
                connections.spawn(connect(client, target.clone(), weather.clone()));
            },
            // Ended connections are forgotten.
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn connect(client: TcpStream, target: String, mut weather: watch::Receiver<Weather>) {
    // Whoever cannot be heard cannot connect.
    if passes(&mut weather, Way::Forth).await.is_none() {
        return;
    }
    let Ok(server) = TcpStream::connect(target).await else {
        return;
    };
    // Small messages go at once, as they do without a proxy.
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let forth = carry(from_client, to_server, weather.clone(), Way::Forth);
    let back = carry(from_server, to_client, weather, Way::Back);
    // A torn connection is an end like any other.
    let _ = tokio::join!(forth, back);
}

async fn carry(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut weather: watch::Receiver<Weather>,
    way: Way,
) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        let mut watched = weather.clone();
        let count = tokio::select! {
            count = from.read(&mut buffer) => count?,
            _ = watched.wait_for(|weather| *weather == Weather::Cut) => return Ok(()),
        };
        if count == 0 {
            return to.shutdown().await;
        }
        let Some(now) = passes(&mut weather, way).await else {
            return Ok(());
        };
        sleep(now.time_for(count)).await;
        to.write_all(&buffer[..count]).await?;
    }
}

/// Waits while nothing goes this way; none if the connection is to be torn.
async fn passes(weather: &mut watch::Receiver<Weather>, way: Way) -> Option<Weather> {
    let now = weather.wait_for(|weather| !weather.holds_back(way)).await;
    now.ok()
        .map(|weather| *weather)
        .filter(|weather| *weather != Weather::Cut)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    const SOON: Duration = Duration::from_secs(10);
    const A_WHILE: Duration = Duration::from_millis(100);

    /// A server that sends everything back.
    async fn echo() -> String {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut from, mut to) = stream.split();
                    tokio::io::copy(&mut from, &mut to).await
                });
            }
        });
        address
    }

    #[tokio::test]
    async fn silence_holds_bytes_back_and_a_cut_ends_connections() {
        let proxy = Proxy::start(&echo().await).await.unwrap();
        let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
        let mut byte = [0];
        stream.write_all(b"a").await.unwrap();
        timeout(SOON, stream.read_exact(&mut byte))
            .await
            .unwrap()
            .unwrap();

        for weather in [
            Weather::Silent,
            Weather::OneWay(Way::Forth),
            Weather::OneWay(Way::Back),
        ] {
            proxy.set(weather);
            stream.write_all(b"b").await.unwrap();
            let held = timeout(A_WHILE, stream.read_exact(&mut byte)).await;
            assert!(held.is_err(), "a byte came through: {weather:?}");
            proxy.set(Weather::Open);
            timeout(SOON, stream.read_exact(&mut byte))
                .await
                .unwrap()
                .unwrap();
            assert_eq!(byte, *b"b");
        }

        proxy.set(Weather::Cut);
        let ended = timeout(SOON, stream.read(&mut byte)).await.unwrap();
        assert!(matches!(ended, Ok(0) | Err(_)), "{ended:?}");
        let mut refused = TcpStream::connect(proxy.address()).await.unwrap();
        let ended = timeout(SOON, refused.read(&mut byte)).await.unwrap();
        assert!(matches!(ended, Ok(0) | Err(_)), "{ended:?}");
    }
    #[tokio::test]
    async fn a_slow_way_takes_the_time_that_its_bytes_need() {
        const RATE: u32 = 100_000;
        const BYTES: usize = 20_000;
        let proxy = Proxy::start(&echo().await).await.unwrap();
        proxy.set(Weather::Slow(RATE));
        let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
        let began = tokio::time::Instant::now();
        stream.write_all(&[7; BYTES]).await.unwrap();
        let mut back = vec![0; BYTES];
        timeout(SOON, stream.read_exact(&mut back))
            .await
            .unwrap()
            .unwrap();
        let least = Duration::from_secs(BYTES as u64) / RATE;
        assert!(began.elapsed() >= least, "{:?}", began.elapsed());
        assert!(back.iter().all(|byte| *byte == 7));
    }
}
