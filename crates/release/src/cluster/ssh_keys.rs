//! Checks the SSH keys with which mkectl logs in to hosts, before anything is pushed.

use std::collections::BTreeMap;

use camino::{Utf8Path, Utf8PathBuf};
use environment::yaml::Node;
use environment::{Environment, Problem, Problems, quote};

use crate::{Context, Error, workspace};

/// Checks that each `keyPath` is a file on this machine. A rehearsal needs none.
///
/// # Errors
/// The problems of all keys, one for each path.
pub(crate) fn check(context: &Context<'_>, environment: &Environment) -> Result<(), Error> {
    if environment.rehearsal {
        return Ok(());
    }
    let hosts = mke::hosts(environment);
    let mut problems: BTreeMap<&str, Problem> = BTreeMap::new();
    let of_hosts = hosts.iter().filter_map(|host| host.get("ssh"));
    let of_hosts = of_hosts.flat_map(|ssh| [Some(ssh), ssh.get("bastion")]);
    let airgap = environment.config.get("airgap");
    let bastion = airgap.and_then(|airgap| airgap.get("bastion"));
    for login in of_hosts.chain([bastion]).flatten() {
        let key = login.get("keyPath").filter(|key| !key.is_null());
        let Some((key, path)) = key.and_then(|key| Some((key, key.text()?))) else {
            continue;
        };
        if !problems.contains_key(path)
            && let Some(file) = file(context, path)
            && let Some(why) = fault(&file)
        {
            let host = login
                .get("address")
                .and_then(Node::text)
                .unwrap_or_default();
            let rule = format!("the SSH key {} of {host} {why}", quote(path));
            let help = "copy the key to this machine, or correct `keyPath`";
            problems.insert(path, Problem::at(key, rule).with_help(help));
        }
    }
    match problems.is_empty() {
        true => Ok(()),
        false => {
            Err(workspace::Error::Configuration(Problems(problems.into_values().collect())).into())
        }
    }
}

/// Returns the file of a path. `None` if the path is relative, or in the home folder of a user that
/// is not known here.
fn file(context: &Context<'_>, path: &str) -> Option<Utf8PathBuf> {
    let Some(below) = path.strip_prefix('~') else {
        return path.starts_with('/').then(|| path.into());
    };
    let home = context.tool.variables.get("HOME")?.to_str()?;
    Some(Utf8Path::new(home).join(below.strip_prefix('/')?))
}

/// Returns why a file is not a key: a clause without its subject. A public key is not refused, since
/// an agent may have the private one.
fn fault(path: &Utf8Path) -> Option<String> {
    let error = files::open(path).err()?;
    Some(format!("cannot be read: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_readable_file_has_no_fault() {
        let folder = tempfile::TempDir::new().unwrap();
        let folder = Utf8Path::from_path(folder.path()).unwrap();
        std::fs::write(folder.join("id"), "-----BEGIN OPENSSH PRIVATE KEY-----\n").unwrap();
        std::fs::write(folder.join("id.pub"), "ssh-ed25519 AAAA mke\n").unwrap();
        for (name, expected) in [
            ("id", None),
            ("id.pub", None),
            (
                "",
                Some("cannot be read: it is a folder, not a regular file"),
            ),
            (
                "gone",
                Some("cannot be read: No such file or directory (os error 2)"),
            ),
        ] {
            assert_eq!(fault(&folder.join(name)).as_deref(), expected, "{name}");
        }
    }
}
