//! Manual pages and completions, in `deploy/`: made from what the programs say of themselves, and the same as that.
//!
//! After a change of a usage text, `UPDATE_MANUALS=1 cargo test --test programs manuals` writes them anew.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A program as packages install it.
struct Manual {
    name: &'static str,
    description: &'static str,
    usage: String,
    /// Words that can come first.
    commands: &'static [&'static str],
}

/// An option, as a usage text has it.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Flag {
    long: String,
    short: Option<char>,
    takes_value: bool,
}

fn said(program: &str) -> String {
    let output = Command::new(program).arg("--help").output().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap()
}

/// Of `stress_test`, which is another package: its own test holds this against the program.
fn said_in_document() -> String {
    let document = include_str!("../../docs/stress_test.md");
    let begin = document.find("Usage: stress_test").unwrap();
    document[begin..].split("```").next().unwrap().to_owned()
}

fn manuals() -> [Manual; 4] {
    [
        Manual {
            name: "pixseal-server",
            description: "run a node of a pixseal cluster",
            usage: said(env!("CARGO_BIN_EXE_server")),
            commands: &[],
        },
        Manual {
            name: "pixseal-client",
            description: "put images into a pixseal cluster and get them back",
            usage: said(env!("CARGO_BIN_EXE_client")),
            commands: &["put", "get", "ls", "rm", "status", "rebalance"],
        },
        Manual {
            name: "pixseal-seal",
            description: "keys, tokens and sealed images of a pixseal cluster",
            usage: said(env!("CARGO_BIN_EXE_seal")),
            commands: &["keyset", "token", "open", "verify"],
        },
        Manual {
            name: "pixseal-stress-test",
            description: "offer generated images to a pixseal cluster and judge it",
            usage: said_in_document(),
            commands: &["compare"],
        },
    ]
}

impl Manual {
    /// Every `--word` at the beginning of a line, with what stands beside it.
    fn flags(&self) -> BTreeSet<Flag> {
        let lines = self.usage.lines().map(str::trim_start);
        let lines = lines.filter(|line| line.starts_with('-'));
        let mut flags = BTreeSet::new();
        for line in lines {
            // What follows two spaces is the description.
            let words: Vec<&str> = line.split("  ").next().unwrap().split(' ').collect();
            for (at, word) in words.iter().enumerate() {
                let Some(long) = word.trim_end_matches(',').strip_prefix("--") else {
                    continue;
                };
                let short = at
                    .checked_sub(1)
                    .and_then(|before| words[before].strip_suffix(','));
                let short = short.and_then(|short| short.strip_prefix('-')?.chars().next());
                let is_value = |next: &&&str| next.chars().next().is_some_and(|c| c.is_ascii_uppercase());
                flags.insert(Flag {
                    long: long.to_owned(),
                    short: short.filter(|short| *short != '-'),
                    takes_value: words.get(at + 1).filter(is_value).is_some(),
                });
            }
        }
        flags
    }

    /// In mdoc(7).
    fn page(&self) -> String {
        let name = self.name.to_uppercase();
        let mut page = format!(
            ".Dd December 1, 2026\n.Dt {name} 1\n.Os\n.Sh NAME\n.Nm {}\n.Nd {}\n.Sh SYNOPSIS\n.Nm\n.Op Ar arguments\n",
            self.name, self.description
        );
        page.push_str(".Sh DESCRIPTION\n.Bd -literal\n");
        for line in self.usage.trim_end().lines() {
            let line = line.replace('\\', "\\e").replace('-', "\\-");
            let guard = if line.starts_with(['.', '\'']) { "\\&" } else { "" };
            let _ = writeln!(page, "{guard}{line}");
        }
        page.push_str(".Ed\n.Sh SEE ALSO\nThe documents in\n.Pa /usr/share/doc/pixseal .\n");
        page
    }

