//! A set: the committed list of images, charts, files and bundles that a cluster needs in addition
//! to its release. An operator writes it. A lock records the digests that its entries had when they
//! were locked.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use camino::{Utf8Path, Utf8PathBuf};
use oci_spec::image::Digest;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use url::Url;

use crate::name::{Name, NameError, SetNames};

mod fields;
mod mistake;
mod origin;
mod reference;

pub use mistake::Mistake;
pub use origin::{Origin, bundle_fault, file_name, url_fault};
pub use reference::{DOCKER_HUB, Reference, ReferenceError};

/// Folders in a project that Airlock uses itself: the state of environments, and uploads of a
/// preflight.
const RESERVED: [&str; 2] = ["airlock", "airlock-preflight"];

/// Description of the forms of an item, for errors.
const FORMS: &str =
    "a reference, a mapping with `reference`, or a chart's `repository`, `name` and `version`";

/// The content of a set's file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Set {
    /// Images in registries.
    pub images: Vec<Item>,
    /// Charts in registries and in classic Helm repositories.
    pub charts: Vec<Item>,
    /// Files on web servers.
    pub files: Vec<FileItem>,
    /// Bundles in the vendor's format, which are mirrored completely.
    pub bundles: Vec<BundleItem>,
    /// Whether signatures and attestations of images and charts in registries are mirrored, too.
    pub signatures: bool,
    /// Settings of upstream registries, by host.
    #[serde(deserialize_with = "fields::registries")]
    pub registries: BTreeMap<String, Upstream>,
}

/// Settings of an upstream registry.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Upstream {
    /// Registry that is used instead, `host[:port]` or `host[:port]/path`.
    #[serde(deserialize_with = "fields::mirror")]
    pub mirror: Option<String>,
    /// PEM file with the private CA of the registry, relative to the set's file.
    pub ca: Option<Utf8PathBuf>,
}

/// An image or a chart of a set, before validation. In the file it is a reference, or a mapping.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// Origin in the file.
    pub from: ItemSource,
    /// Selected platforms; empty for all.
    pub platforms: Vec<String>,
    /// Whether its signatures are mirrored; `None` for the default of the set.
    pub signatures: Option<bool>,
    /// Repository in the mirror, with or without a tag; `None` for the path upstream.
    pub place: Option<String>,
    /// Further repositories in the mirror, with or without a tag.
    pub aliases: Vec<String>,
}

/// A file of a set.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileItem {
    /// URL of the file.
    #[serde(deserialize_with = "fields::file_url")]
    pub url: Url,
    /// Digest, written in the file as 64 hexadecimal digits.
    #[serde(deserialize_with = "fields::sha256")]
    pub sha256: Digest,
    /// Repository in the mirror, with or without a tag; `None` for the path of the URL.
    #[serde(default, rename = "as", deserialize_with = "fields::some_place")]
    pub place: Option<String>,
    /// Further repositories in the mirror, with or without a tag.
    #[serde(default, deserialize_with = "fields::places")]
    pub aliases: Vec<String>,
}

/// A bundle of a set.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BundleItem {
    /// URL of the bundle.
    #[serde(deserialize_with = "fields::bundle_url")]
    pub url: Url,
    /// Digest that the bundle must have; `None` if the set gives none.
    #[serde(default, deserialize_with = "fields::some_sha256")]
    pub sha256: Option<Digest>,
    /// PEM file with the public key of its signature, relative to the set's file.
    #[serde(default)]
    pub key: Option<Utf8PathBuf>,
    /// URL of its signature; `None` for the bundle's URL with `.sig`.
    #[serde(default, deserialize_with = "fields::some_url")]
    pub signature: Option<Url>,
    /// Folder in the mirror that its repositories are put below.
    #[serde(default, rename = "as", deserialize_with = "fields::some_place")]
    pub place: Option<String>,
    /// Number of leading folders removed from the names of its archives.
    #[serde(default)]
    pub strip: u8,
}

/// Origin of an item in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ItemSource {
    /// A reference of a registry.
    Reference(String),
    /// A chart of a classic Helm repository: URL, name, version.
    HelmRepository(Url, String, String),
    /// A file: URL and digest.
    File(Url, Digest),
}

