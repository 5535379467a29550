//! What was observed of a bundle's archives, where the vendor's naming rule does not decide.

use std::collections::BTreeMap;

use oci_spec::image::Digest;

use crate::lock::SetBundle;
use crate::name::{Name, SetNames};

/// How to read the archives that the vendor's rules do not cover. The default covers none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// Rules by the path of the archive in the bundle.
    pub archives: BTreeMap<String, Rule>,
    /// How names are made, if it is a bundle of a set. What is not an archive is left out of such a
    /// bundle, and listed.
    pub of_set: Option<SetNames>,
}

/// How to read one archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rule {
    /// It is an artifact of the bundle.
    Read {
        /// Its repository and tag, if its file name does not give them.
        name: Option<Name>,
        /// The root that counts, if `index.json` lists several.
        root: Option<Digest>,
    },
    /// It is not mirrored.
    Skip {
        /// Why not.
        reason: String,
    },
}

impl Rules {
    /// Returns the rules that a lock implies for the bundle that it records.
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
