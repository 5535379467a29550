//! What was observed of a bundle's archives, where the vendor's naming rule does not decide.

use std::collections::BTreeMap;

use oci_spec::image::Digest;

use crate::name::Name;

/// How to read the archives that the vendor's rules do not cover, by their path in the bundle. The default covers none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules(pub BTreeMap<String, Rule>);

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
        Self(read.chain(skip).collect())
    }
}
