//! A connection that is lost in the middle of an answer, and comes back: nothing is heard twice, nothing is lost.
//!
//! What the caller has heard in the end is compared with an answer that nobody interrupted.

#[path = "serve/caller.rs"]
mod caller;
#[path = "serve/client.rs"]
mod client;
#[path = "serve/house.rs"]
mod house;

use caller::{ASK, Caller};
use client::{Client, Seen};
use house::House;
use serde_json::json;

fn undisturbed() -> Vec<i16> {
    let house = House::open();
    let mut client = Client::connect(house.address);
    client.hello();
    client.say(ASK);
    let mut caller = Caller::default();
    assert!(caller.listens(&mut client, |_, caller| caller.committed));
    caller.heard
}

#[test]
fn a_socket_that_is_gone_is_waited_for() {
    let expected = undisturbed();
    let house = House::open();
    let mut client = Client::connect(house.address);
    let ready = client.hello();
    client.say(ASK);
    let mut caller = Caller::default();
    assert!(caller.listens(&mut client, |_, caller| caller.heard.len() >= 8_000));
    drop(client);
    let mut client = Client::connect(house.address);
    client.say(&caller.hello(&ready["resume"]));
    let again = client.until_told("ready", &[]);
    assert_eq!((&again["resumed"], &again["session"], &again["missed"]), (&json!(true), &ready["session"], &json!(0)));
    assert!(caller.listens(&mut client, |_, caller| caller.committed));
    assert_eq!(caller.heard, expected, "what was heard is not what was said");
    let secret = again["resume"].clone();
    client.say(r#"{"type":"end"}"#);
    client.until_closed();
    let mut late = Client::connect(house.address);
    late.say(&caller.hello(&secret));
    assert_eq!(late.until_closed().map(|(code, _)| code), Some(4404), "the session is over");
}

#[test]
fn a_network_that_is_gone_says_nothing_and_the_next_connection_takes_the_session() {
    let expected = undisturbed();
    let house = House::open();
    let mut cut_off = Client::connect(house.address);
    let ready = cut_off.hello();
    cut_off.say(ASK);
    let mut caller = Caller::default();
    assert!(caller.listens(&mut cut_off, |_, caller| caller.heard.len() >= 8_000));
    // The old connection is still open, and what the server goes on to send there nobody hears, for longer than it takes to
    // be guessed at: until the server has sent a second more of it.
    let seen = cut_off.seen.len();
    let lost = |seen: &Seen| matches!(seen, Seen::Audio { from_sample: 24_000.., .. });
    cut_off.until("a second that is lost", lost);
    assert!(cut_off.seen.len() > seen + 40, "it was lost");
    let mut client = Client::connect(house.address);
    client.say(&caller.hello(&ready["resume"]));
    client.until_told("ready", &[("resumed", json!(true))]);
    assert!(caller.listens(&mut client, |_, caller| caller.committed));
    assert_eq!(caller.heard, expected, "what was heard is not what was said");
    assert_eq!(cut_off.until_closed().map(|(code, _)| code), Some(4409));
}

#[test]
fn a_secret_is_needed() {
    let house = House::open();
    let mut client = Client::connect(house.address);
    client.say(&Caller::default().hello(&json!("guessed")));
    let (code, reason) = client.until_closed().expect("it is told why");
    assert!(code == 4404 && reason.starts_with("no_session: "), "{code} {reason}");
}
