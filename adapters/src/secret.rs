//! Keys: read once from where a binding refers to, shown nowhere.
//!
//! Where they are is a store's to know. Those of the environment and of files are always there, and `credentials`,
//! which is what a service manager or a container hands its programs; a program may add its own, a vault say:
//!
//! ```
//! use rspp_adapters::secret::{SecretError, SecretStore, Secrets};
//!
//! struct Vault;
//!
//! impl SecretStore for Vault {
//!     fn read(&self, name: &str) -> Result<String, SecretError> {
//!         // Asks the vault here.
//!         Err(SecretError::NotStored { store: "vault".to_owned(), name: name.to_owned() })
//!     }
//! }
//!
//! let secrets = Secrets::beside("pipelines".as_ref()).with_store("vault", Vault);
//! # let _ = secrets;
//! ```

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hyper::header::HeaderValue;
use rspp_specs::binding::KeyReference;

/// A key in a file, with white space around it.
const MAX_KEY_BYTES: u64 = 4_096;
/// What stands where a key stood in somebody else's words.
const REMOVED: &str = "[the key]";
/// So much of a key's beginning at the end of a cut text is taken for the key.
const MIN_KEY_PIECE_BYTES: usize = 4;

/// A key. It has no `Clone`, and `Debug` says only where it came from.
pub struct Secret {
    value: String,
    from: KeyReference,
}

/// Why there is no key. No text has any of it.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The variable is not there.
    #[error("the environment variable {0} is not set: set it to the key, or give `key=file:PATH`")]
    NotSet(String),
    /// The file can't be read.
    #[error("the key's file {path} can't be read ({error}): files are looked for beside the spec")]
    Unreadable {
        /// Which.
        path: String,
        /// Why.
        error: std::io::Error,
    },
    /// The store is not known.
    #[error(
        "no store of secrets is named {0}: there are env:NAME, file:PATH, store:credentials/NAME, and those that the program adds"
    )]
    NoStore(String),
    /// The store has nothing of this name.
    #[error("the store {store} has no secret named {name}")]
    NotStored {
        /// Which store.
        store: String,
        /// The name.
        name: String,
    },
    /// What is there is no key.
    #[error("what {0} holds can be no key: it must be one word of at most {MAX_KEY_BYTES} ASCII characters")]
    NoKey(KeyReference),
}

impl Secret {
    fn new(value: &str, from: KeyReference) -> Option<Self> {
        let is_word = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_graphic());
        (is_word && value.len() as u64 <= MAX_KEY_BYTES).then(|| Self { value: value.to_owned(), from })
    }

    /// Where it came from.
    pub fn reference(&self) -> &KeyReference {
        &self.from
    }

    /// The key itself, for whoever checks a signature with it, or sends it where it belongs.
    pub fn reveal(&self) -> &str {
        &self.value
    }

    /// A signature of these bytes by it, HMAC-SHA256.
    pub fn sign(&self, bytes: &[u8]) -> [u8; 32] {
        let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, self.value.as_bytes());
        let tag = ring::hmac::sign(&key, bytes);
        tag.as_ref().try_into().expect("the tag of SHA-256 has 32 bytes")
    }

    /// The value of an `Authorization` header, marked as sensitive.
    pub(crate) fn bearer(&self) -> HeaderValue {
        let value = HeaderValue::from_str(&format!("Bearer {}", self.value));
        let mut value = value.expect("a key has graphic ASCII characters only");
        value.set_sensitive(true);
        value
    }

    /// Text without the key.
    pub(crate) fn remove(&self, text: &str) -> String {
        text.replace(&self.value, REMOVED)
    }

    /// Somebody else's words without the key, also where they were cut in the middle of it.
    pub(crate) fn scrub(&self, text: &str) -> String {
        let mut text = self.remove(text);
        let pieces = (MIN_KEY_PIECE_BYTES..self.value.len()).rev();
        if let Some(piece) = pieces.map(|length| &self.value[..length]).find(|piece| text.ends_with(piece)) {
            text.truncate(text.len() - piece.len());
            text.push_str(REMOVED);
        }
        text
    }
}

/// Where keys are kept, by names.
pub trait SecretStore: Send + Sync {
    /// The value under a name.
    ///
    /// # Errors
    /// It is not there; nothing of a value may stand in the error.
    fn read(&self, name: &str) -> Result<String, SecretError>;
}

/// The program's environment.
struct Environment;

impl SecretStore for Environment {
    fn read(&self, name: &str) -> Result<String, SecretError> {
        let value = std::env::var_os(name).filter(|value| !value.is_empty());
        let value = value.ok_or_else(|| SecretError::NotSet(name.to_owned()))?;
        value.into_string().map_err(|_| SecretError::NoKey(KeyReference::Environment(name.to_owned())))
    }
}

/// Files in a folder, or elsewhere by absolute paths.
struct Folder(PathBuf);

impl SecretStore for Folder {
    fn read(&self, name: &str) -> Result<String, SecretError> {
        read_file(&self.0.join(name))
    }
}

/// What a service manager hands a program in a folder of its own, or a container in the usual one.
struct Credentials;

