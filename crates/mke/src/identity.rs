//! Finds what contradicts that a bundle is the release that it is locked as: a lock under the wrong
//! name would install another release.
//!
//! Nothing in a bundle is authoritative about its release, so several independent signs are
//! compared: file names, the release matrix, the tags of components, and platforms. A sign that is
//! absent contradicts nothing.

use semver::Version;
use serde::Deserialize;

use crate::Certainty;
use crate::table::{Components, table};

/// What a bundle shows of itself.
#[derive(Debug, Clone, Copy)]
pub struct Evidence<'a> {
    /// The vendor's release matrix in the bundle.
    pub matrix: Option<&'a str>,
    /// What the bundle contains.
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
    /// The platforms of an image, as far as they are known, such as `linux/amd64`.
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

/// Words for processor architectures in file names. The first one is the vendor's.
const ARCHITECTURES: [&[&str]; 2] = [&["amd64", "x86_64", "x86-64"], &["arm64", "aarch64"]];

/// Returns the vendor's word for an architecture, by any of its names: `amd64` for `x86_64`.
pub fn architecture(name: &str) -> Option<&'static str> {
    let words = ARCHITECTURES.iter().find(|words| words.contains(&name))?;
    words.first().copied()
}

/// Returns what in a file name contradicts `release` and `arch`.
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
    let name_of = name.to_ascii_lowercase();
    let is_named = |words: &&&[&str]| words.iter().any(|word| name_of.contains(word));
    let named: Vec<&&[&str]> = ARCHITECTURES.iter().filter(is_named).collect();
    if let Some(words) = named.first()
        && !named.iter().any(|words| words.contains(&arch))
        && !name_of.contains(arch)
    {
        found.push(format!("the name `{name}` belongs to {}", words[0]));
    }
    found
}

/// Returns whether a text is a release matrix: a list of releases, which may be empty.
pub fn is_matrix(text: &str) -> bool {
    serde_yaml::from_str::<Vec<Entry>>(text).is_ok()
}

/// Returns what in a bundle contradicts `release` and `arch`.
pub fn contradictions(release: &Version, arch: &str, evidence: Evidence<'_>) -> Vec<String> {
    let wanted = format!("v{release}");
    let mut found = Vec::new();
    // JSON is YAML. A matrix of another form says nothing here; mkectl judges it.
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

/// Compares tags with the versions that the table has for the release, unless those are inferred
/// and no other release has the tags.
fn against_table(release: &Version, artifacts: &[Artifact<'_>]) -> Vec<String> {
    let row = (table().releases.iter()).find(|row| row.version == *release);
    let Some(known) = row.and_then(|row| row.components.as_ref()) else {
        return Vec::new();
    };
    let of = |components: &Components| {
        [
            (Part::Operator, components.operator.clone()),
            (Part::OperatorChart, components.operator_chart.clone()),
            (Part::K0s, components.k0s.clone()),
        ]
    };
    let is_of_another = |part: Part| {
        let mut others = table()
            .releases
            .iter()
            .filter_map(|row| row.components.as_ref());
        others.any(|other| {
            of(&other.value).iter().any(|(other, version)| {
                *other == part && component(artifacts, part, Some(version), "").is_none()
            })
        })
    };
    of(&known.value)
        .into_iter()
        .filter_map(|(part, version)| {
            component(artifacts, part, Some(&version), &format!("v{release}"))
                .filter(|_| known.certainty == Certainty::Documented || is_of_another(part))
        })
        .collect()
}

/// A component whose version is that of one release, or of few.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Operator,
    OperatorChart,
    K0s,
}

/// Returns how a component contradicts the version that `source` names, if the bundle has the
/// component.
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
            // No tag has a `+`.
            (Part::K0s, "k0s", false) => version.replace('+', "-"),
            // k0s brings the kube-proxy of its Kubernetes version.
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

/// Returns how the platforms of the images contradict `arch`: most of them lack it and have another
/// one.
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
    let best = others.into_iter().max_by_key(|other| count(other))?;
    let (ours, theirs) = (count(arch), count(best));
    (theirs > ours).then(|| format!("{theirs} of its images are for {best}, {ours} for {arch}"))
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

/// Returns the length of up to three numbers with dots between them.
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

/// Returns `-rc.3` or the like at the beginning of `rest`; an empty text for anything else.
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

    // case 1.3
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

    // case 1.3
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
        // Without a matrix, the table is asked: what it only infers contradicts if it is of a
        // different release.
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
        // A tag that begins with the same characters is another one.
        let longer = [artifact("mke/mke-operator", "v1.6.31", &[])];
        assert_eq!(found("4.1.5", "amd64", None, &longer).len(), 1);
        assert_eq!(found("4.1.5", "amd64", Some("not a matrix"), &[]), [""; 0]);
    }

    // case 1.3
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
