//! What the lab prints.

use std::fmt;
use std::io::Write as _;
use std::time::Instant;

/// Standard output with the time since the start in front of each step.
///
/// Failures to write are ignored throughout: whoever closed the pipe wants no more text, and the
/// children still have to be stopped.
#[derive(Debug)]
pub(super) struct Screen {
    started: Instant,
}

impl Screen {
    pub(super) fn new() -> Self {
        Self { started: Instant::now() }
    }

    /// One thing that happened.
    pub(super) fn step(&self, text: impl fmt::Display) {
        let seconds = self.started.elapsed().as_secs_f64();
        // Nobody reads any more; see above.
        let _ = writeln!(std::io::stdout(), "{seconds:7.3} s  {text}");
    }
}

/// A line without time: headings, and lines to paste.
pub(super) fn line(text: impl fmt::Display) {
    // Nobody reads any more; see [`Screen`].
    let _ = writeln!(std::io::stdout(), "{text}");
}
