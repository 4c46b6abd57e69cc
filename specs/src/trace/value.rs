//! What a field of a trace's line holds.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use crate::ids::{InvocationId, LeaseEpoch, RuntimeSequence, TurnId};
use crate::plan::PlanHash;
use crate::time::Micros;

/// A field's value. It becomes text when it is shown, so that who only asks for numbers pays for no text.
#[derive(Clone, Debug)]
pub enum Value {
    /// Any text.
    Text(Arc<str>),
    /// A word of a closed set.
    Word(&'static str),
    /// A whole number.
    Number(u64),
    /// Milliseconds of session time.
    Time(Micros),
    /// `true` or `false`.
    Flag(bool),
    /// `t3`.
    Turn(TurnId),
    /// `llm#2`.
    Invocation(&'static str, InvocationId),
    /// Audio, shown as eight digits that tell it from other audio.
    Digest(Arc<[i16]>),
}

impl Value {
    /// The value, if it is text or a word.
    pub fn text(&self) -> Option<&str> {
        match self {
            Value::Text(text) => Some(text),
            Value::Word(word) => Some(word),
            _ => None,
        }
    }

    /// The value, if it is a whole number or reads as one.
    pub fn number(&self) -> Option<u64> {
        match self {
            Value::Number(number) => Some(*number),
            Value::Text(text) => text.parse().ok(),
            _ => None,
        }
    }

    /// The value, if it is true or false.
    pub fn flag(&self) -> Option<bool> {
        match self {
            Value::Flag(flag) => Some(*flag),
            Value::Text(text) => text.parse().ok(),
            _ => None,
        }
    }

    /// The value, if it names a turn: `t3`.
    pub fn turn(&self) -> Option<TurnId> {
        match self {
            Value::Turn(turn) => Some(*turn),
            Value::Text(text) => text.strip_prefix('t')?.parse().ok().map(TurnId),
            _ => None,
        }
    }

    /// Kind and number, if the value names an invocation: `llm#2`.
    pub fn invocation(&self) -> Option<(&str, InvocationId)> {
        match self {
            Value::Invocation(kind, id) => Some((kind, *id)),
            Value::Text(text) => parse_invocation(text),
            _ => None,
        }
    }

    /// As it stands in a line.
    pub(super) fn shown(&self) -> Cow<'_, str> {
        match self {
            Value::Text(text) => Cow::Borrowed(text),
            Value::Word(word) => Cow::Borrowed(word),
            Value::Number(number) => Cow::Owned(number.to_string()),
            Value::Time(at) => Cow::Owned(at.to_string()),
            Value::Flag(flag) => Cow::Borrowed(if *flag { "true" } else { "false" }),
            Value::Turn(turn) => Cow::Owned(turn.to_string()),
            Value::Invocation(kind, id) => Cow::Owned(format!("{kind}{id}")),
            Value::Digest(samples) => Cow::Owned(digest(samples)),
        }
    }
}

/// Kind and number of an invocation's name: `llm#2`.
pub fn parse_invocation(name: &str) -> Option<(&str, InvocationId)> {
    let (kind, number) = name.split_once('#')?;
    Some((kind, InvocationId(number.parse().ok()?)))
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown())
    }
}

/// Values are equal that look the same in a line.
impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        self.shown() == other.shown()
    }
}

impl Eq for Value {}

macro_rules! values {
    ($($from:ty: $value:pat => $into:expr,)*) => {
        $(impl From<$from> for Value {
            fn from($value: $from) -> Self {
                $into
            }
        })*
    };
}

values! {
    &'static str: word => Value::Word(word),
    String: text => Value::Text(text.into()),
    &Arc<str>: text => Value::Text(Arc::clone(text)),
    &PlanHash: hash => Value::Text(Arc::clone(&hash.0)),
    u32: number => Value::Number(number.into()),
    &u32: number => Value::Number((*number).into()),
    u64: number => Value::Number(number),
    &u64: number => Value::Number(*number),
    usize: number => Value::Number(number as u64),
    &RuntimeSequence: sequence => Value::Number(sequence.0),
    Micros: at => Value::Time(at),
    &Micros: at => Value::Time(*at),
    bool: flag => Value::Flag(flag),
    &bool: flag => Value::Flag(*flag),
    TurnId: turn => Value::Turn(turn),
    &TurnId: turn => Value::Turn(*turn),
    &LeaseEpoch: epoch => Value::Text(epoch.to_string().into()),
}

/// Eight hexadecimal digits that tell one frame's audio from another's.
fn digest(samples: &[i16]) -> String {
    let mut hasher = blake3::Hasher::new();
    for sample in samples {
        hasher.update(&sample.to_le_bytes());
    }
    hasher.finalize().to_hex()[..8].to_owned()
}
