//! The bare pipeline: what the machine can do when nothing is promised but the sealing itself. The measure of things.
//!
//! A thread a connection. 8 bytes of length (big-endian), then the image; it is read in segments of 1 MiB, sealed, written
//! to a file, made durable; then one byte goes back. No HTTP, no names, no check of the image, no bound on anything, and no
//! code shared with the server.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};

use aes::Aes256Enc;
use aes::cipher::{BlockCipherEncrypt, InnerIvInit, KeyInit, StreamCipher, StreamCipherCoreWrapper};
use ctr::CtrCore;
use ctr::flavors::Ctr32BE;
use ghash::GHash;
use ghash::universal_hash::UniversalHash;
use hmac::{Hmac, Mac};
use rustix::fs::{OFlags, fcntl_setfl};
use sha2::Sha256;

use crate::support::process::ChildProcess;

const SEGMENT_BYTES: usize = 1 << 20;
/// Room for the tag of HMAC-SHA256; that of GCM takes half.
const TAG_BYTES: usize = 32;
const TEXT_BYTES: usize = SEGMENT_BYTES - TAG_BYTES;
/// Encrypted and authenticated at a time, so that the second finds what the first left in the cache.
const PIECE_BYTES: usize = 16 << 10;
const ALIGNMENT: usize = 4096;
const KEY: [u8; 32] = [7; 32];

/// How bytes get to the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteMode {
    /// Past the page cache, with fdatasync for each file.
    Direct,
    /// Into the page cache, with fdatasync for each file, and then the file gets its name, which outlives a power loss: a
    /// rename and the folder's fsync. Past the page cache a small file would wait for the disk once more.
    Named,
    /// Into the page cache, without waiting for the disk.
    Cached,
    /// The same, and then the file gets its name: a rename.
    Renamed,
}

/// What happens to bytes before they are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sealing {
    /// AES-256-GCM, as the server does.
    Gcm,
    /// The same, by a thread of a pool, one a core, that the thread of the connection waits for: what a server pays that keeps
    /// the two apart.
    GcmInPool,
    /// AES-256-CTR and HMAC-SHA256, as it did once.
    CtrHmac,
    /// Nothing: what no sealing can be faster than.
    Nothing,
}

impl WriteMode {
    const ALL: [WriteMode; 4] = [
        WriteMode::Direct,
        WriteMode::Named,
        WriteMode::Cached,
        WriteMode::Renamed,
    ];

    /// The word for it on the command line.
    fn word(self) -> &'static str {
        match self {
            WriteMode::Direct => "direct",
            WriteMode::Named => "named",
            WriteMode::Cached => "cached",
            WriteMode::Renamed => "renamed",
        }
    }

    fn is_synced(self) -> bool {
        matches!(self, WriteMode::Direct | WriteMode::Named)
    }

    /// A file gets its name when it is complete.
    fn is_renamed(self) -> bool {
        matches!(self, WriteMode::Named | WriteMode::Renamed)
    }
}

impl Sealing {
    const ALL: [Sealing; 4] = [
        Sealing::Gcm,
        Sealing::GcmInPool,
        Sealing::CtrHmac,
        Sealing::Nothing,
    ];

    /// The word for it on the command line.
    fn word(self) -> &'static str {
        match self {
            Sealing::Gcm => "gcm",
            Sealing::GcmInPool => "gcm-in-pool",
            Sealing::CtrHmac => "ctr-hmac",
            Sealing::Nothing => "nothing",
        }
    }
}

/// How a bare pipeline works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pipeline {
    /// What happens to bytes first.
    pub sealing: Sealing,
    /// Then, how they get to the disk.
    pub write: WriteMode,
    /// Over TLS.
    pub tls: bool,
}

/// The word for [`Pipeline::tls`] on the command line, and the one for its opposite.
const TLS: &str = "tls";
const CLEAR: &str = "clear";

impl Pipeline {
    /// What [`start`] has put on the command line.
    pub fn parse(sealing: &str, write: &str, transport: &str) -> Option<Pipeline> {
        Some(Pipeline {
            tls: transport == TLS,
            sealing: Sealing::ALL.into_iter().find(|known| known.word() == sealing)?,
            write: WriteMode::ALL.into_iter().find(|known| known.word() == write)?,
        })
    }
}

