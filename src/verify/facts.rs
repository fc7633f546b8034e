//! What a machine proved, as profiles ask for it.

use eventlog::BootClaims;

use crate::session::{Attested, Certification, Method};
use crate::{FirmwareVersion, Quoted, Reason, Rejection, TpmDescription, TpmKind, Vendor};

/// A view of an [`Attested`].
pub(crate) struct Facts<'a>(pub(crate) &'a Attested);

impl<'a> Facts<'a> {
    /// The quote, which a credential alone is not.
    pub(crate) fn quoted(&self) -> Result<&'a Quoted, Rejection> {
        match self.0.method() {
            Method::Quote(quoted) => Ok(quoted),
            Method::Credential => Err(Reason::PolicyRequiresQuote.into()),
        }
    }

    /// Whether the EK certificate leads to an anchor.
    pub(crate) fn certified(&self) -> Result<(), Rejection> {
        match self.0.certification() {
            Certification::Verified(_) => Ok(()),
            Certification::Refused(rejection) => Err(rejection.clone()),
            Certification::Absent => Err(Reason::EkCertMissing.into()),
        }
    }

    /// What the verified certificate says of the TPM.
    pub(crate) fn description(&self) -> Option<&'a TpmDescription> {
        match self.0.certification() {
            Certification::Verified(ek) => ek.description(),
            Certification::Refused(_) | Certification::Absent => None,
        }
    }

    pub(crate) fn vendor(&self) -> Option<Vendor> {
        self.description().map(TpmDescription::vendor)
    }

    pub(crate) fn kind(&self) -> Option<TpmKind> {
        self.vendor().and_then(TpmKind::of)
    }

    /// The firmware that runs now.
    pub(crate) fn firmware(&self) -> Result<FirmwareVersion, Rejection> {
        Ok(FirmwareVersion(self.quoted()?.firmware()))
    }

    /// A quoted PCR of the first bank, which is the operator's.
    pub(crate) fn pcr(&self, pcr: u8) -> Result<Option<&'a [u8]>, Rejection> {
        let banks = self.quoted()?.banks();
        let value = banks.first().and_then(|bank| bank.values.get(&pcr));
        Ok(value.map(Vec::as_slice))
    }

    /// What the boot event log proves.
    pub(crate) fn boot(&self) -> Result<&'a BootClaims, Rejection> {
        self.quoted()?;
        self.0.boot().claims()
    }
}
