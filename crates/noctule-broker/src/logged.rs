//! What is logged, for tests.

use std::io;
use std::sync::{Arc, Mutex};

use tracing_subscriber::fmt::MakeWriter;

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Lines {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

/// The lines that this thread logs meanwhile: levels, texts and fields.
pub(crate) fn logged(act: impl FnOnce()) -> String {
    let lines = Lines::default();
    let format = tracing_subscriber::fmt::format().without_time().with_target(false);
    let subscriber =
        tracing_subscriber::fmt().event_format(format).with_ansi(false).with_writer(lines.clone());
    tracing::subscriber::with_default(subscriber.finish(), act);
    let bytes = std::mem::take(&mut *lines.0.lock().unwrap());
    let text = String::from_utf8(bytes).unwrap();
    text.lines().map(str::trim).collect::<Vec<_>>().join("\n")
}
