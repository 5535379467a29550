//! The log for diagnosis: `-v`, `AIRLOCK_LOG` and `--trace`. Secrets are masked and control
//! characters escaped in every line.

use std::fs::File;
use std::io::{self, Write};
use std::str::FromStr as _;
use std::sync::Mutex;

use release::Workspace;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::{layer, time::uptime};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::{Layer as _, util::SubscriberInitExt as _};

use crate::cli::CommonArgs;
use crate::failure::Failure;
use crate::ui::{Ui, edge};

/// The variable with the level of the log, or a list of targets with levels.
const VARIABLE: &str = "AIRLOCK_LOG";

/// The crates of this workspace that log.
const CRATES: &[&str] = &[
    "bundle", "network", "programs", "registry", "release", "requests",
];

/// Starts the logs that the command line and the variable request.
///
/// # Errors
/// The variable is not valid, or the file cannot be written.
pub(crate) fn start(common: &CommonArgs, workspace: &Workspace, ui: &Ui) -> Result<(), Failure> {
    let shown = match common.verbose {
        0 => from_variable()?,
        1 => Some(own_crates(LevelFilter::DEBUG)),
        _ => Some(own_crates(LevelFilter::TRACE).with_default(LevelFilter::DEBUG)),
    };
    let shown = shown.map(|filter| {
        let ui = ui.clone();
        layer()
            .with_writer(move || Lines(ui.clone()))
            .with_ansi(false)
            .with_target(false)
            .with_timer(uptime())
            .log_internal_errors(false)
            .with_filter(filter)
    });
    let file = common.trace.as_deref();
    let file = file.map(|path| release::workspace::create_trace(workspace, path));
    let written = file.transpose()?.map(|file| {
        layer()
            .json()
            .flatten_event(true)
            .with_current_span(false)
            .with_writer(Mutex::new(Objects(file)))
            .log_internal_errors(false)
            .with_filter(own_crates(LevelFilter::TRACE))
    });
    if shown.is_some() || written.is_some() {
        // Fails if a test has set a subscriber before.
        _ = tracing_subscriber::registry()
            .with(shown)
            .with(written)
            .try_init();
    }
    Ok(())
}

fn own_crates(level: LevelFilter) -> Targets {
    Targets::new().with_targets(CRATES.iter().map(|name| (*name, level)))
}

#[expect(clippy::disallowed_methods, reason = "a variable selects the log")]
fn from_variable() -> Result<Option<Targets>, Failure> {
    let text = std::env::var(VARIABLE).unwrap_or_default();
    if text.is_empty() {
        return Ok(None);
    }
    // For `Targets`, a level alone would include libraries.
    if let Ok(level) = LevelFilter::from_str(&text) {
        return Ok(Some(own_crates(level)));
    }
    match text.parse() {
        Ok(targets) => Ok(Some(targets)),
        Err(_) => Err(Failure::Log(text)),
    }
}

/// Writes log lines to standard error, above the progress bars.
struct Lines(Ui);

impl Write for Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.log(String::from_utf8_lossy(line).trim_end());
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes JSON objects to a file, one per line.
struct Objects(File);

impl Write for Objects {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let object = serde_json::from_slice(line)?;
        self.0.write_all(edge::object(object).as_bytes())?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}
