//! Answers with gaps: text, and names in braces.

/// An answer, parsed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Template(Vec<Piece>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Name(String),
}

impl Template {
    /// Reads an answer; the error is a sentence.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            let (before, gap) = rest.split_at(at);
            let inside = gap.strip_prefix('{').ok_or("`}` in this answer has no `{` before it")?;
            let (name, after) = inside.split_once('}').ok_or("`{` in this answer has no `}` after it")?;
            pieces.push(Piece::Text(before.to_owned()));
            pieces.push(Piece::Name(name.trim().to_owned()));
            rest = after;
        }
        pieces.push(Piece::Text(rest.to_owned()));
        Ok(Self(pieces))
    }

    /// The names in braces.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|piece| match piece {
            Piece::Name(name) => Some(name.as_str()),
            Piece::Text(_) => None,
        })
    }

    /// The text, with a value for each name.
    pub(super) fn fill<'v>(&self, value: impl Fn(&str) -> &'v str) -> String {
        let pieces = self.0.iter().map(|piece| match piece {
            Piece::Text(text) => text.as_str(),
            Piece::Name(name) => value(name),
        });
        // The values live as long as the dialogue, the text as long as the template.
        pieces.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_are_filled_and_broken_ones_told() {
        for (text, expect) in [
            ("A table for {party}, at { time }.", Ok("A table for PARTY, at TIME.")),
            ("{a}{b}", Ok("AB")),
            ("no gap", Ok("no gap")),
            ("a {b", Err("`{` in this answer has no `}` after it")),
            ("a } b", Err("`}` in this answer has no `{` before it")),
        ] {
            let values = |name: &str| match name {
                "party" => "PARTY",
                "time" => "TIME",
                "a" => "A",
                _ => "B",
            };
            let found = Template::parse(text).map(|template| template.fill(values));
            assert_eq!(found, expect.map(str::to_owned).map_err(str::to_owned), "{text}");
        }
    }
}