/// A validated image, chart or file of a set, with its place in the mirror.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Where it is downloaded from.
    pub origin: Origin,
    /// Whether it is listed under `charts`.
    pub is_chart: bool,
    /// Selected platforms, sorted; empty for all.
    pub platforms: Vec<String>,
    /// Whether its signatures and attestations are mirrored, too.
    pub signatures: bool,
    /// Repository in the mirror, below its project.
    pub repository: String,
    /// Tag in the mirror.
    pub tag: String,
    /// For an alias, the place of the entry itself, `repository:tag`.
    pub alias_of: Option<String>,
}

/// Reason why a set cannot be used.
#[derive(Debug)]
pub struct SetError {
    /// Path of the set's file.
    pub path: Utf8PathBuf,
    /// The problems, at least one.
    pub problems: Vec<SetProblem>,
}

impl SetError {
    /// Returns the error for one problem in the file at `path`.
    pub fn new(path: &Utf8Path, problem: SetProblem) -> Self {
        Self {
            path: path.to_owned(),
            problems: vec![problem],
        }
    }
}

impl fmt::Display for SetError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = &self.path;
        match self.problems.as_slice() {
            [problem @ SetProblem::Syntax { line, column, .. }] => {
                write!(formatter, "{path}:{line}:{column}: {problem}")
            }
            [problem] => write!(formatter, "{path}: {problem}"),
            problems => write!(formatter, "{path}: {} entries are wrong", problems.len()),
        }
    }
}

impl std::error::Error for SetError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self.problems.as_slice() {
            [problem] => problem.source(),
            _ => None,
        }
    }
}

/// A problem in a set's file.
#[derive(Debug, thiserror::Error)]
pub enum SetProblem {
    /// The text is not YAML, or not a set.
    #[error("the set is not valid")]
    Syntax {
        /// Line, from 1; 1 if the place is not known.
        line: usize,
        /// Column, from 1; 1 if the place is not known.
        column: usize,
        /// The mistake.
        source: Mistake,
    },
    /// A reference cannot be parsed.
    #[error("`{text}` is not a reference")]
    Reference {
        /// The text in the set.
        text: String,
        /// The cause.
        source: ReferenceError,
    },
    /// A name in the mirror is not valid.
    #[error("{reference} would become {place} in your registry, which is not a valid name")]
    Place {
        /// Reference of the entry.
        reference: String,
        /// Name in the mirror, below registry and project.
        place: String,
        /// The cause.
        source: NameError,
    },
    /// An alias is not a valid name in the mirror.
    #[error("`{text}` in `aliases` is not a repository")]
    Alias {
        /// The text in the set.
        text: String,
        /// The cause.
        source: NameError,
    },
    /// A platform is not `os/architecture[/variant]`.
    #[error("`{text}` is not a platform, such as `linux/amd64`")]
    Platform {
        /// The text in the set.
        text: String,
    },
    /// A chart of a classic repository is listed as an image.
    #[error("{reference} is listed under `images`, but is a chart")]
    NotAnImage {
        /// Reference of the entry.
        reference: String,
    },
    /// Two entries have the same name in the mirror.
    #[error("{one} and {other} would both become {place} in your registry")]
    Collision {
        /// The first entry.
        one: String,
        /// The second entry.
        other: String,
        /// Name in the mirror, below registry and project.
        place: String,
    },
    /// An alias repeats a name that the same entry already has.
    #[error("`aliases` of {reference} repeats {place}")]
    AliasTwice {
        /// Reference of the entry.
        reference: String,
        /// Name in the mirror, below registry and project.
        place: String,
    },
    /// A name in the mirror is in a folder that Airlock uses itself.
    #[error(
        "{reference} would become {place} in your registry, and {folder}/ is reserved for Airlock"
    )]
    Reserved {
        /// Reference of the entry.
        reference: String,
        /// Name in the mirror, below registry and project.
        place: String,
        /// The reserved folder.
        folder: &'static str,
    },
    /// The set lists a reference twice.
    #[error("{reference} is listed twice")]
    Twice {
        /// The reference.
        reference: String,
    },
    /// A bundle has a signature, but no key to verify it.
    #[error("{url} has a `signature`, but no `key` to verify it with")]
    SignatureWithoutKey {
        /// URL of the bundle.
        url: String,
    },
    /// Two bundles have the same file name.
    #[error("{one} and {other} would both be downloaded as bundles/{file}")]
    SameFile {
        /// URL of the first.
        one: String,
        /// URL of the second.
        other: String,
        /// The file name.
        file: String,
    },
    /// The set lists nothing.
    #[error("the set lists no images, charts, files or bundles")]
    Empty,
}

