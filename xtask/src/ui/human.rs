//! For people: a bar on a terminal, a line now and then in a log.

use std::sync::{Arc, Mutex, MutexGuard, Once, PoisonError, Weak};
use std::time::{Duration, Instant};

use console::{Term, style};
use indicatif::{
    DecimalBytes, MultiProgress, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle,
};
use release::cluster::run;
use release::event::{Event, Step};
use release::transfer::{lock, push};
use release::{plan, prune, verify};

use crate::failure::Failure;
use crate::ui::edge::{self, message, word};
use crate::ui::fold::{Columns, shorten};
use crate::ui::narrow::Narrow;
use crate::ui::problems;
use crate::ui::speed::Speed;

/// How often a line is written without a terminal.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// How often it is looked whether a line is due.
const TICK: Duration = Duration::from_millis(500);

/// Bars that would vanish immediately are not drawn.
const DRAW_AFTER: Duration = Duration::from_millis(150);

/// How many of mkectl's last lines an error repeats; they have scrolled by already, and the log has them all.
const LAST_LINES: usize = 5;

/// How many environments that are wrong are named, and how many artifacts that failed for one reason.
const NAMES: usize = 10;

/// How many retried requests are reported within [`LINE_EVERY`]: a registry that is down fails all of them.
const RETRIES: usize = 3;

/// The widest that a bar is drawn.
const BAR: usize = 30;

/// What a bar's line has beside the bar: the step, the widest numbers, and room for a name.
const BESIDE_BAR: usize = 67;

/// A name is not shown in fewer columns than this.
const NAME: usize = 8;

/// Draws on standard error.
pub(super) struct Human {
    terminal: bool,
    bars: MultiProgress,
    /// What is under way: a bundle may be downloaded, checked and pushed at the same time.
    running: Arc<Mutex<Vec<Running>>>,
    /// Writes lines without a terminal.
    ticker: Once,
    retries: Mutex<Retries>,
}

/// Which of the retried requests were reported.
#[derive(Default)]
struct Retries {
    since: Option<Instant>,
    told: usize,
    untold: usize,
}

/// A step that is under way and known by its bytes.
struct Running {
    step: Step,
    bar: ProgressBar,
    /// The name of what is under way now.
    item: Arc<Mutex<String>>,
    is_drawn: bool,
    /// The bytes that were moved, and those that need not be.
    done: u64,
    total: Option<u64>,
    speed: Arc<Mutex<Speed>>,
    began: Instant,
    written: Instant,
}

