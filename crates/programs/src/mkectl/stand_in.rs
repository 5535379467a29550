//! The stand-in for mkectl in a rehearsal: Airlock's own executable under a hidden command.

use camino::{Utf8Path, Utf8PathBuf};

use super::Mkectl;
use crate::Variables;

/// The hidden command of Airlock's executable that plays mkectl.
pub const STAND_IN: &str = "rehearsal-mkectl";

impl Mkectl {
    /// Returns the stand-in for the mkectl of a release such as `v4.1.5`. It reads the artifacts
    /// that nodes pull from the lock.
    pub fn stand_in(
        executable: impl Into<Utf8PathBuf>,
        variables: Variables,
        release: &str,
        lock: &Utf8Path,
    ) -> Self {
        let leading = [STAND_IN, "--release", release, "--lock", lock.as_str()];
        Self::new(executable, variables).leading(leading)
    }
}

/// Returns mkectl's own arguments, if `arguments` are those of the stand-in.
pub(crate) fn mkectl_arguments(arguments: &[String]) -> Option<&[String]> {
    match arguments {
        [command, _, _, _, _, played @ ..] if command == STAND_IN => Some(played),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Help;

    #[test]
    fn a_stand_in_is_shown_as_mkectl() {
        let lock = Utf8Path::new("bundles/v4.1.5-amd64.lock.yaml");
        let mkectl = Mkectl::stand_in("/opt/airlock", Variables::default(), "v4.1.5", lock);
        let command = mkectl.apply(Utf8Path::new("mke4.yaml"), &Help::default());
        assert_eq!(
            command.display().to_string(),
            "mkectl apply -f mke4.yaml (stand-in)"
        );
        assert_eq!(command.arguments[0], STAND_IN);
    }
}
