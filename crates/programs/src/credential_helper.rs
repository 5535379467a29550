//! Reads credentials of a registry from a credential helper of Docker or Podman.

use std::time::Duration;

use secrecy::SecretString;

use crate::ask::Question;
use crate::{Error, Executable, Variables};

/// Time limit of a helper. Some contact a service on the network.
const LIMIT: Duration = Duration::from_secs(10);

/// Maximum bytes of an answer. Tokens of cloud registries have a few kilobytes.
const MAX_ANSWER_BYTES: usize = 256 * 1024;

/// A failure of a credential helper. Its output is left out, since it may contain a secret.
#[derive(Debug, thiserror::Error)]
pub enum HelperError {
    /// No executable file of this name is in `PATH`.
    #[error("{helper} is not an executable file in a folder of PATH")]
    Missing {
        /// Name of the helper, such as `docker-credential-pass`.
        helper: String,
    },
    /// The helper exceeded its time limit.
    #[error("{helper} did not answer within {} s", LIMIT.as_secs())]
    TimedOut {
        /// Name of the helper, such as `docker-credential-pass`.
        helper: String,
    },
    /// The helper could not be started, or exited with an error.
    #[error("{helper} failed")]
    Failed {
        /// Name of the helper, such as `docker-credential-pass`.
        helper: String,
    },
}

/// Runs `docker-credential-NAME get` for a registry. Returns the JSON that it prints, or `None` if
/// it has no credentials of the registry.
///
/// # Errors
/// [`HelperError`] if the helper is missing, fails or hangs.
pub fn ask_credential_helper(
    name: &str,
    server: &str,
    variables: &Variables,
) -> Result<Option<SecretString>, HelperError> {
    let helper = format!("docker-credential-{name}");
    // The name comes from a file; a path in it could start any program.
    if name.is_empty() || name.contains('/') {
        return Err(HelperError::Missing { helper });
    }
    let Ok(program) = Executable::find(&helper, variables.clone()) else {
        return Err(HelperError::Missing { helper });
    };
    let question = Question {
        input: server.as_bytes(),
        with_errors: false,
        limit: LIMIT,
        max_bytes: MAX_ANSWER_BYTES,
        ..Question::new(&["get"])
    };
    match program.answer(question) {
        Ok(answer) => Ok(Some(SecretString::from(
            String::from_utf8_lossy(&answer).into_owned(),
        ))),
        // Helpers print this to either stream, in the protocol's words or their own.
        Err(Error::Failed { output, .. }) if output.to_lowercase().contains("not found") => {
            Ok(None)
        }
        Err(Error::TimedOut { .. }) => Err(HelperError::TimedOut { helper }),
        Err(_) => Err(HelperError::Failed { helper }),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::time::Instant;

    use secrecy::ExposeSecret;

    use super::*;

    /// Runs a helper that consists of this shell script.
    fn ask(script: &str) -> Result<Option<String>, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("docker-credential-test");
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        let search = format!("{}:/usr/bin:/bin", folder.path().display());
        let variables = Variables::inherited([("PATH", search)]);
        let answer = ask_credential_helper("test", "registry.example.com:5000", &variables);
        answer
            .map(|secret| secret.map(|secret| secret.expose_secret().to_owned()))
            .map_err(|error| error.to_string())
    }

    #[test]
    fn a_helper_gets_the_server_and_its_failures_are_distinguished() {
        assert_eq!(
            ask("read server; echo \"$1 $server\"; echo noise >&2"),
            Ok(Some("get registry.example.com:5000\n".to_owned()))
        );
        for script in [
            "echo 'credentials not found in native keychain'; exit 1",
            "echo 'The specified item could not be found: not found' >&2; exit 1",
        ] {
            assert_eq!(ask(script), Ok(None), "{script}");
        }
        assert_eq!(
            ask("echo hunter2; exit 1"),
            Err("docker-credential-test failed".to_owned())
        );
        for name in ["absent", "", "../test"] {
            let variables = Variables::inherited([("PATH", "/usr/bin:/bin")]);
            let error = ask_credential_helper(name, "r", &variables).unwrap_err();
            assert!(matches!(error, HelperError::Missing { .. }), "{name}");
        }
    }

    #[test]
    fn a_helper_that_hangs_is_ended() {
        let began = Instant::now();
        let found = ask("sleep 600 & sleep 600");
        assert_eq!(
            found,
            Err("docker-credential-test did not answer within 10 s".to_owned())
        );
        assert!(began.elapsed() < Duration::from_secs(60));
    }
}
