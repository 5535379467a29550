//! The configuration of an environment: rendered, compared, and promoted from one environment to
//! the next.

// Rendered from the environment.
pub mod defaults;
pub mod render;
pub(crate) mod resolve;
pub(crate) mod applied;

// Checked, compared and promoted.
pub mod check;
pub(crate) mod mke3;
pub mod diff;
pub mod promote;
