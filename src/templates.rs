//! Pipelines to begin with: each a folder that runs as it is, without a network, a key or an engine.

use std::path::{Path, PathBuf};

use rspp_compiler::schemas;

/// A file of a template: its path in the new folder, and its text.
type File = (&'static str, &'static str);

/// A pipeline to begin with.
pub struct Template {
    /// Its name.
    pub name: &'static str,
    /// What it shows, in a sentence.
    pub says: &'static str,
    files: &'static [File],
}

macro_rules! file {
    ($folder:literal, $name:literal) => {
        ($name, include_str!(concat!("../specs/templates/", $folder, "/", $name)))
    };
    ($folder:literal, $name:literal, $as:literal) => {
        ($as, include_str!(concat!("../specs/templates/", $folder, "/", $name)))
    };
}

/// All of them.
pub const TEMPLATES: [Template; 8] = [
    Template {
        name: "voice-assistant",
        says: "a caller asks, a model answers, a voice speaks; the caller may break in",
        files: &[
            file!("voice-assistant", "pipeline.yaml"),
            file!("voice-assistant", "captions.yaml"),
            file!("voice-assistant", "dialogue.yaml"),
        ],
    },
    Template {
        name: "push-to-talk",
        says: "the caller has a button, and nobody listens while it is up",
        files: &[
            file!("push-to-talk", "pipeline.yaml"),
            file!("push-to-talk", "call.yaml"),
            file!("push-to-talk", "captions.yaml"),
            file!("push-to-talk", "dialogue.yaml"),
        ],
    },
    Template {
        name: "two-stt-vote",
        says: "two recognisers hear the caller, and what most of them heard goes on",
        files: &[
            file!("two-stt-vote", "pipeline.yaml"),
            file!("two-stt-vote", "captions.yaml"),
            file!("two-stt-vote", "second.captions.yaml"),
            file!("two-stt-vote", "dialogue.yaml"),
        ],
    },
    Template {
        name: "translator",
        says: "what the caller says comes out in another language",
        files: &[
            file!("translator", "pipeline.yaml"),
            file!("translator", "captions.yaml"),
            file!("translator", "dialogue.yaml"),
        ],
    },
    Template {
        name: "compliance-filter",
        says: "each sentence is judged before it is spoken",
        files: &[
            file!("compliance-filter", "pipeline.yaml"),
            file!("compliance-filter", "captions.yaml"),
            file!("compliance-filter", "dialogue.yaml"),
        ],
    },
    Template {
        name: "tool-agent",
        says: "an agent that looks things up and books them, with tools that are programs",
        files: &[
            file!("tool-agent", "pipeline.yaml"),
            file!("tool-agent", "captions.yaml"),
            file!("tool-agent", "dialogue.yaml"),
            file!("tool-agent", "hours.sh", "tools/hours.sh"),
            file!("tool-agent", "book.sh", "tools/book.sh"),
        ],
    },
    Template {
        name: "transcription",
        says: "what the caller says, in words, and no answer",
        files: &[file!("transcription", "pipeline.yaml"), file!("transcription", "captions.yaml")],
    },
    Template {
        name: "fallback-and-filler",
        says: "a phrase fills the time while the model thinks; others answer where it fails",
        files: &[
            file!("fallback-and-filler", "pipeline.yaml"),
            file!("fallback-and-filler", "captions.yaml"),
            file!("fallback-and-filler", "dialogue.yaml"),
        ],
    },
];

impl Template {
    /// What to try in the new folder: a file cannot press a button.
    pub fn try_it(&self, folder: &Path) -> String {
        let name = folder.display();
        if self.files.iter().any(|(path, _)| *path == "call.yaml") {
            return format!("rspp trace {name}/call.yaml");
        }
        format!("rspp run {name}/pipeline.yaml --input {name}/caller.wav --output answer.wav")
    }
}

/// The call that comes with every template.
const CALLER: &[u8] = include_bytes!("../specs/examples/restaurant.caller.wav");
/// Where the repository has the schema, and where a new folder has it.
const SCHEMA: (&str, &str) = ("../../schemas/pipeline-spec.schema.json", "./pipeline-spec.schema.json");

/// Why a folder could not be made.
#[derive(Debug, thiserror::Error)]
pub enum NewError {
    /// No template has this name.
    #[error("no template is named {0}; there are {names}", names = names())]
    Unknown(String),
    /// The name can't be a pipeline's and a folder's.
    #[error("{0:?} can't be a pipeline's name: use up to 64 letters, digits, `-` and `_`")]
    Name(String),
    /// Something has the name already.
    #[error("{} is there already: choose another name", .0.display())]
    Taken(PathBuf),
    /// The system refuses.
    #[error("{} can't be written ({error}): check the folder's permissions", path.display())]
    Unwritable {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
}

fn names() -> String {
    TEMPLATES.iter().map(|template| template.name).collect::<Vec<_>>().join(", ")
}

/// Makes a folder with a pipeline of its name in it, and gives the paths of its files.
///
/// # Errors
/// There is no such template, or the folder can't be made.
pub fn create(template: &str, folder: &Path) -> Result<Vec<PathBuf>, NewError> {
    let found = TEMPLATES.iter().find(|known| known.name == template);
    let template = found.ok_or_else(|| NewError::Unknown(template.to_owned()))?;
    let name = folder.file_name().unwrap_or(folder.as_os_str()).to_string_lossy();
    let is_name = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
    if name.is_empty() || name.len() > 64 || !is_name {
        return Err(NewError::Name(name.into_owned()));
    }
    if folder.exists() {
        return Err(NewError::Taken(folder.to_owned()));
    }
    let schema = schemas().into_iter().find(|schema| schema.kind == "PipelineSpec").map(|schema| schema.schema);
    let schema = serde_json::to_string_pretty(&schema).unwrap_or_default() + "\n";
    let mut files: Vec<(&str, Vec<u8>)> =
        vec![("caller.wav", CALLER.to_vec()), ("pipeline-spec.schema.json", schema.into())];
    for (path, text) in template.files {
        let text = text.replace(SCHEMA.0, SCHEMA.1);
        let text =
            text.replace(&format!("\nname: {}\nversion: 1", template.name), &format!("\nname: {name}\nversion: 1"));
        files.push((path, text.into_bytes()));
    }
    let mut written = Vec::new();
    for (path, bytes) in files {
        let path = folder.join(path);
        let fail = |error| NewError::Unwritable { path: path.clone(), error };
        std::fs::create_dir_all(path.parent().unwrap_or(folder)).map_err(fail)?;
        std::fs::write(&path, bytes).map_err(fail)?;
        written.push(path);
    }
    written.sort();
    Ok(written)
}
