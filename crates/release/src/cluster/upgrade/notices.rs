//! Warnings before an upgrade: the effect of a failure on the cluster, and manual steps that the
//! vendor suggests.

use bundle::{Artifact, Kind};
use environment::Environment;
use semver::Version;

/// Returns the warnings before an upgrade to the release of a lock.
pub(crate) fn notices(
    environment: &Environment,
    lock: &bundle::Lock,
    from: &Version,
    path: &mke::Upgrade,
) -> Vec<String> {
    let mut notices = vec![
        // ROLLBACK
        "if the upgrade fails, mkectl rolls back without asking: it resets and reboots every controller, then every worker, and \
         interrupts all workloads"
            .to_owned(),
    ];
    if let Some(crds) = path.monitoring_crds {
        notices.push(monitoring_crds(environment, lock, from, crds));
    }
    notices
}

/// Returns the commands that apply the CRDs of the monitoring stack (MONCRD), if the lock has their
/// chart.
fn monitoring_crds(
    environment: &Environment,
    lock: &bundle::Lock,
    from: &Version,
    crds: &mke::MonitoringCrds,
) -> String {
    let (name, version, release) = (&crds.chart, crds.version.to_string(), &lock.release);
    let suggested = format!(
        "the vendor suggests to apply the CRDs of {name} {version} before the upgrade from v{from} to {release}"
    );
    let of_name: Vec<&Artifact> = (lock.artifacts.iter())
        .filter(|artifact| artifact.kind == Kind::Chart)
        .filter(|artifact| artifact.repository.rsplit('/').next() == Some(name))
        .collect();
    let Some(chart) = of_name.iter().find(|chart| chart.tag == version) else {
        let found = match of_name.first() {
            Some(chart) => format!("the lock has {} instead", chart.reference()),
            None => "the lock has no chart of that name".to_owned(),
        };
        return format!("{suggested}, but {found}, so get them from elsewhere");
    };
    format!(
        "{suggested}: `push {environment}`, then `helm pull {url}/{repository} --version {version} --untar`, then \
         `kubectl apply --server-side -f {name}/charts/crds/crds/`",
        environment = environment.name,
        url = environment.registry.chart_url(),
        repository = chart.repository,
    )
}
