//! Reads the files of `environments/<name>/` and returns a checked [`Environment`], or all problems
//! with the files.
//!
//! An environment describes the release, its registry and the configuration of the cluster.
//! Operators write it as YAML, in `environment.yaml` and in the files that this file inherits from.
//! [`load()`] reads, merges and checks the files. It reports all problems together; each
//! [`Problem`] has a file, line and column.
//!
//! A key of `environment.yaml` is a row in the table of [`keys`] and a field of [`Environment`] or
//! of a part of it. The check, the JSON Schema and `docs/environment.md` are made from the row.
//!
//! The module [`yaml`] parses the documents. Its tree records the place and the notation of each
//! value. A port, a version or a mode such as `0755` is therefore written exactly as it was read.
//!
//! # What this crate must not know
//!
//! The network; the meaning of keys below `config`; the values of secrets (only their names).

mod load;
mod paths;
mod inherit;
mod merge;
mod form;
mod inventory;
pub mod keys;
mod document_check;
mod grammar;
mod duration;
mod certificate;
mod nearest;
mod findings;
mod mask;
mod read;
mod environment;
mod operation;
mod promotion;
mod problem;
mod error;
mod scaffold;
mod edit;
pub mod yaml;

pub use certificate::read_authority;
pub use duration::parse_duration;
pub use edit::with_release;
pub use environment::{
    CertificateAuthority, CredentialSource, Environment, Facts, Mke3, Registry, Validity,
};
pub use error::Error;
pub use form::{Reference, reference, references, resolve_references};
pub use load::{Hints, load, load_with, names};
pub use mask::Secrets;
pub use merge::merge;
pub use nearest::nearest;
pub use operation::{AdminPassword, Operation};
pub use problem::{Problem, Problems, count, count_problems, count_with_verb, quote};
pub use promotion::Requirement;
pub use scaffold::{Question, scaffold};
