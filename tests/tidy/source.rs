//! A file as the rules see it: its text, and its code, where comments and literals are blanked out.

use std::ops::Range;

/// One file of the repository.
pub(crate) struct Source {
    /// From the root of the repository, with forward slashes.
    pub(crate) path: String,
    pub(crate) text: String,
    /// The text of a Rust file with a space for each byte of a comment or literal; else nothing. Lines stay lines.
    pub(crate) code: String,
    tests: Vec<Range<usize>>,
}

/// A function with a body.
#[derive(Debug, PartialEq)]
pub(crate) struct Function {
    pub(crate) name: String,
    pub(crate) line: usize,
    /// Lines that hold code. The signature counts; blank lines, comments and the inside of literals do not.
    pub(crate) lines: usize,
    pub(crate) test: bool,
}

impl Source {
    pub(crate) fn new(path: &str, text: String) -> Self {
        let code = if path.ends_with(".rs") { blank_out(&text) } else { String::new() };
        let tests = test_lines(&code);
        Self { path: path.to_owned(), text, code, tests }
    }

    pub(crate) fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    /// Whether a program wrote the file, which says so at its top.
    pub(crate) fn is_generated(&self) -> bool {
        self.text.lines().take(8).any(|line| line.contains("@generated"))
    }

    /// Whether the whole file is a test or a bench.
    pub(crate) fn is_test(&self) -> bool {
        let folder = self.path.split('/').rfind(|part| ["src", "tests", "benches"].contains(part));
        folder.is_some_and(|folder| folder != "src") || self.path.ends_with("/tests.rs")
    }

    /// Whether this line, counted from 1, is only compiled for tests.
    pub(crate) fn in_test(&self, line: usize) -> bool {
        self.is_test() || self.tests.iter().any(|range| range.contains(&line))
    }

    /// The lines of the text, counted from 1.
    pub(crate) fn text_lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text.lines().enumerate().map(|(index, line)| (index + 1, line))
    }

    /// The lines of the code, counted from 1.
    pub(crate) fn code_lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.code.lines().enumerate().map(|(index, line)| (index + 1, line))
    }

    /// Every function with a body; one inside another counts in both.
    pub(crate) fn functions(&self) -> Vec<Function> {
        let code = &self.code;
        let mut functions = Vec::new();
        for (at, word) in words(code) {
            let rest = code[at + word.len()..].trim_start();
            // `fn(u8) -> u8` is a type and has no name.
            if word != "fn" || !rest.starts_with(is_word) {
                continue;
            }
            let Some(open) = body_start(code, at) else { continue };
            let line = line_of(code, at);
            functions.push(Function {
                name: rest.split(|c| !is_word(c)).next().unwrap_or_default().to_owned(),
                line,
                lines: code[at..=block_end(code, open)].lines().filter(|line| !line.trim().is_empty()).count(),
                test: self.in_test(line),
            });
        }
        functions
    }
}

pub(crate) fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The identifiers, keywords and numbers of a piece of code, each with the byte where it begins.
pub(crate) fn words(code: &str) -> impl Iterator<Item = (usize, &str)> {
    code.split(|c| !is_word(c))
        .filter(|word| !word.is_empty())
        .map(|word| (word.as_ptr() as usize - code.as_ptr() as usize, word))
}

/// Whether the needle stands in the line, not as a part of longer words.
pub(crate) fn has_word(line: &str, needle: &str) -> bool {
    line.match_indices(needle).any(|(at, _)| {
        let begins = !needle.starts_with(is_word) || !line[..at].ends_with(is_word);
        let ends = !needle.ends_with(is_word) || !line[at + needle.len()..].starts_with(is_word);
        begins && ends
    })
}

fn line_of(code: &str, at: usize) -> usize {
    1 + code[..at].matches('\n').count()
}

