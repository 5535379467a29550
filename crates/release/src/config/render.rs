//! Renders `mke4.yaml` from an environment's files, without bundle, network or clock.

use camino::{Utf8Path, Utf8PathBuf};
use environment::Environment;

use crate::config::defaults;
use crate::proof::Mismatch;
use crate::workspace::{mask_secrets_of, write_atomically};
use crate::{Error, Workspace, sha256, workspace};

/// Renders the configuration of an environment on top of the stored defaults of its release.
///
/// # Errors
/// The environment's `config` sets a managed key, or the defaults differ from the locked ones.
pub(crate) fn render(
    workspace: &Workspace,
    environment: &mut Environment,
    release: &mke::Release,
) -> Result<mke::Rendered, Error> {
    defaults::put_under(workspace, environment)?;
    let (image, chart) = urls(environment);
    mke::render(environment, registry(environment, &image, &chart), release)
        .map_err(|problems| workspace::Error::Configuration(problems).into())
}

/// Renders the configuration of an environment with its references replaced by values.
pub(crate) fn resolve(
    environment: &Environment,
    release: &mke::Release,
    read: &dyn Fn(&environment::Reference) -> Result<secrecy::SecretString, String>,
) -> Result<mke::Resolved, Error> {
    let (image, chart) = urls(environment);
    let registry = registry(environment, &image, &chart);
    mke::resolve(environment, registry, release, read)
        .map_err(|problems| workspace::Error::Configuration(problems).into())
}

fn urls(environment: &Environment) -> (String, String) {
    let registry = &environment.registry;
    (registry.image_url(), registry.chart_url())
}

fn registry<'a>(
    environment: &'a Environment,
    image: &'a str,
    chart: &'a str,
) -> mke::RegistryUrls<'a> {
    mke::RegistryUrls {
        image,
        chart,
        ca_pem: environment.registry.ca.as_ref().map(|ca| ca.pem.as_str()),
    }
}

/// The rendered, the committed and the applied configuration.
#[derive(Debug)]
pub struct Config {
    /// Rendered text of `mke4.yaml`.
    pub text: String,
    /// SHA-256 of the rendered text.
    pub digest: String,
    /// Text of the file now, if it exists.
    pub committed: Option<String>,
    /// Text that was applied last, if the file or git's history has it.
    pub applied: Option<String>,
}

impl Config {
    /// Returns the text that changes refer to: the applied one, or else the committed one.
    fn before(&self) -> Option<&str> {
        self.applied.as_deref().or(self.committed.as_deref())
    }

    /// Returns the addresses of hosts that the rendered configuration no longer has.
    pub fn removed_hosts(&self) -> Vec<String> {
        let addresses = |text: &str| -> Vec<String> {
            let machines = mke::machines(text).unwrap_or_default().into_iter();
            machines.map(|machine| machine.ssh.address).collect()
        };
        let Some(before) = self.before() else {
            return Vec::new();
        };
        let now = addresses(&self.text);
        let mut removed = addresses(before);
        removed.retain(|address| !now.contains(address));
        removed
    }

    /// Returns whether this configuration has a digest. The comment at the top, which has the
    /// environment's name, is ignored.
    pub(crate) fn is(&self, digest: &str) -> bool {
        fn body(text: &str) -> impl Iterator<Item = &str> {
            text.lines().skip_while(|line| line.starts_with('#'))
        }
        let of_file = self.committed.as_deref();
        let is_same = |file: &&str| body(file).eq(body(&self.text));
        self.digest == digest
            || of_file
                .filter(is_same)
                .is_some_and(|file| sha256(file.as_bytes()) == digest)
    }

    /// Returns whether the file differs from the rendered text.
    pub fn is_stale(&self) -> bool {
        self.committed.as_deref() != Some(&self.text)
    }
}

/// Proof that a file has the configuration. Only [`write()`] creates one:
///
/// ```compile_fail,E0451
/// let written = release::config::render::Written { path: todo!(), digest: todo!() };
/// ```
#[derive(Debug)]
pub struct Written {
    path: Utf8PathBuf,
    /// SHA-256 of the configuration.
    digest: String,
}

