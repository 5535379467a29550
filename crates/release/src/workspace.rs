//! The paths of the workspace. Only this file composes them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use camino::{Utf8Path, Utf8PathBuf};

mod error;
mod named;

pub use error::Error;
pub use named::{FileKind, check_named, check_writable, create_trace};
pub(crate) use named::{refuse, write_named};

/// The repository of a platform team: environments, locks, and bundles.
#[derive(Debug, Clone)]
pub struct Workspace {
    root: Utf8PathBuf,
    pub(crate) parsed: Parsed,
}

/// The locks parsed by this process, by path and SHA-256. Environments often share a release, and
/// parsing its lock takes longer than reading everything else.
#[derive(Debug, Clone, Default)]
pub(crate) struct Parsed(pub(crate) Arc<Mutex<ByFile>>);

type ByFile = HashMap<(Utf8PathBuf, String), Arc<bundle::Lock>>;

/// The default architecture of bundles, and the only one that the vendor documents (system
/// requirements of 4.1: DOCS-SRC).
pub const DEFAULT_ARCH: &str = "amd64";

impl Workspace {
    /// Returns the workspace in the folder with `environments/` and `bundles/`.
    pub fn new(root: impl Into<Utf8PathBuf>) -> Self {
        Self {
            root: root.into(),
            parsed: Parsed::default(),
        }
    }

    /// Returns the folder with `environments/` and `bundles/`.
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

    /// Returns the path of the lock of a release such as `v4.1.5`, which need not exist.
    pub fn lock(&self, release: &str, arch: &str) -> Utf8PathBuf {
        self.bundles().join(bundle::Lock::file_name(release, arch))
    }

    /// Returns the path of a set, which need not exist.
    pub fn set(&self, name: &str) -> Utf8PathBuf {
        self.bundles()
            .join(format!("{name}{}", bundle::set::Set::SUFFIX))
    }

    /// Returns the path of a set's lock, which need not exist.
    pub fn set_lock(&self, name: &str) -> Utf8PathBuf {
        self.bundles().join(bundle::Lock::set_file_name(name))
    }

    /// Returns the path of the stored output of a release's `mkectl init`.
    pub fn init(&self, release: &semver::Version) -> Utf8PathBuf {
        self.bundles().join(format!("v{release}.init.yaml"))
    }

    /// Returns the path of a release's observed facts.
    pub fn facts(&self, release: &semver::Version) -> Utf8PathBuf {
        self.root
            .join("environments/facts")
            .join(format!("v{release}.yaml"))
    }

    /// Returns the path of the facts that a team adds to the table of releases.
    pub fn releases(&self) -> Utf8PathBuf {
        self.root.join("environments/releases.yaml")
    }

    /// Adds the facts in [`Workspace::releases`] to the table for the rest of the process. Returns
    /// them, or `None` without a file.
    ///
    /// # Errors
    /// The file cannot be read or is not valid.
    pub fn overlay_releases(&self) -> Result<Option<mke::Overlay>, crate::Error> {
        let path = self.releases();
        let Some(text) = read_if_exists(&path)? else {
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

    /// Reads the observed facts of a release, if there are any.
    ///
    /// # Errors
    /// The file cannot be read, or `learn` did not write it.
    pub fn observations(
        &self,
        release: &semver::Version,
    ) -> Result<Option<mke::Observations>, crate::Error> {
        let path = self.facts(release);
        let text = read_if_exists(&path)?;
        let parsed = text.map(|text| mke::Observations::parse(&text, release));
        parsed.transpose().map_err(|source| {
            crate::Error::Workspace(Error::Observations {
                path: self.shown(&path).to_owned(),
                source,
            })
        })
    }

    /// Returns the facts of a release, from the table and from observations.
    ///
    /// # Errors
    /// The release cannot be installed offline, or the file of observations is not valid.
    pub fn release(&self, release: &semver::Version) -> Result<mke::Release, crate::Error> {
        let known = mke::Release::of(release)?;
        Ok(match self.observations(release)? {
            Some(observations) => known.with_observations(observations),
            None => known,
        })
    }

    /// Returns the path of a bundle by its file name.
    pub fn bundle(&self, file: &str) -> Utf8PathBuf {
        self.bundles().join(file)
    }

    /// Returns the folder of the releases' mkectl and of their cached help pages.
    pub fn mkectl(&self) -> Utf8PathBuf {
        self.bundles().join("mkectl")
    }

    /// Returns the path of the release matrix for the mkectl of a release such as `v4.1.5`.
    pub fn release_matrix(&self, release: &str) -> Utf8PathBuf {
        self.mkectl().join(release).join("release-matrix.json")
    }

    /// Returns the folder of interrupted upload sessions, which a later run resumes.
    pub fn sessions(&self) -> Utf8PathBuf {
        self.bundles().join("sessions")
    }

    /// Returns the folder of measured registry profiles.
    pub(crate) fn profiles(&self, address: &str) -> registry::ProfileFolder {
        registry::ProfileFolder::new(self.bundles().join("registries"), address)
    }

    /// Returns the folder of an environment.
    pub fn environment(&self, name: &str) -> Utf8PathBuf {
        self.root.join("environments").join(name)
    }

    /// Returns the folder for the results of an environment's rehearsal.
    pub fn rehearsal(&self, name: &str) -> Utf8PathBuf {
        self.bundles().join("rehearsal").join(name)
    }

    /// Returns `path` for messages: relative to the root if it is inside.
    pub fn shown<'p>(&self, path: &'p Utf8Path) -> &'p Utf8Path {
        path.strip_prefix(&self.root).unwrap_or(path)
    }

