//! The first message of an honest agent, of this project or of the first generation.

use evidence::{
    AttestationKey, Attested, Capability, Creation, EndorsementKey, Hash, Malformed, Offer,
    OfferExtension, VERSION, Writer, tag,
};

use crate::{Lies, Parent, SoftTpm, TpmError};

impl SoftTpm {
    /// What an agent of this project offers: the certificate, if there is one, the EK, the AK with
    /// its creation evidence, and the extension; the log where there is one, SVID keys and their parent where there are any.
    pub fn offer(&mut self, certificate: Option<&[u8]>) -> Result<Offer, TpmError> {
        self.offer_lying(certificate, &Lies::none())
    }

    /// What an agent of the first generation offers: the same without the extension. Its AK hangs
    /// under the SRK, see [`SoftTpm::first_generation`].
    pub fn legacy_offer(&mut self, certificate: Option<&[u8]>) -> Result<Offer, TpmError> {
        let mut offer = self.offer(certificate)?;
        offer.extension = None;
        Ok(offer)
    }

    /// TPM2_CertifyCreation by the AK over itself, without external data.
    pub fn certify_creation(&mut self) -> Result<Creation, TpmError> {
        self.certify_creation_lying(&Lies::none())
    }

    pub(crate) fn offer_lying(
        &mut self,
        certificate: Option<&[u8]>,
        lies: &Lies,
    ) -> Result<Offer, TpmError> {
        let log = self.log.is_some().then_some(Capability::Log);
        let certify = !self.svid_keys.is_empty();
        let evidence = [Capability::Quote].into_iter().chain(log);
        let svid_keys = self.svid_keys.iter().map(|key| key.public.as_bytes());
        let svid_keys = svid_keys.map(<[u8]>::to_vec).collect();
        let root = certify.then(|| self.storage_root()).transpose()?;
        let svid_parent = root.map(|root| root.as_bytes().to_vec());
        Ok(Offer {
            ek: EndorsementKey {
                certificate: certificate.map(<[u8]>::to_vec),
                public_key: Some(self.ek_key().spki()),
            },
            ak: AttestationKey {
                public: self.ak.public.as_bytes().to_vec(),
                creation: Some(self.certify_creation_lying(lies)?),
            },
            extension: Some(OfferExtension {
                min_version: VERSION,
                max_version: VERSION,
                evidence: evidence
                    .chain(certify.then_some(Capability::Certify))
                    .collect(),
                ek_intermediates: Vec::new(),
                svid_keys,
                svid_parent,
                log_sha256: self.log.as_deref().and_then(sha256),
                boot_id: self.boot_id.clone(),
            }),
        })
    }

    fn certify_creation_lying(&mut self, lies: &Lies) -> Result<Creation, TpmError> {
        let name_alg = Hash::from_algorithm(self.ak.public.name_alg).ok_or(TpmError::Unnamed)?;
        let data = creation_data(&self.ak.parent, name_alg)?;
        let attested = Attested::Creation {
            name: self.ak.name()?,
            hash: name_alg.digest(&[&data]),
        };
        let mut attest = self.attest(tag::ATTEST_CREATION, &[], attested)?;
        lies.tell_creation(&mut attest);
        let attestation = attest.encode();
        Ok(Creation {
            data,
            signature: lies.sign(self, &attestation)?.encode(),
            attestation,
        })
    }
}

/// TPMS_CREATION_DATA (part 2, section 15.1) of a key made without creation PCRs and outside
/// information, at locality 0. The parent of a primary is named by the handle of its hierarchy.
fn creation_data(parent: &Parent, name_alg: Hash) -> Result<Vec<u8>, TpmError> {
    let (parent_alg, parent_name, parent_qualified) = match parent {
        Parent::Hierarchy(hierarchy) => {
            let handle = hierarchy.handle().to_be_bytes().to_vec();
            (evidence::Algorithm::NULL, handle.clone(), handle)
        }
        Parent::Primary { public, hierarchy } => {
            let name = public.name().ok_or(TpmError::Unnamed)?;
            let qualified = public.qualified_name(*hierarchy).ok_or(Malformed::Value)?;
            (
                public.name_alg,
                name.as_bytes().to_vec(),
                qualified.as_bytes().to_vec(),
            )
        }
    };
    Ok(Writer::new()
        .u32(0)
        .sized(&name_alg.digest(&[]))
        .u8(1)
        .u16(parent_alg.0)
        .sized(&parent_name)
        .sized(&parent_qualified)
        .sized(&[])
        .finish())
}

