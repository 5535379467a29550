//! `announce`: posts what an environment runs to a webhook.

use clap::{Arg, ArgMatches, Command};
use release::receipt::Receipt;
use release::workspace::Output;
use release::{Context, chain};
use serde_json::json;

pub(crate) struct Announce;

impl xtask::Task for Announce {
    fn command(&self) -> Command {
        Command::new("announce")
            .about("Post what an environment runs to a webhook")
            .arg(Arg::new("environment").required(true).help("Environment"))
            .arg(
                Arg::new("webhook")
                    .long("webhook")
                    .required(true)
                    .help("URL of the webhook"),
            )
    }

    fn run(
        &self,
        context: &Context<'_>,
        output: &xtask::Output<'_>,
        arguments: &ArgMatches,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let argument = |name| arguments.get_one::<String>(name).cloned();
        let name = argument("environment").unwrap_or_default();
        let webhook = argument("webhook").unwrap_or_default();
        if context.offline {
            return Err("a webhook is not asked in an offline run".into());
        }
        let environment = context.workspace.load(&name)?;
        let place = Output::below(&context.workspace.environment(&environment.name));
        let Some(applied) = Receipt::read(&place.receipt)?.and_then(|receipt| receipt.applied)
        else {
            return Err(format!("{name} was never deployed").into());
        };
        let message = json!({
            "text": format!("{name} runs {} since {}", applied.release, applied.ended),
            "registry": applied.registry,
            "artifacts": applied.artifacts,
        });
        let status = post(context, &webhook, message.to_string())
            .map_err(|error| format!("cannot post to {webhook}: {}", chain(&*error)))?;
        output.result(
            &format!("{webhook} answered {status}\n"),
            &json!({ "environment": name, "status": status }),
        )
    }
}

/// Posts a JSON object by the proxies and certificates that every command uses. Returns the status.
fn post(
    context: &Context<'_>,
    url: &str,
    body: String,
) -> Result<u16, Box<dyn std::error::Error + Send + Sync>> {
    let client = context.http_client().build()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let request = client.post(url).header("content-type", "application/json");
    let response = runtime.block_on(request.body(body).send())?;
    Ok(response.error_for_status()?.status().as_u16())
}