    /// Returns a command line for messages. Paths are relative to the root, unless the command has
    /// a working directory.
    pub fn shown_command(&self, command: &programs::Command) -> String {
        let shown = command.display().to_string();
        match command.directory {
            Some(_) => shown,
            None => shown.replace(&format!("{}/", self.root), ""),
        }
    }

    /// Loads an environment by its name. Literal secrets in its files are masked from now on.
    ///
    /// # Errors
    /// The problems of its files, or a file cannot be read.
    pub fn load(&self, name: &str) -> Result<environment::Environment, crate::Error> {
        let environment = mke::load(&self.root, name).map_err(crate::Error::Environment)?;
        mask_secrets(&environment.config);
        environment.inventory.iter().for_each(mask_secrets);
        Ok(environment)
    }

    /// Returns the paths of all locks, sorted by file name.
    ///
    /// # Errors
    /// `bundles/` cannot be listed. A missing folder has no locks.
    pub fn locks(&self) -> Result<Vec<Utf8PathBuf>, crate::Error> {
        self.files_with(bundle::Lock::SUFFIX)
    }

    /// Returns the files of `bundles/` whose names end with `suffix`, sorted.
    ///
    /// # Errors
    /// The folder cannot be listed. A missing folder has no files.
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
            // None of our files has a name that is not UTF-8.
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

/// The paths of an environment's results.
#[derive(Debug, Clone)]
pub struct Output {
    /// The rendered configuration, `mke4.yaml`.
    pub config: Utf8PathBuf,
    /// The receipt, `receipt.yaml`.
    pub receipt: Utf8PathBuf,
    /// The registry snapshot that a site returned. `pack` reads it.
    pub snapshot: Utf8PathBuf,
    /// The folder of mkectl's logs.
    pub logs: Utf8PathBuf,
    /// Default file of the administrator password.
    pub admin_password: Utf8PathBuf,
    /// Default folder of backups.
    pub backups: Utf8PathBuf,
    /// The cluster's configuration after an upgrade, if it differs from the rendered one.
    pub adopted: Utf8PathBuf,
}

impl Output {
    /// Returns the paths below `directory`, the folder of an environment or of its rehearsal.
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

/// Masks the literal secrets of a configuration from now on.
fn mask_secrets(config: &environment::yaml::Node) {
    for secret in config.as_mapping().into_iter().flat_map(mke::secrets) {
        let text = secret.text().unwrap_or_default();
        redaction::run().add(text);
        let within = mke::secrets_within(text).into_iter();
        within.for_each(|secret| redaction::run().add(secret));
    }
}

/// Masks the literal secrets in the text of a `mke4.yaml` from now on. Does nothing for text that
/// is not YAML.
pub(crate) fn mask_secrets_of(path: &Utf8Path, text: &str) {
    let source = environment::yaml::Source {
        path: path.to_owned(),
        text: text.to_owned(),
    };
    if let Ok(config) = environment::yaml::parse(std::sync::Arc::new(source)) {
        mask_secrets(&config);
    }
}

/// Writes `text` to `path` atomically, and creates its folder.
///
/// # Errors
/// The folder cannot be created, or the file cannot be written.
pub(crate) fn write_atomically(path: &Utf8Path, text: &str) -> Result<(), crate::Error> {
    make_folder_of(path)?;
    write_file(path, text)
}

/// Creates the folder of a file if it is missing.
///
/// # Errors
/// The folder cannot be created.
pub(crate) fn make_folder_of(path: &Utf8Path) -> Result<(), crate::Error> {
    let folder = files::folder_of(path);
    std::fs::create_dir_all(folder).map_err(|source| crate::Error::io("make", folder, source))
}

/// Writes `text` to `path` atomically. The folder must exist.
fn write_file(path: &Utf8Path, text: &str) -> Result<(), crate::Error> {
    // The rename would replace a link that its owner created on purpose.
    crate::links::check(path, path)?;
    named::check_folder(path)?;
    files::write(path, text, files::Access::All)
        .map_err(|source| crate::Error::io("write", path, source))
}

/// Reads `path`, or returns `None` if the file does not exist.
///
/// # Errors
/// The file exists but cannot be read.
pub(crate) fn read_if_exists(path: &Utf8Path) -> Result<Option<String>, crate::Error> {
    match files::read_text(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(crate::Error::read(path, source)),
    }
}

/// Removes a file, if it exists.
pub(crate) fn remove_if_exists(path: &Utf8Path) -> Result<(), crate::Error> {
    match std::fs::remove_file(path) {
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
            Err(crate::Error::io("remove", path, source))
        }
        _ => Ok(()),
    }
}
