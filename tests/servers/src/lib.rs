//! The servers that tests of every crate start: a web server that responds as a test defines, and a
//! registry that plays faults.
//!
//! The tests of a crate cannot use a package that depends on that crate. This one depends on none
//! of ours.

pub mod certificates;
pub mod faulty;
mod listener;
pub mod server;

pub use certificates::Certificates;
pub use faulty::FaultyRegistry;
pub use server::{Asked, Server};
