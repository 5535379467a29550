//! Takes commits out of a git bundle: the one part that writes to a repository.
//!
//! A branch moves last, and only after everything else is written, so an interrupted run is
//! repeated. Local changes are never overwritten: a file that already has the new content is not
//! one.

use std::collections::BTreeSet;
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};

use super::{Absent, Git, MAX_ANSWER_BYTES};
use crate::ask::Question;
use crate::{Error, Exit, Variables};

/// How long git may take to write. A history of a gigabyte on a slow disk takes minutes.
const LIMIT: Duration = Duration::from_secs(30 * 60);

/// How often a file that a different git has locked is tried again, and after what time.
const TRIES: u32 = 50;
const PAUSE: Duration = Duration::from_millis(100);

/// Settings for writing. Nothing is cleaned up in the background, and no program signs.
const SETTINGS: &[&str] = &[
    "gc.auto=0",
    "maintenance.auto=false",
    "commit.gpgSign=false",
    "core.symlinks=true",
];

/// Where commits are kept that a bundle has brought, until the branch has them.
const INCOMING: &str = "refs/airlock/incoming";

/// The tree without files, which every repository has.
const EMPTY_TREE: &str = "4b825dc642cb6eb9a060e54bf8d69288fbee4904";

/// The last commit that the other side has brought.
const OUTSIDE: &str = "refs/airlock/outside";

/// Git, for a repository that receives commits.
#[derive(Debug, Clone)]
pub struct Receiver {
    git: Git,
    root: Utf8PathBuf,
}

/// What `HEAD` is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// The branch that is checked out; none if a commit is.
    pub branch: Option<String>,
    /// The commit; none if nothing was committed yet.
    pub commit: Option<String>,
}

impl Receiver {
    /// Returns git for the root of a repository, which may not exist yet.
    ///
    /// # Errors
    /// [`Absent::NotInstalled`].
    pub fn of(root: &Utf8Path, variables: &Variables) -> Result<Self, Absent> {
        let mut git = Git::of(root, variables)?;
        // A bundle is a file.
        git.program.variables.set("GIT_ALLOW_PROTOCOL", "file");
        let settings = SETTINGS.iter().flat_map(|setting| ["-c", setting]);
        git.program.leading.extend(settings.map(ToOwned::to_owned));
        Ok(Self {
            git,
            root: root.to_owned(),
        })
    }

    /// Makes a repository whose first commit will be on this branch, without hooks and settings of
    /// this machine's templates. One that has commits stays as it is.
    ///
    /// # Errors
    /// Git refuses.
    pub fn init(&self, branch: &str) -> Result<(), Absent> {
        let make = || self.tell(&["init", "--quiet", "--template="]);
        if let Err(refused) = make() {
            // A git that is killed just after it made its lock leaves it. Here no other git is at
            // work: the repository has no commit yet.
            let lock = self.root.join(".git/config.lock");
            let is_begun = !matches!(self.commit("HEAD"), Ok(Some(_)));
            if !is_begun || std::fs::remove_file(lock).is_err() {
                return Err(refused);
            }
            make()?;
        }
        let branch = format!("refs/heads/{branch}");
        match self.commit("HEAD")? {
            Some(_) => Ok(()),
            None => self.tell(&["symbolic-ref", "HEAD", &branch]).map(drop),
        }
    }

    /// Returns the root of the repository.
    ///
    /// # Errors
    /// [`Absent::NoRepository`], or git returned no result.
    pub fn top_level(&self) -> Result<Utf8PathBuf, Absent> {
        let answer = self.line(&["rev-parse", "--show-toplevel"])?;
        Ok(answer.map_or_else(|| self.root.clone(), Utf8PathBuf::from))
    }

    /// Returns what is checked out.
    ///
    /// # Errors
    /// Git has no answer.
    pub fn head(&self) -> Result<Head, Absent> {
        Ok(Head {
            branch: self.line(&["symbolic-ref", "--quiet", "--short", "HEAD"])?,
            commit: self.commit("HEAD")?,
        })
    }

    /// Returns the last commit that a bundle of the other side has brought.
    ///
    /// # Errors
    /// Git has no answer.
    pub fn outside(&self) -> Result<Option<String>, Absent> {
        self.commit(OUTSIDE)
    }

