//! Published documents, by digest: they never change, and a version is published once (`F-092`).

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::store::{Row, StoreError, Transaction};
use crate::time::Millis;

/// Bytes of one document with all that it needs.
pub const MAX_ARTIFACT_BYTES: usize = 4 << 20;
/// Files of one document.
pub const MAX_FILES: usize = 256;
/// Folders above the document's own that a file of it may stand in.
pub const MAX_FOLDERS_UP: usize = 4;

/// A document, and the files beside it that it names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Body {
    /// The document's own file.
    pub main: String,
    /// All files by their path from the document's folder, the document's own among them. Who lays them out anew gives the
    /// folder as many above it as a path may go up, so that none leads out.
    pub files: BTreeMap<String, String>,
}

impl Body {
    /// What it is called by: the same files give the same digest.
    pub fn digest(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        let parts = self.files.iter().flat_map(|(path, text)| [path.as_str(), text.as_str()]);
        for part in std::iter::once(self.main.as_str()).chain(parts) {
            hasher.update(&(part.len() as u64).to_le_bytes()).update(part.as_bytes());
        }
        hasher.finalize().to_hex().to_string()
    }

    /// The document's own text.
    pub fn text(&self) -> Option<&str> {
        self.files.get(&self.main).map(String::as_str)
    }

    /// What keeps it from being taken: its size, or a path that leads elsewhere.
    pub fn complaint(&self) -> Option<String> {
        if self.text().is_none() {
            return Some(format!("the document itself, {}, is not among its files", self.main));
        }
        if self.files.len() > MAX_FILES || self.files.values().map(String::len).sum::<usize>() > MAX_ARTIFACT_BYTES {
            return Some(format!("it has more than {MAX_FILES} files, or more than {MAX_ARTIFACT_BYTES} bytes"));
        }
        let is_plain = |path: &str| {
            let below = path.split('/').skip_while(|part| *part == "..");
            let up = path.split('/').take_while(|part| *part == "..").count();
            let is_name = |part: &str| !matches!(part, "" | "." | "..") && !part.contains('\\');
            path.len() <= 512 && up <= MAX_FOLDERS_UP && below.clone().count() > 0 && below.clone().all(is_name)
        };
        let stray = self.files.keys().find(|path| !is_plain(path))?;
        Some(format!("{stray:?} is no path to a file beside the document, or at most {MAX_FOLDERS_UP} folders up"))
    }
}

/// A published document, without its text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Artifact {
    /// What it is called by.
    pub digest: String,
    /// What kind of document it is.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: u64,
    /// Since when.
    pub published_at: Millis,
    /// By whom.
    pub published_by: String,
}

/// What a version that is to be published meets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It is new.
    New,
    /// The very same was published before: nothing is to be done.
    Same,
    /// Another one has its version.
    Taken,
}

/// How a document stands to the one of its kind, name and version that was published, if one was.
pub fn standing(published: Option<&Artifact>, digest: &str) -> Standing {
    match published {
        None => Standing::New,
        Some(artifact) if artifact.digest == digest => Standing::Same,
        Some(_) => Standing::Taken,
    }
}

/// The document of this kind, name and version; the newest, where no version is given.
pub(crate) fn find(
    rows: &mut dyn Transaction,
    (kind, name): (&str, &str),
    version: Option<u64>,
) -> Result<Option<Artifact>, StoreError> {
    let found = match version {
        Some(version) => {
            let sql = "SELECT digest, kind, name, version, published_at, published_by FROM artifacts \
                       WHERE kind = $1 AND name = $2 AND version = $3";
            rows.query(sql, &[kind.into(), name.into(), version.into()])?
        }
        None => {
            let sql = "SELECT digest, kind, name, version, published_at, published_by FROM artifacts \
                       WHERE kind = $1 AND name = $2 ORDER BY version DESC LIMIT 1";
            rows.query(sql, &[kind.into(), name.into()])?
        }
    };
    found.first().map(read).transpose()
}

/// A document and its text, by digest.
pub(crate) fn get(rows: &mut dyn Transaction, digest: &str) -> Result<Option<(Artifact, String)>, StoreError> {
    let sql = "SELECT digest, kind, name, version, published_at, published_by, body FROM artifacts WHERE digest = $1";
    rows.query(sql, &[digest.into()])?.first().map(|row| Ok((read(row)?, row.text(6)?))).transpose()
}

/// All of them, the newest versions first.
pub(crate) fn all(rows: &mut dyn Transaction) -> Result<Vec<Artifact>, StoreError> {
    let sql = "SELECT digest, kind, name, version, published_at, published_by FROM artifacts \
               ORDER BY kind, name, version DESC";
    rows.query(sql, &[])?.iter().map(read).collect()
}

/// Keeps a new one.
pub(crate) fn keep(rows: &mut dyn Transaction, artifact: &Artifact, body: &str) -> Result<(), StoreError> {
    let sql = "INSERT INTO artifacts (digest, kind, name, version, body, published_at, published_by) \
               VALUES ($1, $2, $3, $4, $5, $6, $7)";
    let values = [
        (&artifact.digest).into(),
        (&artifact.kind).into(),
        (&artifact.name).into(),
        artifact.version.into(),
        body.into(),
        artifact.published_at.into(),
        (&artifact.published_by).into(),
    ];
    rows.execute(sql, &values)?;
    Ok(())
}

fn read(row: &Row) -> Result<Artifact, StoreError> {
    Ok(Artifact {
        digest: row.text(0)?,
        kind: row.text(1)?,
        name: row.text(2)?,
        version: row.integer(3)?,
        published_at: Millis(row.integer(4)?),
        published_by: row.text(5)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(files: &[(&str, &str)]) -> Body {
        let files = files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect();
        Body { main: "a.yaml".into(), files }
    }

    #[test]
    fn the_same_files_have_the_same_digest_and_others_another() {
        let one = body(&[("a.yaml", "x"), ("b.yaml", "y")]);
        assert_eq!(one.digest(), body(&[("b.yaml", "y"), ("a.yaml", "x")]).digest());
        assert_ne!(one.digest(), body(&[("a.yaml", "x"), ("b.yaml", "z")]).digest());
        assert_ne!(one.digest(), body(&[("a.yaml", "xb.yaml"), ("", "y")]).digest());
    }

    #[test]
    fn what_leads_far_out_of_the_folder_is_not_taken() {
        let check = |path: &str, taken: bool| {
            let complaint = body(&[("a.yaml", "x"), (path, "y")]).complaint();
            assert_eq!(complaint.is_none(), taken, "{path}: {complaint:?}");
        };
        check("modules/b.yaml", true);
        check("../examples/b.yaml", true);
        check("../../../../b.yaml", true);
        check("../../../../../b.yaml", false);
        check("..", false);
        check("b/../../c.yaml", false);
        check("/b.yaml", false);
        check("", false);
        check("b\\c", false);
        assert!(body(&[("b.yaml", "x")]).complaint().is_some(), "its own file is missing");
    }
}