impl Set {
    /// Suffix of the file names of sets.
    pub const SUFFIX: &str = ".set.yaml";

    /// Parses the text of a set's file. Errors name `path`.
    ///
    /// # Errors
    /// [`SetProblem::Syntax`] if the text is not a set.
    pub fn parse(text: &str, path: &Utf8Path) -> Result<Self, SetError> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        redaction::yaml::read_lines(text).map_err(|source: serde_yaml::Error| {
            let place = source.location();
            SetError::new(
                path,
                SetProblem::Syntax {
                    line: place.as_ref().map_or(1, serde_yaml::Location::line),
                    column: place.as_ref().map_or(1, serde_yaml::Location::column),
                    source: source.into(),
                },
            )
        })
    }

    /// Validates the set and returns its images, charts and files in this order. Bundles are
    /// validated, too. Errors name `path`.
    ///
    /// # Errors
    /// [`SetError`] if a value is not valid, or two entries have the same name in the mirror.
    pub fn entries(&self, path: &Utf8Path) -> Result<Vec<Entry>, SetError> {
        let mut entries: Vec<Entry> = Vec::new();
        let mut problems = Vec::new();
        let mut places: HashMap<String, String> = HashMap::new();
        let files: Vec<Item> = self.files.iter().map(FileItem::item).collect();
        let items = self.images.iter().map(|item| (item, false));
        let items = items.chain(self.charts.iter().map(|item| (item, true)));
        for (item, is_chart) in items.chain(files.iter().map(|item| (item, false))) {
            let entry = match item.entry(is_chart, self.signatures) {
                Ok(entry) => entry,
                Err(error) => {
                    problems.push(error);
                    continue;
                }
            };
            let aliases = item.aliases.iter();
            let aliases = aliases.map(|alias| item.alias(alias, &entry));
            for entry in std::iter::once(Ok(entry.clone())).chain(aliases) {
                match entry.and_then(|entry| placed(&mut places, entry)) {
                    Ok(entry) => entries.push(entry),
                    Err(error) => problems.push(error),
                }
            }
        }
        let mut files = HashMap::new();
        for bundle in &self.bundles {
            problems.extend(bundle.check(&mut files).err());
        }
        if problems.is_empty() && entries.is_empty() && self.bundles.is_empty() {
            problems.push(SetProblem::Empty);
        }
        match problems.is_empty() {
            true => Ok(entries),
            false => Err(SetError {
                path: path.to_owned(),
                problems,
            }),
        }
    }
}

impl BundleItem {
    /// Validates the bundle. `files` has the URLs of the bundles before it by file name.
    fn check<'a>(&'a self, files: &mut HashMap<&'a str, &'a Url>) -> Result<(), SetProblem> {
        let url = self.url.to_string();
        if let Some(place) = &self.place {
            Name::new(place, "latest").map_err(|source| SetProblem::Place {
                reference: url.clone(),
                place: place.clone(),
                source,
            })?;
            check_folder(place, &url, place)?;
        }
        if self.signature.is_some() && self.key.is_none() {
            return Err(SetProblem::SignatureWithoutKey { url });
        }
        let file = file_name(&self.url);
        match files.insert(file, &self.url) {
            None => Ok(()),
            Some(one) if *one == self.url => Err(SetProblem::Twice { reference: url }),
            Some(one) => Err(SetProblem::SameFile {
                one: one.to_string(),
                other: url,
                file: file.to_owned(),
            }),
        }
    }

    /// Returns the rule that derives repositories and tags from its archives.
    pub fn names(&self) -> SetNames {
        SetNames {
            strip: self.strip,
            place: self.place.clone(),
        }
    }

    /// Returns whether this SHA-256, 64 hexadecimal digits, is the one in the set, or the set gives
    /// none.
    pub fn accepts(&self, sha256: &str) -> bool {
        let listed = self.sha256.as_ref();
        listed.is_none_or(|digest| digest.digest() == sha256)
    }

    /// Returns the URL of its signature.
    pub fn signature_url(&self) -> Url {
        self.signature.clone().unwrap_or_else(|| {
            let mut url = self.url.clone();
            url.set_path(&format!("{}.sig", self.url.path()));
            url
        })
    }
}

