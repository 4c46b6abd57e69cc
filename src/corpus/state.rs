//! What of a corpus is done, in a file that is appended to: a run that was stopped goes on where it was.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::report::CallResult;

/// A line of the file.
#[derive(Serialize, Deserialize)]
struct Done {
    /// What was asked: the pipeline, the bindings, the tolerance.
    asked: String,
    /// The recording's length and the time of its last change, so that one that was made again is replayed again.
    file: (u64, u64),
    result: CallResult,
}

/// The file of what is done.
pub struct State {
    file: File,
    asked: String,
    root: PathBuf,
    known: BTreeMap<String, CallResult>,
}

/// Why what is done can't be kept.
#[derive(Debug, thiserror::Error)]
#[error("{path} can't be used to go on from ({error}): give another file with --state")]
pub struct StateError {
    path: String,
    error: std::io::Error,
}

impl State {
    /// Reads what is done of these calls, and goes on writing behind it. A last line that is not whole is passed over.
    ///
    /// # Errors
    /// The system refuses.
    pub fn open(path: &Path, root: &Path, asked: &str, calls: &[String]) -> Result<Self, StateError> {
        let fail = |error| StateError { path: path.display().to_string(), error };
        let text = match std::fs::read_to_string(path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            text => text.map_err(fail)?,
        };
        let mut known = BTreeMap::new();
        for done in text.lines().filter_map(|line| serde_json::from_str::<Done>(line).ok()) {
            if done.asked == asked && stamp(&root.join(&done.result.id)) == Some(done.file) {
                known.insert(done.result.id.clone(), done.result);
            }
        }
        known.retain(|id, _| calls.contains(id));
        let mut file = OpenOptions::new().create(true).append(true).open(path).map_err(fail)?;
        if !text.is_empty() && !text.ends_with('\n') {
            file.write_all(b"\n").map_err(fail)?;
        }
        Ok(Self { file, asked: asked.to_owned(), root: root.to_owned(), known })
    }

    /// What is done.
    pub fn known(&self) -> Vec<CallResult> {
        self.known.values().cloned().collect()
    }

    /// Writes a result down.
    ///
    /// # Errors
    /// The system refuses.
    pub fn add(&mut self, result: &CallResult) -> std::io::Result<()> {
        let file = stamp(&self.root.join(&result.id)).unwrap_or_default();
        let done = Done { asked: self.asked.clone(), file, result: result.clone() };
        let line = serde_json::to_string(&done)? + "\n";
        self.file.write_all(line.as_bytes())
    }
}

fn stamp(path: &Path) -> Option<(u64, u64)> {
    let metadata = std::fs::metadata(path).ok()?;
    let changed = metadata.modified().ok()?.duration_since(std::time::UNIX_EPOCH).ok()?;
    Some((metadata.len(), u64::try_from(changed.as_nanos()).unwrap_or(u64::MAX)))
}