/// Starts this program once more, as the server, and returns where it listens.
pub fn start(pipeline: Pipeline, folder: &Path) -> Result<(ChildProcess, SocketAddr), String> {
    let program = std::env::current_exe().map_err(|e| format!("cannot find this program: {e}"))?;
    let mut command = Command::new(program);
    command
        .args(["--bare", pipeline.sealing.word(), pipeline.write.word()])
        .arg(if pipeline.tls { TLS } else { CLEAR })
        .arg(folder);
    // It ends when its input does, so also when this program is killed.
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut process = ChildProcess::adopt("the bare pipeline", &mut command)?;
    let out = process.child().stdout.take().expect("it is piped");
    let mut line = String::new();
    let said = BufReader::new(out).read_line(&mut line);
    let address = said.ok().and_then(|_| line.trim().parse().ok());
    Ok((process, address.ok_or("the bare pipeline did not come up")?))
}

/// The server: prints its address and serves until its input ends.
pub fn serve(pipeline: Pipeline, folder: &Path) -> Result<(), String> {
    let failed = |e: io::Error| format!("the bare pipeline: {e}");
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(failed)?;
    #[cfg(feature = "tls")]
    let config = pipeline.tls.then(|| super::bare_tls::load(folder)).transpose()?;
    println!("{}", listener.local_addr().map_err(failed)?);
    let folder = folder.to_owned();
    std::thread::spawn(move || {
        let (files, pool) = (AtomicU64::new(0), Pool::start());
        std::thread::scope(|scope| {
            for stream in listener.incoming().flatten() {
                let (files, folder, pool) = (&files, &folder, &pool);
                // A client that goes away half-way gets no answer, and half a file stays.
                #[cfg(feature = "tls")]
                if let Some(config) = &config {
                    scope.spawn(move || {
                        let stream = super::bare_tls::accept(stream, config)?;
                        receive_all(stream, (pipeline, pool), folder, files)
                    });
                    continue;
                }
                scope.spawn(move || {
                    stream.set_nodelay(true)?;
                    receive_all(stream, (pipeline, pool), folder, files)
                });
            }
        });
    });
    io::copy(&mut io::stdin(), &mut io::sink()).map_err(failed)?;
    Ok(())
}

fn receive_all(
    mut stream: impl Read + Write,
    (pipeline, pool): (Pipeline, &Pool),
    folder: &Path,
    files: &AtomicU64,
) -> io::Result<()> {
    let mut segment = Segment::new();
    loop {
        let mut length = [0; 8];
        stream.read_exact(&mut length)?;
        let number = files.fetch_add(1, Ordering::Relaxed);
        let path: PathBuf = folder.join(number.to_string());
        segment = receive(
            &mut stream,
            u64::from_be_bytes(length),
            segment,
            (pipeline, pool),
            &path,
        )?;
        stream.write_all(&[1])?;
    }
}

fn receive(
    stream: &mut impl Read,
    bytes: u64,
    mut segment: Segment,
    (pipeline, pool): (Pipeline, &Pool),
    path: &Path,
) -> io::Result<Segment> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    if pipeline.write == WriteMode::Direct {
        options.custom_flags(OFlags::DIRECT.bits().cast_signed());
    }
    let nameless = path.with_extension("part");
    let file = match pipeline.write.is_renamed() {
        true => options.open(&nameless)?,
        false => options.open(path)?,
    };
    let keys = Arc::new(Keys::new());
    let (mut left, mut offset) = (bytes, 0);
    while left > 0 {
        let count = usize::try_from(left).unwrap_or(TEXT_BYTES).min(TEXT_BYTES);
        stream.read_exact(&mut segment.bytes_mut()[..count])?;
        if pipeline.sealing == Sealing::GcmInPool {
            segment = pool.seal(Arc::clone(&keys), offset, segment, count + TAG_BYTES);
        } else {
            keys.seal(
                pipeline.sealing,
                offset,
                &mut segment.bytes_mut()[..count + TAG_BYTES],
            );
        }
        write(
            &file,
            pipeline.write,
            offset,
            &segment.bytes_mut()[..count + TAG_BYTES],
        )?;
        left -= count as u64;
        offset += SEGMENT_BYTES as u64;
    }
    if pipeline.write.is_synced() {
        file.sync_data()?;
    }
    if pipeline.write.is_renamed() {
        std::fs::rename(&nameless, path)?;
    }
    if pipeline.write == WriteMode::Named {
        File::open(path.parent().expect("it is in the folder"))?.sync_all()?;
    }
    Ok(segment)
}

/// A segment's worth of memory, aligned for O_DIRECT.
struct Segment {
    memory: Vec<u8>,
    start: usize,
}

impl Segment {
    fn new() -> Segment {
        let memory = vec![0; SEGMENT_BYTES + ALIGNMENT];
        let start = memory.as_ptr().align_offset(ALIGNMENT);
        Segment { memory, start }
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.memory[self.start..self.start + SEGMENT_BYTES]
    }
}

