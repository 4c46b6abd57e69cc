//! A recording of each simulated call: a corpus to replay, made by a command.

use std::collections::BTreeMap;
use std::path::PathBuf;

use rspp_adapters::recording::{self, RecordingError, RecordingFile};
use rspp_adapters::sim::Which;
use rspp_specs::plan::Plan;
use rspp_specs::timeline::Record;

/// The recordings of one simulation.
pub(super) struct Recordings {
    folder: PathBuf,
    /// By session: one call at a time.
    open: BTreeMap<u32, RecordingFile>,
    broken: Option<RecordingError>,
}

impl Recordings {
    pub(super) fn new(folder: PathBuf) -> Self {
        Self { folder, open: BTreeMap::new(), broken: None }
    }

    pub(super) fn begin(&mut self, which: Which, plan: &Plan) {
        let Which { session, call } = which;
        let path = self.folder.join(format!("{session:05}-{call:02}.rspp"));
        let head = recording::head(&format!("{session}.{call}"), plan, 0);
        match RecordingFile::create(path, head) {
            Ok(file) => drop(self.open.insert(session, file)),
            Err(error) => self.fail(error),
        }
    }

    /// What one tick wrote.
    pub(super) fn take(&mut self, which: Which, records: &[Record]) {
        let Some(file) = self.open.get_mut(&which.session) else { return };
        if let Err(error) = file.append(records) {
            self.open.remove(&which.session);
            self.fail(error);
        }
    }

    pub(super) fn end(&mut self, which: Which) {
        if let Some(Err(error)) = self.open.remove(&which.session).map(RecordingFile::finish) {
            self.fail(error);
        }
    }

    /// What of it failed first. Calls that have not ended have recordings without an end.
    pub(super) fn finish(mut self) -> Result<(), RecordingError> {
        for file in std::mem::take(&mut self.open).into_values() {
            if let Err(error) = file.abandon() {
                self.fail(error);
            }
        }
        self.broken.map_or(Ok(()), Err)
    }

    fn fail(&mut self, error: RecordingError) {
        self.broken.get_or_insert(error);
    }
}
