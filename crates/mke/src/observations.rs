//! The observations of a release: the format of `environments/facts/<release>.yaml`.
//!
//! `learn` writes the file from a real bundle and a real mkectl. Its facts are *observed*. They
//! override the facts of the table, which come from documents. An environment's `facts` override
//! both.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::release::required_or_not;
use crate::table::table;
use crate::{Certainty, Release};

/// A flag of `mkectl apply`. A release has it if its clusters can pull with credentials
/// (APPLY-421).
pub const PULL_FLAG: &str = "--chart-registry-username";

/// The observations of one release.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Observations {
    /// The release with a leading `v`, such as `v4.1.5`.
    pub release: String,
    /// The bundles by architecture.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub bundles: BTreeMap<String, ObservedBundle>,
    /// The release's mkectl.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mkectl: Option<ObservedMkectl>,
}

/// The observations of a bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ObservedBundle {
    /// Its file name.
    pub file: String,
    /// Its size in bytes.
    pub size: u64,
    /// Its SHA-256, 64 hexadecimal digits.
    pub sha256: String,
    /// The folder that holds all its archives.
    pub top_folder: String,
    /// The number of archives of each kind.
    pub kinds: BTreeMap<String, usize>,
    /// The number of archives that have manifests of each media type.
    pub media_types: BTreeMap<String, usize>,
    /// The platforms of its images.
    pub platforms: Vec<String>,
    /// The path of its release matrix.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release_matrix: Option<String>,
    /// The number of files that are neither archives nor the release matrix.
    pub other_files: u64,
    /// The form of the vendor's checksum file: see [`checksum_form`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checksum_form: Option<String>,
    /// The archives that do not follow the rules of the table.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exceptions: Vec<Exception>,
}

/// An archive that does not follow the rules of the table, and how it is read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Exception {
    /// Its path in the bundle.
    pub archive: String,
    /// The broken rule: one of [`NAME_PROBLEM`], [`ROOTS_PROBLEM`] and [`ARCHIVE_PROBLEM`].
    pub problem: String,
    /// The `repository:tag` to mirror it as, if its file name does not contain one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    /// The digests of its roots and their names, if it has several roots.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub roots: BTreeMap<String, String>,
    /// The digest of the root to mirror, if it has several roots.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root: Option<String>,
    /// The reason not to mirror it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skip: Option<String>,
}

/// The observations of a mkectl.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ObservedMkectl {
    /// The output of `mkectl version`.
    pub version: String,
    /// The SHA-256 of its download by platform, 64 hexadecimal digits.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub sha256: BTreeMap<String, String>,
    /// The help page of each command.
    pub help: BTreeMap<String, String>,
}

/// An observation that differs from the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contradiction {
    /// The subject, as in [`Release::facts`].
    pub subject: &'static str,
    /// The fact of the table.
    pub known: String,
    /// The certainty of the fact of the table.
    pub certainty: Certainty,
    /// The observation.
    pub observed: String,
}

