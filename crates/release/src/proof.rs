//! The subject of a proof: a lock and an environment, in private fields. The step that uses a proof
//! compares them; a proof for a different lock or environment is refused.

use crate::{Error, Kind, sha256};

/// The lock that a proof is of, and the environment, if it is of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Proven {
    /// SHA-256 of what the lock names: its artifacts with their root digests, which name everything
    /// below them.
    lock: String,
    environment: Option<String>,
}

/// A proof was used for a different lock or environment.
#[derive(Debug, thiserror::Error)]
#[error("`{proof}` proves {proven}, not {wanted}")]
pub struct Mismatch {
    /// The type of the proof.
    pub proof: &'static str,
    /// What it proves.
    pub proven: String,
    /// What it was used for.
    pub wanted: String,
}

impl Mismatch {
    /// Returns the kind of the failure.
    pub fn kind(&self) -> Kind {
        Kind::Outdated
    }
}

impl Proven {
    pub(crate) fn new(lock: &bundle::Lock, environment: Option<&str>) -> Self {
        let artifacts = lock.artifacts.iter();
        let artifacts = artifacts.map(|one| format!("{} {}\n", one.reference(), one.digest));
        let text = format!("{}\n{}", lock.release, artifacts.collect::<String>());
        Self {
            lock: sha256(text.as_bytes()),
            environment: environment.map(str::to_owned),
        }
    }

    /// Returns whether the proof, which may be of every environment, holds for what it is used for.
    ///
    /// # Errors
    /// The lock is a different one.
    pub(crate) fn covers(&self, proof: &'static str, wanted: &Self) -> Result<bool, Error> {
        let environment = wanted.environment.clone();
        let of_lock = Self {
            lock: self.lock.clone(),
            environment: environment.clone(),
        };
        of_lock.require(proof, wanted)?;
        Ok(self.environment.is_none() || self.environment == environment)
    }

    /// Compares it with what the proof is used for.
    ///
    /// # Errors
    /// The lock or the environment is a different one.
    pub(crate) fn require(&self, proof: &'static str, wanted: &Self) -> Result<(), Error> {
        match self == wanted {
            true => Ok(()),
            false => Err(Error::Proof(Mismatch {
                proof,
                proven: self.to_string(),
                wanted: wanted.to_string(),
            })),
        }
    }
}

impl std::fmt::Display for Proven {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "the lock {}", &self.lock[..12])?;
        match &self.environment {
            Some(environment) => write!(formatter, " in {environment}"),
            None => Ok(()),
        }
    }
}
