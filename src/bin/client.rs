//! `client`: put images into a cluster and get them back, list and remove them, look at the nodes.
//!
//! Arguments in, exit code out; talking to the nodes is `pixseal::client`.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "an edge: files, standard streams and deadlines"
)]

use std::collections::HashMap;
use std::fs::File;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use getopts::Options;
use pixseal::client::Client;
use pixseal::client::nodes::Patience;
use pixseal::client::upload::{Audience, PIECE_BYTES, Terms, UploadBody};
use pixseal::durable::{Durability, Folder, Replace};
use pixseal::image_id::{self, ImageId};
use pixseal::members::Members;
use pixseal::report::Status;
use pixseal::roster::NodeId;

const USAGE: &str = "\
Usage: client put FILE|FOLDER...     upload PNG files (of folders: every *.png in them)
       client get NAME... [-o DIR]   write images into DIR (default: the current folder; - is standard output)
       client ls                     list the images of a user
       client rm NAME...             remove images
       client status                 a table of the nodes

Options:
  -u, --user USER      whose images (default: the login name, or \"user\")
  -c, --cluster FILE   the nodes (default: cluster.toml if it exists, otherwise 127.0.0.1:8001 to 8003)
  -o, --output DIR     where get writes
      --timeout SECS   how long to try for one image (default: 60)
  -h, --help           this text
  -V, --version        the version

Exit codes: 0 everything done, 1 something failed (each is named on standard error), 2 wrong usage.
";
const CLUSTER_FILE: &str = "cluster.toml";
const TIMEOUT_SECONDS: u64 = 60;
const REDRAW: Duration = Duration::from_millis(100);

struct Config {
    members: Members,
    user: String,
    output: PathBuf,
    timeout: Duration,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(failed) => {
            eprintln!("client: {failed} failed");
            ExitCode::FAILURE
        }
        Err(why) => {
            eprintln!("client: {why}");
            ExitCode::from(2)
        }
    }
}

/// Returns how many things failed; an error is wrong usage.
fn run(arguments: &[String]) -> Result<usize, String> {
    let mut options = Options::new();
    options
        .optopt("u", "user", "", "USER")
        .optopt("c", "cluster", "", "FILE")
        .optopt("o", "output", "", "DIR");
    options
        .optopt("", "timeout", "", "SECS")
        .optflag("h", "help", "")
        .optflag("V", "version", "");
    let matches = options
        .parse(arguments)
        .map_err(|e| format!("{e}; see client --help"))?;
    if matches.opt_present("help") {
        print!("{USAGE}");
        return Ok(0);
    }
    if matches.opt_present("version") {
        println!("client {}", env!("CARGO_PKG_VERSION"));
        return Ok(0);
    }
    let is_status = matches.free.first().is_some_and(|command| command == "status");
    let config = Config {
        members: read_members(matches.opt_str("cluster").as_deref())?,
        user: match matches.opt_str("user") {
            Some(user) => check_user("--user", user)?,
            None if is_status => String::new(),
            None => login()?,
        },
        output: matches.opt_str("output").unwrap_or_else(|| ".".to_owned()).into(),
        timeout: Duration::from_secs(
            matches
                .opt_get_default("timeout", TIMEOUT_SECONDS)
                .map_err(|e| format!("--timeout: {e}"))?,
        ),
    };
    let mut client = Client::new(&config.members, Patience::default());
    match matches.free.split_first() {
        Some((command, files)) if command == "put" && !files.is_empty() => put(&mut client, &config, files),
        Some((command, names)) if command == "get" && !names.is_empty() => {
            Ok(each(names, |name| get(&mut client, &config, name)))
        }
        Some((command, names)) if command == "rm" && !names.is_empty() => {
            Ok(each(names, |name| remove(&mut client, &config, name)))
        }
        Some((command, [])) if command == "ls" => Ok(each(std::slice::from_ref(&config.user), |user| {
            list(&mut client, &config, user)
        })),
        Some((command, [])) if command == "status" => Ok(status(&mut client)),
        _ => Err("say what to do: put, get, ls, rm or status; see client --help".to_owned()),
    }
}

