//! The store as both plugins of a server hold it: open, and with the SPIRE Server that they serve.

use std::env;

use hcl::{Problem, Values};
use plugin::Purpose;
use policy::store_address;
use store::{Database, DatabaseAddress, DatabaseError};
use tokio::runtime::Handle;
use verify::{Reason, Rejection};

use crate::instance::Instance;

/// The store, open.
#[derive(Debug, Clone)]
pub(crate) struct Keeping {
    pub(crate) database: Database,
    pub(crate) instance: Instance,
}

impl Keeping {
    /// Opens what `store` names, if it names something, there is no problem yet, and it is to be used: what is only
    /// validated opens no database, makes no file, and reads no password.
    pub(crate) fn open(
        values: &Values,
        purpose: Purpose,
        problems: &mut Vec<Problem>,
    ) -> Option<Self> {
        let variable = |name: &str| match purpose {
            Purpose::Configure => env::var(name).ok(),
            Purpose::Validate => Some(STAND_IN.to_owned()),
        };
        let address = store_address(values, variable, problems)?;
        if purpose == Purpose::Validate || !problems.is_empty() {
            return None;
        }
        match Self::of(&address) {
            Ok(keeping) => Some(keeping),
            Err(message) => {
                problems.push(values.problem("store", message));
                None
            }
        }
    }

    /// Waits for the database where waiting is allowed.
    fn of(address: &DatabaseAddress) -> Result<Self, String> {
        let instance = Instance::of_parent().map_err(|error| {
            format!("store: cannot tell by /proc which SPIRE Server uses it: {error}")
        })?;
        let runtime = Handle::try_current().map_err(|error| format!("store: {error}"))?;
        let database = runtime.block_on(Database::open(address));
        Ok(Self {
            database: database.map_err(|error| format!("unable to open store: {error}"))?,
            instance,
        })
    }
}

/// What a peer is told when the store fails, and, apart from it, what the operator is.
pub(crate) fn unavailable(error: &DatabaseError) -> Rejection {
    Rejection::because(Reason::DatabaseUnavailable, error.to_string())
}

/// For how many milliseconds a certified key may wait for the SVID that it was certified for. SPIRE Server asks for it right after the
/// attestation; another server's clock may differ a little.
pub(crate) const KEY_LIFETIME_MS: i64 = 120_000;

/// Stands for each variable in what is only validated; also a port.
const STAND_IN: &str = "1";
