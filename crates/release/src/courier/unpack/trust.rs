//! Decides whether a medium may be used, by the key that signed it.

use medium::{Found, Medium, Signers};

use super::Error;
use crate::Workspace;
use crate::cluster::consent::Refused;
use crate::courier::SIGNERS;
use crate::workspace::read_if_there;

/// What the operator says about the key of a medium.
pub struct Trust<'a> {
    /// The fingerprint that the key must have, as `ssh-keygen -l` prints it.
    pub fingerprint: Option<&'a str>,
    /// Whether a medium without a signature may be used.
    pub allow_unsigned: bool,
    /// Asks the operator whether a key is right, by its algorithm and fingerprint. Returns why it
    /// is not.
    pub confirm: &'a dyn Fn(&str, &str) -> Result<(), Refused>,
}

impl Trust<'_> {
    /// Returns the medium if it may be used, and the line that would permit its key where no key is
    /// listed yet.
    ///
    /// # Errors
    /// It may not.
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
        if let Some(text) = read_if_there(&path)? {
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
