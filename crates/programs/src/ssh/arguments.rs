//! The arguments of `ssh`, and the command line shown to the operator.

use std::fmt;
use std::time::Duration;

use crate::command::Quoted;

/// Time limit for establishing a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// The same through a bastion. It exceeds the limit for the bastion, so a failure of the bastion is
/// reported as such.
const CONNECT_TIMEOUT_THROUGH_BASTION: Duration = Duration::from_secs(8);

/// Options of every connection: no prompts, no endless waits, no forwarding, no shared connection,
/// and readable messages.
const OPTIONS: [&str; 12] = [
    "BatchMode=yes",
    "ConnectionAttempts=1",
    "ServerAliveInterval=5",
    "ServerAliveCountMax=2",
    "ClearAllForwardings=yes",
    "ForwardAgent=no",
    "ForwardX11=no",
    "PermitLocalCommand=no",
    "RemoteCommand=none",
    "RequestTTY=no",
    "ControlMaster=no",
    "LogLevel=INFO",
];

/// A machine to log in to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destination {
    /// Address and account of the machine.
    pub login: Login,
    /// The machine to connect through, if any.
    pub bastion: Option<Login>,
}

/// Address and account of a machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login {
    /// Host name or IP address.
    pub address: String,
    /// Account, or `None` for the default of `ssh`.
    pub user: Option<String>,
    /// TCP port.
    pub port: u16,
    /// The private key. If set, no other key is offered, as in mkectl. An agent may hold it.
    pub key: Option<Key>,
}

/// The location of a private key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Key {
    /// Path of the file; `ssh` expands `~`.
    File(String),
    /// Name of an environment variable with the path. `ssh` expands it, so no argument contains it.
    Variable(String),
}

impl Destination {
    /// Returns all arguments except the remote command.
    pub(super) fn arguments(&self, program: &str) -> Vec<String> {
        let timeout = match self.bastion {
            None => CONNECT_TIMEOUT,
            Some(_) => CONNECT_TIMEOUT_THROUGH_BASTION,
        };
        let mut arguments = options(timeout);
        if let Some(bastion) = &self.bastion {
            arguments.push("-o".to_owned());
            arguments.push(format!("ProxyCommand={}", proxy_command(program, bastion)));
        }
        arguments.extend(self.login.arguments());
        arguments.push("--".to_owned());
        arguments.push(self.login.address.clone());
        arguments
    }

    /// Returns the variables that [`Key::Variable`] names.
    pub(super) fn variables(&self) -> impl Iterator<Item = &str> {
        let logins = [Some(&self.login), self.bastion.as_ref()];
        logins
            .into_iter()
            .flatten()
            .filter_map(|login| match &login.key {
                Some(Key::Variable(name)) => Some(name.as_str()),
                _ => None,
            })
    }

    /// Returns a shell line that runs `remote` on the machine, for the operator to try.
    pub fn shown(&self, remote: &str) -> String {
        let mut words = vec!["ssh".to_owned()];
        if let Some(bastion) = &self.bastion {
            words.push("-o".to_owned());
            let mut inner = vec!["ssh".to_owned()];
            inner.extend(bastion.typed());
            inner.extend(["-W".to_owned(), "[%h]:%p".to_owned(), bastion.target()]);
            words.push(format!("ProxyCommand={}", quoted(&inner)));
        }
        words.extend(self.login.typed());
        words.push(self.login.target());
        if !remote.is_empty() {
            words.push(remote.to_owned());
        }
        quoted(&words)
    }
}

impl Login {
    fn arguments(&self) -> Vec<String> {
        let mut arguments = vec!["-p".to_owned(), self.port.to_string()];
        if let Some(user) = &self.user {
            arguments.extend(["-l".to_owned(), user.clone()]);
        }
        if let Some(key) = &self.key {
            for option in [
                "IdentitiesOnly=yes".to_owned(),
                format!("IdentityFile={key}"),
            ] {
                arguments.extend(["-o".to_owned(), option]);
            }
        }
        arguments
    }

