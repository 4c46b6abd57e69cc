//! Clients that mean no good, against a server in which somebody is called meanwhile: every refusal has a code and a reason,
//! and the call goes on as if nobody else were there.

#[path = "serve/client.rs"]
mod client;
#[path = "serve/house.rs"]
mod house;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use client::{Client, PATIENCE, Seen};
use house::House;
use rspp::adapters::doors::rtvi::{WireAudio, WireFrame, WireKind};
use rspp::adapters::server::Limits;
use serde_json::json;
use tungstenite::{Message, WebSocket};

/// A server with limits that a test reaches.
fn strict(change: impl FnOnce(&mut Limits)) -> House {
    let mut limits = Limits {
        handshake: Duration::from_millis(300),
        hello: Duration::from_millis(300),
        write: Duration::from_millis(500),
        idle: Duration::from_millis(1_500),
        ping: Duration::from_millis(300),
        message_bytes: 16 * 1024,
        refusals: 4,
        ..House::limits()
    };
    change(&mut limits);
    House::with(rspp::serve::Serve { limits, ..House::options() })
}

/// A call that works.
fn good_call(house: &House) {
    let mut client = Client::connect(house.address);
    client.hello();
    client.say(r#"{"type":"text","text":"what are your opening hours"}"#);
    client.until("an answer", |seen| matches!(seen, Seen::Audio { from_sample: 3_200.., .. }));
    client.say(r#"{"type":"end"}"#);
    assert_eq!(client.until_closed(), Some((1000, "done".to_owned())));
}

fn raw(house: &House) -> TcpStream {
    let stream = TcpStream::connect(house.address).expect("the server listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("it is a socket");
    stream
}

/// A WebSocket without a client's ideas of what comes over it.
fn tungstenite_line(house: &House, path: &str) -> WebSocket<TcpStream> {
    let request = format!("ws://{}{path}", house.address);
    tungstenite::client(request, raw(house)).expect("the server lets us in").0
}

fn rest(mut stream: TcpStream) -> String {
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}

#[test]
fn garbage_is_refused_with_a_code_and_then_the_line_ends() {
    let house = strict(|_| {});
    let mut client = Client::connect(house.address);
    client.hello();
    for _ in 0..4 {
        client.say("}{");
        let error = client.until_told("error", &[]);
        assert_eq!((&error["code"], &error["fatal"]), (&json!("malformed"), &json!(false)));
    }
    client.say("}{");
    let (code, reason) = client.until_closed().expect("it is told why");
    assert!(code == 1007 && reason.starts_with("malformed: "), "{code} {reason}");
    good_call(&house);
}

#[test]
fn a_message_that_is_too_long_is_not_read() {
    let house = strict(|_| {});
    let mut client = Client::connect(house.address);
    client.hello();
    let _ = client.send(Message::binary(vec![0; 17 * 1024]));
    assert_eq!(client.until_closed().map(|(code, _)| code), Some(1009));
    good_call(&house);
}

#[test]
fn frames_that_are_none_end_the_connection() {
    let house = strict(|_| {});
    for bytes in [&b"\xff\xff\xff\xff\xff\xff\xff\xff"[..], b"\x82\x05unmasked", b"\x81\x83abcd\xff\xff\xff"] {
        let mut client = Client::connect(house.address);
        client.hello();
        client.stream().write_all(bytes).expect("the server is there");
        client.until_closed();
    }
    // Half a frame, and nothing more.
    let mut client = Client::connect(house.address);
    client.hello();
    client.stream().write_all(b"\x82\xfe\x40\x00").expect("the server is there");
    client.until_closed();
    good_call(&house);
}

#[test]
fn audio_that_is_none_is_refused() {
    let house = strict(|_| {});
    let mut client = Client::connect(house.address);
    client.hello();
    client.send(Message::binary(vec![0; 639])).expect("the server reads");
    assert_eq!(client.until_told("error", &[])["code"], "malformed");
    client.send(Message::binary(vec![0; 10_000])).expect("the server reads");
    assert_eq!(client.until_told("error", &[])["code"], "too_large");
    let mut client = Client::connect(house.address);
    client.say(r#"{"type":"hello","version":1,"rate_hz":192000}"#);
    let (code, reason) = client.until_closed().expect("it is told why");
    assert!(code == 1003 && reason.starts_with("unsupported: "), "{code} {reason}");
}

#[test]
fn a_rate_that_is_not_spoken_is_refused_at_every_door() {
    let house = strict(|_| {});
    let mut realtime = Client::try_connect(house.address, "/v1/realtime", "").expect("it is let in");
    let format = json!({"audio": {"input": {"format": {"type": "audio/pcm", "rate": 44_100}}}});
    realtime.say(&json!({"type": "session.update", "session": format}).to_string());
    let error = realtime.until_told("error", &[]);
    assert_eq!(error["error"]["code"], "invalid_value", "{error}");
    let mut rtvi = tungstenite_line(&house, "/v1/rtvi");
    let audio = vec![0; 640].into();
    let frame = WireAudio { audio, sample_rate: 7, num_channels: 1, ..WireAudio::default() };
    // The first opens the session, and nobody listens before.
    for _ in 0..2 {
        rtvi.send(Message::binary(WireFrame::write(WireKind::Audio(frame.clone())))).expect("the server reads");
    }
    let said = loop {
        if let Message::Binary(bytes) = rtvi.read().expect("it is told why") {
            break WireFrame::read(bytes);
        }
    };
    let Some(WireKind::Message(said)) = said else { panic!("an error is a message: {said:?}") };
    assert!(said.data.contains("unsupported: "), "{}", said.data);
    for (path, format) in [
        ("/v1/twilio", json!({"encoding": "audio/x-l16", "sampleRate": 96_000})),
        ("/v1/telnyx", json!({"encoding": "AMR-WB", "sample_rate": 16_000})),
        ("/v1/plivo", json!({"encoding": "audio/x-mulaw", "sampleRate": 1})),
    ] {
        let mut line = Client::try_connect(house.address, path, "").expect("it is let in");
        let start = json!({"callSid": "C", "callId": "C", "call_control_id": "C", "streamId": "S",
            "mediaFormat": format, "media_format": format});
        line.say(&json!({"event": "start", "streamSid": "S", "stream_id": "S", "start": start}).to_string());
        let (code, reason) = line.until_closed().expect("it is told why");
        assert!(code == 1003 && reason.starts_with("unsupported: "), "{path}: {code} {reason}");
    }
    good_call(&house);
}

#[test]
fn half_a_message_and_half_a_connection_end_it() {
    let house = strict(|_| {});
    // A message in pieces, and another one before its last piece.
    let mut client = Client::connect(house.address);
    client.hello();
    client.stream().write_all(b"\x01\x81abcd\x00\x81\x81abcd\x00").expect("the server is there");
    assert_eq!(client.until_closed().map(|(code, _)| code), Some(1007), "it is told why");
    // A WebSocket of which one half is closed, and one of which nothing but the half is left.
    let mut half = Client::connect(house.address);
    half.hello();
    half.stream().shutdown(std::net::Shutdown::Write).expect("it is open");
    half.until_closed();
    let mut request = raw(&house);
    request.write_all(b"GET /v1/rspp HTTP/1.1\r\nhost: x\r\n").expect("the server listens");
    request.shutdown(std::net::Shutdown::Write).expect("it is open");
    rest(request);
    good_call(&house);
}

#[test]
fn a_reader_that_never_reads_is_parted_from_and_its_session_ends() {
    let house = strict(|limits| {
        limits.messages_per_second = 1_000_000;
        limits.bytes_per_second = 1_000_000_000;
        limits.idle = Duration::from_secs(20);
    });
    // Each ping is answered; the answers fill the socket, because nobody reads them.
    let mut deaf = Client::connect(house.address);
    deaf.hello();
    let ping = json!({"type": "ping", "id": u64::MAX}).to_string();
    deaf.stream().set_write_timeout(Some(PATIENCE)).expect("it is a socket");
    while deaf.send(Message::text(ping.as_str())).is_ok() {}
    let began = Instant::now();
    while !house.get("/metrics").contains("rspp_refusals_total{code=\"slow_reader\"} 1\n") {
        assert!(began.elapsed() < PATIENCE, "nobody noticed");
        std::thread::yield_now();
    }
    good_call(&house);
}

#[test]
fn ten_thousand_connections_are_taken_or_told_that_there_is_no_room() {
    let house = strict(|limits| {
        limits.connections = 64;
        limits.idle = PATIENCE;
    });
    let mut good = Client::connect(house.address);
    good.hello();
    let address = house.address;
    let attempts = move || {
        let mut answered = 0;
        for _ in 0..2_500 {
            let Ok(mut stream) = TcpStream::connect(address) else { continue };
            stream.set_read_timeout(Some(PATIENCE)).expect("it is a socket");
            let _ = stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
            let mut answer = String::new();
            let _ = stream.read_to_string(&mut answer);
            let told = ["HTTP/1.1 200 ", "HTTP/1.1 503 "].iter().any(|status| answer.starts_with(status));
            answered += usize::from(told);
        }
        answered
    };
    let attackers: Vec<_> = (0..4).map(|_| std::thread::spawn(attempts)).collect();
    let answered: usize = attackers.into_iter().map(|attacker| attacker.join().expect("it ends")).sum();
    assert_eq!(answered, 10_000, "who is not taken is told so");
    good.say(r#"{"type":"text","text":"what are your opening hours"}"#);
    good.until("an answer", |seen| matches!(seen, Seen::Audio { from_sample: 3_200.., .. }));
    good.say(r#"{"type":"end"}"#);
    assert_eq!(good.until_closed(), Some((1000, "done".to_owned())));
    let metrics = house.get("/metrics");
    assert!(metrics.contains("\nrspp_sessions 0\n"), "{metrics}");
}

#[test]
fn who_says_nothing_is_not_waited_for() {
    let house = strict(|_| {});
    // Nothing at all, half a request, and a request that drips: a byte whenever the server has said nothing for a moment.
    let mut slow = raw(&house);
    slow.write_all(b"GET /v1/rspp HTTP/1.1\r\nhost: x\r\nx-drip: ").expect("the server listens");
    slow.set_read_timeout(Some(Duration::from_millis(20))).expect("it is a socket");
    let began = Instant::now();
    while !matches!(slow.read(&mut [0; 256]), Ok(0)) && slow.write_all(b"x").is_ok() {
        assert!(began.elapsed() < PATIENCE, "a request may drip for ever");
    }
    let silent = raw(&house);
    // A WebSocket without a hello.
    let mut mute = Client::connect(house.address);
    let (code, reason) = mute.until_closed().expect("it is told why");
    assert!(code == 4408 && reason.starts_with("handshake_timeout: "), "{code} {reason}");
    rest(silent);
    assert!(house.get("/metrics").contains("rspp_refusals_total{code=\"handshake_timeout\"}"));
    good_call(&house);
}

#[test]
fn a_peer_that_is_gone_without_a_word_is_noticed() {
    let house = strict(|_| {});
    let mut client = Client::connect(house.address);
    client.hello();
    // It does not read, so it answers no ping, and it says nothing.
    let began = Instant::now();
    while !house.get("/metrics").contains("rspp_refusals_total{code=\"idle\"} 1\n") {
        assert!(began.elapsed() < PATIENCE, "nobody noticed");
        std::thread::yield_now();
    }
    good_call(&house);
}

#[test]
fn a_flood_is_dropped_and_its_sender_with_it() {
    let house = strict(|limits| limits.messages_per_second = 20);
    let mut client = Client::connect(house.address);
    client.hello();
    for _ in 0..500 {
        if client.send(Message::binary(vec![0; 640])).is_err() {
            break;
        }
    }
    let (code, reason) = client.until_closed().expect("it is told why");
    assert!(code == 4429 && reason.starts_with("too_fast: "), "{code} {reason}");
    good_call(&house);
}

#[test]
fn over_the_limit_connections_are_turned_away_and_room_comes_back() {
    let house = strict(|limits| limits.connections = 8);
    let held: Vec<TcpStream> = (0..8).map(|_| raw(&house)).collect();
    let mut turned_away = 0;
    for _ in 0..200 {
        let answer = rest(raw(&house));
        turned_away += usize::from(answer.starts_with("HTTP/1.1 503 ") && answer.contains("full: "));
    }
    // Those that were held had no time to say anything, so some rooms may have been free again.
    assert!(turned_away >= 8, "{turned_away} of 200 were turned away");
    drop(held);
    let began = Instant::now();
    while Client::try_connect(house.address, "/v1/rspp", "rspp.v1.json").is_err() {
        assert!(began.elapsed() < PATIENCE, "no room came back");
    }
}

#[test]
fn a_message_that_never_ends_does_not_keep_a_connection() {
    let house = strict(|limits| limits.message = Duration::from_millis(300));
    // Parts, pings that show that somebody is there, and never the last part.
    let mut client = Client::connect(house.address);
    client.hello();
    client.stream().set_write_timeout(Some(PATIENCE)).expect("it is a socket");
    client.stream().write_all(b"\x01\x80\0\0\0\0").expect("the server is there");
    let mut came = Vec::new();
    client.stream().set_read_timeout(Some(Duration::from_millis(50))).expect("it is a socket");
    let began = Instant::now();
    while !String::from_utf8_lossy(&came).contains("too_slow: ") {
        assert!(began.elapsed() < PATIENCE, "it goes on for ever");
        let mut some = [0; 4_096];
        match client.stream().read(&mut some) {
            Ok(length) => came.extend_from_slice(&some[..length]),
            Err(_) => {
                let _ = client.stream().write_all(b"\x00\x80\0\0\0\0\x89\x80\0\0\0\0");
            }
        }
    }
    good_call(&house);
}

#[test]
fn a_flood_of_parts_and_pings_is_a_flood() {
    let house = strict(|limits| limits.messages_per_second = 20);
    for frame in [&b"\x00\x80\0\0\0\0"[..], b"\x89\x80\0\0\0\0"] {
        let mut client = Client::connect(house.address);
        client.hello();
        client.stream().write_all(b"\x02\x80\0\0\0\0").expect("the server is there");
        for _ in 0..1_000 {
            if client.stream().write_all(frame).is_err() {
                break;
            }
        }
        let (code, reason) = client.until_closed().expect("it is told why");
        assert!(code == 4429 && reason.starts_with("too_fast: "), "{code} {reason}");
    }
    good_call(&house);
}

#[test]
fn an_address_that_comes_too_often_or_with_too_many_is_turned_away() {
    let house = strict(|limits| limits.arrivals_of_an_address = 1);
    let streams: Vec<TcpStream> = (0..30).map(|_| raw(&house)).collect();
    let answers: Vec<String> = streams.into_iter().map(rest).collect();
    let turned_away =
        answers.iter().filter(|answer| answer.starts_with("HTTP/1.1 429 ") && answer.contains("too_fast: "));
    assert!((1..=20).contains(&turned_away.count()), "ten come in at once, and one more in each second: {answers:?}");
    let house = strict(|limits| (limits.connections_of_an_address, limits.waiting_of_an_address) = (3, 2));
    let mut good = Client::connect(house.address);
    good.hello();
    let held = [raw(&house), raw(&house)];
    let answer = rest(raw(&house));
    assert!(answer.starts_with("HTTP/1.1 429 ") && answer.contains("over_quota: "), "{answer}");
    drop(held);
    good.say(r#"{"type":"text","text":"what are your opening hours"}"#);
    good.until("an answer", |seen| matches!(seen, Seen::Audio { from_sample: 3_200.., .. }));
}

#[test]
fn a_page_of_another_host_may_not_speak_for_its_reader() {
    let house = strict(|_| {});
    let mut stream = raw(&house);
    let request = format!(
        "GET /v1/rspp HTTP/1.1\r\nhost: {}\r\norigin: https://evil.example\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        house.address
    );
    stream.write_all(request.as_bytes()).expect("the server listens");
    let answer = rest(stream);
    assert!(answer.starts_with("HTTP/1.1 401 ") && answer.contains("unauthorized: "), "{answer}");
}

#[test]
fn a_reader_that_does_not_read_costs_nobody_else_anything() {
    let house = strict(|limits| {
        limits.write = Duration::from_secs(2);
        limits.idle = Duration::from_secs(10);
    });
    let mut deaf: Vec<Client> = (0..4).map(|_| Client::connect(house.address)).collect();
    for client in &mut deaf {
        client.hello();
        client.say(r#"{"type":"text","text":"what are your opening hours"}"#);
    }
    for _ in 0..3 {
        good_call(&house);
    }
    assert_eq!(house.get("/healthz"), "ok\n");
}
