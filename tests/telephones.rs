//! A telephone call's way in: its webhook is answered to its provider only, and its stream is let in once, for that call.

#[path = "serve/client.rs"]
mod client;
#[path = "serve/house.rs"]
mod house;

use std::io::{Read, Write};
use std::net::TcpStream;

use client::Client;
use house::House;
use rspp::adapters::telephony::Provider;
use rspp::serve::Serve;
use rspp::specs::binding::KeyReference;
use serde_json::Value;
use tungstenite::Message;

/// The first case of the oracle's: a webhook that Twilio's own library has signed.
fn signed() -> Value {
    let oracle = include_str!("../adapters/testdata/telephony/signatures.json");
    let cases: Value = serde_json::from_str(oracle).expect("it is JSON");
    cases[0].clone()
}

fn post(house: &House, case: &Value, body: &str) -> String {
    let mut stream = TcpStream::connect(house.address).expect("the server listens");
    let headers = case["headers"].as_object().into_iter().flatten();
    let headers: String =
        headers.map(|(name, value)| format!("{name}: {}\r\n", value.as_str().unwrap_or_default())).collect();
    let length = body.len();
    let head =
        format!("POST /telephony/twilio HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {length}\r\n");
    stream.write_all(format!("{head}{headers}\r\n{body}").as_bytes()).expect("the server reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("the server answers");
    answer
}

#[test]
fn a_call_is_answered_to_its_provider_and_streams_once() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let (case, token) = (signed(), folder.path().join("token"));
    std::fs::write(&token, case["secret"].as_str().expect("there is one")).expect("a file can be written");
    let reference = KeyReference::File(token.display().to_string());
    let house = House::with(Serve {
        telephones: [(Provider::Twilio, reference)].into(),
        public_url: Some("https://voice.example.com".to_owned()),
        ..House::options()
    });
    let body = case["body"].as_str().expect("there is one");
    let forged = post(&house, &case, &format!("{body}&More=1"));
    assert!(forged.starts_with("HTTP/1.1 401") && forged.contains("unauthorized: "), "{forged}");
    let answer = post(&house, &case, body);
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("application/xml"), "{answer}");
    let (_, ticket) = answer.split_once("wss://voice.example.com/v1/twilio/").expect("it says where to");
    let path = format!("/v1/twilio/{}", ticket.split('"').next().expect("it ends"));

    for other in ["/v1/twilio", "/v1/twilio/forged", "/v1/twilio/1.2.3.4"] {
        let refused = Client::try_connect(house.address, other, "").err().expect("it needs a ticket");
        assert!(refused.0 == 401 && refused.1.starts_with("unauthorized: "), "{other}: {refused:?}");
    }
    let mut line = Client::try_connect(house.address, &path, "").expect("a ticket lets in");
    let again = Client::try_connect(house.address, &path, "").err().expect("once");
    assert!(again.0 == 401 && again.1.contains("used before"), "{again:?}");
    let start =
        r#"{"event":"start","streamSid":"S","start":{"callSid":"another","mediaFormat":{"encoding":"audio/x-mulaw"}}}"#;
    line.send(Message::text(start)).expect("the server reads");
    let (code, reason) = line.until_closed().expect("it is another call");
    assert!(code == 4401 && reason.contains("another call"), "{code}: {reason}");
}

#[test]
fn who_is_not_served_is_told_how() {
    let house = House::open();
    let answer = post(&house, &signed(), "");
    assert!(answer.starts_with("HTTP/1.1 404") && answer.contains("--telephone twilio=env:NAME"), "{answer}");
}
