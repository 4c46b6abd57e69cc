//! Documents in one form: the formatter is pretty_yaml's, and what it gives is taken only if it says the same.

use pretty_yaml::config::{FormatOptions, LanguageOptions, LayoutOptions};
use rspp_compiler::{Findings, content};

/// Columns of a line, where a line can be broken.
const WIDTH: usize = 120;

/// Why a document can't be formatted.
#[derive(Debug, thiserror::Error)]
pub enum FormatError {
    /// It can't be read.
    #[error("{0}")]
    Findings(Findings),
    /// What came out would have said something else, or nothing that can be read.
    #[error("{name} is left as it is: formatting would have changed what it says; please report it")]
    Meaning {
        /// The document.
        name: String,
    },
}

/// Formats a YAML document.
///
/// # Errors
/// It can't be read; or the formatter has a bug, and the document is left alone.
pub fn format(name: &str, text: &str) -> Result<String, FormatError> {
    let before = content(name, text).map_err(FormatError::Findings)?;
    let layout = LayoutOptions { print_width: WIDTH, ..LayoutOptions::default() };
    let language = LanguageOptions { brace_spacing: false, ..LanguageOptions::default() };
    let meaning = || FormatError::Meaning { name: name.to_owned() };
    let formatted = pretty_yaml::format_text(text, &FormatOptions { layout, language }).map_err(|_| meaning())?;
    match content(name, &formatted) {
        Ok(after) if after == before => Ok(formatted),
        _ => Err(meaning()),
    }
}