impl Written {
    /// Returns the file, if the proof is for this configuration and this file.
    ///
    /// # Errors
    /// [`Mismatch`] otherwise.
    pub(crate) fn require(&self, config: &Config, path: &Utf8Path) -> Result<&Utf8Path, Error> {
        match self.digest == config.digest && self.path == path {
            true => Ok(&self.path),
            false => Err(Error::Proof(Mismatch {
                proof: "Written",
                proven: format!("{} with {}", self.path, self.digest),
                wanted: format!("{path} with {}", config.digest),
            })),
        }
    }
}

/// Writes the configuration to its file, unless the file has it already.
///
/// # Errors
/// The file cannot be written.
pub fn write(config: &Config, path: &Utf8Path) -> Result<Written, Error> {
    if config.is_stale() {
        write_atomically(path, &config.text)?;
    }
    Ok(Written {
        path: path.to_owned(),
        digest: config.digest.clone(),
    })
}

/// The result of rendering an environment.
#[derive(Debug)]
pub struct Outcome {
    /// Name of the environment.
    pub environment: String,
    /// Path of the file, relative to the workspace.
    pub path: Utf8PathBuf,
    /// Unified diff from the file to the rendered text; empty if they are equal.
    pub diff: String,
    /// Rendered text.
    pub text: String,
    /// Warnings.
    pub warnings: Vec<String>,
}

/// Renders an environment and compares the result with its file. Writes nothing.
///
/// # Errors
/// The environment or its release is not valid, or the file cannot be read.
pub fn one(workspace: &Workspace, name: &str) -> Result<Outcome, Error> {
    let mut environment = workspace.load(name)?;
    let release = workspace.release(&environment.release)?;
    let rendered = render(workspace, &mut environment, &release)?;
    let path = crate::workspace::Output::below(&workspace.environment(name)).config;
    let committed = crate::workspace::read_if_exists(&path)?;
    let shown = workspace.shown(&path).to_owned();
    let diff = diff(&shown, committed.as_deref(), &rendered.text);
    Ok(Outcome {
        environment: name.to_owned(),
        path: shown,
        diff,
        text: rendered.text,
        warnings: rendered.warnings,
    })
}

/// Writes the rendered text to the environment's file, unless they are equal.
///
/// # Errors
/// The file cannot be written.
pub fn keep(workspace: &Workspace, outcome: &Outcome) -> Result<(), Error> {
    if outcome.diff.is_empty() {
        return Ok(());
    }
    write_atomically(&workspace.root().join(&outcome.path), &outcome.text)
}

/// Returns the change of `path` as a unified diff, which is empty if there is none. Secrets in both
/// texts are masked from now on, also in the diff.
pub fn diff(path: &Utf8Path, old: Option<&str>, new: &str) -> String {
    for text in old.into_iter().chain([new]) {
        mask_secrets_of(path, text);
    }
    let diff = similar::TextDiff::from_lines(old.unwrap_or(""), new);
    let old_name = match old {
        Some(_) => format!("a/{path}"),
        None => "/dev/null".to_owned(),
    };
    diff.unified_diff()
        .context_radius(3)
        .header(&old_name, &format!("b/{path}"))
        .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_written_configuration_is_refused_for_a_different_one() {
        let config = |text: &str| Config {
            text: text.to_owned(),
            digest: crate::sha256(text.as_bytes()),
            committed: None,
            applied: None,
        };
        let folder = tempfile::tempdir().unwrap();
        let folder = Utf8Path::from_path(folder.path()).unwrap();
        let (lab, prod) = (folder.join("lab.yaml"), folder.join("prod.yaml"));
        let written = write(&config("a: 1\n"), &lab).unwrap();
        assert_eq!(written.require(&config("a: 1\n"), &lab).unwrap(), lab);
        for (text, path) in [("a: 2\n", &lab), ("a: 1\n", &prod)] {
            let refused = written.require(&config(text), path).unwrap_err();
            assert!(matches!(refused, Error::Proof(_)), "{refused}");
        }
    }
}
