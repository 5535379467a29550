//! Gathers what is needed and what Airlock pushed, from receipts and locks, now and in git's
//! history.

use std::collections::{BTreeMap, BTreeSet};

use bundle::Lock;
use camino::{Utf8Path, Utf8PathBuf};
use environment::Environment;

use super::Scope;
use super::file::KeptLock;
use super::propose::{PastLock, Retained};
use crate::receipt::Receipt;
use crate::shared_state::{self, Conflict, Phase, State, StateFault};
use crate::workspace::{DEFAULT_ARCH, Output, read_if_exists};
use crate::{Context, Error, Workspace, chain, prune, verify};

/// The result of [`gather`].
#[derive(Debug)]
pub(super) struct History {
    /// Content of kept locks.
    pub(super) kept: Retained,
    /// Locks that an environment needs.
    pub(super) locks: Vec<KeptLock>,
    /// Locks that are not kept, and that receipts of the environment name for its registry.
    pub(super) past: Vec<PastLock>,
    /// Locks of the workspace that no receipt names and no environment needs, with their paths
    /// relative to the workspace.
    pub(super) unclaimed: Vec<(Utf8PathBuf, Lock)>,
    /// Shared states in the registry, by environment. Empty without a past lock.
    pub(super) states: BTreeMap<String, Result<State, StateFault>>,
    /// Number of different receipts of the environment.
    pub(super) receipts: usize,
    /// The commit that is checked out.
    pub(super) revision: Option<String>,
    /// Facts that are unknown, because of which more tags stay.
    pub(super) notes: Vec<String>,
}

/// Gathers the needs of all environments on the registry, and the locks in this one's receipts.
///
/// # Errors
/// - An environment or a lock cannot be read.
/// - [`prune::Error::LockUnknown`] or [`prune::Error::RecordedLockUnknown`] if the lock of a needed
///   release was not found.
/// - [`prune::Error::SharedState`] if this checkout lacks the receipt of a deploy.
pub(super) async fn gather(
    context: &Context<'_>,
    environment: &Environment,
    scope: Scope,
) -> Result<History, Error> {
    let mut archive = Archive::open(context);
    let workspace = context.workspace;
    let mut history = History {
        kept: Retained::default(),
        locks: Vec::new(),
        past: Vec::new(),
        unclaimed: Vec::new(),
        states: BTreeMap::new(),
        receipts: 0,
        revision: archive.revision(),
        notes: Vec::new(),
    };
    let mut unlisted = Vec::new();
    for name in environment::names(workspace.root())? {
        let other = workspace.load(&name)?;
        if other.registry.address == environment.registry.address {
            keep(context, &other, &mut archive, &mut history, &mut unlisted)?;
        }
    }
    let receipts = archive.receipts(&environment.name)?;
    history.receipts = receipts.len();
    let kept: BTreeSet<&str> = history
        .locks
        .iter()
        .map(|kept| kept.lock.as_str())
        .collect();
    for (digest, recorded) in recorded(environment, &receipts) {
        if kept.contains(digest.as_str()) {
            continue;
        }
        let locks = match recorded.is_set {
            true => archive.set_locks(&recorded.release)?,
            false => archive.locks(&recorded.release)?,
        };
        match locks.into_iter().find(|(found, _)| *found == digest) {
            Some((_, lock)) => history.past.push(PastLock {
                lock,
                was_pushed: recorded.was_pushed || scope == Scope::Found,
            }),
            None => history.notes.push(format!(
                "a receipt names the lock {digest} of {}, which is neither here nor in git's history: its tags stay",
                recorded.release
            )),
        }
    }
    if !history.past.is_empty() {
        history.states = shared_state::all(context, environment).await?;
        keep_recorded(
            context,
            environment,
            &mut archive,
            &mut history,
            &mut unlisted,
        )?;
        history.notes.extend(unlisted);
    }
    history.locks.sort();
    history.locks.dedup();
    let kept: BTreeSet<&str> = history
        .locks
        .iter()
        .map(|kept| kept.lock.as_str())
        .collect();
    let named: BTreeSet<String> = recorded(environment, &receipts).into_keys().collect();
    for path in workspace.locks()? {
        let Some(text) = read_if_exists(&path)? else {
            continue;
        };
        let digest = Lock::digest(&text);
        let shown = workspace.shown(&path).to_owned();
        if !kept.contains(digest.as_str()) && !named.contains(&digest) {
            let lock = Lock::parse(&text, &shown)?;
            history.unclaimed.push((shown, lock));
        }
    }
    history.notes.extend(archive.notes);
    Ok(history)
}

