//! Finds evidence that a bundle belongs to a different release than expected. A lock under the
//! wrong name would install a different release.
//!
//! A bundle has no authoritative record of its release. Several independent pieces of evidence are
//! compared: the file name, the release matrix, the tags of components, and the platforms of
//! images. Missing evidence is not a contradiction.

use semver::Version;
use serde::Deserialize;

use crate::Certainty;
use crate::table::{Components, table};

/// The contents of a bundle that identify its release.
#[derive(Debug, Clone, Copy)]
pub struct Evidence<'a> {
    /// The vendor's release matrix in the bundle.
    pub matrix: Option<&'a str>,
    /// The artifacts of the bundle.
    pub artifacts: &'a [Artifact<'a>],
}

/// An artifact of a bundle.
#[derive(Debug, Clone)]
pub struct Artifact<'a> {
    /// Its repository, such as `calico/node`.
    pub repository: &'a str,
    /// Its tag.
    pub tag: &'a str,
    /// Whether it is a Helm chart.
    pub is_chart: bool,
    /// The known platforms of an image, such as `linux/amd64`.
    pub platforms: Vec<&'a str>,
}

/// One entry of the vendor's release matrix. The vendor adds keys, so unknown ones are ignored.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    mke_release_version: String,
    mke_operator_image_version: Option<String>,
    mke_operator_chart_version: Option<String>,
    k0s_version: Option<String>,
}

/// Names of architectures in file names. The first is the vendor's.
const ARCHITECTURES: [&[&str]; 2] = [&["amd64", "x86_64", "x86-64"], &["arm64", "aarch64"]];

/// Returns the vendor's name of an architecture: `amd64` for `x86_64`.
pub fn architecture(name: &str) -> Option<&'static str> {
    let names = ARCHITECTURES.iter().find(|names| names.contains(&name))?;
    names.first().copied()
}

/// Returns the contradictions between a file name and `release` or `arch`.
pub fn contradictions_in_name(release: &Version, arch: &str, name: &str) -> Vec<String> {
    let mut found = Vec::new();
    let versions: Vec<Version> = versions_in(name)
        .into_iter()
        .filter(|version| version.major == release.major)
        .collect();
    if let Some(version) = versions.first()
        && !versions.contains(release)
    {
        found.push(format!("the name `{name}` belongs to v{version}"));
    }
    let lower_case = name.to_ascii_lowercase();
    let is_named = |names: &&&[&str]| names.iter().any(|name| lower_case.contains(name));
    let named: Vec<&&[&str]> = ARCHITECTURES.iter().filter(is_named).collect();
    if let Some(names) = named.first()
        && !named.iter().any(|names| names.contains(&arch))
        && !lower_case.contains(arch)
    {
        found.push(format!("the name `{name}` belongs to {}", names[0]));
    }
    found
}

/// Returns whether a text is a release matrix: a list of releases, which may be empty.
pub fn is_matrix(text: &str) -> bool {
    serde_yaml::from_str::<Vec<Entry>>(text).is_ok()
}

/// Returns the contradictions between a bundle and `release` or `arch`.
pub fn contradictions(release: &Version, arch: &str, evidence: Evidence<'_>) -> Vec<String> {
    let wanted = format!("v{release}");
    let mut found = Vec::new();
    // A matrix in an unknown format is ignored here; mkectl checks it. JSON is valid YAML.
    let entries: Vec<Entry> = evidence
        .matrix
        .and_then(|text| serde_yaml::from_str(text).ok())
        .unwrap_or_default();
    let entry = (entries.iter()).find(|entry| entry.mke_release_version == wanted);
    if entry.is_none() && !entries.is_empty() {
        let listed: Vec<&str> = (entries
            .iter()
            .map(|entry| entry.mke_release_version.as_str()))
        .take(5)
        .collect();
        found.push(format!(
            "its release matrix lists {}, not {wanted}",
            listed.join(", ")
        ));
    }
    if let Some(entry) = entry {
        let source = "its release matrix";
        found.extend(component(
            evidence.artifacts,
            Part::Operator,
            entry.mke_operator_image_version.as_deref(),
            source,
        ));
        found.extend(component(
            evidence.artifacts,
            Part::OperatorChart,
            entry.mke_operator_chart_version.as_deref(),
            source,
        ));
        found.extend(component(
            evidence.artifacts,
            Part::K0s,
            entry.k0s_version.as_deref(),
            source,
        ));
    } else {
        found.extend(against_table(release, evidence.artifacts));
    }
    found.extend(platforms(arch, evidence.artifacts));
    found
}

