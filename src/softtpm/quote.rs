//! TPM2_Quote and every other structure that the AK signs (TPM library part 1, section 31).

use evidence::{
    Attest, Attested, ClockInfo, Evidence, Hash, Hierarchy, PcrBank, PcrSelection, Signature,
    TPM_GENERATED, kdfa, pcr_digest, tag,
};

use crate::{SoftTpm, TpmError};

impl SoftTpm {
    /// TPM2_Quote by the AK over PCRs, with `binding` as extraData, and the values it covers.
    pub fn quote(
        &mut self,
        binding: &[u8],
        selections: &[PcrSelection],
    ) -> Result<Evidence, TpmError> {
        let quote = self.quote_structure(binding, selections)?.encode();
        let signature = self.sign(&quote)?.encode();
        Ok(Evidence {
            quote,
            signature,
            pcrs: self.read_pcrs(selections),
            certifications: Vec::new(),
        })
    }

    /// The TPMS_ATTEST of a quote, not yet signed. PCRs that are not allocated drop out of the
    /// selection, as on a TPM.
    pub fn quote_structure(
        &mut self,
        binding: &[u8],
        selections: &[PcrSelection],
    ) -> Result<Attest, TpmError> {
        let selections: Vec<_> = selections
            .iter()
            .map(|selection| self.allocated(selection))
            .collect();
        let digest = pcr_digest(self.ak.hash, &selections, &self.pcrs).ok_or(TpmError::Value)?;
        self.attest(
            tag::ATTEST_QUOTE,
            binding,
            Attested::Quote { selections, digest },
        )
    }

    /// Any TPMS_ATTEST with this TPM's clock, firmware and qualified signer, not yet signed.
    ///
    /// Firmware and counters are masked when the AK hangs outside the endorsement and platform
    /// hierarchies (part 1, section 36.7).
    pub fn attest(
        &mut self,
        kind: u16,
        extra_data: &[u8],
        attested: Attested,
    ) -> Result<Attest, TpmError> {
        self.advance_clock(1);
        let mut attest = Attest {
            magic: TPM_GENERATED,
            kind,
            qualified_signer: self.ak.qualified_name()?,
            extra_data: extra_data.to_vec(),
            clock: self.clock,
            firmware: self.firmware,
            attested,
        };
        match self.ak.parent.hierarchy() {
            Hierarchy::Endorsement | Hierarchy::Platform => {}
            Hierarchy::Owner | Hierarchy::Null => self.obfuscate(&mut attest),
        }
        Ok(attest)
    }

    /// Signs any bytes with the AK, which no TPM would do.
    pub fn sign(&self, bytes: &[u8]) -> Result<Signature, TpmError> {
        self.ak.key.sign(self.ak.algorithm, self.ak.hash, bytes)
    }

    /// The selected values, one bank for each hash, in the order of the selections.
    pub fn read_pcrs(&self, selections: &[PcrSelection]) -> Vec<PcrBank> {
        let mut banks: Vec<PcrBank> = Vec::new();
        for selection in selections {
            let allocated = self.pcrs.iter().find(|bank| is_of(bank, selection));
            let Some(allocated) = allocated else { continue };
            let chosen = selection.pcrs().unwrap_or_default();
            let values = allocated
                .values
                .iter()
                .filter(|(pcr, _)| chosen.contains(pcr))
                .map(|(pcr, value)| (*pcr, value.clone()));
            match banks.iter_mut().find(|bank| bank.hash == allocated.hash) {
                Some(bank) => bank.values.extend(values),
                None => banks.push(PcrBank {
                    hash: allocated.hash,
                    values: values.collect(),
                }),
            }
        }
        banks
    }

    fn allocated(&self, selection: &PcrSelection) -> PcrSelection {
        let bank = self.pcrs.iter().find(|bank| is_of(bank, selection));
        let bitmap = (0u8..).step_by(8).zip(&selection.bitmap);
        let bitmap = bitmap.map(|(base, byte)| {
            (0..8u8)
                .filter(|bit| {
                    bank.is_some_and(|bank| bank.values.contains_key(&base.saturating_add(*bit)))
                })
                .fold(0, |kept, bit| kept | (byte & (1 << bit)))
        });
        PcrSelection {
            bank: selection.bank,
            bitmap: bitmap.collect(),
        }
    }