    /// Returns whether an earlier run began to receive the first commit and was interrupted.
    ///
    /// # Errors
    /// Git has no answer.
    pub fn has_begun(&self) -> Result<bool, Absent> {
        Ok(self.commit(INCOMING)?.is_some())
    }

    /// Returns the full name of a commit; none if the repository lacks it.
    ///
    /// # Errors
    /// Git has no answer.
    pub fn commit(&self, name: &str) -> Result<Option<String>, Absent> {
        let name = format!("{name}^{{commit}}");
        self.line(&["rev-parse", "--verify", "--quiet", &name])
    }

    /// Takes a commit out of a bundle's file by its reference, `refs/heads/main`, and returns it.
    ///
    /// # Errors
    /// The bundle is not valid, or builds on commits that the repository lacks.
    pub fn fetch(&self, bundle: &Utf8Path, reference: &str) -> Result<String, Absent> {
        self.tell(&["check-ref-format", "--allow-onelevel", reference])?;
        let refspec = format!("+{reference}:{INCOMING}");
        self.tell(&[
            "fetch",
            "--quiet",
            "--no-tags",
            "--no-recurse-submodules",
            bundle.as_str(),
            &refspec,
        ])?;
        Ok(self.commit(INCOMING)?.unwrap_or_default())
    }

    /// Returns whether a commit is the other one or among its ancestors.
    ///
    /// # Errors
    /// Git has no answer.
    pub fn is_ancestor(&self, older: &str, newer: &str) -> Result<bool, Absent> {
        let asked = self.line(&["merge-base", "--is-ancestor", older, newer]);
        // An ancestor is answered by an empty line, anything else by exit code 1.
        Ok(asked?.is_some())
    }

    /// Returns how many commits of `newer` are not in `older`.
    ///
    /// # Errors
    /// Git has no answer.
    pub fn count(&self, older: Option<&str>, newer: &str) -> Result<usize, Absent> {
        let range = older.map_or_else(|| newer.to_owned(), |older| format!("{older}..{newer}"));
        let answer = self.line(&["rev-list", "--count", &range])?;
        Ok(answer.and_then(|count| count.parse().ok()).unwrap_or(0))
    }

