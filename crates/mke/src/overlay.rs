//! Facts of releases that a team adds to the table without building: `environments/releases.yaml`.
//!
//! A row for a release of the table replaces some facts of that release. A row for a new release
//! inherits the facts of the release before it, with a certainty of *inferred* at most. Faults,
//! hashes and upgrade sources belong to one release and are not inherited.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use environment::yaml::{self, Mapping, Node, Source};
use environment::{Problem, Problems, nearest, quote};
use semver::Version;
use serde::de::DeserializeOwned;

use crate::Certainty;
use crate::release::{address, version_core};
use crate::table::{self, BUILT_IN, Fault, Hashes, Row, Sourced, Table, Upgrades};

/// The keys at the top of the file.
const KEYS: [&str; 2] = ["sources", "releases"];

/// The keys of a row.
const ROW_KEYS: [&str; 10] = [
    "version",
    "bundle",
    "checksum",
    "private-ca",
    "anonymous-pull-required",
    "external-address-required",
    "components",
    "mkectl",
    "upgrade",
    "faults",
];

/// The keys of `upgrade`.
const UPGRADE_KEYS: [&str; 6] = [
    "from",
    "refused",
    "rollback-backup",
    "archive",
    "monitoring-crds",
    "gateway-node-ports-from",
];

/// What a file adds to the table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Overlay {
    /// The releases that the table does not have.
    pub added: Vec<Version>,
    /// The releases of the table with replaced facts.
    pub changed: Vec<Version>,
    /// The replaced facts that were documented.
    pub warnings: Vec<Problem>,
}

/// Adds the facts of a team's file to the table for the rest of the process. The table is global,
/// so all functions use the same facts. Later calls have no effect.
///
/// # Errors
///
/// All problems of the file. The table then stays unchanged.
pub fn overlay(source: &Arc<Source>) -> Result<Overlay, Problems> {
    let (table, overlay) = overlaid(&BUILT_IN, source)?;
    table::replace(table);
    Ok(overlay)
}

/// Returns a copy of a table with the facts of a file.
///
/// # Errors
///
/// All problems of the file.
fn overlaid(base: &Table, source: &Arc<Source>) -> Result<(Table, Overlay), Problems> {
    let document = yaml::parse(Arc::clone(source)).map_err(|problem| Problems(vec![problem]))?;
    let mut reader = Reader {
        problems: Vec::new(),
        overlay: Overlay::default(),
        table: base.clone(),
    };
    if !document.is_null() {
        reader.read_file(&document);
    }
    let Reader {
        mut problems,
        overlay,
        table,
    } = reader;
    problems.sort_by_key(|problem| problem.span.start);
    match problems.is_empty() {
        true => Ok((table, overlay)),
        false => Err(Problems(problems)),
    }
}

/// Reads a file into a copy of the table and collects its problems.
struct Reader {
    problems: Vec<Problem>,
    overlay: Overlay,
    table: Table,
}

impl Reader {
    fn read_file(&mut self, document: &Node) {
        let Some(keys) = self.known_keys(document, &KEYS) else {
            return;
        };
        if let Some(sources) = keys.get("sources")
            && let Some(named) = self.deserialize::<BTreeMap<String, String>>(sources)
        {
            for (name, address) in named {
                if !address.starts_with("https://") {
                    let node = sources.get(&name).unwrap_or(sources);
                    self.problem(node, format!("{} is not an https address", quote(&address)));
                }
                self.table.sources.insert(name, address);
            }
        }
        let rows = keys.get("releases").map(|rows| match rows.as_sequence() {
            Some(rows) => rows,
            None => {
                self.problem(rows, "expected a list of releases");
                &[]
            }
        });
        let mut known = BTreeSet::new();
        let mut rows: Vec<(Version, &Node)> = rows
            .unwrap_or_default()
            .iter()
            .filter_map(|row| Some((self.read_version(row, &mut known)?, row)))
            .collect();
        // A row inherits from the release before it, which may be in this file too.
        rows.sort_by(|(one, _), (other, _)| one.cmp(other));
        for (version, row) in rows {
            self.read_row(version, row);
        }
    }

    /// Returns the release of a row. `known` has the releases of the rows before it.
    fn read_version(&mut self, row: &Node, known: &mut BTreeSet<Version>) -> Option<Version> {
        let keys = self.known_keys(row, &ROW_KEYS)?;
        let Some(node) = keys.get("version") else {
            self.problem(row, "`version` is missing");
            return None;
        };
        let text = node.text().unwrap_or_default();
        let version = Version::parse(text.strip_prefix('v').unwrap_or(text)).ok();
        let Some(version) = version.filter(|version| version_core(version) == *version) else {
            let rule = format!(
                "{} is not a release; expected a version such as 4.2.2",
                quote(text)
            );
            self.problem(node, rule);
            return None;
        };
        let oldest = &self.table.releases[0].version;
        if version < *oldest {
            let rule = format!(
                "v{version} is older than v{oldest}, the first release with an offline installation"
            );
            self.problem(node, rule);
            return None;
        }
        if !known.insert(version.clone()) {
            self.problem(node, format!("v{version} has two rows"));
            return None;
        }
        Some(version)
    }