impl Human {
    pub(super) fn new() -> Self {
        Self {
            terminal: Term::stderr().features().is_attended(),
            bars: MultiProgress::with_draw_target(ProgressDrawTarget::term_like_with_hz(
                Box::new(Narrow::stderr()),
                10,
            )),
            running: Arc::default(),
            ticker: Once::new(),
            retries: Mutex::default(),
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
                self.step(*step, &format!("{}{taken}", word(what)));
            }
            Event::Retried { step, why } => {
                let untold = self.retries().comes();
                if let Some(untold) = untold {
                    self.step(*step, &format!("{}{}", word(why), more(untold)));
                }
            }
            Event::Mkectl(line) => {
                self.clear();
                self.print(&format!("{} {line}", style("mkectl |").for_stderr().dim()));
            }
            Event::MkectlResult(line) => self.write(edge::document, line),
            Event::Revealed(line) => self.write(edge::reveal, line),
            Event::Warning(text) => self.print(&format!(
                "{} {}",
                style("warning:").for_stderr().yellow().bold(),
                message(text)
            )),
        }
    }

    pub(super) fn failure(&self, failure: &Failure) {
        self.clear();
        let untold = self.retries().ends();
        if untold > 0 {
            let requests = environment::count(untold, "request");
            self.print(&format!("          retried {requests} more"));
        }
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
                "{} {}\n",
                style("hint:").for_stderr().cyan().bold(),
                message(hint)
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
                    "{} {}: {}\n",
                    style("error:").for_stderr().red().bold(),
                    word(environment),
                    message(release::chain(error))
                )),
            }
        }
        // In the order of the environments, so what is next to each other was found next to each other.
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
        text.push_str(&format!("{failure}: {}\n", first_names(&names)));
        text
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

    /// Writes a line of a result to standard output, without the bars.
    fn write(&self, out: fn(&str) -> std::io::Result<()>, line: &str) {
        self.clear();
        let write = || {
            // The result itself reports that standard output is closed.
            let _ = out(&format!("{line}\n"));
        };
        if self.terminal {
            self.bars.suspend(write);
        } else {
            write();
        }
    }

    /// Writes a message after a signal. A terminal has echoed `^C`, which disappears with the bar before it, if there is one.
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

    fn retries(&self) -> std::sync::MutexGuard<'_, Retries> {
        self.retries
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Running>> {
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

impl Retries {
    /// Counts one, and returns how many before it were not reported, if this one is.
    fn comes(&mut self) -> Option<usize> {
        if self.since.is_none_or(|since| since.elapsed() > LINE_EVERY) {
            self.since = Some(Instant::now());
            self.told = 0;
        }
        if self.told == RETRIES {
            self.untold += 1;
            return None;
        }
        self.told += 1;
        Some(self.ends())
    }

    /// Returns how many were not reported, and forgets them.
    fn ends(&mut self) -> usize {
        std::mem::take(&mut self.untold)
    }
}

/// Returns how many others there are, if there are any.
fn more(count: usize) -> String {
    match count {
        0 => String::new(),
        count => format!(" (and {count} more)"),
    }
}

impl Running {
    /// Begins a step. Its bar is not drawn before it has moved for a while.
    fn new(step: Step, total: Option<u64>) -> Self {
        let bar = ProgressBar::with_draw_target(total, ProgressDrawTarget::hidden());
        let columns = usize::from(Narrow::stderr().columns());
        let now = Instant::now();
        let speed = Arc::new(Mutex::new(Speed::new(now)));
        let item = Arc::new(Mutex::new(String::new()));
        let (template, room) = template(columns, total.is_some());
        if let Ok(style) = ProgressStyle::with_template(&template) {
            let (speed, item) = (Arc::clone(&speed), Arc::clone(&item));
            let rest = move |state: &ProgressState, out: &mut dyn std::fmt::Write| {
                let mut numbers = DecimalBytes(state.pos()).to_string();
                if let Some(total) = total {
                    numbers.push_str(&format!("/{}", DecimalBytes(total)));
                }
                let left = total.map(|total| total.saturating_sub(state.pos()));
                let words = lock(&speed).words(left, Instant::now());
                let _ = out.write_str(&beside_bar(&numbers, &words, &lock(&item), room));
            };
            bar.set_style(style.progress_chars("=> ").with_key("rest", rest));
        }
        bar.set_prefix(step.to_string());
        Self {
            step,
            bar,
            item,
            is_drawn: false,
            done: 0,
            total,
            speed,
            began: now,
            written: now,
        }
    }

    /// The line for a log: progress, rate and time left.
    fn line(&self) -> String {
        let mut line = format!("{} {}", label(self.step), DecimalBytes(self.done));
        if let Some(total) = self.total {
            line.push_str(&format!(" of {}", DecimalBytes(total)));
        }
        let left = self.total.map(|total| total.saturating_sub(self.done));
        line.push_str(", ");
        line.push_str(&lock(&self.speed).words(left, Instant::now()));
        line
    }
}

/// Writes a line every ten seconds for each step that is under way and known by its bytes, until the process ends.
fn tick(running: Weak<Mutex<Vec<Running>>>) {
    std::thread::spawn(move || {
        loop {
            std::thread::sleep(TICK);
            let Some(running) = running.upgrade() else {
                return;
            };
            for running in lock(&running).iter_mut() {
                let is_known = running.total.is_some() || running.done > 0;
                if is_known && running.written.elapsed() >= LINE_EVERY {
                    running.written = Instant::now();
                    edge::err(&format!("{}\n", running.line()));
                }
            }
        }
    });
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Returns the template of a line with a bar that fits into this many columns, and the columns that are left for numbers
/// and a name. A line that wraps leaves its first half behind when something is written above it.
fn template(columns: usize, is_total_known: bool) -> (String, usize) {
    let bar = match is_total_known {
        true => columns.saturating_sub(BESIDE_BAR).min(BAR),
        false => 0,
    };
    match bar {
        0..5 => ("{prefix:>9} {rest}".to_owned(), columns.saturating_sub(10)),
        bar => (
            format!("{{prefix:>9}} [{{bar:{bar}}}] {{rest}}"),
            columns.saturating_sub(bar + 13),
        ),
    }
}

/// Returns the part of a line beside the bar: the numbers, and as much of the name as fits.
fn beside_bar(numbers: &str, speed: &str, item: &str, room: usize) -> String {
    let text = format!("{numbers} {speed}");
    match room.saturating_sub(text.len() + 1) {
        NAME.. if item.is_empty() => text,
        left @ NAME.. => format!("{text} {}", style(shorten(item, left)).for_stderr().dim()),
        _ => text,
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
                style(word(environment)).for_stderr().bold(),
                chain(failure)
            ));
        }
        return text;
    }
    let error = style("error:").for_stderr().red().bold();
    let mut text = format!("{error} {}\n", message(failure));
    let mut source = std::error::Error::source(failure);
    while let Some(cause) = source {
        text.push_str(&format!("  because: {}\n", message(cause)));
        source = cause.source();
    }
    let Failure::Release(error) = failure else {
        return text;
    };
    match error {
        release::Error::Push(push::Error::Failed { failed, .. })
        | release::Error::Push(push::Error::Stopped { failed, .. }) => {
            text.push_str(&by_cause(failed));
        }
        release::Error::Verify(verify::Error::NotConfirmed { findings, .. })
        | release::Error::Verify(verify::Error::NotRepaired { findings, .. }) => {
            text.push_str(&super::findings::lines(findings));
        }
        release::Error::Plan(plan::Error::Moved { moved, .. }) => {
            for moved in moved {
                text.push_str(&format!("  {}: {}\n", moved.subject, message(&moved.what)));
            }
        }
        release::Error::Prune(prune::Error::NotRemoved { failed, .. }) => {
            for (name, why) in failed {
                text.push_str(&format!("  {name}: {}\n", message(why)));
            }
        }
        release::Error::Lock(lock::Error::Differs { changes, diff, .. }) => match diff {
            Some(diff) => text.push_str(&super::plan::coloured(diff)),
            None => text.push_str(&lock_changes(changes)),
        },
        release::Error::Unpack(error) => text.push_str(&crate::failure::unpack::pieces(error)),
        release::Error::Run(run::Error::Failed { last_lines, .. }) => {
            for line in last_lines.iter().rev().take(LAST_LINES).rev() {
                text.push_str(&format!("  mkectl | {line}\n"));
            }
        }
        _ => {}
    }
    text
}

