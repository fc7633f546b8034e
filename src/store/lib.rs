//! Enrolled machines: the CA directories whose anchors vouch for EKs, what revokes and denies them, and the
//! directory of EK hashes.
//!
//! Files change while the server runs. A change is picked up without a restart; one that cannot be
//! read or is half written leaves what was last good in force.

mod anchors;
mod certificates;
mod crls;
mod denials;
mod directory;
mod hashes;
mod once;
mod pem;
mod records;
mod snapshot;
#[cfg(test)]
mod tests_anchors;
#[cfg(test)]
mod tests_revocation;
mod vendor;

pub use anchors::{AnchorStore, Overdue, Refresh};
pub use certificates::{Collection, Found, Skipped};
pub use denials::{DenialRefresh, DenialStore, NoDenials};
pub use hashes::{HashDirectory, NotADirectory, Unreadable};
pub use records::{NotKept, RecordDirectory};
pub use snapshot::{NotLoaded, Part, Report, Sources};
pub use vendor::{vendor, vendor_names};