    fn obfuscate(&self, attest: &mut Attest) {
        let proof = Hash::Sha256.digest(&[b"owner hierarchy proof", self.ek.pkcs8()]);
        let signer = attest.qualified_signer.as_bytes();
        let mask = kdfa(Hash::Sha256, &proof, "OBFUSCATE", signer, &[], 128);
        let mut reader = evidence::Reader::new(&mask);
        let (firmware, reset, restart) = (reader.u64(), reader.u32(), reader.u32());
        attest.firmware = attest.firmware.wrapping_add(firmware.unwrap_or_default());
        let ClockInfo {
            reset_count,
            restart_count,
            ..
        } = &mut attest.clock;
        *reset_count = reset_count.wrapping_add(reset.unwrap_or_default());
        *restart_count = restart_count.wrapping_add(restart.unwrap_or_default());
    }
}

fn is_of(bank: &PcrBank, selection: &PcrSelection) -> bool {
    bank.hash.algorithm() == selection.bank
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature as lc;
    use evidence::{AkTemplate, Algorithm, SignatureValue, SubjectKey};

    use super::*;
    use crate::{Ak, Key, KeyKind, Parent, Role};

    fn with_ak(kind: KeyKind, algorithm: Algorithm, hash: Hash) -> SoftTpm {
        let ek = Key::sample(Role::Ek, KeyKind::P256).unwrap();
        let ak = Ak::new(Key::sample(Role::Ak, kind).unwrap(), algorithm, hash);
        SoftTpm::new(ek, ak)
    }

    fn verifies(
        algorithm: &'static dyn lc::VerificationAlgorithm,
        key: &SubjectKey,
        message: &[u8],
        signature: &[u8],
    ) -> bool {
        let signature = match Signature::parse(signature).unwrap().value {
            SignatureValue::Rsa(value) => value,
            SignatureValue::Ecdsa { r, s } => [r, s].concat(),
        };
        let key = key.point().unwrap_or_else(|| key.spki());
        lc::UnparsedPublicKey::new(algorithm, key)
            .verify(message, &signature)
            .is_ok()
    }

    #[test]
    fn quotes_verify_for_every_kind_of_ak() {
        type Case = (
            KeyKind,
            Algorithm,
            Hash,
            &'static dyn lc::VerificationAlgorithm,
        );
        let cases: [Case; 9] = [
            (
                KeyKind::P256,
                Algorithm::ECDSA,
                Hash::Sha256,
                &lc::ECDSA_P256_SHA256_FIXED,
            ),
            (
                KeyKind::P384,
                Algorithm::ECDSA,
                Hash::Sha384,
                &lc::ECDSA_P384_SHA384_FIXED,
            ),
            (
                KeyKind::P521,
                Algorithm::ECDSA,
                Hash::Sha512,
                &lc::ECDSA_P521_SHA512_FIXED,
            ),
            (
                KeyKind::P521,
                Algorithm::ECDSA,
                Hash::Sha256,
                &lc::ECDSA_P521_SHA256_FIXED,
            ),
            (
                KeyKind::Rsa2048,
                Algorithm::RSASSA,
                Hash::Sha256,
                &lc::RSA_PKCS1_2048_8192_SHA256,
            ),
            (
                KeyKind::Rsa3072,
                Algorithm::RSASSA,
                Hash::Sha384,
                &lc::RSA_PKCS1_2048_8192_SHA384,
            ),
            (
                KeyKind::Rsa4096,
                Algorithm::RSASSA,
                Hash::Sha512,
                &lc::RSA_PKCS1_2048_8192_SHA512,
            ),
            (
                KeyKind::Rsa2048,
                Algorithm::RSAPSS,
                Hash::Sha256,
                &lc::RSA_PSS_2048_8192_SHA256,
            ),
            (
                KeyKind::Rsa3072,
                Algorithm::RSAPSS,
                Hash::Sha384,
                &lc::RSA_PSS_2048_8192_SHA384,
            ),
        ];
        let selections = [PcrSelection::new(Hash::Sha256, &[0, 7])];
        for (kind, algorithm, hash, verification) in cases {
            let mut tpm = with_ak(kind, algorithm, hash);
            let evidence = tpm.quote(&[5; 32], &selections).unwrap();
            let key = tpm.ak_public().subject_key().unwrap();
            assert!(
                verifies(verification, &key, &evidence.quote, &evidence.signature),
                "{kind:?} {algorithm:?} {hash:?}"
            );
            assert!(!verifies(verification, &key, b"else", &evidence.signature));
            let attest = Attest::parse(&evidence.quote).unwrap();
            assert_eq!(attest.extra_data, [5; 32]);
            assert_eq!(attest.qualified_signer, tpm.ak.qualified_name().unwrap());
            let values = [0, 7].map(|pcr| tpm.pcrs[0].values[&pcr].as_slice());
            assert_eq!(
                attest.attested,
                Attested::Quote {
                    selections: selections.to_vec(),
                    digest: hash.digest(&values),
                }
            );
        }
    }

    #[test]
    fn pcrs_that_are_not_allocated_drop_out() {
        let mut tpm = with_ak(KeyKind::P256, Algorithm::ECDSA, Hash::Sha256);
        tpm.pcrs[0].values.remove(&7);
        let wanted = [
            PcrSelection::new(Hash::Sha1, &[0]),
            PcrSelection::new(Hash::Sha256, &[7, 8]),
        ];
        let evidence = tpm.quote(&[], &wanted).unwrap();
        let Attested::Quote { selections, digest } =
            Attest::parse(&evidence.quote).unwrap().attested
        else {
            panic!("a quote")
        };
        assert_eq!(
            selections,
            [
                PcrSelection::new(Hash::Sha1, &[]),
                PcrSelection::new(Hash::Sha256, &[8])
            ]
        );
        let value = tpm.pcrs[0].values[&8].clone();
        assert_eq!(digest, Hash::Sha256.digest(&[&value]));
        assert_eq!(evidence.pcrs.len(), 1);
        assert_eq!(evidence.pcrs[0].values, [(8, value)].into());
    }

    #[test]
    fn values_of_one_bank_come_once() {
        let tpm = with_ak(KeyKind::P256, Algorithm::ECDSA, Hash::Sha256);
        let twice = [0, 1].map(|pcr| PcrSelection::new(Hash::Sha384, &[pcr]));
        let banks = tpm.read_pcrs(&twice);
        assert_eq!(banks.len(), 1);
        assert_eq!(banks[0].values.keys().collect::<Vec<_>>(), [&0, &1]);
    }

    #[test]
    fn only_endorsement_and_platform_keys_show_true_counters() {
        for (hierarchy, shown) in [
            (Hierarchy::Endorsement, true),
            (Hierarchy::Platform, true),
            (Hierarchy::Owner, false),
            (Hierarchy::Null, false),
        ] {
            let mut tpm = SoftTpm::sample(KeyKind::P256, AkTemplate::EccP256).unwrap();
            tpm.ak = tpm.ak.under(Parent::Hierarchy(hierarchy));
            let first = tpm.quote_structure(&[], &[]).unwrap();
            tpm.clock.reset_count += 3;
            let second = tpm.quote_structure(&[], &[]).unwrap();
            assert_eq!(first.firmware == tpm.firmware, shown, "{hierarchy:?}");
            assert_eq!(second.clock.reset_count == tpm.clock.reset_count, shown);
            assert_eq!(second.clock.restart_count == tpm.clock.restart_count, shown);
            let (one, other) = (first.clock, second.clock);
            assert_eq!(other.reset_count.wrapping_sub(one.reset_count), 3);
            assert_eq!(other.clock, one.clock + 1, "clock is never masked");
        }
    }
}
