//! Makes a registry hold an artifact, byte for byte, and proves that it does.
//!
//! The way through the crate, from the outside in:
//!
//! ```text
//! push       many artifacts as one transfer, or one; the proof at the end
//!   plan       what has to go where: each blob once to the registry, mounted from there
//!   executor   what is done next, and what comes of a failure; `queues` holds what waits, some of it for its blob to arrive
//!   ensure     one blob into one repository in the fewest requests: present, mounted or sent
//!     upload     one blob sent; its bytes come from `body`, hashed and watched on the way
//!     stream     a large one, without its length: it may end anywhere; `session_store` records it for the next run
//!     parts      one sent in several requests, where one may not carry it
//!   blob       one blob: is it there, read it back
//!   manifest   one manifest: is it there, put it, read it back
//!   remove     one manifest or tag is removed, and what tags there are
//!   pull       one blob is read, across connections that are cut
//!   restore    one blob or manifest that a registry lost, and nothing else
//!     transport  one request: authenticate, send, follow, retry, classify the answer, which is a `response` if it was wanted
//!       account          what the registry said of the login and of the first write
//!       authentication   tokens, one fetch at a time, and passwords; `challenge` reads what the registry asks for
//!       limiter          how much concurrently, and how fast
//!       retry            when to try again, and when to stop
//!       classify         what a failed connection or a status means
//! ```
//!
//! [`Stop`] ends it all calmly, at a point from which the next run resumes.
//!
//! [`push`](Registry::push) never talks HTTP and the transport knows nothing of artifacts. Either
//! can change alone.
//!
//! [`node`] reads an artifact back the way a cluster's node does, anonymously and through another
//! implementation (oci-client): what was pushed is checked by code that did not push it. [`probe`]
//! tries what an installation will need. [`embedded`] is a registry in this process, for rehearsals
//! and tests.
//!
//! Only sha256 digests are accepted. Manifests travel untouched: no byte of them is parsed and
//! written again.
//!
//! This crate must not know: bundles, tar archives, environments, MKE, the terminal, where
//! credentials are kept.

mod account;
pub use account::{Accounts, Refusal};

mod endpoint;
pub use endpoint::{Endpoint, Scheme};
// Without a provider every client panics, those of tests included.
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
pub use restore::Restored;

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
pub use error::{Answer, Error, Place};

mod violation;
pub use violation::{LocationFault, NodeFault, Violation};

pub mod embedded;
pub mod node;
pub mod probe;

#[cfg(test)]
mod fake;
