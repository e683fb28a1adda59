//! The job does what its first line says, and goes on where it was.

use std::process::Command;

#[test]
fn counts_down_once() {
    let folder = tempfile::tempdir().unwrap();
    let run = || {
        let output = Command::new(env!("CARGO_BIN_EXE_rust-job")).arg(folder.path()).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let expected = (1..=10).rev().map(|n| format!("{{\"words\":\"{n} to go\"}}\n")).collect::<Vec<_>>().concat();
    assert_eq!(run(), expected);
    assert_eq!(run(), "");
    assert!(folder.path().join(".headwater/default/countdown/stream.json").exists());
}
