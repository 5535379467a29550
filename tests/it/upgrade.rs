//! The upgrade of a cluster by `deploy`: which commands of which mkectl run, what stops it before anything is touched, and what it leaves.

use std::os::unix::fs::PermissionsExt as _;

use support::Lab;

use crate::{AIRLOCK, FAKE_MKECTL};

/// A cluster of a release, and an environment that names a later one; every bundle is in the store.
struct Road {
    lab: Lab,
}

impl Road {
    /// Makes it; `more` are further keys of the environment. Each release's mkectl is a script that plays it.
    async fn new(from: &str, to: &str, more: &str) -> Self {
        let lab = Lab::without_mkectl(AIRLOCK).await;
        lab.write_environment(more);
        let road = Self { lab };
        road.lock(from);
        road.lock(to);
        road.install(from);
        road.name(from);
        let _ = road.lab.run(&["deploy", "lab"]).ends_with(0);
        road.name(to);
        road.install(to);
        road
    }

    /// Locks a release with the bundle that all of them have here.
    fn lock(&self, release: &str) {
        let sandbox = &self.lab.sandbox;
        if !sandbox
            .path(&format!("bundles/{release}-amd64.lock.yaml"))
            .exists()
        {
            let bundle = sandbox.path("bundles/mke_bundle_v4.1.5_amd64.tar.gz");
            let _ = self
                .lab
                .run(&["lock", release, "--bundle", bundle.as_str()])
                .ends_with(0);
        }
    }

    /// Names a release in the environment.
    fn name(&self, release: &str) {
        let path = "environments/lab/environment.yaml";
        let text = self.lab.sandbox.read(path);
        let line = text.lines().find(|line| line.starts_with("release: "));
        let text = text.replace(line.unwrap(), &format!("release: {release}"));
        self.lab.sandbox.write(path, &text);
    }

    /// Puts the mkectl of a release on PATH.
    fn install(&self, release: &str) {
        script(&self.lab.sandbox.bin().join("mkectl"), release);
    }

    /// Returns the commands that ran for the upgrade, by the release of their mkectl.
    fn commands(&self) -> Vec<String> {
        let calls = self.lab.calls();
        let begun = calls
            .iter()
            .rposition(|call| call.arguments.first().is_some_and(|word| word == "apply"))
            .map_or(0, |at| at + 1);
        calls[begun..]
            .iter()
            .filter(|call| !call.arguments.iter().any(|word| word == "--help"))
            .filter(|call| call.arguments != ["version"])
            .map(|call| {
                let release = &call.environment["FAKE_MKECTL_VERSION"];
                self.lab
                    .sandbox
                    .redact(&format!("{release}: {}", call.arguments.join(" ")))
            })
            .collect()
    }
}

/// Writes a mkectl that plays a release.
fn script(path: &camino::Utf8Path, release: &str) {
    let _ = std::fs::remove_file(path);
    let text = format!("#!/bin/sh\nFAKE_MKECTL_VERSION={release} exec {FAKE_MKECTL} \"$@\"\n");
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_later_release_is_an_upgrade_that_the_plan_shows_first() {
    let road = Road::new("v4.1.0", "v4.1.1", "").await;
    insta::assert_snapshot!("plan", road.lab.run(&["plan", "lab"]).ends_with(0).whole());
    assert!(
        road.commands()
            .iter()
            .all(|command| command.contains("config get"))
    );
    let run = road.lab.run(&["deploy", "lab"]).ends_with(0);
    insta::assert_snapshot!("deploy", run.whole());
    insta::assert_snapshot!("receipt", road.lab.receipt());
    insta::assert_debug_snapshot!(road.commands());
}
