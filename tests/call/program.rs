//! The program, run once.

use std::ffi::OsStr;
use std::path::Path;
use std::process::Command;

/// What the program answered.
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Runs the program in a folder.
pub(crate) fn rspp(folder: &Path, args: &[impl AsRef<OsStr>]) -> Ran {
    let output = Command::new(env!("CARGO_BIN_EXE_rspp")).args(args).current_dir(folder).output();
    let output = output.expect("cargo has built the program");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("the program writes UTF-8");
    Ran { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
}
