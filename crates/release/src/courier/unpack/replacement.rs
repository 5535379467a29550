//! Reads a medium together with replacements of its pieces. Without its history, a medium alone
//! cannot create a workspace.

use std::collections::BTreeSet;

use camino::Utf8PathBuf;
use medium::{Error, Medium};

use super::Trust;
use crate::Workspace;

/// Recognises a medium in folders. Folders of a different pack are accepted if the first medium
/// lists all their contents.
///
/// # Errors
/// No folder is a medium, one is not trusted, or one has a content that the first medium does not
/// list.
pub(super) fn together(
    workspace: &Workspace,
    folders: &[Utf8PathBuf],
    trust: &Trust<'_>,
) -> Result<(Medium, Option<String>), crate::Error> {
    let other = match medium::find(folders) {
        Ok(found) => return trust.check(workspace, &found),
        Err(error @ Error::OtherPack { .. }) => error,
        Err(error) => return Err(error.into()),
    };
    let mut media = Vec::new();
    let mut line = None;
    let mut confirmed: Option<String> = None;
    for group in medium::packs(folders)? {
        let found = medium::find(&group)?;
        // The operator confirms a key once.
        let trust = Trust {
            fingerprint: confirmed.as_deref().or(trust.fingerprint),
            ..*trust
        };
        let (medium, of_signer) = trust.check(workspace, &found)?;
        if of_signer.is_some() {
            confirmed = medium.signer().map(medium::Signer::fingerprint);
        }
        line = line.or(of_signer);
        media.push(medium);
    }
    // The medium with the most contents is the one that the others replace pieces of.
    media.sort_by_key(|medium| medium.manifest().contents.len());
    let Some(mut main) = media.pop() else {
        return Err(other.into());
    };
    let contents = main.manifest().contents.iter();
    let known: BTreeSet<String> = contents.map(|content| content.sha256.clone()).collect();
    for replacement in media {
        let mut contents = replacement.manifest().contents.iter();
        if !contents.all(|content| known.contains(&content.sha256)) {
            return Err(other.into());
        }
        main = main.with_pieces_of(&replacement);
    }
    Ok((main, line))
}
