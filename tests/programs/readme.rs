//! The README shows what the programs say of themselves, to the letter.

use std::process::Command;

fn usage(program: &str) -> String {
    let output = Command::new(program)
        .arg("--help")
        .output()
        .expect("the program starts");
    assert!(output.status.success(), "{program} --help failed");
    String::from_utf8(output.stdout).expect("a usage text is UTF-8")
}

#[test]
fn every_usage_text_is_in_the_readme() {
    let readme = include_str!("../../README.md");
    for program in [
        env!("CARGO_BIN_EXE_server"),
        env!("CARGO_BIN_EXE_client"),
        env!("CARGO_BIN_EXE_seal"),
    ] {
        let usage = usage(program);
        assert!(usage.lines().count() > 5, "{program} --help says hardly anything");
        assert!(
            readme.contains(usage.trim_end()),
            "README lacks what {program} --help prints:\n{usage}"
        );
    }
}
