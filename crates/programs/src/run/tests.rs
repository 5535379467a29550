//! Runs of small shell scripts, each with one of the habits that a long-running program can have.
//! What they print is in `output`.

use std::os::unix::fs::PermissionsExt;
use std::sync::Mutex;
use std::sync::mpsc::{self, Sender};
use std::time::{Duration, Instant};

use secrecy::SecretString;

use super::*;
use crate::{Executable, Variables, is_running};

mod output;

/// Records what it receives, and sends signals at the lines that it watches for.
#[derive(Default)]
struct Recorder {
    lines: Mutex<Vec<(Instant, String)>>,
    others: Mutex<Vec<String>>,
    answers: Vec<(&'static str, Sender<Signal>, Signal)>,
}

impl Recorder {
    fn lines(&self) -> Vec<String> {
        let lines = self.lines.lock().unwrap();
        lines.iter().map(|(_, text)| text.clone()).collect()
    }

    fn others(&self) -> Vec<String> {
        self.others.lock().unwrap().clone()
    }
}

impl Observer for Recorder {
    fn event(&self, event: Event<'_>) {
        match event {
            Event::Line { text } => {
                let mut lines = self.lines.lock().unwrap();
                lines.push((Instant::now(), text.to_owned()));
                for (line, sender, signal) in &self.answers {
                    if *line == text {
                        sender.send(*signal).unwrap();
                    }
                }
            }
            Event::Started { process } => assert!(process > 1),
            other => self.others.lock().unwrap().push(format!("{other:?}")),
        }
    }
}

struct Bench {
    folder: tempfile::TempDir,
    recorder: Recorder,
    signals: Receiver<Signal>,
}

impl Bench {
    fn new() -> Self {
        // Without a sender the channel is closed from the start, as it may be for a caller that
        // handles no signals.
        Self::answering(&[])
    }

