//! Progress bars of the steps in progress, and their lines for a log.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use console::style;
use indicatif::{DecimalBytes, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};
use release::event::Step;

use super::LINE_EVERY;
use crate::ui::edge;
use crate::ui::fold::shorten;
use crate::ui::narrow::Narrow;
use crate::ui::speed::Speed;

/// Interval of checks whether a line is due.
const TICK: Duration = Duration::from_millis(500);

/// Bars of shorter steps are not drawn.
pub(super) const DRAW_AFTER: Duration = Duration::from_millis(150);

/// Maximum width of a bar.
const BAR: usize = 30;

/// Columns of a bar's line besides the bar: the step, the widest numbers, and room for a name.
const BESIDE_BAR: usize = 67;

/// Minimum columns of a name; in fewer, it is not shown.
const NAME: usize = 8;

/// A step in progress, measured in bytes.
pub(super) struct Running {
    pub(super) step: Step,
    pub(super) bar: ProgressBar,
    /// Name of the item in progress.
    pub(super) item: Arc<Mutex<String>>,
    pub(super) is_drawn: bool,
    /// Bytes that were transferred or did not need to be.
    pub(super) done: u64,
    total: Option<u64>,
    pub(super) speed: Arc<Mutex<Speed>>,
    pub(super) began: Instant,
    written: Instant,
}

impl Running {
    /// Starts a step. Its bar is drawn later, if the step takes long enough.
    pub(super) fn new(step: Step, total: Option<u64>) -> Self {
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
                let remaining = total.map(|total| total.saturating_sub(state.pos()));
                let words = lock(&speed).words(remaining, Instant::now());
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

    /// Returns the line for a log: progress, rate and time left.
    fn line(&self) -> String {
        let mut line = format!("{} {}", label(self.step), DecimalBytes(self.done));
        if let Some(total) = self.total {
            line.push_str(&format!(" of {}", DecimalBytes(total)));
        }
        let remaining = self.total.map(|total| total.saturating_sub(self.done));
        let speed = lock(&self.speed).words(remaining, Instant::now());
        format!("{line}, {speed}")
    }
}

/// Writes a line every ten seconds for each step in progress that has a total or has moved bytes,
/// until the process ends.
pub(super) fn tick(running: Weak<Mutex<Vec<Running>>>) {
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

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Returns the template of a line with a bar that fits into this many columns, and the columns left
/// for numbers and a name. The line must not wrap: its first part would stay on the terminal when a
/// message is written above.
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

/// Returns the part of a line after the bar: the numbers, and as much of the name as fits.
fn beside_bar(numbers: &str, speed: &str, item: &str, room: usize) -> String {
    let text = format!("{numbers} {speed}");
    match room.saturating_sub(text.len() + 1) {
        NAME.. if item.is_empty() => text,
        columns @ NAME.. => format!(
            "{text} {}",
            style(shorten(item, columns)).for_stderr().dim()
        ),
        _ => text,
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "a rate is shown with three digits"
)]
pub(super) fn rate(bytes: u64, seconds: f64) -> u64 {
    (bytes as f64 / seconds.max(0.001)) as u64
}

pub(super) fn label(step: Step) -> impl std::fmt::Display {
    style(format!("{:>9}", step.to_string()))
        .for_stderr()
        .green()
        .bold()
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
}
