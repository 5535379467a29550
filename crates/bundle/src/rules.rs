//! Rules for archives whose file name does not decide, learned from a bundle's content.

use std::collections::BTreeMap;

use oci_spec::image::Digest;

use crate::lock::SetBundle;
use crate::name::{Name, SetNames};

/// Rules for reading archives. The default has none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// Rules by the path of the archive in the bundle.
    pub archives: BTreeMap<String, Rule>,
    /// For a bundle of a set: the rule that derives repositories and tags. In such a bundle,
    /// members that are not archives are skipped and listed.
    pub of_set: Option<SetNames>,
}

/// The rule for one archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rule {
    /// The archive is an artifact of the bundle.
    Read {
        /// Repository and tag, if the file name does not give them.
        name: Option<Name>,
        /// The root to read, if `index.json` lists several.
        root: Option<Digest>,
    },
    /// The archive is not mirrored.
    Skip {
        /// Reason for skipping it.
        reason: String,
    },
}

impl Rules {
    /// Returns the rules that a lock implies for its bundle.
    pub(crate) fn of(lock: &crate::Lock) -> Self {
        let read = lock.artifacts.iter().map(|artifact| {
            let rule = Rule::Read {
                name: Name::new(&artifact.repository, &artifact.tag).ok(),
                root: Some(artifact.digest.clone()),
            };
            (artifact.archive.clone(), rule)
        });
        let skip = lock.skipped.iter().map(|skipped| {
            let reason = skipped.reason.clone();
            (skipped.archive.clone(), Rule::Skip { reason })
        });
        Self {
            archives: read.chain(skip).collect(),
            of_set: lock.bundles.first().map(SetBundle::names),
        }
    }
}
