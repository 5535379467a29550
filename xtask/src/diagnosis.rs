//! The log for diagnosis: `-v`, `AIRLOCK_LOG` and `--trace`. Every line passes the masker and the
//! sanitiser.

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

/// The variable that selects what is logged.
const VARIABLE: &str = "AIRLOCK_LOG";

/// The crates of this workspace that log.
const OURS: &[&str] = &[
    "bundle", "network", "programs", "registry", "release", "requests",
];

/// Begins to log what the command line and the variable ask for.
///
/// # Errors
/// The variable is not valid, or the file cannot be written.
pub(crate) fn start(common: &CommonArgs, workspace: &Workspace, ui: &Ui) -> Result<(), Failure> {
    let shown = match common.verbose {
        0 => of_variable()?,
        1 => Some(ours(LevelFilter::DEBUG)),
        _ => Some(ours(LevelFilter::TRACE).with_default(LevelFilter::DEBUG)),
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
            .with_filter(ours(LevelFilter::TRACE))
    });
    if shown.is_some() || written.is_some() {
        // A test may have set one before.
        _ = tracing_subscriber::registry()
            .with(shown)
            .with(written)
            .try_init();
    }
    Ok(())
}

fn ours(level: LevelFilter) -> Targets {
    Targets::new().with_targets(OURS.iter().map(|name| (*name, level)))
}

#[expect(
    clippy::disallowed_methods,
    reason = "what is logged is chosen by a variable"
)]
fn of_variable() -> Result<Option<Targets>, Failure> {
    let text = std::env::var(VARIABLE).unwrap_or_default();
    if text.is_empty() {
        return Ok(None);
    }
    // A level alone would include the libraries.
    if let Ok(level) = LevelFilter::from_str(&text) {
        return Ok(Some(ours(level)));
    }
    match text.parse() {
        Ok(targets) => Ok(Some(targets)),
        Err(_) => Err(Failure::Log(text)),
    }
}

/// Writes lines among the messages, above the bars.
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

/// Writes objects to a file, one a line.
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