    /// A bench that sends each signal when the line beside it arrives.
    fn answering(answers: &[(&'static str, Signal)]) -> Self {
        let (sender, signals) = mpsc::channel();
        let answers = answers
            .iter()
            .map(|(line, signal)| (*line, sender.clone(), *signal))
            .collect();
        Self {
            folder: tempfile::tempdir().unwrap(),
            recorder: Recorder {
                answers,
                ..Recorder::default()
            },
            signals,
        }
    }

    fn path(&self, name: &str) -> Utf8PathBuf {
        Utf8PathBuf::from_path_buf(self.folder.path().join(name)).unwrap()
    }

    fn run(self, script: &str) -> (Finished, Recorder, String) {
        let command = shell(script);
        let log = self.path("apply.log");
        let finished = run(&command, &log, &self.recorder, &self.signals).unwrap();
        let text = std::fs::read_to_string(&log).unwrap();
        (finished, self.recorder, text)
    }
}

fn shell(script: &str) -> Command {
    Executable::new("/bin/sh", Variables::inherited([("PATH", "/usr/bin:/bin")]))
        .command("mkectl", ["-c", script])
}

/// Waits until a process is gone or a zombie, and fails if that takes too long.
pub(crate) fn assert_ends(process: u32) {
    let stat = format!("/proc/{process}/stat");
    let deadline = Instant::now() + Duration::from_secs(3);
    loop {
        match std::fs::read_to_string(&stat) {
            Err(_) => return,
            Ok(stat) if stat.contains(") Z ") => return,
            Ok(_) => assert!(
                Instant::now() < deadline,
                "process {process} is still there"
            ),
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn exit_codes_and_signals_are_reported() {
    let (finished, ..) = Bench::new().run("echo FTL; exit 7");
    assert_eq!(
        (finished.exit, finished.exit.code()),
        (Exit::Code(7), Some(7))
    );
    assert_eq!(finished.exit.to_string(), "exited with code 7");
    let (finished, ..) = Bench::new().run("kill -TERM $$");
    assert_eq!(
        (finished.exit, finished.exit.code()),
        (Exit::Signal(15), None)
    );
}

#[test]
fn lines_arrive_while_the_program_runs() {
    let (_, recorder, _) = Bench::new().run("echo first; sleep 1; echo second");
    let lines = recorder.lines.into_inner().unwrap();
    assert!(lines[1].0.duration_since(lines[0].0) > Duration::from_millis(700));
}

#[test]
fn a_first_signal_leaves_time_to_clean_up() {
    for (signal, name) in [(Signal::Interrupt, "INT"), (Signal::Terminate, "TERM")] {
        let bench = Bench::answering(&[("ready", signal)]);
        let (finished, recorder, log) = bench.run(&format!(
            "trap 'echo cleaning up; sleep 0.3; echo clean; exit 9' {name}; echo ready; \
             while :; do sleep 0.1; done"
        ));
        assert_eq!(finished.exit, Exit::Code(9));
        assert_eq!(finished.signal, Some(signal));
        assert_eq!(
            recorder.others(),
            [format!("Passed {{ signal: {signal:?} }}")]
        );
        // The shell itself may add a line on the job that the signal has ended.
        assert!(log.ends_with("cleaning up\nclean\n"), "{log}");
    }
}

#[test]
fn a_signal_reaches_what_the_program_has_started_too() {
    // A shell makes its background jobs deaf to INT, therefore TERM. What it says of killed jobs is
    // not wanted here.
    let bench = Bench::answering(&[("ready", Signal::Terminate)]);
    let (finished, recorder, _) = bench.run(
        "exec 2>/dev/null; trap : TERM; \
         (trap 'echo below; exit 0' TERM; echo ready; while :; do sleep 0.1; done) & \
         wait; wait; echo above",
    );
    assert_eq!(finished.exit, Exit::Code(0));
    assert_eq!(recorder.lines(), ["ready", "below", "above"]);
}

#[test]
fn a_second_signal_kills() {
    let bench = Bench::answering(&[("ready", Signal::Interrupt), ("ignored", Signal::Interrupt)]);
    let begun = Instant::now();
    let (finished, recorder, _) =
        bench.run("trap 'echo ignored' INT; echo ready; while :; do sleep 0.1; done");
    assert_eq!(finished.exit, Exit::Signal(9));
    assert_eq!(
        recorder.others(),
        ["Passed { signal: Interrupt }", "Killed"]
    );
    assert!(begun.elapsed() < Duration::from_secs(30));
}

#[test]
fn after_a_signal_nothing_is_left_running() {
    let bench = Bench::answering(&[("ready", Signal::Interrupt)]);
    let (finished, recorder, _) = bench.run(
        "(trap '' INT; exec sleep 60 >/dev/null 2>&1) & echo $!; \
         trap 'exit 1' INT; sleep 0.3; echo ready; wait",
    );
    assert_eq!(finished.exit, Exit::Code(1));
    assert_ends(recorder.lines()[0].parse().unwrap());
}

#[test]
fn a_descendant_that_holds_the_output_open_is_not_waited_for() {
    let begun = Instant::now();
    let (finished, recorder, _) = Bench::new().run("sleep 60 & echo $!; echo done; exit 4");
    let elapsed = begun.elapsed();
    assert_eq!(finished.exit, Exit::Code(4));
    assert_eq!(recorder.lines()[1], "done");
    assert!(
        elapsed >= process::GRACE && elapsed < process::GRACE * 2,
        "{elapsed:?}"
    );
    assert_ends(recorder.lines()[0].parse().unwrap());
}

#[test]
fn late_output_of_a_descendant_is_not_lost() {
    let (_, recorder, _) = Bench::new().run("(sleep 1; echo late) & echo early");
    assert_eq!(recorder.lines(), ["early", "late"]);
}

#[test]
fn a_program_that_closes_its_output_is_still_waited_for() {
    let (finished, ..) = Bench::new().run("exec >&- 2>&-; sleep 0.5; exit 6");
    assert_eq!(finished.exit, Exit::Code(6));
}

#[test]
fn a_program_cannot_ask_the_operator() {
    let (_, recorder, _) = Bench::new().run(
        "cat; echo \"input ended\"; if (: </dev/tty) 2>/dev/null; then echo terminal; else echo none; fi",
    );
    assert_eq!(recorder.lines(), ["input ended", "none"]);
}

#[test]
fn a_program_does_not_outlive_a_panic_of_its_observer() {
    struct Panicking(Mutex<Option<u32>>);

    impl Observer for Panicking {
        fn event(&self, event: Event<'_>) {
            match event {
                Event::Started { process } => *self.0.lock().unwrap() = Some(process),
                _ => panic!("the terminal is gone"),
            }
        }
    }

    let bench = Bench::new();
    let log = bench.path("apply.log");
    let observer = Panicking(Mutex::new(None));
    let begun = Instant::now();
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        run(
            &shell("echo line; sleep 60"),
            &log,
            &observer,
            &bench.signals,
        )
    }));
    assert!(outcome.is_err());
    assert!(begun.elapsed() < Duration::from_secs(10));
    assert_ends(observer.0.into_inner().unwrap().unwrap());
}

#[test]
fn a_program_that_cannot_be_started_is_an_error() {
    let bench = Bench::new();
    let log = bench.path("apply.log");
    let program = bench.path("mkectl");
    for (text, mode, expected) in [
        ("", 0o644, format!("`{program}` is not executable")),
        (
            "#!/no/such/interpreter\n",
            0o755,
            format!("cannot start {program}: its interpreter or loader is missing"),
        ),
    ] {
        std::fs::write(&program, text).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(mode)).unwrap();
        let command = Executable::new(&program, Variables::default()).command("mkectl", ["apply"]);
        let (_sender, signals) = mpsc::channel();
        let error = run(&command, &log, &bench.recorder, &signals).unwrap_err();
        assert_eq!(error.to_string(), expected);
    }
}

#[test]
fn a_time_limit_ends_a_program_as_ctrl_c_does() {
    let bench = Bench::new();
    let log = bench.path("apply.log");
    let command =
        shell("trap 'echo cleaning up; exit 9' INT; echo ready; while :; do sleep 0.1; done")
            .within(Some(Duration::from_secs(3)));
    let finished = run(&command, &log, &bench.recorder, &bench.signals).unwrap();
    assert!(finished.timed_out);
    assert_eq!((finished.exit, finished.signal), (Exit::Code(9), None));
    assert_eq!(bench.recorder.others(), ["TimedOut"]);
    assert_eq!(finished.last_lines.last().unwrap(), "cleaning up");
}

#[test]
fn after_a_time_limit_a_program_has_some_time_to_end() {
    let start = Instant::now();
    let second = Duration::from_secs(1);
    let mut limit = Limit::new(start, Some(second));
    assert_eq!(limit.check(start), None);
    assert!(!limit.passed);
    assert_eq!(limit.check(start + second), Some(Passed::Limit));
    assert_eq!(limit.check(start + second), None);
    assert_eq!(limit.check(start + second + CLEANUP), Some(Passed::Cleanup));
    assert_eq!(limit.check(start + second * 2 + CLEANUP), None);
    assert!(limit.passed);
    let mut none = Limit::new(start, None);
    assert_eq!(none.check(start + CLEANUP * 1000), None);
}

#[test]
fn a_running_program_is_distinguished_from_one_that_has_ended() {
    let bench = Bench::answering(&[("ready", Signal::Terminate)]);
    let (_, recorder, _) = bench.run("echo $$; sleep 0.2; echo ready; exec sleep 60");
    let process = recorder.lines()[0].parse().unwrap();
    assert!(!is_running(process));
    assert!(!is_running(0));
}
