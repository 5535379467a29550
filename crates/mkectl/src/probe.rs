//! Short questions to a program: a few lines of answer, a limit on the time.

use std::io;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use xshell::{Shell, cmd};

use crate::process::{self, Group};
use crate::{Error, Exit, Mkectl};

/// How long a short question may take. A cold start from a slow disk takes a few seconds at the worst.
const LIMIT: Duration = Duration::from_secs(30);

/// How much of an answer is kept, in bytes. A help page has a few kilobytes.
const LONGEST: usize = 1 << 20;

impl Mkectl {
    /// Runs the program with `arguments` and returns what it wrote to standard output and standard error, in its order.
    pub(crate) fn ask(&self, arguments: &[&str]) -> Result<String, Error> {
        self.ask_within(arguments, LIMIT)
    }

    fn ask_within(&self, arguments: &[&str], limit: Duration) -> Result<String, Error> {
        let (mut child, pipe) = self.start(arguments)?;
        let group = Group::of(child.id());
        let supervise = |source: io::Error| {
            // The answer is lost either way, and nothing may be left behind.
            group.kill();
            Error::Supervise {
                program: self.program.clone(),
                source,
            }
        };

        let deadline = Instant::now() + limit;
        let mut late = false;
        let mut answer = Vec::new();
        process::drain(
            &mut [pipe],
            group,
            &mut |_, chunk| {
                let room = LONGEST.saturating_sub(answer.len());
                answer.extend_from_slice(&chunk[..chunk.len().min(room)]);
            },
            &mut || {
                if !late && Instant::now() >= deadline {
                    late = true;
                    group.kill();
                }
            },
        )
        .map_err(supervise)?;
        let status = child.wait().map_err(supervise)?;

        let command = || {
            self.command(arguments.iter().copied())
                .display()
                .to_string()
        };
        if late {
            return Err(Error::TimedOut {
                command: command(),
                seconds: limit.as_secs(),
            });
        }
        let output = String::from_utf8_lossy(&answer).into_owned();
        match Exit::of(status) {
            Exit::Code(0) => Ok(output),
            exit => Err(Error::Failed {
                command: command(),
                exit,
                output,
            }),
        }
    }

    /// Starts the program with one pipe for all that it writes.
    ///
    /// `xshell` builds the command. It is not left to run it: it can neither limit the time nor end what a program
    /// has started.
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the crate that starts programs"
    )]
    fn start(&self, arguments: &[&str]) -> Result<(Child, io::PipeReader), Error> {
        let shell = Shell::new().map_err(|source| Error::CurrentFolder {
            program: self.program.clone(),
            source,
        })?;
        let (program, leading) = (&self.program, &self.leading);
        let mut command: std::process::Command =
            cmd!(shell, "{program} {leading...} {arguments...}")
                .env_clear()
                .envs(self.variables.iter())
                .into();

        let start = |source| Error::start(self.program.clone(), source);
        let (reader, writer) = io::pipe().map_err(start)?;
        process::lead_own_session(&mut command).map_err(start)?;
        let child = command
            .stdin(Stdio::null())
            .stdout(writer.try_clone().map_err(start)?)
            .stderr(writer)
            .spawn()
            .map_err(start)?;
        // The command holds the writing end. Only when it is gone can the pipe end.
        drop(command);
        Ok((child, reader))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Variables;

    fn shell(script: &str) -> Mkectl {
        Mkectl::new("/bin/sh", Variables::inherited([("PATH", "/usr/bin:/bin")]))
            .leading(["-c", script, "mkectl"])
    }

    #[test]
    fn the_answer_is_all_that_was_written() {
        let mkectl = shell(r#"echo "Version: v4.1.5"; echo "args: $*" >&2"#);
        assert_eq!(
            mkectl.ask(&["version"]).unwrap(),
            "Version: v4.1.5\nargs: version\n"
        );
        assert_eq!(mkectl.version().unwrap().to_string(), "4.1.5");
    }

    #[test]
    fn an_answer_that_does_not_come_is_given_up_and_nothing_is_left() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mkectl = shell(&format!(
            "trap '' INT TERM; sleep 60 & echo $! > {}; wait",
            file.path().display()
        ));
        let begun = Instant::now();
        let error = mkectl
            .ask_within(&["version"], Duration::from_millis(1500))
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
    fn a_failure_carries_what_was_said() {
        let error = shell("echo 'FTL no such flag' >&2; exit 3")
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
    fn what_cannot_be_started_says_why() {
        let missing = Mkectl::new("/nowhere/mkectl", Variables::default());
        assert_eq!(
            missing.version().unwrap_err().to_string(),
            "there is no program at /nowhere/mkectl"
        );
        let folder = Mkectl::new("/etc", Variables::default());
        assert_eq!(
            folder.version().unwrap_err().to_string(),
            "/etc is not executable"
        );
    }

    #[test]
    fn only_the_given_variables_reach_the_program() {
        let mkectl = shell("env");
        let answer = mkectl.ask(&[]).unwrap();
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
