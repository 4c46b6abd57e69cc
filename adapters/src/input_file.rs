//! Files that somebody names on the command line, and what to say when there is nothing to read.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use rspp_specs::limits::MAX_SPEC_BYTES;

/// Where specs and scenarios usually are.
const USUAL_FOLDERS: [&str; 3] = ["specs/pipelines", "specs/examples", "tests/golden"];
/// Names of a folder that are compared with one that is misspelt.
const MAX_NAMES: usize = 1_000;
/// How much alike two names are, from 0 to 1, of which one may be meant by the other.
const ALIKE: f64 = 0.85;

/// Why a file can't be read: what is wrong with which, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum InputFileError {
    /// Nothing has this name.
    #[error("{}: no such file; {}", path.display(), meant(near.as_deref(), what))]
    Missing {
        /// The path.
        path: PathBuf,
        /// What has a name like it.
        near: Option<PathBuf>,
        /// What it was to be.
        what: &'static str,
    },
    /// It is a folder.
    #[error("{} is a folder; give the path of {what}", path.display())]
    Folder {
        /// The path.
        path: PathBuf,
        /// What it was to be.
        what: &'static str,
    },
    /// It is no text.
    #[error("{} is no text (byte {byte} is no UTF-8); give the path of {what}", path.display())]
    NotText {
        /// The path.
        path: PathBuf,
        /// The first byte that is wrong, from 0.
        byte: usize,
        /// What it was to be.
        what: &'static str,
    },
    /// The system refuses.
    #[error("{} can't be read ({error}): check its permissions", path.display())]
    Unreadable {
        /// The path.
        path: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
}

fn meant(near: Option<&Path>, what: &str) -> String {
    match near {
        Some(near) => format!("did you mean {}?", near.display()),
        None => format!("give the path of {what}"),
    }
}

/// Opens a file, or a pipe; `what` it is to be is for the error.
///
/// # Errors
/// There is none, or it is a folder, or the system refuses.
pub fn open(path: &Path, what: &'static str) -> Result<File, InputFileError> {
    let fail = |error: std::io::Error| match error.kind() {
        ErrorKind::NotFound => InputFileError::Missing { path: path.to_owned(), near: near(path), what },
        _ => InputFileError::Unreadable { path: path.to_owned(), error },
    };
    if std::fs::metadata(path).map_err(fail)?.is_dir() {
        return Err(InputFileError::Folder { path: path.to_owned(), what });
    }
    File::open(path).map_err(fail)
}

/// Reads a document: at most one byte more than [`MAX_SPEC_BYTES`], by which its reader sees that it is too long.
///
/// # Errors
/// As [`open`]; or it is no UTF-8.
pub fn read_text(path: &Path, what: &'static str) -> Result<String, InputFileError> {
    let mut bytes = Vec::new();
    let read = open(path, what)?.take(MAX_SPEC_BYTES as u64 + 1).read_to_end(&mut bytes);
    read.map_err(|error| InputFileError::Unreadable { path: path.to_owned(), error })?;
    let cut = bytes.len() > MAX_SPEC_BYTES;
    String::from_utf8(bytes).or_else(|error| {
        let byte = error.utf8_error().valid_up_to();
        // The limit may fall within a letter.
        if cut && error.utf8_error().error_len().is_none() {
            return Ok(String::from_utf8_lossy(error.as_bytes()).into_owned());
        }
        Err(InputFileError::NotText { path: path.to_owned(), byte, what })
    })
}

/// A file with a name like this one's: beside it, or where such files usually are.
fn near(path: &Path) -> Option<PathBuf> {
    let wanted = path.file_name()?.to_str()?;
    let beside = path.parent().map(Path::to_owned).unwrap_or_default();
    let folders = std::iter::once(beside).chain(USUAL_FOLDERS.iter().map(PathBuf::from));
    let alike = folders.flat_map(|folder| names(&folder).into_iter().map(move |name| (folder.clone(), name)));
    let scored = alike.map(|(folder, name)| (strsim::jaro_winkler(wanted, &name), folder.join(name)));
    let best = scored.filter(|(score, _)| *score >= ALIKE).max_by(|a, b| a.0.total_cmp(&b.0));
    best.map(|(_, path)| path)
}

/// The files of a folder, in order.
fn names(folder: &Path) -> Vec<String> {
    let here = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let entries = std::fs::read_dir(here).into_iter().flatten().flatten().take(MAX_NAMES);
    let files = entries.filter(|entry| entry.path().is_file());
    let mut names: Vec<String> = files.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_not_be_read_is_told_in_one_sentence() {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let place = |name: &str| folder.path().join(name);
        std::fs::write(place("voice-assistant.yaml"), "kind: PipelineSpec").expect("it can be written");
        std::fs::write(place("latin.yaml"), b"caf\xe9").expect("it can be written");
        std::fs::write(place("cut.yaml"), "é".repeat(MAX_SPEC_BYTES / 2 + 1)).expect("it can be written");
        let says = |name: &str| {
            let error = read_text(&place(name), "a spec").expect_err("it can't be read").to_string();
            error.replace(&format!("{}/", folder.path().display()), "")
        };
        assert_eq!(says("nothing.yaml"), "nothing.yaml: no such file; give the path of a spec");
        assert_eq!(
            says("voice-asistant.yaml"),
            "voice-asistant.yaml: no such file; did you mean voice-assistant.yaml?"
        );
        assert_eq!(says("latin.yaml"), "latin.yaml is no text (byte 3 is no UTF-8); give the path of a spec");
        assert!(says("").ends_with("is a folder; give the path of a spec"));
        assert!(read_text(&place("cut.yaml"), "a spec").is_ok_and(|text| text.len() > MAX_SPEC_BYTES));
    }
}
