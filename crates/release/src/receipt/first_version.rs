//! Receipts of version 1, as Airlock wrote them before it kept digests of programs, amounts of blobs and git's revision.

use serde::Deserialize;

use super::{Amount, By, Program, Pushed, Receipt};

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct First {
    #[expect(dead_code, reason = "it was looked at before")]
    version: u32,
    applied: Option<Applied>,
    failed: Option<Failed>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Applied {
    #[serde(deserialize_with = "super::release")]
    release: String,
    lock: String,
    registry: String,
    external_address: Option<String>,
    config: String,
    mkectl: String,
    when: String,
    airlock: String,
    artifacts: usize,
    pushed: usize,
    sent_bytes: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Failed {
    #[serde(deserialize_with = "super::release")]
    release: String,
    step: String,
    error: String,
    mkectl_exit_code: Option<i32>,
    when: String,
    airlock: String,
}

/// Reads one, and says it in the present form.
pub(super) fn parse(text: &str) -> Result<Receipt, serde_yaml::Error> {
    let first: First = redaction::yaml::read(text)?;
    let by = |airlock| By {
        airlock,
        revision: None,
        clean: None,
        operator: None,
    };
    Ok(Receipt {
        run: None,
        version: Receipt::VERSION,
        applied: first.applied.map(|applied| super::Applied {
            release: applied.release,
            registry: applied.registry,
            external_address: applied.external_address,
            kept: None,
            lock: applied.lock,
            config: applied.config,
            plan: None,
            mkectl: Program {
                version: applied.mkectl,
                sha256: None,
            },
            artifacts: applied.artifacts,
            pushed: Pushed {
                artifacts: applied.pushed,
                sent: Amount {
                    blobs: None,
                    bytes: applied.sent_bytes,
                },
                mounted: None,
                present: None,
            },
            began: None,
            ended: applied.when,
            by: by(applied.airlock),
            overridden: None,
            without_backup: None,
            rebuilt: false,
        }),
        failed: first.failed.map(|failed| super::Failed {
            release: failed.release,
            registry: None,
            lock: None,
            config: None,
            plan: None,
            step: failed.step,
            error: failed.error,
            mkectl_exit_code: failed.mkectl_exit_code,
            pushed: None,
            began: None,
            ended: failed.when,
            by: by(failed.airlock),
            overridden: None,
            without_backup: None,
        }),
    })
}