/// Compares tags with the versions of the table for the release. An inferred version counts only if
/// the tag belongs to a different release of the table.
fn against_table(release: &Version, artifacts: &[Artifact<'_>]) -> Vec<String> {
    let row = (table().releases.iter()).find(|row| row.version == *release);
    let Some(known) = row.and_then(|row| row.components.as_ref()) else {
        return Vec::new();
    };
    let versions = |components: &Components| {
        [
            (Part::Operator, components.operator.clone()),
            (Part::OperatorChart, components.operator_chart.clone()),
            (Part::K0s, components.k0s.clone()),
        ]
    };
    let belongs_to_other_release = |part: Part| {
        let mut others = table()
            .releases
            .iter()
            .filter_map(|row| row.components.as_ref());
        others.any(|other| {
            versions(&other.value).iter().any(|(other, version)| {
                *other == part && component(artifacts, part, Some(version), "").is_none()
            })
        })
    };
    versions(&known.value)
        .into_iter()
        .filter_map(|(part, version)| {
            component(artifacts, part, Some(&version), &format!("v{release}")).filter(|_| {
                known.certainty == Certainty::Documented || belongs_to_other_release(part)
            })
        })
        .collect()
}

/// A component whose version identifies one release or a few releases.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Operator,
    OperatorChart,
    K0s,
}

/// Returns the contradiction between a component of the bundle and its version in `source`.
/// `None` if the bundle does not have the component.
fn component(
    artifacts: &[Artifact<'_>],
    part: Part,
    version: Option<&str>,
    source: &str,
) -> Option<String> {
    let version = version?;
    let mut others = Vec::new();
    for artifact in artifacts {
        let name = artifact.repository.rsplit('/').next().unwrap_or_default();
        let expected = match (part, name, artifact.is_chart) {
            (Part::Operator, "mke-operator", false) => version.to_owned(),
            (Part::OperatorChart, "mke-operator", true)
            | (Part::OperatorChart, "mke-operator-chart", _) => version.to_owned(),
            // A tag cannot contain `+`.
            (Part::K0s, "k0s", false) => version.replace('+', "-"),
            // k0s contains the kube-proxy of its Kubernetes version.
            (Part::K0s, "kube-proxy", false) => version.split('+').next()?.to_owned(),
            _ => continue,
        };
        let rest = artifact.tag.strip_prefix(expected.as_str());
        if rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('-')) {
            return None;
        }
        others.push((
            format!("{}:{}", artifact.repository, artifact.tag),
            expected,
        ));
    }
    let (reference, expected) = others.first()?;
    Some(format!(
        "it contains {reference}, but {source} has {expected}"
    ))
}

/// Returns the contradiction between the platforms of the images and `arch`: more images are for a
/// different architecture.
fn platforms(arch: &str, artifacts: &[Artifact<'_>]) -> Option<String> {
    let is_for = |artifact: &Artifact<'_>, arch: &str| {
        let mut platforms = artifact.platforms.iter();
        platforms.any(|platform| platform.split('/').nth(1) == Some(arch))
    };
    let count = |arch: &str| (artifacts.iter().filter(|artifact| is_for(artifact, arch))).count();
    let mut others: Vec<&str> = (artifacts.iter().flat_map(|artifact| &artifact.platforms))
        .filter_map(|platform| platform.split('/').nth(1))
        .filter(|other| *other != arch)
        .collect();
    others.sort_unstable();
    others.dedup();
    let other = others.into_iter().max_by_key(|other| count(other))?;
    let (for_arch, for_other) = (count(arch), count(other));
    (for_other > for_arch)
        .then(|| format!("{for_other} of its images are for {other}, {for_arch} for {arch}"))
}

/// Returns the versions in a file name, such as `4.1.5` and `4.2.1-rc.3`.
fn versions_in(name: &str) -> Vec<Version> {
    let mut versions = Vec::new();
    let bytes = name.as_bytes();
    let mut start = 0;
    while start < bytes.len() {
        let begins = bytes[start].is_ascii_digit()
            && (start == 0 || !matches!(bytes[start - 1], b'0'..=b'9' | b'.'));
        let core = begins.then(|| &name[start..start + core_length(&bytes[start..])]);
        let Some(core) = core.filter(|core| core.matches('.').count() == 2) else {
            start += 1;
            continue;
        };
        let end = start + core.len();
        let pre = pre_release(&name[end..]);
        if let Ok(version) = Version::parse(&format!("{core}{pre}")) {
            versions.push(version);
        }
        start = end;
    }
    versions
}

/// Returns the length of up to three numbers, separated by dots, at the beginning of `bytes`.
fn core_length(bytes: &[u8]) -> usize {
    let mut length = 0;
    for number in 0..3 {
        let from = if number == 0 { 0 } else { length + 1 };
        if number > 0 && bytes.get(length) != Some(&b'.') {
            break;
        }
        let digits = (bytes.iter().skip(from))
            .take_while(|byte| byte.is_ascii_digit())
            .count();
        if digits == 0 {
            break;
        }
        length = from + digits;
    }
    length
}

