//! A key outside its TPM: wrapped by its parent to be kept, or as a context for a while.

use std::fmt;

use evidence::{Name, Public};

use crate::Error;

/// A key that was made below a storage key, as the TPM gives it out. It is of no use to any other TPM.
#[derive(Clone, PartialEq, Eq)]
pub struct WrappedKey {
    /// Its public area.
    pub public: Public,
    /// TPM2B_PRIVATE without its size: the sensitive area, encrypted with a secret of the parent's.
    pub private: Vec<u8>,
}

/// A loaded key as TPM2_ContextSave gives it out. It is of use to the TPM it came from, until that is
/// reset or cleared.
#[derive(Clone)]
pub struct Context {
    /// TPMS_CONTEXT from the native back end.
    pub(crate) native: Vec<u8>,
    /// The library's form of one, from the other back end.
    #[cfg(feature = "tss")]
    pub(crate) tss: Option<tss_esapi::utils::TpmsContext>,
}

impl WrappedKey {
    /// The Name that it has when it is loaded.
    ///
    /// # Errors
    /// [`Error::UnsupportedNameAlgorithm`].
    pub fn name(&self) -> Result<Name, Error> {
        self.public
            .name()
            .ok_or(Error::UnsupportedNameAlgorithm(self.public.name_alg))
    }
}

impl fmt::Debug for WrappedKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "WrappedKey({:?})", self.public.name())
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Context")
    }
}
