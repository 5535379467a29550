//! What git knows of the workspace: which revision it is at, whether anything differs from it, what
//! a file once held.
//!
//! Git is only read: nothing is written, not even its index. Only [`Receiver`] writes. Receipts and
//! locks have no other history than this one.
//!
//! A workspace may arrive as a folder, with a configuration of its own that names programs.
//! Questions run none of them: commands are plumbing where there is some, and every setting by
//! which `status` would start a program is overridden.

use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};

use crate::ask::Question;
use crate::{Error, Executable, Variables};

mod bundle;
mod receive;

pub use receive::{Head, Receiver};

/// How long git may take for an answer. A cold start on a slow disk with a large tree takes a few
/// seconds at the worst.
const LIMIT: Duration = Duration::from_secs(15);

/// How much of an answer is read, in bytes: the history of a lock is a megabyte a version.
const MAX_ANSWER_BYTES: usize = 256 << 20;

/// Settings over those of the repository. Each would make one of the questions start a program or
/// look at other objects.
const SETTINGS: &[&str] = &[
    "core.fsmonitor=false",
    "core.hooksPath=/dev/null",
    "log.showSignature=false",
    "status.submoduleSummary=false",
    "safe.bareRepository=explicit",
];

/// The settings of a filter by which git starts a program, and what they become.
const FILTER: &[&str] = &["clean=", "smudge=", "process=", "required=false"];

/// Of how many revisions a file's content is read at a time.
const REVISIONS_AT_ONCE: usize = 256;

/// The variables that git gets: those by which it finds itself, its settings and its user. No
/// other, since it has no use for secrets, and a hook's `GIT_DIR` would lead it to another
/// repository.
const VARIABLES: &[&str] = &["PATH", "HOME", "XDG_CONFIG_HOME"];

/// Git, for one folder.
#[derive(Debug, Clone)]
pub struct Git {
    program: Executable,
}

/// Why git returned no result. None of it is a failure: a workspace need be no repository.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Absent {
    /// Git is not installed.
    #[error("git is not installed")]
    NotInstalled,
    /// The folder is in no repository.
    #[error("`{folder}` is not in a git repository")]
    NoRepository {
        /// The folder.
        folder: Utf8PathBuf,
    },
    /// The repository belongs to a different user, and git does not trust it.
    #[error("git refuses the repository `{repository}`, which belongs to a different user")]
    Owner {
        /// The repository, as git prints it.
        repository: Utf8PathBuf,
    },
    /// The configuration names a filter that cannot be overridden.
    #[error("the git configuration has a filter named `{filter}`, which could run a program")]
    Filter {
        /// The filter's name.
        filter: String,
    },
    /// The repository has no such commit.
    #[error("`{revision}` is not a commit of the repository")]
    Revision {
        /// What was asked for.
        revision: String,
    },
    /// Git refuses, fails, or takes too long.
    #[error("git returned no result")]
    Refused {
        /// Why.
        source: Error,
    },
}

impl Absent {
    /// Returns the lock file that git found, which a git that was killed may have left.
    pub fn lock(&self) -> Option<&Utf8Path> {
        let Self::Refused {
            source: Error::Failed { output, .. },
        } = self
        else {
            return None;
        };
        let (before, _) = output.split_once("': File exists")?;
        let (_, path) = before.rsplit_once('\'')?;
        Some(Utf8Path::new(path)).filter(|path| path.extension() == Some("lock"))
    }

    /// Returns whether git is not installed.
    pub fn is_not_installed(&self) -> bool {
        matches!(self, Self::NotInstalled)
    }
}

/// The commit of a workspace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    /// The commit that is checked out, in full; none if nothing was committed yet.
    pub revision: Option<String>,
    /// The files that differ from it or are not in it, relative to the repository's root, sorted.
    pub changed: Vec<String>,
}

/// What a file once held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Past {
    /// A commit with this content, in full.
    pub revision: String,
    /// When that was committed, in seconds since 1970.
    pub committed: i64,
    /// The content.
    pub text: String,
}

