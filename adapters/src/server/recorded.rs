//! Recorded calls, for the console page: which there are, what happened in one, and how it sounded.
//!
//! They are what people said. So they are shown only by a server that nobody but this machine reaches and that lets everybody
//! in; and only to who asks for this machine by its name, since any page in the world can have a name of its own lead here.

use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::header::HOST;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use rspp_specs::plan::RecordingLevel;
use rspp_specs::time::Micros;
use rspp_specs::timeline::{Entry, Input, Record};
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use super::House;
use super::console::file;
use crate::audio::{CALL_RATE_HZ, stereo_wav};
use crate::doors::rspp::Story;
use crate::playback::sound;
use crate::recording::{Kept, Recording, Shelf};
use crate::transport::is_told;

/// Calls that are listed: the newest.
const MAX_LISTED: usize = 200;
/// A longer recording is for `rspp timeline` and not for a page.
const MAX_BYTES: u64 = 64 << 20;
/// Of a longer call nothing is played here.
const MAX_PLAYED: Micros = Micros::from_ms(2 * 60 * 60 * 1_000);
/// Loudness is told of so many samples at a time.
const LOUDNESS_SAMPLES: usize = CALL_RATE_HZ as usize / 50;

/// The folder, and who may read in it.
pub(super) struct Folder {
    path: Option<PathBuf>,
    /// A recording is unpacked in memory: one at a time.
    reading: Semaphore,
}

impl Folder {
    pub(super) fn new(path: Option<PathBuf>) -> Self {
        Self { path, reading: Semaphore::new(1) }
    }
}

/// Adds the calls to the routes.
pub(super) fn routes(router: Router<Arc<House>>) -> Router<Arc<House>> {
    router
        .route("/recordings.json", get(list))
        .route("/recordings/{name}/call.json", get(call))
        .route("/recordings/{name}/sound.wav", get(wav))
}

/// Why nothing is shown.
struct Hidden(StatusCode, String);

impl IntoResponse for Hidden {
    fn into_response(self) -> Response {
        (self.0, format!("{}\n", self.1)).into_response()
    }
}

/// The folder, if it is shown to who asks.
fn shown<'a>(house: &'a House, headers: &HeaderMap) -> Result<&'a FilePath, Hidden> {
    let none = || {
        let says =
            "no recorded calls are shown: `rspp serve --record FOLDER` does, to this machine, where no token is needed";
        Hidden(StatusCode::NOT_FOUND, says.to_owned())
    };
    let path = house.recordings.path.as_deref().ok_or_else(none)?;
    let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let name = host.rsplit_once(':').map_or(host, |(name, port)| if port.ends_with(']') { host } else { name });
    if ["127.0.0.1", "localhost", "[::1]"].contains(&name) {
        return Ok(path);
    }
    let says = format!("recorded calls are shown to this machine, under its own name, and not as {name}");
    Err(Hidden(StatusCode::FORBIDDEN, says))
}

/// Has a recording read, beside the sockets.
async fn read<T: Send + 'static>(
    house: &House,
    what: impl FnOnce() -> Result<T, Hidden> + Send + 'static,
) -> Result<T, Hidden> {
    let _one = house.recordings.reading.acquire().await;
    let failed = |_| Hidden(StatusCode::INTERNAL_SERVER_ERROR, "the recording could not be read".to_owned());
    tokio::task::spawn_blocking(what).await.unwrap_or_else(|error| Err(failed(error)))
}

async fn list(State(house): State<Arc<House>>, headers: HeaderMap) -> Result<Response, Hidden> {
    let folder = shown(&house, &headers)?.to_owned();
    let calls = read(&house, move || {
        let unread = |error| Hidden(StatusCode::INTERNAL_SERVER_ERROR, format!("the folder can't be read: {error}"));
        let mut kept = Shelf::new(folder).list().map_err(unread)?;
        kept.reverse();
        Ok(kept.iter().filter(|kept| kept.is_whole).take(MAX_LISTED).map(listed).collect::<Vec<Value>>())
    });
    Ok(file("application/json", Value::from(calls.await?).to_string()))
}

fn listed(kept: &Kept) -> Value {
    let since = kept.modified.duration_since(UNIX_EPOCH).unwrap_or_default();
    json!({
        "name": kept.path.file_name().map(|name| name.to_string_lossy()),
        "session": kept.session,
        "pipeline": kept.pipeline,
        "bytes": kept.bytes,
        "ended_unix_ms": since.as_millis() as u64,
    })
}

