//! Reads an environment from its files.

use std::sync::Arc;

use camino::{Utf8Path, Utf8PathBuf};

use crate::{
    certificate, check,
    environment::{CertificateAuthority, CredentialSource, Environment, Facts, Registry},
    error::Error,
    findings::Findings,
    grammar, inherit, inventory,
    mask::Secrets,
    merge::{merge, settled, without_nulls},
    mke3,
    nearest::nearest,
    operation::{self, Operation},
    paths,
    problem::{Problem, Problems, quote},
    promotion,
    yaml::{Mapping, Node, Source, Value},
};

/// The folder below the workspace root that holds the environments.
const ENVIRONMENTS: &str = "environments";

/// The file in an environment's folder that people write.
const FILE: &str = "environment.yaml";

/// Returns the names of all environments, sorted: the folders below `environments` that contain an `environment.yaml`.
///
/// `root` is the workspace root. A name that no environment may have is among them, so that loading it says what is
/// wrong with it.
///
/// # Errors
///
/// Returns [`Error::Read`] if the folder cannot be read. Without the folder there are no environments.
pub fn names(root: &Utf8Path) -> Result<Vec<String>, Error> {
    let directory = root.join(ENVIRONMENTS);
    let cannot_read = |source| Error::Read {
        path: directory.clone(),
        source,
    };
    let entries = match directory.read_dir() {
        Ok(entries) => entries,
        Err(error) if paths::is_absent(&error) => return Ok(Vec::new()),
        Err(error) => return Err(cannot_read(error)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(cannot_read)?;
        if entry.path().join(FILE).exists() {
            // A name that is not UTF-8 is none for an environment either way; it shall not hide the others.
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    names.sort();
    Ok(names)
}

/// Reads the environment of a name, with all that it inherits, and checks it.
///
/// `root` is the workspace root. Files are shown by their paths below it.
///
/// # Errors
///
/// Returns [`Error::Wrong`] with everything that is wrong with the files at once, or what kept them from being read.
pub fn load(root: &Utf8Path, name: &str) -> Result<Environment, Error> {
    load_with(root, name, &|_, _| Default::default())
}

/// Returns what a reader who knows the keys of the cluster's configuration notices in `config` and in the rows of the
/// inventory, and the secrets that must not be shown with it.
pub type Hints<'a> = &'a dyn Fn(&Node, &[Node]) -> (Vec<Problem>, Secrets);

/// Reads an environment like [`load`]. If something is wrong, `hints` is asked about the `config` of each file, because
/// an operator corrects all files before the next run.
///
/// # Errors
///
/// Those of [`load`].
pub fn load_with(root: &Utf8Path, name: &str, hints: Hints<'_>) -> Result<Environment, Error> {
    grammar::environment_name(name)?;
    let path = Utf8Path::new(ENVIRONMENTS).join(name).join(FILE);
    if !root.join(&path).exists() {
        let known = names(root)?;
        return Err(Error::Unknown {
            name: name.to_owned(),
            nearest: nearest(name, known.iter().map(String::as_str)).map(str::to_owned),
            known,
        });
    }

    let mut findings = Findings::default();
    let chain = inherit::read(root, &path, &mut findings)?;
    let configs: Vec<Node> = chain
        .documents
        .iter()
        .filter_map(|document| document.get("config").cloned())
        .collect();
    let merged = merge_all(chain.documents);
    if let Some(merged) = &merged {
        if chain.is_complete {
            check_required(merged, &chain.files[0], &mut findings);
        }
        check_rehearsal(merged, &mut findings);
    }
    let mut files = chain.files;
    let inventory = match merged.as_ref().and_then(|merged| merged.get("inventory")) {
        Some(node) => inventory::read(root, node, &mut findings)?,
        None => None,
    };
    let rows = match inventory {
        Some(inventory) => {
            files.push(inventory.source);
            inventory.rows
        }
        None => Vec::new(),
    };
    let environment = match merged {
        Some(merged) => build(root, name, merged, files.clone(), &mut findings)?,
        None => None,
    };
    match environment {
        Some(environment) if findings.problems.is_empty() => Ok(Environment {
            inventory: rows,
            ..environment
        }),
        _ => {
            for (index, config) in configs.iter().enumerate() {
                let rows = if index == 0 { rows.as_slice() } else { &[] };
                let (problems, secrets) = hints(config, rows);
                findings.problems.extend(problems);
                findings.secrets.extend(secrets);
            }
            Err(Error::Wrong(in_order(findings, &files)))
        }
    }
}

/// Merges the documents of a chain, of which the first is the environment's own. An empty document says nothing.
fn merge_all(documents: Vec<Node>) -> Option<Node> {
    let nothing = Node::mapping::<String>([]);
    let mut merged = documents
        .into_iter()
        .rev()
        .map(|document| match document.value {
            Value::Mapping(_) => document,
            _ => Node {
                value: nothing.value.clone(),
                ..document
            },
        })
        .reduce(merge)
        .map(without_nulls)
        .map(with_settled_config)?;
    if let Some(keys) = merged.as_mapping_mut() {
        keys.remove("inherit");
    }
    Some(merged)
}

/// Puts the lists below `config` that asked to be merged in their place.
fn with_settled_config(mut document: Node) -> Node {
    if let Some(config) = document
        .as_mapping_mut()
        .and_then(|keys| keys.get_mut("config"))
    {
        *config = settled(config.clone());
    }
    document
}

/// Notes what no file of the chain says although one must.
fn check_required(merged: &Node, file: &Arc<Source>, findings: &mut Findings) {
    let missing = |name: &str, help: &str| Problem {
        source: Arc::clone(file),
        span: 0..0,
        rule: format!("`{name}` is missing"),
        help: Some(help.to_owned()),
    };
    let keys = merged.as_mapping();
    if merged.get("release").is_none() {
        findings.add(missing(
            "release",
            "write the release to install, such as `release: v4.1.5`",
        ));
    }
    let help = "write the registry's `host:port`";
    match keys.and_then(|keys| keys.pair("registry")) {
        None => findings.add(missing("registry.address", help)),
        Some((key, registry)) => {
            if registry.as_mapping().is_some() && registry.get("address").is_none() {
                let rule = "`registry.address` is missing";
                findings.add(Problem::at(key, rule).with_help(help));
            }
            for name in check::CREDENTIALS {
                let Some((key, credentials)) =
                    registry.as_mapping().and_then(|keys| keys.pair(name))
                else {
                    continue;
                };
                if credentials.as_mapping().is_some_and(Mapping::is_empty) {
                    let rule = format!("`registry.{name}.env` is missing");
                    findings.add(Problem::at(key, rule).with_help(check::CREDENTIALS_HELP));
                }
            }
        }
    }
}

/// Notes a rehearsal whose registry is not on this machine, where the embedded one could not stand in for it.
fn check_rehearsal(merged: &Node, findings: &mut Findings) {
    let is_rehearsal = merged
        .get("rehearsal")
        .is_some_and(|node| check::boolean(node, "rehearsal") == Ok(true));
    let Some(node) = merged
        .get("registry")
        .and_then(|registry| registry.get("address"))
    else {
        return;
    };
    let Ok(address) = check::address(node) else {
        return;
    };
    if !is_rehearsal {
        return;
    }
    let registry = Registry {
        address: address.to_owned(),
        project: String::new(),
        ca: None,
        push_credentials: None,
        pull_credentials: None,
    };
    const HELP: &str = "write an address such as `127.0.0.1:5443`, or remove `rehearsal: true`";
    if !registry.is_loopback() {
        let rule = format!(
            "a rehearsal's registry runs on this machine, but {} is another one",
            quote(address)
        );
        findings.add(Problem::at(node, rule).with_help(HELP));
    } else if registry.port().is_none() {
        let rule = format!(
            "a rehearsal's registry needs a port, but {} names none",
            quote(address)
        );
        findings.add(Problem::at(node, rule).with_help(HELP));
    }
}

/// Makes the environment of a merged document. Values that are wrong have been noted, file by file; then there is
/// none.
fn build(
    root: &Utf8Path,
    name: &str,
    merged: Node,
    files: Vec<Arc<Source>>,
    findings: &mut Findings,
) -> Result<Option<Environment>, Error> {
    let registry = merged.get("registry");
    let in_registry = |key: &str| registry.and_then(|registry| registry.get(key));
    // Read first, so that what is wrong with the file is noted whatever else is.
    let ca = match in_registry("ca") {
        Some(node) => authority(root, node, in_registry("address"), findings)?,
        None => None,
    };
    let (Some(release), Some(address)) = (
        merged
            .get("release")
            .and_then(|node| check::release(node).ok()),
        in_registry("address").and_then(|node| check::address(node).ok()),
    ) else {
        return Ok(None);
    };
    let is_true = |key: &str| {
        merged
            .get(key)
            .is_some_and(|node| check::boolean(node, key) == Ok(true))
    };
    let fact = |name: &str| {
        let node = merged.get("facts")?.get(name)?;
        check::fact(node, name).ok()
    };
    let facts = Facts {
        private_ca: fact("private-ca"),
        anonymous_pull_required: fact("anonymous-pull"),
        external_address_required: fact("external-address"),
    };
    let credentials = |key: &str| {
        in_registry(key)
            .and_then(check::credentials)
            .map(|name| CredentialSource::Environment(name.to_owned()))
    };
    let registry = Registry {
        address: address.to_owned(),
        project: in_registry("project")
            .and_then(Node::text)
            .unwrap_or_default()
            .to_owned(),
        ca,
        push_credentials: credentials("push-credentials"),
        pull_credentials: credentials("pull-credentials"),
    };
    let admin_password = merged
        .get(operation::ADMIN_PASSWORD)
        .map(|node| operation::admin_password(node, |node, path| path_below(root, node, path)));
    let admin_password = match admin_password.transpose() {
        Ok(admin_password) => admin_password.flatten(),
        Err(problem) => {
            findings.add(problem);
            None
        }
    };
    let requires = merged
        .get(promotion::REQUIRES)
        .map(|node| promotion::requirement(node, name));
    let requires = match requires.transpose() {
        Ok(requires) => requires.flatten(),
        Err(problem) => {
            findings.add(problem);
            None
        }
    };
    let mke3 = (merged.get(mke3::MKE3).filter(|node| !node.is_null()))
        .map(|node| mke3::read(node, |node, path| path_below(root, node, path)));
    let mke3 = match mke3.transpose() {
        Ok(mke3) => mke3.flatten(),
        Err(problem) => {
            findings.add(problem);
            None
        }
    };
    let operation = Operation {
        admin_password,
        apply_timeout: merged
            .get(operation::APPLY_TIMEOUT)
            .and_then(|node| operation::apply_timeout(node).ok()),
        backups: merged
            .get(operation::BACKUPS)
            .and_then(|node| Some(path_below(root, node, node.text()?))),
        release_matrix: merged
            .get(operation::RELEASE_MATRIX)
            .and_then(|node| Some(path_below(root, node, node.text()?))),
        kubeconfig: merged
            .get(operation::KUBECONFIG)
            .and_then(|node| Some(path_below(root, node, node.text()?))),
    };
    Ok(Some(Environment {
        name: name.to_owned(),
        directory: root.join(ENVIRONMENTS).join(name),
        release,
        registry,
        protected: is_true("protected"),
        rehearsal: is_true("rehearsal"),
        mkectl: merged
            .get("mkectl")
            .and_then(|node| Some(path_below(root, node, node.text()?))),
        operation,
        mke3,
        requires,
        record_operator: is_true("record-operator"),
        accept: merged
            .get("accept")
            .and_then(Node::as_sequence)
            .unwrap_or_default()
            .to_vec(),
        facts,
        inventory: Vec::new(),
        config: merged
            .get("config")
            .cloned()
            .unwrap_or_else(|| Node::mapping::<String>([])),
        files,
        defaults: None,
        merged,
    }))
}

/// Reads the file of `registry.ca`.
fn authority(
    root: &Utf8Path,
    node: &Node,
    address: Option<&Node>,
    findings: &mut Findings,
) -> Result<Option<CertificateAuthority>, Error> {
    let Ok(written) = check::path(node, "registry.ca") else {
        return Ok(None);
    };
    let path = path_below(root, node, written);
    let quoted = quote(written);
    let mut refuse = |rule: String, help: &str| {
        findings.add(Problem::at(node, rule).with_help(help));
        Ok(None)
    };
    let text = match files::read_text(&path) {
        Ok(text) => text,
        Err(error) if paths::is_absent(&error) => {
            let help = paths::looked_for_from(&node.source);
            return refuse(format!("there is no file {quoted}"), &help);
        }
        Err(source) => match files::Refusal::of(&source) {
            Some(files::Refusal::NotUtf8 { .. }) => {
                return refuse(
                    format!("{quoted} is not a PEM file"),
                    "convert it: `openssl x509 -inform der -in FILE -out FILE.pem`",
                );
            }
            Some(refusal) => {
                return refuse(
                    format!("cannot read {quoted}: {refusal}"),
                    "write the path of a PEM file",
                );
            }
            None => return Err(Error::Read { path, source }),
        },
    };
    let registry = Registry {
        address: address.and_then(Node::text).unwrap_or_default().to_owned(),
        project: String::new(),
        ca: None,
        push_credentials: None,
        pull_credentials: None,
    };
    match certificate::check(&text, registry.host()) {
        Ok(certificate::Authorities {
            pem,
            validity,
            warning,
        }) => Ok(Some(CertificateAuthority {
            path,
            pem,
            validity,
            warning,
        })),
        Err(certificate::Fault::NotAnAuthority(number)) => refuse(
            format!("certificate {number} in {quoted} is not an authority's"),
            "nodes trust authorities: take the certificate of the one that signed the registry's",
        ),
        Err(certificate::Fault::OtherNames) => refuse(
            format!(
                "the authority in {quoted} may not sign for {}",
                quote(registry.host())
            ),
            "its name constraints forbid it: take the certificate of the one that signed the registry's",
        ),
        Err(certificate::Fault::Key(key)) => refuse(
            format!(
                "the authority in {quoted} has a key of the kind {key}, whose signatures Airlock cannot verify"
            ),
            "use a CA with RSA of at least 2048 bits, Ed25519, or ECDSA on P-256 or P-384",
        ),
        Err(certificate::Fault::NoCertificate) => refuse(
            format!("{quoted} holds no PEM certificate"),
            "it begins with `-----BEGIN CERTIFICATE-----`",
        ),
        Err(certificate::Fault::Broken) => refuse(
            format!("{quoted} is not valid PEM"),
            "copy the file again from its source",
        ),
        Err(certificate::Fault::NotACertificate(number)) => refuse(
            format!("certificate {number} in {quoted} is not an X.509 certificate"),
            "copy the file again from its source",
        ),
        Err(certificate::Fault::PrivateKey) => refuse(
            format!("{quoted} holds a private key"),
            "every node gets this file: keep only the certificates in it",
        ),
    }
}

/// Returns the path that a value means, read from the folder of the file that it stands in.
fn path_below(root: &Utf8Path, node: &Node, written: &str) -> Utf8PathBuf {
    let written = Utf8Path::new(written);
    let directory = paths::directory(&node.source);
    match paths::relative_to(directory, written) {
        Some(path) => root.join(path),
        // It leads above the workspace, where only the operating system knows what `..` is.
        None => root.join(directory).join(written),
    }
}

/// Sorts problems by file and place, and covers the secrets in what they show.
fn in_order(findings: Findings, files: &[Arc<Source>]) -> Problems {
    let Findings {
        mut problems,
        secrets,
    } = findings;
    problems.sort_by_key(|problem| {
        let file = files
            .iter()
            .position(|file| file.path == problem.source.path);
        (file, problem.span.start)
    });
    secrets.cover(&mut problems);
    Problems(problems)
}

#[cfg(test)]
mod tests;