impl Git {
    /// Returns git for a folder, with `PATH` and `HOME` out of `variables`.
    ///
    /// # Errors
    ///
    /// [`Absent::NotInstalled`]. Whether the folder is in a repository is not asked yet.
    pub fn of(folder: &Utf8Path, variables: &Variables) -> Result<Self, Absent> {
        let mut kept = variables.only(VARIABLES);
        // What is asked must not change the index, and answers are read by a program.
        kept.set("GIT_OPTIONAL_LOCKS", "0");
        // In a partial clone, git would download what is missing.
        kept.set("GIT_NO_LAZY_FETCH", "1");
        kept.set("LC_ALL", "C");
        // A repository that is a partial clone would fetch what it lacks, by the transport that its
        // configuration names.
        kept.set("GIT_NO_LAZY_FETCH", "1");
        kept.set("GIT_ALLOW_PROTOCOL", "");
        kept.set("GIT_TERMINAL_PROMPT", "0");
        let program = Executable::find("git", kept).map_err(|_| Absent::NotInstalled)?;
        let settings = SETTINGS.iter().flat_map(|setting| ["-c", setting]);
        let leading = ["-C", folder.as_str(), "--no-pager", "--no-replace-objects"];
        Ok(Self {
            program: program.leading(leading.into_iter().chain(settings)),
        })
    }

    /// Returns the root of the repository that the folder is in.
    ///
    /// # Errors
    ///
    /// The folder is not in a repository, or git has no answer.
    pub fn top_level(&self) -> Result<Utf8PathBuf, Absent> {
        let answer = self.ask(&["rev-parse", "--show-toplevel"], &[])?;
        Ok(String::from_utf8_lossy(&answer)
            .trim_end_matches('\n')
            .into())
    }

    /// Returns the commit of the folder, ignoring files that match a pattern in `aside`. Ignored
    /// files count for nothing.
    ///
    /// # Errors
    ///
    /// Git has no answer.
    pub fn state(&self, aside: &[&str]) -> Result<State, Absent> {
        let aside: Vec<String> = aside
            .iter()
            .map(|pattern| format!(":(exclude,glob){pattern}"))
            .collect();
        let without_filters = self.without_filters()?;
        let mut arguments: Vec<&str> = without_filters.iter().map(String::as_str).collect();
        arguments.extend([
            "status",
            "--porcelain=v2",
            "--branch",
            "--untracked-files=all",
            "--no-renames",
            // The configuration of a submodule is not looked at, so git does not go into it.
            "--ignore-submodules=dirty",
            "-z",
            "--",
            ".",
        ]);
        arguments.extend(aside.iter().map(String::as_str));
        let answer = self.ask(&arguments, &[])?;
        Ok(state(&String::from_utf8_lossy(&answer)))
    }

    /// Returns what a file held at each commit that changed it, the newest first, over all merged
    /// branches and also where it is no more. Equal contents are returned once. `file` is relative
    /// to the folder.
    ///
    /// # Errors
    ///
    /// Git has no answer.
    pub fn history(&self, file: &Utf8Path) -> Result<Vec<Past>, Absent> {
        let head = self.ask(&["rev-parse", "--verify", "--quiet", "HEAD"], &[]);
        match head {
            // A repository without a commit has no history.
            Err(Absent::Refused {
                source: Error::Failed { output, .. },
            }) if output.is_empty() => return Ok(Vec::new()),
            head => drop(head?),
        }
        let arguments = [
            "rev-list",
            "--timestamp",
            "--full-history",
            "HEAD",
            "--",
            file.as_str(),
        ];
        let answer = self.ask(&arguments, &[])?;
        let log = String::from_utf8_lossy(&answer).into_owned();
        let commits: Vec<(&str, i64)> = log
            .lines()
            .filter_map(|line| line.split_once(' '))
            .filter_map(|(time, revision)| Some((revision, time.parse().ok()?)))
            .collect();
        let mut history: Vec<Past> = Vec::new();
        for commits in commits.chunks(REVISIONS_AT_ONCE) {
            let wanted: String = commits
                .iter()
                .map(|(revision, _)| format!("{revision}:./{file}\n"))
                .collect();
            let answer = self.ask(&["cat-file", "--batch"], wanted.as_bytes())?;
            for ((revision, committed), text) in commits.iter().zip(contents(&answer)) {
                let Some(text) = text else { continue };
                if history.iter().all(|past| past.text != text) {
                    history.push(Past {
                        revision: (*revision).to_owned(),
                        committed: *committed,
                        text,
                    });
                }
            }
        }
        Ok(history)
    }

