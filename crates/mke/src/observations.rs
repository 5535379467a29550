//! What was observed of a release: the form of `environments/facts/<release>.yaml`, which overlays
//! the table of releases.
//!
//! `learn` writes the file from a real bundle and a real mkectl. A fact of it is *observed*, which
//! counts more than anything that the table has from documents. Only what people write into an
//! environment's `facts` counts more.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::table::table;
use crate::{Certainty, Release};

/// The flag of `mkectl apply` that only releases have whose clusters can pull with credentials
/// (APPLY-421).
pub const PULL_FLAG: &str = "--chart-registry-username";

/// Everything that was observed of one release.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Observations {
    /// The release, `v4.1.5`.
    pub release: String,
    /// The bundle of each architecture.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub bundles: BTreeMap<String, ObservedBundle>,
    /// The release's mkectl.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mkectl: Option<ObservedMkectl>,
}

/// What was observed of a bundle.
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
    /// The archives that do not follow the rules of the table, and how they are read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exceptions: Vec<Exception>,
}

/// An archive that does not follow the rules of the table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Exception {
    /// Its path in the bundle.
    pub archive: String,
    /// What is different.
    pub problem: String,
    /// The `repository:tag` under which it is mirrored, if its file name does not give one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    /// The digests of its roots and what each is called, if it has several.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub roots: BTreeMap<String, String>,
    /// The digest of the root that is mirrored, if it has several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root: Option<String>,
    /// Why it is not mirrored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skip: Option<String>,
}

/// What was observed of a mkectl.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ObservedMkectl {
    /// What `mkectl version` prints.
    pub version: String,
    /// The SHA-256 of its download by platform, 64 hexadecimal digits.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub sha256: BTreeMap<String, String>,
    /// The help page of each command.
    pub help: BTreeMap<String, String>,
}

/// Something that was observed and that the table has differently.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contradiction {
    /// What it is about, as in [`Release::facts`].
    pub subject: &'static str,
    /// What the table has.
    pub known: String,
    /// How well the table knows it.
    pub certainty: Certainty,
    /// What was observed.
    pub observed: String,
}

/// Why a file of observations cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ObservationsError {
    /// The text is not YAML, or a key is missing, unknown or of the wrong type.
    #[error("it is not a file of facts")]
    Syntax(#[source] serde_yaml::Error),
    /// A text has control characters, which no name and no help page has.
    #[error("it has control characters in `{0}`")]
    Control(&'static str),
    /// The file is about another release than its name.
    #[error("it is about {found}, not about {expected}")]
    Release {
        /// The release in the file's name.
        expected: String,
        /// The release in the file.
        found: String,
    },
    /// What an exception says cannot be used.
    #[error("the {what} `{text}` of the exception `{archive}` is not valid")]
    Unusable {
        /// The archive.
        archive: String,
        /// The key.
        what: String,
        /// Its value.
        text: String,
    },
    /// An exception says neither or both of how to read the archive and why not to.
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
    /// When the text is not in the form that [`Observations::to_yaml`] writes, or is about another
    /// release.
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

    /// Returns the file's text. The same observations have the same text.
    pub fn to_yaml(&self) -> String {
        let release = &self.release;
        let body = serde_yaml::to_string(self).expect("observations hold nothing that YAML cannot");
        format!(
            "# What was observed of {release}. Written by `learn {release}`; overlays what Airlock knows of it.\n\
             # Edit only `reference`, `root` and `skip` of exceptions; `learn` keeps them.\n{body}"
        )
    }

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
            let is_text = |character| matches!(character, '\n' | '\t');
            if page.chars().any(|one| one.is_control() && !is_text(one)) {
                return Err(ObservationsError::Control("mkectl"));
            }
        }
        Ok(())
    }

    /// Returns whether the release's clusters can pull with credentials only; `None` if no help of
    /// `mkectl apply` was seen.
    pub fn anonymous_pull_required(&self) -> Option<bool> {
        let page = self.mkectl.as_ref()?.help.get("apply")?;
        Some(!lists(page, PULL_FLAG))
    }

    /// Returns what was observed that the table has differently.
    pub fn contradictions(&self) -> Vec<Contradiction> {
        let Some(version) = self.release.strip_prefix('v') else {
            return Vec::new();
        };
        let Some(release) = version.parse().ok().and_then(|it| Release::of(&it).ok()) else {
            return Vec::new();
        };
        let bundles = self.bundles.iter();
        let mut found: Vec<Contradiction> = bundles
            .flat_map(|(arch, bundle)| bundle.contradictions(&release, arch))
            .collect();
        found.extend(self.pull_contradiction(&release));
        let hashes = self.mkectl.iter().flat_map(|mkectl| &mkectl.sha256);
        for (platform, observed) in hashes {
            let known = release.mkectl().into_iter();
            let known = known.filter(|one| one.platform == platform);
            let known = known.filter_map(|one| one.sha256);
            found.extend(
                known
                    .filter(|known| known != observed)
                    .map(|known| Contradiction {
                        subject: "mkectl",
                        known: format!("{platform} {known}"),
                        certainty: release.row().mkectl.certainty,
                        observed: format!("{platform} {observed}"),
                    }),
            );
        }
        found
    }

    fn pull_contradiction(&self, release: &Release) -> Option<Contradiction> {
        let known = &release.row().anonymous_pull_required;
        let observed = self.anonymous_pull_required()?;
        (observed != known.value).then(|| Contradiction {
            subject: "anonymous pull",
            known: required(known.value).to_owned(),
            certainty: known.certainty,
            observed: match observed {
                true => format!("required: `mkectl apply` has no {PULL_FLAG}"),
                false => format!("not required: `mkectl apply` has {PULL_FLAG}"),
            },
        })
    }
}