/// The reasons that a file of observations is not valid.
#[derive(Debug, thiserror::Error)]
pub enum ObservationsError {
    /// The text is not YAML, or a key is missing, unknown or of the wrong type.
    #[error("it is not a file of facts")]
    Syntax(#[source] serde_yaml::Error),
    /// A name or a help page contains control characters.
    #[error("it has control characters in `{0}`")]
    Control(&'static str),
    /// The file records a different release than its name.
    #[error("it is about {found}, not about {expected}")]
    Release {
        /// The release in the file's name.
        expected: String,
        /// The release in the file.
        found: String,
    },
    /// A key of an exception has a value that is not valid.
    #[error("the {what} `{text}` of the exception `{archive}` is not valid")]
    Unusable {
        /// The archive.
        archive: String,
        /// The key.
        what: String,
        /// Its value.
        text: String,
    },
    /// An exception has neither `skip` nor the key that a reader of the archive needs.
    #[error("the exception `{archive}` needs either `skip` or what is missing: {missing}")]
    Undecided {
        /// The archive.
        archive: String,
        /// The keys that are missing.
        missing: String,
    },
}

impl Observations {
    /// Reads the text of a file about `release`.
    ///
    /// # Errors
    ///
    /// The text is not in the format of [`Observations::to_yaml`], or records a different release.
    pub fn parse(text: &str, release: &semver::Version) -> Result<Self, ObservationsError> {
        let found: Self = serde_yaml::from_str(text).map_err(ObservationsError::Syntax)?;
        let expected = format!("v{release}");
        if found.release != expected {
            let found = found.release.escape_debug().to_string();
            return Err(ObservationsError::Release { expected, found });
        }
        found.check()?;
        Ok(found)
    }

    /// Returns the text of the file, which depends on the observations only.
    pub fn to_yaml(&self) -> String {
        let release = &self.release;
        let body = serde_yaml::to_string(self).expect("observations hold nothing that YAML cannot");
        format!(
            "# What was observed of {release}. Written by `learn {release}`; overlays what Airlock knows of it.\n\
             # Edit only `reference`, `root` and `skip` of exceptions; `learn` keeps them.\n{body}"
        )
    }

    /// Checks that no text contains control characters.
    fn check(&self) -> Result<(), ObservationsError> {
        let one_line = |what, text: &str| match text.chars().any(char::is_control) {
            true => Err(ObservationsError::Control(what)),
            false => Ok(()),
        };
        for (arch, bundle) in &self.bundles {
            let texts = [arch, &bundle.file, &bundle.sha256, &bundle.top_folder];
            let kinds = bundle.kinds.keys().chain(bundle.media_types.keys());
            let more = (bundle.platforms.iter())
                .chain(&bundle.release_matrix)
                .chain(&bundle.checksum_form);
            for text in texts.into_iter().chain(kinds).chain(more) {
                one_line("bundles", text)?;
            }
            for exception in &bundle.exceptions {
                let texts = [&exception.archive, &exception.problem];
                let chosen = (exception.reference.iter())
                    .chain(&exception.root)
                    .chain(&exception.skip);
                let roots = exception.roots.iter().flat_map(|(key, value)| [key, value]);
                for text in texts.into_iter().chain(chosen).chain(roots) {
                    one_line("exceptions", text)?;
                }
            }
        }
        let pages = self.mkectl.iter().flat_map(|mkectl| {
            let hashes = mkectl.sha256.iter().flat_map(|(key, value)| [key, value]);
            let help = mkectl.help.iter().flat_map(|(key, value)| [key, value]);
            std::iter::once(&mkectl.version).chain(hashes).chain(help)
        });
        for page in pages {
            let is_space = |character| matches!(character, '\n' | '\t');
            if (page.chars()).any(|character| character.is_control() && !is_space(character)) {
                return Err(ObservationsError::Control("mkectl"));
            }
        }
        Ok(())
    }

    /// Returns whether the release's clusters can pull only without credentials. `None` without the
    /// help page of `mkectl apply`.
    pub fn anonymous_pull_required(&self) -> Option<bool> {
        let page = self.mkectl.as_ref()?.help.get("apply")?;
        Some(!has_flag(page, PULL_FLAG))
    }

    /// Returns the observations that differ from the table.
    pub fn contradictions(&self) -> Vec<Contradiction> {
        let version = self.release.strip_prefix('v');
        let version = version.and_then(|version| version.parse().ok());
        let Some(release) = version.and_then(|version| Release::of(&version).ok()) else {
            return Vec::new();
        };
        let bundles = self.bundles.iter();
        let mut found: Vec<Contradiction> = bundles
            .flat_map(|(arch, bundle)| bundle.contradictions(&release, arch))
            .collect();
        found.extend(self.pull_contradiction(&release));
        for (platform, observed) in self.mkectl.iter().flat_map(|mkectl| &mkectl.sha256) {
            let downloads = release.mkectl().into_iter();
            let known = downloads
                .filter(|download| download.platform == platform)
                .filter_map(|download| download.sha256)
                .filter(|known| known != observed);
            found.extend(known.map(|known| Contradiction {
                subject: "mkectl",
                known: format!("{platform} {known}"),
                certainty: release.row().mkectl.certainty,
                observed: format!("{platform} {observed}"),
            }));
        }
        found
    }

    fn pull_contradiction(&self, release: &Release) -> Option<Contradiction> {
        let known = &release.row().anonymous_pull_required;
        let observed = self.anonymous_pull_required()?;
        (observed != known.value).then(|| Contradiction {
            subject: "anonymous pull",
            known: required_or_not(known.value),
            certainty: known.certainty,
            observed: match observed {
                true => format!("required: `mkectl apply` has no {PULL_FLAG}"),
                false => format!("not required: `mkectl apply` has {PULL_FLAG}"),
            },
        })
    }
}

impl ObservedBundle {
    /// Returns the observed layout of the bundle: for each subject of [`Release::facts`] the
    /// observation, and whether it agrees with the table.
    pub(crate) fn layout(&self) -> Vec<(&'static str, String, bool)> {
        let layout = &table().layout;
        let names = |problem: &str| -> Vec<&str> {
            let exceptions = self.exceptions.iter();
            exceptions
                .filter(|exception| exception.problem == problem)
                .map(|exception| base_name(&exception.archive))
                .collect()
        };
        let except = |rule: &str, names: &[&str]| match names {
            [] => rule.to_owned(),
            names => format!("{rule}, except {}", names.join(", ")),
        };
        let misnamed: Vec<&str> = [NAME_PROBLEM, ARCHIVE_PROBLEM]
            .into_iter()
            .flat_map(names)
            .collect();
        let with_several_roots = names(ROOTS_PROBLEM);
        let types = self.media_type_family();
        let matrix = self.release_matrix.as_deref().unwrap_or("none");
        let mut rows = vec![
            (
                "top folder",
                self.top_folder.clone(),
                self.top_folder == layout.top_folder.value,
            ),
            (
                "archive names",
                except(&layout.archive_names.value, &misnamed),
                misnamed.is_empty(),
            ),
            (
                "archive roots",
                except(&layout.archive_roots.value, &with_several_roots),
                with_several_roots.is_empty(),
            ),
            (
                "media types",
                types.clone(),
                types == layout.media_types.value,
            ),
            (
                "release matrix",
                matrix.to_owned(),
                [matrix, "unknown"].contains(&layout.release_matrix.value.as_str()),
            ),
        ];
        if let Some(form) = &self.checksum_form {
            let agrees = *form == layout.checksum_form.value;
            rows.push(("checksum form", form.clone(), agrees));
        }
        rows
    }

    fn media_type_family(&self) -> String {
        let has = |part: &str| self.media_types.keys().any(|name| name.contains(part));
        match (has(".oci."), has(".docker.")) {
            (_, false) => "oci",
            (false, true) => "docker",
            (true, true) => "docker and oci",
        }
        .to_owned()
    }

    fn contradictions(&self, release: &Release, arch: &str) -> Vec<Contradiction> {
        let bundle = &release.row().bundle;
        let name = release.bundle_pattern(arch);
        let file = (name != self.file).then(|| Contradiction {
            subject: "bundle",
            known: name,
            certainty: bundle.certainty,
            observed: self.file.clone(),
        });
        let layout = self.layout().into_iter().filter(|(_, _, agrees)| !agrees);
        let layout = layout.map(|(subject, observed, _)| {
            let known = table().layout.of(subject);
            Contradiction {
                subject,
                known: known.value.clone(),
                certainty: known.certainty,
                observed,
            }
        });
        file.into_iter().chain(layout).collect()
    }
}

impl Exception {
    /// Returns the exception if it decides how to read the archive.
    ///
    /// # Errors
    ///
    /// The exception has neither `skip` nor the key that a reader of the archive needs.
    pub fn decided(&self) -> Result<&Self, ObservationsError> {
        let needed = match self.problem.as_str() {
            NAME_PROBLEM if self.reference.is_none() => "reference",
            ROOTS_PROBLEM if self.root.is_none() => "root",
            ARCHIVE_PROBLEM => "skip",
            _ => return Ok(self),
        };
        match self.skip {
            Some(_) => Ok(self),
            None => Err(ObservationsError::Undecided {
                archive: self.archive.clone(),
                missing: needed.to_owned(),
            }),
        }
    }
}

/// The problem of an archive whose file name does not contain repository and tag.
pub const NAME_PROBLEM: &str = "the file name does not give repository and tag";
/// The problem of an archive whose `index.json` lists several roots.
pub const ROOTS_PROBLEM: &str = "index.json lists several roots";
/// The problem of a file with the name of an archive that is not an OCI archive.
pub const ARCHIVE_PROBLEM: &str = "it is not an OCI archive";

/// Returns the form of a checksum file's first line: `HASH`, `HASH  FILE`, `HASH *FILE` or
/// `SHA256 (FILE) = HASH`; `other` for anything else.
pub fn checksum_form(text: &str) -> &'static str {
    let line = text.trim_start_matches('\u{feff}').lines().next();
    let line = line.unwrap_or_default().trim_end();
    let is_hash = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit());
    match line.split_at_checked(64) {
        Some((hash, "")) if is_hash(hash) => "HASH",
        Some((hash, rest)) if is_hash(hash) && rest.starts_with(" *") => "HASH *FILE",
        Some((hash, rest)) if is_hash(hash) && rest.starts_with("  ") => "HASH  FILE",
        _ if line.starts_with("SHA256 (") => "SHA256 (FILE) = HASH",
        _ => "other",
    }
}

/// Returns whether a help page contains a flag as a whole word.
fn has_flag(page: &str, flag: &str) -> bool {
    page.split(|character: char| !(character.is_ascii_alphanumeric() || character == '-'))
        .any(|word| word == flag)
}

fn base_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

#[cfg(test)]
mod tests;
