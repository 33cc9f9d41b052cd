//! The client's side of a round: some connections, each with a thread that sends one image after the other.
//!
//! The same code for all servers as far as their protocols allow: the body is read from its file a piece at a time
//! into a buffer that is reused, and written to a blocking socket.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use pixseal::client::Client;
use pixseal::client::bearer_token::BearerToken;
use pixseal::client::connection::NodeConnection;
use pixseal::client::nodes::Patience;
use pixseal::client::upload::{Audience, PIECE_BYTES, Terms, UploadBody};
use pixseal::durable::Durability;
use pixseal::members::Members;
use pixseal::roster::NodeId;
use pixseal::seal::SEGMENT_BYTES;
use pixseal::sealing::blocks::Blocks;
use pixseal::store::Store;
use pixseal::tls::settings::ClientTls;

#[cfg(feature = "tls")]
use super::bare_tls::{ClientStream, connect as connect_bare};
use super::images::{BenchImage, ImageSet};
use crate::support::process::ChildProcess;

/// The id for reading the nodes' folder from here: no node has it.
const READER: NodeId = NodeId(u32::MAX);
/// No single image takes this long on a machine that is of any use for measuring.
const IMAGE_TIME_MAX: Duration = Duration::from_secs(60);

/// Where images go, and how.
#[derive(Clone)]
pub enum Endpoint {
    /// Length, image, one byte back; over TLS, if there is a folder with its authority.
    Bare(SocketAddr, Option<PathBuf>),
    /// PUT to one HTTP server, the body at once; over TLS, if it is known how.
    Http(String, Option<ClientTls>),
    /// As our client uploads: offered, then sent to the node that accepts.
    Cluster {
        /// The nodes.
        members: Members,
        /// Whom images are offered to.
        audience: Audience,
        /// What is shown to them.
        token: Option<BearerToken>,
        /// How they are known.
        tls: Option<ClientTls>,
    },
    /// The same files by curl, a process a connection, to `PREFIX/name`.
    Curl(String),
}

/// Uploads the set over so many connections. The first failure ends it.
pub fn upload(
    endpoint: &Endpoint,
    set: &ImageSet,
    connections: usize,
    folder: &Path,
    stop: &AtomicBool,
) -> Result<(), String> {
    if let Endpoint::Curl(prefix) = endpoint {
        return by_curl(prefix, set, connections, folder);
    }
    share(set.count(), connections, stop, || {
        let mut sender = Sender::open(endpoint)?;
        let mut buf = vec![0; PIECE_BYTES];
        Ok(move |i: usize| sender.send(&set.item(i), &mut buf, stop))
    })
}

/// Downloads the set; with `compare`, byte by byte against the files that were uploaded.
pub fn download(
    members: &Members,
    set: &ImageSet,
    connections: usize,
    compare: bool,
    stop: &AtomicBool,
) -> Result<(), String> {
    share(set.count(), connections, stop, || {
        let mut client = Client::new(members, Patience::default());
        let mut buf = vec![0; PIECE_BYTES];
        Ok(move |i: usize| fetch(&mut client, &set.item(i), &mut buf, compare))
    })
}

/// Reads the sealed files of the set, which lie in `images`, as the servers do when nobody has read them lately.
pub fn read(images: &Path, set: &ImageSet, threads: usize, stop: &AtomicBool) -> Result<(), String> {
    let store = Store::open(images, READER, Durability::Fsync).map_err(|e| e.to_string())?;
    share(set.count(), threads, stop, || {
        let mut block = Blocks::new(1).take();
        let store = &store;
        Ok(move |i: usize| {
            let item = set.item(i);
            let found = store.find(&item.id).map_err(|e| e.to_string())?;
            let sealed = found.ok_or_else(|| format!("{} is gone", item.id))?;
            for at in (0..sealed.bytes()).step_by(SEGMENT_BYTES) {
                sealed
                    .read_block(at, block.bytes_mut())
                    .map_err(|e| e.to_string())?;
            }
            Ok(())
        })
    })
}

/// Calls what `prepare` made for each number below `count`, on so many threads.
fn share<W: FnMut(usize) -> Result<(), String>>(
    count: usize,
    threads: usize,
    stop: &AtomicBool,
    prepare: impl Fn() -> Result<W, String> + Sync,
) -> Result<(), String> {
    let (next, failed) = (AtomicUsize::new(0), AtomicBool::new(false));
    let work = || {
        let mut one = prepare()?;
        while !failed.load(Ordering::Relaxed) && !stop.load(Ordering::Relaxed) {
            let i = next.fetch_add(1, Ordering::Relaxed);
            if i >= count {
                break;
            }
            one(i).inspect_err(|_| failed.store(true, Ordering::Relaxed))?;
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        threads
            .into_iter()
            .try_for_each(|thread| thread.join().expect("a sender does not panic"))
    })
}

/// A build without TLS starts no server that speaks it.
#[cfg(not(feature = "tls"))]
type ClientStream = TcpStream;

#[cfg(not(feature = "tls"))]
fn connect_bare(_: SocketAddr, _: &Path) -> std::io::Result<ClientStream> {
    Err(std::io::ErrorKind::Unsupported.into())
}

enum Sender {
    Bare(TcpStream),
    BareTls(Box<ClientStream>),
    Http(NodeConnection),
    Cluster(Client, Audience),
}

