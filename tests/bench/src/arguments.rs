//! What `bench` can be told, and the parts that it runs in processes of their own.

use std::net::SocketAddr;

use bytesize::ByteSize;
use camino::Utf8PathBuf;
use clap::{Args, Subcommand, ValueEnum};

use crate::distance::Distance;

#[derive(Debug, Args)]
pub(crate) struct BenchArgs {
    /// Size of the bundle: a number with kB, MB or GB
    #[arg(long, default_value = "1.5GB", value_parser = size)]
    pub(crate) size: u64,
    /// Number of archives
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub(crate) archives: u16,
    /// Number of platforms of every third image; the others have one
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=crate::bundle::Shape::MOST_PLATFORMS as i64))]
    pub(crate) platforms: u8,
    /// Number of rounds; the median is shown
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) rounds: u16,
    #[command(flatten)]
    pub(crate) distance: Distance,
    /// Measure only these
    #[arg(long, value_enum, value_delimiter = ',')]
    pub(crate) only: Vec<Contender>,
    /// Keep bundles/bench/ for the next run
    #[arg(long)]
    pub(crate) keep: bool,
}

/// Who is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Contender {
    /// A push with nothing in the store and nothing in the registry
    Cold,
    /// A push with everything in the store and nothing in the registry
    Filled,
    /// A push with nothing to do
    Again,
    /// The vendor's commands: unpack, then skopeo for one archive after the other
    Loop,
    /// The same with nothing to do
    LoopAgain,
    /// The same with several skopeos at once
    Parallel,
    /// Inflating and hashing the bundle alone
    Inflate,
    /// Sending the same blobs by several curls
    Curls,
}

/// What bench has done in processes of their own.
#[derive(Debug, Subcommand)]
pub(crate) enum PartCommand {
    /// Write a bundle
    Make {
        /// Its file
        file: Utf8PathBuf,
        /// Its size in bytes
        #[arg(long)]
        size: u64,
        /// How many archives are in it
        #[arg(long)]
        archives: u16,
        /// For how many platforms every third image is
        #[arg(long)]
        platforms: u8,
    },
    /// Inflate a bundle and hash it before and after
    Inflate {
        /// Its file
        file: Utf8PathBuf,
    },
    /// Play a distance in front of a server, until it is killed
    Proxy {
        /// Address to listen on
        #[arg(long, value_name = "ADDRESS")]
        listen: SocketAddr,
        /// Address of the server
        #[arg(long, value_name = "ADDRESS")]
        to: SocketAddr,
        #[command(flatten)]
        distance: Distance,
    },
}

/// Reads a size as people write it: `1.5GB`, `300 MB`, `4096`.
fn size(text: &str) -> Result<u64, String> {
    match text.parse::<ByteSize>() {
        Ok(ByteSize(bytes @ 100_000..1_000_000_000_000)) => Ok(bytes),
        Ok(_) => Err("a bundle has between 100 kB and 1000 GB".to_owned()),
        Err(_) => Err("a size is written like 1.5GB or 300MB".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_people_write_them() {
        assert_eq!(size("1.5GB"), Ok(1_500_000_000));
        assert_eq!(size("300 MB"), Ok(300_000_000));
        assert_eq!(size("250000"), Ok(250_000));
        for wrong in ["", "GB", "-1GB", "1kB", "NaN", "2000GB", "1.5.GB"] {
            assert!(size(wrong).is_err(), "{wrong}");
        }
    }
}
