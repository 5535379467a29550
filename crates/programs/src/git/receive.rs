//! Receives commits from a git bundle. Nothing else writes to a repository.
//!
//! The branch moves last, after all other writes, so an interrupted run can be repeated. Local
//! changes are never overwritten. A file that already has the new content does not count as a local
//! change.

use std::collections::BTreeSet;
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};

use super::{Absent, Git, MAX_ANSWER_BYTES, names};
use crate::ask::Question;
use crate::{Error, Exit, Variables};

/// Time limit of a write. A history of a gigabyte on a slow disk takes minutes.
const LIMIT: Duration = Duration::from_secs(30 * 60);

/// Number of attempts while a different git holds a lock, and the pause between them.
const TRIES: u32 = 50;
const PAUSE: Duration = Duration::from_millis(100);

/// Settings for writing: no background maintenance and no signing program.
const SETTINGS: &[&str] = &[
    "gc.auto=0",
    "maintenance.auto=false",
    "commit.gpgSign=false",
    "core.symlinks=true",
];

/// Reference to the received commit, until the branch has it.
const INCOMING: &str = "refs/airlock/incoming";

/// The tree without files, which exists in every repository.
const EMPTY_TREE: &str = "4b825dc642cb6eb9a060e54bf8d69288fbee4904";

/// Reference to the last commit received from the other side.
const OUTSIDE: &str = "refs/airlock/outside";

/// Write access to a repository that receives commits.
#[derive(Debug, Clone)]
pub struct Receiver {
    git: Git,
    root: Utf8PathBuf,
}

/// The state of `HEAD`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// The checked-out branch, or `None` for a detached `HEAD`.
    pub branch: Option<String>,
    /// Full commit id; `None` before the first commit.
    pub commit: Option<String>,
}

impl Receiver {
    /// Returns git for the root of a repository, which may not exist yet.
    ///
    /// # Errors
    /// [`Absent::NotInstalled`].
    pub fn of(root: &Utf8Path, variables: &Variables) -> Result<Self, Absent> {
        let mut git = Git::of(root, variables)?;
        // A bundle is a local file.
        git.program.variables.set("GIT_ALLOW_PROTOCOL", "file");
        let settings = SETTINGS.iter().flat_map(|setting| ["-c", setting]);
        git.program.leading.extend(settings.map(ToOwned::to_owned));
        Ok(Self {
            git,
            root: root.to_owned(),
        })
    }

    /// Creates a repository whose first commit will be on `branch`, without this machine's template
    /// hooks. Does nothing to a repository with commits.
    ///
    /// # Errors
    /// Git fails.
    pub fn init(&self, branch: &str) -> Result<(), Absent> {
        self.run_in_new(&["init", "--quiet", "--template="])?;
        let branch = format!("refs/heads/{branch}");
        match self.commit("HEAD")? {
            Some(_) => Ok(()),
            None => self.run_in_new(&["symbolic-ref", "HEAD", &branch]),
        }
    }

    /// Runs git in a repository that may be new. If git fails and the repository has no commit yet,
    /// removes the locks that a killed git left and runs git again. No other git can hold them.
    fn run_in_new(&self, arguments: &[&str]) -> Result<(), Absent> {
        let Err(refused) = self.run(arguments) else {
            return Ok(());
        };
        if matches!(self.commit("HEAD"), Ok(Some(_))) {
            return Err(refused);
        }
        let locks = ["config.lock", "HEAD.lock"].map(|lock| self.root.join(".git").join(lock));
        let removed = locks.map(std::fs::remove_file);
        if removed.iter().all(Result::is_err) {
            return Err(refused);
        }
        self.run(arguments).map(drop)
    }

    /// Returns the root of the repository.
    ///
    /// # Errors
    /// [`Absent::NoRepository`], or git returned no result.
    pub fn top_level(&self) -> Result<Utf8PathBuf, Absent> {
        self.git.top_level()
    }

