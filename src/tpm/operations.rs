//! The operations on a TPM that both back ends offer.

use std::fmt;
use std::time::Instant;

use evidence::{
    Algorithm, ClockInfo, Credential, Hierarchy, Name, PcrBank, PcrSelection, Public, Secret,
    Signature,
};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::{Context, Error, ResponseCode, SignatureScheme, WrappedKey, limits};

/// A TPM. Every call returns by its deadline, as far as the back end can hold one.
///
/// Attestation structures and signatures are the bytes that the TPM made.
pub trait Tpm: Send {
    /// A fixed property (TPM_PT), or `None` when the TPM does not have it.
    fn property(&mut self, property: u32, deadline: Instant) -> Result<Option<u32>, Error>;

    /// What is known of an NV index, or `None` when it is not defined.
    fn nv_public(&mut self, index: u32, deadline: Instant) -> Result<Option<NvPublic>, Error>;

    /// `size` bytes of an NV index from `offset`. `owner` is the owner's authorisation for an
    /// index that only the owner may read; without it the index's own empty password is used.
    fn nv_read(
        &mut self,
        index: &NvPublic,
        owner: Option<&Auth>,
        size: u16,
        offset: u16,
        deadline: Instant,
    ) -> Result<Vec<u8>, Error>;

    /// The key at a persistent handle, or `None` when there is none, or one of another type
    /// than RSA and ECC.
    fn persistent(&mut self, handle: u32, deadline: Instant) -> Result<Option<Key>, Error>;

    /// Makes a primary key with an empty password.
    fn create_primary(
        &mut self,
        hierarchy: Hierarchy,
        template: &Public,
        auth: &Auth,
        deadline: Instant,
    ) -> Result<Created, Error>;

    /// The signature of a key over its own creation.
    fn certify_creation(
        &mut self,
        key: &Key,
        record: &CreationRecord,
        deadline: Instant,
    ) -> Result<Signed, Error>;

    /// Opens a credential.
    fn activate(&mut self, activation: &Activation<'_>, deadline: Instant)
    -> Result<Secret, Error>;

    /// A quote over the selected PCRs with `binding` (at most 32 bytes) as extraData.
    fn quote(
        &mut self,
        key: &Key,
        binding: &[u8],
        selections: &[PcrSelection],
        deadline: Instant,
    ) -> Result<Signed, Error>;

    /// The values of the selected PCRs. [`Error::PcrAbsent`] when the TPM has one of them not.
    fn read_pcrs(
        &mut self,
        selections: &[PcrSelection],
        deadline: Instant,
    ) -> Result<Vec<PcrBank>, Error>;

    /// Makes a key with an empty password below a storage key with an empty password. It is not
    /// loaded.
    fn create(
        &mut self,
        parent: &Key,
        template: &Public,
        deadline: Instant,
    ) -> Result<WrappedKey, Error>;

    /// Loads a key that was made below the parent.
    fn load(&mut self, parent: &Key, key: &WrappedKey, deadline: Instant) -> Result<Key, Error>;

    /// The statement of `signer`, by its own scheme, that `key` is in the same TPM, with `binding`
    /// (at most 32 bytes) as extraData.
    fn certify(
        &mut self,
        key: &Key,
        signer: &Key,
        binding: &[u8],
        deadline: Instant,
    ) -> Result<Signed, Error>;

    /// A signature over a digest as long as the scheme's hash, by a key that is not restricted. The
    /// salt of RSASSA-PSS is the TPM's affair: see [`SignatureScheme`].
    fn sign(
        &mut self,
        key: &Key,
        digest: &[u8],
        scheme: SignatureScheme,
        deadline: Instant,
    ) -> Result<Signature, Error>;

    /// The TPM's clock and the counters of its resets and restarts, not masked.
    ///
    /// # Errors
    /// The `tss` back end, whose library lacks TPM2_ReadClock, asks with TPM2_GetTime, which the TPM
    /// refuses where the endorsement hierarchy has a password.
    fn clock(&mut self, deadline: Instant) -> Result<ClockInfo, Error>;

    /// What [`Tpm::load_context`] brings a loaded key back from until the TPM is reset or cleared. The
    /// key stays loaded.
    fn save_context(&mut self, key: &Key, deadline: Instant) -> Result<Context, Error>;

    /// Loads the key of a context, as often as it is wanted.
    fn load_context(&mut self, context: &Context, deadline: Instant) -> Result<Handle, Error>;

    /// Whether the TPM has the algorithms, sizes and curves of a template.
    fn supports(&mut self, template: &Public, deadline: Instant) -> Result<bool, Error>;

    /// Removes a transient object from the TPM.
    fn flush(&mut self, handle: Handle, deadline: Instant) -> Result<(), Error>;

    /// All bytes of an NV index, or `None` when it is not defined or was never written.
    ///
    /// # Errors
    /// [`Error::NvUnreadable`] when neither the index's own empty password nor the owner may
    /// read it.
    fn read_nv(
        &mut self,
        index: u32,
        owner: &Auth,
        deadline: Instant,
    ) -> Result<Option<Vec<u8>>, Error> {
        let Some(public) = self.nv_public(index, deadline)? else {
            return Ok(None);
        };
        if !public.has(NvPublic::WRITTEN) {
            return Ok(None);
        }
        let owner = match () {
            () if public.has(NvPublic::AUTH_READ) => None,
            () if public.has(NvPublic::OWNER_READ) => Some(owner),
            () => return Err(Error::NvUnreadable { index }),
        };
        if usize::from(public.size) > limits::NV {
            return Err(Error::NvTooLong { index });
        }
        read_all(self, &public, owner, deadline).map(Some)
    }
}

/// A password; shown to nobody, erased when dropped. Empty unless someone has set one.
#[derive(Clone, Default)]
pub struct Auth(Zeroizing<Vec<u8>>);

/// An object inside the TPM. What it means is the back end's own affair.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Handle(pub(crate) u32);

/// A key inside the TPM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// Where it is.
    pub handle: Handle,
    /// Its public area, as the TPM gave it.
    pub public: Public,
    /// Its Name, computed from `public`.
    pub name: Name,
}

