//! `pack`: writes a medium for a site without internet.

use std::process::ExitCode;

use environment::count;
use indicatif::DecimalBytes;
use release::courier::pack::{self, Options, Summary};

use crate::app::App;
use crate::cli::PackArgs;
use crate::failure::Failure;
use crate::interrupt::until_interrupted;
use crate::ui::{edge, first_names};

pub(crate) fn run(app: &App<'_>, arguments: &PackArgs) -> Result<ExitCode, Failure> {
    let mut environments = Vec::new();
    for (place, name) in arguments.environments.iter().enumerate() {
        if !arguments.environments[..place].contains(name) {
            environments.push(app.environment(name)?);
        }
    }
    let options = Options {
        volume: arguments.volume,
        since: arguments.since.as_deref().map(super::release).transpose()?,
        have: arguments.have.clone(),
        everything: arguments.all,
        platforms: arguments.platform.clone(),
        program: arguments.program.clone(),
        portable: arguments.portable,
        sources: arguments.sources,
        only: arguments.only.clone(),
        sign: arguments.sign.clone(),
        dry_run: arguments.dry_run,
    };
    let out = arguments.out.as_deref().filter(|_| !arguments.dry_run);
    let mut stream = match out {
        Some(out) if out == "-" => Some(edge::stream()?),
        Some(out) => {
            pack::check_folder(&app.workspace, out)?;
            let others = pack::others(out);
            if !others.is_empty() {
                let names: Vec<&str> = others.iter().map(String::as_str).collect();
                app.ui.note(&format!(
                    "`{out}` also has {}: {}; `unpack` ignores {}",
                    count(others.len(), "other file"),
                    edge::word(first_names(&names)),
                    if names.len() == 1 { "it" } else { "them" }
                ));
            }
            None
        }
        None => None,
    };
    let packed = until_interrupted(app, async {
        let context = app.context();
        let packed = match arguments.returns {
            true => pack::returned::prepare(&context, &environments, &options).await?,
            false => pack::prepare(&context, &environments, &options).await?,
        };
        tokio::task::block_in_place(|| match (&mut stream, out) {
            (Some(stream), _) => packed.stream(&context, stream),
            (None, Some(folder)) => packed.write(&context, folder),
            (None, None) => Ok(()),
        })?;
        Ok(packed)
    })?;
    let mut text = text(&packed.summary, out.is_some());
    if let Some(out) = out.filter(|_| arguments.returns) {
        text.push_str(&format!(
            "Next: carry {out} to the other side, and run `unpack{}` in the workspace there\n",
            match packed.summary.signed_by {
                Some(_) => "",
                None => " --allow-unsigned",
            }
        ));
    }
    match stream {
        // Standard output has the medium.
        Some(_) => app.ui.note(text.trim_end()),
        None => app.ui.result(&text, &packed.summary)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn text(summary: &Summary, is_written: bool) -> String {
    let environments = match summary.environments.as_slice() {
        [] => "the commits of this site".to_owned(),
        environments => environments.join(", "),
    };
    let volumes = count(summary.volumes.len(), "volume");
    let mut text = match is_written {
        true => format!("Pack {} for {environments}: ", &summary.pack[..12]),
        false => format!("A pack for {environments} has "),
    };
    text.push_str(&format!("{} in {volumes}\n", DecimalBytes(summary.bytes)));
    for amount in &summary.contents {
        text.push_str(&format!(
            "  {:<10}  {:>5}  {:>10}\n",
            amount.what,
            amount.files,
            DecimalBytes(amount.bytes).to_string()
        ));
    }
    let assumed = &summary.assumed;
    if assumed.files > 0 {
        text.push_str(&format!(
            "Left out, because the site has them: {} of {}\n",
            count(assumed.files, "blob"),
            DecimalBytes(assumed.bytes)
        ));
    }
    for reason in &summary.because {
        text.push_str(&format!("  {reason}\n"));
    }
    if let Some(glibc) = &summary.glibc {
        text.push_str(&format!("The program needs glibc {glibc} or later\n"));
    }
    if is_written {
        text.push_str(&match &summary.signed_by {
            Some(fingerprint) => format!("Signed by {fingerprint}\n"),
            None => "Not signed: `unpack` needs `--allow-unsigned`\n".to_owned(),
        });
    }
    text
}
