//! Turns the files of `environments/<name>/` into a checked [`Environment`], or into every problem
//! with them.
//!
//! An environment says where a release goes and how the cluster is to look. People write it as
//! YAML, in `environment.yaml` and in the files that this one inherits from; [`load()`] reads them,
//! merges them and checks them. All problems are reported together, each [`Problem`] with its file,
//! line and column.
//!
//! A key of `environment.yaml` is a row of the table of [`keys`] and a field of [`Environment`] or
//! one of its parts. The check, the reading, the JSON Schema and `docs/environment.md` are made of
//! the row.
//!
//! The documents live in [`yaml`], a tree of its own that records where each value was written and
//! how; a port, a version or a mode such as `0755` comes out as it went in.
//!
//! # What this crate must not know
//!
//! The network; what the keys under `config` mean; the values of secrets, of which it knows only
//! the names.

mod load;
mod paths;
mod inherit;
mod merge;
mod form;
mod inventory;
pub mod keys;
mod check;
mod grammar;
mod span;
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
pub use edit::with_release;
pub use environment::{
    CertificateAuthority, CredentialSource, Environment, Facts, Mke3, Registry, Validity,
};
pub use error::Error;
pub use form::{Reference, reference, references, resolve};
pub use load::{Hints, load, load_with, names};
pub use mask::Secrets;
pub use merge::merge;
pub use nearest::nearest;
pub use operation::{AdminPassword, Operation};
pub use problem::{Problem, Problems, count, count_are, counted, quote};
pub use promotion::Requirement;
pub use scaffold::{Question, scaffold};
pub use span::span;