/// The `{` of a function's body, unless the signature ends with `;`. Array types keep theirs in brackets.
fn body_start(code: &str, from: usize) -> Option<usize> {
    let mut depth = 0;
    for (at, byte) in code.bytes().enumerate().skip(from) {
        match byte {
            b'(' | b'[' => depth += 1,
            b')' | b']' => depth -= 1,
            b'{' if depth == 0 => return Some(at),
            b';' if depth == 0 => return None,
            _ => {}
        }
    }
    None
}

/// The `}` that closes the `{` at this place; the last byte where none does.
fn block_end(code: &str, open: usize) -> usize {
    let mut depth = 0;
    for (at, byte) in code.bytes().enumerate().skip(open) {
        match byte {
            b'{' => depth += 1,
            b'}' if depth == 1 => return at,
            b'}' => depth -= 1,
            _ => {}
        }
    }
    code.len() - 1
}

/// The lines of every item under `#[cfg(test)]`.
fn test_lines(code: &str) -> Vec<Range<usize>> {
    let items = code.match_indices("#[cfg(test)]").map(|(at, attribute)| {
        let from = at + attribute.len();
        let end = body_start(code, from).map_or(from, |open| block_end(code, open));
        line_of(code, at)..line_of(code, end) + 1
    });
    items.collect()
}

/// The same text with a space for each byte of a comment or literal.
fn blank_out(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut code = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let word = bytes[at..].iter().take_while(|byte| is_word_byte(**byte)).count();
        let opening = at + word;
        let Some(end) = literal_end(text, &text[at..opening], opening) else {
            at = opening + usize::from(word == 0);
            continue;
        };
        code[at..end].iter_mut().filter(|byte| **byte != b'\n').for_each(|byte| *byte = b' ');
        at = end;
    }
    String::from_utf8(code).expect("whole characters were blanked: every literal begins and ends with ASCII")
}

fn is_word_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || !byte.is_ascii()
}

/// Where the comment or literal ends that opens here, after this prefix; `None` where none does.
fn literal_end(text: &str, prefix: &str, opening: usize) -> Option<usize> {
    let rest = &text[opening..];
    let length = match (prefix, rest.as_bytes().first()?) {
        ("", b'/') if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
        ("", b'/') if rest.starts_with("/*") => block_comment(rest),
        ("" | "b" | "c", b'"') => quoted(rest, b'"'),
        ("r" | "br" | "cr", b'"' | b'#') => raw_string(rest)?,
        ("b", b'\'') => quoted(rest, b'\''),
        ("", b'\'') => {
            // `'a'` is a character, `'a` a lifetime.
            let mut characters = rest.char_indices().skip(1);
            let first = characters.next()?.1;
            if first != '\\' && characters.next()?.1 != '\'' {
                return None;
            }
            quoted(rest, b'\'')
        }
        _ => return None,
    };
    Some(opening + length)
}

fn block_comment(rest: &str) -> usize {
    let mut depth = 0_usize;
    let mut at = 0;
    while at < rest.len() {
        match &rest.as_bytes()[at..rest.len().min(at + 2)] {
            b"/*" => depth += 1,
            b"*/" => depth -= 1,
            _ => {
                at += 1;
                continue;
            }
        }
        at += 2;
        if depth == 0 {
            break;
        }
    }
    at
}

fn quoted(rest: &str, quote: u8) -> usize {
    let mut bytes = rest.bytes().enumerate().skip(1);
    while let Some((at, byte)) = bytes.next() {
        if byte == b'\\' {
            bytes.next();
        } else if byte == quote {
            return at + 1;
        }
    }
    rest.len()
}

/// `None` for `r#type`, which is an identifier.
fn raw_string(rest: &str) -> Option<usize> {
    let hashes = rest.bytes().take_while(|byte| *byte == b'#').count();
    let inside = rest[hashes..].strip_prefix('"')?;
    let closing = format!("\"{}", "#".repeat(hashes));
    let length = inside.find(&closing).map_or(inside.len(), |at| at + closing.len());
    Some(hashes + 1 + length)
}