impl SecretStore for Credentials {
    fn read(&self, name: &str) -> Result<String, SecretError> {
        let folder = std::env::var_os("CREDENTIALS_DIRECTORY").filter(|folder| !folder.is_empty());
        Folder(folder.map_or_else(|| PathBuf::from("/run/secrets"), PathBuf::from)).read(name)
    }
}

/// All stores that a program knows.
#[derive(Clone)]
pub struct Secrets {
    folder: PathBuf,
    environment: Arc<dyn SecretStore>,
    files: Arc<dyn SecretStore>,
    stores: BTreeMap<String, Arc<dyn SecretStore>>,
}

impl Secrets {
    /// The environment, the files in a spec's folder, and `credentials`.
    pub fn beside(folder: &Path) -> Self {
        let secrets = Self {
            folder: folder.to_owned(),
            environment: Arc::new(Environment),
            files: Arc::new(Folder(folder.to_owned())),
            stores: BTreeMap::new(),
        };
        secrets.with_store("credentials", Credentials)
    }

    /// With another store: `key=store:NAME/...`.
    pub fn with_store(mut self, name: &str, store: impl SecretStore + 'static) -> Self {
        self.stores.insert(name.to_owned(), Arc::new(store));
        self
    }

    /// The spec's folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Reads a key.
    ///
    /// # Errors
    /// It is not there, or can be none.
    pub fn read(&self, reference: &KeyReference) -> Result<Secret, SecretError> {
        let value = match reference {
            KeyReference::Environment(name) => self.environment.read(name)?,
            KeyReference::File(path) => self.files.read(path)?,
            KeyReference::Store { store, name } => {
                let known = self.stores.get(store).ok_or_else(|| SecretError::NoStore(store.clone()))?;
                known.read(name)?
            }
        };
        Secret::new(value.trim(), reference.clone()).ok_or_else(|| SecretError::NoKey(reference.clone()))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({})", self.from)
    }
}

fn read_file(path: &Path) -> Result<String, SecretError> {
    use std::io::Read;
    let unreadable = |error| SecretError::Unreadable { path: path.display().to_string(), error };
    let file = std::fs::File::open(path).map_err(unreadable)?;
    let mut text = String::new();
    // What is longer than any key is read so far that it is seen to be none.
    file.take(2 * MAX_KEY_BYTES).read_to_string(&mut text).map_err(unreadable)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(value: &str) -> Secret {
        Secret::new(value, KeyReference::Environment("NAME".to_owned())).expect("it is one word")
    }

    #[test]
    fn nothing_shows_a_key() {
        let secret = secret("sk-canary-1");
        assert_eq!(format!("{secret:?} {:?}", secret.bearer()), "Secret(env:NAME) Sensitive");
        for (text, expect) in [
            ("bad key sk-canary-1!", "bad key [the key]!"),
            ("Bearer sk-canary-1sk-canary-1", "Bearer [the key][the key]"),
            ("cut within sk-canar", "cut within [the key]"),
            ("it ends with sk-", "it ends with sk-"),
            ("nothing", "nothing"),
        ] {
            assert_eq!(secret.scrub(text), expect, "{text}");
        }
    }

    #[test]
    fn what_can_be_no_key_is_told_apart() {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let long = "a".repeat(5_000);
        for (text, expect) in
            [("key\n", "Secret(file:k)"), ("two words", "can be no key"), ("", "no key"), (&long, "no key")]
        {
            std::fs::write(folder.path().join("k"), text).expect("a file can be written");
            let read = Secrets::beside(folder.path()).read(&KeyReference::File("k".to_owned()));
            let shown = read.map_or_else(|error| error.to_string(), |secret| format!("{secret:?}"));
            assert!(shown.contains(expect), "{shown}");
        }
        let none = Secrets::beside(folder.path()).read(&KeyReference::Environment("RSPP_NOBODY_SETS_THIS".to_owned()));
        assert!(none.is_err_and(|error| error.to_string().contains("RSPP_NOBODY_SETS_THIS is not set")));
    }

    #[test]
    fn a_program_may_have_a_store_of_its_own() {
        struct Vault;
        impl SecretStore for Vault {
            fn read(&self, name: &str) -> Result<String, SecretError> {
                match name {
                    "team/openai" => Ok("sk-canary-1".to_owned()),
                    _ => Err(SecretError::NotStored { store: "vault".to_owned(), name: name.to_owned() }),
                }
            }
        }
        let secrets = Secrets::beside(Path::new("")).with_store("vault", Vault);
        for (store, name, expect) in [
            ("vault", "team/openai", "Secret(store:vault/team/openai)"),
            ("vault", "team/other", "the store vault has no secret named team/other"),
            ("safe", "team/openai", "no store of secrets is named safe"),
        ] {
            let reference = KeyReference::Store { store: store.to_owned(), name: name.to_owned() };
            let read = secrets.read(&reference);
            let shown = read.map_or_else(|error| error.to_string(), |secret| format!("{secret:?}"));
            assert!(shown.starts_with(expect), "{shown}");
        }
    }
}