    /// Returns what a file held at a revision; none if it was missing there, or is not text. `file`
    /// is relative to the folder.
    ///
    /// # Errors
    ///
    /// The revision is unknown, or git has no answer. Before the first commit, `HEAD` is known and
    /// has no files.
    pub fn at(&self, revision: &str, file: &Utf8Path) -> Result<Option<String>, Absent> {
        let unknown = || Absent::Revision {
            revision: redaction::line(revision, 100),
        };
        if revision.contains(char::is_whitespace) {
            return Err(unknown());
        }
        let wanted = format!("{revision}^{{commit}}\n");
        let answer = self.ask(&["cat-file", "--batch-check"], wanted.as_bytes())?;
        if !answer.ends_with(b"\n") || answer.trim_ascii_end().ends_with(b" missing") {
            return match revision {
                "HEAD" => Ok(None),
                _ => Err(unknown()),
            };
        }
        let wanted = format!("{revision}:./{file}\n");
        let answer = self.ask(&["cat-file", "--batch"], wanted.as_bytes())?;
        Ok(contents(&answer).pop().flatten())
    }

    /// Returns the committed files that match `pattern` and are missing from the working tree,
    /// relative to the folder.
    ///
    /// # Errors
    ///
    /// Git has no answer.
    pub fn missing(&self, pattern: &str) -> Result<Vec<String>, Absent> {
        let answer = self.ask(&["ls-files", "--deleted", "-z", "--", pattern], &[])?;
        let names = String::from_utf8_lossy(&answer).into_owned();
        let names = names.split_terminator('\0').map(str::to_owned);
        Ok(names.collect())
    }