    /// Returns the state of `HEAD`.
    ///
    /// # Errors
    /// Git has no answer.
    pub fn head(&self) -> Result<Head, Absent> {
        Ok(Head {
            branch: self.line(&["symbolic-ref", "--quiet", "--short", "HEAD"])?,
            commit: self.commit("HEAD")?,
        })
    }

    /// Returns the last commit received from the other side.
    ///
    /// # Errors
    /// Git has no answer.
    pub fn outside(&self) -> Result<Option<String>, Absent> {
        self.commit(OUTSIDE)
    }

    /// Returns whether an earlier run was interrupted while it received the first commit.
    ///
    /// # Errors
    /// Git has no answer.
    pub fn has_begun(&self) -> Result<bool, Absent> {
        Ok(self.commit(INCOMING)?.is_some())
    }

    /// Returns the full id of a commit, or `None` if the repository lacks it.
    ///
    /// # Errors
    /// Git has no answer.
    pub fn commit(&self, name: &str) -> Result<Option<String>, Absent> {
        let name = format!("{name}^{{commit}}");
        self.line(&["rev-parse", "--verify", "--quiet", &name])
    }

    /// Fetches a commit from a bundle by its reference, such as `refs/heads/main`. Returns its id.
    ///
    /// # Errors
    /// The bundle is not valid, or requires commits that the repository lacks.
    pub fn fetch(&self, bundle: &Utf8Path, reference: &str) -> Result<String, Absent> {
        self.run(&["check-ref-format", "--allow-onelevel", reference])?;
        let refspec = format!("+{reference}:{INCOMING}");
        self.run(&[
            "fetch",
            "--quiet",
            "--no-tags",
            "--no-recurse-submodules",
            bundle.as_str(),
            &refspec,
        ])?;
        Ok(self.commit(INCOMING)?.unwrap_or_default())
    }

    /// Returns whether `older` equals `newer` or is its ancestor.
    ///
    /// # Errors
    /// Git has no answer.
    pub fn is_ancestor(&self, older: &str, newer: &str) -> Result<bool, Absent> {
        let answer = self.line(&["merge-base", "--is-ancestor", older, newer]);
        // Git answers with an empty line for an ancestor, and with exit code 1 otherwise.
        Ok(answer?.is_some())
    }

    /// Returns the number of commits of `newer` that are not in `older`.
    ///
    /// # Errors
    /// Git has no answer.
    pub fn count(&self, older: Option<&str>, newer: &str) -> Result<usize, Absent> {
        let range = older.map_or_else(|| newer.to_owned(), |older| format!("{older}..{newer}"));
        let answer = self.line(&["rev-list", "--count", &range])?;
        Ok(answer.and_then(|count| count.parse().ok()).unwrap_or(0))
    }

    /// Returns the messages and diffs, without context lines, of all commits of `HEAD` that are not
    /// in `without`.
    ///
    /// # Errors
    /// Git has no answer.
    pub fn changes(&self, without: &[String]) -> Result<String, Absent> {
        let without: Vec<String> = without.iter().map(|one| format!("^{one}")).collect();
        let mut arguments = vec![
            "log",
            "-p",
            // Of a merge, only the lines that no parent has.
            "--cc",
            "--unified=0",
            "--text",
            "--no-color",
            "--no-ext-diff",
            "--no-textconv",
            "--no-renames",
            "HEAD",
        ];
        arguments.extend(without.iter().map(String::as_str));
        let answer = self.run(&arguments)?;
        Ok(String::from_utf8_lossy(&answer).into_owned())
    }

    /// Returns the files with local changes that moving from one commit to the other would
    /// overwrite.
    ///
    /// # Errors
    /// Git has no answer.
    pub fn local_changes(&self, from: Option<&str>, to: &str) -> Result<Vec<String>, Absent> {
        let moves = self.moves(from, to)?;
        let conflicts = moves
            .into_iter()
            .filter(|one| !one.is_clean && !one.is_done);
        Ok(conflicts.map(|one| one.path).collect())
    }

