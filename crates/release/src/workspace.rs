//! The paths of the workspace. No other file composes them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use camino::{Utf8Path, Utf8PathBuf};

mod error;
mod named;

pub use error::Error;
pub use named::{FileKind, check_named, check_writable, create_trace};
pub(crate) use named::{refuse, write_named};

/// The repository that a platform team keeps: environments, locks, and the bundles beside them.
#[derive(Debug, Clone)]
pub struct Workspace {
    root: Utf8PathBuf,
    pub(crate) parsed: Parsed,
}

/// The locks that were parsed in this run, by path and SHA-256. Many environments have one release,
/// and parsing its lock takes longer than all else that is read for an environment.
#[derive(Debug, Clone, Default)]
pub(crate) struct Parsed(pub(crate) Arc<Mutex<ByFile>>);

type ByFile = HashMap<(Utf8PathBuf, String), Arc<bundle::Lock>>;

/// The architecture whose bundle is meant when nothing else is said. The vendor documents no other
/// one (system requirements of 4.1: DOCS-SRC).
pub const DEFAULT_ARCH: &str = "amd64";

impl Workspace {
    /// Takes the folder that holds `environments/` and `bundles/`.
    pub fn new(root: impl Into<Utf8PathBuf>) -> Self {
        Self {
            root: root.into(),
            parsed: Parsed::default(),
        }
    }

    /// Returns the folder that holds `environments/` and `bundles/`.
    pub fn root(&self) -> &Utf8Path {
        &self.root
    }

    /// Returns the folder of locks, bundles and the store.
    pub fn bundles(&self) -> Utf8PathBuf {
        self.root.join("bundles")
    }

    /// Returns the folder of the content-addressed store, shared by all releases.
    pub fn store(&self) -> Utf8PathBuf {
        self.bundles().join("store")
    }

    /// Returns the lock of a release and architecture, whether it exists or not.
    pub fn lock(&self, release: &str, arch: &str) -> Utf8PathBuf {
        self.bundles().join(bundle::Lock::file_name(release, arch))
    }

    /// Returns the file of a set, whether it exists or not.
    pub fn set(&self, name: &str) -> Utf8PathBuf {
        self.bundles()
            .join(format!("{name}{}", bundle::set::Set::SUFFIX))
    }

    /// Returns the lock of a set, whether it exists or not.
    pub fn set_lock(&self, name: &str) -> Utf8PathBuf {
        self.bundles().join(bundle::Lock::set_file_name(name))
    }

    /// Returns where the output of a release's `mkectl init` is kept.
    pub fn init(&self, release: &semver::Version) -> Utf8PathBuf {
        self.bundles().join(format!("v{release}.init.yaml"))
    }

    /// Returns the file of what was observed of a release.
    pub fn facts(&self, release: &semver::Version) -> Utf8PathBuf {
        self.root
            .join("environments/facts")
            .join(format!("v{release}.yaml"))
    }

    /// Returns the file of facts that a team adds to the table of releases.
    pub fn releases(&self) -> Utf8PathBuf {
        self.root.join("environments/releases.yaml")
    }

    /// Adds the facts of that file to the table, for the rest of the process. Returns what it adds;
    /// none if it does not exist.
    ///
    /// # Errors
    /// The file cannot be read, or something is wrong with it.
    pub fn overlay_releases(&self) -> Result<Option<mke::Overlay>, crate::Error> {
        let path = self.releases();
        let Some(text) = read_if_there(&path)? else {
            return Ok(None);
        };
        let source = environment::yaml::Source {
            path: self.shown(&path).to_owned(),
            text,
        };
        let overlay = mke::overlay(&std::sync::Arc::new(source));
        let overlay = overlay
            .map_err(|problems| crate::Error::Environment(environment::Error::Wrong(problems)))?;
        Ok(Some(overlay))
    }

