//! `seal`: keys, and sealed images on disk, without a server.
#![allow(
    clippy::disallowed_types,
    reason = "the edge of a command line tool: it reads and writes files"
)]

use std::error::Error;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use getopts::{Matches, Options};
use pixseal::durable::{Durability, Folder, Replace};
use pixseal::image_id::ImageId;
use pixseal::keyset::{KeyStatus, Keyset};
use pixseal::seal::whole;
use pixseal::secrets;
use rayon::iter::{IntoParallelRefIterator, ParallelIterator};

const USAGE: &str = "\
Keys, and sealed images on disk, without a server.

usage: seal keyset new             create keyset.json and cluster.key, if there are none
       seal keyset add             add a key: it opens, but does not seal yet
       seal keyset promote ID      seal new images with this key from the next start of the nodes on
       seal keyset list            number and status of every key
       seal open FILE              write the image in FILE to standard output
       seal verify DIR             open every sealed image in DIR and say which do not

  -o, --output FILE     open: write to FILE instead, which appears only when all of it is verified
      --as USER/NAME    open: the image that FILE holds, if its file name does not say so
      --secrets DIR     where the keys are (default: secrets)
      --help, --version

Exit status: 0 done, 1 failed or an image is bad, 2 wrong usage.
";

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
}

fn main() -> ExitCode {
    let mut options = Options::new();
    options
        .optopt("o", "output", "", "FILE")
        .optopt("", "as", "", "USER/NAME")
        .optopt("", "secrets", "", "DIR");
    options.optflag("", "help", "").optflag("", "version", "");
    let config = match options.parse(std::env::args_os().skip(1)) {
        Ok(matches) if matches.opt_present("help") => {
            print!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        Ok(matches) if matches.opt_present("version") => {
            println!("seal {}", env!("CARGO_PKG_VERSION"));
            return ExitCode::SUCCESS;
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
    run(&config).unwrap_or_else(|why| {
        eprintln!("seal: {why}");
        ExitCode::FAILURE
    })
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
    let secrets = matches
        .opt_str("secrets")
        .unwrap_or_else(|| secrets::FOLDER.to_owned())
        .into();
    Ok(Config { secrets, command })
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
        Command::Verify(images) => return verify(&secrets::load_keyset(dir)?, images, &mut out),
    }
    Ok(ExitCode::SUCCESS)
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