    fn bash(&self) -> String {
        let function = format!("_{}", self.name.replace('-', "_"));
        let options: Vec<String> = self
            .flags()
            .iter()
            .map(|flag| format!("--{}", flag.long))
            .collect();
        format!(
            "# bash completion for {0}: made from {0} --help\n\
             {function}() {{\n\
             \x20   local word=${{COMP_WORDS[COMP_CWORD]}}\n\
             \x20   case $word in\n\
             \x20   -*) mapfile -t COMPREPLY < <(compgen -W '{1}' -- \"$word\") ;;\n\
             \x20   *) mapfile -t COMPREPLY < <(compgen -W '{2}' -- \"$word\"; compgen -f -- \"$word\") ;;\n\
             \x20   esac\n\
             }}\n\
             complete -o filenames -F {function} {0}\n",
            self.name,
            options.join(" "),
            self.commands.join(" "),
        )
    }

    fn zsh(&self) -> String {
        let mut text = format!("#compdef {0}\n# Made from {0} --help\n_arguments \\\n", self.name);
        for flag in self.flags() {
            let value = if flag.takes_value { ":value:_files" } else { "" };
            let equals = if flag.takes_value { "=" } else { "" };
            let _ = writeln!(text, "  '*--{}{equals}[]{value}' \\", flag.long);
            if let Some(short) = flag.short {
                let plus = if flag.takes_value { "+" } else { "" };
                let _ = writeln!(text, "  '*-{short}{plus}[]{value}' \\");
            }
        }
        match self.commands {
            [] => text.push_str("  '*: :_files'\n"),
            commands => {
                let _ = writeln!(text, "  '1: :({})' \\\n  '*: :_files'", commands.join(" "));
            }
        }
        text
    }

    fn fish(&self) -> String {
        let mut text = format!("# fish completion for {0}: made from {0} --help\n", self.name);
        for command in self.commands {
            let _ = writeln!(
                text,
                "complete -c {} -n __fish_use_subcommand -a {command}",
                self.name
            );
        }
        for flag in self.flags() {
            let short = flag
                .short
                .map_or_else(String::new, |short| format!(" -s {short}"));
            let value = if flag.takes_value { " -r" } else { "" };
            let _ = writeln!(text, "complete -c {} -l {}{short}{value}", self.name, flag.long);
        }
        text
    }

    fn files(&self) -> [(PathBuf, String); 4] {
        let deploy = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy");
        let completions = deploy.join("completions");
        [
            (deploy.join("man").join(format!("{}.1", self.name)), self.page()),
            (completions.join(format!("{}.bash", self.name)), self.bash()),
            (completions.join(format!("_{}", self.name)), self.zsh()),
            (completions.join(format!("{}.fish", self.name)), self.fish()),
        ]
    }
}

#[test]
fn manuals_and_completions_say_what_the_programs_say() {
    for manual in manuals() {
        for (path, text) in manual.files() {
            if std::env::var_os("UPDATE_MANUALS").is_some() {
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(&path, &text).unwrap();
            }
            let there = fs::read_to_string(&path).unwrap_or_default();
            assert!(
                there == text,
                "{} is not what {} --help says: UPDATE_MANUALS=1 cargo test --test programs manuals",
                path.display(),
                manual.name
            );
        }
    }
}

#[test]
fn options_are_found_in_a_usage_text() {
    let manual = Manual {
        name: "x",
        description: "",
        usage: "Usage: x\n  -u, --user USER      whose\n      --json           an object\n    --cert FILE --key FILE\n".to_owned(),
        commands: &[],
    };
    let found: Vec<(String, Option<char>, bool)> = manual
        .flags()
        .into_iter()
        .map(|flag| (flag.long, flag.short, flag.takes_value))
        .collect();
    let expected = [
        ("cert", None, true),
        ("json", None, false),
        ("key", None, true),
        ("user", Some('u'), true),
    ];
    assert_eq!(
        found,
        expected.map(|(long, short, value)| (long.to_owned(), short, value))
    );
}