fn sha256(bytes: &[u8]) -> Option<[u8; 32]> {
    Hash::Sha256.digest(&[bytes]).try_into().ok()
}

#[cfg(test)]
mod tests {
    use evidence::{AkTemplate, Attest, Public, Signature, encode_pem};

    use super::*;
    use crate::KeyKind;

    /// What libtpms returns from TPM2_CreatePrimary of the same template in the endorsement
    /// hierarchy.
    const CREATION_DATA: &str = "000000000020e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca4\
                                 95991b7852b85501001000044000000b00044000000b0000";

    #[test]
    fn offers_of_the_first_generation_have_its_sizes() {
        let mut tpm = SoftTpm::first_generation(KeyKind::Rsa2048).unwrap();
        let offer = tpm.legacy_offer(Some(&[1; 900])).unwrap();
        let creation = offer.ak.creation.as_ref().unwrap();
        assert_eq!(offer.extension, None);
        assert_eq!(offer.ak.public.len(), 280);
        assert_eq!(creation.data.len(), 115);
        assert_eq!(creation.attestation.len(), 139);
        assert_eq!(creation.signature.len(), 262);
        let spki = offer.ek.public_key.as_deref().unwrap();
        assert_eq!(spki.len(), 294);
        assert_eq!(encode_pem("PUBLIC KEY", spki).len(), 451);
        assert_eq!(Offer::decode(&offer.encode()), Ok(offer));
    }

    #[test]
    fn offers_of_an_ecc_ak_have_theirs() {
        let mut tpm = SoftTpm::sample(KeyKind::P256, AkTemplate::EccP256).unwrap();
        let offer = tpm.offer(None).unwrap();
        let creation = offer.ak.creation.as_ref().unwrap();
        assert_eq!(offer.ak.public.len(), 88);
        assert_eq!(creation.signature.len(), 72);
        assert_eq!(creation.attestation.len(), 139);
        assert_eq!(hex::encode(&creation.data), CREATION_DATA);
        assert_eq!(offer.ek.certificate, None);
        let extension = offer.extension.as_ref().unwrap();
        assert_eq!((extension.min_version, extension.max_version), (1, 1));
        assert_eq!(extension.evidence, [Capability::Quote]);
        assert_eq!(Offer::decode(&offer.encode()), Ok(offer));
        tpm.log = Some(Vec::new());
        let extension = tpm.offer(None).unwrap().extension.unwrap();
        assert_eq!(extension.evidence, [Capability::Quote, Capability::Log]);
    }

    #[test]
    fn creation_evidence_is_of_this_ak_by_this_ak() {
        for mut tpm in [
            SoftTpm::first_generation(KeyKind::Rsa2048).unwrap(),
            SoftTpm::sample(KeyKind::P384, AkTemplate::Rsa2048).unwrap(),
        ] {
            let offer = tpm.offer(None).unwrap();
            let creation = offer.ak.creation.unwrap();
            let attest = Attest::parse(&creation.attestation).unwrap();
            let public = Public::parse(&offer.ak.public).unwrap();
            assert_eq!(attest.kind, tag::ATTEST_CREATION);
            assert!(attest.extra_data.is_empty());
            assert_eq!(attest.qualified_signer, tpm.ak.qualified_name().unwrap());
            assert_eq!(
                attest.attested,
                Attested::Creation {
                    name: public.name().unwrap(),
                    hash: Hash::Sha256.digest(&[&creation.data]),
                }
            );
            // RSASSA is deterministic.
            assert_eq!(
                Signature::parse(&creation.signature),
                Ok(tpm.sign(&creation.attestation).unwrap())
            );
        }
    }
}