/// Returns the entry if no entry before has its place in the mirror.
fn placed(places: &mut HashMap<String, String>, entry: Entry) -> Result<Entry, SetProblem> {
    let other = entry.origin.to_string();
    let place = entry.place();
    match places.get(&place) {
        None => {
            places.insert(place, other);
            Ok(entry)
        }
        Some(one) if *one == other => {
            let reference = other;
            Err(match entry.alias_of {
                None => SetProblem::Twice { reference },
                Some(_) => SetProblem::AliasTwice { reference, place },
            })
        }
        Some(one) => Err(SetProblem::Collision {
            one: one.clone(),
            other,
            place,
        }),
    }
}

impl FileItem {
    fn item(&self) -> Item {
        Item {
            from: ItemSource::File(self.url.clone(), self.sha256.clone()),
            platforms: Vec::new(),
            signatures: None,
            place: self.place.clone(),
            aliases: self.aliases.clone(),
        }
    }
}

impl Item {
    fn entry(&self, is_chart: bool, signatures: bool) -> Result<Entry, SetProblem> {
        let origin = match &self.from {
            ItemSource::Reference(text) => {
                let bare = text.strip_prefix("oci://").filter(|_| is_chart);
                let reference = Reference::parse(bare.unwrap_or(text));
                Origin::Registry(reference.map_err(|source| SetProblem::Reference {
                    text: text.clone(),
                    source,
                })?)
            }
            ItemSource::HelmRepository(url, name, version) => Origin::HelmRepository {
                repository: url.as_str().trim_end_matches('/').to_owned(),
                name: name.clone(),
                version: version.clone(),
            },
            ItemSource::File(url, digest) => Origin::File {
                url: url.clone(),
                digest: digest.clone(),
            },
        };
        let upstream = origin.place();
        let (repository, tag) = match &self.place {
            None => upstream,
            Some(place) => match place.rsplit_once(':') {
                Some((repository, tag)) => (repository.to_owned(), tag.to_owned()),
                None => (place.clone(), upstream.1),
            },
        };
        let place = format!("{repository}:{tag}");
        Name::new(&repository, &tag).map_err(|source| SetProblem::Place {
            reference: origin.to_string(),
            place: place.clone(),
            source,
        })?;
        if !is_chart && matches!(origin, Origin::HelmRepository { .. }) {
            return Err(SetProblem::NotAnImage {
                reference: origin.to_string(),
            });
        }
        check_folder(&repository, &origin.to_string(), &place)?;
        let mut platforms = self.platforms.clone();
        platforms.sort();
        platforms.dedup();
        if let Some(wrong) = platforms.iter().find(|one| !is_platform(one)) {
            return Err(SetProblem::Platform {
                text: wrong.clone(),
            });
        }
        let is_registry = matches!(origin, Origin::Registry(_));
        Ok(Entry {
            signatures: is_registry && self.signatures.unwrap_or(signatures),
            origin,
            is_chart,
            platforms,
            repository,
            tag,
            alias_of: None,
        })
    }