impl ObservedBundle {
    /// Returns what is known of the insides of bundles, for the rows of [`Release::facts`]: the
    /// subject, what the table has, what was observed, and whether the two agree.
    pub(crate) fn layout(&self) -> Vec<(&'static str, String, bool)> {
        let layout = &table().layout;
        let names = |problem: &str| -> Vec<&str> {
            let of_problem = self.exceptions.iter().filter(|one| one.problem == problem);
            of_problem.map(|one| base_name(&one.archive)).collect()
        };
        let except = |rule: &str, names: &[&str]| match names {
            [] => rule.to_owned(),
            names => format!("{rule}, except {}", names.join(", ")),
        };
        let odd: Vec<&str> = [NAME_PROBLEM, ARCHIVE_PROBLEM]
            .into_iter()
            .flat_map(names)
            .collect();
        let several = names(ROOTS_PROBLEM);
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
                except(&layout.archive_names.value, &odd),
                odd.is_empty(),
            ),
            (
                "archive roots",
                except(&layout.archive_roots.value, &several),
                several.is_empty(),
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
        let inside = self.layout().into_iter().filter(|(_, _, agrees)| !agrees);
        let inside = inside.map(|(subject, observed, _)| {
            let known = table().layout.of(subject);
            Contradiction {
                subject,
                known: known.value.clone(),
                certainty: known.certainty,
                observed,
            }
        });
        file.into_iter().chain(inside).collect()
    }
}

impl Exception {
    /// Returns the keys that a reader of the archive needs and that are missing.
    ///
    /// # Errors
    /// When it is undecided how to read the archive.
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

/// An archive whose file name does not give repository and tag.
pub const NAME_PROBLEM: &str = "the file name does not give repository and tag";
/// An archive whose `index.json` lists several roots.
pub const ROOTS_PROBLEM: &str = "index.json lists several roots";
/// A file that is called an archive and cannot be read as an OCI archive.
pub const ARCHIVE_PROBLEM: &str = "it is not an OCI archive";

/// Returns the form of a checksum file's first line: `HASH`, `HASH  FILE`, `HASH *FILE` or
/// `SHA256 (FILE) = HASH`; `other` for anything else.
pub fn checksum_form(text: &str) -> &'static str {
    let line = text.trim_start_matches('\u{feff}').lines().next();
    let line = line.unwrap_or_default().trim_end();
    let is_hash = |text: &str| text.len() == 64 && text.bytes().all(|it| it.is_ascii_hexdigit());
    match line.split_at_checked(64) {
        Some((hash, "")) if is_hash(hash) => "HASH",
        Some((hash, rest)) if is_hash(hash) && rest.starts_with(" *") => "HASH *FILE",
        Some((hash, rest)) if is_hash(hash) && rest.starts_with("  ") => "HASH  FILE",
        _ if line.starts_with("SHA256 (") => "SHA256 (FILE) = HASH",
        _ => "other",
    }
}

fn lists(page: &str, flag: &str) -> bool {
    page.split(|character: char| !(character.is_ascii_alphanumeric() || character == '-'))
        .any(|word| word == flag)
}

fn required(yes: bool) -> &'static str {
    if yes { "required" } else { "not required" }
}

fn base_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

#[cfg(test)]
mod tests;
