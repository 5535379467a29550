//! Signs the manifest with `ssh-keygen` and verifies the signature.

use camino::Utf8Path;
use medium::{Signer, Signers};

use super::Error;
use crate::Context;
use crate::courier::SIGNERS;
use crate::event::Event;
use crate::workspace::read_if_exists;

/// Returns the signature of a manifest. Warns if the other side may not accept the key.
///
/// # Errors
/// `ssh-keygen` fails, or its signature is not valid.
pub(super) fn sign(
    context: &Context<'_>,
    key: &Utf8Path,
    manifest: &[u8],
    scratch: &Utf8Path,
) -> Result<(String, Signer), crate::Error> {
    let file = scratch.join(medium::MANIFEST);
    std::fs::write(&file, manifest).map_err(|source| crate::Error::io("write", &file, source))?;
    programs::sign(key, medium::NAMESPACE, &file, &context.tool.variables).map_err(|source| {
        Error::Sign {
            key: key.to_owned(),
            source,
        }
    })?;
    let path = scratch.join(medium::SIGNATURE);
    let signature = files::read_text(&path).map_err(|source| crate::Error::read(&path, source))?;
    let wrong = |source| Error::Signature {
        key: key.to_owned(),
        source,
    };
    let signer = medium::signer(manifest, &signature).map_err(wrong)?;
    let text = read_if_exists(&context.workspace.root().join(SIGNERS))?;
    let signers = Signers::parse(text.as_deref().unwrap_or_default()).map_err(wrong)?;
    if !signers.permits(&signer) {
        context.reporter.report(Event::Warning(format!(
            "{SIGNERS} does not list the key {}, so {}",
            signer.fingerprint(),
            match text {
                Some(_) => "a site that has this file refuses the medium",
                None => "unpack asks before it accepts the medium",
            }
        )));
    }
    Ok((signature, signer))
}