    /// Replaces the row of a release, or inserts a new one.
    fn read_row(&mut self, version: Version, node: &Node) {
        let Some(keys) = node.as_mapping() else {
            return;
        };
        let releases = &self.table.releases;
        let found = releases.binary_search_by(|row| row.version.cmp(&version));
        let mut row = match found {
            Ok(index) => releases[index].clone(),
            Err(index) => inherit(&releases[index - 1], version.clone()),
        };
        self.override_fact(keys, "bundle", &mut row.bundle);
        self.override_fact(keys, "checksum", &mut row.checksum);
        self.override_fact(keys, "private-ca", &mut row.private_ca);
        self.override_fact(
            keys,
            "anonymous-pull-required",
            &mut row.anonymous_pull_required,
        );
        self.override_fact(
            keys,
            "external-address-required",
            &mut row.external_address_required,
        );
        self.override_optional_fact(keys, "components", &mut row.components);
        if let Some(node) = keys.get("mkectl")
            && let Some(hashes) = self.deserialize::<Hashes>(node)
        {
            self.check_hashes(node, &row.mkectl, &hashes);
            row.mkectl.sha256.extend(hashes.sha256);
            (row.mkectl.certainty, row.mkectl.source) = (hashes.certainty, hashes.source);
        }
        if let Some(node) = keys.get("upgrade") {
            self.read_upgrade(node, &version, &mut row.upgrade);
        }
        let faults = keys.get("faults").and_then(Node::as_sequence);
        for node in faults.unwrap_or_default() {
            if let Some(fault) = self.deserialize::<Fault>(node) {
                self.check_sources(node, &fault.source);
                row.faults.push(fault);
            }
        }
        match found {
            Ok(index) => {
                self.table.releases[index] = row;
                self.overlay.changed.push(version);
            }
            Err(index) => {
                self.table.releases.insert(index, row);
                self.overlay.added.push(version);
            }
        }
    }

    /// Replaces facts about upgrades to a release.
    fn read_upgrade(&mut self, node: &Node, version: &Version, upgrade: &mut Upgrades) {
        let Some(keys) = self.known_keys(node, &UPGRADE_KEYS) else {
            return;
        };
        self.override_fact(keys, "from", &mut upgrade.from);
        if let Some(node) = keys.get("from")
            && let Some(from) = (upgrade.from.value.iter().flatten()).find(|from| *from >= version)
        {
            let rule = format!("v{version} cannot be an upgrade of v{from}, which is not older");
            self.problem(node, rule);
        }
        self.override_optional_fact(keys, "rollback-backup", &mut upgrade.rollback_backup);
        self.override_fact(keys, "archive", &mut upgrade.archive);
        self.override_optional_fact(keys, "monitoring-crds", &mut upgrade.monitoring_crds);
        self.override_optional_fact(
            keys,
            "gateway-node-ports-from",
            &mut upgrade.gateway_node_ports_from,
        );
        if let Some(node) = keys.get("refused")
            && let Some(refused) = self.deserialize::<Option<String>>(node)
        {
            upgrade.refused = refused;
        }
    }

    /// Replaces a fact if the file contains it.
    fn override_fact<T>(&mut self, keys: &Mapping, key: &str, fact: &mut Sourced<T>)
    where
        T: DeserializeOwned + PartialEq,
    {
        let Some(node) = keys.get(key) else {
            return;
        };
        if let Some(new) = self.read_fact::<T>(node) {
            let differs = new.value != fact.value;
            if differs && fact.certainty == Certainty::Documented {
                let rule = format!(
                    "`{key}` differs from the documented fact of the table ({})",
                    fact.source.join(", ")
                );
                let warning = Problem {
                    is_warning: true,
                    ..Problem::at(node, rule)
                };
                self.overlay.warnings.push(warning);
            }
            *fact = new;
        }
    }

    /// Replaces or adds a fact if the file contains it.
    fn override_optional_fact<T: DeserializeOwned + PartialEq>(
        &mut self,
        keys: &Mapping,
        key: &str,
        fact: &mut Option<Sourced<T>>,
    ) {
        match (fact, keys.get(key)) {
            (_, None) => {}
            (Some(fact), Some(_)) => self.override_fact(keys, key, fact),
            (fact @ None, Some(node)) => *fact = self.read_fact(node),
        }
    }

