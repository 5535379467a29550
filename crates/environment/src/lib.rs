//! Turns the files of `environments/<name>/` into a checked [`Environment`], or into every problem with them.
//!
//! An environment says where a release goes and how the cluster is to look. People write it as YAML, in
//! `environment.yaml` and in the files that this one inherits from; [`load()`] reads them, merges them and checks
//! them. All problems are reported together, each [`Problem`] with its file, line and column.
//!
//! ```yaml
//! inherit: ../base.yaml                        # one parent; maps merge, lists and scalars replace, `null` removes
//! release: v4.1.5                              # required, here or in a parent
//! registry:
//!   address: registry.prod.example.com:5000    # required; host[:port]
//!   project: platform/mke                      # the path below it, if any
//!   ca: registry-ca.pem                        # the CA's certificate, if the registry has a private one
//!   push-credentials: { env: PROD_REGISTRY }   # the name of a secret, never a secret
//!   pull-credentials: { env: PROD_PULL }       # what nodes pull with, if they do with credentials
//! protected: true                              # `deploy` asks for the environment's name
//! rehearsal: false                             # the registry is embedded and mkectl stands in for itself
//! accept: [even-controllers]                   # rules that are not for this environment
//! facts: { private-ca: supported }             # what is known better than in the table of releases
//! mkectl: ../../tools/mkectl                   # instead of the one on the PATH
//! admin-password: { command: [pass, insert, -m, mke/prod] } # who reads the password that mkectl prints; or { file: PATH }
//! apply-timeout: 2h                            # mkectl is asked to end when it takes longer; 90s, 30m, 2h
//! backups: /srv/backups/prod                   # the folder that backups go to
//! release-matrix: matrix.json                  # for an upgrade to a release whose bundle has none
//! kubeconfig: prod.kubeconf                    # of the cluster; else what KUBECONFIG names, or ~/.mke/mke.kubeconf
//! requires: staging                            # a deploy requires that one to have succeeded with the same lock; or { environment: staging, minimum-age: 24h }
//! record-operator: true                        # receipts say who deployed
//! inventory: hosts.csv                         # machines, a line each
//! config: {}                                   # becomes MkeConfig.spec; passes untouched
//! ```
//!
//! The documents live in [`yaml`], a tree of its own that records where each value was written and how;
//! a port, a version or a mode such as `0755` comes out as it went in.
//!
//! # What this crate must not know
//!
//! The network; what the keys under `config` mean; the values of secrets, of which it knows only the names.

mod certificate;
mod check;
mod edit;
mod environment;
mod error;
mod findings;
mod form;
mod grammar;
mod inherit;
mod inventory;
mod load;
mod mask;
mod merge;
mod mke3;
mod nearest;
mod operation;
mod paths;
mod problem;
mod promotion;
mod scaffold;
mod schema;
mod span;
pub mod yaml;

pub use edit::with_release;
pub use environment::{
    CertificateAuthority, CredentialSource, Environment, Facts, Registry, Validity,
};
pub use error::Error;
pub use form::{Reference, reference, references, resolve};
pub use load::{Hints, load, load_with, names};
pub use mask::Secrets;
pub use merge::merge;
pub use mke3::Mke3;
pub use nearest::nearest;
pub use operation::{AdminPassword, Operation};
pub use problem::{Problem, Problems, count, count_are, quote};
pub use promotion::Requirement;
pub use scaffold::scaffold;
pub use schema::schema;