    /// Reads what was observed of a release, if anything was.
    ///
    /// # Errors
    /// The file cannot be read, or is not in the form that `learn` writes.
    pub fn observations(
        &self,
        release: &semver::Version,
    ) -> Result<Option<mke::Observations>, crate::Error> {
        let path = self.facts(release);
        let text = read_if_there(&path)?;
        let parsed = text.map(|text| mke::Observations::parse(&text, release));
        parsed.transpose().map_err(|source| {
            crate::Error::Workspace(Error::Observations {
                path: self.shown(&path).to_owned(),
                source,
            })
        })
    }

    /// Returns what is known of a release, by the table and by what was observed.
    ///
    /// # Errors
    /// The release cannot be installed offline, or the file of observations is wrong.
    pub fn release(&self, release: &semver::Version) -> Result<mke::Release, crate::Error> {
        let known = mke::Release::of(release)?;
        Ok(match self.observations(release)? {
            Some(observations) => known.observed(observations),
            None => known,
        })
    }

    /// Returns where a bundle of this file name is kept.
    pub fn bundle(&self, file: &str) -> Utf8PathBuf {
        self.bundles().join(file)
    }

    /// Returns the folder of the mkectl of each release, and of what they can do.
    pub fn mkectl(&self) -> Utf8PathBuf {
        self.bundles().join("mkectl")
    }

    /// Returns where the release matrix of a release is put for its mkectl to read, `v4.1.5`.
    pub fn release_matrix(&self, release: &str) -> Utf8PathBuf {
        self.mkectl().join(release).join("release-matrix.json")
    }

    /// Returns the folder of interrupted upload sessions, which a later run resumes.
    pub fn sessions(&self) -> Utf8PathBuf {
        self.bundles().join("sessions")
    }

    /// Returns the folder that keeps what was measured of registries.
    pub(crate) fn profiles(&self, address: &str) -> registry::ProfileFolder {
        registry::ProfileFolder::new(self.bundles().join("registries"), address)
    }

    /// Returns the folder of an environment.
    pub fn environment(&self, name: &str) -> Utf8PathBuf {
        self.root.join("environments").join(name)
    }

    /// Returns the folder that a rehearsal of an environment may write to, instead of the
    /// environment's own.
    pub fn rehearsal(&self, name: &str) -> Utf8PathBuf {
        self.bundles().join("rehearsal").join(name)
    }

    /// Returns `path` as it is shown: relative to the root if it is below it.
    pub fn shown<'p>(&self, path: &'p Utf8Path) -> &'p Utf8Path {
        path.strip_prefix(&self.root).unwrap_or(path)
    }

    /// Returns a command line as people are shown it: without the way to the root, unless it runs
    /// elsewhere.
    pub fn shown_command(&self, command: &programs::Command) -> String {
        let shown = command.display().to_string();
        match command.directory {
            Some(_) => shown,
            None => shown.replace(&format!("{}/", self.root), ""),
        }
    }

    /// Loads an environment by its name. Secrets that its files contain literally are masked from
    /// now on.
    ///
    /// # Errors
    /// Everything that is wrong with its files, or what keeps them from being read.
    pub fn load(&self, name: &str) -> Result<environment::Environment, crate::Error> {
        let environment = mke::load(&self.root, name).map_err(crate::Error::Environment)?;
        mask_secrets(&environment.config);
        environment.inventory.iter().for_each(mask_secrets);
        Ok(environment)
    }

    /// Returns every committed lock, sorted by file name.
    ///
    /// # Errors
    /// A `bundles/` folder that cannot be listed. One that is missing holds no lock.
    pub fn locks(&self) -> Result<Vec<Utf8PathBuf>, crate::Error> {
        self.files_with(bundle::Lock::SUFFIX)
    }

    /// Returns the files of `bundles/` whose names end so, sorted.
    ///
    /// # Errors
    /// The folder cannot be listed. One that is missing holds none.
    pub(crate) fn files_with(&self, suffix: &str) -> Result<Vec<Utf8PathBuf>, crate::Error> {
        let directory = self.bundles();
        let listing = match directory.read_dir() {
            Ok(listing) => listing,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(source) => return Err(crate::Error::io("list", &directory, source)),
        };
        let mut files = Vec::new();
        for entry in listing {
            let entry = entry.map_err(|source| crate::Error::io("list", &directory, source))?;
            // No file of ours has a name that is not UTF-8.
            let Ok(path) = Utf8PathBuf::try_from(entry.path()) else {
                continue;
            };
            if path.as_str().ends_with(suffix) {
                files.push(path);
            }
        }
        files.sort();
        Ok(files)
    }
}

