//! `seal`: keys, tokens, and sealed images on disk, without a server.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "the edge of a command line tool: it reads and writes files, and looks when a token ends"
)]

use std::error::Error;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use getopts::{Matches, Options};
use pixseal::durable::{Durability, Folder, Replace};
use pixseal::image_id::ImageId;
use pixseal::keyset::{KeyStatus, Keyset};
use pixseal::seal::whole;
use pixseal::secrets;
use pixseal::standard_output::{print, say};
use pixseal::tokens::Rights;
use rayon::iter::{IntoParallelRefIterator, ParallelIterator};

const USAGE: &str = "\
Keys, tokens, and sealed images on disk, without a server.

usage: seal keyset new             create keyset.json and cluster.key, if there are none
       seal keyset add             add a key: it opens, but does not seal yet
       seal keyset promote ID      seal new images with this key from the next start of the nodes on
       seal keyset list            number and status of every key
       seal token add USER         make a token for USER, and print it: it cannot be printed again
       seal token list             id, user, rights and end of every token
       seal token revoke ID        make a token worthless
       seal open FILE              write the image in FILE to standard output
       seal verify DIR             open every sealed image in DIR and say which do not

  -o, --output FILE     open: write to FILE instead, which appears only when all of it is verified
      --as USER/NAME    open: the image that FILE holds, if its file name does not say so
      --rights LIST     token add: some of read, write, delete and list, which are for the images of
                        USER, and admin, which is for the state of the cluster (default: all but admin)
      --expires TIME    token add: good for so long: 12h, 30d, 52w (default: for ever)
      --secrets DIR     where keys and tokens are (default: secrets)
      --help, --version

Exit status: 0 done, 1 failed or an image is bad, 2 wrong usage.
";

/// The end of the year 9999, the last that a date of HTTP has room for.
const LAST_SECOND: u64 = 253_402_300_799;
/// A hundred years: longer is a mistake.
const LIFETIME_MAX: u64 = 100 * 366 * 86_400;

struct Config {
    secrets: PathBuf,
    command: Command,
}

enum Command {
    New,
    Add,
    Promote(u32),
    List,
    Open {
        file: PathBuf,
        id: ImageId,
        output: Option<PathBuf>,
    },
    Verify(PathBuf),
    AddToken {
        user: String,
        rights: Rights,
        /// How many seconds it is good for.
        lifetime: Option<u64>,
    },
    ListTokens,
    RevokeToken(String),
}

fn main() -> ExitCode {
    let mut options = Options::new();
    options
        .optopt("o", "output", "", "FILE")
        .optopt("", "as", "", "USER/NAME")
        .optopt("", "rights", "", "LIST")
        .optopt("", "expires", "", "TIME")
        .optopt("", "secrets", "", "DIR");
    options.optflag("", "help", "").optflag("", "version", "");
    let config = match options.parse(std::env::args_os().skip(1)) {
        Ok(matches) if matches.opt_present("help") => {
            return outcome(print(USAGE).map_err(Into::into));
        }
        Ok(matches) if matches.opt_present("version") => {
            return outcome(say(format_args!("seal {}", env!("CARGO_PKG_VERSION"))).map_err(Into::into));
        }
        Ok(matches) => config(&matches),
        Err(e) => Err(e.to_string()),
    };
    let config = match config {
        Ok(config) => config,
        Err(why) => {
            eprintln!("seal: {why} (see seal --help)");
            return ExitCode::from(2);
        }
    };
    run(&config).unwrap_or_else(|why| outcome(Err(why)))
}

/// An exit code; what is wrong is printed. A reader that has had enough is no error.
fn outcome(done: Result<(), Box<dyn Error>>) -> ExitCode {
    let is_closed = |why: &(dyn Error + 'static)| {
        why.downcast_ref::<io::Error>()
            .is_some_and(|e| e.kind() == io::ErrorKind::BrokenPipe)
    };
    match done {
        Err(why) if !is_closed(&*why) => {
            eprintln!("seal: {why}");
            ExitCode::FAILURE
        }
        Ok(()) | Err(_) => ExitCode::SUCCESS,
    }
}

