//! A recording of each session, written by its worker.

use std::path::Path;

use rspp_specs::plan::Plan;
use rspp_specs::timeline::Record;

use crate::bridge::Tape;
use crate::notes::Notes;
use crate::recording::{RecordingError, RecordingFile, head};

/// Writes one session's file, at the level and with the redaction that its plan declares. A call whose recording fails goes
/// on, and it is said once.
pub(super) struct Recorder {
    file: Option<RecordingFile>,
    notes: Notes,
}

impl Recorder {
    /// A file in this folder, named as the session is; `None` where it can't be begun, which is said.
    pub(super) fn begin(folder: &Path, session: &str, plan: &Plan, notes: Notes) -> Option<Box<dyn Tape>> {
        // A name may come from a token, and is not trusted to be one of a file.
        let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        let file: String = session.chars().map(|c| if is_plain(c) { c } else { '_' }).collect();
        match RecordingFile::create(folder.join(format!("{file}.rspp")), head(session, plan, 0)) {
            Ok(file) => Some(Box::new(Self { file: Some(file), notes })),
            Err(error) => {
                notes.say(&error.to_string());
                None
            }
        }
    }

    fn give_up(&mut self, error: &RecordingError) {
        self.notes.say(&format!("a recording is not whole: {error}"));
        self.file = None;
    }
}

impl Tape for Recorder {
    fn append(&mut self, records: &[Record]) {
        if let Some(Err(error)) = self.file.as_mut().map(|file| file.append_as_declared(records)) {
            self.give_up(&error);
        }
    }

    fn finish(mut self: Box<Self>) {
        if let Some(Err(error)) = self.file.take().map(RecordingFile::finish) {
            self.give_up(&error);
        }
    }
}