/// Returns the pre-release at the beginning of `rest`, such as `-rc.3`, or an empty string.
fn pre_release(rest: &str) -> &str {
    let kinds = ["-alpha", "-beta", "-rc", "-demo"];
    let Some(kind) = kinds.iter().find(|kind| rest.starts_with(**kind)) else {
        return "";
    };
    let mut length = kind.len();
    let number = rest[length..].strip_prefix('.').unwrap_or("");
    let digits = number.bytes().take_while(u8::is_ascii_digit).count();
    if digits > 0 {
        length += 1 + digits;
    }
    &rest[..length]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn artifact<'a>(repository: &'a str, tag: &'a str, platforms: &[&'a str]) -> Artifact<'a> {
        Artifact {
            repository,
            tag,
            is_chart: false,
            platforms: platforms.to_vec(),
        }
    }

    fn found(
        release: &str,
        arch: &str,
        matrix: Option<&str>,
        artifacts: &[Artifact<'_>],
    ) -> Vec<String> {
        let release = release.parse().unwrap();
        contradictions(&release, arch, Evidence { matrix, artifacts })
    }

    #[test]
    fn names_contradict() {
        let of = |release: &str, arch, name| {
            contradictions_in_name(&release.parse().unwrap(), arch, name).join("; ")
        };
        for name in [
            "mke_bundle_v4.1.4_amd64.tar.gz",
            "mke_bundle_v4.1.4_amd64 (1).tar.gz",
            "MKE-4.1.4.tgz",
            "bundle.tar.gz",
            "2026.11.30-4.1.4-x86_64.tar.gz",
            "with-helm-3.17.1-v4.1.4.tar.gz",
        ] {
            assert_eq!(of("4.1.4", "amd64", name), "", "{name}");
        }
        assert_eq!(
            of("4.2.1-rc.3", "amd64", "mke_bundle_v4.2.1-rc.3_amd64.tar.gz"),
            ""
        );
        assert_eq!(
            of("4.1.5-demo", "amd64", "mke_bundle_v4.1.5-demo_amd64.tar.gz"),
            ""
        );
        assert_eq!(of("4.1.5", "s390x", "mke_bundle_v4.1.5_s390x.tar.gz"), "");
        for (release, arch, name, expected) in [
            ("4.1.4", "amd64", "mke_bundle_v4.2.0_amd64.tar.gz", "v4.2.0"),
            (
                "4.2.1",
                "amd64",
                "mke_bundle_v4.2.1-rc.3_amd64.tar.gz",
                "v4.2.1-rc.3",
            ),
            ("4.1.4", "arm64", "mke_bundle_v4.1.4_amd64.tar.gz", "amd64"),
            ("4.1.4", "arm64", "mke-x86_64.tar.gz", "amd64"),
            ("4.1.4", "amd64", "mke-aarch64.tar.gz", "arm64"),
        ] {
            let expected = format!("the name `{name}` belongs to {expected}");
            assert_eq!(of(release, arch, name), expected);
        }
    }

    #[test]
    fn matrix_tags_and_platforms_contradict() {
        let matrix = r#"[{"mkeReleaseVersion":"v4.2.0","mkeOperatorImageVersion":"v1.7.11","k0sVersion":"v1.35.4+k0s.0","new":{}}]"#;
        let bundle = [
            artifact("mke-operator", "v1.7.11", &["linux/amd64"]),
            artifact(
                "k0sproject/kube-proxy",
                "v1.35.4-0",
                &["linux/amd64", "linux/arm64"],
            ),
        ];
        assert_eq!(found("4.2.0", "amd64", Some(matrix), &bundle), [""; 0]);
        assert_eq!(
            found("4.1.4", "amd64", Some(matrix), &bundle)[0],
            "its release matrix lists v4.2.0, not v4.1.4"
        );
        assert_eq!(
            found("4.2.0", "arm64", Some(matrix), &bundle),
            ["2 of its images are for amd64, 1 for arm64"]
        );
        // Without a matrix, the table decides. An inferred version contradicts only if the tag
        // belongs to a different release.
        assert_eq!(found("4.2.0", "amd64", None, &bundle), [""; 0]);
        assert_eq!(
            found("4.1.5", "amd64", None, &bundle),
            [
                "it contains mke-operator:v1.7.11, but v4.1.5 has v1.6.3",
                "it contains k0sproject/kube-proxy:v1.35.4-0, but v4.1.5 has v1.32.11",
            ]
        );
        let older = [artifact("k0sproject/k0s", "v1.32.11-k0s.0", &[])];
        assert_eq!(
            found("4.2.0", "amd64", None, &older),
            ["it contains k0sproject/k0s:v1.32.11-k0s.0, but v4.2.0 has v1.35.4-k0s.0"]
        );
        assert_eq!(found("4.1.5", "amd64", None, &older), [""; 0]);
        assert_eq!(found("4.9.0", "amd64", None, &older), [""; 0]);
        // A longer version with the same beginning is a different version.
        let longer = [artifact("mke/mke-operator", "v1.6.31", &[])];
        assert_eq!(found("4.1.5", "amd64", None, &longer).len(), 1);
        assert_eq!(found("4.1.5", "amd64", Some("not a matrix"), &[]), [""; 0]);
    }

    #[test]
    fn no_release_of_the_table_contradicts_itself() {
        for row in &table().releases {
            let Some(known) = &row.components else {
                continue;
            };
            let k0s = known.value.k0s.replace('+', "-");
            let bundle = [
                artifact("mke-operator", &known.value.operator, &[]),
                artifact("k0sproject/k0s", &k0s, &[]),
            ];
            let release = row.version.to_string();
            assert_eq!(found(&release, "amd64", None, &bundle), [""; 0]);
        }
    }
}
