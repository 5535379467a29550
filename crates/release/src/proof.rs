//! Binds a proof to its subject: a lock and an environment, in private fields. The step that takes
//! a proof compares them, and refuses a proof of a different lock or environment.

use crate::{Error, Kind, sha256};

/// Subject of a proof. A proof without an environment holds for every environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Proven {
    /// SHA-256 of the release and of each artifact's reference and root digest. The root digests
    /// cover all content below them.
    lock: String,
    environment: Option<String>,
}

/// A proof was used for a different lock or environment.
#[derive(Debug, thiserror::Error)]
#[error("`{proof}` proves {proven}, not {wanted}")]
pub struct Mismatch {
    /// The type of the proof.
    pub proof: &'static str,
    /// Subject of the proof.
    pub proven: String,
    /// Subject that the step required.
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

    /// Returns whether the proof covers the environment of `wanted`.
    ///
    /// # Errors
    /// [`Mismatch`] if the lock differs.
    pub(crate) fn covers(&self, proof: &'static str, wanted: &Self) -> Result<bool, Error> {
        let environment = wanted.environment.clone();
        let of_lock = Self {
            lock: self.lock.clone(),
            environment: environment.clone(),
        };
        of_lock.require(proof, wanted)?;
        Ok(self.environment.is_none() || self.environment == environment)
    }

    /// Checks that both lock and environment are equal.
    ///
    /// # Errors
    /// [`Mismatch`] if the lock or the environment differs.
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
