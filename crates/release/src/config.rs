//! Renders, checks, compares and promotes the configuration of environments.

// Render.
pub mod defaults;
pub mod render;
pub(crate) mod resolve;
pub(crate) mod applied;

// Check, compare and promote.
pub mod check;
pub(crate) mod mke3;
pub mod diff;
pub mod promote;
