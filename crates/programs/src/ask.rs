//! Short queries: programs with little output and a time limit.

use std::time::{Duration, Instant};

use crate::process::{self, Input, Output};
use crate::{Error, Executable};

/// Time limit of a query. A cold start from a slow disk takes a few seconds.
const TIME_LIMIT: Duration = Duration::from_secs(30);

/// Maximum bytes of an answer. A help page has a few kilobytes.
const MAX_ANSWER_BYTES: usize = 1 << 20;

/// A query, with limits on the answer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Question<'a> {
    /// Arguments of the program.
    pub(crate) arguments: &'a [&'a str],
    /// Standard input of the program.
    pub(crate) input: &'a [u8],
    /// Whether standard error is part of the answer. An error contains it in any case.
    pub(crate) with_errors: bool,
    /// Maximum duration.
    pub(crate) limit: Duration,
    /// Maximum bytes of the answer; the rest is discarded.
    pub(crate) max_bytes: usize,
}

impl<'a> Question<'a> {
    /// Returns a query with the default limits, whose answer includes standard error: mkectl writes
    /// to either stream.
    pub(crate) fn new(arguments: &'a [&'a str]) -> Self {
        Self {
            arguments,
            input: &[],
            with_errors: true,
            limit: TIME_LIMIT,
            max_bytes: MAX_ANSWER_BYTES,
        }
    }
}

impl Executable {
    /// Runs the program and returns its standard output and standard error as text, in the order of
    /// writing.
    pub(crate) fn ask(&self, arguments: &[&str]) -> Result<String, Error> {
        let answer = self.answer(Question::new(arguments))?;
        Ok(redaction::text(&answer).into_owned())
    }

    /// Runs the program and returns its output, up to the limit of the question.
    pub(crate) fn answer(&self, question: Question<'_>) -> Result<Vec<u8>, Error> {
        let command = self.command("", question.arguments.iter().copied());
        let input = match question.input {
            [] => Input::Nothing,
            bytes => Input::Bytes(bytes),
        };
        let output = match question.with_errors {
            true => Output::Together,
            false => Output::Apart,
        };
        let mut child = process::start(&command, input, output)
            .map_err(|source| Error::start(self.path.clone(), source))?;
        let supervise = |source| Error::Supervise {
            program: self.path.clone(),
            source,
        };
        let deadline = Instant::now() + question.limit;
        let (mut answer, mut errors) = (Vec::new(), Vec::new());
        let late = child
            .drain_until(&|| Instant::now() >= deadline, &mut |which, chunk| {
                let (kept, max_bytes) = match (output, which) {
                    (Output::Apart, 0) => (&mut errors, MAX_ANSWER_BYTES),
                    _ => (&mut answer, question.max_bytes),
                };
                let room = max_bytes.saturating_sub(kept.len());
                kept.extend_from_slice(&chunk[..chunk.len().min(room)]);
            })
            .map_err(supervise)?;
        let exit = child.reap().map_err(supervise)?;
        if late {
            return Err(Error::TimedOut {
                command: command.display().to_string(),
                seconds: question.limit.as_secs(),
            });
        }
        if exit.is_success() {
            return Ok(answer);
        }
        answer.extend(errors);
        Err(Error::Failed {
            command: command.display().to_string(),
            exit,
            output: redaction::text(&answer).into_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Mkectl, Variables};

    fn shell(script: &str) -> Mkectl {
        Mkectl::new("/bin/sh", Variables::inherited([("PATH", "/usr/bin:/bin")]))
            .leading(["-c", script, "mkectl"])
    }

    #[test]
    fn errors_that_fill_a_pipe_do_not_block_the_answer() {
        let script = "i=0; while [ $i -lt 4000 ]; do echo 'warning: something is not as it should be' >&2; i=$((i + 1)); done; \
                      echo answer; exit $1";
        let ask = |code: &str| {
            shell(script).program.answer(Question {
                with_errors: false,
                limit: Duration::from_secs(10),
                ..Question::new(&[code])
            })
        };
        assert_eq!(ask("0").unwrap(), b"answer\n");
        let Err(Error::Failed { output, .. }) = ask("1") else {
            panic!("it exits with code 1");
        };
        assert!(output.starts_with("answer\nwarning: something"), "{output}");
    }

    #[test]
    fn the_answer_is_all_that_was_written() {
        let mkectl = shell(r#"echo "Version: v4.1.5"; echo "args: $*" >&2"#);
        assert_eq!(
            mkectl.program.ask(&["version"]).unwrap(),
            "Version: v4.1.5\nargs: version\n"
        );
        assert_eq!(mkectl.version().unwrap().to_string(), "4.1.5");
    }

    #[test]
    fn a_query_is_killed_after_its_time_limit() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mkectl = shell(&format!(
            "trap '' INT TERM; sleep 60 & echo $! > {}; wait",
            file.path().display()
        ));
        let begun = Instant::now();
        let error = mkectl
            .program
            .answer(Question {
                limit: Duration::from_millis(1500),
                ..Question::new(&["version"])
            })
            .unwrap_err();
        assert!(begun.elapsed() < Duration::from_secs(10));
        assert!(
            matches!(error, Error::TimedOut { seconds: 1, .. }),
            "{error}"
        );
        let sleeper: u32 = std::fs::read_to_string(file.path())
            .unwrap()
            .trim()
            .parse()
            .unwrap();
        crate::run::tests::assert_ends(sleeper);
    }

    #[test]
    fn an_error_contains_the_output() {
        let error = shell("echo 'FTL no such flag' >&2; exit 3")
            .program
            .ask(&["version"])
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "`/bin/sh -c 'echo '\\''FTL no such flag'\\'' >&2; exit 3' mkectl version` exited with code 3: \
             FTL no such flag"
        );
        let error = shell("kill -KILL $$").version().unwrap_err();
        assert!(
            error
                .to_string()
                .ends_with("was ended by signal 9 and printed nothing"),
            "{error}"
        );
        let error = shell("echo built from source").version().unwrap_err();
        assert!(matches!(error, Error::NoVersion { .. }), "{error}");
    }

    #[test]
    fn a_program_that_cannot_be_started_is_an_error() {
        let missing = Mkectl::new("/nowhere/mkectl", Variables::default());
        assert_eq!(
            missing.version().unwrap_err().to_string(),
            "program not found: `/nowhere/mkectl`"
        );
        let folder = Mkectl::new("/etc", Variables::default());
        assert_eq!(
            folder.version().unwrap_err().to_string(),
            "`/etc` is not executable"
        );
    }

    #[test]
    fn only_the_given_variables_reach_the_program() {
        let mkectl = shell("env");
        let answer = mkectl.program.ask(&[]).unwrap();
        let mut names: Vec<&str> = answer
            .lines()
            .filter_map(|line| line.split('=').next())
            // Shells add these three themselves.
            .filter(|name| !["PWD", "SHLVL", "_", "OLDPWD"].contains(name))
            .collect();
        names.sort_unstable();
        assert_eq!(names, ["PATH"]);
    }
}
