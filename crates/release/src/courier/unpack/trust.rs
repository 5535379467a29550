//! Decides by its key whether a medium is trusted.

use medium::{Found, Medium, Signers};

use super::Error;
use crate::Workspace;
use crate::cluster::consent::Refused;
use crate::courier::SIGNERS;
use crate::workspace::read_if_exists;

/// The operator's decisions about the key of a medium.
pub struct Trust<'a> {
    /// The fingerprint that the key must have, as `ssh-keygen -l` prints it.
    /// Required fingerprint of the key, as `ssh-keygen -l` prints it.
    pub fingerprint: Option<&'a str>,
    /// Whether an unsigned medium is accepted.
    pub allow_unsigned: bool,
    /// Asks the operator to confirm a key by its algorithm and fingerprint. Returns the reason of a
    /// refusal.
    pub confirm: &'a dyn Fn(&str, &str) -> Result<(), Refused>,
}

impl Trust<'_> {
    /// Returns the medium if it is trusted. If the workspace has no list of keys yet, also returns
    /// the line that permits this key.
    ///
    /// # Errors
    /// The medium is not signed, its signature is not valid, or its key is not accepted.
    pub(super) fn check(
        &self,
        workspace: &Workspace,
        found: &Found,
    ) -> Result<(Medium, Option<String>), crate::Error> {
        if !found.is_signed() {
            if !self.allow_unsigned {
                return Err(Error::Medium(medium::SignatureError::Missing.into()).into());
            }
            return Ok((found.trust_unsigned()?, None));
        }
        let signer = found
            .signer()
            .map_err(|source| Error::Medium(source.into()))?;
        let fingerprint = signer.fingerprint();
        if let Some(given) = self.fingerprint
            && given != fingerprint
        {
            return Err(Error::Fingerprint {
                given: given.to_owned(),
                found: fingerprint,
            }
            .into());
        }
        let path = workspace.root().join(SIGNERS);
        if let Some(text) = read_if_exists(&path)? {
            let signers = Signers::parse(&text).map_err(|source| Error::Signers { source })?;
            return Ok((found.trust(&signers)?, None));
        }
        if self.fingerprint.is_none() {
            (self.confirm)(&signer.algorithm(), &fingerprint).map_err(|why| Error::Declined {
                fingerprint: fingerprint.clone(),
                why,
            })?;
        }
        let line = signer.allowed_signers_line("courier");
        let line = line.map_err(|source| Error::Medium(source.into()))?;
        let medium = found.trust_fingerprint(&fingerprint)?;
        Ok((medium, Some(line)))
    }
}