/// Keeps the locks that an environment needs, and the artifacts that their mkectl lists. A note for
/// each release whose list is unknown is added to `unlisted`.
fn keep(
    context: &Context<'_>,
    other: &Environment,
    archive: &mut Archive<'_>,
    history: &mut History,
    unlisted: &mut Vec<String>,
) -> Result<(), Error> {
    let workspace = context.workspace;
    let name = &other.name;
    let receipts = archive.receipts(name)?;
    let is_certain = |why: &[&str]| {
        let certain = ["wanted", "running", "previous"];
        why.iter().any(|why| certain.contains(why))
    };
    for (release, why) in needed(other, &receipts) {
        let locks = archive.locks(&release)?;
        if locks.is_empty() && is_certain(&why) {
            let path = workspace.lock(&release, DEFAULT_ARCH);
            return Err(lock_unknown(workspace, name, &release, &path));
        }
        for (digest, lock) in locks {
            history.keep(other, name, &why, digest, &lock);
        }
        history.keep_listed(context, other, &receipts, &release, unlisted);
    }
    for ((set, digest), why) in needed_sets(other, &receipts) {
        let locks = archive.set_locks(&set)?;
        let found = match &digest {
            Some(digest) => locks.into_iter().find(|(found, _)| found == digest),
            // The present version comes first.
            None => locks.into_iter().next(),
        };
        match found {
            Some((digest, lock)) => history.keep(other, name, &why, digest, &lock),
            None if is_certain(&why) => {
                let path = workspace.set_lock(&set);
                return Err(lock_unknown(workspace, name, &set, &path));
            }
            None => {}
        }
    }
    Ok(())
}

fn lock_unknown(workspace: &Workspace, environment: &str, release: &str, path: &Utf8Path) -> Error {
    Error::Prune(prune::Error::LockUnknown {
        environment: environment.to_owned(),
        release: release.to_owned(),
        path: workspace.shown(path).to_owned(),
    })
}

