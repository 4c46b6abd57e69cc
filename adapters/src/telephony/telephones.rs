//! The numbers that a server answers: whose webhooks it believes, and which streams it takes.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use ring::rand::{SecureRandom, SystemRandom};

use super::Provider;
use super::answer::answer;
use super::signature::{SignatureFault, Webhook, fields, verify};
use super::ticket::{TicketFault, Tickets};
use crate::secret::Secret;

/// Where streams are taken, behind the public address: then the provider's name, then a ticket.
pub const STREAMS: &str = "/v1";
/// Where webhooks are answered, behind the public address: then the provider's name.
pub const WEBHOOKS: &str = "/telephony";

/// Why a webhook gets no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unanswered {
    /// Nobody said what its secret is.
    #[error("{} is not answered here: start the server with --telephone {}=env:NAME", .0.name(), .0.name())]
    NotServed(Provider),
    /// It is not the provider's.
    #[error(transparent)]
    NotBelieved(#[from] SignatureFault),
}

/// Why a stream is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotTaken {
    /// A provider with a secret streams to addresses that it was given.
    #[error("the stream's address has no ticket: have the call answered by its webhook")]
    NoTicket,
    /// The ticket.
    #[error(transparent)]
    Ticket(#[from] TicketFault),
}

/// The numbers of one server.
pub struct Telephones {
    /// As the world calls the server: scheme and host, nothing behind.
    public_url: String,
    secrets: BTreeMap<Provider, Secret>,
    tickets: Mutex<Tickets>,
}

impl Telephones {
    /// `public_url` is how the world calls the server, such as `https://voice.example.com`. Tickets are signed with a key of
    /// this process alone.
    pub fn new(public_url: &str, secrets: BTreeMap<Provider, Secret>) -> Self {
        let mut key = [0; 32];
        SystemRandom::new().fill(&mut key).expect("the system has randomness");
        let public_url = public_url.trim_end_matches('/').to_owned();
        Self { public_url, secrets, tickets: Mutex::new(Tickets::new(&key)) }
    }

    /// As the world calls what is asked for by this path and query.
    pub fn public_address(&self, path_and_query: &str) -> String {
        format!("{}{path_and_query}", self.public_url)
    }

    /// The document with which a webhook is answered, if the provider sent it.
    ///
    /// # Errors
    /// It did not, or nobody knows.
    pub fn answer(&self, provider: Provider, webhook: &Webhook, now_unix_s: u64) -> Result<String, Unanswered> {
        let secret = self.secrets.get(&provider).ok_or(Unanswered::NotServed(provider))?;
        verify(provider, secret.reveal(), webhook, now_unix_s)?;
        let call = called(provider, webhook)?;
        let ticket = self.tickets().make(provider, &call, now_unix_s);
        let host = self.public_url.split_once("://").map_or(&*self.public_url, |(_, host)| host);
        let scheme = if self.public_url.starts_with("http://") { "ws" } else { "wss" };
        Ok(answer(provider, &format!("{scheme}://{host}{STREAMS}/{}/{ticket}", provider.name()), &[]))
    }

    /// Whether a stream is taken: gives the call that it has to be of, where that is known.
    ///
    /// # Errors
    /// Its ticket is not good, or it has none and needs one.
    pub fn admit(&self, provider: Provider, ticket: Option<&str>, now_unix_s: u64) -> Result<Option<String>, NotTaken> {
        match ticket {
            Some(ticket) => {
                let call = self.tickets().take(provider, ticket, now_unix_s)?;
                Ok(Some(call).filter(|call| !call.is_empty()))
            }
            None if self.secrets.contains_key(&provider) => Err(NotTaken::NoTicket),
            None => Ok(None),
        }
    }

    fn tickets(&self) -> std::sync::MutexGuard<'_, Tickets> {
        self.tickets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The id under which the stream's start will name the call; empty where that is not known. Telnyx has several ids for one
/// call, and its documents do not say which of them a webhook of this kind and a stream have in common.
fn called(provider: Provider, webhook: &Webhook) -> Result<String, SignatureFault> {
    let name = match provider {
        Provider::Twilio => "CallSid",
        Provider::Plivo => "CallUUID",
        Provider::Telnyx => return Ok(String::new()),
    };
    let query = webhook.url.split_once('?').map_or("", |(_, query)| query);
    let sent = if webhook.method == "POST" { fields(&webhook.body)? } else { fields(query.as_bytes())? };
    Ok(sent.get(name).and_then(|values| values.first()).cloned().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Secrets;
    use rspp_specs::binding::KeyReference;

    fn telephones() -> Telephones {
        let folder = tempfile::tempdir().expect("a folder can be made");
        std::fs::write(folder.path().join("token"), "0123456789abcdef0123456789abcdef").expect("it can be written");
        let secret = Secrets::beside(folder.path()).read(&KeyReference::File("token".to_owned())).expect("it is a key");
        Telephones::new("https://voice.example.com/", [(Provider::Twilio, secret)].into())
    }

    /// The first webhook of Twilio's that its own library signed.
    fn signed() -> Webhook {
        let oracle = include_str!("../../testdata/telephony/signatures.json");
        let cases: Vec<serde_json::Value> = serde_json::from_str(oracle).expect("it is JSON");
        let text = |name: &str| cases[0][name].as_str().unwrap_or_default().to_owned();
        let headers = cases[0]["headers"].as_object().into_iter().flatten();
        let headers = headers.map(|(name, value)| (name.to_lowercase(), value.as_str().unwrap_or_default().to_owned()));
        Webhook {
            method: text("method"),
            url: text("url"),
            headers: headers.collect(),
            body: text("body").into_bytes(),
        }
    }

    #[test]
    fn a_call_that_is_answered_may_stream_once_and_only_itself() {
        let telephones = telephones();
        let document = telephones.answer(Provider::Twilio, &signed(), 1_000).expect("it is signed");
        let (_, ticket) = document.split_once("wss://voice.example.com/v1/twilio/").expect("it says where to");
        let ticket = ticket.split('"').next();
        assert_eq!(telephones.admit(Provider::Twilio, ticket, 1_010), Ok(Some("CA1".to_owned())));
        let again = telephones.admit(Provider::Twilio, ticket, 1_010);
        assert_eq!(again, Err(NotTaken::Ticket(TicketFault::Used)));
        assert_eq!(telephones.admit(Provider::Twilio, None, 1_010), Err(NotTaken::NoTicket));
    }

    #[test]
    fn who_is_not_served_is_not_answered_and_needs_no_ticket() {
        let telephones = telephones();
        let unanswered = telephones.answer(Provider::Plivo, &signed(), 1_000).expect_err("it has no secret");
        assert!(unanswered.to_string().contains("--telephone plivo=env:NAME"), "{unanswered}");
        assert_eq!(telephones.admit(Provider::Plivo, None, 1_000), Ok(None));
        let forged = Webhook { body: b"CallSid=CA2".to_vec(), ..signed() };
        let unanswered = telephones.answer(Provider::Twilio, &forged, 1_000);
        assert_eq!(unanswered, Err(Unanswered::NotBelieved(SignatureFault::Wrong)));
    }
}