/// A key that was just made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Created {
    /// The key.
    pub key: Key,
    /// What TPM2_CertifyCreation takes; `None` from the `tss` back end, whose library lacks that
    /// command.
    pub record: Option<CreationRecord>,
}

/// The TPM's record of how a key was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreationRecord {
    /// TPMS_CREATION_DATA.
    pub data: Vec<u8>,
    /// creationHash.
    pub hash: Vec<u8>,
    /// TPMT_TK_CREATION.
    pub ticket: Vec<u8>,
}

/// A structure and its signature, both as the TPM made them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signed {
    /// TPMS_ATTEST.
    pub attest: Vec<u8>,
    /// TPMT_SIGNATURE.
    pub signature: Vec<u8>,
}

/// What TPM2_ActivateCredential takes.
#[derive(Debug, Clone, Copy)]
pub struct Activation<'a> {
    /// The object that the credential is for.
    pub ak: &'a Key,
    /// The key that the credential is wrapped to.
    pub ek: &'a Key,
    /// The credential.
    pub credential: &'a Credential,
    /// The endorsement hierarchy's authorisation, which the EK's policy asks for.
    pub endorsement_auth: &'a Auth,
    /// Whether the secret crosses the bus encrypted, in a session that is salted to the EK.
    pub salted: bool,
}

/// TPMS_NV_PUBLIC of an NV index, the parts used here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NvPublic {
    /// The index.
    pub index: u32,
    /// TPMA_NV.
    pub attributes: u32,
    /// Size of the contents in bytes.
    pub size: u16,
}

impl Auth {
    /// Takes over the bytes.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// What a file holds; one newline at its end is none of the password's.
    pub fn of_file(contents: Vec<u8>) -> Self {
        let mut auth = Self::new(contents);
        if auth.0.last() == Some(&b'\n') {
            auth.0.pop();
        }
        auth
    }

    /// The bytes, for the TPM.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// Whether it is the password of a hierarchy for which nobody has set one.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// In constant time for equal lengths.
impl PartialEq for Auth {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_slice().ct_eq(other.expose()).into()
    }
}

impl Eq for Auth {}

impl fmt::Debug for Auth {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Auth(redacted)")
    }
}

impl NvPublic {
    /// TPMA_NV_OWNERREAD.
    pub const OWNER_READ: u32 = 1 << 17;
    /// TPMA_NV_AUTHREAD.
    pub const AUTH_READ: u32 = 1 << 18;
    /// TPMA_NV_WRITTEN.
    pub const WRITTEN: u32 = 1 << 29;

    /// Whether all of `bits` are set.
    pub fn has(&self, bits: u32) -> bool {
        self.attributes & bits == bits
    }
}

impl Key {
    pub(crate) fn new(handle: Handle, public: Public) -> Result<Self, Error> {
        let name = public
            .name()
            .ok_or(Error::UnsupportedNameAlgorithm(public.name_alg))?;
        Ok(Self {
            handle,
            public,
            name,
        })
    }
}

/// Reads by [`limits::NV_BUFFER`], and by what the TPM allows if that was too much.
fn read_all<T: Tpm + ?Sized>(
    tpm: &mut T,
    public: &NvPublic,
    owner: Option<&Auth>,
    deadline: Instant,
) -> Result<Vec<u8>, Error> {
    let mut buffer = limits::NV_BUFFER;
    let mut contents = Vec::with_capacity(usize::from(public.size));
    while let Ok(offset) = u16::try_from(contents.len())
        && offset < public.size
    {
        let size = buffer.min(public.size - offset);
        match tpm.nv_read(public, owner, size, offset, deadline) {
            Ok(part) => contents.extend_from_slice(&part),
            Err(error) if error.code() == Some(ResponseCode::SIZE_TOO_LARGE) => {
                let maximum = tpm.property(NV_BUFFER_MAX, deadline)?.unwrap_or(0);
                buffer = match u16::try_from(maximum) {
                    Ok(maximum) if maximum > 0 && maximum < buffer => maximum,
                    _ => return Err(error),
                };
            }
            Err(error) => return Err(error),
        }
    }
    Ok(contents)
}

/// The hash algorithm of the signatures that a key makes by its own scheme.
pub(crate) fn signing_hash(public: &Public) -> Algorithm {
    match public.scheme {
        evidence::Scheme::Of {
            hash: Some(hash), ..
        } => hash,
        _ => Algorithm::NULL,
    }
}

/// TPM_PT_NV_BUFFER_MAX.
const NV_BUFFER_MAX: u32 = 0x012C;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_shows_no_byte_and_is_wiped() {
        fn wiped(_: &impl zeroize::ZeroizeOnDrop) {}
        let auth = Auth::of_file(b"secret\n".to_vec());
        assert_eq!(auth.expose(), b"secret");
        assert_eq!(format!("{auth:?}"), "Auth(redacted)");
        assert!(auth == Auth::new(b"secret".to_vec()) && auth != Auth::new(b"secreT".to_vec()));
        wiped(&auth.0);
    }
}
