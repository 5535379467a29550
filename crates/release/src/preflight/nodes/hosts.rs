//! Reads address, user, port and key of each host from an environment, without reading secrets.

use environment::yaml::Node;
use environment::{Environment, Reference, reference};
use programs::ssh::{Destination, Key, Login};

/// Default port of SSH.
const SSH_PORT: u16 = 22;

/// A host with everything that a login needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Host {
    /// `controller+worker`, `worker` or `single`; empty if the configuration has none.
    pub(super) role: String,
    /// Address, port, account and key.
    pub(super) destination: Destination,
}

/// A host whose description does not allow a login.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Undescribed {
    /// Its address; if that is unknown, its place in the configuration: `config.hosts[0]`.
    pub(super) name: String,
    /// The problem, a clause: `it has no address`.
    pub(super) why: &'static str,
}

/// Returns the hosts of an environment, including those of its inventory, in their order.
///
/// References are not resolved, because every user of this machine can read the arguments of `ssh`.
/// Only a key's path may be a reference.
pub(super) fn hosts(environment: &Environment) -> Vec<Result<Host, Undescribed>> {
    let hosts = mke::hosts(environment);
    let hosts = hosts.iter().enumerate();
    hosts.map(|(index, node)| host(index, node)).collect()
}

fn host(index: usize, host: &Node) -> Result<Host, Undescribed> {
    let place = format!("config.hosts[{index}]");
    let unknown = |why| Undescribed {
        name: place.clone(),
        why,
    };
    let ssh = host.get("ssh").ok_or(unknown("it has no `ssh`"))?;
    let login = login(ssh).map_err(unknown)?;
    let bastion = match ssh.get("bastion").filter(|bastion| !bastion.is_null()) {
        None => None,
        Some(bastion) => Some(self::login(bastion).map_err(|why| Undescribed {
            name: login.address.clone(),
            why,
        })?),
    };
    let role = host.get("role").and_then(Node::text).unwrap_or_default();
    Ok(Host {
        role: role.to_owned(),
        destination: Destination { login, bastion },
    })
}

fn login(ssh: &Node) -> Result<Login, &'static str> {
    const REFERENCE: &str =
        "an address, user or port that is a reference would be visible in the arguments of ssh";
    let text = |key: &str| match ssh.get(key).filter(|node| !node.is_null()) {
        None => Ok(None),
        Some(node) => node.text().map(Some).ok_or(match reference(node) {
            Some(_) => REFERENCE,
            None => "a value of its `ssh` is not text",
        }),
    };
    let address = text("address")?.filter(|address| !address.is_empty());
    let user = text("user")?;
    if [address, user]
        .iter()
        .flatten()
        .any(|text| !mke::is_word(text))
    {
        return Err("its address or user is not a name");
    }
    let port = match text("port")? {
        None => SSH_PORT,
        Some(port) => port.parse().map_err(|_| "its port is not valid")?,
    };
    let key = match ssh.get("keyPath").filter(|node| !node.is_null()) {
        None => None,
        Some(node) => Some(match (node.text(), reference(node)) {
            (Some(path), _) => Key::File(path.to_owned()),
            (None, Some(Reference::Variable(name))) => Key::Variable(name),
            (None, _) => return Err("its `keyPath` is not a path"),
        }),
    };
    Ok(Login {
        address: address.ok_or("it has no address")?.to_owned(),
        user: user.map(str::to_owned),
        port,
        key,
    })
}

#[cfg(test)]
mod tests {
    use environment::yaml::{Source, parse};

    use super::*;

    #[test]
    fn hosts_come_with_their_bastion_and_references_are_not_followed() {
        let text = "\
             - role: controller+worker\n  ssh: { address: 10.0.0.1, user: mke, port: 2222, keyPath: ~/.ssh/mke,\n\
             \x20   bastion: { address: jump.example.com, user: jump } }\n\
             - { role: worker, ssh: { address: { $env: ADDRESS }, user: mke } }\n\
             - { role: worker, ssh: { address: 10.0.0.3, keyPath: { $env: MKE_KEY } } }\n\
             - { role: worker }\n\
             - { role: worker, ssh: { address: 10.0.0.5, user: \"-oProxyCommand=touch /tmp/a;\" } }\n";
        let hosts = parse(std::sync::Arc::new(Source {
            path: "hosts.yaml".into(),
            text: text.to_owned(),
        }))
        .unwrap();
        let hosts = hosts.as_sequence().unwrap().iter().enumerate();
        let found: Vec<_> = hosts.map(|(index, node)| host(index, node)).collect();
        let first = found[0].as_ref().unwrap();
        assert_eq!(first.role, "controller+worker");
        assert_eq!(first.destination.login.port, 2222);
        assert_eq!(
            first.destination.login.key,
            Some(Key::File("~/.ssh/mke".to_owned()))
        );
        let bastion = first.destination.bastion.as_ref().unwrap();
        assert_eq!(
            (bastion.address.as_str(), bastion.port),
            ("jump.example.com", 22)
        );
        let second = found[1].as_ref().unwrap_err();
        assert_eq!(second.name, "config.hosts[1]");
        assert!(second.why.contains("reference"), "{second:?}");
        let third = found[2].as_ref().unwrap();
        assert_eq!(
            third.destination.login.key,
            Some(Key::Variable("MKE_KEY".to_owned()))
        );
        assert_eq!(third.destination.login.user, None);
        assert_eq!(found[3].as_ref().unwrap_err().why, "it has no `ssh`");
        let fifth = found[4].as_ref().unwrap_err();
        assert_eq!(fifth.why, "its address or user is not a name");
    }
}
