//! Telephone calls: what Twilio, Telnyx and Plivo stream over a WebSocket, and the webhook that sends a call here.
//!
//! The three speak dialects of one protocol, so a provider is a table of words ([`Dialect`]) and what it sends is read
//! into one set of events. [`Playout`] turns the marks that come back into what the caller has heard, [`Keypad`] keys into
//! text, [`signature`] tells whether a webhook is the provider's, and [`answer`] writes what it gets. None of it has a
//! socket or a clock; the door ([`crate::doors::telephony`]) joins them on the contract of transports.
//!
//! Facts are the providers' own documents', tested against clients that are not ours: `docs/telephony.md` says which
//! were seen to work with what.

pub mod answer;
mod dialect;
mod keypad;
mod playout;
mod reading;
pub mod signature;
mod telephones;
pub mod ticket;

pub use dialect::{Dialect, Provider};
pub use keypad::{Keypad, KeypadRules, MAX_KEYED_DIGITS};
pub use playout::{MAX_OPEN_MARKS, Marks, Playout};
pub use reading::{Heard, MAX_PARAMETERS, Malformed, Media, Start};
pub use telephones::{NotTaken, STREAMS, Telephones, Unanswered, WEBHOOKS};
