//! Output for people: a bar on a terminal, a line every ten seconds in a log.

use std::sync::{Arc, Mutex, MutexGuard, Once, PoisonError};
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

/// How often a line is written without a terminal.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// Draws on standard error.
pub(super) struct Human {
    terminal: bool,
    bars: MultiProgress,
    /// What is under way: a bundle may be downloaded, checked and pushed at the same time.
    running: Arc<Mutex<Vec<Running>>>,
    /// Writes lines without a terminal.
    ticker: Once,
    retries: Mutex<Retries>,
    /// Why a line of mkectl's result could not be written.
    lost: Mutex<Option<std::io::Error>>,
}

/// Returns whether the terminal prints control sequences as text.
#[expect(
    clippy::disallowed_methods,
    reason = "what a terminal can do is in a variable"
)]
fn is_dumb() -> bool {
    std::env::var_os("TERM").is_none_or(|term| term.is_empty() || term == "dumb")
}

impl Human {
    /// Returns whether there is a terminal that obeys control sequences.
    pub(super) fn draws(&self) -> bool {
        self.terminal
    }

    pub(super) fn new() -> Self {
        Self {
            terminal: Term::stderr().features().is_attended() && !is_dumb(),
            bars: MultiProgress::with_draw_target(ProgressDrawTarget::term_like_with_hz(
                Box::new(Narrow::stderr()),
                10,
            )),
            running: Arc::default(),
            ticker: Once::new(),
            retries: Mutex::default(),
            lost: Mutex::default(),
        }
    }

    pub(super) fn report(&self, event: &Event<'_>) {
        match event {
            Event::Started { step, what, bytes } => {
                self.finish(*step);
                self.step(*step, &word(what));
                self.lock().push(Running::new(*step, *bytes));
                if !self.terminal {
                    self.ticker
                        .call_once(|| tick(Arc::downgrade(&self.running)));
                }
            }
            Event::Advanced { step, bytes } => self.advance(*step, *bytes, *bytes),
            Event::Spared { step, bytes } => self.advance(*step, *bytes, 0),
            Event::At { step, item } => {
                if let Some(running) = self.lock().iter().find(|running| running.step == *step) {
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
                let unreported = self.retries().add();
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
        let unreported = self.retries().take_unreported();
        if unreported > 0 {
            let requests = environment::count(unreported, "request");
            self.print(&format!("          retried {requests} more"));
        }
        self.print(failure::text(failure, self.terminal).trim_end());
    }

    /// Writes a line about a step above the bars.
    fn step(&self, step: Step, text: &str) {
        let lead = format!("{} ", label(step));
        self.print(&Columns::of_messages().hanging(&lead, text));
    }

    /// Writes a message above the bars.
    pub(super) fn print(&self, text: &str) {
        let write = || edge::err(&format!("{text}\n"));
        if self.terminal {
            self.bars.suspend(write);
        } else {
            write();
        }
    }

    /// Returns why a line of mkectl's result could not be written, if so.
    pub(super) fn take_lost(&self) -> std::io::Result<()> {
        lock(&self.lost).take().map_or(Ok(()), Err)
    }

    /// Writes a line of a result to standard output, without the bars.
    fn write(&self, out: fn(&str) -> std::io::Result<()>, line: &str) {
        self.clear();
        let write = || {
            if let Err(error) = out(&format!("{line}\n")) {
                *lock(&self.lost) = Some(error);
            }
        };
        if self.terminal {
            self.bars.suspend(write);
        } else {
            write();
        }
    }

    /// Writes a message after a signal. A terminal has echoed `^C`, which disappears with the bar
    /// before it, if there is one.
    pub(super) fn print_after_echo(&self, text: &str) {
        let is_bar_there = self.lock().iter().any(|running| running.is_drawn);
        match self.terminal && !is_bar_there {
            true => self.print(&format!("\n{text}")),
            false => self.print(text),
        }
    }

    /// Removes the bars.
    pub(super) fn clear(&self) {
        for running in self.lock().drain(..) {
            running.bar.finish_and_clear();
        }
    }

    fn retries(&self) -> MutexGuard<'_, Retries> {
        self.retries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Running>> {
        lock(&self.running)
    }

    /// Records that a step advanced by `bytes`, of which `moved` were transferred.
    fn advance(&self, step: Step, bytes: u64, moved: u64) {
        if let Some(running) = (self.lock().iter_mut()).find(|running| running.step == step) {
            running.done += bytes;
            lock(&running.speed).add(moved, Instant::now());
            if self.terminal && !running.is_drawn && running.began.elapsed() > DRAW_AFTER {
                running.is_drawn = true;
                self.bars.add(running.bar.clone());
            }
            running.bar.set_position(running.done);
        }
    }

    /// Removes the bar of a step and returns what it went through and how fast, if it took any
    /// time.
    fn finish(&self, step: Step) -> Option<String> {
        let running = {
            let mut all = self.lock();
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
