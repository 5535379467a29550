//! Finds the maximum size of a request: sends zeros, twice as many each time, in uploads that are
//! cancelled.

use std::time::Duration;

use bytes::Bytes;
use oci_spec::image::Digest;
use tokio::time::Instant;

use super::finding::{Aspect, Fault};
use super::send::ProbeRun;
use crate::Error;
use crate::digest::sha256;

/// Size of the first request in bytes.
const FIRST: usize = 64 * 1024;

/// Duration of a request after which no larger one is sent.
const LONG: Duration = Duration::from_secs(3);

/// Rate in bytes per second below which a release of some gigabytes takes hours.
const SLOW: f64 = 1_000_000.0;

/// Doubles the size of a request until it is refused, takes too long, or reaches the maximum to
/// test.
///
/// The request is a part of an upload that is cancelled. If the registry refuses parts, it is a
/// complete upload with a wrong digest, which every registry refuses after it has read the body.
pub(super) async fn limit(run: &mut ProbeRun<'_>, chunks: bool) {
    let most = run.probe.most_in_a_request.max(1);
    let zeros = Bytes::from(vec![0; most]);
    let mut size = FIRST.min(most);
    let mut accepted = 0;
    loop {
        let began = Instant::now();
        let outcome = once(run, chunks, zeros.slice(..size)).await;
        let duration = began.elapsed();
        run.leftovers.cancel(run.registry).await;
        match outcome {
            Ok(()) => accepted = size,
            Err(Error::TooLarge { .. }) => return limited(run, chunks, accepted, size),
            // Some proxies respond and close the connection before they have read the body.
            Err(Error::ConnectionLost { .. }) if accepted > 0 => {
                return limited(run, chunks, accepted, size);
            }
            Err(Error::TimedOut { after, .. }) => {
                let shown = shown(size);
                let text = format!("{shown} were not taken within {} s", after.as_secs());
                return run.findings.warn(Aspect::BodyLimit, Fault::Slow, text);
            }
            Err(error) => {
                let text = format!("{}: {}", shown(size), requests::chain(&error));
                return run
                    .findings
                    .warn(Aspect::BodyLimit, Fault::of(&error), text);
            }
        }
        let rate = size as f64 / duration.as_secs_f64().max(0.001);
        if duration > LONG && rate < SLOW {
            let text = format!(
                "{} took {:.1} s, {:.0} kB a second",
                shown(size),
                duration.as_secs_f64(),
                rate / 1000.0
            );
            return run.findings.warn(Aspect::BodyLimit, Fault::Slow, text);
        }
        if size == most || duration > LONG {
            let text = format!("requests of up to {} work, the largest tried", shown(size));
            return run.findings.fine(Aspect::BodyLimit, text);
        }
        size = (size * 2).min(most);
    }
}

async fn once(run: &mut ProbeRun<'_>, chunks: bool, zeros: Bytes) -> Result<(), Error> {
    let session = run.open().await?;
    if chunks {
        return run.part(session.url, 0, zeros).await.map(drop);
    }
    let other: Digest = sha256(run.probe.tag.as_bytes())
        .parse()
        .unwrap_or_else(|_| unreachable!("a digest that was just written"));
    match run.finish(session.url, &other, zeros).await {
        Err(Error::Rejected { response, .. })
            if response.code.as_deref() == Some("DIGEST_INVALID") =>
        {
            Ok(())
        }
        outcome => outcome,
    }
}

/// Reports a limit, and whether a release can be pushed with it.
fn limited(run: &mut ProbeRun<'_>, chunks: bool, accepted: usize, refused: usize) {
    let aspect = Aspect::BodyLimit;
    run.profile.largest_request = (accepted > 0).then_some(accepted as u64);
    let text = match accepted {
        0 => format!("one request may not carry {}", shown(refused)),
        _ => format!(
            "one request may carry {}, and not {}",
            shown(accepted),
            shown(refused)
        ),
    };
    let largest = run.probe.largest_blob;
    if largest.is_some_and(|largest| largest <= accepted as u64) {
        let text = format!("{text}; the largest blob of the release is smaller");
        run.findings.fine(aspect, text);
    } else if chunks {
        let text = format!("{text}; larger blobs go in parts");
        run.findings.warn(aspect, Fault::BodyLimit, text);
    } else {
        let text = format!("{text}, and parts are refused, so that larger blobs cannot be sent");
        run.findings.wrong(aspect, Fault::BodyLimit, text);
    }
}

/// Returns a size in binary units, since the tested sizes are powers of two.
fn shown(bytes: usize) -> String {
    bytesize::ByteSize(bytes as u64).display().iec().to_string()
}
