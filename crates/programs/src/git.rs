//! Reads the workspace's git repository: the commit, differing files, earlier contents of a file.
//!
//! Only [`Receiver`] writes; everything else leaves even git's index unchanged. Git holds the only
//! history of receipts and locks.
//!
//! A workspace may come from elsewhere, with a git configuration that names programs. Queries run
//! none of them: they use plumbing commands where possible, and override every setting by which
//! `status` would start a program.

use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};

use crate::ask::Question;
use crate::{Error, Executable, Variables};

mod bundle;
mod receive;

pub use receive::{Head, Receiver};

/// Time limit of a query. A cold start on a slow disk with a large tree takes a few seconds.
const LIMIT: Duration = Duration::from_secs(15);

/// Maximum bytes of an answer: the history of a lock has a megabyte per version.
const MAX_ANSWER_BYTES: usize = 256 << 20;

/// Settings that override those of the repository. Each would otherwise start a program or show
/// different objects.
const SETTINGS: &[&str] = &[
    "core.fsmonitor=false",
    "core.hooksPath=/dev/null",
    "log.showSignature=false",
    "status.submoduleSummary=false",
    "safe.bareRepository=explicit",
];

/// The settings by which a filter starts a program, with the values that disable it.
const FILTER_SETTINGS: &[&str] = &["clean=", "smudge=", "process=", "required=false"];

/// Number of revisions whose content is read in one call.
const REVISIONS_PER_CALL: usize = 256;

/// The variables passed on: the locations of programs and settings, and the user. No others: git
/// needs no secrets, and a hook's `GIT_DIR` would select a different repository.
const VARIABLES: &[&str] = &["PATH", "HOME", "XDG_CONFIG_HOME"];

/// Read-only access to the repository of a folder.
#[derive(Debug, Clone)]
pub struct Git {
    program: Executable,
}

/// Why git gave no answer. Callers need not fail: a workspace may be outside of any repository.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Absent {
    /// Git is not installed.
    #[error("git is not installed")]
    NotInstalled,
    /// The folder is not in a repository.
    #[error("`{folder}` is not in a git repository")]
    NoRepository {
        /// The folder that git ran in.
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
        /// Name of the filter in the configuration.
        filter: String,
    },
    /// The repository has no such commit.
    #[error("`{revision}` is not a commit of the repository")]
    Revision {
        /// The revision as the caller gave it.
        revision: String,
    },
    /// Git refused, failed, or exceeded its time limit.
    #[error("git returned no result")]
    Refused {
        /// The failure of the program.
        source: Error,
    },
}

impl Absent {
    /// Returns the lock file in git's message. A git that was killed may have left it.
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
}

/// The commit of a workspace, and the files that differ from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    /// The full commit id of `HEAD`; `None` before the first commit.
    pub revision: Option<String>,
    /// Files that differ from the commit or are not in it, relative to the repository's root,
    /// sorted.
    pub changed: Vec<String>,
}

/// An earlier content of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Past {
    /// Full id of a commit with this content.
    pub revision: String,
    /// Time of the commit, in seconds since 1970.
    pub committed: i64,
    /// Content of the file.
    pub text: String,
}

