//! Why a set cannot be locked or fetched.

use camino::Utf8PathBuf;

use crate::Kind;

/// A reference whose target changed after it was locked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moved {
    /// The reference, with its host.
    pub reference: String,
    /// The digest that is locked.
    pub locked: String,
    /// What the registry has now; nothing if the tag is gone.
    pub now: Option<String>,
}

impl std::fmt::Display for Moved {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (reference, locked) = (&self.reference, &self.locked);
        match &self.now {
            Some(now) => write!(
                formatter,
                "moved upstream: {reference} was {locked} when it was locked and is {now} now"
            ),
            None => write!(
                formatter,
                "removed upstream: {reference} (locked as {locked})"
            ),
        }
    }
}

/// Why a set cannot be locked or fetched.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The set's file is wrong.
    #[error(transparent)]
    Invalid(bundle::set::SetError),
    /// A name cannot be that of a set.
    #[error(
        "`{name}` is not a valid name of a set: only lower-case letters, digits and hyphens are allowed"
    )]
    Name {
        /// The name.
        name: String,
    },
    /// No set has this name.
    #[error("`{name}` is not a set: `{path}` does not exist")]
    Missing {
        /// The name.
        name: String,
        /// Where its file would be, relative to the workspace.
        path: Utf8PathBuf,
        /// The sets that exist.
        known: Vec<String>,
    },
    /// An environment has the same name, and commands take both.
    #[error("{path}: `{name}` is the name of an environment, too")]
    NameOfEnvironment {
        /// The name.
        name: String,
        /// The set's file, relative to the workspace.
        path: Utf8PathBuf,
    },
    /// The set has no lock.
    #[error("the set {set} is not locked: `{path}` does not exist")]
    NotLocked {
        /// The set.
        set: String,
        /// Where its lock would be, relative to the workspace.
        path: Utf8PathBuf,
    },
    /// The lock is not of what the set's file lists.
    #[error("`{path}` does not fit its set: {}", differences.join("; "))]
    Outdated {
        /// The set.
        set: String,
        /// The lock, relative to the workspace.
        path: Utf8PathBuf,
        /// What differs.
        differences: Vec<String>,
    },
    /// `--update` names no entry of the set, or several.
    #[error("`{name}` names {} of the set {set}", if matching.is_empty() { "no entry" } else { "several entries" })]
    Entry {
        /// The set.
        set: String,
        /// What was named.
        name: String,
        /// The entries that it fits.
        matching: Vec<String>,
        /// All entries.
        known: Vec<String>,
    },
    /// The private CA of a registry cannot be used.
    #[error("{set}: `ca` of {host} in `registries`: {rule}")]
    Ca {
        /// The set's file, relative to the workspace.
        set: Utf8PathBuf,
        /// The registry.
        host: String,
        /// What is wrong with the file that it names.
        rule: String,
    },
    /// A registry does not serve what is asked of it.
    #[error("cannot read {reference} from {host}")]
    Registry {
        /// What is asked for.
        reference: String,
        /// The registry that was asked.
        host: String,
        /// Why not.
        source: registry::Error,
    },
    /// A server does not serve a file that a set names by its URL.
    #[error("cannot read {url} from {host}")]
    Download {
        /// The URL, without its query.
        url: String,
        /// The server that was asked.
        host: String,
        /// Why not.
        source: registry::Error,
    },
    /// A registry serves something that cannot be carried.
    #[error("{reference} cannot be carried")]
    Content {
        /// What was asked for.
        reference: String,
        /// Why not.
        source: bundle::DescribeError,
    },
    /// A classic Helm repository does not have a chart, or has something that is not one.
    #[error("{reference} cannot be carried")]
    Chart {
        /// What was asked for.
        reference: String,
        /// Why not.
        source: bundle::HelmError,
    },
    /// The lock of a set was changed by hand, or it was not written for these manifests.
    #[error("`{path}` does not list what manifest {manifest} of {reference} contains")]
    Contradiction {
        /// The lock's file, relative to the workspace.
        path: Utf8PathBuf,
        /// What is locked.
        reference: String,
        /// The digest of its manifest.
        manifest: String,
    },
    /// The set's file was changed while the command ran.
    #[error("no set lists {reference} any more")]
    Unlisted {
        /// What is locked.
        reference: String,
    },
    /// A check found that the store lacks blobs of sets.
    #[error("bundles/store lacks {} that sets name", environment::count(*blobs, "blob"))]
    Unfetched {
        /// How many.
        blobs: usize,
    },
    /// A document of an image is too large, or its parts are nested too deeply.
    #[error("{reference} cannot be carried: {rule}")]
    Shape {
        /// What was asked for.
        reference: String,
        /// What is wrong with it.
        rule: &'static str,
    },
    /// An image does not have a platform.
    #[error("{reference} has no {platform}, only: {}", known.join(", "))]
    Platform {
        /// The image.
        reference: String,
        /// The platform.
        platform: String,
        /// What it has.
        known: Vec<String>,
    },
    /// A chart is listed as an image, or something else as a chart.
    #[error("{reference} is listed under `{listed}`, but is {article} {kind}", article = if *kind == bundle::Kind::Chart { "a" } else { "an" })]
    ListedAs {
        /// The reference.
        reference: String,
        /// The list that has it.
        listed: &'static str,
        /// What it is.
        kind: bundle::Kind,
    },
    /// What was locked is fetched, but references point to something else by now.
    #[error("the set {set} is fetched as it was locked; {}", moved.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Moved {
        /// The set.
        set: String,
        /// Which references, and how.
        moved: Vec<Moved>,
    },
    /// Two locks of an environment give one name to different things.
    #[error("{one} and {other} both have {reference}, with different content")]
    Collision {
        /// `repository:tag`.
        reference: String,
        /// The first lock, by its release or set.
        one: String,
        /// The second one.
        other: String,
        /// The upstream reference, if it is that of two sets.
        origin: Option<String>,
    },
    /// Two sets of an environment have different content of one bundle.
    #[error("the sets {one} and {other} have different content of {url}")]
    BundleCollision {
        /// The bundle's URL.
        url: String,
        /// The first set.
        one: String,
        /// The second set.
        other: String,
    },
    /// What a release is to be locked from is not a registry.
    #[error("`{from}` is not a registry, such as `registry.mirantis.com/mke`")]
    From {
        /// What was named.
        from: String,
    },
    /// The lists of a release name nothing of it.
    #[error("no line of {} begins with {}, as mkectl prints them", paths.join(", "), mke::vendor_prefixes())]
    NoReferences {
        /// The lists.
        paths: Vec<String>,
    },
    /// A list of references has something else.
    #[error("{path}:{number}: `{text}` is not a reference")]
    Line {
        /// The list.
        path: Utf8PathBuf,
        /// The line, from 1.
        number: usize,
        /// What it has.
        text: String,
        /// What is wrong with it.
        source: bundle::set::ReferenceError,
    },
    /// The committed lock of a release or a set cannot be read.
    #[error("cannot compare `{path}` with {revision}")]
    History {
        /// The lock, relative to the workspace.
        path: Utf8PathBuf,
        /// The revision that has the committed one.
        revision: String,
        /// Why not.
        source: programs::Absent,
    },
    /// The key of a bundle cannot be read.
    #[error("cannot read the key `{path}`")]
    Key {
        /// The file, relative to the workspace.
        path: Utf8PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The key of a bundle is not one.
    #[error("`{path}` is not a key that signatures are verified with")]
    KeyForm {
        /// The file, relative to the workspace.
        path: Utf8PathBuf,
        /// What is wrong with it.
        source: bundle::SignatureError,
    },
    /// The signature of a bundle is not one.
    #[error("`{what}` is not a signature")]
    SignatureForm {
        /// Its URL, or its file relative to the workspace.
        what: String,
        /// What is wrong with it.
        source: bundle::SignatureError,
    },
    /// A bundle was not signed with the key that the set names.
    #[error("`{path}` was not signed with `{key}`")]
    Signature {
        /// The bundle, relative to the workspace.
        path: Utf8PathBuf,
        /// The key, relative to the workspace.
        key: Utf8PathBuf,
        /// What is wrong with it.
        source: bundle::SignatureError,
    },
    /// A bundle is not the one that the set lists.
    #[error("`{path}` has SHA-256 {found}, expected {expected}")]
    BundleSha256 {
        /// The bundle, relative to the workspace.
        path: Utf8PathBuf,
        /// What is expected, 64 hexadecimal digits.
        expected: String,
        /// What it has.
        found: String,
    },
    /// A bundle is the expected one, but cannot be read.
    #[error("`{path}` cannot be carried")]
    Bundle {
        /// The bundle, relative to the workspace.
        path: Utf8PathBuf,
        /// What is wrong with it.
        source: bundle::ReadError,
    },
    /// A bundle has an artifact under the name of a different entry.
    #[error("{one} and {other} both have {reference}")]
    Overlap {
        /// `repository:tag`.
        reference: String,
        /// The first entry.
        one: String,
        /// The bundle's URL.
        other: String,
    },
    /// Credentials for a registry are not available.
    #[error("no credentials for {host}")]
    Credentials {
        /// The registry.
        host: String,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl Error {
    /// Returns the kind of the failure.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Invalid(_)
            | Self::Missing { .. }
            | Self::Name { .. }
            | Self::NameOfEnvironment { .. }
            | Self::NotLocked { .. }
            | Self::Outdated { .. }
            | Self::Unlisted { .. }
            | Self::Ca { .. }
            | Self::Key { .. }
            | Self::KeyForm { .. }
            | Self::Overlap { .. }
            | Self::BundleCollision { .. }
            | Self::Platform { .. }
            | Self::ListedAs { .. }
            | Self::Collision { .. }
            | Self::History { .. }
            | Self::Line { .. }
            | Self::NoReferences { .. }
            | Self::Credentials { .. } => Kind::Workspace,
            Self::Entry { .. } | Self::From { .. } => Kind::Usage,
            Self::Download {
                source: registry::Error::DigestMismatch { .. },
                ..
            } => Kind::Content,
            Self::Registry { .. } | Self::Download { .. } => Kind::Registry,
            Self::Content { .. }
            | Self::Chart { .. }
            | Self::Contradiction { .. }
            | Self::Signature { .. }
            | Self::SignatureForm { .. }
            | Self::BundleSha256 { .. }
            | Self::Bundle { .. }
            | Self::Unfetched { .. }
            | Self::Shape { .. } => Kind::Content,
            Self::Moved { .. } => Kind::Outdated,
        }
    }
}
