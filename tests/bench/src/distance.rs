//! The distance between a push and its registry: round-trip time, rate and loss, as a delay proxy
//! plays them.

use std::net::SocketAddr;
use std::time::Duration;

use bytesize::ByteSize;
use clap::Args;

use crate::failure::Failure;

mod link;
mod proxy;
mod timer;
mod window;

/// What is between a client and a server.
#[derive(Debug, Clone, Copy, Default, PartialEq, Args)]
pub(crate) struct Distance {
    /// Round-trip time to the registry, such as 20ms [default: loopback]
    #[arg(long, value_parser = time, default_value = "0s", hide_default_value = true)]
    pub(crate) rtt: Duration,
    /// Rate in bit/s that all connections share, such as 1Gbit [default: unlimited]
    #[arg(long, value_parser = rate)]
    pub(crate) rate: Option<u64>,
    /// Packets lost in each direction, in percent
    #[arg(long, value_parser = percent, default_value = "0", hide_default_value = true)]
    pub(crate) loss: f64,
}

impl Distance {
    /// Returns whether nothing is between.
    pub(crate) fn is_loopback(&self) -> bool {
        *self == Self::default()
    }

    /// Returns the time that this many bytes take at this rate, in seconds.
    #[expect(clippy::cast_precision_loss, reason = "a duration to be shown")]
    pub(crate) fn floor(&self, bytes: u64) -> Option<f64> {
        Some(bytes as f64 * 8.0 / self.rate? as f64)
    }

    /// Returns the distance for people.
    pub(crate) fn text(&self) -> String {
        let rtt = format!("round trip {:?}", self.rtt);
        let rate = self.rate.map(|rate| match rate {
            1_000_000_000.. => format!("{} Gbit/s", rate as f64 / 1e9),
            _ => format!("{} Mbit/s", rate as f64 / 1e6),
        });
        let loss = (self.loss > 0.0).then(|| format!("{} % of packets lost", self.loss));
        let parts = [Some(rtt), rate, loss];
        parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
    }

    /// Returns the options that give this distance to `bench-part proxy`.
    pub(crate) fn options(&self) -> Vec<String> {
        let mut options = vec![
            format!("--rtt={}us", self.rtt.as_micros()),
            format!("--loss={}", self.loss),
        ];
        options.extend(self.rate.map(|rate| format!("--rate={rate}bit")));
        options
    }
}

/// Plays a distance in front of a server until the process ends.
pub(crate) fn play(at: SocketAddr, server: SocketAddr, distance: Distance) -> Result<(), Failure> {
    let failed = |source| Failure::io("listen on", at.to_string().as_str().into(), source);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()
        .map_err(failed)?;
    runtime
        .block_on(async { proxy::serve(proxy::listen(at)?, server, distance).await })
        .map_err(failed)
}

/// Reads a round-trip time: `20ms`, `0.5ms`, `1s`.
fn time(text: &str) -> Result<Duration, String> {
    match text.parse::<jiff::SignedDuration>().map(TryInto::try_into) {
        Ok(Ok(time)) if time <= Duration::from_secs(10) => Ok(time),
        Ok(_) => Err("a round-trip time is between 0 and 10 s".to_owned()),
        Err(_) => Err("a time is written like 20ms".to_owned()),
    }
}

/// Reads a rate in bit/s as `tc` does: `1Gbit`, `200Mbit`.
fn rate(text: &str) -> Result<u64, String> {
    let number = text.strip_suffix("bit").map(str::parse::<ByteSize>);
    match number {
        Some(Ok(ByteSize(bits @ 8_000..=100_000_000_000))) => Ok(bits),
        Some(Ok(_)) => Err("a rate is between 8kbit and 100Gbit".to_owned()),
        _ => Err("a rate is written like 1Gbit or 200Mbit".to_owned()),
    }
}

/// Reads a share in percent: `0.1`, `1%`.
fn percent(text: &str) -> Result<f64, String> {
    match text.trim_end_matches('%').parse() {
        Ok(percent) if (0.0..=50.0).contains(&percent) => Ok(percent),
        _ => Err("a loss is a number of percent, at most 50".to_owned()),
    }
}

#[cfg(test)]
mod tests;