/// The paths of the results of one environment.
#[derive(Debug, Clone)]
pub struct Output {
    /// The rendered configuration.
    pub config: Utf8PathBuf,
    /// The receipt.
    pub receipt: Utf8PathBuf,
    /// The registry snapshot that a site returned, which `pack` reads.
    pub snapshot: Utf8PathBuf,
    /// The folder of mkectl's logs.
    pub logs: Utf8PathBuf,
    /// The administrator's password, unless the environment says where it goes.
    pub admin_password: Utf8PathBuf,
    /// The folder of backups, unless the environment says where they go.
    pub backups: Utf8PathBuf,
    /// What an upgrade made of the cluster's configuration, where that is not what was rendered.
    pub adopted: Utf8PathBuf,
}

impl Output {
    /// Returns the places below `directory`: the environment's own folder, or a rehearsal's.
    pub fn below(directory: &Utf8Path) -> Self {
        Self {
            config: directory.join("mke4.yaml"),
            receipt: directory.join("receipt.yaml"),
            snapshot: directory.join("registry.snapshot.yaml"),
            logs: directory.join("logs"),
            admin_password: directory.join("admin-password"),
            backups: directory.join("backups"),
            adopted: directory.join("mke4.adopted.yaml"),
        }
    }
}

/// Masks, from now on, the secrets that a configuration contains literally.
fn mask_secrets(config: &environment::yaml::Node) {
    for secret in config.as_mapping().into_iter().flat_map(mke::secrets) {
        let text = secret.text().unwrap_or_default();
        redaction::run().add(text);
        let within = mke::secrets_within(text).into_iter();
        within.for_each(|secret| redaction::run().add(secret));
    }
}

/// Masks, from now on, the secrets that the text of a `mke4.yaml` contains literally. Text that is
/// not YAML has none that are known.
pub(crate) fn mask_secrets_of(path: &Utf8Path, text: &str) {
    let source = environment::yaml::Source {
        path: path.to_owned(),
        text: text.to_owned(),
    };
    if let Ok(config) = environment::yaml::parse(std::sync::Arc::new(source)) {
        mask_secrets(&config);
    }
}

/// Writes `text` to `path` as a whole.
///
/// # Errors
/// The folder cannot be made, or the file not be written.
pub(crate) fn write_whole(path: &Utf8Path, text: &str) -> Result<(), crate::Error> {
    make_folder_of(path)?;
    write_file(path, text)
}

/// Makes the folder of a file, if it is missing.
///
/// # Errors
/// The folder cannot be made.
pub(crate) fn make_folder_of(path: &Utf8Path) -> Result<(), crate::Error> {
    let folder = files::folder_of(path);
    std::fs::create_dir_all(folder).map_err(|source| crate::Error::io("make", folder, source))
}

/// Writes `text` in the same way to a folder that exists.
fn write_file(path: &Utf8Path, text: &str) -> Result<(), crate::Error> {
    // The rename would replace a link, which its owner made on purpose.
    crate::links::check(path, path)?;
    named::check_folder(path)?;
    files::write(path, text, files::Access::All)
        .map_err(|source| crate::Error::io("write", path, source))
}

/// Reads `path`, or returns `None` if the file does not exist.
///
/// # Errors
/// The file exists and cannot be read.
pub(crate) fn read_if_there(path: &Utf8Path) -> Result<Option<String>, crate::Error> {
    match files::read_text(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(crate::Error::read(path, source)),
    }
}

/// Removes a file, if it exists.
pub(crate) fn remove_if_there(path: &Utf8Path) -> Result<(), crate::Error> {
    match std::fs::remove_file(path) {
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
            Err(crate::Error::io("remove", path, source))
        }
        _ => Ok(()),
    }
}
