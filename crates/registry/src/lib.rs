//! Pushes OCI artifacts to a registry byte for byte, verifies that the registry has them, and reads
//! them back.
//!
//! Callers and their callees, from the outside in:
//!
//! ```text
//! push       many artifacts as one transfer, or one artifact; returns a confirmation for each
//!   plan       which blob goes to which repository: sent once per registry, then mounted
//!   executor   runs the plan and decides what a failure ends; `queues` orders the blobs that wait
//!   ensure     one blob in one repository with the fewest requests: present, mounted or uploaded
//!     upload     one upload with its attempts; `body` reads, hashes and monitors the bytes
//!     stream     a large blob in one request without a length, which can end after any byte
//!       session_store  stores its session for the next run
//!     parts      a blob in several requests, if it is too large for one
//!   blob       looks up and reads one blob
//!   manifest   looks up, puts and reads one manifest
//!   remove     removes one manifest or tag, and lists tags
//!   pull       reads one blob and resumes after a lost connection
//!   restore    uploads one blob or manifest that a registry lost
//!     transport  one request: authenticates, sends, follows redirects, retries
//!       response         an expected response and its body
//!       account          whether the login and the first write of an account were accepted
//!       authentication   tokens and passwords; `challenge` parses `WWW-Authenticate`
//!       limiter          concurrency and transfer rate
//!       retry            pauses between attempts, and their number
//!       classify         maps failed connections and statuses to errors
//! ```
//!
//! [`Stop`] ends a push early, at a point from which the next run resumes.
//!
//! The transport does not know artifacts, and [`push`](Registry::push) does not know HTTP. Each can
//! change without the other.
//!
//! [`node`] reads an artifact back as a cluster's node does: anonymously and with a different
//! implementation (oci-client). So the code that checks a push is not the code that pushed.
//! [`probe`] tests what an installation requires of a registry. [`embedded`] is a registry in this
//! process, for rehearsals and tests.
//!
//! Only sha256 digests are accepted. Manifests are sent and returned unchanged; they are never
//! parsed and serialized again.
//!
//! This crate must not know: bundles, tar archives, environments, MKE, the terminal, where
//! credentials are stored.

mod account;
pub use account::{Accounts, Refusal};

mod endpoint;
pub use endpoint::{Endpoint, Scheme};
// For tests of other crates that build an HTTP client of their own: without a provider it panics.
pub use network::install_crypto_provider;

mod credentials;
pub use credentials::Credentials;

mod artifact;
pub use artifact::{Artifact, Blob, BlobSource, Manifest};

mod event;
pub use event::{Event, Observer};

mod push;
pub use push::{Arrival, PushReport, Pushed, Tally};

mod executor;

mod queues;

mod plan;

mod ensure;
pub use ensure::BlobOutcome;

mod recorded;

mod limiter;

mod registry;
pub use registry::{Registry, Settings};

mod manifest;
pub use manifest::{Fetched, Found};

mod blob;
pub use blob::{BlobReader, FoundBlob};

mod upload;

mod parts;

mod stream;

mod stop;
pub use stop::Stop;

mod session_store;
pub use session_store::{SessionFolder, SessionStore};

mod profile;
pub use profile::{Profile, ProfileFolder};

mod body;

mod pull;
pub use pull::BlobTarget;

mod file;

mod remove;
pub use remove::Removed;

mod restore;

mod digest;

mod transport;

mod response;

mod authentication;

mod retry;
pub use retry::Trouble;

mod classify;
mod clients;

mod identify;

mod error;
pub use error::{Error, ErrorResponse, RequestInfo};

mod violation;
pub use violation::{LocationFault, NodeFault, Violation};

pub mod embedded;
pub mod node;
pub mod probe;

#[cfg(test)]
mod fake;