impl Sender {
    fn open(endpoint: &Endpoint) -> Result<Sender, String> {
        match endpoint {
            Endpoint::Bare(address, Some(folder)) => {
                let stream = connect_bare(*address, folder).map_err(|e| format!("{address}: {e}"))?;
                Ok(Sender::BareTls(Box::new(stream)))
            }
            Endpoint::Bare(address, None) => {
                let stream = TcpStream::connect(address).map_err(|e| format!("{address}: {e}"))?;
                stream.set_nodelay(true).map_err(|e| format!("{address}: {e}"))?;
                Ok(Sender::Bare(stream))
            }
            Endpoint::Http(address, tls) => {
                NodeConnection::open(address, tls.as_ref(), Patience::default().connect)
                    .map(Sender::Http)
                    .map_err(|failure| failure.text)
            }
            Endpoint::Curl(_) => Err("curl sends for itself".to_owned()),
            Endpoint::Cluster {
                members,
                audience,
                token,
                tls,
            } => Ok(Sender::Cluster(
                Client::new(members, Patience::default())
                    .with_token(token.clone())
                    .with_tls(tls.clone()),
                *audience,
            )),
        }
    }

    fn send(&mut self, item: &BenchImage<'_>, buf: &mut [u8], stop: &AtomicBool) -> Result<(), String> {
        let mut file = File::open(item.path).map_err(|e| format!("{}: {e}", item.path.display()))?;
        let deadline = Instant::now() + IMAGE_TIME_MAX;
        match self {
            Sender::Bare(stream) => send_bare(stream, &mut file, item.bytes, buf)
                .map_err(|e| format!("the bare pipeline, {}: {e}", item.id)),
            Sender::BareTls(stream) => send_bare(&mut **stream, &mut file, item.bytes, buf)
                .map_err(|e| format!("the bare pipeline, {}: {e}", item.id)),
            Sender::Http(connection) => send_http(connection, &mut file, item, buf, deadline),
            Sender::Cluster(client, audience) => {
                let terms = Terms {
                    audience: *audience,
                    deadline,
                    stop,
                    hold: None,
                };
                let upload = client.upload(&item.id, UploadBody::File(&mut file, item.bytes), terms);
                let receipt = upload.outcome.map_err(|failure| failure.text)?;
                if upload.rounds > 1 || !upload.setbacks.is_empty() {
                    eprintln!(
                        "{}: {} rounds, setbacks {:?}",
                        item.id, upload.rounds, upload.setbacks
                    );
                }
                if receipt.bytes == item.bytes {
                    return Ok(());
                }
                Err(format!(
                    "{}: {} bytes were stored of {}",
                    item.id, receipt.bytes, item.bytes
                ))
            }
        }
    }
}

fn send_bare(
    stream: &mut (impl Read + Write),
    file: &mut File,
    bytes: u64,
    buf: &mut [u8],
) -> std::io::Result<()> {
    stream.write_all(&bytes.to_be_bytes())?;
    loop {
        match file.read(buf)? {
            0 => break,
            count => stream.write_all(&buf[..count])?,
        }
    }
    stream.read_exact(&mut [0])
}

fn send_http(
    connection: &mut NodeConnection,
    file: &mut File,
    item: &BenchImage<'_>,
    buf: &mut [u8],
    deadline: Instant,
) -> Result<(), String> {
    let fields = format!("Content-Length: {}\r\nContent-Type: image/png\r\n", item.bytes);
    let mut exchange = || {
        connection.send_head("PUT", &item.id.target(), &fields, &[], deadline)?;
        while let Ok(count @ 1..) = file.read(buf) {
            connection.send(&buf[..count], deadline)?;
        }
        let response = connection.head(deadline)?;
        connection.read_all(&response, PIECE_BYTES, deadline)?;
        Ok(response.status)
    };
    match exchange().map_err(|failure: pixseal::client::error::Error| failure.text)? {
        200..=299 => Ok(()),
        status => Err(format!("{}: {} answered {status}", item.id, connection.address())),
    }
}

fn fetch(client: &mut Client, item: &BenchImage<'_>, buf: &mut [u8], compare: bool) -> Result<(), String> {
    let deadline = Instant::now() + IMAGE_TIME_MAX;
    let found = client
        .download(&item.id, None, deadline)
        .map_err(|failure| failure.text)?;
    let mut download = found.ok_or_else(|| format!("{} is gone", item.id))?;
    let expected = if compare {
        std::fs::read(item.path).map_err(|e| format!("{}: {e}", item.path.display()))?
    } else {
        Vec::new()
    };
    let mut at = 0;
    loop {
        let count = download.read(buf, deadline).map_err(|failure| failure.text)?;
        if count == 0 {
            break;
        }
        if compare && expected.get(at..at + count) != Some(&buf[..count]) {
            return Err(format!("{} came back with other bytes", item.id));
        }
        at += count;
    }
    client.finish(download);
    if at as u64 == item.bytes {
        return Ok(());
    }
    Err(format!("{} came back with {at} of {} bytes", item.id, item.bytes))
}

/// Every process gets each n-th image and keeps its connection.
fn by_curl(prefix: &str, set: &ImageSet, connections: usize, folder: &Path) -> Result<(), String> {
    let mut processes = Vec::with_capacity(connections);
    for connection in 0..connections {
        let mut config = String::from("insecure\nsilent\nshow-error\nfail\nheader = \"Expect:\"\n");
        for i in (connection..set.count()).step_by(connections) {
            let item = set.item(i);
            config.push_str(&format!(
                "url = \"{prefix}{}\"\nupload-file = \"{}\"\noutput = \"/dev/null\"\n",
                item.id.target(),
                item.path.display()
            ));
        }
        let path = folder.join(format!("curl {connection}"));
        std::fs::write(&path, config).map_err(|e| format!("{}: {e}", path.display()))?;
        let log = folder.join(format!("curl {connection}.log"));
        processes.push(ChildProcess::start(
            "curl",
            Command::new("curl").arg("-K").arg(&path),
            &log,
        )?);
    }
    processes.into_iter().try_for_each(ChildProcess::finish)
}