    /// Returns the entry of an alias. Without a tag it has that of `entry`.
    fn alias(&self, alias: &str, entry: &Entry) -> Result<Entry, SetProblem> {
        let place = match alias.contains(':') {
            true => alias.to_owned(),
            false => format!("{alias}:{}", entry.tag),
        };
        let item = Self {
            place: Some(place),
            ..self.clone()
        };
        let alias_entry = item.entry(entry.is_chart, entry.signatures);
        let alias_entry = alias_entry.map_err(|error| match error {
            SetProblem::Place { source, .. } => SetProblem::Alias {
                text: alias.to_owned(),
                source,
            },
            error => error,
        })?;
        Ok(Entry {
            alias_of: Some(entry.place()),
            ..alias_entry
        })
    }
}

impl Entry {
    /// Returns the name in the mirror, `repository:tag`.
    pub fn place(&self) -> String {
        format!("{}:{}", self.repository, self.tag)
    }
}

/// Refuses a repository in a folder that Airlock uses itself. Errors name `reference` and
/// `place`.
///
/// # Errors
/// [`SetProblem::Reserved`] if the first folder of the repository is reserved.
pub fn check_folder(repository: &str, reference: &str, place: &str) -> Result<(), SetProblem> {
    let first = repository.split('/').next();
    match RESERVED.into_iter().find(|one| Some(*one) == first) {
        None => Ok(()),
        Some(folder) => Err(SetProblem::Reserved {
            reference: reference.to_owned(),
            place: place.to_owned(),
            folder,
        }),
    }
}

/// Returns whether the platform of an image is selected by `asked`. `linux/arm64` selects each
/// variant of it.
pub fn is_platform_of(asked: &str, platform: &str) -> bool {
    platform
        .strip_prefix(asked)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Returns whether `name` is valid for a set: lower-case letters, digits and hyphens, and not like
/// a release.
pub fn is_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    let first = bytes.next().is_some_and(|byte| byte.is_ascii_lowercase());
    let is_word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let is_release =
        name.starts_with('v') && name[1..].starts_with(|one: char| one.is_ascii_digit());
    first && bytes.all(is_word) && !name.ends_with('-') && !is_release && name.len() <= 64
}

fn is_platform(text: &str) -> bool {
    let parts: Vec<&str> = text.split('/').collect();
    let is_word = |part: &&str| {
        !part.is_empty()
            && part
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
    };
    (2..=3).contains(&parts.len()) && parts.iter().all(is_word)
}