fn config(matches: &Matches) -> Result<Config, String> {
    let words: Vec<&str> = matches.free.iter().map(String::as_str).collect();
    let command = match words[..] {
        ["keyset", "new"] => Command::New,
        ["keyset", "add"] => Command::Add,
        ["keyset", "list"] => Command::List,
        ["keyset", "promote", id] => Command::Promote(id.parse().map_err(|_| format!("{id:?} is no key"))?),
        ["open", file] => Command::Open {
            file: file.into(),
            id: image_id(file, matches.opt_str("as").as_deref())?,
            output: matches.opt_str("output").map(PathBuf::from),
        },
        ["verify", dir] => Command::Verify(dir.into()),
        ["token", "add", user] => Command::AddToken {
            user: user.to_owned(),
            rights: match matches.opt_str("rights") {
                None => Rights::of_images(),
                Some(text) => Rights::parse(&text).map_err(|why| format!("--rights: {why}"))?,
            },
            lifetime: matches
                .opt_str("expires")
                .map(|text| lifetime(&text))
                .transpose()?,
        },
        ["token", "list"] => Command::ListTokens,
        ["token", "revoke", id] => Command::RevokeToken(id.to_owned()),
        [] => return Err("no command".to_owned()),
        _ => {
            return Err(format!(
                "unknown command or wrong number of words: {}",
                words.join(" ")
            ));
        }
    };
    let opens = matches!(command, Command::Open { .. });
    if !opens && (matches.opt_present("as") || matches.opt_present("output")) {
        return Err("--as and --output belong to open".to_owned());
    }
    let adds = matches!(command, Command::AddToken { .. });
    if !adds && (matches.opt_present("rights") || matches.opt_present("expires")) {
        return Err("--rights and --expires belong to token add".to_owned());
    }
    let secrets = matches
        .opt_str("secrets")
        .unwrap_or_else(|| secrets::FOLDER.to_owned())
        .into();
    Ok(Config { secrets, command })
}

/// Seconds: a number and a unit.
fn lifetime(text: &str) -> Result<u64, String> {
    let units = [("m", 60), ("h", 3600), ("d", 86_400), ("w", 7 * 86_400)];
    let parsed = units.into_iter().find_map(|(unit, seconds)| {
        let count: u64 = text.strip_suffix(unit)?.parse().ok()?;
        count
            .checked_mul(seconds)
            .filter(|seconds| (1..=LIFETIME_MAX).contains(seconds))
    });
    parsed.ok_or_else(|| {
        format!("--expires takes minutes, hours, days or weeks, as in 30m, 12h, 30d or 52w, not {text:?}")
    })
}

fn image_id(file: &str, owner: Option<&str>) -> Result<ImageId, String> {
    match owner {
        Some(owner) => {
            let (user, name) = owner.split_once('/').ok_or("--as wants USER/NAME")?;
            ImageId::new(user, name).map_err(|why| format!("--as {owner}: {why}"))
        }
        None => id_of(Path::new(file))
            .ok_or_else(|| format!("{file} does not name its image: say --as USER/NAME")),
    }
}

fn id_of(path: &Path) -> Option<ImageId> {
    ImageId::from_file_name(path.file_name()?.to_str()?)
}

fn run(config: &Config) -> Result<ExitCode, Box<dyn Error>> {
    let dir = &config.secrets;
    let mut out = io::stdout().lock();
    match &config.command {
        Command::New => {
            let keyset = secrets::create(dir)?.keyset;
            writeln!(out, "created {} with key {}", dir.display(), keyset.primary_id())?;
        }
        Command::Add => {
            let random = secrets::random()?;
            let id = secrets::update_keyset(dir, |keyset| keyset.add(&random))?;
            writeln!(
                out,
                "added key {id}; once every node has started with it: seal keyset promote {id}"
            )?;
        }
        Command::Promote(id) => {
            secrets::update_keyset(dir, |keyset| keyset.promote(*id))?;
            writeln!(
                out,
                "key {id} seals new images, on each node from its next start on"
            )?;
        }
        Command::List => list(&secrets::load_keyset(dir)?, &mut out)?,
        Command::Open { file, id, output } => {
            let keyset = secrets::load_keyset(dir)?;
            match output {
                None => open(&keyset, file, id, &mut out)?,
                Some(output) => open_into(&keyset, file, id, output)?,
            }
        }
        Command::AddToken {
            user,
            rights,
            lifetime,
        } => add_token(dir, (user, rights, *lifetime), &mut out)?,
        Command::ListTokens => list_tokens(dir, &mut out)?,
        Command::RevokeToken(id) => {
            let revoked = secrets::update_tokens(dir, |tokens| tokens.revoke(id))?;
            writeln!(
                out,
                "revoked token {id} of {}: it ends once every node has this file, and was sent SIGHUP or started anew",
                revoked.user
            )?;
        }
        Command::Verify(images) => return verify(&secrets::load_keyset(dir)?, images, &mut out),
    }
    Ok(ExitCode::SUCCESS)
}

