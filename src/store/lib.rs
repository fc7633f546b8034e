//! Enrolled machines: the CA directories whose anchors vouch for EKs, what revokes and denies them, the directory of
//! EK hashes, and the database of what machines showed and which SVID keys they have.
//!
//! Files change while the server runs. A change is picked up without a restart; one that cannot be
//! read or is half written leaves what was last good in force.

mod anchors;
mod certificates;
mod crls;
mod database;
mod database_address;
mod database_error;
mod database_postgres;
mod database_queries;
mod database_rows;
mod database_sqlite;
mod denials;
mod directory;
mod hashes;
mod machine_row;
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
pub use database::{Database, KeyRecords};
pub use database_address::{DatabaseAddress, NoDatabaseAddress};
pub use database_error::DatabaseError;
pub use denials::{DenialRefresh, DenialStore, NoDenials};
pub use hashes::{HashDirectory, NotADirectory, Unreadable};
pub use machine_row::StoredMachine;
pub use records::{NotKept, RecordDirectory};
pub use snapshot::{NotLoaded, Part, Report, Sources};
pub use vendor::{vendor, vendor_names};
