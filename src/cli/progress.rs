//! Progress bars for long work: on terminals only, and on standard error, so that output can be
//! piped.

use indicatif::{ProgressBar, ProgressStyle};

/// A bar over `total` steps. Hidden where standard error is not a terminal.
pub(crate) fn bar(what: &'static str, total: u64) -> ProgressBar {
    let bar = ProgressBar::new(total);
    let style = ProgressStyle::with_template("{msg:18} {bar:40} {pos}/{len} {eta}")
        .expect("the template is fixed and valid");
    bar.set_style(style);
    bar.set_message(what);
    bar
}
