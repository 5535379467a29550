//! The steps of a deploy in their order, and the proof that each passes to the next.
//!
//! ```text
//! environments/prod/  ─┐
//! bundles/*.lock.yaml ─┼─▶ plan ─▶ fetch ─▶ verify ─▶ push ─▶ verify, as a node ─▶ render ─▶ apply ─▶ receipt
//! receipt, registry   ─┘
//! ```
//!
//! A step that depends on another takes a value that only the other can make:
//!
//! | step | takes | makes |
//! |---|---|---|
//! | [`plan::plan`] | an environment, its lock and receipt, the tags of the registry | [`Plan`] |
//! | [`plan::permit`] | a plan | [`plan::Permit`], which owns the plan; [`deploy::deploy`] takes it |
//! | [`transfer::stream::transfer`] | a lock and deliveries | [`transfer::push::Sent`] for each delivery |
//! | [`verify::registry`] | the lock, the rendered configuration, and `Sent` | [`verify::Confirmed`]: nodes can pull every digest of the lock |
//! | [`config::render::write`] | the plan | [`config::render::Written`] |
//! | [`cluster::executor`] | the steps of the plan, `Confirmed` and `Written` | [`cluster::executor::ClusterChange`] |
//!
//! [`deploy::deploy`] runs these steps in order. [`config::render`], [`config::check`] and
//! [`config::diff`] need neither bundle nor network.
//!
//! [`transfer::stream::transfer`] fetches, verifies and pushes concurrently. A blob is pushed as
//! soon as it matches its own digest. Tags are set only after
//! [`AllPresent`](transfer::present::AllPresent): the proof that each digest of the lock is in the
//! store, or was confirmed in the registry during this run.
//!
//! A proof has private fields and records its lock and environment. A step refuses a proof of a
//! different lock or environment: see [`proof`]. `Sent` is not a proof; it only counts what was
//! sent. [`verify::registry`] proves what the registry serves.
//!
//! This crate knows nothing of clap, colours, standard input, or how a process exits. It reports
//! through [`event::Reporter`] and returns errors; `xtask` decides how they look.

// The steps of a deploy, in their order.
pub mod plan;

pub mod transfer;

pub mod verify;

pub mod config;

pub mod cluster;

pub mod deploy;

// Commands beside a deploy.
pub mod courier;
pub mod preflight;
pub mod prune;
pub mod rehearse;
pub mod report;

// Shared by the steps.
pub mod credential_files;
pub mod demo;
pub mod disk;
pub mod environment_lock;
mod error;
pub mod event;
mod kind;
pub mod kubeconfig;
pub mod links;
pub mod locked;
pub mod new;
mod observe;
pub mod parallel;
pub mod proof;
pub mod receipt;
pub mod requires;
pub mod set;
pub mod shared_state;
pub mod signals;
#[cfg(test)]
mod testing;
pub mod warnings;
pub mod workspace;

pub use ::programs::{Error as MkectlError, Variables};
pub use bundle::{
    ArchiveError, ChecksumError, DownloadError, LockError, ReadError, RequestError, StoreError,
};
pub use error::Error;
pub use kind::Kind;
pub use mke::identity::architecture;
pub use plan::Plan;
pub use registry::embedded::EmbeddedError;
pub use registry::{Accounts, Credentials, Error as RegistryError};
pub use requests::chain;
pub use transfer::before_push::NotReady;
pub use workspace::Workspace;

/// Access of a step to the outside world. Steps read the environment variables, the clock and the
/// path of the program only from here.
pub struct Context<'a> {
    /// Paths of all files.
    pub workspace: &'a Workspace,
    /// Receives progress and warnings.
    pub reporter: &'a dyn event::Reporter,
    /// Facts about the running program.
    pub tool: &'a Tool,
    /// Supplies credentials for registries and clusters.
    pub credential_provider: &'a dyn CredentialProvider,
    /// Asks the operator before a secret becomes visible to other users of this machine.
    pub consent: &'a dyn cluster::consent::Consent,
    /// Limits for uploads, set by the operator.
    pub limits: transfer::connect::Limits,
    /// The operator's reason for an upgrade without a restorable backup. Without a reason, such an
    /// upgrade is refused.
    pub without_backup: Option<&'a str>,
    /// State of registry accounts during this run, shared by all clients.
    pub accounts: registry::Accounts,
    /// Whether the run is offline: only registries, nodes and clusters are contacted.
    pub offline: bool,
}

