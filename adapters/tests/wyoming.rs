//! Wyoming engines: the bundled ones where they are installed, and scripted peers that misbehave.

use std::io::{BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use rspp_adapters::audio::{CALL_RATE_HZ, Rechunker};
use rspp_adapters::wyoming::framing::{WireEvent, read_event, write_event};
use rspp_adapters::wyoming::{
    Connection, Fault, Heard, Ordering, Recogniser, RecogniserOptions, SpokenAudio, Synthesiser, Timeouts, WyomingError,
};
use rspp_specs::event::AudioFrame;
use rspp_specs::outcome::Outcome;
use serde_json::json;

const SHORT: Duration = Duration::from_millis(50);
const LONG: Duration = Duration::from_secs(60);
const NO_ARGS: [&str; 0] = [];

// ---- scripted peers -------------------------------------------------------------------------------------------

/// One accepted connection, seen from the engine's side.
struct Peer {
    reader: BufReader<TcpStream>,
    writer: TcpStream,
}

impl Peer {
    /// The next event; panics when there is none, and so fails the test that joins the thread.
    fn take(&mut self) -> WireEvent {
        read_event(&mut self.reader).expect("we send what is well formed").expect("the test sends more")
    }

    /// Reads until an event of this kind.
    fn until(&mut self, kind: &str) -> WireEvent {
        loop {
            let event = self.take();
            if event.kind == kind {
                return event;
            }
        }
    }

    fn say(&mut self, event: &WireEvent) {
        write_event(&mut self.writer, event).expect("the test listens");
    }

    fn pong(&mut self) {
        let ping = self.until("ping");
        self.say(&WireEvent::new("pong").with("text", ping.text("text")));
    }

    /// Waits until the other side is gone.
    fn until_gone(mut self) {
        let mut rest = Vec::new();
        let _ = self.reader.read_to_end(&mut rest);
    }
}

/// An engine that behaves as `script` says; the second value joins it.
fn peer(script: impl FnOnce(Peer) + Send + 'static) -> (Connection, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("the loopback has a free port");
    let address = listener.local_addr().expect("it is bound").to_string();
    let engine = std::thread::spawn(move || {
        let (socket, _) = listener.accept().expect("the test connects");
        let reader = BufReader::new(socket.try_clone().expect("a socket can be shared"));
        script(Peer { reader, writer: socket });
    });
    let timeouts = Timeouts { connect: LONG, describe: LONG, write: LONG };
    (Connection::connect(&address, timeouts).expect("the peer listens"), engine)
}

fn recogniser(ordering: Ordering, script: impl FnOnce(Peer) + Send + 'static) -> (Recogniser, JoinHandle<()>) {
    let (connection, engine) = peer(script);
    let limits = RecogniserOptions { chunk_timeout: LONG, final_timeout: LONG, ..RecogniserOptions::new(ordering) };
    (Recogniser::new(connection, limits), engine)
}

fn frame(samples: &[i16]) -> AudioFrame {
    AudioFrame { samples: Arc::from(samples), rate_hz: 16_000, spoken_by: None }
}

fn audio_start(rate: u32, width: u32, channels: u32) -> WireEvent {
    WireEvent::new("audio-start").with("rate", rate).with("width", width).with("channels", channels)
}

fn fault_of<T>(result: Result<T, WyomingError>) -> (Fault, Outcome, String) {
    let error = result.err().expect("the peer misbehaves");
    let (outcome, text) = (error.outcome(), error.to_string());
    (*error.fault, outcome, text)
}

// ---- finding and losing an engine -----------------------------------------------------------------------------

#[test]
fn a_program_that_is_not_there_is_not_found() {
    let spawned = Connection::spawn("no-such-speech-engine", &["--stdio"], Timeouts::default());
    let (fault, outcome, text) = fault_of(spawned);
    assert!(matches!(fault, Fault::NotFound), "{fault:?}");
    assert_eq!(outcome, Outcome::Failed);
    assert_eq!(
        text,
        "speech engine no-such-speech-engine --stdio: there is no such program; install it, or correct the command"
    );
}

#[test]
fn a_program_that_ends_leaves_its_code_and_its_last_words() {
    let script = "for n in 1 2 3 4 5 6 7; do echo line $n >&2; done; echo no model >&2; exit 3";
    let mut connection = Connection::spawn("sh", &["-c", script], Timeouts::default()).expect("sh is there");
    let (fault, outcome, text) = fault_of(connection.describe());
    let Fault::Exited { status, stderr } = fault else { panic!("{fault:?}") };
    assert!(status.contains('3'), "{status}");
    assert_eq!(stderr, ["line 4", "line 5", "line 6", "line 7", "no model"]);
    assert_eq!(outcome, Outcome::Disconnected);
    assert!(text.contains("no model") && text.contains("by hand"), "{text}");
}

#[test]
fn a_program_that_says_nothing_is_given_up_and_reaped() {
    let timeouts = Timeouts { describe: SHORT, ..Timeouts::default() };
    let mut connection = Connection::spawn("cat", &["/dev/stdin"], timeouts).expect("cat is there");
    // It sends `describe` back, which is no answer.
    let (fault, outcome, text) = fault_of(connection.describe());
    assert!(matches!(fault, Fault::TimedOut { awaited: "info", .. }), "{fault:?}");
    assert_eq!(outcome, Outcome::Timeout);
    assert!(text.contains("no info within 50 ms"), "{text}");
    let process = connection.process_id().expect("it is a process");
    drop(connection);
    // Killed and reaped, not a zombie: Linux has no such directory any more.
    assert!(!Path::new(&format!("/proc/{process}")).exists());
}

#[test]
fn a_program_that_prints_something_else_does_not_speak_the_protocol() {
    let mut connection = Connection::spawn("echo", &["hello"], Timeouts::default()).expect("echo is there");
    let (fault, _, text) = fault_of(connection.describe());
    assert!(matches!(fault, Fault::Protocol(_)), "{fault:?}");
    assert!(text.contains("header is not a JSON object"), "{text}");
}

#[test]
fn nobody_listens() {
    let unused = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port");
    let (fault, outcome, text) = fault_of(Connection::connect(&format!("tcp://{unused}"), Timeouts::default()));
    assert!(matches!(fault, Fault::Refused { .. }), "{fault:?}");
    assert_eq!(outcome, Outcome::Disconnected);
    assert!(text.contains(&unused.to_string()) && text.contains("start the engine there"), "{text}");
    for no_address in ["", "nonsense", "127.0.0.1:notaport", "127.0.0.1:99999"] {
        let (fault, ..) = fault_of(Connection::connect(no_address, Timeouts::default()));
        assert!(matches!(fault, Fault::Refused { .. }), "{no_address:?}: {fault:?}");
    }
}

#[test]
fn what_an_engine_says_of_itself() {
    let (mut connection, engine) = peer(|mut peer| {
        peer.until("describe");
        let asr = json!([{"name": "whisper", "version": "2", "models": [{"name": "tiny"}, {"name": "base"}]}, 7]);
        peer.say(&WireEvent::new("something-new"));
        peer.say(&WireEvent::new("info").with("asr", asr).with("tts", json!("none")));
        peer.until("describe");
        peer.say(&WireEvent::new("info").with("tts", json!([{"name": "rspp-espeak-ng", "voices": []}])));
    });
    let info = connection.describe().expect("the peer answers");
    assert_eq!(info.asr[0].name, "whisper");
    assert_eq!(info.asr[0].choices, ["tiny", "base"]);
    assert_eq!((info.asr.len(), info.tts.len(), info.is_ours()), (2, 0, false));
    assert!(connection.describe().expect("the peer answers").is_ours());
    engine.join().expect("the script ran to its end");
}

#[test]
fn garbage_truncation_and_silence_on_the_line() {
    type Case = (&'static [u8], fn(&Fault) -> bool);
    let cases: [Case; 6] = [
        (b"\x00\xff\x00\xff\n", |fault| matches!(fault, Fault::Protocol(_))),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", |fault| matches!(fault, Fault::Protocol(_))),
        (b"{\"type\":\"info\",\"data_length\":99}\n{", |fault| matches!(fault, Fault::Protocol(_))),
        (b"{\"type\":\"info\",\"payload_length\":99999999999}\n", |fault| matches!(fault, Fault::Protocol(_))),
        (b"{\"type\":\"in", |fault| matches!(fault, Fault::Protocol(_))),
        (b"", |fault| matches!(fault, Fault::Closed)),
    ];
    for (sends, expected) in cases {
        let (mut connection, engine) = peer(move |mut peer| {
            peer.until("describe");
            peer.writer.write_all(sends).expect("the test listens");
            let _ = peer.writer.shutdown(Shutdown::Write);
            peer.until_gone();
        });
        let (fault, ..) = fault_of(connection.describe());
        assert!(expected(&fault), "{:?}: {fault:?}", String::from_utf8_lossy(sends));
        drop(connection);
        engine.join().expect("the script ran to its end");
    }
}

// ---- recognisers ----------------------------------------------------------------------------------------------

#[test]
fn what_comes_before_the_pong_belongs_to_the_audio() {
    let (mut recogniser, engine) = recogniser(Ordering::InOrder, |mut peer| {
        assert_eq!(peer.take().kind, "transcribe");
        let start = peer.take();
        assert_eq!((start.kind.as_str(), start.number("rate")), ("audio-start", Some(16_000)));
        let chunk = peer.take();
        assert_eq!((chunk.kind.as_str(), chunk.payload.as_slice()), ("audio-chunk", &[1, 0, 0xfe, 0xff][..]));
        peer.pong();
        peer.until("audio-chunk");
        peer.say(&WireEvent::new("transcript-start"));
        peer.say(&WireEvent::new("transcript-chunk").with("text", "where "));
        peer.say(&WireEvent::new("transcript-chunk").with("text", "are "));
        peer.say(&WireEvent::new("pong").with("text", "somebody else's"));
        peer.pong();
        assert_eq!(peer.take().kind, "audio-stop");
        peer.say(&WireEvent::new("transcript").with("text", "where are you"));
        peer.say(&WireEvent::new("transcript-stop"));
        peer.pong();
    });
    recogniser.start(16_000).expect("the peer takes it");
    assert_eq!(recogniser.send_audio(&frame(&[1, -2])).expect("the peer answers"), []);
    let heard = recogniser.send_audio(&frame(&[0; 320])).expect("the peer answers");
    assert_eq!(heard, [Heard::Partial("where".into()), Heard::Partial("where are".into())]);
    assert_eq!(recogniser.finish().expect("the peer answers"), [Heard::Final("where are you".into())]);
    engine.join().expect("the script ran to its end");
}

#[test]
fn finals_are_words_nothing_or_rejected() {
    let (mut recogniser, engine) = recogniser(Ordering::InOrder, |mut peer| {
        for transcript in [
            WireEvent::new("transcript").with("text", " goodbye "),
            WireEvent::new("transcript").with("text", ""),
            WireEvent::new("transcript").with("text", "").with("context", json!({"rejected": true})),
            WireEvent::new("transcript").with("text", "").with("context", json!({"rejected": "no"})),
        ] {
            peer.until("audio-stop");
            // The final may come late.
            peer.pong();
            peer.say(&transcript);
        }
    });
    let expected =
        [Heard::Final("goodbye".into()), Heard::Final(String::new()), Heard::Rejected, Heard::Final(String::new())];
    for expected in expected {
        recogniser.start(16_000).expect("the peer takes it");
        assert_eq!(recogniser.finish().expect("the peer answers"), [expected]);
    }
    engine.join().expect("the script ran to its end");
}

#[test]
fn an_engine_of_unknown_order_gives_finals_only() {
    let (mut recogniser, engine) = recogniser(Ordering::Unknown, |mut peer| {
        peer.until("audio-chunk");
        for n in 0..100 {
            peer.say(&WireEvent::new("transcript-chunk").with("text", format!("{n} ")));
        }
        peer.until("audio-stop");
        peer.say(&WireEvent::new("transcript").with("text", "done"));
        peer.until_gone();
    });
    recogniser.start(16_000).expect("the peer takes it");
    for _ in 0..50 {
        assert_eq!(recogniser.send_audio(&frame(&[0; 320])).expect("nobody waits"), []);
    }
    assert_eq!(recogniser.finish().expect("the peer answers"), [Heard::Final("done".into())]);
    drop(recogniser);
    engine.join().expect("the script ran to its end");
}

#[test]
fn a_stalled_recogniser_is_timed_out_and_then_out_of_step() {
    let (connection, engine) = peer(|mut peer| {
        peer.until("ping");
        peer.until_gone();
    });
    let options = RecogniserOptions { chunk_timeout: SHORT, ..RecogniserOptions::new(Ordering::InOrder) };
    let mut recogniser = Recogniser::new(connection, options);
    recogniser.start(16_000).expect("the peer takes it");
    let (fault, outcome, _) = fault_of(recogniser.send_audio(&frame(&[0; 320])));
    assert!(matches!(fault, Fault::TimedOut { awaited: "pong", .. }), "{fault:?}");
    assert_eq!(outcome, Outcome::Timeout);
    for result in [recogniser.start(16_000), recogniser.finish().map(|_| ())] {
        let (fault, outcome, text) = fault_of(result);
        assert!(matches!(fault, Fault::OutOfStep), "{fault:?}");
        assert_eq!(outcome, Outcome::Disconnected);
        assert!(text.ends_with("connect anew"), "{text}");
    }
    drop(recogniser);
    engine.join().expect("the script ran to its end");
}

#[test]
fn an_engine_that_takes_nothing_is_timed_out() {
    let (done, wait) = std::sync::mpsc::channel::<()>();
    let listener = TcpListener::bind("127.0.0.1:0").expect("the loopback has a free port");
    let address = listener.local_addr().expect("it is bound").to_string();
    let engine = std::thread::spawn(move || {
        let _socket = listener.accept().expect("the test connects");
        let _ = wait.recv();
    });
    let timeouts = Timeouts { write: SHORT, ..Timeouts::default() };
    let connection = Connection::connect(&address, timeouts).expect("the peer listens");
    let mut recogniser = Recogniser::new(connection, RecogniserOptions::new(Ordering::Unknown));
    recogniser.start(16_000).expect("it is buffered");
    let second = frame(&[0; 1_000_000]);
    let failed = (0..1_000).find_map(|_| recogniser.send_audio(&second).err()).expect("buffers have an end");
    assert!(matches!(*failed.fault, Fault::TimedOut { awaited: "room for more", .. }), "{failed}");
    drop(done);
    engine.join().expect("the script ran to its end");
}

#[test]
fn an_engine_that_leaves_in_mid_utterance() {
    let (mut recogniser, engine) = recogniser(Ordering::InOrder, |mut peer| {
        peer.until("ping");
    });
    recogniser.start(16_000).expect("the peer takes it");
    let (fault, outcome, _) = fault_of(recogniser.send_audio(&frame(&[0; 320])));
    assert!(matches!(fault, Fault::Closed), "{fault:?}");
    assert_eq!(outcome, Outcome::Disconnected);
    engine.join().expect("the script ran to its end");
}

/// Found by callers whose sentences broke into answers: a call that is cancelled in mid-utterance left the engine listening, and
/// the next utterance ended the call.
#[test]
fn an_utterance_that_nobody_waits_for_does_not_stand_in_the_way_of_the_next() {
    let (mut recogniser, engine) = recogniser(Ordering::InOrder, |mut peer| {
        peer.pong();
        peer.until("audio-stop");
        peer.say(&WireEvent::new("transcript").with("text", "not waited for"));
        peer.pong();
        peer.until("audio-start");
        peer.pong();
        peer.until("audio-stop");
        peer.say(&WireEvent::new("transcript").with("text", "when do you open"));
        peer.pong();
        peer.until_gone();
    });
    recogniser.abandon().expect("there is nothing to let go of");
    recogniser.start(16_000).expect("the peer takes it");
    assert!(recogniser.send_audio(&frame(&[0; 320])).expect("the peer takes it").is_empty());
    recogniser.abandon().expect("the peer says its end");
    recogniser.start(16_000).expect("the peer takes another");
    assert!(recogniser.send_audio(&frame(&[0; 320])).expect("the peer takes it").is_empty());
    assert_eq!(recogniser.finish().expect("it was heard"), [Heard::Final("when do you open".to_owned())]);
    drop(recogniser);
    engine.join().expect("the script ran to its end");
}

#[test]
fn a_recogniser_reports_and_its_caller_is_wrong() {
    let (mut recogniser, engine) = recogniser(Ordering::InOrder, |mut peer| {
        peer.until("audio-start");
        peer.say(&WireEvent::new("error").with("text", "8 kHz? no").with("code", "audio-format"));
        peer.until_gone();
    });
    let (fault, outcome, _) = fault_of(recogniser.send_audio(&frame(&[0])));
    assert!(matches!(fault, Fault::Misuse(_)), "{fault:?}");
    assert_eq!(outcome, Outcome::InvalidRequest);
    recogniser.start(8_000).expect("the peer takes it");
    assert!(matches!(fault_of(recogniser.start(8_000)).0, Fault::Misuse(_)));
    let eight = AudioFrame { samples: Arc::from([0_i16; 160]), rate_hz: 8_000, spoken_by: None };
    let (fault, _, text) = fault_of(recogniser.send_audio(&eight));
    assert!(matches!(fault, Fault::Engine { .. }), "{fault:?}");
    assert!(text.contains("it reports: 8 kHz? no (audio-format)"), "{text}");
    drop(recogniser);
    engine.join().expect("the script ran to its end");
}

// ---- synthesisers ---------------------------------------------------------------------------------------------

#[test]
fn speech_comes_in_chunks() {
    let (connection, engine) = peer(|mut peer| {
        let asked = peer.take();
        assert_eq!((asked.kind.as_str(), asked.text("text")), ("synthesize", "hi"));
        assert_eq!(asked.data.get("voice"), Some(&json!({"name": "alto"})));
        peer.say(&audio_start(22_050, 2, 1));
        peer.say(&WireEvent::new("audio-chunk").carrying(vec![1, 0, 2, 0]));
        peer.say(&WireEvent::new("audio-chunk").carrying(vec![0xff, 0xff]));
        peer.say(&WireEvent::new("audio-stop"));
        peer.until("synthesize");
        peer.say(&WireEvent::new("error").with("text", "no such voice"));
        assert!(!peer.until("synthesize").data.contains_key("voice"));
        peer.say(&audio_start(16_000, 2, 1));
        peer.say(&WireEvent::new("audio-stop"));
    });
    let mut synthesiser = Synthesiser::new(connection, LONG);
    let spoken = synthesiser.speak("hi", Some("alto")).expect("the peer speaks");
    assert_eq!(spoken, SpokenAudio { rate_hz: 22_050, samples: vec![1, 2, -1], chunk_samples: vec![2, 1] });
    assert!(matches!(fault_of(synthesiser.speak("hi", Some("bass"))).0, Fault::Engine { .. }));
    assert!(synthesiser.speak("", None).expect("a reported error ends the answer").samples.is_empty());
    engine.join().expect("the script ran to its end");
}

#[test]
fn audio_that_is_not_taken() {
    for (starts, payload, detail) in [
        (vec![audio_start(22_050, 2, 2)], vec![], "16-bit mono"),
        (vec![audio_start(22_050, 4, 1)], vec![], "16-bit mono"),
        (vec![audio_start(4_000, 2, 1)], vec![], "no rate that is taken"),
        (vec![WireEvent::new("audio-start")], vec![], "16-bit mono"),
        (vec![], vec![0, 0], "16-bit mono"),
        (vec![audio_start(16_000, 2, 1), audio_start(8_000, 2, 1)], vec![], "another rate"),
        (vec![audio_start(16_000, 2, 1)], vec![0, 0, 0], "half a sample"),
    ] {
        let (connection, engine) = peer(move |mut peer| {
            peer.until("synthesize");
            for start in &starts {
                peer.say(start);
            }
            peer.say(&WireEvent::new("audio-chunk").carrying(payload));
            peer.until_gone();
        });
        let mut synthesiser = Synthesiser::new(connection, LONG);
        let (fault, _, text) = fault_of(synthesiser.speak("hi", None));
        assert!(matches!(fault, Fault::Audio { .. }) && text.contains(detail), "{text}");
        assert!(matches!(fault_of(synthesiser.speak("hi", None)).0, Fault::OutOfStep));
        drop(synthesiser);
        engine.join().expect("the script ran to its end");
    }
}

#[test]
fn speech_without_end_has_one() {
    let (connection, engine) = peer(|mut peer| {
        peer.until("synthesize");
        peer.say(&audio_start(8_000, 2, 1));
        let minute = WireEvent::new("audio-chunk").carrying(vec![0; 2 * 8_000 * 60]);
        for _ in 0..11 {
            let _ = write_event(&mut peer.writer, &minute);
        }
        peer.until_gone();
    });
    let mut synthesiser = Synthesiser::new(connection, LONG);
    let mut minutes = 0;
    let result = synthesiser.speak_each("hi", None, |_| minutes += 1);
    assert!(matches!(fault_of(result).0, Fault::Flooded));
    assert_eq!(minutes, 10);
    drop(synthesiser);
    engine.join().expect("the script ran to its end");
}

// ---- the bundled engines --------------------------------------------------------------------------------------

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace holds this package").to_owned()
}

/// The engines' interpreter, or a loud word that the test did not run.
fn engines_python(test: &str) -> Option<PathBuf> {
    let python = std::env::var_os("RSPP_ENGINES_PYTHON")
        .map_or_else(|| root().join(".venv-engines").join("bin").join("python"), PathBuf::from);
    let runs =
        |command: &Path, args: &[&str]| Command::new(command).args(args).output().is_ok_and(|out| out.status.success());
    let missing = if !runs(&python, &["-c", "import pocketsphinx"]) {
        "RSPP_ENGINES_PYTHON or .venv-engines with pocketsphinx (run ci/setup)"
    } else if !runs(Path::new("espeak-ng"), &["--version"]) {
        "espeak-ng (run ci/setup)"
    } else if !runs(Path::new("flite"), &["-lv"]) {
        "flite (run ci/setup)"
    } else {
        return Some(python);
    };
    eprintln!("SKIPPED: {test} needs {missing}");
    None
}

fn bundled(python: &Path, script: &str, args: &[&str]) -> Connection {
    let engines = root().join("engines");
    let mut line = vec!["-B".into(), engines.join(script).into_os_string(), "--stdio".into()];
    line.extend(args.iter().map(Into::into));
    let timeouts = Timeouts { describe: LONG, ..Timeouts::default() };
    Connection::spawn(&python.display().to_string(), &line, timeouts).expect("python was found")
}

fn bundled_recogniser(python: &Path) -> Recogniser {
    let grammar = root().join("engines").join("grammars").join("restaurant.jsgf").display().to_string();
    let mut connection = bundled(python, "pocketsphinx_stt.py", &["--grammar", &grammar]);
    let info = connection.describe().expect("the engine answers");
    assert!(info.is_ours(), "{info:?}");
    assert_eq!((info.asr[0].name.as_str(), info.asr[0].choices[0].as_str()), ("rspp-pocketsphinx", "restaurant.jsgf"));
    let limits =
        RecogniserOptions { chunk_timeout: LONG, final_timeout: LONG, ..RecogniserOptions::new(Ordering::InOrder) };
    Recogniser::new(connection, limits)
}

/// Frames of 20 ms at 16 kHz, with quiet around.
fn call_frames(spoken: &SpokenAudio) -> Vec<AudioFrame> {
    let quiet = |frames: usize| std::iter::repeat_with(|| frame(&[0; 320])).take(frames);
    let mut rechunker = Rechunker::new(CALL_RATE_HZ).expect("a call's rate is one of them");
    let mut frames: Vec<_> = quiet(10).collect();
    frames.extend(rechunker.push_pcm(&spoken.samples, spoken.rate_hz, None).expect("engines speak at usual rates"));
    frames.extend(rechunker.finish());
    frames.extend(quiet(24));
    frames
}

/// What was heard, each with the number of the frame after which it came.
fn hear(recogniser: &mut Recogniser, frames: &[AudioFrame]) -> Vec<(usize, Heard)> {
    let mut heard = Vec::new();
    recogniser.start(16_000).expect("the engine runs");
    for (n, frame) in frames.iter().enumerate() {
        heard.extend(recogniser.send_audio(frame).expect("the engine runs").into_iter().map(|word| (n, word)));
    }
    heard.extend(recogniser.finish().expect("the engine runs").into_iter().map(|word| (frames.len(), word)));
    heard
}

#[test]
fn the_bundled_recogniser_understands_its_grammar_and_rejects_the_rest() {
    let Some(python) = engines_python("the_bundled_recogniser_understands_its_grammar_and_rejects_the_rest") else {
        return;
    };
    let mut flite =
        Synthesiser::new(bundled(&python, "espeak_tts.py", &["--program", "flite", "--voice", "rms"]), LONG);
    let mut espeak = Synthesiser::new(bundled(&python, "espeak_tts.py", &[]), LONG);
    let mut recogniser = bundled_recogniser(&python);
    let phrase = "what time do you open on monday";
    let spoken = call_frames(&flite.speak(phrase, None).expect("flite speaks"));
    let heard = hear(&mut recogniser, &spoken);
    assert_eq!(heard.last(), Some(&(spoken.len(), Heard::Final(phrase.into()))));
    let Some((early, Heard::Partial(words))) = heard.first() else { panic!("no partial in {heard:?}") };
    assert!(*early < spoken.len() && phrase.starts_with(words.as_str()), "{heard:?}");

    let booking = "book a table for four at half past eight";
    let spoken_booking = call_frames(&espeak.speak(booking, None).expect("espeak-ng speaks"));
    assert_eq!(hear(&mut recogniser, &spoken_booking).pop().map(|(_, last)| last), Some(Heard::Final(booking.into())));

    let unrelated = call_frames(&flite.speak("my brother drives a yellow truck", None).expect("flite speaks"));
    assert_eq!(hear(&mut recogniser, &unrelated), [(unrelated.len(), Heard::Rejected)]);
    assert_eq!(hear(&mut recogniser, &[]), [(0, Heard::Final(String::new()))]);
    let quiet = vec![frame(&[0; 320]); 100];
    assert_eq!(hear(&mut recogniser, &quiet), [(100, Heard::Final(String::new()))]);

    // The same audio, after all of this and in another process: the same, at the same places.
    assert_eq!(hear(&mut recogniser, &spoken), heard);
    assert_eq!(hear(&mut bundled_recogniser(&python), &spoken), heard);
}

#[test]
fn the_bundled_recogniser_refuses_what_it_cannot_use() {
    let Some(python) = engines_python("the_bundled_recogniser_refuses_what_it_cannot_use") else { return };
    let mut connection = bundled(&python, "pocketsphinx_stt.py", &["--grammar", "no-such-grammar.jsgf"]);
    let (fault, _, text) = fault_of(connection.describe());
    assert!(matches!(fault, Fault::Exited { .. }), "{fault:?}");
    assert!(text.contains("no-such-grammar.jsgf"), "{text}");
    let mut recogniser = bundled_recogniser(&python);
    recogniser.start(8_000).expect("it is sent");
    let eight = AudioFrame { samples: Arc::from([0_i16; 160]), rate_hz: 8_000, spoken_by: None };
    let (fault, _, text) = fault_of(recogniser.send_audio(&eight));
    assert!(matches!(fault, Fault::Engine { .. }) && text.contains("16000 Hz"), "{text}");
}

#[test]
fn the_bundled_synthesiser_speaks_the_same_twice_and_reports_failures() {
    let Some(python) = engines_python("the_bundled_synthesiser_speaks_the_same_twice_and_reports_failures") else {
        return;
    };
    let mut connection = bundled(&python, "espeak_tts.py", &[]);
    assert!(connection.describe().expect("the engine answers").is_ours());
    let mut synthesiser = Synthesiser::new(connection, LONG);
    let first = synthesiser.speak("you are welcome", None).expect("espeak-ng speaks");
    assert_eq!(first.rate_hz, 22_050);
    assert!(first.chunk_samples.len() > 20 && first.chunk_samples.iter().all(|samples| *samples <= 441), "{first:?}");
    assert!(first.samples.iter().any(|sample| sample.unsigned_abs() > 5_000), "it is loud enough to hear");
    assert!(matches!(fault_of(synthesiser.speak("hi", Some("xyz"))).0, Fault::Engine { .. }));
    assert!(matches!(fault_of(synthesiser.speak("hi", Some("/etc/x"))).0, Fault::Engine { .. }));
    assert!(synthesiser.speak(" ", None).expect("nothing to say is no failure").samples.is_empty());
    assert_eq!(synthesiser.speak("you are welcome", None).expect("espeak-ng speaks"), first);
    let slow = synthesiser.speak("-v de", Some("en-gb")).expect("text is no option");
    assert!(!slow.samples.is_empty());
}

#[test]
fn a_bundled_engine_over_tcp() {
    let Some(python) = engines_python("a_bundled_engine_over_tcp") else { return };
    let mut server = Command::new(&python)
        .arg("-B")
        .arg(root().join("engines").join("espeak_tts.py"))
        .args(["--uri", "tcp://127.0.0.1:0"])
        .stderr(std::process::Stdio::piped())
        .spawn()
        .expect("python was found");
    let mut line = String::new();
    let mut stderr = BufReader::new(server.stderr.take().expect("it is piped"));
    std::io::BufRead::read_line(&mut stderr, &mut line).expect("it says where it listens");
    let address = line.trim().strip_prefix("listening on ").expect("it says where it listens").to_owned();
    let mut connection = Connection::connect(&address, Timeouts::default()).expect("it listens");
    assert!(connection.describe().expect("the engine answers").is_ours());
    let mut synthesiser = Synthesiser::new(connection, LONG);
    assert!(!synthesiser.speak("hello", None).expect("espeak-ng speaks").samples.is_empty());
    server.kill().expect("it still runs");
    server.wait().expect("it was ours");
    assert!(matches!(fault_of(synthesiser.speak("hello", None)).0, Fault::Closed));
}

#[test]
fn a_spawned_engine_without_arguments_is_named_by_its_command() {
    let connection = Connection::spawn("cat", &NO_ARGS, Timeouts::default()).expect("cat is there");
    assert_eq!(connection.peer(), "cat");
}
