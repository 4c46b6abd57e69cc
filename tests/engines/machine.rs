//! A machine that a folder describes: its programs are scripts of a shell, and nothing of the real machine's
//! environment is left.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

/// Writes a script and makes it a program. A shell writes it: a file that this process had open for writing could be
/// busy when another test starts a program.
fn program(path: &Path, script: &str) {
    let write = "printf '#!/bin/sh\\n%s\\n' \"$1\" > \"$2\" && /bin/chmod 755 \"$2\"";
    let wrote = Command::new("sh").args(["-c", write, "sh", script]).arg(path).status();
    assert!(wrote.expect("there is a shell").success(), "{}", path.display());
}

/// A Python that answers the program's questions as one would, and plays pip. It writes the packages that it fetches
/// into `fetched`, fails for those of which there is a file `lacks-NAME`, and sleeps where there is a pipe `hang-NAME`, into
/// which it writes its process number first.
const PYTHON: &str = r#"
here=FOLDER
missing='{"missing": true}'
pocketsphinx=$missing loader=$missing
[ -n "$PYTHONPATH" ] && pocketsphinx='{"version": "5.1.1"}' loader='{"version": "0.2.4"}'
for last; do :; done
case "$1 $2 $3" in
    "-m pip --version") exit 0 ;;
    "-m pip download")
        name=${last%%==*}
        [ -p "$here/hang-$name" ] && { echo $$ > "$here/hang-$name"; exec /bin/sleep 600; }
        [ -e "$here/lacks-$name" ] && { echo "ERROR: No matching distribution found for $last" >&2; exit 1; }
        [ -e "$here/offline" ] && { echo "ERROR: Connection to the index failed" >&2; exit 1; }
        echo "$last" >> "$here/fetched" ;;
    "-m pip install")
        while [ $# -gt 1 ]; do [ "$1" = --target ] && /bin/mkdir -p "$2"; shift; done ;;
    *)
        echo "{\"version\": \"3.11.7\", \"new_enough\": true, \"pip\": true, \"interpreter\": \"$here/bin/python3\"," \
            "\"pocketsphinx\": $pocketsphinx, \"espeakng_loader\": $loader}" ;;
esac
"#;

/// What the program answered.
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

pub(crate) struct Machine {
    pub(crate) folder: TempDir,
    variables: Vec<(String, String)>,
}

impl Machine {
    /// With these programs on its path, each a script; nobody serves models.
    pub(crate) fn new(programs: &[(&str, &str)]) -> Self {
        let machine = Self { folder: tempfile::tempdir().expect("a folder can be made"), variables: Vec::new() };
        std::fs::create_dir(machine.path("bin")).expect("a folder can be made");
        programs.iter().for_each(|(name, script)| program(&machine.path("bin").join(name), script));
        let folder = machine.folder.path().display().to_string();
        machine
            .with("PATH", &format!("{folder}/bin"))
            .with("TMPDIR", &folder)
            .with("RSPP_CACHE_DIR", &format!("{folder}/cache"))
            .with("OPENAI_BASE_URL", "http://127.0.0.1:1/v1")
    }

    /// The same with the Python above.
    pub(crate) fn with_python(self) -> Self {
        let script = PYTHON.replace("FOLDER", &format!("'{}'", self.folder.path().display()));
        program(&self.path("bin/python3"), &script);
        self
    }

    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.variables.retain(|(other, _)| other != name);
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn without(mut self, name: &str) -> Self {
        self.variables.retain(|(other, _)| other != name);
        self
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn touch(&self, name: &str) {
        std::fs::write(self.path(name), "").expect("there is room");
    }

    pub(crate) fn command(&self, args: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rspp"));
        let variables = self.variables.iter().map(|(name, value)| (OsStr::new(name), OsStr::new(value)));
        command.args(args.split_whitespace()).current_dir(&self.folder).env_clear().envs(variables);
        command.stdin(Stdio::null());
        command
    }

    /// Runs the program; the machine's folder is `FOLDER` in what it says.
    pub(crate) fn rspp(&self, args: &str) -> Ran {
        let output = self.command(args).output().expect("cargo has built the program");
        let folder = self.folder.path().display().to_string();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("it writes UTF-8").replace(&folder, "FOLDER");
        Ran { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }
}
