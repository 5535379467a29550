//! Classifies the messages of `ssh`, whose exit code is 255 for every failure.

/// A machine that gave no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotAnswered {
    /// The kind of failure.
    pub why: Why,
    /// Whether the bastion failed, and not the machine behind it.
    pub at_bastion: bool,
    /// The most informative line that `ssh` printed.
    pub said: String,
}

/// The kinds of failure, as far as their remedies differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// `ssh` could not be started or supervised.
    NotStarted,
    /// The host name does not resolve.
    NameNotResolved,
    /// The machine or the bastion did not respond in time.
    TimedOut,
    /// The port refuses connections.
    Refused,
    /// The network has no route to the address.
    NoRoute,
    /// The connection was closed before the login.
    Closed,
    /// The machine's host key is not among the known hosts.
    HostKeyUnknown,
    /// The machine's host key differs from the known one.
    HostKeyChanged,
    /// The machine refused the account or the key.
    KeyRefused,
    /// The private key cannot be read or used.
    KeyUnusable,
    /// The login succeeded, but the shell ended before the script.
    Cut,
    /// The login succeeded, but the script did not end in time.
    Hangs,
    /// The run ended before this machine was asked.
    NoTurn,
    /// No known message.
    Other,
}

/// Messages of OpenSSH, in lower case, more specific ones first.
const MESSAGES: [(&str, Why); 24] = [
    (
        "remote host identification has changed",
        Why::HostKeyChanged,
    ),
    ("host key verification failed", Why::HostKeyUnknown),
    ("host key is known for", Why::HostKeyUnknown),
    ("unprotected private key file", Why::KeyUnusable),
    ("load key", Why::KeyUnusable),
    ("no such identity", Why::KeyUnusable),
    ("not accessible", Why::KeyUnusable),
    ("does not contain a value", Why::KeyUnusable),
    ("vdollar_percent_expand", Why::KeyUnusable),
    ("permission denied", Why::KeyRefused),
    ("too many authentication failures", Why::KeyRefused),
    ("could not resolve hostname", Why::NameNotResolved),
    ("name or service not known", Why::NameNotResolved),
    ("connection refused", Why::Refused),
    ("no route to host", Why::NoRoute),
    ("network is unreachable", Why::NoRoute),
    ("host is unreachable", Why::NoRoute),
    ("timed out", Why::TimedOut),
    ("not responding", Why::TimedOut),
    ("connection reset", Why::Closed),
    ("connection closed", Why::Closed),
    ("closed by remote host", Why::Closed),
    ("not allowed at this time", Why::Closed),
    ("broken pipe", Why::Closed),
];

impl NotAnswered {
    pub(super) fn new(why: Why, said: impl AsRef<str>) -> Self {
        let mut said = said.as_ref().lines().map(str::trim);
        Self {
            why,
            at_bastion: false,
            said: said
                .rfind(|line| !line.is_empty())
                .unwrap_or_default()
                .to_owned(),
        }
    }

    /// Classifies the output of `ssh` if no remote shell was ready.
    pub(super) fn read(text: &str, through_bastion: bool) -> Self {
        // The connection from the bastion to the machine failed.
        let beyond_bastion = text
            .lines()
            .find(|line| line.contains("open failed") || line.contains("stdio forwarding failed"));
        // The outer ssh prints this about a closed connection through the bastion, whichever side
        // closed it.
        let is_closed = text.contains("UNKNOWN port");
        let of_outer = |line: &str| {
            through_bastion
                && ["UNKNOWN port", "kex_exchange", "banner exchange"]
                    .iter()
                    .any(|words| line.contains(words))
        };
        let lines = || text.lines().map(str::trim).filter(|line| !of_outer(line));
        let known = MESSAGES.iter().find_map(|(words, why)| {
            let said = lines().find(|line| line.to_lowercase().contains(words))?;
            Some((*why, said))
        });
        let (why, said) = match (beyond_bastion, known) {
            (Some(line), _) => {
                let line = line.trim();
                let lower = line.to_lowercase();
                let known = MESSAGES.iter().find(|(words, _)| lower.contains(words));
                (known.map_or(Why::Closed, |(_, why)| *why), line)
            }
            (None, Some((Why::HostKeyChanged, _))) => (
                Why::HostKeyChanged,
                "its host key differs from the known one",
            ),
            (None, Some(known)) => known,
            (None, None) if through_bastion && text.to_lowercase().contains("timed out") => {
                (Why::TimedOut, last(text))
            }
            (None, None) if is_closed => (Why::Closed, last(text)),
            (None, None) => (Why::Other, last(text)),
        };
        Self {
            why,
            at_bastion: through_bastion && is_closed && beyond_bastion.is_none() && known.is_some(),
            said: said.to_owned(),
        }
    }
}