/// The login name. One that cannot name a user is refused: under another name its images would mix with other people's.
fn login() -> Result<String, String> {
    match std::env::var_os("USER").filter(|user| !user.is_empty()) {
        None => Ok("user".to_owned()),
        Some(user) => check_user("the login name", user.to_string_lossy().into_owned())
            .map_err(|why| format!("{why}; say whose images with --user")),
    }
}

fn check_user(origin: &str, user: String) -> Result<String, String> {
    match image_id::check_user(&user) {
        Ok(()) => Ok(user),
        Err(e) => Err(format!("{origin} {user}: {e}")),
    }
}

fn read_members(file: Option<&str>) -> Result<Members, String> {
    let file = match file {
        Some(file) => file,
        None if Path::new(CLUSTER_FILE).exists() => CLUSTER_FILE,
        None => return Ok(Members::default()),
    };
    let text = std::fs::read_to_string(file).map_err(|e| format!("{file}: {e}"))?;
    Members::parse(&text).map_err(|e| format!("{file}: {e}"))
}

/// Does `action` with each item; names each failure and counts them.
fn each(items: &[String], mut action: impl FnMut(&str) -> Result<(), String>) -> usize {
    let failures = items.iter().filter_map(|item| action(item).err());
    failures.inspect(|why| eprintln!("client: {why}")).count()
}

fn put(client: &mut Client, config: &Config, arguments: &[String]) -> Result<usize, String> {
    let mut files = Vec::new();
    for argument in arguments {
        collect(Path::new(argument), &mut files).map_err(|e| format!("{argument}: {e}"))?;
    }
    refuse_repeated_names(&files)?;
    let mut progress = Progress::new(files.len(), files.iter().map(|(_, bytes)| bytes).sum());
    let mut failed = 0;
    for (path, bytes) in &files {
        progress.show();
        match put_one(client, config, path, *bytes) {
            Ok(line) => progress.say(&line),
            Err(why) => {
                failed += 1;
                progress.clear();
                eprintln!("client: {}: {why}", path.display());
            }
        }
        progress.done += 1;
        progress.bytes_done += bytes;
    }
    progress.clear();
    println!(
        "{} of {} files uploaded in {:.1} s",
        files.len() - failed,
        files.len(),
        progress.start.elapsed().as_secs_f64()
    );
    Ok(failed)
}

/// A file stands for itself, a folder for every `*.png` directly in it.
fn collect(path: &Path, files: &mut Vec<(PathBuf, u64)>) -> std::io::Result<()> {
    let metadata = std::fs::metadata(path)?;
    if !metadata.is_dir() {
        files.push((path.to_owned(), metadata.len()));
        return Ok(());
    }
    let mut inside: Vec<PathBuf> = std::fs::read_dir(path)?
        .map(|entry| entry.map(|e| e.path()))
        .collect::<Result<_, _>>()?;
    inside.retain(|file| file.extension().is_some_and(|extension| extension == "png") && file.is_file());
    inside.sort();
    for file in inside {
        let bytes = std::fs::metadata(&file)?.len();
        files.push((file, bytes));
    }
    Ok(())
}

/// An image has the name of its file, without the folder: of two files with one name, the second would replace the first.
fn refuse_repeated_names(files: &[(PathBuf, u64)]) -> Result<(), String> {
    let mut known = HashMap::with_capacity(files.len());
    for (path, _) in files {
        let name = path.file_name().unwrap_or_default();
        if let Some(first) = known.insert(name, path) {
            return Err(format!(
                "{} is given twice, as {} and as {}: rename one of them, or upload it for another --user; nothing was sent",
                name.display(),
                first.display(),
                path.display()
            ));
        }
    }
    Ok(())
}