/// Threads that seal, one a core. They, and those who wait for them, sleep at once.
struct Pool {
    jobs: Arc<Queue<Job>>,
}

type Job = Box<dyn FnOnce() + Send>;

/// Of a lock that nobody holds while he could panic.
const SOUND: &str = "no holder panics";

struct Queue<T> {
    letters: Mutex<VecDeque<T>>,
    came: Condvar,
}

impl<T> Queue<T> {
    fn new() -> Arc<Queue<T>> {
        Arc::new(Queue {
            letters: Mutex::new(VecDeque::new()),
            came: Condvar::new(),
        })
    }

    fn put(&self, letter: T) {
        self.letters.lock().expect(SOUND).push_back(letter);
        self.came.notify_one();
    }

    fn take(&self) -> T {
        let letters = self.letters.lock().expect(SOUND);
        let letters = self.came.wait_while(letters, |some| some.is_empty());
        let mut letters = letters.expect(SOUND);
        letters.pop_front().expect("that was waited for")
    }
}

impl Pool {
    fn start() -> Pool {
        let jobs: Arc<Queue<Job>> = Queue::new();
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            let jobs = Arc::clone(&jobs);
            std::thread::spawn(move || {
                loop {
                    (jobs.take())();
                }
            });
        }
        Pool { jobs }
    }

    fn seal(&self, keys: Arc<Keys>, offset: u64, mut segment: Segment, bytes: usize) -> Segment {
        let done = Queue::new();
        let there = Arc::clone(&done);
        self.jobs.put(Box::new(move || {
            keys.seal(Sealing::Gcm, offset, &mut segment.bytes_mut()[..bytes]);
            there.put(segment);
        }));
        done.take()
    }
}

struct Keys {
    cipher: Aes256Enc,
    ghash: GHash,
    hmac: Hmac<Sha256>,
}

impl Keys {
    fn new() -> Keys {
        let cipher = Aes256Enc::new(&KEY.into());
        let mut hash_key = Default::default();
        cipher.encrypt_block(&mut hash_key);
        Keys {
            ghash: GHash::new(&hash_key),
            cipher,
            hmac: Hmac::new_from_slice(&KEY).expect("HMAC takes keys of any length"),
        }
    }

    fn seal(&self, sealing: Sealing, offset: u64, segment: &mut [u8]) {
        let mut iv = [0; 16];
        iv[..8].copy_from_slice(&offset.to_be_bytes());
        let core: CtrCore<&Aes256Enc, Ctr32BE> = CtrCore::inner_iv_init(&self.cipher, (&iv).into());
        let mut keystream = StreamCipherCoreWrapper::from_core(core);
        let (text, tag) = segment.split_at_mut(segment.len() - TAG_BYTES);
        match sealing {
            Sealing::Gcm | Sealing::GcmInPool => {
                let (mut mac, mut mask) = (self.ghash.clone(), [0; 16]);
                keystream.apply_keystream(&mut mask);
                for piece in text.chunks_mut(PIECE_BYTES) {
                    keystream.apply_keystream(piece);
                    mac.update_padded(piece);
                }
                let mut lengths = [0; 16];
                lengths[8..].copy_from_slice(&(8 * text.len() as u64).to_be_bytes());
                mac.update(&[lengths.into()]);
                for ((byte, hash), mask) in tag.iter_mut().zip(mac.finalize()).zip(mask) {
                    *byte = hash ^ mask;
                }
            }
            Sealing::CtrHmac => {
                let mut mac = self.hmac.clone().chain_update(iv);
                for piece in text.chunks_mut(PIECE_BYTES) {
                    keystream.apply_keystream(piece);
                    mac.update(piece);
                }
                tag.copy_from_slice(&mac.finalize().into_bytes());
            }
            Sealing::Nothing => {}
        }
    }
}

/// O_DIRECT takes whole blocks only: what is left of the last segment goes through the page cache.
fn write(file: &File, way: WriteMode, offset: u64, segment: &[u8]) -> io::Result<()> {
    if way != WriteMode::Direct {
        return file.write_all_at(segment, offset);
    }
    let (blocks, rest) = segment.split_at(segment.len() - segment.len() % ALIGNMENT);
    file.write_all_at(blocks, offset)?;
    if !rest.is_empty() {
        fcntl_setfl(file, OFlags::empty())?;
        file.write_all_at(rest, offset + blocks.len() as u64)?;
    }
    Ok(())
}
