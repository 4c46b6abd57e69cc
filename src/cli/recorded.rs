//! Recordings that a command is given: one by one, or a folder of them.

use std::path::{Path, PathBuf};

use rspp_adapters::input_file;
use rspp_adapters::recording::{Damage, Recording};

use super::outcome::{Failure, Outcome};

/// Calls of one folder.
const MAX_CALLS: usize = 1_000_000;
/// Folders within folders.
const MAX_DEPTH: usize = 8;

/// Reads a whole recording.
pub(super) fn whole(path: &Path) -> Result<Recording, Failure> {
    let file = input_file::open(path, "a recording (.rspp)").map_err(|error| Failure::Input(error.to_string()))?;
    Recording::read(file).map_err(|error| Failure::Run(format!("{}: {error}", path.display())))
}

/// Reads as much of a recording as is good.
pub(super) fn good(path: &Path) -> Result<(Recording, Option<Damage>), Failure> {
    let file = input_file::open(path, "a recording (.rspp)").map_err(|error| Failure::Input(error.to_string()))?;
    Recording::read_prefix(file).map_err(|error| Failure::Run(format!("{}: {error}", path.display())))
}

/// What a command made of the good part; damage is told beside it.
pub(super) fn told(path: &Path, text: String, damage: Option<Damage>) -> Outcome {
    match damage {
        None => Ok(text),
        Some(damage) => {
            Err(Failure::Partly(text, format!("{}: {damage}; only what stands before it is shown", path.display())))
        }
    }
}

/// The recordings of a folder and its folders, in order.
pub(super) fn in_folder(folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    if !folder.is_dir() {
        let what = if folder.exists() { "is no folder" } else { "no such folder" };
        return Err(Failure::Input(format!("{}: {what}; give the folder of the recordings", folder.display())));
    }
    let mut found = Vec::new();
    walk(folder, 0, &mut found);
    found.sort();
    match found.is_empty() {
        true => Err(Failure::Input(format!("{} has no recording (.rspp) in it", folder.display()))),
        false => Ok(found),
    }
}

fn walk(folder: &Path, depth: usize, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if found.len() >= MAX_CALLS {
            return;
        }
        // What a server has not finished stands in a hidden folder.
        let is_hidden = entry.file_name().to_string_lossy().starts_with('.');
        if path.is_dir() && depth < MAX_DEPTH && !is_hidden {
            walk(&path, depth + 1, found);
        } else if path.extension().is_some_and(|extension| extension == "rspp") {
            found.push(path);
        }
    }
}
