//! Progress bars for long work: on terminals only, and on standard error, so that output can be
//! piped.

use std::io::{self, Read, Seek, SeekFrom};

use indicatif::{ProgressBar, ProgressStyle};

/// A bar over `total` steps. Hidden where standard error is not a terminal.
pub(crate) fn bar(what: &'static str, total: u64) -> ProgressBar {
    styled(what, total, "{msg:20} {wide_bar} {pos}/{len} {eta:>4}")
}

/// A bar over `total` bytes.
pub(crate) fn bytes(what: &'static str, total: u64) -> ProgressBar {
    styled(what, total, "{msg:20} {wide_bar} {bytes}/{total_bytes} {eta:>4}")
}

fn styled(what: &'static str, total: u64, template: &str) -> ProgressBar {
    let bar = ProgressBar::new(total);
    bar.set_style(
        ProgressStyle::with_template(template).expect("the templates are fixed and valid"),
    );
    bar.set_message(what);
    bar
}

/// A reader that moves a bar by what is read. Parts that are read twice count once too often,
/// so the bar may be full a little early; it never runs over.
pub(crate) struct Metered<R> {
    inner: R,
    bar: ProgressBar,
}

impl<R> Metered<R> {
    pub(crate) fn new(inner: R, bar: &ProgressBar) -> Self {
        Self { inner, bar: bar.clone() }
    }
}

impl<R: Read> Read for Metered<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        let left = self.bar.length().unwrap_or(0).saturating_sub(self.bar.position());
        self.bar.inc(left.min(read as u64));
        Ok(read)
    }
}

impl<R: Seek> Seek for Metered<R> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.inner.seek(to)
    }
}