    /// Returns the messages and changes of all commits that are checked out and not in `without`,
    /// as text without context.
    ///
    /// # Errors
    /// Git has no answer.
    pub fn changes(&self, without: &[String]) -> Result<String, Absent> {
        let without: Vec<String> = without.iter().map(|one| format!("^{one}")).collect();
        let mut arguments = vec![
            "log",
            "-p",
            // Of a merge, only what none of its parents has.
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
        let answer = self.tell(&arguments)?;
        Ok(String::from_utf8_lossy(&answer).into_owned())
    }

    /// Returns the files of the working tree that moving from one commit to the other would
    /// overwrite, although they have changes.
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
    /// returned nothing, unless `force` says that the files are those of an interrupted run.
    ///
    /// # Errors
    /// Git refuses; the branch is where it was.
    pub fn advance(&self, from: Option<&str>, to: &str) -> Result<(), Absent> {
        match from {
            None => drop(self.unfiltered(&["read-tree", "--reset", "-u", to], &[])?),
            Some(from) => {
                // Git takes changes for local ones even if they are what the commit has: it gets
                // them as changes of the index.
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
        self.brought(to)
    }

    /// Returns the files with local changes that a merge of a commit would change.
    ///
    /// # Errors
    /// Git has no answer.
    pub fn overwritten(&self, commit: &str) -> Result<Vec<String>, Absent> {
        let base = self.line(&["merge-base", "HEAD", commit])?;
        let base = base.unwrap_or_else(|| EMPTY_TREE.to_owned());
        let arguments = [
            "diff-tree",
            "-r",
            "--no-renames",
            "--name-only",
            "-z",
            &base,
            commit,
        ];
        let mut files = names(&self.tell(&arguments)?);
        let changed = self.git.state(&[])?.changed;
        files.retain(|file| changed.contains(file));
        Ok(files)
    }

    /// Merges a commit into the branch, with a commit of its own where the branch has moved on too.
    /// Nothing changes on a conflict.
    ///
    /// # Errors
    /// Git refuses. The inner error: the files in conflict.
    pub fn merge(&self, commit: &str, message: &str) -> Result<Result<(), Vec<String>>, Absent> {
        let mut arguments = Vec::new();
        for (name, otherwise) in [
            ("user.name", "Airlock"),
            ("user.email", "airlock@localhost"),
        ] {
            if self.git.setting(name)?.is_none() {
                arguments.extend(["-c".to_owned(), format!("{name}={otherwise}")]);
            }
        }
        arguments
            .extend(["merge", "--quiet", "--no-edit", "-m", message, commit].map(str::to_owned));
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let Err(refused) = self.unfiltered(&arguments, &[]) else {
            return Ok(Ok(()));
        };
        let unmerged = ["diff", "--name-only", "--diff-filter=U", "-z"];
        let conflicts = names(&self.tell(&unmerged)?);
        if conflicts.is_empty() {
            return Err(refused);
        }
        self.tell(&["merge", "--abort"])?;
        Ok(Err(conflicts))
    }

    /// Takes note of the last commit that the other side has brought.
    ///
    /// # Errors
    /// Git refuses.
    pub fn brought(&self, commit: &str) -> Result<(), Absent> {
        self.update_ref(OUTSIDE, commit)
    }

    fn update_ref(&self, name: &str, commit: &str) -> Result<(), Absent> {
        self.tell(&["update-ref", "-m", "airlock unpack", name, commit])
            .map(drop)
    }

    /// Returns what each file goes through on the way from one commit to the other.
    fn moves(&self, from: Option<&str>, to: &str) -> Result<Vec<Move>, Absent> {
        let listed = match from {
            Some(from) => self.tell(&[
                "diff-tree",
                "-r",
                "--no-renames",
                "--name-status",
                "-z",
                from,
                to,
            ])?,
            None => {
                let files = self.tell(&["ls-tree", "-r", "--name-only", "-z", to])?;
                let added = names(&files).into_iter().map(|name| format!("A\0{name}\0"));
                added.collect::<String>().into_bytes()
            }
        };
        let changed: BTreeSet<String> = self.git.state(&[])?.changed.into_iter().collect();
        let other = self.unlike(to)?;
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
                        _ => !other.contains(path),
                    },
                    path: path.clone(),
                }
            })
            .collect())
    }

    /// Returns the files of the working tree that are not what a commit has, found by an index of
    /// its own.
    fn unlike(&self, commit: &str) -> Result<BTreeSet<String>, Absent> {
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
        other.tell(&["read-tree", commit])?;
        // It returns an exit code for files that differ.
        let _ = other.tell(&["update-index", "-q", "--refresh"]);
        Ok(names(&other.tell(&["diff-files", "--name-only", "-z"])?)
            .into_iter()
            .collect())
    }

    /// Returns the first line of an answer; nothing if git answers by exit code 1.
    fn line(&self, arguments: &[&str]) -> Result<Option<String>, Absent> {
        match self.tell(arguments) {
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

    /// Runs a command that writes files, without the filters of the configuration.
    fn unfiltered(&self, arguments: &[&str], input: &[u8]) -> Result<Vec<u8>, Absent> {
        let without_filters = self.git.without_filters()?;
        let filters = without_filters.iter().map(String::as_str);
        let arguments: Vec<&str> = filters.chain(arguments.iter().copied()).collect();
        self.tell_with(&arguments, input)
    }

    fn tell(&self, arguments: &[&str]) -> Result<Vec<u8>, Absent> {
        self.tell_with(arguments, &[])
    }

    /// Runs git, again while a different git holds a lock on a file: that of a run that was killed
    /// ends soon.
    fn tell_with(&self, arguments: &[&str], input: &[u8]) -> Result<Vec<u8>, Absent> {
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
        // Only this program writes there, and each time for milliseconds: the git that made this
        // lock was killed.
        let lock = result.as_ref().err().and_then(Absent::lock);
        match lock.filter(|lock| lock.as_str().contains("/refs/airlock/")) {
            Some(lock) if std::fs::remove_file(lock).is_ok() => self.git.question(question),
            _ => result,
        }
    }
}

/// Returns whether git found the lock of a file, `index.lock: File exists` or
/// `could not lock config file`.
fn is_locked(output: &str) -> bool {
    output.contains("lock") && output.contains("File exists")
}

/// What a file goes through.
struct Move {
    path: String,
    /// It has no local change.
    is_clean: bool,
    /// It already has the content that it shall have.
    is_done: bool,
}

fn names(answer: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(answer);
    text.split_terminator('\0').map(str::to_owned).collect()
}