impl Git {
    /// Returns git for a folder, with `PATH` and `HOME` from `variables`. The folder need not be in
    /// a repository.
    ///
    /// # Errors
    ///
    /// [`Absent::NotInstalled`].
    pub fn of(folder: &Utf8Path, variables: &Variables) -> Result<Self, Absent> {
        let mut kept = variables.only(VARIABLES);
        // Queries must not change the index, and messages are parsed.
        kept.set("GIT_OPTIONAL_LOCKS", "0");
        kept.set("LC_ALL", "C");
        // In a partial clone git would download missing objects, over a transport that the
        // repository's configuration names.
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

    /// Returns the root of the folder's repository.
    ///
    /// # Errors
    ///
    /// [`Absent::NoRepository`], or git has no answer.
    pub fn top_level(&self) -> Result<Utf8PathBuf, Absent> {
        let answer = self.ask(&["rev-parse", "--show-toplevel"], &[])?;
        Ok(String::from_utf8_lossy(&answer)
            .trim_end_matches('\n')
            .into())
    }

    /// Returns the commit of the folder and the files that differ from it. Files that git ignores
    /// or that match a pattern in `excluded` do not count.
    ///
    /// # Errors
    ///
    /// Git has no answer.
    pub fn state(&self, excluded: &[&str]) -> Result<State, Absent> {
        let excluded: Vec<String> = excluded
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
            // Git must not enter a submodule, whose configuration is not checked.
            "--ignore-submodules=dirty",
            "-z",
            "--",
            ".",
        ]);
        arguments.extend(excluded.iter().map(String::as_str));
        let answer = self.ask(&arguments, &[])?;
        Ok(state(&String::from_utf8_lossy(&answer)))
    }

    /// Returns the contents of a file at the commits that changed it, newest first, including
    /// merged branches and a file that was deleted since. Equal contents are returned once. `file`
    /// is relative to the folder.
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
        for commits in commits.chunks(REVISIONS_PER_CALL) {
            let objects: String = commits
                .iter()
                .map(|(revision, _)| format!("{revision}:./{file}\n"))
                .collect();
            let answer = self.ask(&["cat-file", "--batch"], objects.as_bytes())?;
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

    /// Returns the content of a file at a revision, or `None` if it does not exist there or is not
    /// UTF-8. `file` is relative to the folder.
    ///
    /// # Errors
    ///
    /// [`Absent::Revision`] for an unknown revision, or git has no answer. Before the first commit,
    /// `HEAD` is known and has no files.
    pub fn at(&self, revision: &str, file: &Utf8Path) -> Result<Option<String>, Absent> {
        let unknown = || Absent::Revision {
            revision: redaction::line(revision, 100),
        };
        if revision.contains(char::is_whitespace) {
            return Err(unknown());
        }
        let object = format!("{revision}^{{commit}}\n");
        let answer = self.ask(&["cat-file", "--batch-check"], object.as_bytes())?;
        if !answer.ends_with(b"\n") || answer.trim_ascii_end().ends_with(b" missing") {
            return match revision {
                "HEAD" => Ok(None),
                _ => Err(unknown()),
            };
        }
        let object = format!("{revision}:./{file}\n");
        let answer = self.ask(&["cat-file", "--batch"], object.as_bytes())?;
        Ok(contents(&answer).pop().flatten())
    }

    /// Returns the committed files that match `pattern` and are missing in the working tree,
    /// relative to the folder.
    ///
    /// # Errors
    ///
    /// Git has no answer.
    pub fn missing(&self, pattern: &str) -> Result<Vec<String>, Absent> {
        let answer = self.ask(&["ls-files", "--deleted", "-z", "--", pattern], &[])?;
        Ok(names(&answer))
    }

    /// Returns those of `files` that `git add` would skip because a pattern ignores them. The files
    /// need not exist.
    ///
    /// # Errors
    ///
    /// A file is outside of the repository, or git has no answer.
    pub fn ignored(&self, files: &[Utf8PathBuf]) -> Result<Vec<Utf8PathBuf>, Absent> {
        let input: String = files.iter().map(|file| format!("{file}\0")).collect();
        match self.ask(&["check-ignore", "-z", "--stdin"], input.as_bytes()) {
            Ok(answer) => Ok(names(&answer).into_iter().map(Utf8PathBuf::from).collect()),
            // Its only failure without a message: no file is ignored.
            Err(Absent::Refused {
                source: Error::Failed { output, .. },
            }) if output.is_empty() => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    /// Returns whether the clone is shallow, so [`Git::history`] may be incomplete.
    ///
    /// # Errors
    ///
    /// Git has no answer.
    pub fn is_shallow(&self) -> Result<bool, Absent> {
        let answer = self.ask(&["rev-parse", "--is-shallow-repository"], &[])?;
        Ok(answer.trim_ascii() == b"true")
    }

    /// Returns a setting such as `user.email` of the repository or the user, or `None` if it is not
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

    /// Returns arguments that disable the program of each configured filter. Attributes cannot be
    /// disabled instead: `.git/info/attributes` always applies.
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
        // On the command line, the name of a setting ends at the first `=`.
        if let Some(filter) = filters.iter().find(|filter| filter.contains('=')) {
            return Err(Absent::Filter {
                filter: (*filter).to_owned(),
            });
        }
        let settings = filters.iter().flat_map(|filter| {
            let settings = FILTER_SETTINGS.iter();
            settings.map(move |setting| format!("filter.{filter}.{setting}"))
        });
        Ok(settings
            .flat_map(|setting| ["-c".to_owned(), setting])
            .collect())
    }

    fn ask(&self, arguments: &[&str], input: &[u8]) -> Result<Vec<u8>, Absent> {
        self.question(Question {
            arguments,
            input,
            with_errors: false,
            limit: LIMIT,
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

/// Parses the output of `git status --porcelain=v2 --branch -z`.
fn state(answer: &str) -> State {
    let mut revision = None;
    let mut changed = Vec::new();
    for entry in answer.split('\0') {
        // Number of fields before the path, by the kind of entry.
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

/// Parses `git cat-file --batch`: the content of each requested object, or `None` for one that is
/// missing or is not UTF-8.
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
        // The content is followed by a line end of its own.
        rest = rest.get(content.len() + 1..).unwrap_or_default();
    }
    contents
}

/// Splits names that end with NUL.
fn names(answer: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(answer);
    text.split_terminator('\0').map(str::to_owned).collect()
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
                // Neither must reach git.
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

        /// Runs a git command that writes.
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

        fn reader(&self) -> Git {
            Git::of(&self.root.join("work"), &self.variables).unwrap()
        }
    }

    #[test]
    fn files_that_differ_from_the_commit_are_reported() {
        let repository = Repository::new();
        let git = repository.reader();
        repository.write("receipt.yaml", "1\n");
        let first = git.state(&[]).unwrap();
        assert_eq!(first.revision, None);
        assert_eq!(first.changed, ["work/receipt.yaml"]);

        repository.write("a file", "1\n");
        repository.commit();
        let index = std::fs::read(repository.root.join(".git/index")).unwrap();
        let clean = git.state(&[]).unwrap();
        assert_eq!(clean.revision.as_ref().map(String::len), Some(40));
        assert_eq!(clean.changed, [""; 0]);

        repository.write("a file", "2\n");
        repository.write("receipt.yaml", "2\n");
        repository.write("new", "1\n");
        std::fs::write(repository.root.join("outside"), "1\n").unwrap();
        let state = git.state(&["**/receipt.yaml"]).unwrap();
        assert_eq!(state.revision, clean.revision);
        assert_eq!(state.changed, ["work/a file", "work/new"]);
        assert_eq!(
            std::fs::read(repository.root.join(".git/index")).unwrap(),
            index,
            "a question wrote to the index"
        );
    }

    #[test]
    fn earlier_contents_of_a_file_are_returned() {
        let repository = Repository::new();
        let git = repository.reader();
        let file = Utf8Path::new("receipt.yaml");
        assert_eq!(git.history(file).unwrap(), []);
        for text in ["one\n", "two\n\nblob 3\n", "one\n", ""] {
            repository.write("receipt.yaml", text);
            repository.commit();
        }
        // A merged branch counts, even if the merge discarded its change.
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
        let history = git.history(file).unwrap();
        assert!(history.iter().all(|past| past.committed > 1_600_000_000));
        let mut texts = texts(history);
        texts.sort();
        assert_eq!(texts, ["", "on a branch\n", "one\n", "two\n\nblob 3\n"]);
        assert_eq!(git.history(Utf8Path::new("none")).unwrap(), []);
        assert!(!git.is_shallow().unwrap());
    }

    #[test]
    fn ignored_files_are_recognised() {
        let repository = Repository::new();
        let git = repository.reader();
        repository.write(".gitignore", "/secret*\n");
        let work = repository.root.join("work");
        let files = ["lab/pw.txt", "lab/../pw.txt"].map(|file| work.join(file));
        assert_eq!(git.ignored(&files).unwrap(), [""; 0]);
        let mut files = files.to_vec();
        files.push(work.join("secret.txt"));
        assert_eq!(git.ignored(&files).unwrap(), files[2..]);
        assert!(git.ignored(&["/elsewhere/pw.txt".into()]).is_err());
    }

    #[test]
    fn a_long_history_is_read_in_batches() {
        let repository = Repository::new();
        let mut stream = String::new();
        let versions = REVISIONS_PER_CALL + 3;
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
            .reader()
            .history(Utf8Path::new("lock.yaml"))
            .unwrap();
        assert_eq!(history.len(), versions);
        let newest = &history[0];
        assert!(newest.text.starts_with(&format!("{}\n", versions - 1)));
        assert!(history[versions - 1].text.starts_with("0\n"));
    }

    #[test]
    fn settings_are_those_of_the_repository() {
        let git = Repository::new().reader();
        // The folder was deleted, so git fails.
        assert!(git.setting("user.email").is_err());
        let repository = Repository::new();
        let git = repository.reader();
        assert_eq!(
            git.setting("user.email").unwrap().as_deref(),
            Some("somebody@example.com")
        );
        assert_eq!(git.setting("user.signingkey").unwrap(), None);
    }

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
        // `log.showSignature` would check the signature of this commit.
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

        let git = repository.reader();
        let state = git.state(&[]).unwrap();
        assert_eq!(state.changed, ["work/a.bin", "work/receipt.yaml"]);
        let history = git.history(Utf8Path::new("receipt.yaml")).unwrap();
        assert_eq!(history.len(), 1);
        assert!(!git.is_shallow().unwrap());
        assert!(git.setting("user.name").unwrap().is_some());
        // Missing objects are not fetched.
        let objects = repository.root.join(".git/objects");
        std::fs::rename(&objects, repository.root.join(".git/away")).unwrap();
        std::fs::create_dir(&objects).unwrap();
        assert!(git.history(Utf8Path::new("receipt.yaml")).is_err());
        let ran = std::fs::read_to_string(&mark).unwrap_or_default();
        assert_eq!(ran, "", "git started programs");

        std::fs::write(
            &included,
            format!("[filter \"a=b\"]\n\tprocess = {program}\n"),
        )
        .unwrap();
        assert!(matches!(git.state(&[]), Err(Absent::Filter { .. })));
    }

    #[test]
    fn without_git_or_a_repository_nothing_is_returned() {
        let repository = Repository::empty();
        let git = repository.reader();
        for answer in [
            git.state(&[]).map(drop),
            git.history(Utf8Path::new("x")).map(drop),
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