    /// Returns whether `git add` would take a file, which need not exist: it is in the repository,
    /// and no pattern ignores it.
    ///
    /// # Errors
    ///
    /// The file is outside of the repository, or git has no answer.
    pub fn would_add(&self, file: &Utf8Path) -> Result<bool, Absent> {
        match self.ask(&["check-ignore", "--quiet", "--", file.as_str()], &[]) {
            Ok(_) => Ok(false),
            // Its only failure without a message: the file is not ignored.
            Err(Absent::Refused {
                source: Error::Failed { output, .. },
            }) if output.is_empty() => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// Returns whether the clone is shallow, so [`Git::history`] may lack its beginning.
    ///
    /// # Errors
    ///
    /// Git has no answer.
    pub fn is_cut(&self) -> Result<bool, Absent> {
        let answer = self.ask(&["rev-parse", "--is-shallow-repository"], &[])?;
        Ok(answer.trim_ascii() == b"true")
    }

    /// Returns a setting such as `user.email`, of the repository or of the user; none if it is not
    /// set.
    ///
    /// # Errors
    ///
    /// Git has no answer.
    pub fn setting(&self, name: &str) -> Result<Option<String>, Absent> {
        let answer = self.ask(&["config", "--get", "--default", "", name], &[])?;
        let value = String::from_utf8_lossy(&answer).trim().to_owned();
        Ok((!value.is_empty()).then_some(value))
    }

    /// Returns arguments that leave each filter of the configuration without a program. Attributes
    /// cannot be left out instead: `.git/info/attributes` always counts.
    fn without_filters(&self) -> Result<Vec<String>, Absent> {
        let answer = self.ask(&["config", "--list", "--name-only", "-z"], &[])?;
        let names = String::from_utf8_lossy(&answer);
        let mut filters: Vec<&str> = names
            .split('\0')
            .filter_map(|name| name.strip_prefix("filter.")?.rsplit_once('.'))
            .map(|(filter, _)| filter)
            .collect();
        filters.sort_unstable();
        filters.dedup();
        // On a command line a setting's name ends at the first `=`.
        if let Some(filter) = filters.iter().find(|filter| filter.contains('=')) {
            return Err(Absent::Filter {
                filter: (*filter).to_owned(),
            });
        }
        let settings = filters.iter().flat_map(|filter| {
            let settings = FILTER.iter();
            settings.map(move |setting| format!("filter.{filter}.{setting}"))
        });
        Ok(settings
            .flat_map(|setting| ["-c".to_owned(), setting])
            .collect())
    }

    fn ask(&self, arguments: &[&str], input: &[u8]) -> Result<Vec<u8>, Absent> {
        self.ask_within(LIMIT, arguments, input)
    }

    fn ask_within(
        &self,
        limit: Duration,
        arguments: &[&str],
        input: &[u8],
    ) -> Result<Vec<u8>, Absent> {
        self.question(Question {
            arguments,
            input,
            with_errors: false,
            limit,
            max_bytes: MAX_ANSWER_BYTES,
        })
    }

    fn question(&self, question: Question<'_>) -> Result<Vec<u8>, Absent> {
        self.program
            .answer(question)
            .map_err(|source| match source {
                Error::Failed { output, .. } if output.contains("not a git repository") => {
                    Absent::NoRepository {
                        folder: self.program.leading[1].as_str().into(),
                    }
                }
                Error::Failed { output, .. } if output.contains("dubious ownership") => {
                    let quoted = output.split('\'').nth(1);
                    Absent::Owner {
                        repository: quoted.unwrap_or(&self.program.leading[1]).into(),
                    }
                }
                source => Absent::Refused { source },
            })
    }
}

/// Reads `git status --porcelain=v2 --branch -z`.
fn state(answer: &str) -> State {
    let mut revision = None;
    let mut changed = Vec::new();
    for entry in answer.split('\0') {
        // The number of fields before the path, by the kind of entry.
        let fields = match entry.split(' ').next() {
            Some("#") => {
                let found = entry.strip_prefix("# branch.oid ");
                revision = revision.or(found.filter(|found| *found != "(initial)"));
                continue;
            }
            Some("1") => 8,
            Some("u") => 10,
            Some("?") => 1,
            _ => continue,
        };
        changed.extend(entry.splitn(fields + 1, ' ').nth(fields).map(str::to_owned));
    }
    changed.sort();
    State {
        revision: revision.map(str::to_owned),
        changed,
    }
}

/// Reads `git cat-file --batch`: the content of each object that was asked for, nothing for one
/// that is missing or no text.
fn contents(answer: &[u8]) -> Vec<Option<String>> {
    let mut contents = Vec::new();
    let mut rest = answer;
    while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
        let header = String::from_utf8_lossy(&rest[..end]).into_owned();
        rest = &rest[end + 1..];
        let size = header
            .rsplit_once(" blob ")
            .and_then(|(_, size)| size.parse::<usize>().ok());
        let Some(content) = size.and_then(|size| rest.get(..size)) else {
            contents.push(None);
            continue;
        };
        contents.push(String::from_utf8(content.to_vec()).ok());
        // A line end follows that is not of the content.
        rest = rest.get(content.len() + 1..).unwrap_or_default();
    }
    contents
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A repository in a temporary folder, whose files are below `work`.
    struct Repository {
        _folder: tempfile::TempDir,
        root: Utf8PathBuf,
        variables: Variables,
    }

    impl Repository {
        fn empty() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let root = Utf8Path::from_path(folder.path()).unwrap().to_owned();
            std::fs::create_dir(root.join("work")).unwrap();
            let variables = Variables::inherited([
                ("PATH", "/usr/local/bin:/usr/bin:/bin".to_owned()),
                ("HOME", root.to_string()),
                // Neither of these may lead it astray.
                ("GIT_DIR", "/nowhere".to_owned()),
                ("PASSWORD", "hunter2".to_owned()),
            ]);
            Self {
                _folder: folder,
                root,
                variables,
            }
        }

        fn new() -> Self {
            let repository = Self::empty();
            repository.git("init --quiet --initial-branch=main");
            repository.git("config user.name Somebody");
            repository.git("config user.email somebody@example.com");
            repository
        }

        /// Runs a git that writes, which the code under test never does.
        fn git(&self, arguments: &str) {
            let _ = self.output(arguments);
        }

        fn output(&self, arguments: &str) -> String {
            let words: Vec<&str> = arguments.split(' ').collect();
            let program = Executable::find("git", self.variables.only(VARIABLES))
                .unwrap()
                .leading(["-C", self.root.as_str()]);
            program.ask(&words).unwrap()
        }

        fn write(&self, path: &str, text: &str) {
            std::fs::write(self.root.join("work").join(path), text).unwrap();
        }

        fn commit(&self) {
            self.git("add --all");
            self.git("commit --quiet --message=change");
        }

        fn asked(&self) -> Git {
            Git::of(&self.root.join("work"), &self.variables).unwrap()
        }
    }

    #[test]
    fn what_differs_from_the_revision_is_reported() {
        let repository = Repository::new();
        let asked = repository.asked();
        repository.write("receipt.yaml", "1\n");
        let first = asked.state(&[]).unwrap();
        assert_eq!(first.revision, None);
        assert_eq!(first.changed, ["work/receipt.yaml"]);

        repository.write("a file", "1\n");
        repository.commit();
        let index = std::fs::read(repository.root.join(".git/index")).unwrap();
        let clean = asked.state(&[]).unwrap();
        assert_eq!(clean.revision.as_ref().map(String::len), Some(40));
        assert_eq!(clean.changed, [""; 0]);

        repository.write("a file", "2\n");
        repository.write("receipt.yaml", "2\n");
        repository.write("new", "1\n");
        std::fs::write(repository.root.join("outside"), "1\n").unwrap();
        let state = asked.state(&["**/receipt.yaml"]).unwrap();
        assert_eq!(state.revision, clean.revision);
        assert_eq!(state.changed, ["work/a file", "work/new"]);
        assert_eq!(
            std::fs::read(repository.root.join(".git/index")).unwrap(),
            index,
            "a question wrote to the index"
        );
    }

