//! Reports on releases, environments and bundles. Nothing is changed.

pub mod images;
pub mod inspect;
pub mod list;
pub mod page;
pub mod releases;
pub mod status;
pub mod support;
