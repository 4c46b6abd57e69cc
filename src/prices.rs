//! What providers cost, as a file declares it. Nothing here knows a price.

use std::path::Path;

use rspp_adapters::input_file::{InputFileError, read_text};
use serde::{Deserialize, Serialize};

use crate::drawing::{Amount, Invocation};

/// A declared list of prices.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PriceList {
    /// `PriceList`.
    kind: String,
    /// In which money, for people.
    pub currency: String,
    /// How many characters are taken for one token, where a provider does not count them: an estimate.
    #[serde(default = "chars_a_token")]
    pub chars_a_token: f64,
    /// Prices by the beginning of a binding; the longest that fits counts.
    prices: Vec<Price>,
}

fn chars_a_token() -> f64 {
    4.0
}

/// What a provider takes. Units add up.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Price {
    /// How the bindings begin that have this price.
    binding: String,
    /// For each invocation.
    per_invocation: f64,
    /// For a minute of audio that it is given.
    per_minute_in: f64,
    /// For a minute of audio that it gives.
    per_minute_out: f64,
    /// For a million characters that it is given.
    per_million_chars_in: f64,
    /// For a million tokens that it is given.
    per_million_tokens_in: f64,
    /// For a million tokens that it gives.
    per_million_tokens_out: f64,
}

/// Why prices can't be used.
#[derive(Debug, thiserror::Error)]
pub enum PricesError {
    /// The file can't be read.
    #[error(transparent)]
    File(#[from] InputFileError),
    /// It makes no sense.
    #[error("{path}: {message}")]
    Document {
        /// Which.
        path: String,
        /// Why.
        message: String,
    },
}

impl PriceList {
    /// Reads a list.
    ///
    /// # Errors
    /// Names the file and what is wrong in it.
    pub fn read(path: &Path) -> Result<Self, PricesError> {
        let text = read_text(path, "a list of prices")?;
        let fail = |message: String| PricesError::Document { path: path.display().to_string(), message };
        let list: Self = serde_saphyr::from_str(&text).map_err(|error| fail(error.to_string()))?;
        if list.kind != "PriceList" {
            return Err(fail(format!("kind is {}, not PriceList", list.kind)));
        }
        let numbers = list.prices.iter().flat_map(Price::numbers).chain([list.chars_a_token]);
        if numbers.into_iter().any(|number| !number.is_finite() || number < 0.0) || list.chars_a_token <= 0.0 {
            return Err(fail("prices are numbers from 0 on, and chars_a_token is more than 0".to_owned()));
        }
        Ok(list)
    }

    fn of(&self, binding: &str) -> Option<&Price> {
        let fits = self.prices.iter().filter(|price| binding.starts_with(&price.binding));
        fits.max_by_key(|price| price.binding.len())
    }

    /// What an invocation costs; `None` for a provider without a price.
    pub fn cost(&self, invocation: &Invocation) -> Option<f64> {
        let price = self.of(&invocation.binding)?;
        let Amount { chars_in, chars_out, audio_in, audio_out } = invocation.amount;
        let minutes = |time: rspp_specs::time::Micros| time.0 as f64 / 60e6;
        let tokens = |chars: u64| chars as f64 / self.chars_a_token / 1e6;
        Some(
            price.per_invocation
                + price.per_minute_in * minutes(audio_in)
                + price.per_minute_out * minutes(audio_out)
                + price.per_million_chars_in * chars_in as f64 / 1e6
                + price.per_million_tokens_in * tokens(chars_in)
                + price.per_million_tokens_out * tokens(chars_out),
        )
    }
}

impl Price {
    fn numbers(&self) -> [f64; 6] {
        [
            self.per_invocation,
            self.per_minute_in,
            self.per_minute_out,
            self.per_million_chars_in,
            self.per_million_tokens_in,
            self.per_million_tokens_out,
        ]
    }
}

/// What a call is estimated to have cost.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Cost {
    /// In which money.
    pub currency: String,
    /// How much, of what has a price.
    pub total: f64,
    /// Providers that were asked and have none.
    pub without_price: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drawing::Lane;
    use rspp_specs::ids::InvocationId;
    use rspp_specs::time::Micros;

    const LIST: &str = "kind: PriceList\ncurrency: EUR\nprices:\n\
                        - {binding: 'http:', per_million_tokens_in: 2, per_million_tokens_out: 8}\n\
                        - {binding: 'http://near', per_invocation: 0.5}\n\
                        - {binding: 'wyoming', per_minute_in: 0.06}\n";

    fn invocation(binding: &str) -> Invocation {
        Invocation {
            id: InvocationId(1),
            lane: Lane::Llm,
            node: "llm".to_owned(),
            binding: binding.to_owned(),
            turn: None,
            from: Micros(0),
            to: None,
            cancelled: false,
            first: None,
            outcome: None,
            amount: Amount {
                chars_in: 4_000_000,
                chars_out: 400_000,
                audio_in: Micros::from_ms(90_000),
                audio_out: Micros(0),
            },
        }
    }

    #[test]
    fn the_longest_beginning_counts_and_units_add_up() {
        let list: PriceList = serde_saphyr::from_str(LIST).expect("it is a list");
        let cost = |binding| list.cost(&invocation(binding)).map(|cost| (cost * 1e6).round() / 1e6);
        assert_eq!(cost("http://far/v1#m"), Some(2.0 + 0.8));
        assert_eq!(cost("http://near/v1#m"), Some(0.5));
        assert_eq!(cost("wyoming+tcp://a"), Some(0.09));
        assert_eq!(cost("tone:"), None);
    }
}