    #[test]
    fn a_file_has_the_contents_that_it_once_had() {
        let repository = Repository::new();
        let asked = repository.asked();
        let file = Utf8Path::new("receipt.yaml");
        assert_eq!(asked.history(file).unwrap(), []);
        for text in ["one\n", "two\n\nblob 3\n", "one\n", ""] {
            repository.write("receipt.yaml", text);
            repository.commit();
        }
        // A branch that was merged counts as well, though the file came out as it was before.
        repository.git("checkout --quiet -b other HEAD~1");
        repository.write("receipt.yaml", "on a branch\n");
        repository.commit();
        repository.git("checkout --quiet main");
        repository.git("merge --quiet --strategy=ours --no-edit other");
        std::fs::remove_file(repository.root.join("work/receipt.yaml")).unwrap();
        repository.commit();
        let texts = |history: Vec<Past>| -> Vec<String> {
            history.into_iter().map(|past| past.text).collect()
        };
        let history = asked.history(file).unwrap();
        assert!(history.iter().all(|past| past.committed > 1_600_000_000));
        let mut texts = texts(history);
        texts.sort();
        assert_eq!(texts, ["", "on a branch\n", "one\n", "two\n\nblob 3\n"]);
        assert_eq!(asked.history(Utf8Path::new("none")).unwrap(), []);
        assert!(!asked.is_cut().unwrap());
    }

    #[test]
    fn git_adds_what_is_in_the_repository_and_not_ignored() {
        let repository = Repository::new();
        let asked = repository.asked();
        repository.write(".gitignore", "/secret*\n");
        let work = repository.root.join("work");
        assert!(asked.would_add(&work.join("lab/pw.txt")).unwrap());
        assert!(asked.would_add(&work.join("lab/../pw.txt")).unwrap());
        assert!(!asked.would_add(&work.join("secret.txt")).unwrap());
        assert!(asked.would_add(Utf8Path::new("/elsewhere/pw.txt")).is_err());
    }

    #[test]
    fn a_long_history_is_read_in_pieces() {
        let repository = Repository::new();
        let mut stream = String::new();
        let versions = REVISIONS_AT_ONCE + 3;
        for version in 0..versions {
            let text = format!("{version}\n{}", "x".repeat(2000));
            stream.push_str(&format!(
                "commit refs/heads/main\ncommitter S <s@example.com> {} +0000\ndata 1\nx\n\
                 M 100644 inline work/lock.yaml\ndata {}\n{text}\n",
                1_700_000_000 + version,
                text.len(),
            ));
        }
        let program = Executable::find("git", repository.variables.only(VARIABLES))
            .unwrap()
            .leading(["-C", repository.root.as_str()]);
        program
            .answer(Question {
                input: stream.as_bytes(),
                ..Question::new(&["fast-import", "--quiet"])
            })
            .unwrap();
        let history = repository
            .asked()
            .history(Utf8Path::new("lock.yaml"))
            .unwrap();
        assert_eq!(history.len(), versions);
        let newest = &history[0];
        assert!(newest.text.starts_with(&format!("{}\n", versions - 1)));
        assert!(history[versions - 1].text.starts_with("0\n"));
    }

    #[test]
    fn settings_are_those_of_the_repository() {
        let asked = Repository::new().asked();
        // The folder is gone: git is asked where there is nothing.
        assert!(asked.setting("user.email").is_err());
        let repository = Repository::new();
        let asked = repository.asked();
        assert_eq!(
            asked.setting("user.email").unwrap().as_deref(),
            Some("somebody@example.com")
        );
        assert_eq!(asked.setting("user.signingkey").unwrap(), None);
    }

