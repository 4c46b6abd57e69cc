//! The program runs its spec: the model's bad word is not spoken.

use std::process::Command;

#[test]
fn the_voice_says_beep() {
    let call = concat!(env!("CARGO_MANIFEST_DIR"), "/call.yaml");
    let output = Command::new(env!("CARGO_BIN_EXE_custom-node")).args(["trace", call]).output().expect("it starts");
    let trace = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(trace.contains("text=\"The beep kitchen is closed.\""), "{trace}");
    assert!(!trace.contains("effect D invoke id=tts#2 binding=scripted text=\"The darn"), "{trace}");
}