fn put_one(client: &mut Client, config: &Config, path: &Path, bytes: u64) -> Result<String, String> {
    let name = path
        .file_name()
        .and_then(|name| name.to_str())
        .ok_or("the file name is not text")?;
    let image = ImageId::new(&config.user, name).map_err(|e| e.to_string())?;
    let mut file = File::open(path).map_err(|e| e.to_string())?;
    let terms = Terms {
        audience: Audience::All,
        deadline: Instant::now() + config.timeout,
        stop: &AtomicBool::new(false),
        hold: None,
    };
    let upload = client.upload(&image, UploadBody::File(&mut file, bytes), terms);
    let receipt = upload.outcome.map_err(|e| e.to_string())?;
    Ok(format!(
        "{image}: {} bytes on node {}",
        receipt.bytes, receipt.node
    ))
}

fn get(client: &mut Client, config: &Config, name: &str) -> Result<(), String> {
    let image = ImageId::new(&config.user, name).map_err(|e| format!("{name}: {e}"))?;
    let deadline = Instant::now() + config.timeout;
    let download = client
        .download(&image, None, deadline)
        .map_err(|e| format!("{image}: {e}"))?;
    let mut download = download.ok_or_else(|| format!("{image}: no node has it"))?;
    let wrong = |e: std::io::Error| format!("{image}: {e}");
    if config.output == Path::new("-") {
        let mut out = std::io::stdout().lock();
        copy(&mut download, &mut out, deadline)
            .and_then(|_| out.flush())
            .map_err(wrong)?;
    } else {
        std::fs::create_dir_all(&config.output).map_err(wrong)?;
        let path = config.output.join(name);
        let bytes =
            save(&mut download, &config.output, name, deadline).map_err(|e| format!("{image}: {e}"))?;
        println!("{}: {bytes} bytes from node {}", path.display(), download.node);
    }
    client.finish(download);
    Ok(())
}

/// Saves a download as `name`. It has another name until it is whole: a broken download must not look like an image.
fn save(
    download: &mut pixseal::client::download::Download,
    folder: &Path,
    name: &str,
    deadline: Instant,
) -> Result<u64, Box<dyn std::error::Error>> {
    let (folder, partial) = (Folder::open(folder)?, format!("{name}.partial"));
    // What an earlier download left that was killed.
    folder.remove(&partial)?;
    let temporary = folder.create_temporary(partial, 0o666)?;
    let bytes = copy(download, &mut temporary.file(), deadline)?;
    temporary.commit(&folder, name, Replace::Allowed, Durability::Rename)?;
    Ok(bytes)
}

fn copy(
    download: &mut pixseal::client::download::Download,
    out: &mut impl Write,
    deadline: Instant,
) -> std::io::Result<u64> {
    let mut room = vec![0; PIECE_BYTES];
    let mut total = 0;
    loop {
        match download
            .read(&mut room, deadline)
            .map_err(std::io::Error::other)?
        {
            0 => return Ok(total),
            count => {
                out.write_all(&room[..count])?;
                total += count as u64;
            }
        }
    }
}

fn list(client: &mut Client, config: &Config, user: &str) -> Result<(), String> {
    let list = client
        .list(user, Instant::now() + config.timeout)
        .map_err(|e| e.to_string())?;
    let mut out = std::io::stdout().lock();
    for item in &list.images {
        let node = item.node.map_or_else(|| "?".to_owned(), |id| id.to_string());
        if writeln!(out, "{:>12}  node {node:<4} {}", item.bytes, item.name).is_err() {
            return Ok(()); // Whoever was reading has had enough.
        }
    }
    match list.missing.is_empty() {
        true => Ok(()),
        false => Err(format!(
            "the list is not complete: nodes {:?} could not be asked",
            list.missing
        )),
    }
}

