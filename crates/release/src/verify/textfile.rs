//! Writes the result of a verification as metrics for node_exporter's textfile collector.
//!
//! Metric names and labels are a stable interface, because alerts depend on them. They contain no
//! secrets and few distinct values.

use std::fmt::Write as _;

use camino::Utf8Path;
use redaction::yaml::free_text;

use super::FindingKind;
use super::watch::Round;
use crate::workspace::{FileKind, write_named};
use crate::{Error, Workspace};

/// Writes the metrics of a verification atomically: readers never see a partial file.
///
/// # Errors
/// The path is a file of a different kind, or cannot be written.
pub fn write_textfile(workspace: &Workspace, path: &Utf8Path, round: &Round) -> Result<(), Error> {
    write_named(workspace, path, FileKind::Metrics, &free_text(&text(round)))
}

/// A metric with its samples: additional labels and the value.
struct Metric {
    name: &'static str,
    help: &'static str,
    samples: Vec<(String, String)>,
}

fn text(round: &Round) -> String {
    let common = format!(
        "environment=\"{}\",release=\"{}\"",
        escaped(&round.environment),
        escaped(round.release.as_deref().unwrap_or_default())
    );
    let mut text = String::new();
    for metric in metrics(round) {
        let Metric {
            name,
            help,
            samples,
        } = metric;
        if samples.is_empty() {
            continue;
        }
        let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} gauge");
        for (labels, value) in samples {
            let _ = writeln!(text, "{name}{{{common}{labels}}} {value}");
        }
    }
    text
}

fn metrics(round: &Round) -> Vec<Metric> {
    let one = |value: String| vec![(String::new(), value)];
    let flag = |is: bool| one(u8::from(is).to_string());
    let served = round.outcome.as_ref().ok();
    let is_right = served.is_some_and(|served| served.findings.is_empty());
    let findings = served.map(|served| {
        let of_kind = |kind| {
            served
                .findings
                .iter()
                .filter(|one| one.kind == kind)
                .count()
        };
        let sample = |kind: FindingKind| {
            (
                format!(",kind=\"{}\"", kind.name()),
                of_kind(kind).to_string(),
            )
        };
        FindingKind::ALL.into_iter().map(sample).collect()
    });
    vec![
        Metric {
            name: "airlock_verify_success",
            help: "Whether the registry serves nodes everything that the lock names.",
            samples: flag(is_right),
        },
        Metric {
            name: "airlock_verify_completed",
            help: "Whether the registry could be asked for everything.",
            samples: flag(served.is_some()),
        },
        Metric {
            name: "airlock_verify_timestamp_seconds",
            help: "When the last look ended, in seconds since 1970.",
            samples: one(round.at.as_second().to_string()),
        },
        Metric {
            name: "airlock_verify_duration_seconds",
            help: "How long the last look took.",
            samples: one(format!("{:.3}", round.took.as_secs_f64())),
        },
        Metric {
            name: "airlock_verify_artifacts",
            help: "How many artifacts the lock names.",
            samples: served.map_or_else(Vec::new, |served| one(served.artifacts.to_string())),
        },
        Metric {
            name: "airlock_verify_findings",
            help: "How many things the registry does not serve as the lock says, by kind.",
            samples: findings.unwrap_or_default(),
        },
    ]
}

/// Escapes a label value as the text format of Prometheus requires.
fn escaped(value: &str) -> String {
    value
        .replace('\\', r"\\")
        .replace('"', "\\\"")
        .replace('\n', r"\n")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::transfer::program;
    use crate::verify::{Finding, Served};

    fn round(outcome: Result<Served, Error>) -> Round {
        Round {
            environment: "a\"b\\c".to_owned(),
            release: Some("v4.1.5".to_owned()),
            at: jiff::Timestamp::from_second(1_700_000_000).unwrap(),
            took: Duration::from_millis(1_250),
            outcome,
        }
    }

    #[test]
    fn a_look_becomes_metrics_and_an_unknown_number_is_left_out() {
        let served = Served {
            images: String::new(),
            charts: String::new(),
            artifacts: 14,
            manifests: 0,
            blobs: 0,
            read_bytes: 0,
            findings: vec![Finding {
                kind: FindingKind::MissingBlob,
                artifact: "pause:3.10".to_owned(),
                repository: "mke/pause".to_owned(),
                digest: "sha256:aa".to_owned(),
                size: 7,
                found: None,
            }],
        };
        let written = text(&round(Ok(served)));
        let labels = r#"{environment="a\"b\\c",release="v4.1.5""#;
        for line in [
            format!("airlock_verify_success{labels}}} 0"),
            format!("airlock_verify_completed{labels}}} 1"),
            format!("airlock_verify_timestamp_seconds{labels}}} 1700000000"),
            format!("airlock_verify_duration_seconds{labels}}} 1.250"),
            format!("airlock_verify_artifacts{labels}}} 14"),
            format!("airlock_verify_findings{labels},kind=\"missing-blob\"}} 1"),
            format!("airlock_verify_findings{labels},kind=\"moved-tag\"}} 0"),
        ] {
            assert!(written.lines().any(|one| one == line), "{line}\n{written}");
        }
        let failed = text(&round(Err(program::Error::NoCluster {
            environment: "lab".to_owned(),
        }
        .into())));
        assert!(failed.contains("airlock_verify_completed"), "{failed}");
        assert!(!failed.contains("airlock_verify_findings"), "{failed}");
    }
}
