//! Servers for the tests of every crate: a web server that responds as a test defines, and a
//! registry with faults.
//!
//! The tests of a crate cannot use a package that depends on that crate, so this package depends on
//! no crate of this repository.

pub mod certificates;
pub mod faulty;
mod listener;
pub mod server;

pub use certificates::Certificates;
pub use faulty::FaultyRegistry;
pub use server::{Asked, Server};