/// A recording of this name in the folder.
fn open(folder: &FilePath, name: &str) -> Result<Recording, Hidden> {
    let none = || Hidden(StatusCode::NOT_FOUND, "there is no such recording".to_owned());
    let is_a_name = name.ends_with(".rspp") && !name.starts_with('.') && !name.contains(['/', '\\', '\0']);
    let path = folder.join(name);
    let bytes = std::fs::metadata(&path).ok().filter(|_| is_a_name).ok_or_else(none)?.len();
    if bytes > MAX_BYTES {
        let says = format!("the recording has {bytes} bytes, too many for a page: `rspp timeline` shows it");
        return Err(Hidden(StatusCode::PAYLOAD_TOO_LARGE, says));
    }
    Recording::open(&path).map_err(|error| Hidden(StatusCode::UNPROCESSABLE_ENTITY, error.to_string()))
}

async fn call(
    State(house): State<Arc<House>>,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Hidden> {
    let folder = shown(&house, &headers)?.to_owned();
    let call = read(&house, move || Ok(told(from_its_beginning(open(&folder, &name)?)))).await?;
    Ok(file("application/json", call.to_string()))
}

async fn wav(
    State(house): State<Arc<House>>,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Hidden> {
    let folder = shown(&house, &headers)?.to_owned();
    let bytes = read(&house, move || {
        let (_, recording) = from_its_beginning(open(&folder, &name)?);
        let silent = || Hidden(StatusCode::NOT_FOUND, "no sound was recorded of this call".to_owned());
        let (caller, agent) = heard(&recording.records).ok_or_else(silent)?;
        Ok(stereo_wav(&caller, &agent, CALL_RATE_HZ))
    });
    Ok(file("audio/wav", bytes.await?))
}

/// The call's times count from its own beginning, and not from the server's. Gives how long it lasted, too.
fn from_its_beginning(mut recording: Recording) -> (Micros, Recording) {
    let began = recording.records.first().map_or(Micros(0), |record| record.at);
    recording.records.iter_mut().for_each(|record| record.at = record.at.since(began));
    (recording.records.last().map_or(Micros(0), |record| record.at), recording)
}

/// The caller's side and what the caller heard, where both are in the recording.
fn heard(records: &[Record]) -> Option<(Vec<i16>, Vec<i16>)> {
    let open = records.iter().find_map(|record| match &record.entry {
        Entry::Input(_, Input::SessionOpen(open)) => Some(open),
        _ => None,
    })?;
    let lasted = records.last()?.at;
    (open.recording_level() == RecordingLevel::L2 && lasted <= MAX_PLAYED).then(|| sound(records))
}

/// The call as the page tells one that it holds itself: the same words, with their times.
fn told((lasted, recording): (Micros, Recording)) -> Value {
    let ms = |at: Micros| at.0 as f64 / 1_000.0;
    let mut story = Story::default();
    let mut messages = Vec::new();
    for Record { at, entry, .. } in recording.records.iter().filter(|record| is_told(&record.entry)) {
        for told in story.of(entry).into_iter().flatten() {
            let mut message = serde_json::to_value(&told).unwrap_or_default();
            message["at"] = json!(ms(*at));
            messages.push(message);
        }
    }
    let (caller, agent) = heard(&recording.records).unwrap_or_default();
    json!({
        "session": recording.head.session,
        "pipeline": recording.head.pipeline,
        "version": recording.head.pipeline_version,
        "lasted_ms": ms(lasted),
        "has_sound": !(caller.is_empty() && agent.is_empty()),
        "loudness_ms": 20,
        "caller": loudness(&caller),
        "agent": loudness(&agent),
        "messages": messages,
    })
}

/// How loud each stretch is, from 0 to 100, on the scale of the page.
fn loudness(samples: &[i16]) -> Vec<u8> {
    let of = |stretch: &[i16]| {
        let sum: f64 = stretch.iter().map(|sample| f64::from(*sample) * f64::from(*sample)).sum();
        ((sum / stretch.len() as f64).sqrt() / 60.0).min(100.0) as u8
    };
    samples.chunks(LOUDNESS_SAMPLES).map(of).collect()
}