impl Context<'_> {
    /// Returns the proxies that the variables of this process name.
    pub fn proxies(&self) -> std::sync::Arc<network::Proxies> {
        let variables = &self.tool.variables;
        let get = |name: &str| Some(variables.get(name)?.to_string_lossy().into_owned());
        std::sync::Arc::new(network::Proxies::from_variables(get))
    }

    /// Returns a builder for clients of HTTP servers other than registries, with the proxies and
    /// certificates of every command.
    pub fn http_client(&self) -> network::ClientBuilder {
        network::client(Vec::new(), &self.proxies())
    }

    /// Returns the credentials for pushes to an environment's registry.
    ///
    /// # Errors
    /// [`transfer::connect::Error::Credentials`] if the credentials that the environment names are
    /// not available.
    pub fn credentials(
        &self,
        environment: &environment::Environment,
    ) -> Result<Credentials, Error> {
        let credentials = self.credential_provider.credentials(environment);
        let credentials = credentials.map_err(|source| unavailable(environment, source))?;
        credentials.remember();
        Ok(credentials)
    }

    /// Returns the credentials that nodes pull with: those that the environment names, otherwise
    /// the push credentials.
    ///
    /// # Errors
    /// [`transfer::connect::Error::Credentials`] if the credentials that the environment names are
    /// not available.
    pub fn pull_credentials(
        &self,
        environment: &environment::Environment,
    ) -> Result<Credentials, Error> {
        match self.known_pull_credentials(environment)? {
            Some(credentials) => Ok(credentials),
            None => self.credentials(environment),
        }
    }

    /// Returns the credentials of the administrator of an environment's MKE 3 cluster, if it names
    /// one.
    pub(crate) fn mke3_credentials(
        &self,
        environment: &environment::Environment,
    ) -> Result<Option<Credentials>, Error> {
        let credentials =
            (self.credential_provider.mke3_credentials(environment)).map_err(|source| {
                transfer::connect::Error::Mke3Credentials {
                    environment: environment.name.clone(),
                    source,
                }
            })?;
        credentials.iter().for_each(Credentials::remember);
        Ok(credentials)
    }

    /// Returns the pull credentials that the environment names, if it names any.
    pub(crate) fn known_pull_credentials(
        &self,
        environment: &environment::Environment,
    ) -> Result<Option<Credentials>, Error> {
        let credentials = self.credential_provider.pull_credentials(environment);
        let credentials = credentials.map_err(|source| unavailable(environment, source))?;
        credentials.iter().for_each(Credentials::remember);
        Ok(credentials)
    }
}

fn unavailable(
    environment: &environment::Environment,
    source: Box<dyn std::error::Error + Send + Sync>,
) -> transfer::connect::Error {
    transfer::connect::Error::Credentials {
        address: environment.registry.address.clone(),
        source,
    }
}

/// Supplies credentials. Environments contain only the names of secrets; the program resolves them.
pub trait CredentialProvider: Send + Sync {
    /// Returns the credentials for pushes to an environment's registry; [`Credentials::Anonymous`]
    /// if none are configured.
    ///
    /// # Errors
    /// A variable or file that the environment names is missing.
    fn credentials(
        &self,
        environment: &environment::Environment,
    ) -> Result<Credentials, Box<dyn std::error::Error + Send + Sync>>;

    /// Returns the credentials that nodes pull with, if the environment names any.
    ///
    /// # Errors
    /// A variable or file that the environment names is missing.
    fn pull_credentials(
        &self,
        environment: &environment::Environment,
    ) -> Result<Option<Credentials>, Box<dyn std::error::Error + Send + Sync>>;

    /// Returns the credentials for a repository in an upstream registry of sets;
    /// [`Credentials::Anonymous`] if none are configured.
    ///
    /// # Errors
    /// A credentials file cannot be read.
    fn upstream_credentials(
        &self,
        host: &str,
        repository: &str,
    ) -> Result<Credentials, Box<dyn std::error::Error + Send + Sync>>;

    /// Returns the credentials of the administrator of an environment's MKE 3 cluster, if the
    /// environment names one.
    ///
    /// # Errors
    /// A variable or file that the environment names is missing.
    fn mke3_credentials(
        &self,
        environment: &environment::Environment,
    ) -> Result<Option<Credentials>, Box<dyn std::error::Error + Send + Sync>>;
}

/// Facts about the running program.
pub struct Tool {
    /// Version, as recorded in receipts.
    pub version: String,
    /// Path of the executable. A rehearsal runs it as a stand-in for mkectl.
    pub executable: camino::Utf8PathBuf,
    /// Environment variables for started programs. Their `PATH` is searched for programs.
    pub variables: Variables,
    /// Environment variables for cargo, which builds the program for a medium.
    pub cargo_variables: Variables,
    /// Cargo package of this program: `xtask`, or a team's own.
    pub package: String,
    /// Clock: returns the current time.
    pub now: fn() -> jiff::Timestamp,
    /// Stop requests (Ctrl-C, SIGTERM), and what they would interrupt.
    pub signals: std::sync::Arc<signals::Signals>,
}

/// Returns the SHA-256 of `value` in lower-case hexadecimal digits.
pub(crate) fn sha256(value: &[u8]) -> String {
    use sha2::Digest as _;
    hex::encode(sha2::Sha256::digest(value))
}
