//! The bare pipeline: what the machine can do when nothing is promised but the sealing itself. The measure of things.
//!
//! A thread a connection. 8 bytes of length (big-endian), then the image; it is read in segments of 1 MiB, sealed, written
//! to a file, made durable; then one byte goes back. No HTTP, no names, no check of the image, no bound on anything, and no
//! code shared with the server.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};

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
}

/// What happens to bytes before they are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sealing {
    /// AES-256-GCM, as the server does.
    Gcm,
    /// AES-256-CTR and HMAC-SHA256, as it did once.
    CtrHmac,
    /// Nothing: what no sealing can be faster than.
    Nothing,
}

impl WriteMode {
    const ALL: [WriteMode; 3] = [WriteMode::Direct, WriteMode::Named, WriteMode::Cached];

    /// The word for it on the command line.
    fn word(self) -> &'static str {
        match self {
            WriteMode::Direct => "direct",
            WriteMode::Named => "named",
            WriteMode::Cached => "cached",
        }
    }
}

impl Sealing {
    const ALL: [Sealing; 3] = [Sealing::Gcm, Sealing::CtrHmac, Sealing::Nothing];

    /// The word for it on the command line.
    fn word(self) -> &'static str {
        match self {
            Sealing::Gcm => "gcm",
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
}

impl Pipeline {
    /// What [`start`] has put on the command line.
    pub fn parse(sealing: &str, write: &str) -> Option<Pipeline> {
        Some(Pipeline {
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
    println!("{}", listener.local_addr().map_err(failed)?);
    let folder = folder.to_owned();
    std::thread::spawn(move || {
        let files = AtomicU64::new(0);
        std::thread::scope(|scope| {
            for stream in listener.incoming().flatten() {
                let (files, folder) = (&files, &folder);
                // A client that goes away half-way gets no answer, and half a file stays.
                scope.spawn(move || receive_all(stream, pipeline, folder, files).ok());
            }
        });
    });
    io::copy(&mut io::stdin(), &mut io::sink()).map_err(failed)?;
    Ok(())
}

fn receive_all(
    mut stream: TcpStream,
    pipeline: Pipeline,
    folder: &Path,
    files: &AtomicU64,
) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut memory = vec![0; SEGMENT_BYTES + ALIGNMENT];
    let start = memory.as_ptr().align_offset(ALIGNMENT);
    let segment = &mut memory[start..start + SEGMENT_BYTES];
    loop {
        let mut length = [0; 8];
        stream.read_exact(&mut length)?;
        let number = files.fetch_add(1, Ordering::Relaxed);
        let path: PathBuf = folder.join(number.to_string());
        receive(&mut stream, u64::from_be_bytes(length), segment, pipeline, &path)?;
        stream.write_all(&[1])?;
    }
}

fn receive(
    stream: &mut TcpStream,
    bytes: u64,
    segment: &mut [u8],
    pipeline: Pipeline,
    path: &Path,
) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    if pipeline.write == WriteMode::Direct {
        options.custom_flags(OFlags::DIRECT.bits().cast_signed());
    }
    let nameless = path.with_extension("part");
    let file = match pipeline.write {
        WriteMode::Named => options.open(&nameless)?,
        WriteMode::Direct | WriteMode::Cached => options.open(path)?,
    };
    let keys = Keys::new();
    let (mut left, mut offset) = (bytes, 0);
    while left > 0 {
        let count = usize::try_from(left).unwrap_or(TEXT_BYTES).min(TEXT_BYTES);
        stream.read_exact(&mut segment[..count])?;
        keys.seal(pipeline.sealing, offset, &mut segment[..count + TAG_BYTES]);
        write(&file, pipeline.write, offset, &segment[..count + TAG_BYTES])?;
        left -= count as u64;
        offset += SEGMENT_BYTES as u64;
    }
    if pipeline.write != WriteMode::Cached {
        file.sync_data()?;
    }
    if pipeline.write == WriteMode::Named {
        std::fs::rename(&nameless, path)?;
        File::open(path.parent().expect("it is in the folder"))?.sync_all()?;
    }
    Ok(())
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
            Sealing::Gcm => {
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
