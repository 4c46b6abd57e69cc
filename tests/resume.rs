//! A connection that is lost in the middle of an answer, and comes back: nothing is heard twice, nothing is lost.
//!
//! The client is a player that knows what it has played: it plays each sample as it comes, and throws away nothing but what
//! it is told to. What it has heard in the end is compared with an answer that nobody interrupted.

#[path = "serve/client.rs"]
mod client;
#[path = "serve/house.rs"]
mod house;

use client::{Client, Seen};
use house::House;
use serde_json::{Value, json};

const ASK: &str = r#"{"type":"text","text":"what are your opening hours"}"#;

/// What a caller has heard of the first turn, sample by sample.
#[derive(Default)]
struct Heard {
    samples: Vec<i16>,
    last_seq: u64,
}

impl Heard {
    /// Plays what comes, until `is` says that it is enough.
    fn play(&mut self, client: &mut Client, mut is: impl FnMut(&Seen, &Self) -> bool) {
        loop {
            let seen = client.next().expect("the server goes on");
            match &seen {
                Seen::Audio { from_sample, samples, .. } => {
                    assert_eq!(*from_sample, self.samples.len() as u64, "a gap, or something twice");
                    self.samples.extend(samples);
                }
                Seen::Told(told) => {
                    if let Some(seq) = told["seq"].as_u64() {
                        assert_eq!(seq, self.last_seq + 1, "messages are told once, in order: {told}");
                        self.last_seq = seq;
                    }
                    if told["type"] == "clear" {
                        let ack = json!({
                            "type": "playout", "turn": 1, "heard_samples": self.samples.len(), "occasion": "cleared"
                        });
                        client.say(&ack.to_string());
                    }
                }
            }
            if is(&seen, self) {
                return;
            }
        }
    }

    fn hello(&self, secret: &Value) -> String {
        json!({"type": "hello", "version": 1, "resume": {
            "secret": secret, "last_seq": self.last_seq,
            "played": {"turn": 1, "heard_samples": self.samples.len()}
        }})
        .to_string()
    }
}

fn is_committed(seen: &Seen) -> bool {
    matches!(seen, Seen::Told(told) if told["type"] == "turn" && told["state"] == "committed")
}

fn undisturbed() -> Vec<i16> {
    let house = House::open();
    let mut client = Client::connect(house.address);
    client.hello();
    client.say(ASK);
    let mut heard = Heard::default();
    heard.play(&mut client, |seen, _| is_committed(seen));
    heard.samples
}

#[test]
fn a_socket_that_is_gone_is_waited_for() {
    let expected = undisturbed();
    let house = House::open();
    let mut client = Client::connect(house.address);
    let ready = client.hello();
    client.say(ASK);
    let mut heard = Heard::default();
    heard.play(&mut client, |_, heard| heard.samples.len() >= 8_000);
    drop(client);
    let mut client = Client::connect(house.address);
    client.say(&heard.hello(&ready["resume"]));
    let again = client.until_told("ready", &[]);
    assert_eq!((&again["resumed"], &again["session"], &again["missed"]), (&json!(true), &ready["session"], &json!(0)));
    heard.play(&mut client, |seen, _| is_committed(seen));
    assert_eq!(heard.samples, expected, "what was heard is not what was said");
    let secret = again["resume"].clone();
    client.say(r#"{"type":"end"}"#);
    client.until_closed();
    let mut late = Client::connect(house.address);
    late.say(&heard.hello(&secret));
    assert_eq!(late.until_closed().map(|(code, _)| code), Some(4404), "the session is over");
}

#[test]
fn a_network_that_is_gone_says_nothing_and_the_next_connection_takes_the_session() {
    let expected = undisturbed();
    let house = House::open();
    let mut cut_off = Client::connect(house.address);
    let ready = cut_off.hello();
    cut_off.say(ASK);
    let mut heard = Heard::default();
    heard.play(&mut cut_off, |_, heard| heard.samples.len() >= 8_000);
    // The old connection is still open, and what the server goes on to send there nobody hears, for longer than it takes to
    // be guessed at: until the server has sent a second more of it.
    let seen = cut_off.seen.len();
    let lost = |seen: &Seen| matches!(seen, Seen::Audio { from_sample: 24_000.., .. });
    cut_off.until("a second that is lost", lost);
    assert!(cut_off.seen.len() > seen + 40, "it was lost");
    let mut client = Client::connect(house.address);
    client.say(&heard.hello(&ready["resume"]));
    client.until_told("ready", &[("resumed", json!(true))]);
    heard.play(&mut client, |seen, _| is_committed(seen));
    assert_eq!(heard.samples, expected, "what was heard is not what was said");
    assert_eq!(cut_off.until_closed().map(|(code, _)| code), Some(4409));
}

#[test]
fn a_secret_is_needed() {
    let house = House::open();
    let mut client = Client::connect(house.address);
    client.say(&Heard::default().hello(&json!("guessed")));
    let (code, reason) = client.until_closed().expect("it is told why");
    assert!(code == 4404 && reason.starts_with("no_session: "), "{code} {reason}");
}
