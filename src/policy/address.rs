//! Reads where a server keeps what it knows of machines.

use hcl::{Problem, Values};
use store::DatabaseAddress;

/// The address in `store`, of the attestor's or the composer's configuration. `variables` gives the values of
/// environment variables; none of them, nor a password, gets into a problem.
pub fn store_address(
    values: &Values,
    variables: impl Fn(&str) -> Option<String>,
    problems: &mut Vec<Problem>,
) -> Option<DatabaseAddress> {
    let written = values.text("store")?;
    match DatabaseAddress::parse(written.value, variables) {
        Ok(address) => Some(address),
        Err(error) => {
            problems.push(Problem::new(written.position, format!("store {error}")));
            None
        }
    }
}
