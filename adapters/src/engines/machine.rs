//! What of a machine the search for engines looks at: some variables of the environment, and a folder. Tests describe
//! a machine by them.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

/// The variables that are looked at.
const VARIABLES: [&str; 8] = [
    "PATH",
    "HOME",
    "XDG_CACHE_HOME",
    "RSPP_CACHE_DIR",
    "RSPP_ENGINES_PYTHON",
    "RSPP_WYOMING",
    "OPENAI_BASE_URL",
    "XDG_RUNTIME_DIR",
];
/// The environment of `ci/setup`, in the working folder.
const SET_UP_PYTHON: &str = ".venv-engines/bin/python";

/// A machine, as far as engines are concerned.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Machine {
    variables: BTreeMap<String, OsString>,
    folder: PathBuf,
}

impl Machine {
    /// The one that this program runs on.
    pub fn this() -> Self {
        let of = |name: &&str| Some(((*name).to_owned(), std::env::var_os(name)?));
        Self { variables: VARIABLES.iter().filter_map(of).collect(), folder: PathBuf::from(".") }
    }

    /// One that a test describes: variables, and the working folder.
    pub fn described(variables: &[(&str, &OsStr)], folder: &Path) -> Self {
        let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Self { variables, folder: folder.to_owned() }
    }

    /// The same machine with Wyoming engines at these addresses besides those that `RSPP_WYOMING` names.
    #[must_use]
    pub fn with_wyoming(mut self, addresses: &[String]) -> Self {
        let named = self.text("RSPP_WYOMING").unwrap_or_default().to_owned();
        let all: Vec<&str> = addresses.iter().map(String::as_str).chain([named.as_str()]).collect();
        self.variables.insert("RSPP_WYOMING".to_owned(), all.join(",").into());
        self
    }

    /// A variable, unless it is empty.
    pub fn variable(&self, name: &str) -> Option<&OsStr> {
        self.variables.get(name).map(OsString::as_os_str).filter(|value| !value.is_empty())
    }

    /// A variable that is text.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.variable(name).and_then(OsStr::to_str)
    }

    /// A program on the path.
    pub fn program(&self, name: &str) -> Option<PathBuf> {
        which::which_in(name, self.variable("PATH"), &self.folder).ok()
    }

    /// The Pythons that may have the bundled engines, the first choice first. One that `RSPP_ENGINES_PYTHON` names is
    /// the only one.
    pub fn pythons(&self) -> Vec<PathBuf> {
        if let Some(named) = self.variable("RSPP_ENGINES_PYTHON") {
            return vec![PathBuf::from(named)];
        }
        let installed = self.cache().map(|cache| super::cache::python(&cache)).filter(|python| python.is_file());
        let set_up = Some(self.folder.join(SET_UP_PYTHON)).filter(|python| python.is_file());
        [installed, set_up, self.program("python3")].into_iter().flatten().collect()
    }

    /// RSPP's own folder for what it can fetch again: `RSPP_CACHE_DIR`, else `rspp` in `XDG_CACHE_HOME` or in
    /// `~/.cache`. `None` on a machine with none of them.
    pub fn cache(&self) -> Option<PathBuf> {
        let absolute = |name| self.variable(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let named = self.variable("RSPP_CACHE_DIR").map(|path| self.folder.join(path));
        let xdg = || absolute("XDG_CACHE_HOME").map(|path| path.join("rspp"));
        let home = || absolute("HOME").map(|path| path.join(".cache/rspp"));
        named.or_else(xdg).or_else(home)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cache_is_where_the_environment_says() {
        let all = [("RSPP_CACHE_DIR", "/a"), ("XDG_CACHE_HOME", "/b"), ("HOME", "/c")];
        for (variables, expected) in [
            (&all[..], Some("/a")),
            (&all[1..], Some("/b/rspp")),
            (&all[2..], Some("/c/.cache/rspp")),
            (&[], None),
            (&[("RSPP_CACHE_DIR", ""), ("XDG_CACHE_HOME", "not/absolute"), ("HOME", "/c")], Some("/c/.cache/rspp")),
            (&[("RSPP_CACHE_DIR", "here")], Some("/folder/here")),
        ] {
            let variables: Vec<(&str, &OsStr)> =
                variables.iter().map(|(name, value)| (*name, value.as_ref())).collect();
            let machine = Machine::described(&variables, Path::new("/folder"));
            assert_eq!(machine.cache(), expected.map(PathBuf::from), "{variables:?}");
        }
    }

    #[test]
    fn a_python_that_is_named_is_the_only_one() {
        let folder = tempfile::tempdir().expect("a folder can be made");
        std::fs::create_dir_all(folder.path().join(".venv-engines/bin")).expect("a folder can be made");
        std::fs::write(folder.path().join(SET_UP_PYTHON), "").expect("a file can be written");
        let named = Machine::described(&[("RSPP_ENGINES_PYTHON", OsStr::new("my-python"))], folder.path());
        assert_eq!(named.pythons(), [PathBuf::from("my-python")]);
        let other = Machine::described(&[], folder.path());
        assert_eq!(other.pythons(), [folder.path().join(SET_UP_PYTHON)]);
    }

    #[test]
    fn wyoming_addresses_add_up() {
        let machine = Machine::described(&[("RSPP_WYOMING", OsStr::new("c:3"))], Path::new("."));
        let machine = machine.with_wyoming(&["a:1".to_owned(), "b:2".to_owned()]);
        assert_eq!(machine.text("RSPP_WYOMING"), Some("a:1,b:2,c:3"));
    }
}