fn remove(client: &mut Client, config: &Config, name: &str) -> Result<(), String> {
    let image = ImageId::new(&config.user, name).map_err(|e| format!("{name}: {e}"))?;
    match client.remove(&image, Instant::now() + config.timeout) {
        Ok(true) => {
            println!("{image}: removed");
            Ok(())
        }
        Ok(false) => Err(format!("{image}: no node has it")),
        Err(e) => Err(format!("{image}: {e}")),
    }
}

/// Prints the table and what the nodes warn of, and returns how many nodes did not answer.
fn status(client: &mut Client) -> usize {
    let members: Vec<_> = client
        .members()
        .map(|(id, address)| (id, address.to_owned()))
        .collect();
    println!(
        "{:>4}  {:<22} {:>6} {:>6}  {:<16} {:>9} {:>15}",
        "node", "address", "leader", "term", "alive", "images", "bytes"
    );
    let mut silent = 0;
    let mut warnings = Warnings::default();
    for (id, address) in members {
        match client.status(id) {
            Ok(status) => {
                warnings.add(id, &status);
                let leader = status
                    .leader
                    .map_or_else(|| "-".to_owned(), |leader| leader.to_string());
                let alive: Vec<String> = status.alive.iter().map(ToString::to_string).collect();
                let (images, bytes) = (status.counter("images"), status.counter("bytes"));
                println!(
                    "{id:>4}  {address:<22} {leader:>6} {:>6}  {:<16} {images:>9} {bytes:>15}",
                    status.term,
                    alive.join(" ")
                );
            }
            Err(error) => {
                silent += 1;
                println!("{id:>4}  {address:<22} {}", error.kind);
            }
        }
    }
    warnings.print();
    silent
}

/// What nodes warn of, each with the nodes that say it, in the order in which it was first heard.
#[derive(Default)]
struct Warnings(Vec<(String, Vec<NodeId>)>);

impl Warnings {
    fn add(&mut self, node: NodeId, status: &Status) {
        for text in &status.warnings {
            match self.0.iter_mut().find(|(known, _)| known == text) {
                Some((_, nodes)) => nodes.push(node),
                None => self.0.push((text.clone(), vec![node])),
            }
        }
    }

    fn print(&self) {
        for (text, nodes) in &self.0 {
            let nodes: Vec<String> = nodes.iter().map(|id| format!("Node {id}")).collect();
            println!("warning of {}: {text}", nodes.join(", "));
        }
    }
}

/// A line that is drawn over and over on a terminal; without one, a line for each file.
struct Progress {
    files: usize,
    bytes: u64,
    done: usize,
    bytes_done: u64,
    start: Instant,
    drawn: Option<Instant>,
    live: bool,
}

impl Progress {
    fn new(files: usize, bytes: u64) -> Progress {
        let live = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        Progress {
            files,
            bytes,
            done: 0,
            bytes_done: 0,
            start: Instant::now(),
            drawn: None,
            live,
        }
    }

    fn show(&mut self) {
        if !self.live || self.drawn.is_some_and(|drawn| drawn.elapsed() < REDRAW) {
            return;
        }
        let seconds = self.start.elapsed().as_secs_f64();
        let rate = self.bytes_done as f64 / seconds.max(0.001);
        let share = self.bytes_done as f64 / self.bytes.max(1) as f64;
        let left = (self.bytes - self.bytes_done) as f64 / rate.max(1.0);
        let full = (0..20)
            .map(|i| if f64::from(i) < share * 20.0 { '█' } else { '░' })
            .collect::<String>();
        eprint!(
            "\r\x1b[K{full} {}/{} files, {:.0} MB/s",
            self.done,
            self.files,
            rate / 1e6
        );
        if self.bytes_done > 0 {
            eprint!(", {left:.0} s left");
        }
        self.drawn = Some(Instant::now());
    }

    fn say(&mut self, line: &str) {
        if !self.live {
            println!("{line}");
        }
    }

    fn clear(&mut self) {
        if self.live && self.drawn.is_some() {
            eprint!("\r\x1b[K");
            self.drawn = None;
        }
    }
}
