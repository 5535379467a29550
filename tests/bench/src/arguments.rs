//! The arguments of `bench`, and the parts that it runs in processes of their own.

use std::net::SocketAddr;

use bytesize::ByteSize;
use camino::Utf8PathBuf;
use clap::{Args, Subcommand, ValueEnum};

use crate::bundle::{Kind, Shape};
use crate::distance::Distance;

#[derive(Debug, Args)]
pub(crate) struct BenchArgs {
    #[command(flatten)]
    pub(crate) shape: ShapeArgs,
    /// Number of rounds; the median is shown
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) rounds: u16,
    #[command(flatten)]
    pub(crate) distance: Distance,
    /// Program of a different checkout to compare with: its bench-push or xtask
    #[arg(long, value_name = "PROGRAM")]
    pub(crate) against: Option<Utf8PathBuf>,
    /// Measure only these
    #[arg(long, value_enum, value_delimiter = ',')]
    pub(crate) only: Vec<Contender>,
    /// Keep bundles/bench/ for the next run
    #[arg(long)]
    pub(crate) keep: bool,
}

/// The size and shape of a bundle, as they are typed.
#[derive(Debug, Args)]
pub(crate) struct ShapeArgs {
    /// What the bundle is made of
    #[arg(long, value_enum, default_value = "mke")]
    shape: Kind,
    /// Size of the bundle: a number with kB, MB or GB [default: 1.5GB; many-small: 40MB]
    #[arg(long, value_parser = size)]
    size: Option<u64>,
    /// Number of archives [default: 60; few-large: 4; many-small: 100]
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=5000))]
    archives: Option<u16>,
    /// Number of platforms of every third image of `mke`; the others have one
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=Shape::MOST_PLATFORMS as i64))]
    platforms: u8,
    /// Number of blobs of `many-small`
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    blobs: u32,
}

impl ShapeArgs {
    /// Returns the shape, with what was not typed.
    pub(crate) fn shape(&self) -> Shape {
        let (size, archives) = match self.shape {
            Kind::Mke => (1_500_000_000, 60),
            Kind::FewLarge => (1_500_000_000, 4),
            Kind::ManySmall => (40_000_000, 100),
        };
        Shape {
            kind: self.shape,
            size: self.size.unwrap_or(size),
            archives: self.archives.unwrap_or(archives).into(),
            platforms: self.platforms.into(),
            blobs: self.blobs as usize,
        }
    }
}

/// Who is measured, in the order in which it is their turn: those with nothing to do after those
/// who did it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Contender {
    /// A push with nothing in the store and nothing in the registry
    Cold,
    /// The same by the program that is compared with
    ColdBase,
    /// The same without the distance
    Near,
    /// A push with everything in the store and nothing in the registry
    Filled,
    /// The same by the program that is compared with
    FilledBase,
    /// A push with nothing to do
    Again,
    /// The same by the program that is compared with
    AgainBase,
    /// Locking the bundle
    Lock,
    /// A push of a set that an upstream registry has, with nothing in the store and nothing in the
    /// registry
    Set,
    /// The same with nothing to do
    SetAgain,
    /// skopeo from registry to registry, several concurrently
    Copy,
    /// The vendor's commands: unpack, then skopeo for one archive after the other
    Loop,
    /// The same with nothing to do
    LoopAgain,
    /// The same with several skopeos at once
    Parallel,
    /// The same with several cranes
    Crane,
    /// The same with several oras
    Oras,
    /// The same with several regctls
    Regctl,
    /// Unpack, then load and copy by hauler
    Hauler,
    /// Unpack, then create and mirror by zarf
    Zarf,
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
        #[command(flatten)]
        shape: ShapeArgs,
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
