//! Why a set cannot be locked or fetched.

use camino::Utf8PathBuf;

use crate::Kind;

/// A reference whose target changed after it was locked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moved {
    /// Upstream reference, with its host.
    pub reference: String,
    /// Locked digest. A file of a bundle may have its URL or size instead.
    pub locked: String,
    /// Current digest, URL or size upstream; `None` if the tag or file is gone.
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
    /// The set's file does not parse.
    #[error(transparent)]
    Invalid(bundle::set::SetError),
    /// The name is not valid.
    #[error(
        "`{name}` is not a valid name of a set: only lower-case letters, digits and hyphens are allowed"
    )]
    Name {
        /// Name as given by the operator.
        name: String,
    },
    /// No set has this name.
    #[error("`{name}` is not a set: `{path}` does not exist")]
    Missing {
        /// Name as given by the operator.
        name: String,
        /// Expected path of the set's file, relative to the workspace.
        path: Utf8PathBuf,
        /// Names of the existing sets.
        known: Vec<String>,
    },
    /// An environment has the same name, and commands take both.
    #[error("{path}: `{name}` is the name of an environment, too")]
    NameOfEnvironment {
        /// Name as given by the operator.
        name: String,
        /// Path of the set's file, relative to the workspace.
        path: Utf8PathBuf,
    },
    /// The set has no lock.
    #[error("the set {set} is not locked: `{path}` does not exist")]
    NotLocked {
        /// Name of the set.
        set: String,
        /// Expected path of the lock, relative to the workspace.
        path: Utf8PathBuf,
    },
    /// The lock does not match the set's file.
    #[error("`{path}` does not fit its set: {}", differences.join("; "))]
    Outdated {
        /// Name of the set.
        set: String,
        /// Path of the lock, relative to the workspace.
        path: Utf8PathBuf,
        /// Each difference, as a sentence.
        differences: Vec<String>,
    },
    /// `--update` matches no entry of the set, or several.
    #[error("`{name}` names {} of the set {set}", if matching.is_empty() { "no entry" } else { "several entries" })]
    Entry {
        /// Name of the set.
        set: String,
        /// Argument of `--update`.
        name: String,
        /// Origins of the matching entries.
        matching: Vec<String>,
        /// Origins of all entries.
        known: Vec<String>,
    },
    /// The private CA of an upstream registry cannot be used.
    #[error("{set}: `ca` of {host} in `registries`: {rule}")]
    Ca {
        /// Path of the set's file, relative to the workspace.
        set: Utf8PathBuf,
        /// Host of the registry.
        host: String,
        /// Problem with the CA's file.
        rule: String,
    },
    /// An upstream registry does not serve a manifest or blob.
    #[error("cannot read {reference} from {host}")]
    Registry {
        /// Requested reference, or a digest of it.
        reference: String,
        /// Address of the registry, or of its mirror.
        host: String,
        /// Cause.
        source: registry::Error,
    },
    /// A web server does not serve a file that a set names by URL.
    #[error("cannot read {url} from {host}")]
    Download {
        /// URL of the file, without its query.
        url: String,
        /// Address of the server, or of its mirror.
        host: String,
        /// Cause.
        source: registry::Error,
    },
    /// The content of a reference is not a valid manifest.
    #[error("{reference} cannot be carried")]
    Content {
        /// Requested reference.
        reference: String,
        /// Cause.
        source: bundle::DescribeError,
    },
    /// A classic Helm repository lacks a chart, or serves an invalid one.
    #[error("{reference} cannot be carried")]
    Chart {
        /// Requested reference.
        reference: String,
        /// Cause.
        source: bundle::HelmError,
    },
    /// The lock of a set was edited, or written for different manifests.
    #[error("`{path}` does not list what manifest {manifest} of {reference} contains")]
    Contradiction {
        /// Path of the lock, relative to the workspace.
        path: Utf8PathBuf,
        /// Locked reference.
        reference: String,
        /// Digest of the manifest that differs.
        manifest: String,
    },
    /// A locked reference is missing from the sets: a set's file changed while the command ran.
    #[error("no set lists {reference} any more")]
    Unlisted {
        /// Locked reference.
        reference: String,
    },
    /// `fetch --check` found that the store lacks blobs of sets.
    #[error("bundles/store lacks {} that sets name", environment::count(*blobs, "blob"))]
    Unfetched {
        /// Number of missing blobs.
        blobs: usize,
    },
    /// An image or chart is inconsistent, too large, or nested too deeply.
    #[error("{reference} cannot be carried: {rule}")]
    Shape {
        /// Requested reference.
        reference: String,
        /// The violated rule.
        rule: &'static str,
    },
    /// An image lacks a requested platform.
    #[error("{reference} has no {platform}, only: {}", known.join(", "))]
    Platform {
        /// Reference of the image.
        reference: String,
        /// Requested platform, such as `linux/arm64`.
        platform: String,
        /// Platforms of the image.
        known: Vec<String>,
    },
    /// A chart is listed under `images`, or something else under `charts`.
    #[error("{reference} is listed under `{listed}`, but is {article} {kind}", article = if *kind == bundle::Kind::Chart { "a" } else { "an" })]
    ListedAs {
        /// Upstream reference.
        reference: String,
        /// Key in the set's file: `images` or `charts`.
        listed: &'static str,
        /// Actual kind of the artifact.
        kind: bundle::Kind,
    },
    /// The locked content was fetched, but references point to different content now.
    #[error("the set {set} is fetched as it was locked; {}", moved.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Moved {
        /// Name of the set.
        set: String,
        /// Each reference that moved.
        moved: Vec<Moved>,
    },
    /// Two locks of an environment have different content for the same `repository:tag`.
    #[error("{one} and {other} both have {reference}, with different content")]
    Collision {
        /// `repository:tag`.
        reference: String,
        /// Release or set of the first lock.
        one: String,
        /// Release or set of the second lock.
        other: String,
        /// Upstream reference, if two sets lock the same one.
        origin: Option<String>,
    },
    /// Two sets of an environment lock different content of the same bundle.
    #[error("the sets {one} and {other} have different content of {url}")]
    BundleCollision {
        /// URL of the bundle.
        url: String,
        /// Name of the first set.
        one: String,
        /// Name of the second set.
        other: String,
    },
    /// The argument of `--from` is not a registry.
    #[error("`{from}` is not a registry, such as `registry.mirantis.com/mke`")]
    From {
        /// The argument, without credentials.
        from: String,
    },
    /// The lists of a release contain no reference of the vendor.
    #[error("no line of {} begins with {}, as mkectl prints them", paths.join(", "), mke::vendor_prefixes())]
    NoReferences {
        /// Paths of the lists.
        paths: Vec<String>,
    },
    /// A line of a list is not a reference.
    #[error("{path}:{number}: `{text}` is not a reference")]
    Line {
        /// Path of the list.
        path: Utf8PathBuf,
        /// Line number, from 1.
        number: usize,
        /// Content of the line.
        text: String,
        /// Cause.
        source: bundle::set::ReferenceError,
    },
    /// The committed version of a lock cannot be read.
    #[error("cannot compare `{path}` with {revision}")]
    History {
        /// Path of the lock, relative to the workspace.
        path: Utf8PathBuf,
        /// Git revision of the committed version.
        revision: String,
        /// Cause.
        source: programs::Absent,
    },
    /// The public key of a bundle cannot be read.
    #[error("cannot read the key `{path}`")]
    Key {
        /// Path of the key, relative to the workspace.
        path: Utf8PathBuf,
        /// Cause.
        source: std::io::Error,
    },
    /// The file is not a public key.
    #[error("`{path}` is not a key that signatures are verified with")]
    KeyForm {
        /// Path of the key, relative to the workspace.
        path: Utf8PathBuf,
        /// Cause.
        source: bundle::SignatureError,
    },
    /// The file is not a signature.
    #[error("`{what}` is not a signature")]
    SignatureForm {
        /// URL of the signature, or its path relative to the workspace.
        what: String,
        /// Cause.
        source: bundle::SignatureError,
    },
    /// A bundle's signature does not match the key that the set names.
    #[error("`{path}` was not signed with `{key}`")]
    Signature {
        /// Path of the bundle, relative to the workspace.
        path: Utf8PathBuf,
        /// Path of the key, relative to the workspace.
        key: Utf8PathBuf,
        /// Cause.
        source: bundle::SignatureError,
    },
    /// A bundle has a different SHA-256 than the set lists.
    #[error("`{path}` has SHA-256 {found}, expected {expected}")]
    BundleSha256 {
        /// Path of the bundle, relative to the workspace.
        path: Utf8PathBuf,
        /// Expected SHA-256, 64 hexadecimal digits.
        expected: String,
        /// Actual SHA-256.
        found: String,
    },
    /// A bundle has the expected SHA-256 but is not valid.
    #[error("`{path}` cannot be carried")]
    Bundle {
        /// Path of the bundle, relative to the workspace.
        path: Utf8PathBuf,
        /// Cause.
        source: bundle::ReadError,
    },
    /// A bundle and another entry have the same `repository:tag`.
    #[error("{one} and {other} both have {reference}")]
    Overlap {
        /// `repository:tag`.
        reference: String,
        /// Origin of the first entry.
        one: String,
        /// URL of the bundle.
        other: String,
    },
    /// Credentials for a registry are not available.
    #[error("no credentials for {host}")]
    Credentials {
        /// Host of the registry, as in the set's file.
        host: String,
        /// Cause.
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
