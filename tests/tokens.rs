//! Who is let in: session tokens over the wire.

#[path = "serve/client.rs"]
mod client;
#[path = "serve/house.rs"]
mod house;

use client::Client;
use house::House;
use rspp::adapters::admission::Priority;
use rspp::adapters::token::{AUDIENCE, Claims, Issuer, now};
use serde_json::json;

fn claims(session: &str) -> Claims {
    let word = |text: &str| text.to_owned();
    let (iat, exp, priority) = (now(), now() + 60, Priority::Interactive);
    let (tenant, pipeline, session) = (word("acme"), word("served"), word(session));
    Claims { aud: word(AUDIENCE), tenant, pipeline, session, priority, iat, exp, lease: None }
}

fn at(house: &House, path: &str, token: &str) -> Result<Client, (u16, String)> {
    Client::try_connect(house.address, &format!("{path}?token={token}"), "")
}

#[test]
fn nobody_comes_in_without_a_token_of_a_trusted_key() {
    let (issuer, _) = Issuer::fresh().expect("there is randomness");
    let folder = tempfile::tempdir().expect("there is room");
    let key = folder.path().join("key.pub.pem");
    std::fs::write(&key, issuer.public().to_pem()).expect("there is room");
    let house = House::with(rspp::serve::Serve { token_keys: vec![key], ..House::options() });

    let mut client = at(&house, "/v1/rspp", &issuer.issue(&claims("call-1"))).expect("the token is good");
    assert_eq!(client.hello()["session"], "call-1");
    // A token in hello serves as well as one in the request.
    let mut client = Client::connect(house.address);
    client.say(&json!({"type": "hello", "version": 1, "token": issuer.issue(&claims("call-2"))}).to_string());
    assert_eq!(client.until_told("ready", &[])["session"], "call-2");

    let mut client = Client::connect(house.address);
    client.say(r#"{"type":"hello","version":1}"#);
    assert_eq!(client.until_closed().map(|(code, _)| code), Some(4401), "no token");
    let mut client = at(&house, "/v1/rspp", &issuer.issue(&claims("call-1"))).expect("it looks good");
    client.say(r#"{"type":"hello","version":1}"#);
    let (code, reason) = client.until_closed().expect("it is told why");
    assert!(code == 4401 && reason.contains("used already"), "a replayed token: {code} {reason}");

    let (other, _) = Issuer::fresh().expect("there is randomness");
    let expired = Claims { iat: now() - 100, exp: now() - 1, ..claims("call-3") };
    let elsewhere = Claims { pipeline: "another".to_owned(), ..claims("call-4") };
    for (token, why) in [
        (other.issue(&claims("call-5")), "signature"),
        (issuer.issue(&expired), "expired"),
        (issuer.issue(&elsewhere), "another pipeline"),
        ("nonsense".to_owned(), "no token"),
    ] {
        for path in ["/v1/rspp", "/v1/realtime"] {
            let (status, says) = at(&house, path, &token).err().unwrap_or_else(|| panic!("{why} is let in at {path}"));
            assert!(status == 401 && says.contains(why), "{path}: {status} {says}");
        }
    }
    let refused = Client::try_connect(house.address, "/v1/realtime", "").err().expect("it has no token");
    assert_eq!(refused.0, 401);
    assert!(house.get("/dev/token").is_empty(), "nobody gives tokens away here");
}

#[test]
fn where_everybody_is_let_in_there_are_tokens_to_try() {
    let house = House::open();
    let token = house.get("/dev/token");
    let mut client = at(&house, "/v1/rspp", &token).expect("it is let in");
    let session = client.hello()["session"].clone();
    assert!(session.as_str().is_some_and(|name| name.starts_with("dev-")), "{session}");
}
