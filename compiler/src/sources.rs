//! The documents that one compilation reads: their names, their texts, and what in them must not be shown.

use rspp_specs::binding::check_secrets;
use rspp_specs::limits::MAX_SPEC_BYTES;

use crate::finding::{Excerpt, Place};
use crate::tree::Tree;

/// A longer line is not shown.
const MAX_EXCERPT_BYTES: usize = 240;

/// The documents, counted from 0, which is the one that was asked for.
#[derive(Debug, Default)]
pub(crate) struct Sources {
    documents: Vec<Document>,
}

#[derive(Debug)]
struct Document {
    name: String,
    text: String,
    /// Its text is not kept.
    too_large: bool,
    /// It is part of the program; findings in it stand where it is named.
    named_at: Option<Place>,
    /// Where a key, a password or what looks like one stands, in bytes.
    secrets: Vec<(u32, u32)>,
    /// Whether the secrets are known. Until then, no line that may have one is shown.
    searched: bool,
}

impl Sources {
    /// Adds a document, and gives its number.
    pub(crate) fn add(&mut self, name: &str, text: &str) -> u16 {
        let file = u16::try_from(self.documents.len()).unwrap_or(u16::MAX);
        let too_large = text.len() > MAX_SPEC_BYTES;
        let (name, text) = (name.to_owned(), if too_large { String::new() } else { text.to_owned() });
        self.documents.push(Document { name, text, too_large, named_at: None, secrets: Vec::new(), searched: false });
        file
    }

    /// Adds a document that is part of the program: what is wrong with it stands where it is named.
    pub(crate) fn add_bundled(&mut self, name: &str, text: &str, named_at: Place) -> u16 {
        let file = self.add(name, text);
        self.documents[usize::from(file)].named_at = Some(named_at);
        file
    }

    /// Where a finding at a place is to stand.
    pub(crate) fn shown_at(&self, place: Place) -> Place {
        self.documents.get(usize::from(place.file)).and_then(|document| document.named_at).unwrap_or(place)
    }

    /// What a value at a place comes from, for people: a line of a file, or the name of what is part of the program.
    pub(crate) fn origin(&self, place: Place) -> String {
        let name = self.name(place.file);
        let bundled = self.documents.get(usize::from(place.file)).is_some_and(|document| document.named_at.is_some());
        if bundled || place.line == 0 { name.to_owned() } else { format!("{name}:{}", place.line) }
    }

    /// A name where there is no text: an option of the command line.
    pub(crate) fn name(&self, file: u16) -> &str {
        self.documents.get(usize::from(file)).map_or("", |document| document.name.as_str())
    }

    pub(crate) fn text(&self, file: u16) -> &str {
        self.documents.get(usize::from(file)).map_or("", |document| document.text.as_str())
    }

    /// Whether a document is larger than any may be.
    pub(crate) fn is_too_large(&self, file: u16) -> bool {
        self.documents.get(usize::from(file)).is_some_and(|document| document.too_large)
    }

    /// Finds what must not be shown.
    pub(crate) fn search(&mut self, file: u16, tree: &Tree) {
        let Some(document) = self.documents.get_mut(usize::from(file)) else { return };
        tree.scalars(&mut |text, place| {
            if check_secrets(text).is_err() || looks_secret(text) {
                document.secrets.push((place.start, place.end));
            }
        });
        document.searched = true;
    }

    /// The line of a place, with secrets blotted out.
    pub(crate) fn excerpt(&self, place: Place) -> Option<Excerpt> {
        let document = self.documents.get(usize::from(place.file)).filter(|_| place.line > 0)?;
        let start = usize::try_from(place.start).ok()?.min(document.text.len());
        let begins = document.text.get(..start)?.rfind('\n').map_or(0, |at| at + 1);
        let line = document.text[begins..].lines().next()?;
        if line.len() > MAX_EXCERPT_BYTES || !document.searched && may_have_a_secret(line) {
            return None;
        }
        let mut bytes = line.as_bytes().to_vec();
        for (from, to) in &document.secrets {
            let inside = |at: u32| (at as usize).saturating_sub(begins).min(bytes.len());
            let (from, to) = (inside(*from), inside(*to));
            bytes[from..to].fill(b'*');
        }
        let mut text = String::from_utf8(bytes).ok()?;
        for word in words(line).filter(|word| is_key(word)) {
            text = text.replace(word, &"*".repeat(word.len()));
        }
        let from = (start - begins).min(text.len());
        let to = usize::try_from(place.end).ok()?.saturating_sub(begins).clamp(from, text.trim_end().len().max(from));
        let marked = from..to.max(text[from..].chars().next().map_or(from, |first| from + first.len_utf8()));
        Some(Excerpt { text, marked })
    }
}

/// Whether a text looks like a key: by the beginnings that providers give theirs, or as a header with one.
pub(crate) fn looks_secret(text: &str) -> bool {
    text.contains("PRIVATE KEY-----") || words(text).any(is_key)
}

/// A text of which nothing is shown that looks like a key.
pub(crate) fn masked(text: &str) -> String {
    if text.contains("PRIVATE KEY-----") {
        return "***".to_owned();
    }
    let mut shown = text.to_owned();
    for word in words(text).filter(|word| is_key(word) || check_secrets(word).is_err()) {
        shown = shown.replace(word, "***");
    }
    shown
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split([' ', ',', '"', '\'', '`', '\n', '[', ']', '{', '}']).flat_map(|word| word.split('=').chain([word]))
}

fn is_key(word: &str) -> bool {
    const BEGINNINGS: [&str; 11] =
        ["sk-", "sk_live_", "ghp_", "gho_", "github_pat_", "glpat-", "xoxb-", "xoxp-", "AKIA", "AIza", "hf_"];
    let long = |rest: &str| rest.bytes().filter(u8::is_ascii_alphanumeric).count() >= 16;
    BEGINNINGS.iter().any(|begins| word.strip_prefix(begins).is_some_and(long))
}

fn may_have_a_secret(line: &str) -> bool {
    let lower = line.to_ascii_lowercase();
    ["key", "secret", "token", "password", "bearer", "@"].iter().any(|word| lower.contains(word)) || looks_secret(line)
}