    /// Moves the working tree and the branch to a commit. [`Receiver::local_changes`] must have
    /// returned an empty list.
    ///
    /// # Errors
    /// Git fails. The branch is unchanged then.
    pub fn advance(&self, from: Option<&str>, to: &str) -> Result<(), Absent> {
        match from {
            None => drop(self.unfiltered(&["read-tree", "--reset", "-u", to], &[])?),
            Some(from) => {
                // Git treats a changed file as a local change even if it equals the new commit,
                // unless the change is in the index.
                let done = self.moves(Some(from), to)?.into_iter();
                let done: Vec<String> = done
                    .filter(|one| one.is_done && !one.is_clean)
                    .map(|one| format!("{}\0", one.path))
                    .collect();
                if !done.is_empty() {
                    let update = ["update-index", "--add", "--remove", "-z", "--stdin"];
                    self.unfiltered(&update, done.concat().as_bytes())?;
                }
                self.unfiltered(&["read-tree", "-m", "-u", from, to], &[])?;
            }
        }
        self.update_ref("HEAD", to)?;
        self.set_outside(to)
    }

    /// Returns the files with local changes that merging a commit would change.
    ///
    /// # Errors
    /// Git has no answer.
    pub fn overwritten(&self, commit: &str) -> Result<Vec<String>, Absent> {
        let base = self.line(&["merge-base", "HEAD", commit])?;
        let base = base.unwrap_or_else(|| EMPTY_TREE.to_owned());
        let mut files = self.git.changed_between(&base, commit)?;
        let changed = self.git.state(&[])?.changed;
        files.retain(|file| changed.contains(file));
        Ok(files)
    }

    /// Merges a commit into the branch, with a merge commit if both sides have new commits. A
    /// conflict changes nothing.
    ///
    /// # Errors
    /// Git fails. The inner error lists the files in conflict.
    pub fn merge(&self, commit: &str, message: &str) -> Result<Result<(), Vec<String>>, Absent> {
        let mut arguments = Vec::new();
        for (name, default) in [
            ("user.name", "Airlock"),
            ("user.email", "airlock@localhost"),
        ] {
            if self.git.setting(name)?.is_none() {
                arguments.extend(["-c".to_owned(), format!("{name}={default}")]);
            }
        }
        arguments
            .extend(["merge", "--quiet", "--no-edit", "-m", message, commit].map(str::to_owned));
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let Err(refused) = self.unfiltered(&arguments, &[]) else {
            return Ok(Ok(()));
        };
        let unmerged = ["diff", "--name-only", "--diff-filter=U", "-z"];
        let conflicts = names(&self.run(&unmerged)?);
        if conflicts.is_empty() {
            return Err(refused);
        }
        self.run(&["merge", "--abort"])?;
        Ok(Err(conflicts))
    }

    /// Records the last commit received from the other side.
    ///
    /// # Errors
    /// Git fails.
    pub fn set_outside(&self, commit: &str) -> Result<(), Absent> {
        self.update_ref(OUTSIDE, commit)
    }

    fn update_ref(&self, name: &str, commit: &str) -> Result<(), Absent> {
        self.run(&["update-ref", "-m", "airlock unpack", name, commit])
            .map(drop)
    }

    /// Returns the files that change between two commits, with their local state.
    fn moves(&self, from: Option<&str>, to: &str) -> Result<Vec<Move>, Absent> {
        let listed = match from {
            Some(from) => self.run(&[
                "diff-tree",
                "-r",
                "--no-renames",
                "--name-status",
                "-z",
                from,
                to,
            ])?,
            None => {
                let files = self.run(&["ls-tree", "-r", "--name-only", "-z", to])?;
                let added = names(&files).into_iter().map(|name| format!("A\0{name}\0"));
                added.collect::<String>().into_bytes()
            }
        };
        let changed: BTreeSet<String> = self.git.state(&[])?.changed.into_iter().collect();
        let differing = self.differing(to)?;
        let listed = names(&listed);
        let pairs = listed.chunks_exact(2);
        Ok(pairs
            .map(|pair| {
                let (kind, path) = (pair[0].as_str(), &pair[1]);
                let exists = self.root.join(path).symlink_metadata().is_ok();
                Move {
                    is_clean: !changed.contains(path) && (kind != "A" || !exists),
                    is_done: match kind {
                        "D" => !exists,
                        _ => !differing.contains(path),
                    },
                    path: path.clone(),
                }
            })
            .collect())
    }