    fn read_fact<T: DeserializeOwned>(&mut self, node: &Node) -> Option<Sourced<T>> {
        let fact = self.deserialize::<Sourced<T>>(node)?;
        self.check_sources(node, &fact.source);
        Some(fact)
    }

    /// Checks that the file adds hashes but changes none: a published hash protects a download from
    /// being replaced.
    fn check_hashes(&mut self, node: &Node, known: &Hashes, hashes: &Hashes) {
        self.check_sources(node, &hashes.source);
        let written = node.get("sha256");
        for (platform, hash) in &hashes.sha256 {
            let node = written
                .and_then(|written| written.get(platform))
                .unwrap_or(node);
            let is_hash = hash.len() == 64 && hash.bytes().all(|byte| byte.is_ascii_hexdigit());
            if !is_hash {
                self.problem(node, format!("{} is not a SHA-256", quote(hash)));
            } else if known
                .sha256
                .get(platform)
                .is_some_and(|known| known != hash)
            {
                let from = known.source.join(", ");
                self.problem(
                    node,
                    format!("the table has a different hash of {platform} ({from})"),
                );
            }
        }
    }

    /// Checks that each source has an address.
    fn check_sources(&mut self, node: &Node, names: &[String]) {
        let node = node.get("source").unwrap_or(node);
        if names.is_empty() {
            self.problem(node, "a fact needs a source");
        }
        for name in names {
            if address(&self.table.sources, name).is_none() {
                let known = self.table.sources.keys().map(String::as_str);
                let help = match nearest(name, known) {
                    Some(known) => format!("did you mean `{known}`?"),
                    None => "add it to `sources`, or write its https address".to_owned(),
                };
                let problem = Problem::at(node, format!("the source {} is unknown", quote(name)));
                self.problems.push(problem.with_help(help));
            }
        }
    }

