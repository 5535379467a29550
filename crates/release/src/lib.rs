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
//! | [`plan::plan`] | an environment, its lock and receipt, a look at the registry | [`Plan`] |
//! | [`plan::permit`] | a plan | [`plan::Permit`], which owns the plan and which [`deploy::deploy`] takes |
//! | [`transfer::stream::carry`] | a lock and deliveries | [`transfer::push::Sent`] for each delivery |
//! | [`verify::registry`] | what nodes are to get, and what was sent | [`verify::Confirmed`]: a node gets every digest of the lock |
//! | [`config::render::write`] | the plan | [`config::render::Written`] |
//! | [`cluster::executor`] | the steps of the plan, `Confirmed` and `Written` | [`cluster::executor::ClusterChange`] |
//!
//! [`transfer::stream::carry`] is fetch, verify and push at the same time: a blob is pushed as soon
//! as its own digest is right. What must wait takes a proof there, too: the word that lets tags be
//! set takes a [`transfer::present::AllPresent`], which says that each digest of the lock is in the
//! store, or was confirmed in the registry by this run.
//!
//! [`deploy::deploy`] is these lines one after the other. [`config::render`], [`config::check`] and
//! [`config::diff`] need neither bundle nor network.
//!
//! A proof has private fields and keeps what it is of, so one for a different lock or environment
//! is refused: see [`proof`]. `Sent` is not a proof, but counts: [`verify::registry`] shows what
//! the registry serves.
//!
//! This crate must not know: clap, colours, standard input, how a process exits. It reports through
//! [`event::Reporter`] and returns errors; `xtask` decides how they look.

// The road of a release, in its order.
pub mod plan;

pub mod transfer;

pub mod verify;

pub mod config;

pub mod cluster;

pub mod deploy;

// Beside the road.
pub mod courier;
pub mod preflight;
pub mod prune;
pub mod rehearse;
pub mod report;

// What steps share.
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

/// What a step is given of the world outside: where files lie, whom to report to, and what only
/// the program itself may ask for (its own path, its environment, the clock).
pub struct Context<'a> {
    /// Where everything is kept.
    pub workspace: &'a Workspace,
    /// Who hears of progress.
    pub reporter: &'a dyn event::Reporter,
    /// The program that runs.
    pub tool: &'a Tool,
    /// Who knows the credentials for an environment's registry.
    pub credential_provider: &'a dyn CredentialProvider,
    /// Who says whether a secret may be seen.
    pub consent: &'a dyn cluster::consent::Consent,
    /// How much registries are asked for.
    pub limits: transfer::connect::Limits,
    /// The operator's reason for an upgrade without a backup that could be restored; none if such
    /// an upgrade is refused.
    pub without_backup: Option<&'a str>,
    /// What registries said of accounts so far in this run.
    pub accounts: registry::Accounts,
    /// Whether only registries, nodes and clusters may be asked for anything.
    pub offline: bool,
}

impl Context<'_> {
    /// Returns the proxies that the environment of this process names.
    pub fn proxies(&self) -> std::sync::Arc<network::Proxies> {
        let variables = &self.tool.variables;
        let get = |name: &str| Some(variables.get(name)?.to_string_lossy().into_owned());
        std::sync::Arc::new(network::Proxies::from_variables(get))
    }

    /// Returns the settings of a client for HTTP servers that are not registries: the proxies and
    /// certificates of every command.
    pub fn http_client(&self) -> network::ClientBuilder {
        network::client(Vec::new(), &self.proxies())
    }

    /// Returns what may be used to push to an environment's registry.
    ///
    /// # Errors
    /// The credentials that the environment names are not available.
    pub fn credentials(
        &self,
        environment: &environment::Environment,
    ) -> Result<Credentials, Error> {
        let credentials =
            (self.credential_provider.credentials(environment)).map_err(|source| {
                transfer::connect::Error::Credentials {
                    address: environment.registry.address.clone(),
                    source,
                }
            })?;
        credentials.remember();
        Ok(credentials)
    }
}

impl Context<'_> {
    /// Returns what nodes pull with from an environment's registry. Where the environment does not
    /// say what that is, the push credentials replace it.
    ///
    /// # Errors
    /// The credentials that the environment names are not available.
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

    /// Returns what nodes pull with, where the environment says where that is.
    pub(crate) fn known_pull_credentials(
        &self,
        environment: &environment::Environment,
    ) -> Result<Option<Credentials>, Error> {
        let credentials =
            (self.credential_provider.pull_credentials(environment)).map_err(|source| {
                transfer::connect::Error::Credentials {
                    address: environment.registry.address.clone(),
                    source,
                }
            })?;
        credentials.iter().for_each(Credentials::remember);
        Ok(credentials)
    }
}

/// Supplies credentials. Environments hold the names of secrets; the program resolves them.
pub trait CredentialProvider: Send + Sync {
    /// Returns what may be used to push to an environment's registry; [`Credentials::Anonymous`]
    /// where nothing is kept.
    ///
    /// # Errors
    /// Something that the environment names is missing.
    fn credentials(
        &self,
        environment: &environment::Environment,
    ) -> Result<Credentials, Box<dyn std::error::Error + Send + Sync>>;

    /// Returns what nodes pull with from an environment's registry, if the environment names it.
    ///
    /// # Errors
    /// Something that the environment names is missing.
    fn pull_credentials(
        &self,
        environment: &environment::Environment,
    ) -> Result<Option<Credentials>, Box<dyn std::error::Error + Send + Sync>>;

    /// Returns the credentials for a repository in a registry that sets come from;
    /// [`Credentials::Anonymous`] where nothing is kept.
    ///
    /// # Errors
    /// A file of credentials cannot be read.
    fn upstream_credentials(
        &self,
        host: &str,
        repository: &str,
    ) -> Result<Credentials, Box<dyn std::error::Error + Send + Sync>>;

    /// Returns the credentials of the administrator of an environment's MKE 3 cluster, if the
    /// environment names one.
    ///
    /// # Errors
    /// Something that the environment names is missing.
    fn mke3_credentials(
        &self,
        environment: &environment::Environment,
    ) -> Result<Option<Credentials>, Box<dyn std::error::Error + Send + Sync>>;
}

/// The running program, as steps need to know it.
pub struct Tool {
    /// Its version, as receipts record it.
    pub version: String,
    /// Its own executable: a rehearsal runs it in mkectl's place.
    pub executable: camino::Utf8PathBuf,
    /// The environment variables that programs started by it shall have; `PATH` among them is where
    /// they are looked for.
    pub variables: Variables,
    /// The environment variables that cargo shall have, which builds the program for a medium.
    pub cargo_variables: Variables,
    /// The package that this program is built from: `xtask`, or that of a team.
    pub package: String,
    /// The present time.
    pub now: fn() -> jiff::Timestamp,
    /// Signals for what is under way.
    pub signals: std::sync::Arc<signals::Signals>,
}

/// Returns the SHA-256 of `value` in lower-case hexadecimal digits.
pub(crate) fn sha256(value: &[u8]) -> String {
    use sha2::Digest as _;
    hex::encode(sha2::Sha256::digest(value))
}
