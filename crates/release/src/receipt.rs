//! The receipt: what the last deploy did to an environment, committed beside it.
//!
//! The next plan reads it: what is applied already need not be applied again, a registry cannot be changed
//! once a cluster runs from it, and another release is an upgrade.

use camino::Utf8Path;
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::workspace::{read_if_there, write_whole};

/// What `receipt.yaml` says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Receipt {
    /// The version of this file's format.
    pub version: u32,
    /// The last deploy that succeeded. It stays when a later one fails: this is what the cluster runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub applied: Option<Applied>,
    /// The last deploy, if it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failed: Option<Failed>,
}

/// A deploy that succeeded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Applied {
    /// The release, `v4.1.5`.
    pub release: String,
    /// SHA-256 of the lock file.
    pub lock: String,
    /// The registry and project that the cluster pulls from.
    pub registry: String,
    /// Where clients find the cluster, if that was configured; it cannot be cleared any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_address: Option<String>,
    /// SHA-256 of the rendered `mke4.yaml`.
    pub config: String,
    /// The version that mkectl gave of itself.
    pub mkectl: String,
    /// When it ended, in UTC.
    pub when: String,
    /// The version of Airlock that did it.
    pub airlock: String,
    /// How many artifacts of the lock were confirmed in the registry: all of them.
    pub artifacts: usize,
    /// How many of these had to be pushed.
    pub pushed: usize,
    /// Bytes that were sent to the registry.
    pub sent_bytes: u64,
}

/// A deploy that failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Failed {
    /// The release that was to be deployed.
    pub release: String,
    /// The step that failed, by the name of its command.
    pub step: String,
    /// What went wrong, with its causes.
    pub error: String,
    /// mkectl's own exit code, where mkectl failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mkectl_exit_code: Option<i32>,
    /// When it ended, in UTC.
    pub when: String,
    /// The version of Airlock that did it.
    pub airlock: String,
}

impl Receipt {
    /// The format that this version writes.
    pub const VERSION: u32 = 1;

    /// Reads a receipt, or answers `None` where nothing was deployed yet.
    ///
    /// # Errors
    /// The file cannot be read, is not a receipt, or is of a later format.
    pub fn read(path: &Utf8Path) -> Result<Option<Self>, Error> {
        let Some(text) = read_if_there(path)? else {
            return Ok(None);
        };
        let receipt: Self = serde_yaml::from_str(&text).map_err(|source| Error::Receipt {
            path: path.to_owned(),
            source,
        })?;
        if receipt.version != Self::VERSION {
            return Err(Error::ReceiptVersion {
                path: path.to_owned(),
                version: receipt.version,
            });
        }
        Ok(Some(receipt))
    }

    /// Writes the receipt.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(&self, path: &Utf8Path) -> Result<(), Error> {
        let yaml = serde_yaml::to_string(self).map_err(|source| Error::Receipt {
            path: path.to_owned(),
            source,
        })?;
        let text =
            format!("# Written by `cargo xtask deploy`: what the last one did. Commit it.\n{yaml}");
        write_whole(path, &text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn receipt() -> Receipt {
        Receipt {
            version: Receipt::VERSION,
            applied: None,
            failed: Some(Failed {
                release: "v4.1.5".to_owned(),
                step: "apply".to_owned(),
                error: "mkectl ended with exit code 7".to_owned(),
                mkectl_exit_code: Some(7),
                when: "2026-01-02T03:04:05Z".to_owned(),
                airlock: "0.1.0".to_owned(),
            }),
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        let directory = tempfile::tempdir().unwrap();
        let path = Utf8Path::from_path(directory.path())
            .unwrap()
            .join("receipt.yaml");
        assert_eq!(Receipt::read(&path).unwrap(), None);
        receipt().write(&path).unwrap();
        assert_eq!(Receipt::read(&path).unwrap(), Some(receipt()));
    }

    #[test]
    fn another_format_and_unknown_keys_are_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = Utf8Path::from_path(directory.path())
            .unwrap()
            .join("receipt.yaml");
        std::fs::write(&path, "version: 2\n").unwrap();
        assert!(matches!(
            Receipt::read(&path),
            Err(Error::ReceiptVersion { version: 2, .. })
        ));
        std::fs::write(&path, "version: 1\nsigned: yes\n").unwrap();
        assert!(matches!(Receipt::read(&path), Err(Error::Receipt { .. })));
    }
}
