//! Tickets: the address of a stream, for one call, for a minute, once.
//!
//! A webhook that is the provider's is answered with the address of a stream. Anybody who finds that address could speak
//! with the agent, so it ends with a ticket: signed, short-lived, and good for the call it was made for.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;
use thiserror::Error;

use super::Provider;

/// From the answer to the webhook to the stream's first message; it takes a second or two.
pub const TICKET_SECONDS: u64 = 60;
/// Tickets of the last minute that are known to be used. With one more, no stream is taken until some have expired: that
/// is more than a thousand new calls a second.
pub const MAX_USED_TICKETS: usize = 65_536;
/// A call's id.
const MAX_CALL_BYTES: usize = 256;

/// Why a ticket is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum TicketFault {
    /// Nobody here made it.
    #[error("the stream's address is none that was given to this provider: have the call answered by its webhook")]
    Forged,
    /// Too late.
    #[error("the stream's address was given more than {TICKET_SECONDS} s ago: have the call answered again")]
    Expired,
    /// A second stream.
    #[error("the stream's address was used before: have the call answered again")]
    Used,
    /// Too many calls at once.
    #[error("more calls begin than can be told apart: try again in a minute")]
    Full,
}

/// Makes tickets, and takes each once. Those of another process, or of this one before it was started again, are forged.
pub struct Tickets {
    key: hmac::Key,
    made: u64,
    /// Used ones, by when they expire and their number.
    used: BTreeMap<(u64, u64), ()>,
}

impl Tickets {
    /// With a key that nobody knows.
    ///
    /// ```
    /// use rspp_adapters::telephony::{Provider, ticket::{TicketFault, Tickets}};
    ///
    /// let mut tickets = Tickets::new(&[7; 32]);
    /// let ticket = tickets.make(Provider::Twilio, "CA1", 1_000);
    /// assert_eq!(tickets.take(Provider::Twilio, &ticket, 1_001).as_deref(), Ok("CA1"));
    /// assert_eq!(tickets.take(Provider::Twilio, &ticket, 1_001), Err(TicketFault::Used));
    /// ```
    pub fn new(key: &[u8; 32]) -> Self {
        Self { key: hmac::Key::new(hmac::HMAC_SHA256, key), made: 0, used: BTreeMap::new() }
    }

    /// A ticket for this call; it can stand in an address.
    pub fn make(&mut self, provider: Provider, call: &str, now_unix_s: u64) -> String {
        self.made += 1;
        let call = if call.len() <= MAX_CALL_BYTES { call } else { "" };
        let said = format!("{}.{}.{}", now_unix_s + TICKET_SECONDS, self.made, URL_SAFE_NO_PAD.encode(call));
        let signature = hmac::sign(&self.key, Self::signed(provider, &said).as_bytes());
        format!("{said}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    /// Takes a ticket: gives the call it is for.
    ///
    /// # Errors
    /// It is not good, or no longer.
    pub fn take(&mut self, provider: Provider, ticket: &str, now_unix_s: u64) -> Result<String, TicketFault> {
        let (said, signature) = ticket.rsplit_once('.').ok_or(TicketFault::Forged)?;
        let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| TicketFault::Forged)?;
        let signed = Self::signed(provider, said);
        hmac::verify(&self.key, signed.as_bytes(), &signature).map_err(|_| TicketFault::Forged)?;
        let mut parts = said.split('.');
        let mut number = || parts.next().and_then(|part| part.parse::<u64>().ok()).ok_or(TicketFault::Forged);
        let (expires, made) = (number()?, number()?);
        let call = parts.next().and_then(|call| URL_SAFE_NO_PAD.decode(call).ok());
        let call = call.and_then(|call| String::from_utf8(call).ok()).ok_or(TicketFault::Forged)?;
        if now_unix_s > expires {
            return Err(TicketFault::Expired);
        }
        self.used = self.used.split_off(&(now_unix_s, 0));
        if self.used.contains_key(&(expires, made)) {
            return Err(TicketFault::Used);
        }
        if self.used.len() == MAX_USED_TICKETS {
            return Err(TicketFault::Full);
        }
        self.used.insert((expires, made), ());
        Ok(call)
    }

    fn signed(provider: Provider, said: &str) -> String {
        format!("{}|{said}", provider.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_is_for_one_provider_for_a_minute_and_of_this_process() {
        let mut tickets = Tickets::new(&[1; 32]);
        let ticket = tickets.make(Provider::Twilio, "CA1", 1_000);
        assert_eq!(tickets.take(Provider::Plivo, &ticket, 1_000), Err(TicketFault::Forged));
        assert_eq!(Tickets::new(&[2; 32]).take(Provider::Twilio, &ticket, 1_000), Err(TicketFault::Forged));
        assert_eq!(tickets.take(Provider::Twilio, &ticket, 1_061), Err(TicketFault::Expired));
        assert_eq!(tickets.take(Provider::Twilio, &ticket, 1_060).as_deref(), Ok("CA1"));
        assert_eq!(tickets.take(Provider::Twilio, &ticket, 1_060), Err(TicketFault::Used));
        assert!(ticket.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte)), "{ticket}");
    }

    #[test]
    fn whatever_is_changed_in_it_is_forged() {
        let mut tickets = Tickets::new(&[1; 32]);
        let ticket = tickets.make(Provider::Telnyx, "v3:a/b", 1_000);
        for at in 0..ticket.len() {
            let mut bytes = ticket.clone().into_bytes();
            bytes[at] = if bytes[at] == b'1' { b'2' } else { b'1' };
            let other = String::from_utf8(bytes).expect("it is ASCII");
            let taken = tickets.take(Provider::Telnyx, &other, 1_000);
            // The last sign of a signature has bits that say nothing.
            assert!(taken.is_err() || at == ticket.len() - 1, "{other}: {taken:?}");
        }
        for garbage in ["", ".", "...", "1.2.3.4", &"a".repeat(10_000)] {
            assert_eq!(tickets.take(Provider::Telnyx, garbage, 1_000), Err(TicketFault::Forged));
        }
    }

    #[test]
    fn used_ones_are_forgotten_when_they_expire() {
        let mut tickets = Tickets::new(&[1; 32]);
        for call in 0..100 {
            let ticket = tickets.make(Provider::Twilio, "CA", 1_000 + call);
            assert!(tickets.take(Provider::Twilio, &ticket, 1_000 + call).is_ok());
        }
        assert!(tickets.used.len() <= 62, "{}", tickets.used.len());
    }
}
