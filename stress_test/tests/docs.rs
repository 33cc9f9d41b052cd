//! The document shows what the program says of itself, to the letter.

use std::process::Command;

#[test]
fn the_usage_text_is_in_its_document() {
    let output = Command::new(env!("CARGO_BIN_EXE_stress_test"))
        .arg("--help")
        .output()
        .unwrap();
    assert!(output.status.success());
    let usage = String::from_utf8(output.stdout).unwrap();
    assert!(usage.lines().count() > 20, "--help says hardly anything");
    assert!(
        include_str!("../../docs/stress_test.md").contains(usage.trim_end()),
        "docs/stress_test.md lacks:\n{usage}"
    );
}