impl<'de> Deserialize<'de> for Item {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(rename_all = "kebab-case", deny_unknown_fields)]
        struct Form {
            reference: Option<String>,
            #[serde(default, deserialize_with = "fields::some_url")]
            repository: Option<Url>,
            name: Option<String>,
            version: Option<String>,
            #[serde(default)]
            platforms: Vec<String>,
            signatures: Option<bool>,
            #[serde(default, rename = "as", deserialize_with = "fields::some_place")]
            place: Option<String>,
            #[serde(default, deserialize_with = "fields::places")]
            aliases: Vec<String>,
        }

        struct ItemVisitor;

        impl<'de> Visitor<'de> for ItemVisitor {
            type Value = Item;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(FORMS)
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Item, E> {
                let text = fields::without_credentials(text)?;
                Ok(Item {
                    from: ItemSource::Reference(text.to_owned()),
                    platforms: Vec::new(),
                    signatures: None,
                    place: None,
                    aliases: Vec::new(),
                })
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Item, A::Error> {
                let form = Form::deserialize(serde::de::value::MapAccessDeserializer::new(map))?;
                fields::without_credentials(form.reference.as_deref().unwrap_or_default())?;
                let from = match (form.reference, form.repository, form.name, form.version) {
                    (Some(reference), None, None, None) => ItemSource::Reference(reference),
                    (None, Some(url), Some(name), Some(version)) => {
                        ItemSource::HelmRepository(url, name, version)
                    }
                    _ => return Err(serde::de::Error::custom(format!("expected {FORMS}"))),
                };
                Ok(Item {
                    from,
                    platforms: form.platforms,
                    signatures: form.signatures,
                    place: form.place,
                    aliases: form.aliases,
                })
            }
        }

        deserializer.deserialize_any(ItemVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(text: &str) -> Result<Vec<Entry>, SetError> {
        let path = Utf8Path::new("bundles/platform.set.yaml");
        Set::parse(text, path)?.entries(path)
    }

    #[test]
    fn a_set_lists_references_and_mappings() {
        let listed = entries(
            "images:\n- nginx:1.29\n- reference: quay.io/a/b:v1\n  platforms: [linux/arm64, linux/amd64]\n  as: mirror/b\n\
             charts:\n- oci://ghcr.io/org/chart:1.0.0\nregistries:\n  docker.io: { mirror: 'mirror.example.com:5000/hub' }\n",
        )
        .unwrap();
        let places: Vec<String> = listed.iter().map(Entry::place).collect();
        assert_eq!(
            places,
            ["library/nginx:1.29", "mirror/b:v1", "org/chart:1.0.0"]
        );
        assert_eq!(listed[1].platforms, ["linux/amd64", "linux/arm64"]);
        assert!(listed[2].is_chart);
    }

    #[test]
    fn errors_name_the_entry() {
        for (text, wrong) in [
            ("images: []\n", "lists no images, charts, files or bundles"),
            ("images: [a b]\n", "`a b` is not a reference"),
            (
                "images: [{ reference: nginx, as: A }]\n",
                "nginx:latest would become A:latest in your registry, which is not a valid name",
            ),
            (
                "images: [{ reference: nginx, platforms: [amd64] }]\n",
                "`amd64` is not a platform",
            ),
            ("image: [nginx]\n", ":1:1: the set is not valid"),
            (
                "images: [quay.io/a/b:1, ghcr.io/a/b:1]\n",
                "quay.io/a/b:1 and ghcr.io/a/b:1 would both become a/b:1 in your registry",
            ),
        ] {
            let error = entries(text).unwrap_err().to_string();
            assert!(error.contains(wrong), "{text}: {error}");
        }
    }

    #[test]
    fn all_errors_are_reported() {
        let error = entries(
            "images:\n- a b\n- nginx:1\n- { reference: redis, platforms: [amd64], aliases: [X] }\n- { reference: nginx:1, aliases: [B] }\n",
        );
        let error = error.unwrap_err();
        assert_eq!(
            error.to_string(),
            "bundles/platform.set.yaml: 4 entries are wrong"
        );
        let wrong: Vec<String> = error.problems.iter().map(SetProblem::to_string).collect();
        assert_eq!(
            wrong,
            [
                "`a b` is not a reference",
                "`amd64` is not a platform, such as `linux/amd64`",
                "docker.io/library/nginx:1 is listed twice",
                "`B` in `aliases` is not a repository",
            ]
        );
    }

    #[test]
    fn a_chart_of_a_classic_repository_keeps_its_path() {
        let listed = entries(
            "charts:\n- { repository: 'https://charts.example.com/stable/', name: dex, version: 1.0.0+k0s }\n\
             - { repository: 'http://127.0.0.1:80', name: dex, version: 1.0.0, as: charts/dex }\n",
        )
        .unwrap();
        let shown: Vec<String> = listed.iter().map(|one| one.origin.to_string()).collect();
        assert_eq!(
            shown,
            [
                "https://charts.example.com/stable/dex:1.0.0+k0s",
                "http://127.0.0.1/dex:1.0.0"
            ]
        );
        let places: Vec<String> = listed.iter().map(Entry::place).collect();
        assert_eq!(places, ["stable/dex:1.0.0_k0s", "charts/dex:1.0.0"]);
    }

    #[test]
    fn names_of_sets_do_not_look_like_releases() {
        for name in ["platform", "gpu-operators", "v", "vault", "a1"] {
            assert!(is_name(name), "{name}");
        }
        for name in [
            "",
            "v4",
            "v4-1-5-amd64",
            "A",
            "a_b",
            "-a",
            "a-",
            "a.b",
            "../a",
            "1a",
        ] {
            assert!(!is_name(name), "{name}");
        }
    }

    #[test]
    fn a_platform_selects_its_variants() {
        assert!(is_platform_of("linux/arm64", "linux/arm64/v8"));
        assert!(is_platform_of("linux/arm/v7", "linux/arm/v7"));
        assert!(!is_platform_of("linux/arm", "linux/arm64"));
        assert!(!is_platform_of("linux/arm/v7", "linux/arm"));
    }
}
