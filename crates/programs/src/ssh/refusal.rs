//! Why a machine gave no answer, read from what `ssh` says. Its exit code is 255 for all of it.

/// Why a machine gave no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotAnswered {
    /// The reason.
    pub why: Why,
    /// Whether it is the bastion's, and not the machine's behind it.
    pub at_bastion: bool,
    /// What `ssh` said last that says something, one line.
    pub said: String,
}

/// The reasons, as far as other things are done about them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// `ssh` could not be started, or was lost.
    NotStarted,
    /// The name has no address.
    NameNotResolved,
    /// Nothing answers.
    TimedOut,
    /// Nothing listens at the port.
    Refused,
    /// There is no way to the address.
    NoRoute,
    /// The connection ends before the login.
    Closed,
    /// The machine's key is not among the known ones.
    HostKeyUnknown,
    /// The machine's key is another one than the known one.
    HostKeyChanged,
    /// The account is not let in.
    KeyRefused,
    /// The private key cannot be read or used.
    KeyUnusable,
    /// Somebody was let in, and the shell ended before the script did.
    Cut,
    /// Somebody was let in, and the script did not come to its end in time.
    Hangs,
    /// The time was over before it had a turn.
    NoTurn,
    /// Something else.
    Other,
}

/// OpenSSH's messages for each, the more specific ones first.
const WORDS: [(&str, Why); 24] = [
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

    /// Reads what `ssh` said before any shell was there.
    pub(super) fn read(text: &str, through_bastion: bool) -> Self {
        // The way on from the bastion failed.
        let beyond = text
            .lines()
            .find(|line| line.contains("open failed") || line.contains("stdio forwarding failed"));
        // The outer ssh's message about the connection through the bastion, whichever side ended
        // it.
        let is_closed = text.contains("UNKNOWN port");
        let of_outer = |line: &str| {
            through_bastion
                && ["UNKNOWN port", "kex_exchange", "banner exchange"]
                    .iter()
                    .any(|words| line.contains(words))
        };
        let lines = || text.lines().map(str::trim).filter(|line| !of_outer(line));
        let told = WORDS.iter().find_map(|(words, why)| {
            let said = lines().find(|line| line.to_lowercase().contains(words))?;
            Some((*why, said))
        });
        let (why, said) = match (beyond, told) {
            (Some(line), _) => {
                let line = line.trim();
                let line_says = line.to_lowercase();
                let known = WORDS.iter().find(|(words, _)| line_says.contains(words));
                (known.map_or(Why::Closed, |(_, why)| *why), line)
            }
            (None, Some((Why::HostKeyChanged, _))) => (
                Why::HostKeyChanged,
                "its host key differs from the known one",
            ),
            (None, Some(told)) => told,
            (None, None) if through_bastion && text.to_lowercase().contains("timed out") => {
                (Why::TimedOut, last(text))
            }
            (None, None) if is_closed => (Why::Closed, last(text)),
            (None, None) => (Why::Other, last(text)),
        };
        Self {
            why,
            at_bastion: through_bastion && is_closed && beyond.is_none() && told.is_some(),
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
    fn the_words_of_openssh_are_understood() {
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
    fn a_bastion_is_distinguished_from_what_is_behind_it() {
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
