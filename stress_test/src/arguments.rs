//! The command line and its usage text.

use std::path::PathBuf;

use getopts::Options;

use crate::config::RunConfig;

/// `--help`; docs/stress_test.md has the same text.
pub const USAGE: &str = "\
Usage: stress_test [options]             offer generated images to a cluster and judge it
       stress_test compare A.json B.json   differences between two runs, and whether they exceed the noise

The load:
  -n, --images N         how many images (default: 2000)
      --min-size PX      smallest side in pixels (default: 100)
      --max-size PX      largest side in pixels (default: 2000)
      --seed N           of the images: same seed, same bytes (default: 1)
      --concurrency N    uploads at the same time (default: 8)
      --rate R           start R uploads a second and measure from the intended start (default: as fast as answers come)
      --offer all|assigned   offer every image to all nodes, or to the one that should take it (default: all)
      --source disk|memory   images generated first to disk, or each just before its upload (default: disk if there is room)
      --user USER        whose images (default: stresstest)
      --timeout SECS     give up after so long, generating and reading back included (default: 1200)

The cluster:
      --cluster FILE     the nodes (default: cluster.toml if it exists, otherwise 127.0.0.1:8001 to 8003)
      --token-file FILE  a file with a token of USER, with all rights (default: the environment variable
                         PIXSEAL_TOKEN, if it is set; not needed where the nodes have no tokens)
      --ca FILE          speak TLS, with nodes whose certificates are of these authorities (PEM)
      --cert FILE --key FILE   a certificate for nodes that ask for one
      --spawn N          start N nodes in a temporary folder, and stop them afterwards
      --drill STEP       with --spawn: kill:leader@50%, kill:2@50%, pause:1@30%..60%, restart:each (may be repeated)

The judgement:
      --verify none|sample|all   read images back and compare every byte (default: all)
      --fail-if BOUND    exit 4 if crossed: p99>500ms, rate<50, throughput<100MB/s, sigma>2% ... (may be repeated)

The output:
      --json FILE        everything, for programs (schema in docs/stress_test.md)
      --csv FILE         a line for each upload
      --html FILE        a page with plots, in one file
      --log FILE         a line for each upload, for people
      --plain            no live view and no colours (also without a terminal, or with NO_COLOR)
      --keep             keep the generated images, and the folder of --spawn
  -y, --yes              do not wait for ENTER
  -h, --help             this text
  -V, --version          the version

Exit codes: 0 passed, 1 failed, 2 wrong usage or no cluster, 3 timed out, 4 a --fail-if bound crossed, 130 interrupted.
";

/// What the command line asks for.
pub enum Mode {
    /// Prints [`USAGE`].
    Help,
    /// Prints the version.
    Version,
    /// Compares two JSON files.
    Compare(PathBuf, PathBuf),
    /// Uploads images and judges the cluster.
    Run(Box<RunConfig>),
}

impl Mode {
    /// Reads the arguments (without the program's name) and the cluster file.
    pub fn parse(arguments: &[String]) -> Result<Mode, String> {
        let matches = options().parse(arguments).map_err(|e| e.to_string())?;
        if matches.opt_present("help") {
            return Ok(Mode::Help);
        }
        if matches.opt_present("version") {
            return Ok(Mode::Version);
        }
        match matches.free.iter().map(String::as_str).collect::<Vec<_>>()[..] {
            [] => Ok(Mode::Run(Box::new(RunConfig::of(&matches)?))),
            ["compare", a, b] => Ok(Mode::Compare(a.into(), b.into())),
            ["compare", ..] => Err("compare takes two files: stress_test compare A.json B.json".to_owned()),
            [word, ..] => Err(format!("{word:?} is not understood")),
        }
    }
}

fn options() -> Options {
    let mut options = Options::new();
    for (short, long) in [
        ("n", "images"),
        ("", "min-size"),
        ("", "max-size"),
        ("", "seed"),
        ("", "concurrency"),
    ] {
        options.optopt(short, long, "", "N");
    }
    for long in [
        "rate",
        "offer",
        "source",
        "user",
        "timeout",
        "cluster",
        "spawn",
        "verify",
        "json",
        "csv",
        "html",
        "log",
        "token-file",
        "ca",
        "cert",
        "key",
    ] {
        options.optopt("", long, "", "VALUE");
    }
    options
        .optmulti("", "drill", "", "STEP")
        .optmulti("", "fail-if", "", "BOUND");
    options
        .optflag("", "plain", "")
        .optflag("", "keep", "")
        .optflag("y", "yes", "");
    options.optflag("h", "help", "").optflag("V", "version", "");
    options
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Verify;

    fn config(arguments: &str) -> Result<RunConfig, String> {
        let arguments: Vec<String> = arguments.split_whitespace().map(str::to_owned).collect();
        match Mode::parse(&arguments)? {
            Mode::Run(config) => Ok(*config),
            _ => Err("another command".to_owned()),
        }
    }

    #[test]
    fn nothing_said_is_the_run_of_the_seed() {
        let config = config("").unwrap();
        assert_eq!(
            (config.images, config.plan.side_min, config.plan.side_max),
            (2000, 100, 2000)
        );
        assert_eq!(
            (config.concurrency, config.user.as_str(), config.verify),
            (8, "stresstest", Verify::All)
        );
    }

    #[test]
    fn wrong_arguments_are_named() {
        for (arguments, reason) in [
            ("-n 0", "--images 0"),
            ("-n x", "whole number"),
            ("--min-size 300 --max-size 200", "larger than"),
            ("--max-size 20000", "16383"),
            ("--concurrency 0", "1 to 1024"),
            ("--verify some", "none, sample, all"),
            ("--source tape", "disk, memory"),
            ("--user a.b", "--user a.b"),
            ("--rate -1", "--rate -1"),
            ("--drill kill:1@50%", "--spawn"),
            ("--spawn 3 --drill kill:4@50%", "kill:4@50%"),
            ("--fail-if p98>1", "--fail-if"),
            ("--cluster /nonexistent", "/nonexistent"),
            ("--colour", "colour"),
            ("upload", "upload"),
            ("compare a.json", "two files"),
        ] {
            let refusal = config(arguments).err().unwrap();
            assert!(refusal.contains(reason), "{arguments}: {refusal}");
        }
    }

    #[test]
    fn the_usage_is_in_its_document_to_the_letter() {
        assert!(include_str!("../../docs/stress_test.md").contains(USAGE.trim_end()));
    }

    #[test]
    fn every_option_is_in_the_usage() {
        let brief = options().usage("");
        for word in brief.split_whitespace().filter(|word| word.starts_with("--")) {
            assert!(USAGE.contains(word), "{word}");
        }
    }
}
