//! A wire between a client and the daemon that can be cut, or lead nowhere for a while.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Passes connections on until they are cut. Its end cuts them too.
pub struct Relay {
    address: String,
    /// Rises with each cut; connections from before it end.
    cuts: watch::Sender<u64>,
    /// Whether nothing passes, either way.
    frozen: watch::Sender<bool>,
    connections: Arc<AtomicUsize>,
    accepting: JoinHandle<()>,
}

impl Relay {
    /// A wire to `host:port`.
    pub async fn to(target: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address").to_string();
        let (cuts, _) = watch::channel(0);
        let (frozen, _) = watch::channel(false);
        let connections = Arc::new(AtomicUsize::new(0));
        let (target, counted) = (target.to_owned(), Arc::clone(&connections));
        let (cut, ice) = (cuts.clone(), frozen.clone());
        let accepting = tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                counted.fetch_add(1, Ordering::Relaxed);
                let (target, mut cut) = (target.clone(), cut.subscribe());
                let (up, down) = (ice.subscribe(), ice.subscribe());
                tokio::spawn(async move {
                    let Ok(far) = TcpStream::connect(target).await else {
                        return;
                    };
                    let ((near_in, near_out), (far_in, far_out)) = (near.into_split(), far.into_split());
                    tokio::select! {
                        _ = cut.changed() => {}
                        () = pass(near_in, far_out, up) => {}
                        () = pass(far_in, near_out, down) => {}
                    }
                });
            }
        });
        Self {
            address,
            cuts,
            frozen,
            connections,
            accepting,
        }
    }

    /// `host:port` of its near end.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Connections so far.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// Lets nothing pass, as a network does that nobody has noticed to be gone; or lets everything pass again.
    pub fn freeze(&self, frozen: bool) {
        self.frozen.send_replace(frozen);
    }

    /// Cuts every connection that there is. New ones are passed on.
    pub fn cut(&self) {
        self.cuts.send_modify(|cuts| *cuts += 1);
    }
}

/// Passes bytes on until one end is gone. What was read while the wire is frozen leaves when it is not.
async fn pass(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut frozen: watch::Receiver<bool>) {
    let mut buffer = vec![0; 16 << 10];
    while let Ok(count) = from.read(&mut buffer).await {
        if count == 0
            || frozen.wait_for(|frozen| !*frozen).await.is_err()
            || to.write_all(&buffer[..count]).await.is_err()
        {
            return;
        }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.accepting.abort();
        self.cut();
    }
}
