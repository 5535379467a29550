//! Arguments of the commands that deploy. Doc comments of fields are help texts.

use camino::Utf8PathBuf;
use clap::Args;

use super::values;
use crate::until::{self, Until};

#[derive(Debug, Args)]
pub(crate) struct DeployArgs {
    /// Environment
    pub(crate) environment: String,
    #[command(flatten)]
    pub(crate) approval: ApprovalArgs,
    #[command(flatten)]
    pub(crate) limits: LimitArgs,
    #[command(flatten)]
    pub(crate) consent: ConsentArgs,
    #[command(flatten)]
    pub(crate) overrides: OverrideArgs,
    /// Upgrade without a backup; the receipt records the reason
    #[arg(long, value_name = "REASON", value_parser = values::reason)]
    pub(crate) without_backup: Option<String>,
    #[command(flatten)]
    pub(crate) take_over: TakeOverArgs,
    /// Apply a plan saved by `plan --out`; if anything changed since, list the changes and exit
    /// with code 2
    #[arg(long, value_name = "FILE")]
    pub(crate) plan: Option<Utf8PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct PushArgs {
    /// Environments; shared artifacts are read once
    #[arg(required = true, value_name = "ENVIRONMENT")]
    pub(crate) environments: Vec<String>,
    /// Confirm a protected environment by name instead of being prompted; repeatable
    #[arg(long, value_name = "NAME")]
    pub(crate) confirm: Vec<String>,
    /// Stop at this time and leave the rest to the next run: 06:30, 2026-01-31T06:30 or 90m
    #[arg(long, value_name = "TIME", value_parser = until::parse)]
    pub(crate) until: Option<Until>,
    #[command(flatten)]
    pub(crate) limits: LimitArgs,
}

#[derive(Debug, Args)]
pub(crate) struct ApplyArgs {
    /// Environment
    pub(crate) environment: String,
    #[command(flatten)]
    pub(crate) approval: ApprovalArgs,
    #[command(flatten)]
    pub(crate) consent: ConsentArgs,
    #[command(flatten)]
    pub(crate) overrides: OverrideArgs,
    #[command(flatten)]
    pub(crate) take_over: TakeOverArgs,
}

#[derive(Debug, Args)]
pub(crate) struct MigrateArgs {
    /// Environment with a `mke3` section
    pub(crate) environment: String,
    /// Show the plan and stop
    #[arg(long)]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) approval: ApprovalArgs,
    #[command(flatten)]
    pub(crate) limits: LimitArgs,
    #[command(flatten)]
    pub(crate) consent: ConsentArgs,
    #[command(flatten)]
    pub(crate) overrides: OverrideArgs,
    #[command(flatten)]
    pub(crate) take_over: TakeOverArgs,
}

/// Options that approve a plan without a prompt.
#[derive(Debug, Clone, Args)]
pub(crate) struct ApprovalArgs {
    /// Skip the approval of the plan; protected environments still ask
    #[arg(short, long)]
    pub(crate) yes: bool,
    /// Confirm a protected environment by name instead of being prompted
    #[arg(long, value_name = "NAME")]
    pub(crate) confirm: Option<String>,
}

/// Options that override a check for one run.
#[derive(Debug, Clone, Args)]
pub(crate) struct OverrideArgs {
    /// Deploy despite an unmet `requires`; the receipt records the reason
    #[arg(long, value_name = "REASON", value_parser = values::reason)]
    pub(crate) override_requires: Option<String>,
}

/// The option that resolves a conflict with a deploy from a different checkout.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct TakeOverArgs {
    /// Continue after a deploy that was interrupted in a different checkout
    #[arg(long)]
    pub(crate) take_over: bool,
}

/// Options that limit the load on a registry.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct LimitArgs {
    /// Maximum number of concurrent uploads [default: adaptive]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) jobs: Option<u16>,
    /// Maximum bytes/s per registry, such as 20MB [default: unlimited]
    #[arg(long, value_name = "BYTES", value_parser = values::rate)]
    pub(crate) max_rate: Option<u64>,
}

/// The option that allows secrets on mkectl's command line.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct ConsentArgs {
    /// Skip the prompt when mkectl accepts a secret only on its command line, where local users can
    /// read it
    #[arg(long)]
    pub(crate) allow_visible_secrets: bool,
}
