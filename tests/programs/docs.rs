//! The documents show what the programs say of themselves, to the letter.

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
fn every_usage_text_is_in_its_document() {
    for (program, document, text) in [
        (
            env!("CARGO_BIN_EXE_server"),
            "docs/server.md",
            include_str!("../../docs/server.md"),
        ),
        (
            env!("CARGO_BIN_EXE_client"),
            "docs/client.md",
            include_str!("../../docs/client.md"),
        ),
        (
            env!("CARGO_BIN_EXE_seal"),
            "docs/sealed-files.md",
            include_str!("../../docs/sealed-files.md"),
        ),
    ] {
        let usage = usage(program);
        assert!(usage.lines().count() > 5, "{program} --help says hardly anything");
        assert!(
            text.contains(usage.trim_end()),
            "{document} lacks what {program} --help prints:\n{usage}"
        );
    }
}