    /// Returns a node as a mapping and notes its unknown keys.
    fn known_keys<'a>(&mut self, node: &'a Node, known: &[&'static str]) -> Option<&'a Mapping> {
        let Some(mapping) = node.as_mapping() else {
            self.problem(
                node,
                format!("expected keys and values, found {}", node.kind()),
            );
            return None;
        };
        for (key, _) in mapping.iter() {
            let name = key.text().unwrap_or_default();
            if !known.contains(&name) {
                let help = match nearest(name, known.iter().copied()) {
                    Some(known) => format!("did you mean `{known}`?"),
                    None => format!("known keys: {}", known.join(", ")),
                };
                let problem = Problem::at(key, format!("unknown key {}", quote(name)));
                self.problems.push(problem.with_help(help));
            }
        }
        Some(mapping)
    }

    /// Deserializes a value.
    fn deserialize<T: DeserializeOwned>(&mut self, node: &Node) -> Option<T> {
        match serde_yaml::from_str(&yaml::emit(node)) {
            Ok(value) => Some(value),
            Err(error) => {
                let message = error.to_string();
                // The line number counts from this value, not from the start of the file.
                let message = message.split(" at line ").next().unwrap_or_default();
                self.problem(node, message);
                None
            }
        }
    }

    fn problem(&mut self, node: &Node, rule: impl Into<String>) {
        self.problems.push(Problem::at(node, rule));
    }
}

/// Returns the row of a new release with the facts that it inherits from the release before it.
fn inherit(before: &Row, version: Version) -> Row {
    let Row {
        bundle,
        checksum,
        private_ca,
        anonymous_pull_required,
        external_address_required,
        upgrade,
        mkectl,
        ..
    } = before.clone();
    Row {
        version,
        bundle: inherited(bundle),
        checksum: inherited(checksum),
        private_ca: inherited(private_ca),
        anonymous_pull_required: inherited(anonymous_pull_required),
        external_address_required: inherited(external_address_required),
        components: None,
        mkectl: Hashes {
            certainty: Certainty::Unverified,
            source: mkectl.source,
            sha256: BTreeMap::new(),
        },
        upgrade: Upgrades {
            from: Sourced {
                value: None,
                certainty: Certainty::Unverified,
                source: upgrade.from.source,
            },
            refused: None,
            rollback_backup: upgrade.rollback_backup.map(inherited),
            archive: inherited(upgrade.archive),
            monitoring_crds: upgrade.monitoring_crds.map(inherited),
            gateway_node_ports_from: upgrade.gateway_node_ports_from.map(inherited),
        },
        faults: Vec::new(),
    }
}

/// Returns an inherited fact, which is never documented.
fn inherited<T>(fact: Sourced<T>) -> Sourced<T> {
    let certainty = match fact.certainty {
        Certainty::Documented => Certainty::Inferred,
        certainty => certainty,
    };
    Sourced { certainty, ..fact }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<(Table, Overlay), Problems> {
        let source = Source {
            path: "environments/releases.yaml".into(),
            text: text.to_owned(),
        };
        overlaid(&BUILT_IN, &Arc::new(source))
    }

    #[test]
    fn a_new_release_inherits_facts_as_inferred() {
        let (table, overlay) = read(
            "releases:\n- version: v4.2.3\n- version: 4.2.2\n  upgrade:\n    from: { value: [4.2.1], certainty: documented, source: [\"https://docs.example.com/a\"] }\n",
        )
        .unwrap();
        let versions = [Version::new(4, 2, 2), Version::new(4, 2, 3)];
        assert_eq!(overlay.added, versions);
        assert_eq!((overlay.changed.len(), overlay.warnings.len()), (0, 0));
        let rows = &table.releases[table.releases.len() - 3..];
        assert_eq!(rows[1].bundle.value, rows[0].bundle.value);
        assert_eq!(rows[0].private_ca.certainty, Certainty::Documented);
        assert_eq!(rows[1].private_ca.certainty, Certainty::Inferred);
        assert_eq!(
            rows[1].upgrade.from.value.as_deref(),
            Some(&[Version::new(4, 2, 1)][..])
        );
        assert_eq!(rows[2].upgrade.from.value, None);
        assert!(rows[1].faults.is_empty() && !rows[0].faults.is_empty());
        assert!(rows[1].mkectl.sha256.is_empty());
        assert_eq!(read("").unwrap().1, Overlay::default());
    }

    #[test]
    fn replacing_a_documented_fact_of_a_known_release_warns() {
        let (table, overlay) = read(
            "sources: { NOTES: https://docs.example.com/notes }\nreleases:\n- version: 4.2.1\n  anonymous-pull-required: { value: true, certainty: observed, source: [NOTES] }\n  \
             mkectl: { certainty: documented, source: [NOTES], sha256: { linux-x86_64: \
             8816a0e91b5d9385c62729571c2479edcd670967d9e55b752324c77f7866d714 } }\n",
        )
        .unwrap();
        let row = table.releases.last().unwrap();
        assert!(row.anonymous_pull_required.value);
        assert_eq!(row.mkectl.sha256.len(), 1);
        assert_eq!(overlay.changed, [Version::new(4, 2, 1)]);
        let warnings: Vec<String> = overlay.warnings.iter().map(ToString::to_string).collect();
        assert_eq!(
            warnings,
            [
                "environments/releases.yaml:4:28: warning: `anonymous-pull-required` differs from the documented fact of the table (DOCS-421, APPLY-421)"
            ]
        );
    }

    #[test]
    fn every_problem_is_reported_with_its_place() {
        let problems = read(
            "sorces: {}\nreleases:\n- version: 4.2.2\n  bundel: x\n  private-ca: { value: maybe, certainty: documented, source: [DOCS-421] }\n  \
             checksum: { value: null, certainty: inferred, source: [DOCS-422] }\n- version: 4.2.2\n- version: 4.0.9\n- version: latest\n- bundle: {}\n\
             - version: 4.1.5\n  mkectl: { certainty: documented, source: [BREW], sha256: { linux-x86_64: ab, darwin-arm64: \
             8816a0e91b5d9385c62729571c2479edcd670967d9e55b752324c77f7866d714 } }\n",
        )
        .unwrap_err();
        insta::assert_snapshot!(problems, @"
        environments/releases.yaml:1:1: unknown key `sorces`; did you mean `sources`?
        environments/releases.yaml:4:3: unknown key `bundel`; did you mean `bundle`?
        environments/releases.yaml:5:15: value: unknown variant `maybe`, expected one of `supported`, `unsupported`, `unverified`
        environments/releases.yaml:6:57: the source `DOCS-422` is unknown; did you mean `DOCS-421`?
        environments/releases.yaml:7:12: v4.2.2 has two rows
        environments/releases.yaml:8:12: v4.0.9 is older than v4.1.0, the first release with an offline installation
        environments/releases.yaml:9:12: `latest` is not a release; expected a version such as 4.2.2
        environments/releases.yaml:10:3: `version` is missing
        environments/releases.yaml:12:76: `ab` is not a SHA-256
        environments/releases.yaml:12:94: the table has a different hash of darwin-arm64 (BREW)
        ");
    }

    #[test]
    fn upgrades_from_newer_releases_and_sources_without_https_are_refused() {
        let problems = read(
            "sources: { N: 'javascript:alert(1)' }\nreleases:\n- version: 4.2.2\n  upgrade:\n    from: { value: [4.2.1, 4.2.2], certainty: \
             inferred, source: [DOCS-421] }\n",
        )
        .unwrap_err();
        insta::assert_snapshot!(problems, @"
        environments/releases.yaml:1:15: `javascript:alert(1)` is not an https address
        environments/releases.yaml:5:11: v4.2.2 cannot be an upgrade of v4.2.2, which is not older
        ");
    }
}
