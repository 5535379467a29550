//! What a registry does not serve, for people: an artifact whose tag is missing is told in one line, whatever lacks below it.

use release::verify::{Finding, FindingKind};

/// Returns a line for each finding.
pub(super) fn lines(findings: &[Finding]) -> String {
    let mut text = String::new();
    for finding in findings {
        let is_folded = !finding.kind.is_of_tag() && lacks_tag(findings, &finding.artifact);
        if is_folded {
            continue;
        }
        text.push_str(&format!("  {finding}"));
        if finding.kind == FindingKind::MissingTag {
            let below = findings
                .iter()
                .filter(|below| !below.kind.is_of_tag() && below.artifact == finding.artifact)
                .count();
            match below {
                0 => {}
                1 => text.push_str(", and one thing that it leads to"),
                below => text.push_str(&format!(", and {below} things that it leads to")),
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
    fn what_a_missing_tag_leads_to_is_counted_and_all_else_is_named() {
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
        ];
        assert_eq!(
            lines(&findings),
            [
                "  pause:3.10 is missing, and 2 things that it leads to\n",
                "  node:v1 is missing\n",
                "  dex:v2: blob sha256:aa is missing\n",
            ]
            .concat()
        );
    }
}
