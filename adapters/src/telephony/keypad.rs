//! Keys that the caller presses, as what the caller typed.
//!
//! Keys come one by one, and a number has several: they are kept until the caller ends it with `#`, has paused, or has
//! pressed as many as there may be. What is given out is text, the same that a typing caller sends, so that a model or a
//! dialogue answers it like any other (`F-089`).

use rspp_specs::time::Micros;

use crate::audio::Digit;

/// Keys of one number; with one more it is given out.
pub const MAX_KEYED_DIGITS: usize = 32;

/// When a number is complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeypadRules {
    /// After so long without another key.
    pub pause: Micros,
    /// When there are so many, from 1 to [`MAX_KEYED_DIGITS`].
    pub digits: usize,
}

impl Default for KeypadRules {
    fn default() -> Self {
        Self { pause: Micros::from_ms(2_500), digits: MAX_KEYED_DIGITS }
    }
}

/// Keys of one call.
///
/// ```
/// use rspp_adapters::audio::Digit;
/// use rspp_adapters::telephony::{Keypad, KeypadRules};
/// use rspp_specs::time::Micros;
///
/// let mut keys = Keypad::new(KeypadRules::default());
/// for sign in "42".chars() {
///     assert_eq!(keys.press(Micros(0), Digit::new(sign).expect("a key")), None);
/// }
/// assert_eq!(keys.press(Micros(0), Digit::new('#').expect("a key")).as_deref(), Some("42"));
/// ```
#[derive(Debug)]
pub struct Keypad {
    rules: KeypadRules,
    keyed: String,
    complete_at: Option<Micros>,
}

impl Keypad {
    /// Nothing is pressed yet.
    pub fn new(rules: KeypadRules) -> Self {
        let digits = rules.digits.clamp(1, MAX_KEYED_DIGITS);
        Self { rules: KeypadRules { digits, ..rules }, keyed: String::new(), complete_at: None }
    }

    /// A key: gives the number if it completes one. `#` by itself is a number too, for menus.
    pub fn press(&mut self, now: Micros, digit: Digit) -> Option<String> {
        if digit.sign() == '#' && !self.keyed.is_empty() {
            return self.take();
        }
        self.keyed.push(digit.sign());
        self.complete_at = Some(now + self.rules.pause);
        (self.keyed.len() >= self.rules.digits).then(|| self.take()).flatten()
    }

    /// When the pause is long enough.
    pub fn next_at(&self) -> Option<Micros> {
        self.complete_at
    }

    /// Time passes: gives the number if the pause is long enough.
    pub fn on_time(&mut self, now: Micros) -> Option<String> {
        self.complete_at.is_some_and(|at| now >= at).then(|| self.take()).flatten()
    }

    fn take(&mut self) -> Option<String> {
        self.complete_at = None;
        let keyed = std::mem::take(&mut self.keyed);
        (!keyed.is_empty()).then_some(keyed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Keys, and `.` for a second; what is given out, by comma.
    fn check(rules: KeypadRules, pressed: &str, expected: &str) {
        let mut keys = Keypad::new(rules);
        let (mut now, mut numbers) = (Micros(0), Vec::new());
        for sign in pressed.chars() {
            match Digit::new(sign) {
                Some(digit) => numbers.extend(keys.press(now, digit)),
                None => now = now + Micros::from_ms(1_000),
            }
            numbers.extend(keys.on_time(now));
        }
        assert_eq!(numbers.join(","), expected, "{pressed}");
    }

    #[test]
    fn a_number_ends_with_a_hash_a_pause_or_its_length() {
        let rules = KeypadRules::default();
        check(rules, "123#45#", "123,45");
        check(rules, "12..3...", "123");
        check(rules, "12...3#", "12,3");
        check(rules, "#...", "#");
        check(rules, "*1#", "*1");
        check(KeypadRules { digits: 4, ..rules }, "123456", "1234");
        check(KeypadRules { digits: 0, ..rules }, "12", "1,2");
        check(rules, &"1".repeat(33), &"1".repeat(32));
    }
}
