//! The upgrade from MKE 3 as an environment's files describe it.

use environment::{Environment, Mke3, Problem};

use crate::workspace::{self, read_if_exists};

/// An upgrade from MKE 3, according to the files.
pub(crate) struct Described {
    pub(crate) way: mke::Migration,
    /// Node ports of the gateway, for HTTP and HTTPS.
    pub(crate) ports: Option<(u16, u16)>,
    /// External address of the cluster.
    pub(crate) address: String,
}

/// Returns the upgrade that an environment's files describe.
///
/// # Errors
/// The vendor supports no upgrade from this MKE 3 release or with its settings, or the environment
/// lacks a required value.
pub(crate) fn by_files(
    environment: &Environment,
    mke3: &Mke3,
    facts: &mke::Release,
) -> Result<Described, crate::Error> {
    let of_cluster = |rule: String| {
        let node = environment.merged.get("mke3");
        Problem::at(node.unwrap_or(&environment.merged), rule)
    };
    let way = (facts.migrate_from(&mke3.version)).map_err(|error| of_cluster(error.to_string()))?;
    if let Some(unfit) = unfit(environment, mke3)? {
        return Err(of_cluster(unfit.to_string()).into());
    }
    let ports = way.gateway_node_ports(environment)?;
    let address = mke::external_address(environment).ok_or_else(|| {
        let rule = "an upgrade from MKE 3 requires `config.apiServer.externalAddress`";
        Problem::at(&environment.merged, rule)
            .with_help("write the address of MKE 3's load balancer")
    })?;
    Ok(Described {
        way,
        ports,
        address,
    })
}

/// Returns why `migrate` would refuse the files of an environment, if it would. A missing file
/// `mke3.config` counts only with `needs_config`.
///
/// # Errors
/// MKE 3's configuration cannot be read.
pub(crate) fn problem(
    environment: &Environment,
    facts: &mke::Release,
    needs_config: bool,
) -> Result<Option<Problem>, crate::Error> {
    let Some(mut mke3) = environment.mke3.clone().filter(|_| !environment.rehearsal) else {
        return Ok(None);
    };
    mke3.config = mke3.config.filter(|path| needs_config || path.exists());
    match by_files(environment, &mke3, facts) {
        Ok(_) => Ok(None),
        Err(crate::Error::Workspace(workspace::Error::Configuration(mut found))) => {
            Ok(found.0.pop())
        }
        Err(error) => Err(error),
    }
}

/// Returns why the vendor excludes an MKE 3 cluster's settings from an upgrade, if it does. mkectl
/// would notice only half-way.
fn unfit(
    environment: &Environment,
    mke3: &Mke3,
) -> Result<Option<mke::Mke3Unsupported>, crate::Error> {
    let wrong = |rule: String| {
        let node = environment.merged.get("mke3");
        let node = node.and_then(|node| node.get("config"));
        Problem::at(node.unwrap_or(&environment.merged), rule)
            .with_help("export the configuration from MKE 3 to this file, or correct the path")
    };
    let unfit = match &mke3.config {
        None => None,
        Some(path) => {
            let text = read_if_exists(path)?.ok_or_else(|| {
                wrong("`mke3.config` names a file that does not exist".to_owned())
            })?;
            mke::mke3_unsupported(&text)
                .map_err(|error| wrong(format!("`mke3.config` names a file whose {error}")))?
        }
    };
    Ok(unfit.or_else(|| mke::managers_unsupported(environment)))
}