fn last(text: &str) -> &str {
    let mut lines = text.lines().map(str::trim);
    lines
        .rfind(|line| !line.is_empty())
        .unwrap_or("it printed nothing")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_of_openssh_are_classified() {
        for (text, why) in [
            (
                "No ED25519 host key is known for 10.0.0.1 and you have requested strict checking.\nHost key verification failed.\n",
                Why::HostKeyUnknown,
            ),
            ("Host key verification failed.\n", Why::HostKeyUnknown),
            (
                "@@@@\n@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @\n@@@@\nHost key verification failed.\n",
                Why::HostKeyChanged,
            ),
            (
                "mke@10.0.0.1: Permission denied (publickey).\n",
                Why::KeyRefused,
            ),
            (
                "no such identity: /root/.ssh/mke: No such file or directory\nmke@10.0.0.1: Permission denied (publickey).\n",
                Why::KeyUnusable,
            ),
            (
                "ssh: connect to host 10.0.0.1 port 22: Connection refused\n",
                Why::Refused,
            ),
            (
                "ssh: connect to host 10.0.0.1 port 22: Connection timed out\n",
                Why::TimedOut,
            ),
            (
                "ssh: connect to host 10.0.0.1 port 22: No route to host\n",
                Why::NoRoute,
            ),
            (
                "ssh: Could not resolve hostname node7: Name or service not known\n",
                Why::NameNotResolved,
            ),
            (
                "kex_exchange_identification: Connection closed by remote host\nConnection closed by 10.0.0.1 port 22\n",
                Why::Closed,
            ),
            ("", Why::Other),
        ] {
            let read = NotAnswered::read(text, false);
            assert_eq!(read.why, why, "{text}");
            assert!(!read.at_bastion, "{text}");
        }
    }

    #[test]
    fn failures_of_a_bastion_are_distinguished_from_those_behind_it() {
        for (text, why, at_bastion) in [
            (
                "jump@jump: Permission denied (publickey).\r\nkex_exchange_identification: Connection closed by remote host\r\n\
                 Connection closed by UNKNOWN port 65535\r\n",
                Why::KeyRefused,
                true,
            ),
            (
                "Host key verification failed.\nConnection closed by UNKNOWN port 65535\n",
                Why::HostKeyUnknown,
                true,
            ),
            (
                "channel 0: open failed: connect failed: Connection refused\r\nstdio forwarding failed\r\n\
                 Connection closed by UNKNOWN port 65535\r\n",
                Why::Refused,
                false,
            ),
            (
                "mke@10.0.0.1: Permission denied (publickey).\r\n",
                Why::KeyRefused,
                false,
            ),
            (
                "kex_exchange_identification: read: Connection reset by peer\r\nConnection reset by 10.9.0.1 port 22\r\n\
                 kex_exchange_identification: Connection closed by remote host\r\nConnection closed by UNKNOWN port 65535\r\n",
                Why::Closed,
                true,
            ),
            (
                "kex_exchange_identification: Connection closed by remote host\r\nConnection closed by UNKNOWN port 65535\r\n",
                Why::Closed,
                false,
            ),
            (
                "ssh: connect to host jump port 22: Connection timed out\r\nConnection closed by UNKNOWN port 65535\r\n",
                Why::TimedOut,
                true,
            ),
            (
                "Connection timed out during banner exchange\r\nConnection to UNKNOWN port 65535 timed out\r\n",
                Why::TimedOut,
                false,
            ),
        ] {
            let read = NotAnswered::read(text, true);
            assert_eq!(
                (read.why, read.at_bastion),
                (why, at_bastion),
                "{text}: {read:?}"
            );
        }
    }
}