/// Keeps the releases in the registry's shared states, for environments of other workspaces and
/// those that name the registry by a different address.
///
/// # Errors
/// - [`prune::Error::SharedState`] if this checkout lacks the receipt of an environment's last
///   deploy.
/// - [`prune::Error::RecordedLockUnknown`] if the lock of a recorded release was not found.
fn keep_recorded(
    context: &Context<'_>,
    environment: &Environment,
    archive: &mut Archive<'_>,
    history: &mut History,
    unlisted: &mut Vec<String>,
) -> Result<(), Error> {
    let workspace = context.workspace;
    let names = environment::names(workspace.root())?;
    for (name, state) in history.states.clone() {
        let other = match names.contains(&name) {
            true => Some(workspace.load(&name)?),
            false => None,
        };
        let other = other.filter(|one| one.registry.project == environment.registry.project);
        let is_here = other
            .as_ref()
            .is_some_and(|one| one.registry.address == environment.registry.address);
        match &other {
            Some(other) if is_here => {
                let output = Output::below(&workspace.environment(&name));
                let receipt = Receipt::read(&output.receipt)?;
                if let Some(conflict) =
                    shared_state::conflict(other, &output, receipt.as_ref(), &state)
                {
                    return Err(prune::Error::SharedState(conflict).into());
                }
            }
            // The environment names the same registry by a different address.
            Some(other) => keep(context, other, archive, history, unlisted)?,
            None => {}
        }
        let state = match state {
            Ok(state) => state,
            Err(fault) => {
                return Err(prune::Error::SharedState(Conflict::Invalid {
                    reference: shared_state::reference(environment, &name),
                    environment: name,
                    fault,
                })
                .into());
            }
        };
        // A state without a receipt is of a reset: there is no cluster. An ended deploy of this
        // workspace is already known from its receipt.
        let has_ended = state.phase == Phase::Ended;
        if has_ended && (is_here || state.receipt.is_none()) {
            continue;
        }
        let release = &state.release;
        let mut locks = archive.locks(release)?.into_iter();
        let Some((digest, lock)) = locks.find(|(digest, _)| *digest == state.lock) else {
            let path = workspace.lock(release, DEFAULT_ARCH);
            return Err(prune::Error::RecordedLockUnknown {
                reference: shared_state::reference(environment, &name),
                path: workspace.shown(&path).to_owned(),
                release: state.release,
                lock: state.lock,
            }
            .into());
        };
        history.keep(environment, &name, &["recorded"], digest, &lock);
        history.keep_listed(context, environment, &[], release, unlisted);
        if is_here {
            continue;
        }
        let receipts = archive.receipts(&name)?;
        let receipt = receipts
            .iter()
            .find(|one| one.run.as_ref() == Some(&state.run));
        let Some(receipt) = receipt else {
            // The shared state does not name sets.
            if history.past.iter().any(|past| past.lock.set.is_some()) {
                history.past.retain(|past| past.lock.set.is_none());
                history.notes.push(format!(
                    "the sets that {name} needs are unknown, since its receipt is neither here nor in git's history: the tags of sets stay"
                ));
            }
            continue;
        };
        let applied = receipt.applied.iter().flat_map(|one| &one.sets);
        let failed = receipt.failed.iter().flat_map(|one| &one.sets);
        for (set, digest) in applied.chain(failed) {
            let mut locks = archive.set_locks(set)?.into_iter();
            let Some((digest, lock)) = locks.find(|(found, _)| found == digest) else {
                let path = workspace.set_lock(set);
                return Err(lock_unknown(workspace, &name, set, &path));
            };
            history.keep(environment, &name, &["recorded"], digest, &lock);
        }
    }
    Ok(())
}

impl History {
    /// Keeps a lock that the environment `name` needs, at its place in the registry of
    /// `environment`.
    fn keep(
        &mut self,
        environment: &Environment,
        name: &str,
        why: &[&str],
        digest: String,
        lock: &Lock,
    ) {
        self.kept.keep(&environment.registry, lock);
        self.locks.push(KeptLock {
            release: lock.name().to_owned(),
            lock: digest,
            needed_by: name.to_owned(),
            why: why.iter().copied().map(str::to_owned).collect(),
        });
    }

    /// Keeps the artifacts that the mkectl of a kept release lists. If the list is unknown, a note
    /// is added to `unlisted`.
    fn keep_listed(
        &mut self,
        context: &Context<'_>,
        environment: &Environment,
        receipts: &[Receipt],
        release: &str,
        unlisted: &mut Vec<String>,
    ) {
        match listed(context, environment, receipts, release) {
            Ok(listed) => self.kept.keep_tags(&environment.registry, &listed),
            Err(why) => unlisted.push(format!(
                "what mkectl {release} lists for {} but its lock lacks is unknown and not kept: {why}",
                environment.name
            )),
        }
    }
}

/// Reasons by set and digest of its lock. Without a digest, the present lock is meant.
type NeededSets = BTreeMap<(String, Option<String>), Vec<&'static str>>;

/// Returns the sets that an environment needs.
fn needed_sets(environment: &Environment, receipts: &[Receipt]) -> NeededSets {
    let mut needed = NeededSets::new();
    for set in environment.set_names() {
        needed.insert((set.to_owned(), None), vec!["wanted"]);
    }
    let mut need = |sets: &BTreeMap<String, String>, why| {
        for (set, digest) in sets {
            let key = (set.clone(), Some(digest.clone()));
            needed.entry(key).or_default().push(why);
        }
    };
    let mut applied = receipts
        .iter()
        .filter_map(|receipt| receipt.applied.as_ref());
    if let Some(present) = applied.next() {
        need(&present.sets, "running");
        let is_different = |one: &&crate::receipt::Applied| {
            (&one.lock, &one.sets) != (&present.lock, &present.sets)
        };
        if let Some(previous) = applied.find(is_different) {
            need(&previous.sets, "previous");
        }
    }
    let failed = receipts.first().and_then(|receipt| receipt.failed.as_ref());
    if let Some(failed) = failed {
        need(&failed.sets, "failed");
    }
    needed
}

