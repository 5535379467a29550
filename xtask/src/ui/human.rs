//! For people: a bar on a terminal, a line now and then in a log.

use std::io::Write as _;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use console::{Term, style};
use indicatif::{DecimalBytes, MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use release::event::{Event, Step};

use crate::failure::Failure;
use crate::ui::problems;

/// How often a line is written where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// Bars that would vanish at once are not drawn at all.
const DRAW_AFTER: Duration = Duration::from_millis(150);

/// How many of mkectl's last lines an error repeats; they have scrolled by already, and the log has them all.
const LAST_LINES: usize = 5;

/// How many environments that are wrong are named.
const NAMES: usize = 10;

/// Draws on standard error.
pub(super) struct Human {
    terminal: bool,
    bars: MultiProgress,
    /// What is under way: a bundle may be downloaded, checked and pushed at the same time.
    running: Mutex<Vec<Running>>,
}

/// A step that is under way and known by its bytes.
struct Running {
    step: Step,
    bar: ProgressBar,
    is_drawn: bool,
    done: u64,
    total: Option<u64>,
    began: Instant,
    written: Instant,
}

impl Human {
    pub(super) fn new() -> Self {
        Self {
            terminal: Term::stderr().features().is_attended(),
            bars: MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(10)),
            running: Mutex::default(),
        }
    }

    pub(super) fn report(&self, event: &Event<'_>) {
        match event {
            Event::Started { step, what, bytes } => {
                self.finish(*step);
                self.print(&format!("{} {what}", label(*step)));
                self.lock().push(Running::new(*step, *bytes));
            }
            Event::Advanced { step, bytes } => self.advance(*step, *bytes),
            Event::At { step, item } => {
                if let Some(running) = self.lock().iter().find(|running| running.step == *step) {
                    running.bar.set_message((*item).to_owned());
                }
            }
            Event::Finished { step, what } => {
                let taken = self.finish(*step);
                let taken = taken.map_or_else(String::new, |taken| format!(", {taken}"));
                self.print(&format!("{} {what}{taken}", label(*step)));
            }
            Event::Retried { step, why } => self.print(&format!("{} {why}", label(*step))),
            Event::Mkectl(line) => {
                self.clear();
                self.print(&format!("{} {line}", style("mkectl |").for_stderr().dim()));
            }
            Event::MkectlResult(line) => {
                self.clear();
                let write = || {
                    // Whoever reads no further (`| head`) has what they wanted.
                    let _ = writeln!(std::io::stdout().lock(), "{line}");
                };
                if self.terminal {
                    self.bars.suspend(write);
                } else {
                    write();
                }
            }
            Event::Warning(text) => self.print(&format!(
                "{} {text}",
                style("warning:").for_stderr().yellow().bold()
            )),
        }
    }

    pub(super) fn failure(&self, failure: &Failure) {
        self.clear();
        let mut text = String::new();
        match failure {
            Failure::Release(error) if error.problems().is_some() => {
                let found = error.problems().into_iter().flat_map(|found| &found.0);
                text.push_str(&problems::render(found, self.terminal));
            }
            Failure::Wrong { wrong, .. } => text.push_str(&self.wrong(failure, wrong)),
            failure => text.push_str(&chain(failure)),
        }
        for hint in failure.hints() {
            text.push_str(&format!(
                "{} {hint}\n",
                style("hint:").for_stderr().cyan().bold()
            ));
        }
        self.print(text.trim_end());
    }

    /// Returns everything that is wrong with several environments. What they inherit is wrong once.
    fn wrong(&self, failure: &Failure, wrong: &[(String, release::Error)]) -> String {
        let mut text = String::new();
        let mut found: Vec<&environment::Problem> = Vec::new();
        for (environment, error) in wrong {
            match error.problems() {
                Some(problems) => found.extend(&problems.0),
                None => text.push_str(&format!(
                    "{} {environment}: {}\n",
                    style("error:").for_stderr().red().bold(),
                    release::chain(error)
                )),
            }
        }
        // In the order of the environments, so that what is next to each other was found next to each other.
        let mut seen: Vec<&environment::Problem> = Vec::new();
        for problem in found {
            if !seen.contains(&problem) {
                seen.push(problem);
            }
        }
        if !seen.is_empty() {
            text.push_str(problems::render(seen, self.terminal).trim_end());
            text.push_str("; ");
        }
        let names: Vec<&str> = wrong.iter().map(|(name, _)| name.as_str()).collect();
        let shown = names.len().min(NAMES);
        text.push_str(&format!("{failure}: {}", names[..shown].join(", ")));
        if names.len() > shown {
            text.push_str(&format!(" and {} more", names.len() - shown));
        }
        text.push('\n');
        text
    }

    /// Writes a message above the bars.
    pub(super) fn print(&self, text: &str) {
        let write = || {
            let mut err = std::io::stderr().lock();
            // Nothing can be done about a closed standard error.
            let _ = writeln!(err, "{text}");
        };
        if self.terminal {
            self.bars.suspend(write);
        } else {
            write();
        }
    }

    /// Removes the bars.
    pub(super) fn clear(&self) {
        for running in self.lock().drain(..) {
            running.bar.finish_and_clear();
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Running>> {
        self.running
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn advance(&self, step: Step, bytes: u64) {
        let mut line = None;
        if let Some(running) = (self.lock().iter_mut()).find(|running| running.step == step) {
            running.done += bytes;
            if self.terminal && !running.is_drawn && running.began.elapsed() > DRAW_AFTER {
                running.is_drawn = true;
                self.bars.add(running.bar.clone());
            }
            running.bar.set_position(running.done);
            if !self.terminal && running.written.elapsed() > LINE_EVERY {
                running.written = Instant::now();
                line = Some(running.line());
            }
        }
        if let Some(line) = line {
            self.print(&line);
        }
    }

    /// Removes the bar of a step and returns what it went through and how fast, if it took any time.
    fn finish(&self, step: Step) -> Option<String> {
        let running = {
            let mut all = self.lock();
            let place = all.iter().position(|running| running.step == step)?;
            all.remove(place)
        };
        running.bar.finish_and_clear();
        self.bars.remove(&running.bar);
        let seconds = running.began.elapsed().as_secs_f64();
        if running.done == 0 || seconds < 1.0 {
            return None;
        }
        Some(format!(
            "{} in {seconds:.1} s, {}/s",
            DecimalBytes(running.done),
            DecimalBytes(rate(running.done, seconds))
        ))
    }
}

impl Running {
    /// Begins a step. Its bar is not drawn before it has moved for a while.
    fn new(step: Step, total: Option<u64>) -> Self {
        let bar = ProgressBar::with_draw_target(total, ProgressDrawTarget::hidden());
        let template = match total {
            Some(_) => {
                "{prefix:>9} [{bar:30}] {decimal_bytes}/{decimal_total_bytes} {decimal_bytes_per_sec}, {eta} left {wide_msg:.dim}   "
            }
            None => {
                "{prefix:>9} {spinner} {decimal_bytes} {decimal_bytes_per_sec} {wide_msg:.dim}   "
            }
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.progress_chars("=> "));
        }
        bar.set_prefix(step.to_string());
        let now = Instant::now();
        Self {
            step,
            bar,
            is_drawn: false,
            done: 0,
            total,
            began: now,
            written: now,
        }
    }

    /// What a log is told: how far, how fast, how long still.
    fn line(&self) -> String {
        let seconds = self.began.elapsed().as_secs_f64();
        let rate = rate(self.done, seconds);
        let mut line = format!("{} {}", label(self.step), DecimalBytes(self.done));
        if let Some(total) = self.total {
            line.push_str(&format!(" of {}", DecimalBytes(total)));
        }
        line.push_str(&format!(", {}/s", DecimalBytes(rate)));
        if let (Some(total), 1..) = (self.total, rate) {
            line.push_str(&format!(
                ", {} s left",
                total.saturating_sub(self.done) / rate
            ));
        }
        line
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "a rate is shown with three digits"
)]
fn rate(bytes: u64, seconds: f64) -> u64 {
    (bytes as f64 / seconds.max(0.001)) as u64
}

fn label(step: Step) -> impl std::fmt::Display {
    style(format!("{:>9}", step.to_string()))
        .for_stderr()
        .green()
        .bold()
}

/// Returns the error with all its causes, the details that it carries in lists, and what mkectl said last.
fn chain(failure: &Failure) -> String {
    if let Failure::Interrupted(failure) = failure {
        return chain(failure);
    }
    if let Failure::Several { failed, .. } = failure {
        let mut text = String::new();
        for (environment, failure) in failed {
            text.push_str(&format!(
                "{} {}",
                style(environment).for_stderr().bold(),
                chain(failure)
            ));
        }
        return text;
    }
    let mut text = format!("{} {failure}\n", style("error:").for_stderr().red().bold());
    let mut source = std::error::Error::source(failure);
    while let Some(cause) = source {
        text.push_str(&format!("  because: {cause}\n"));
        source = cause.source();
    }
    let Failure::Release(error) = failure else {
        return text;
    };
    match error {
        release::Error::Push { failed, .. } | release::Error::Stopped { failed, .. } => {
            for (artifact, cause) in failed {
                text.push_str(&format!("  {artifact}: {}\n", release::chain(cause)));
            }
        }
        release::Error::NotConfirmed { findings, .. }
        | release::Error::NotRepaired { findings, .. } => {
            text.push_str(&super::findings::lines(findings));
        }
        release::Error::PlanMoved { moved, .. } => {
            for moved in moved {
                text.push_str(&format!("  {}: {}\n", moved.subject, moved.what));
            }
        }
        release::Error::NotRemoved { failed, .. } => {
            for (name, why) in failed {
                text.push_str(&format!("  {name}: {why}\n"));
            }
        }
        release::Error::LockDiffers { diff, .. } => text.push_str(&super::plan::coloured(diff)),
        release::Error::MkectlFailed { last_lines, .. } => {
            for line in last_lines.iter().rev().take(LAST_LINES).rev() {
                text.push_str(&format!("  mkectl | {line}\n"));
            }
        }
        _ => {}
    }
    text
}