/// Returns what failed, a line each. What failed for the same reason is listed together: a registry that is down fails
/// everything.
fn by_cause(failed: &[(String, Arc<release::RegistryError>)]) -> String {
    let mut causes: Vec<(String, Vec<&str>)> = Vec::new();
    for (artifact, cause) in failed {
        let cause = message(release::chain(cause));
        match causes.iter_mut().find(|(known, _)| *known == cause) {
            Some((_, artifacts)) => artifacts.push(artifact),
            None => causes.push((cause, vec![artifact])),
        }
    }
    let mut text = String::new();
    for (cause, artifacts) in causes {
        if let [artifact] = artifacts[..] {
            text.push_str(&format!("  {artifact}: {cause}\n"));
            continue;
        }
        text.push_str(&format!(
            "  {} artifacts: {cause}\n    {}\n",
            artifacts.len(),
            first_names(&artifacts)
        ));
    }
    text
}

/// Returns what differs between two locks: a line a kind.
pub(crate) fn lock_changes(changes: &release::transfer::lock::Changes) -> String {
    let mut text = String::new();
    for (key, old, new) in &changes.keys {
        text.push_str(&format!("  {key}: {old} -> {new}\n"));
    }
    for (what, names) in [
        ("added", &changes.added),
        ("removed", &changes.removed),
        ("changed", &changes.changed),
    ] {
        if !names.is_empty() {
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            let count = environment::count(names.len(), "artifact");
            text.push_str(&format!("  {what}: {count}: {}\n", first_names(&names)));
        }
    }
    text
}

/// Returns the first names, and how many others there are.
pub(super) fn first_names(names: &[&str]) -> String {
    let shown = names.len().min(NAMES);
    let text = names[..shown].join(", ");
    match names.len() - shown {
        0 => text,
        rest => format!("{text} and {rest} more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_with_the_longest_numbers_fits_into_its_line() {
        let item = "k0sproject/calico-node:v3.30.1-amd64";
        for columns in [40, 60, 77, 96, 120] {
            for is_total_known in [true, false] {
                let (template, room) = template(columns, is_total_known);
                let bar = columns_of_bar(&template);
                assert!(bar <= BAR);
                for numbers in ["1.00 MB/2.00 MB", "999.99 MB/999.99 MB"] {
                    let rest = beside_bar(numbers, "999.99 MB/s, finishing", item, room);
                    let brackets = if bar == 0 { 0 } else { 3 };
                    let all = 10 + bar + brackets + console::measure_text_width(&rest);
                    assert!(all <= columns.max(52), "{columns} columns: {rest}");
                }
            }
        }
        assert_eq!(columns_of_bar(&template(120, true).0), BAR);
        let rest = beside_bar("12.00 MB/48.00 MB", "9.00 MB/s, 4s left", item, 60);
        assert_eq!(
            console::strip_ansi_codes(&rest),
            "12.00 MB/48.00 MB 9.00 MB/s, 4s left k0sproject/….30.1-amd64"
        );
    }

    fn columns_of_bar(template: &str) -> usize {
        let after = template.split_once("{bar:").map(|(_, after)| after);
        let digits = after.and_then(|after| after.split_once('}'));
        digits.map_or(0, |(digits, _)| digits.parse().unwrap())
    }

    #[test]
    fn of_many_retried_requests_only_some_are_reported() {
        let mut retries = Retries::default();
        let told: Vec<_> = (0..10).filter_map(|_| retries.comes()).collect();
        assert_eq!(told, [0, 0, 0]);
        assert_eq!(retries.ends(), 7);
        assert_eq!(retries.ends(), 0);
        retries.untold = 4;
        retries.since = Instant::now().checked_sub(LINE_EVERY * 2);
        assert_eq!(retries.comes(), Some(4), "the next line reports them");
    }

    #[test]
    fn failures_with_one_reason_are_reported_together() {
        let stopped = Arc::new(release::RegistryError::Stopped);
        let many: Vec<_> = (0..12)
            .map(|n| (format!("image:{n}"), Arc::clone(&stopped)))
            .collect();
        let text = by_cause(&many);
        assert_eq!(text.lines().count(), 2, "{text}");
        assert!(text.starts_with("  12 artifacts: "), "{text}");
        assert!(text.ends_with("image:9 and 2 more\n"), "{text}");
        assert!(by_cause(&many[..1]).starts_with("  image:0: "));
    }
}
