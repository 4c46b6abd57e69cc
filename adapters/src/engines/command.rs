//! Runs a program for its answer, for a bounded time, keeping a bounded part of what it prints.

use std::io::{self, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, Instant};

use crate::orphans::{self, Group};

/// What is kept of each stream of a program.
const MAX_OUTPUT_BYTES: u64 = 64 * 1024;
/// How long the streams of a program that has ended may stay open: what it started may hold them.
const LAST_WORDS: Duration = Duration::from_millis(500);
/// Between two looks at whether a program has ended.
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// Looks at a program that is busy.
const BUSY_TRIES: usize = 100;

/// What a program left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ran {
    pub(super) status: ExitStatus,
    pub(super) stdout: String,
    pub(super) stderr: String,
}

/// Why a program gave no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoAnswer {
    #[error("there is no such program")]
    NotFound,
    #[error("it does not start: {0}")]
    NotStarted(io::Error),
    #[error("it did not end within {} s and was stopped", .0.as_secs())]
    TimedOut(Duration),
}

/// Runs a program to its end.
pub(super) fn run(command: &mut Command, limit: Duration) -> Result<Ran, NoAnswer> {
    let (mut child, _group) = start(command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()))?;
    let stdout = child.stdout.take().map(collect);
    let stderr = child.stderr.take().map(collect);
    let status = wait(&mut child, limit)?;
    let text = |stream: Option<Receiver<Vec<u8>>>| {
        let bytes = stream.and_then(|stream| stream.recv_timeout(LAST_WORDS).ok()).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    };
    Ok(Ran { status, stdout: text(stdout), stderr: text(stderr) })
}

/// Starts a program. One that was written a moment ago may be busy: another thread that starts a program at the same
/// time holds its file open until that program runs. What is left of its group when it has ended is killed.
pub(super) fn start(command: &mut Command) -> Result<(Child, Group), NoAnswer> {
    for _ in 0..BUSY_TRIES {
        match orphans::spawn(command) {
            Err(error) if error.kind() == io::ErrorKind::ExecutableFileBusy => std::thread::park_timeout(LOOK_EVERY),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(NoAnswer::NotFound),
            started => return started.map_err(NoAnswer::NotStarted),
        }
    }
    Err(NoAnswer::NotStarted(io::ErrorKind::ExecutableFileBusy.into()))
}

/// Waits for a program's end; one that takes too long is stopped.
pub(super) fn wait(child: &mut Child, limit: Duration) -> Result<ExitStatus, NoAnswer> {
    let started = Instant::now();
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Ok(status),
            Ok(None) if started.elapsed() < limit => std::thread::park_timeout(LOOK_EVERY),
            Ok(None) | Err(_) => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(NoAnswer::TimedOut(limit));
            }
        }
    }
}

/// Reads a stream to its end and keeps its beginning.
fn collect(mut stream: impl Read + Send + 'static) -> Receiver<Vec<u8>> {
    let (sender, receiver) = sync_channel(1);
    std::thread::spawn(move || {
        let mut kept = Vec::new();
        let _ = stream.by_ref().take(MAX_OUTPUT_BYTES).read_to_end(&mut kept);
        let _ = io::copy(&mut stream, &mut io::sink());
        let _ = sender.send(kept);
    });
    receiver
}

/// What other programs wrote, fit to be shown: one line of at most 200 characters, none of which moves the cursor.
pub(super) fn clean(text: &str) -> String {
    let plain = |c: char| if c.is_control() { ' ' } else { c };
    let words: String = text.chars().take(2_000).map(plain).collect();
    let joined = words.split_whitespace().collect::<Vec<_>>().join(" ");
    joined.chars().take(200).collect()
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    fn sh(script: &str, limit: Duration) -> Result<Ran, NoAnswer> {
        run(Command::new("sh").args(["-c", script]), limit)
    }

    #[test]
    fn what_a_program_prints_is_kept_and_bounded() {
        let ran = sh("echo hello; echo sorry >&2; exit 3", Duration::from_secs(20)).expect("there is a shell");
        assert_eq!((ran.status.code(), ran.stdout.as_str(), ran.stderr.as_str()), (Some(3), "hello\n", "sorry\n"));
        let ran = sh("head -c 300000 /dev/zero", Duration::from_secs(20)).expect("there is a shell");
        assert_eq!(ran.stdout.len() as u64, MAX_OUTPUT_BYTES);
    }

    #[test]
    fn one_that_does_not_end_is_stopped() {
        let error = sh("exec sleep 600", Duration::from_millis(30)).expect_err("it sleeps");
        assert!(matches!(error, NoAnswer::TimedOut(_)), "{error}");
        let error = run(&mut Command::new("no-such-program"), LAST_WORDS).expect_err("there is none");
        assert!(matches!(error, NoAnswer::NotFound), "{error}");
    }

    #[test]
    fn what_others_wrote_does_not_move_the_cursor() {
        assert_eq!(clean("a\u{1b}[2Jb\r\n c\u{7}"), "a [2Jb c");
        assert_eq!(clean(&"x".repeat(5_000)).len(), 200);
    }
}