/// The facts about a lock in receipts.
struct Recorded {
    /// The release, or the name of the set.
    release: String,
    is_set: bool,
    was_pushed: bool,
}

/// Returns the locks that receipts name for the environment's registry, by SHA-256.
fn recorded(environment: &Environment, receipts: &[Receipt]) -> BTreeMap<String, Recorded> {
    let url = environment.registry.image_url();
    let mut all: BTreeMap<String, Recorded> = BTreeMap::new();
    for receipt in receipts {
        let applied = receipt.applied.iter().map(|applied| {
            let (registry, lock) = (Some(&applied.registry), Some(&applied.lock));
            let pushed = Some(&applied.pushed);
            (registry, &applied.release, lock, &applied.sets, pushed)
        });
        let failed = receipt.failed.iter().map(|failed| {
            let (registry, lock) = (failed.registry.as_ref(), failed.lock.as_ref());
            let pushed = failed.pushed.as_ref();
            (registry, &failed.release, lock, &failed.sets, pushed)
        });
        for (registry, release, lock, sets, pushed) in applied.chain(failed) {
            let (Some(lock), Some(pushed)) = (lock, pushed) else {
                continue;
            };
            if registry != Some(&url) {
                continue;
            }
            let sets = sets.iter().map(|(set, lock)| (set, true, lock));
            for (name, is_set, lock) in std::iter::once((release, false, lock)).chain(sets) {
                let recorded = all.entry(lock.clone()).or_insert_with(|| Recorded {
                    release: name.clone(),
                    is_set,
                    was_pushed: false,
                });
                recorded.was_pushed |= pushed.artifacts > 0;
            }
        }
    }
    all
}

/// Returns the releases that an environment needs, each with its reasons:
///
/// - `wanted`: the environment names it.
/// - `running`: it was deployed last.
/// - `previous`: it was deployed before that.
/// - `failed`: its deploy failed last.
fn needed(environment: &Environment, receipts: &[Receipt]) -> BTreeMap<String, Vec<&'static str>> {
    let mut needed = BTreeMap::from([(format!("v{}", environment.release), vec!["wanted"])]);
    let applied: Vec<&str> = receipts
        .iter()
        .filter_map(|receipt| receipt.applied.as_ref())
        .map(|applied| applied.release.as_str())
        .collect();
    let running = applied.first().copied();
    let previous = (applied.iter().copied()).find(|release| Some(*release) != running);
    let failed = receipts.first().and_then(|receipt| receipt.failed.as_ref());
    let failed = failed.map(|failed| failed.release.as_str());
    for (release, why) in [
        (running, "running"),
        (previous, "previous"),
        (failed, "failed"),
    ] {
        if let Some(release) = release {
            needed.entry(release.to_owned()).or_default().push(why);
        }
    }
    needed
}

/// Returns the references to the vendor's registry that the mkectl of a release lists. The lock may
/// lack some of them.
///
/// # Errors
/// The reason, if that mkectl is not on this machine or fails.
fn listed(
    context: &Context<'_>,
    environment: &Environment,
    receipts: &[Receipt],
    release: &str,
) -> Result<Vec<String>, String> {
    if environment.rehearsal {
        return Ok(Vec::new());
    }
    let version = release.strip_prefix('v').and_then(|text| text.parse().ok());
    let version = version.ok_or_else(|| format!("{release} is not a release"))?;
    let mut applied = receipts
        .iter()
        .filter_map(|receipt| receipt.applied.as_ref());
    let applied = applied.find(|applied| applied.release == release);
    let sha256 = applied.and_then(|applied| applied.mkectl.sha256.as_deref());
    let program = crate::transfer::program::of_release(context, environment, &version, sha256)
        .map_err(|error| chain(&error))?
        .ok_or("it is not on this machine")?;
    verify::listed(program.mkectl()).map_err(|error| chain(&error))
}

