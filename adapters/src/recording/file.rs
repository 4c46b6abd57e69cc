//! A recording on its way to its place.

use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};

use rspp_specs::timeline::{Entry, Input, Record};
use rspp_specs::wire::generated::RecordingHead;

use super::reader::{Frame, RecordingReader};
use super::recorder::{Recorded, Recorder};
use super::writer::RecordingWriter;
use super::{RecordingError, io_error};

/// A recording on its way to its place. It grows in `PATH.partial`, a block for each tick, which can be read after a
/// `kill -9`. When the call is over its events are put together into longer blocks, which compress better and have an
/// index, and the recording takes its name, and the place of whatever had it: well or badly.
#[derive(Debug)]
pub struct RecordingFile {
    writer: RecordingWriter<BufWriter<File>>,
    recorder: Option<Recorder>,
    partial: PathBuf,
    path: PathBuf,
}

impl RecordingFile {
    /// Begins a recording that will be at `path`.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn create(path: impl AsRef<Path>, head: RecordingHead) -> Result<Self, RecordingError> {
        let path = path.as_ref().to_owned();
        let partial = beside(&path, "partial");
        let file = create(&partial, &path)?;
        Ok(Self { writer: RecordingWriter::new(BufWriter::new(file), head)?, recorder: None, partial, path })
    }

    /// Appends what a tick wrote, and hands it to the system.
    ///
    /// # Errors
    /// As [`RecordingWriter::append`] and [`RecordingWriter::flush`].
    pub fn append(&mut self, records: &[Record]) -> Result<(), RecordingError> {
        records.iter().try_for_each(|record| self.writer.append(record))?;
        self.writer.flush()
    }

    /// Appends what a tick wrote, at the level and with the redaction that the session was opened with, and evidence of
    /// each turn; and hands it to the system.
    ///
    /// # Errors
    /// As [`Self::append`].
    pub fn append_as_declared(&mut self, records: &[Record]) -> Result<(), RecordingError> {
        for record in records {
            if let (None, Entry::Input(_, Input::SessionOpen(open))) = (&self.recorder, &record.entry) {
                self.recorder = Some(Recorder::new(open));
            }
            let Some(recorder) = &mut self.recorder else {
                self.writer.append(record)?;
                continue;
            };
            let Recorded { instead, evidence } = recorder.take(record);
            match instead {
                Some((instead, redacted)) => self.writer.append_redacted(&instead, Some(redacted))?,
                None => self.writer.append(record)?,
            }
            if let Some(evidence) = evidence {
                self.writer.append_evidence(evidence)?;
            }
        }
        self.writer.flush()
    }

    /// The call is over: ends the recording, and gives it its name.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn finish(mut self) -> Result<(), RecordingError> {
        self.writer.flush()?;
        let whole = beside(&self.path, "whole");
        let writer =
            RecordingWriter::new(BufWriter::new(create(&whole, &self.path)?), read(&self.partial)?.head().clone())?;
        put_together(read(&self.partial)?, writer)?.finish()?;
        rename(&whole, &self.path)?;
        std::fs::remove_file(&self.partial).map_err(io_error(format!(
            "remove {}, of which {} has everything",
            self.partial.display(),
            self.path.display()
        )))
    }

    /// The call broke: the recording gets its name without an end, and a reader says where it stops.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn abandon(mut self) -> Result<(), RecordingError> {
        self.writer.flush()?;
        rename(&self.partial, &self.path)
    }
}

/// Everything that an unfinished recording has, in blocks of their full length.
pub(super) fn put_together<R: std::io::Read, W: std::io::Write>(
    mut from: RecordingReader<R>,
    mut to: RecordingWriter<W>,
) -> Result<RecordingWriter<W>, RecordingError> {
    loop {
        match from.next_frame() {
            Ok(Some(Frame::Event(envelope))) => to.append_envelope(*envelope)?,
            Ok(Some(Frame::Evidence(evidence))) => to.append_evidence(*evidence)?,
            Ok(None) => return Ok(to),
            Err(RecordingError::Damaged(damage)) if damage.what == super::DamageKind::MissingEnd => return Ok(to),
            Err(error) => return Err(error),
        }
    }
}

pub(super) fn beside(path: &Path, extension: &str) -> PathBuf {
    let mut name = path.to_owned().into_os_string();
    name.push(".");
    name.push(extension);
    PathBuf::from(name)
}

fn create(at: &Path, path: &Path) -> Result<File, RecordingError> {
    File::create(at).map_err(|source| RecordingError::Create { path: path.to_owned(), source })
}

fn read(path: &Path) -> Result<RecordingReader<File>, RecordingError> {
    RecordingReader::new(super::open(path)?)
}

fn rename(partial: &Path, path: &Path) -> Result<(), RecordingError> {
    std::fs::rename(partial, path).map_err(io_error(format!("give the recording its name {}", path.display())))
}