fn add_token(
    dir: &Path,
    (user, rights, lifetime): (&str, &Rights, Option<u64>),
    out: &mut impl Write,
) -> Result<(), Box<dyn Error>> {
    let file = dir.join(secrets::TOKENS_FILE);
    let is_first = !file.exists();
    let random = secrets::random()?;
    let expiry = lifetime.map(|seconds| unix_seconds(SystemTime::now()).saturating_add(seconds));
    let (id, token) =
        secrets::update_tokens(dir, |tokens| tokens.add(&random, user, rights.clone(), expiry))?;
    writeln!(out, "{}", *token)?;
    out.flush()?;
    // Beside the token, which is often taken by a program.
    eprintln!(
        "token {id} of {user} ({rights}) in {}: it is good once every node has this file, and was sent SIGHUP or started anew",
        file.display()
    );
    if is_first {
        eprintln!("from then on, nobody gets in without a token");
    }
    Ok(())
}

fn list_tokens(dir: &Path, out: &mut impl Write) -> Result<(), Box<dyn Error>> {
    let Some(tokens) = secrets::load_tokens(dir)? else {
        writeln!(
            out,
            "no tokens: everybody may do everything (seal token add USER)"
        )?;
        return Ok(());
    };
    let now = unix_seconds(SystemTime::now());
    for (id, token) in tokens.iter() {
        let end = match token.expiry {
            None => "for ever".to_owned(),
            Some(expiry) => {
                let date = SystemTime::UNIX_EPOCH + Duration::from_secs(expiry.min(LAST_SECOND));
                let date = httpdate::fmt_http_date(date);
                match token.is_expired(now) {
                    true => format!("ended {date}"),
                    false => format!("until {date}"),
                }
            }
        };
        writeln!(
            out,
            "{id}  {:<16}  {:<28}  {end}",
            token.user,
            token.rights.to_string()
        )?;
    }
    Ok(())
}

fn unix_seconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs()
}

fn list(keyset: &Keyset, out: &mut impl Write) -> io::Result<()> {
    for (id, status) in keyset.list() {
        let status = match status {
            KeyStatus::Enabled if id == keyset.primary_id() => "enabled, seals",
            KeyStatus::Enabled => "enabled",
            KeyStatus::Disabled => "disabled",
            KeyStatus::Destroyed => "destroyed",
        };
        writeln!(out, "{id:>10}  {status}")?;
    }
    Ok(())
}

fn open(keyset: &Keyset, path: &Path, id: &ImageId, sink: &mut impl Write) -> Result<(), String> {
    let opened = File::open(path).map_err(whole::Error::Read);
    let outcome = opened.and_then(|mut file| whole::open(keyset, &id.associated_data(), &mut file, sink));
    outcome
        .map(|_| ())
        .map_err(|e| format!("{}: {e}", path.display()))
}

/// Writes a temporary file first: `output` never holds half an image, and an older one is replaced only by a whole one.
fn open_into(keyset: &Keyset, path: &Path, id: &ImageId, output: &Path) -> Result<(), Box<dyn Error>> {
    let name = output.file_name().ok_or("--output wants the name of a file")?;
    let folder = output.parent().filter(|folder| *folder != Path::new(""));
    let folder = Folder::open(folder.unwrap_or(Path::new(".")))?;
    let temporary = folder.create_temporary(format!(".{}.{}", name.display(), std::process::id()), 0o666)?;
    open(keyset, path, id, &mut temporary.file())?;
    temporary.commit(&folder, name, Replace::Allowed, Durability::Fsync)?;
    Ok(())
}

fn verify(keyset: &Keyset, dir: &Path, out: &mut impl Write) -> Result<ExitCode, Box<dyn Error>> {
    let unreadable = |e: io::Error| format!("{}: {e}", dir.display());
    let entries = fs::read_dir(dir).map_err(unreadable)?;
    let mut paths = entries
        .map(|entry| Ok(entry?.path()))
        .collect::<io::Result<Vec<_>>>()
        .map_err(unreadable)?;
    paths.sort();
    let (images, others): (Vec<_>, Vec<_>) = paths
        .into_iter()
        .map(|path| (id_of(&path), path))
        .partition(|(id, _)| id.is_some());
    let check =
        |(id, path): &(Option<ImageId>, PathBuf)| open(keyset, path, id.as_ref()?, &mut io::sink()).err();
    let bad: Vec<String> = images.par_iter().filter_map(check).collect();
    for line in &bad {
        writeln!(out, "{line}")?;
    }
    let good = images.len() - bad.len();
    writeln!(
        out,
        "{good} verified, {} bad, {} others not looked at",
        bad.len(),
        others.len()
    )?;
    Ok(if bad.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
