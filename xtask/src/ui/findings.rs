//! The text of a verification's findings.
//!
//! - An artifact whose tag is missing is one line, whatever is missing below the tag.
//! - A blob that several repositories lack is one line.

use release::verify::{Finding, FindingKind};

use super::human::first_names;

/// Returns the findings, one line each.
pub(super) fn lines(findings: &[Finding]) -> String {
    let mut text = String::new();
    let mut shown: Vec<&Finding> = Vec::new();
    for finding in findings {
        if !finding.kind.is_of_tag() && lacks_tag(findings, &finding.artifact) {
            continue;
        }
        let is_same = |other: &Finding| {
            other.kind == finding.kind && other.digest == finding.digest && !other.kind.is_of_tag()
        };
        if shown.iter().any(|other| is_same(other)) {
            continue;
        }
        shown.push(finding);
        text.push_str(&format!("  {finding}"));
        let others: Vec<&str> = findings
            .iter()
            .filter(|other| is_same(other) && other.artifact != finding.artifact)
            .filter(|other| !lacks_tag(findings, &other.artifact))
            .map(|other| other.artifact.as_str())
            .collect();
        if !others.is_empty() {
            text.push_str(&format!("; the same in {}", first_names(&others)));
        }
        if finding.kind == FindingKind::MissingTag {
            let below = findings
                .iter()
                .filter(|below| !below.kind.is_of_tag() && below.artifact == finding.artifact)
                .count();
            if below > 0 {
                text.push_str(&format!(", and {below} of its manifests and blobs"));
            }
        }
        text.push('\n');
    }
    text
}

fn lacks_tag(findings: &[Finding], artifact: &str) -> bool {
    findings
        .iter()
        .any(|finding| finding.kind == FindingKind::MissingTag && finding.artifact == artifact)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_below_a_missing_tag_are_counted_and_others_listed() {
        let finding = |kind, artifact: &str| Finding {
            kind,
            artifact: artifact.to_owned(),
            repository: format!("mke/{artifact}"),
            digest: "sha256:aa".to_owned(),
            size: 7,
            found: None,
        };
        let findings = [
            finding(FindingKind::MissingTag, "pause:3.10"),
            finding(FindingKind::MissingBlob, "pause:3.10"),
            finding(FindingKind::MissingBlob, "pause:3.10"),
            finding(FindingKind::MissingTag, "node:v1"),
            finding(FindingKind::MissingBlob, "dex:v2"),
            // One blob that several repositories lack
            finding(FindingKind::MissingBlob, "cni:v1"),
            finding(FindingKind::MissingBlob, "apiserver:v1"),
        ];
        assert_eq!(
            lines(&findings),
            [
                "  pause:3.10 is missing, and 2 of its manifests and blobs\n",
                "  node:v1 is missing\n",
                "  dex:v2: blob sha256:aa is missing; the same in cni:v1, apiserver:v1\n",
            ]
            .concat()
        );
    }
}
