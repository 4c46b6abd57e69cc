//! A tool that is a program: started for each call, arguments on its standard input, the result on its standard output.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rspp_specs::event::{Request, ToolCall};
use rspp_specs::outcome::Outcome;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};
use tokio::runtime::{Builder, Runtime};
use tokio_util::sync::CancellationToken;

use super::{Ended, MAX_RESULT_BYTES, check_arguments, tell};
use crate::http::Fault;
use crate::orphans::Group;
use crate::provider::{Answer, Provider, ProviderError, Wanted, refuse};

/// Of what a program says on its standard error, the last bytes are told.
const MAX_LAST_WORDS_BYTES: usize = 400;
/// How long a program that was killed may take to be gone.
const BURIAL: Duration = Duration::from_secs(2);

/// How a program is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProgramOptions {
    /// How long one call may take; a caller waits in silence meanwhile.
    pub timeout: Duration,
}

impl Default for ProgramOptions {
    fn default() -> Self {
        Self { timeout: Duration::from_secs(20) }
    }
}

/// A program. No shell is asked to start it; it runs in the spec's folder, in a process group of its own that ends with
/// the call.
pub struct Program {
    node: String,
    program: PathBuf,
    arguments: Vec<String>,
    folder: PathBuf,
    options: ProgramOptions,
    runtime: Runtime,
}

impl Program {
    /// Looks for the program beside the spec, and then on the path.
    ///
    /// # Errors
    /// There is no command, or no such program.
    pub fn open(
        wanted: &Wanted<'_>,
        command: &str,
        folder: &Path,
        options: ProgramOptions,
    ) -> Result<Self, ProviderError> {
        let mut words = command.split_whitespace().map(str::to_owned);
        let Some(name) = words.next() else { return Err(wanted.refused("write `stdio:COMMAND ARGUMENTS`")) };
        let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| wanted.unreached(Fault::NoRuntime { detail: error.to_string() }))?;
        let program = find(&name, folder).ok_or_else(|| ProviderError::NoProgram {
            node: wanted.node.to_owned(),
            binding: wanted.binding.to_owned(),
        })?;
        let (node, arguments, folder) = (wanted.node.to_owned(), words.collect(), folder.to_owned());
        Ok(Self { node, program, arguments, folder, options, runtime })
    }

    fn call(&mut self, call: &ToolCall, cancelled: &CancellationToken) -> Ended {
        if let Err(ended) = check_arguments(call) {
            return ended;
        }
        self.runtime.block_on(async {
            match self.start(call) {
                Ok(child) => run(child, call, self.options.timeout, cancelled).await,
                Err(error) => Ended::Badly(Outcome::Failed, format!("it does not start: {error}")),
            }
        })
    }

    fn start(&self, call: &ToolCall) -> std::io::Result<Child> {
        Command::new(&self.program)
            .args(&self.arguments)
            .current_dir(&self.folder)
            .env("RSPP_IDEMPOTENCY_KEY", OsStr::new(&*call.key))
            .env("RSPP_TOOL_NAME", OsStr::new(&*call.name))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
    }
}

/// Beside the spec, else where the system looks for programs.
fn find(name: &str, folder: &Path) -> Option<PathBuf> {
    let beside = folder.join(name);
    if beside.is_file() {
        return std::path::absolute(beside).ok();
    }
    if name.contains('/') {
        return None;
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|program| program.is_file())
}

/// Runs one call to its end, or kills it with all that it started.
async fn run(mut child: Child, call: &ToolCall, limit: Duration, cancelled: &CancellationToken) -> Ended {
    let group = child.id().map(Group::of);
    let ended = tokio::select! {
        biased;
        () = cancelled.cancelled() => Ended::Badly(Outcome::Cancelled, "cancelled".to_owned()),
        done = tokio::time::timeout(limit, converse(&mut child, &call.arguments)) => done.unwrap_or_else(|_| {
            Ended::Badly(Outcome::Timeout, format!("no result within {} ms; it was ended", limit.as_millis()))
        }),
    };
    // As long as nobody has asked how it ended, its number is its own, and its group's.
    drop(group);
    if child.id().is_some() {
        let _ = tokio::time::timeout(BURIAL, child.wait()).await;
    }
    ended
}

async fn converse(child: &mut Child, arguments: &str) -> Ended {
    let (Some(mut stdin), Some(stdout), Some(stderr)) = (child.stdin.take(), child.stdout.take(), child.stderr.take())
    else {
        return Ended::Badly(Outcome::Failed, "the system gave no pipes".to_owned());
    };
    let write = async move {
        // A program that does not read its arguments may end before they are written.
        let _ = stdin.write_all(arguments.as_bytes()).await;
        let _ = stdin.shutdown().await;
    };
    let ((), result, last_words) = tokio::join!(write, read(stdout, MAX_RESULT_BYTES), read_last(stderr));
    let Some(result) = result else {
        return Ended::Badly(Outcome::Failed, format!("it answered with more than {MAX_RESULT_BYTES} bytes"));
    };
    match child.wait().await {
        Ok(status) if status.success() => Ended::Well(String::from_utf8_lossy(&result).trim().to_owned()),
        Ok(status) if last_words.is_empty() => Ended::Badly(Outcome::Failed, format!("it ended with {status}")),
        Ok(status) => Ended::Badly(Outcome::Failed, format!("it ended with {status}: {last_words}")),
        Err(error) => Ended::Badly(Outcome::Failed, format!("nobody knows how it ended: {error}")),
    }
}

/// All of a stream, or `None` if it is longer than `limit`.
async fn read(stream: impl AsyncRead + Unpin, limit: usize) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let _ = stream.take(limit as u64 + 1).read_to_end(&mut bytes).await;
    (bytes.len() <= limit).then_some(bytes)
}

/// The end of a stream of any length, in one line.
async fn read_last(mut stream: impl AsyncRead + Unpin) -> String {
    let (mut last, mut buffer) = (Vec::new(), [0; 1_024]);
    while let Ok(count @ 1..) = stream.read(&mut buffer).await {
        last.extend_from_slice(&buffer[..count]);
        let over = last.len().saturating_sub(MAX_LAST_WORDS_BYTES);
        last.drain(..over);
    }
    crate::http::cut(&String::from_utf8_lossy(&last))
}

impl Provider for Program {
    fn invoke(&mut self, request: &Request, answer: &mut Answer<'_>) -> Result<(), ProviderError> {
        let Request::Tool(call) = request else { return refuse(answer) };
        let ended = self.call(call, answer.cancelled());
        tell(&self.node, call, ended, answer);
        Ok(())
    }
}
