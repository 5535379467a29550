//! The human format: progress bars on a terminal, else a line every ten seconds.

use std::sync::{Arc, Mutex, Once};
use std::time::{Duration, Instant};

use console::{Term, style};
use indicatif::{DecimalBytes, MultiProgress, ProgressDrawTarget};
use release::event::{Event, Step};

use crate::advice;
use crate::failure::Failure;
use crate::ui::edge::{self, message, word};
use crate::ui::fold::Columns;
use crate::ui::narrow::Narrow;

mod bars;
mod failure;
mod retries;

pub(crate) use failure::{first_names, lock_changes};

use bars::{DRAW_AFTER, Running, label, lock, rate, tick};
use retries::{Retries, more};

/// Interval of progress lines without a terminal.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// Writes messages and progress to standard error.
pub(super) struct Human {
    /// Whether standard error is a terminal that supports control sequences.
    is_terminal: bool,
    bars: MultiProgress,
    /// Steps in progress: a bundle may be downloaded, checked and pushed concurrently.
    running: Arc<Mutex<Vec<Running>>>,
    /// Starts the progress lines without a terminal.
    ticker: Once,
    retries: Mutex<Retries>,
    /// The last error of writing a line of mkectl's result.
    write_error: Mutex<Option<std::io::Error>>,
}

/// Returns whether the terminal does not support control sequences.
#[expect(
    clippy::disallowed_methods,
    reason = "a variable names the terminal's capabilities"
)]
fn is_dumb() -> bool {
    std::env::var_os("TERM").is_none_or(|term| term.is_empty() || term == "dumb")
}

impl Human {
    /// Returns whether standard error is a terminal that supports control sequences.
    pub(super) fn draws(&self) -> bool {
        self.is_terminal
    }

    pub(super) fn new() -> Self {
        Self {
            is_terminal: Term::stderr().features().is_attended() && !is_dumb(),
            bars: MultiProgress::with_draw_target(ProgressDrawTarget::term_like_with_hz(
                Box::new(Narrow::stderr()),
                10,
            )),
            running: Arc::default(),
            ticker: Once::new(),
            retries: Mutex::default(),
            write_error: Mutex::default(),
        }
    }

    pub(super) fn report(&self, event: &Event<'_>) {
        match event {
            Event::Started { step, what, bytes } => {
                self.finish(*step);
                self.step(*step, &word(what));
                lock(&self.running).push(Running::new(*step, *bytes));
                if !self.is_terminal {
                    self.ticker
                        .call_once(|| tick(Arc::downgrade(&self.running)));
                }
            }
            Event::Advanced { step, bytes } => self.advance(*step, *bytes, *bytes),
            Event::Skipped { step, bytes } => self.advance(*step, *bytes, 0),
            Event::Item { step, item } => {
                let running = lock(&self.running);
                if let Some(running) = running.iter().find(|running| running.step == *step) {
                    *lock(&running.item) = word(redaction::run().mask(item));
                    running.bar.tick();
                }
            }
            Event::Finished { step, what } => {
                let taken = self.finish(*step);
                let taken = taken.map_or_else(String::new, |taken| format!(", {taken}"));
                self.step(*step, &format!("done: {}{taken}", word(what)));
            }
            Event::Retried { step, why } => {
                let unreported = lock(&self.retries).add();
                if let Some(unreported) = unreported {
                    self.step(*step, &format!("{}{}", word(why), more(unreported)));
                }
            }
            Event::Mkectl(line) => {
                self.clear();
                self.print(&format!("{} {line}", style("mkectl |").for_stderr().dim()));
            }
            Event::MkectlResult(line) => self.write(edge::document, line),
            Event::Revealed(line) => self.write(edge::reveal, line),
            Event::Warning(text) => self.warning(text),
            Event::Remediable(fault) => self.warning(&advice::warning(fault)),
        }
    }

    fn warning(&self, text: &str) {
        self.print(&format!(
            "{} {}",
            style("warning:").for_stderr().yellow().bold(),
            message(text)
        ));
    }

    pub(super) fn failure(&self, failure: &Failure) {
        self.clear();
        let unreported = lock(&self.retries).take_unreported();
        if unreported > 0 {
            let requests = environment::count(unreported, "request");
            self.print(&format!("          retried {requests} more"));
        }
        self.print(failure::text(failure, self.is_terminal).trim_end());
    }

    /// Writes a line about a step above the bars.
    fn step(&self, step: Step, text: &str) {
        let lead = format!("{} ", label(step));
        self.print(&Columns::of_messages().hanging(&lead, text));
    }

    /// Writes a message above the bars.
    pub(super) fn print(&self, text: &str) {
        self.suspend_bars(|| edge::err(&format!("{text}\n")));
    }

    /// Hides the bars while `write` writes.
    fn suspend_bars(&self, write: impl FnOnce()) {
        match self.is_terminal {
            true => self.bars.suspend(write),
            false => write(),
        }
    }

    /// Returns the error if a line of mkectl's result could not be written.
    pub(super) fn take_write_error(&self) -> std::io::Result<()> {
        lock(&self.write_error).take().map_or(Ok(()), Err)
    }

    /// Removes the bars and writes a line of a result to standard output.
    fn write(&self, out: fn(&str) -> std::io::Result<()>, line: &str) {
        self.clear();
        self.suspend_bars(|| {
            if let Err(error) = out(&format!("{line}\n")) {
                *lock(&self.write_error) = Some(error);
            }
        });
    }

    /// Writes a message after a signal, on a new line if the terminal's echo of `^C` stays visible:
    /// a bar removes it.
    pub(super) fn print_after_echo(&self, text: &str) {
        let has_bar = lock(&self.running).iter().any(|running| running.is_drawn);
        match self.is_terminal && !has_bar {
            true => self.print(&format!("\n{text}")),
            false => self.print(text),
        }
    }

    /// Removes the bars.
    pub(super) fn clear(&self) {
        for running in lock(&self.running).drain(..) {
            running.bar.finish_and_clear();
        }
    }

    /// Records that a step advanced by `bytes`, of which `moved` were transferred.
    fn advance(&self, step: Step, bytes: u64, moved: u64) {
        let mut all = lock(&self.running);
        if let Some(running) = all.iter_mut().find(|running| running.step == step) {
            running.done += bytes;
            lock(&running.speed).add(moved, Instant::now());
            if self.is_terminal && !running.is_drawn && running.began.elapsed() > DRAW_AFTER {
                running.is_drawn = true;
                self.bars.add(running.bar.clone());
            }
            running.bar.set_position(running.done);
        }
    }

    /// Removes the bar of a step. Returns its bytes, time and rate, unless it took less than a
    /// second.
    fn finish(&self, step: Step) -> Option<String> {
        let running = {
            let mut all = lock(&self.running);
            let place = all.iter().position(|running| running.step == step)?;
            all.remove(place)
        };
        running.bar.finish_and_clear();
        self.bars.remove(&running.bar);
        let seconds = running.began.elapsed().as_secs_f64();
        let moved = lock(&running.speed).moved();
        if moved == 0 || seconds < 1.0 {
            return None;
        }
        Some(format!(
            "{} in {seconds:.1} s, {}/s",
            DecimalBytes(moved),
            DecimalBytes(rate(moved, seconds))
        ))
    }
}
