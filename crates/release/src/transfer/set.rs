//! What registries and web servers have for sets: it is locked by digest, compared with its lock, and fetched into the store.

mod bundles;
mod charts;
pub mod fetch;
mod keep;
pub mod listed;
pub mod lock;
pub(crate) mod need;
pub mod pull;
mod resolve;
mod upstream;
mod web;

pub use charts::Unlocked;