/// The files of the workspace, with their versions in git's history.
struct Archive<'a> {
    workspace: &'a Workspace,
    git: Option<programs::Git>,
    locks: BTreeMap<Utf8PathBuf, Vec<(String, Lock)>>,
    notes: Vec<String>,
}

impl<'a> Archive<'a> {
    fn open(context: &Context<'a>) -> Self {
        let mut notes = Vec::new();
        let git = programs::Git::of(context.workspace.root(), &context.tool.variables)
            .and_then(|git| Ok((git.is_shallow()?, git)));
        let git = match git {
            Ok((is_cut, git)) => {
                if is_cut {
                    notes.push(
                        "the git clone is shallow, so earlier receipts may be missing: the tags that only they record stay"
                            .to_owned(),
                    );
                }
                Some(git)
            }
            Err(absent) => {
                notes.push(format!(
                    "{}: only receipts and locks in this folder are used; the tags of earlier ones are kept",
                    chain(&absent)
                ));
                None
            }
        };
        Self {
            workspace: context.workspace,
            git,
            locks: BTreeMap::new(),
            notes,
        }
    }

    fn revision(&self) -> Option<String> {
        self.git.as_ref()?.state(&[]).ok()?.revision
    }

    /// Returns the different versions of a file as text, the present one first.
    fn texts(&mut self, path: &Utf8Path) -> Result<Vec<String>, Error> {
        let mut texts: Vec<String> = read_if_exists(path)?.into_iter().collect();
        if let Some(git) = &self.git {
            match git.history(self.workspace.shown(path)) {
                Ok(history) => {
                    for past in history {
                        if !texts.contains(&past.text) {
                            texts.push(past.text);
                        }
                    }
                }
                Err(absent) => self.notes.push(format!(
                    "cannot read the history of {}: {}",
                    self.workspace.shown(path),
                    chain(&absent)
                )),
            }
        }
        Ok(texts)
    }

    /// Returns the receipts of an environment, the present one first.
    fn receipts(&mut self, name: &str) -> Result<Vec<Receipt>, Error> {
        let path = Output::below(&self.workspace.environment(name)).receipt;
        self.versions(&path, |text| Receipt::parse(text, &path))
    }

    /// Returns the different versions of a file, the present one first. An earlier version that
    /// cannot be parsed is skipped with a note.
    ///
    /// # Errors
    /// The present version cannot be parsed.
    fn versions<T>(
        &mut self,
        path: &Utf8Path,
        parse: impl Fn(&str) -> Result<T, Error>,
    ) -> Result<Vec<T>, Error> {
        let has_present = path.exists();
        let mut versions = Vec::new();
        for (number, text) in self.texts(path)?.into_iter().enumerate() {
            match parse(&text) {
                Ok(version) => versions.push(version),
                Err(error) if has_present && number == 0 => return Err(error),
                Err(error) => self.notes.push(format!(
                    "an earlier {} cannot be read: {}",
                    self.workspace.shown(path),
                    chain(&error)
                )),
            }
        }
        Ok(versions)
    }

    /// Returns the versions of a release's lock, each after the SHA-256 of its file.
    fn locks(&mut self, release: &str) -> Result<Vec<(String, Lock)>, Error> {
        self.locks_at(self.workspace.lock(release, DEFAULT_ARCH))
    }

    /// Returns the versions of a set's lock, each after the SHA-256 of its file, the present one
    /// first.
    fn set_locks(&mut self, set: &str) -> Result<Vec<(String, Lock)>, Error> {
        self.locks_at(self.workspace.set_lock(set))
    }

    fn locks_at(&mut self, path: Utf8PathBuf) -> Result<Vec<(String, Lock)>, Error> {
        if let Some(locks) = self.locks.get(&path) {
            return Ok(locks.clone());
        }
        let locks = self.versions(&path, |text| {
            let lock =
                Lock::parse(text, self.workspace.shown(&path)).map_err(Error::InvalidLock)?;
            Ok((Lock::digest(text), lock))
        })?;
        self.locks.insert(path, locks.clone());
        Ok(locks)
    }
}