    // case 2.6
    #[test]
    fn programs_that_the_repository_names_are_not_started() {
        let repository = Repository::new();
        repository.write("receipt.yaml", "1\n");
        repository.write("a.bin", "1\n");
        repository.commit();
        let mark = repository.root.join("mark");
        let program = repository.root.join("program");
        std::fs::write(
            &program,
            format!("#!/bin/sh\necho \"$0 $*\" >> {mark}\ncat\n"),
        )
        .unwrap();
        std::fs::set_permissions(
            &program,
            std::os::unix::fs::PermissionsExt::from_mode(0o755),
        )
        .unwrap();
        // The commit has a signature, which `log.showSignature` would have checked.
        let signed = repository.root.join("signed");
        let commit = repository.output("cat-file commit HEAD");
        let (head, message) = commit.split_once("\n\n").unwrap();
        let signature = "gpgsig -----BEGIN PGP SIGNATURE-----\n \n x\n -----END PGP SIGNATURE-----";
        std::fs::write(&signed, format!("{head}\n{signature}\n\n{message}")).unwrap();
        let commit = repository.output(&format!("hash-object -t commit -w {signed}"));
        repository.git(&format!("update-ref refs/heads/main {}", commit.trim()));

        let config = repository.root.join(".git/config");
        let included = repository.root.join("included");
        let hostile = format!(
            "[include]\n\tpath = {included}\n[core]\n\tfsmonitor = {program}\n\thooksPath = {hooks}\n\tsshCommand = {program}\n\
             \tpager = {program}\n\teditor = {program}\n\taskPass = {program}\n\tgitProxy = {program}\n\
             \tattributesFile = {attributes}\n\tpartialCloneFilter = blob:none\n\
             [log]\n\tshowSignature = true\n[gpg]\n\tprogram = {program}\n[pager]\n\tstatus = {program}\n\trev-list = {program}\n\
             [alias]\n\tstatus = !{program}\n\trev-list = !{program}\n[diff]\n\texternal = {program}\n\
             [diff \"evil\"]\n\ttextconv = {program}\n\tcommand = {program}\n[credential]\n\thelper = {program}\n\
             [filter \"evil\"]\n\tclean = {program}\n\tsmudge = {program}\n\trequired = true\n\
             [status]\n\tsubmoduleSummary = true\n\
             [extensions]\n\tpartialClone = origin\n[remote \"origin\"]\n\turl = ext::{program}\n\tpromisor = true\n\tuploadpack = {program}\n\
             [protocol]\n\tallow = always\n",
            hooks = repository.root,
            attributes = repository.root.join("attributes"),
        );
        let before = std::fs::read_to_string(&config).unwrap();
        let before = before.replace("repositoryformatversion = 0", "repositoryformatversion = 1");
        std::fs::write(&config, before + &hostile).unwrap();
        std::fs::write(
            &included,
            format!("[filter \"Other.one\"]\n\tprocess = {program}\n"),
        )
        .unwrap();
        std::fs::copy(&program, repository.root.join("post-index-change")).unwrap();
        let attributes = "* filter=evil diff=evil\n*.bin filter=Other.one\n";
        for file in ["attributes", ".git/info/attributes", ".gitattributes"] {
            std::fs::write(repository.root.join(file), attributes).unwrap();
        }
        repository.write("receipt.yaml", "2\n");
        repository.write("a.bin", "2\n");

        let asked = repository.asked();
        let state = asked.state(&[]).unwrap();
        assert_eq!(state.changed, ["work/a.bin", "work/receipt.yaml"]);
        let history = asked.history(Utf8Path::new("receipt.yaml")).unwrap();
        assert_eq!(history.len(), 1);
        assert!(!asked.is_cut().unwrap());
        assert!(asked.setting("user.name").unwrap().is_some());
        // What is missing is not fetched.
        let objects = repository.root.join(".git/objects");
        std::fs::rename(&objects, repository.root.join(".git/away")).unwrap();
        std::fs::create_dir(&objects).unwrap();
        assert!(asked.history(Utf8Path::new("receipt.yaml")).is_err());
        let ran = std::fs::read_to_string(&mark).unwrap_or_default();
        assert_eq!(ran, "", "git started programs");

        std::fs::write(
            &included,
            format!("[filter \"a=b\"]\n\tprocess = {program}\n"),
        )
        .unwrap();
        assert!(matches!(asked.state(&[]), Err(Absent::Filter { .. })));
    }

    #[test]
    fn without_git_or_a_repository_nothing_is_returned() {
        let repository = Repository::empty();
        let asked = repository.asked();
        for answer in [
            asked.state(&[]).map(drop),
            asked.history(Utf8Path::new("x")).map(drop),
        ] {
            assert!(
                matches!(answer, Err(Absent::NoRepository { .. })),
                "{answer:?}"
            );
        }
        assert!(matches!(
            Git::of(&repository.root, &Variables::default()),
            Err(Absent::NotInstalled)
        ));
    }
}
