//! Specs as files: a spec with what is laid over it, the modules beside it, and the other documents of a folder.

use std::path::{Path, PathBuf};

use rspp_adapters::input_file::{InputFileError, read_text};
use rspp_compiler::{Day, Files, Named, Request};

/// Files of a folder that are looked through at most.
const MAX_FILES: usize = 10_000;
/// Folders within folders.
const MAX_DEPTH: usize = 16;

/// The files beside a spec.
pub struct Beside {
    folder: PathBuf,
}

impl Beside {
    /// Those in the spec's folder.
    pub fn of(spec: &Path) -> Self {
        Self { folder: spec.parent().map(Path::to_owned).unwrap_or_default() }
    }
}

impl Files for Beside {
    fn read(&self, path: &str) -> Result<String, String> {
        read_text(&self.folder.join(path), "a module").map_err(|error| error.to_string())
    }
}

/// What is laid over a spec on the command line.
#[derive(Clone, Debug, Default)]
pub struct Over {
    /// Documents of kind `ConfigLayer`.
    pub layers: Vec<PathBuf>,
    /// Documents of kind `PolicyOverlay`.
    pub policies: Vec<PathBuf>,
    /// What is known of the call.
    pub circumstances: Vec<(String, String)>,
    /// Providers that nodes are bound to instead of those that all documents say.
    pub bindings: Vec<(String, String)>,
}

/// Reads a spec and what is laid over it.
///
/// # Errors
/// The file that can't be read.
pub fn request<'f>(path: &Path, over: &Over, files: &'f Beside) -> Result<Request<'f>, InputFileError> {
    let named =
        |path: &PathBuf, what| read_text(path, what).map(|text| Named { name: path.display().to_string(), text });
    let layers = over.layers.iter().map(|path| named(path, "a layer")).collect::<Result<_, _>>()?;
    let policies = over.policies.iter().map(|path| named(path, "a policy")).collect::<Result<_, _>>()?;
    let text = read_text(path, "a pipeline's spec")?;
    let circumstances = over.circumstances.iter().cloned().collect();
    let request =
        Request { today: Some(today()), ..Request::new(&path.display().to_string(), &text).with_files(files) };
    let bindings = over.bindings.iter().cloned().collect();
    Ok(Request { layers, policies, circumstances, bindings, ..request })
}

/// The day that it is, by the clock of this machine, at Greenwich.
pub fn today() -> Day {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Day::of_epoch(since.as_secs() / 86_400)
}

/// The documents that a path names: itself, or the YAML and JSON files of a folder and its folders, in order.
///
/// # Errors
/// There is no such path.
pub fn documents(path: &Path) -> Result<Vec<PathBuf>, InputFileError> {
    if !path.is_dir() {
        // What is not there is told as a file is.
        return rspp_adapters::input_file::open(path, "a document or a folder").map(|_| vec![path.to_owned()]);
    }
    let mut found = Vec::new();
    walk(path, 0, &mut found);
    found.sort();
    Ok(found)
}

fn walk(folder: &Path, depth: usize, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        let hidden = entry.file_name().to_string_lossy().starts_with('.');
        if found.len() >= MAX_FILES || hidden || entry.file_type().is_ok_and(|kind| kind.is_symlink()) {
            continue;
        }
        if path.is_dir() && depth < MAX_DEPTH {
            walk(&path, depth + 1, found);
        } else if path
            .extension()
            .is_some_and(|extension| extension == "yaml" || extension == "yml" || extension == "json")
        {
            found.push(path);
        }
    }
}