    /// Returns the options for the operator: only those that differ from the defaults.
    fn typed(&self) -> Vec<String> {
        let mut words = Vec::new();
        if self.port != 22 {
            words.extend(["-p".to_owned(), self.port.to_string()]);
        }
        match &self.key {
            None => {}
            Some(Key::File(path)) => words.extend(["-i".to_owned(), path.clone()]),
            Some(key) => words.extend(["-o".to_owned(), format!("IdentityFile={key}")]),
        }
        words
    }

    fn target(&self) -> String {
        match &self.user {
            Some(user) => format!("{user}@{}", self.address),
            None => self.address.clone(),
        }
    }
}

/// Formats the key for `IdentityFile`, where `%` begins a token.
impl fmt::Display for Key {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // A path may contain spaces.
            Self::File(path) => write!(formatter, "\"{}\"", path.replace('%', "%%")),
            Self::Variable(name) => write!(formatter, "${{{name}}}"),
        }
    }
}

fn options(timeout: Duration) -> Vec<String> {
    let timeout = format!("ConnectTimeout={}", timeout.as_secs());
    let options = OPTIONS.map(str::to_owned).into_iter().chain([timeout]);
    options
        .flat_map(|option| ["-o".to_owned(), option])
        .collect()
}

/// Returns the `ProxyCommand` that connects through a bastion. `ssh` expands `%` in it and passes
/// it to a shell.
fn proxy_command(program: &str, bastion: &Login) -> String {
    let mut words = vec![program.to_owned()];
    words.extend(options(CONNECT_TIMEOUT));
    words.extend(bastion.arguments());
    words.extend(["-W".to_owned()]);
    let before = quoted(&words).replace('%', "%%");
    let after = quoted(&["--".to_owned(), bastion.address.clone()]).replace('%', "%%");
    format!("{before} '[%h]:%p' {after}")
}

fn quoted(words: &[String]) -> String {
    let words: Vec<String> = words.iter().map(|word| Quoted(word).to_string()).collect();
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn login(address: &str) -> Login {
        Login {
            address: address.to_owned(),
            user: Some("mke".to_owned()),
            port: 22,
            key: None,
        }
    }

    #[test]
    fn the_shown_command_is_a_shell_line() {
        let mut destination = Destination {
            login: login("10.0.0.1"),
            bastion: None,
        };
        assert_eq!(
            destination.shown("getent hosts registry"),
            "ssh mke@10.0.0.1 'getent hosts registry'"
        );
        destination.login.key = Some(Key::File("~/.ssh/mke".to_owned()));
        destination.bastion = Some(Login {
            port: 2222,
            ..login("jump")
        });
        assert_eq!(
            destination.shown(""),
            "ssh -o 'ProxyCommand=ssh -p 2222 -W '\\''[%h]:%p'\\'' mke@jump' -i '~/.ssh/mke' mke@10.0.0.1"
        );
    }

    #[test]
    fn addresses_and_users_are_never_options_and_host_keys_are_always_checked() {
        let mut destination = Destination {
            login: login("-oProxyCommand=evil"),
            bastion: Some(login("-W")),
        };
        destination.login.key = Some(Key::Variable("MKE_KEY".to_owned()));
        let arguments = destination.arguments("/usr/bin/ssh");
        let [.., user_option, user, _, only, _, key, dashes, address] = arguments.as_slice() else {
            panic!("{arguments:?}");
        };
        assert_eq!((user_option.as_str(), user.as_str()), ("-l", "mke"));
        assert_eq!(only, "IdentitiesOnly=yes");
        assert_eq!(key, "IdentityFile=${MKE_KEY}");
        assert_eq!(
            (dashes.as_str(), address.as_str()),
            ("--", "-oProxyCommand=evil")
        );
        assert_eq!(destination.variables().collect::<Vec<_>>(), ["MKE_KEY"]);
        let all = arguments.join(" ");
        assert!(all.contains("-W '[%h]:%p' -- -W"), "{all}");
        assert!(
            !all.contains("StrictHostKeyChecking") && !all.contains("KnownHosts"),
            "{all}"
        );
    }
}