    /// Returns the files of the working tree that differ from a commit. Uses a temporary index.
    fn differing(&self, commit: &str) -> Result<BTreeSet<String>, Absent> {
        let folder = self.line(&["rev-parse", "--absolute-git-dir"])?;
        let folder = Utf8PathBuf::from(folder.unwrap_or_default());
        let index = tempfile::Builder::new()
            .prefix("airlock-index-")
            .tempdir_in(&folder)
            .map_err(|source| Absent::Refused {
                source: Error::start(folder, source),
            })?;
        let mut other = self.clone();
        let file = index.path().join("index");
        other.git.program.variables.set("GIT_INDEX_FILE", file);
        other.run(&["read-tree", commit])?;
        // It exits with an error if files differ.
        let _ = other.run(&["update-index", "-q", "--refresh"]);
        Ok(names(&other.run(&["diff-files", "--name-only", "-z"])?)
            .into_iter()
            .collect())
    }

    /// Returns the trimmed answer, or `None` if git exits with code 1.
    fn line(&self, arguments: &[&str]) -> Result<Option<String>, Absent> {
        match self.run(arguments) {
            Ok(answer) => Ok(Some(String::from_utf8_lossy(&answer).trim().to_owned())),
            Err(Absent::Refused {
                source:
                    Error::Failed {
                        exit: Exit::Code(1),
                        ..
                    },
            }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Runs a command that writes files, with the configured filters disabled.
    fn unfiltered(&self, arguments: &[&str], input: &[u8]) -> Result<Vec<u8>, Absent> {
        let without_filters = self.git.without_filters()?;
        let filters = without_filters.iter().map(String::as_str);
        let arguments: Vec<&str> = filters.chain(arguments.iter().copied()).collect();
        self.run_with_input(&arguments, input)
    }

    fn run(&self, arguments: &[&str]) -> Result<Vec<u8>, Absent> {
        self.run_with_input(arguments, &[])
    }

    /// Runs git, and repeats the call while a different git holds a lock. That of a killed run ends
    /// soon.
    fn run_with_input(&self, arguments: &[&str], input: &[u8]) -> Result<Vec<u8>, Absent> {
        let question = Question {
            arguments,
            input,
            with_errors: false,
            limit: LIMIT,
            max_bytes: MAX_ANSWER_BYTES,
        };
        for _ in 1..TRIES {
            match self.git.question(question) {
                Err(Absent::Refused {
                    source: Error::Failed { output, .. },
                }) if is_locked(&output) => std::thread::sleep(PAUSE),
                result => return result,
            }
        }
        let result = self.git.question(question);
        // Only this program writes below `refs/airlock`, for milliseconds each time. The git that
        // holds this lock was killed.
        let lock = result.as_ref().err().and_then(Absent::lock);
        match lock.filter(|lock| lock.as_str().contains("/refs/airlock/")) {
            Some(lock) if std::fs::remove_file(lock).is_ok() => self.git.question(question),
            _ => result,
        }
    }
}

/// Returns whether git found a lock: `index.lock: File exists` or `could not lock config file`.
fn is_locked(output: &str) -> bool {
    output.contains("lock") && output.contains("File exists")
}

/// A file that changes between two commits.
struct Move {
    path: String,
    /// Whether it has no local change.
    is_clean: bool,
    /// Whether it already has the content of the new commit.
    is_done: bool,
}
