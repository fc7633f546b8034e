//! Enrolled machines: the CA directories whose anchors vouch for EKs, and the directory of EK hashes.
//!
//! Files change while the server runs. A change is picked up without a restart; one that cannot be
//! read or is half written leaves what was last good in force.

mod anchors;
mod directory;
mod hashes;

pub use anchors::{AnchorStore, NotLoaded, Refresh};
pub use directory::Skipped;
pub use hashes::{HashDirectory, NotADirectory, Unreadable};
