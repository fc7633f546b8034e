//! TPM2_Certify of SVID keys by the AK (TPM library part 3, section 18.2).

use evidence::{Attest, Attested, Evidence, KeyCertification, Response, tag};

use crate::{Lies, SoftTpm, SvidKey, TpmError, witness};

impl SoftTpm {
    /// TPM2_Certify of a key by the AK, with `binding` as extraData. It asks nobody whether the key is loaded.
    pub fn certify(&mut self, key: &SvidKey, binding: &[u8]) -> Result<KeyCertification, TpmError> {
        let attest = self.certify_structure(key, binding)?.encode();
        let signature = self.sign(&attest)?.encode();
        Ok(KeyCertification { attest, signature })
    }

    /// The TPMS_ATTEST of a certification, not yet signed.
    pub fn certify_structure(&mut self, key: &SvidKey, binding: &[u8]) -> Result<Attest, TpmError> {
        let attested = Attested::Certify {
            name: key.name()?,
            qualified_name: key.qualified_name()?,
        };
        self.attest(tag::ATTEST_CERTIFY, binding, attested)
    }

    /// A certification of every SVID key, in the order of the offer.
    pub(crate) fn certify_lying(
        &mut self,
        binding: &[u8],
        lies: &Lies,
    ) -> Result<Vec<KeyCertification>, TpmError> {
        witness::tell("a certification's binding", binding);
        let keys = self.svid_keys.clone();
        let certified = keys.iter().enumerate().map(|(index, key)| {
            let structure = self.certify_structure(key, binding)?;
            lies.certify(self, index, structure)
        });
        certified.collect()
    }
}

/// The certifications in a third message, to be sent again elsewhere; none in one of the first generation.
pub fn certifications_of(answer: &[u8]) -> Result<Vec<KeyCertification>, TpmError> {
    match Response::decode(answer)? {
        Response::Proof(proof) => Ok(Evidence::decode(&proof.evidence)?.certifications),
        Response::Secret(_) => Ok(Vec::new()),
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature as lc;
    use evidence::{
        AkTemplate, Algorithm, Capability, Challenge, ChallengeExtension, Credential, EkProfile,
        Hash, Name, Offer, Public, Secret, Signature, SignatureValue, SvidKeyTemplate, Transcript,
    };

    use super::*;
    use crate::{Key, KeyKind, Prover, Role};

    const TRUST_DOMAIN: &str = "example.org";

    fn prover(templates: &[SvidKeyTemplate], lies: Lies) -> Prover {
        let tpm = SoftTpm::sample(KeyKind::P256, AkTemplate::EccP256).unwrap();
        let mut prover = Prover::new(tpm, TRUST_DOMAIN);
        for template in templates {
            prover.tpm.make_svid_key(*template).unwrap();
        }
        prover.lies = lies;
        prover
    }

    fn challenge(tpm: &SoftTpm, certify: bool) -> Vec<u8> {
        let profile = EkProfile::of(tpm.ek_key()).unwrap();
        let (name, secret) = (tpm.ak.name().unwrap(), secret());
        let credential = Credential::make(tpm.ek_key(), profile, &name, &secret, &[1; 32]).unwrap();
        let extension = Some(ChallengeExtension {
            version: 1,
            nonce: [3; 32],
            pcrs: vec![(Hash::Sha256, vec![0, 7])],
            log: false,
            certify,
            known_pcrs: None,
        });
        Challenge {
            credential,
            extension,
        }
        .encode()
    }

    fn secret() -> Secret {
        Secret::new(vec![7; 32])
    }

    /// What a verifier finds wrong with each certification.
    struct Exchange {
        faults: Vec<Vec<&'static str>>,
        evidence: Evidence,
        answer: Vec<u8>,
        proved: bool,
    }

    fn exchange(prover: &mut Prover, certify: bool) -> Exchange {
        let payload = prover.payload().unwrap();
        let challenge = challenge(&prover.tpm, certify);
        let answer = prover.answer(&payload, &challenge).unwrap();
        let Response::Proof(proof) = Response::decode(&answer).unwrap() else {
            panic!("a proof")
        };
        let transcript = Transcript::new(TRUST_DOMAIN, &payload, &challenge);
        let evidence = Evidence::decode(&proof.evidence).unwrap();
        let quote = Attest::parse(&evidence.quote).unwrap();
        let binding = secret().certify_binding(&transcript);
        let ak = &prover.tpm.ak;
        let judge = |(index, certified): (usize, &KeyCertification)| {
            let Ok(attest) = Attest::parse(&certified.attest) else {
                return vec!["structure"];
            };
            let Attested::Certify {
                name,
                qualified_name,
            } = &attest.attested
            else {
                return vec!["kind"];
            };
            let (key, root) = (
                prover.tpm.svid_keys.get(index),
                prover.tpm.storage_root().unwrap(),
            );
            let below = |key: &SvidKey| {
                let owner = evidence::Hierarchy::Owner;
                key.public.qualified_name_below(&root, owner).unwrap()
            };
            let checks = [
                (
                    "name",
                    key.and_then(|key| key.name().ok()).as_ref() == Some(name),
                ),
                ("parent", key.map(below).as_ref() == Some(qualified_name)),
                ("binding", attest.extra_data == binding),
                (
                    "signer",
                    Ok(&attest.qualified_signer) == ak.qualified_name().as_ref(),
                ),
                ("firmware", attest.firmware == quote.firmware),
                (
                    "counters",
                    (attest.clock.reset_count, attest.clock.restart_count)
                        == (quote.clock.reset_count, quote.clock.restart_count),
                ),
                ("clock", attest.clock.clock > quote.clock.clock),
                ("signature", is_signed(ak.key.subject_key(), certified)),
            ];
            let failed = checks.into_iter().filter(|(_, holds)| !holds);
            failed.map(|(check, _)| check).collect()
        };
        Exchange {
            faults: evidence
                .certifications
                .iter()
                .enumerate()
                .map(judge)
                .collect(),
            proved: proof.proof == secret().proof(&transcript, &proof.evidence, b""),
            evidence,
            answer,
        }
    }

    fn is_signed(key: &evidence::SubjectKey, certified: &KeyCertification) -> bool {
        let signature = Signature::parse(&certified.signature).unwrap();
        let SignatureValue::Ecdsa { r, s } = signature.value else {
            return false;
        };
        let point = key.point().unwrap();
        signature.hash == Algorithm::SHA256
            && lc::UnparsedPublicKey::new(&lc::ECDSA_P256_SHA256_FIXED, point)
                .verify(&certified.attest, &[r, s].concat())
                .is_ok()
    }

    #[test]
    fn keys_are_offered_with_their_parent_and_certified_when_asked() {
        let mut prover = prover(&SvidKeyTemplate::ALL, Lies::none());
        let offer = Offer::decode(&prover.payload().unwrap()).unwrap();
        let extension = offer.extension.unwrap();
        let publics = prover.tpm.svid_keys.iter().map(|key| &key.public);
        assert_eq!(
            extension.svid_keys,
            publics.map(Public::as_bytes).collect::<Vec<_>>()
        );
        let root = prover.tpm.storage_root().unwrap();
        assert_eq!(extension.svid_parent.as_deref(), Some(root.as_bytes()));
        assert_eq!(extension.evidence, [Capability::Quote, Capability::Certify]);
        let asked = exchange(&mut prover, true);
        assert_eq!(asked.faults, vec![Vec::<&str>::new(); 3]);
        assert!(asked.proved);
        let not_asked = exchange(&mut prover, false);
        assert!(not_asked.faults.is_empty() && not_asked.proved);
    }

    #[test]
    fn without_keys_nothing_is_offered_nor_certified() {
        let mut prover = prover(&[], Lies::none());
        let offer = Offer::decode(&prover.payload().unwrap()).unwrap();
        let extension = offer.extension.unwrap();
        assert_eq!(extension.evidence, [Capability::Quote]);
        assert!(extension.svid_keys.is_empty() && extension.svid_parent.is_none());
        assert!(exchange(&mut prover, true).faults.is_empty());
    }

    fn as_creation(attest: &mut Attest) {
        attest.kind = tag::ATTEST_CREATION;
        attest.attested = Attested::Creation {
            name: Name::from_bytes(&[0, 11]),
            hash: vec![0; 32],
        };
    }

    fn other_name(attest: &mut Attest) {
        if let Attested::Certify { name, .. } = &mut attest.attested {
            *name = Name::from_bytes(&[&[0, 11][..], &[1; 32]].concat());
        }
    }

    #[test]
    fn each_lie_shows_in_the_one_certification_it_was_told_about() {
        let lies = || Lies::none().only_certification(1);
        let other = Key::sample(Role::Other, KeyKind::P256).unwrap();
        let cases: Vec<(&str, Lies, &[&str])> = vec![
            ("none", lies(), &[]),
            ("G01", lies().certification(other_name), &["name"]),
            (
                "G05",
                lies().certification(|attest| attest.extra_data.clear()),
                &["binding"],
            ),
            ("G08", lies().certification(as_creation), &["kind"]),
            (
                "E28",
                lies().certification(|attest| attest.firmware += 1),
                &["firmware"],
            ),
            (
                "E29",
                lies().certification(|attest| attest.clock.reset_count += 1),
                &["counters"],
            ),
            (
                "bytes",
                lies().certified(|bytes| bytes.truncate(9)),
                &["structure"],
            ),
            (
                "signature",
                lies().certification_signature(|signature| signature.hash = Algorithm::SHA1),
                &["signature"],
            ),
            (
                "signer",
                lies().certifier(other, Algorithm::ECDSA, Hash::Sha256),
                &["signature"],
            ),
        ];
        for (case, lies, expect) in cases {
            let mut prover = prover(&[SvidKeyTemplate::EccP256; 3], lies);
            let found = exchange(&mut prover, true);
            assert_eq!(found.faults, [&[], expect, &[]], "{case}");
            assert!(found.proved, "{case}: the proof covers the lie");
            let quote = KeyCertification {
                attest: found.evidence.quote,
                signature: found.evidence.signature,
            };
            let ak = prover.tpm.ak.key.subject_key();
            assert!(is_signed(ak, &quote), "{case}: the quote is true");
        }
    }

    #[test]
    fn lies_about_certifications_are_about_all_of_them_if_not_said_otherwise() {
        let lies = Lies::none().certification(other_name);
        let mut prover = prover(&[SvidKeyTemplate::EccP256; 2], lies);
        assert_eq!(exchange(&mut prover, true).faults, [["name"]; 2]);
    }

    #[test]
    fn a_key_can_certify_itself() {
        let mut prover = prover(&[SvidKeyTemplate::EccP256], Lies::none());
        let own = prover.tpm.svid_keys[0].key.clone();
        prover.lies = Lies::none().certifier(own.clone(), Algorithm::ECDSA, Hash::Sha256);
        let found = exchange(&mut prover, true);
        assert_eq!(found.faults, [["signature"]], "G07");
        let certified = &found.evidence.certifications[0];
        assert!(is_signed(own.subject_key(), certified));
    }

    #[test]
    fn keys_that_are_not_of_this_tpm_hang_elsewhere() {
        let mut other = SoftTpm::generate().unwrap();
        let mut prover = prover(&[SvidKeyTemplate::EccP256], Lies::none());
        let stranger = other.make_svid_key(SvidKeyTemplate::EccP256).unwrap();
        let software = SvidKey::external(Key::generate(KeyKind::P256).unwrap());
        prover.tpm.svid_keys.extend([stranger, software]);
        let found = exchange(&mut prover, true).faults;
        assert_eq!(found, [&[][..], &["parent"], &["parent"]]);
    }

    #[test]
    fn the_list_of_certifications_can_be_anything() {
        type Tale = fn(&mut Vec<KeyCertification>);
        let cases: [(&str, Tale, &[&[&str]]); 3] = [
            ("drop", |all| drop(all.pop()), &[&[]]),
            (
                "add",
                |all| all.push(all[1].clone()),
                &[&[], &[], &["name", "parent"]],
            ),
            (
                "swap",
                |all| all.swap(0, 1),
                &[&["name", "parent"], &["name", "parent"]],
            ),
        ];
        for (case, tale, expect) in cases {
            let lies = Lies::none().certifications(tale);
            let mut prover = prover(&[SvidKeyTemplate::EccP256; 2], lies);
            let found = exchange(&mut prover, true);
            assert_eq!(found.faults, expect, "{case}");
            assert!(found.proved, "{case}");
        }
    }

    #[test]
    fn certifications_of_another_exchange_are_sent_again() {
        let mut prover = prover(&[SvidKeyTemplate::EccP256], Lies::none());
        let earlier = exchange(&mut prover, true);
        let kept = certifications_of(&earlier.answer).unwrap();
        assert_eq!(kept, earlier.evidence.certifications);
        prover.tpm.advance_clock(1);
        prover.lies = Lies::none().replayed(kept);
        let again = exchange(&mut prover, true);
        assert_eq!(again.faults, [["binding", "clock"]], "G06");
        let secret = Response::Secret(secret()).encode();
        assert_eq!(certifications_of(&secret), Ok(Vec::new()));
    }

    #[test]
    fn what_was_not_asked_can_be_certified_and_what_was_left_out() {
        for (asked, told) in [(false, true), (true, false)] {
            let lies = Lies::none().asked(move |extension| extension.certify = told);
            let mut prover = prover(&[SvidKeyTemplate::EccP256], lies);
            let found = exchange(&mut prover, asked);
            assert_eq!(found.faults, vec![Vec::<&str>::new(); usize::from(told)]);
            assert!(found.proved);
        }
    }

    #[test]
    fn the_signer_of_everything_signs_certifications_too() {
        let other = Key::sample(Role::Other, KeyKind::P256).unwrap();
        let lies = Lies::none().signer(other, Algorithm::ECDSA, Hash::Sha256);
        let mut prover = prover(&[SvidKeyTemplate::EccP256], lies);
        assert_eq!(exchange(&mut prover, true).faults, [["signature"]]);
    }

    #[test]
    fn a_machine_that_was_reset_certifies_with_the_counters_of_its_quote() {
        let mut prover = prover(&[SvidKeyTemplate::EccP256], Lies::none());
        prover.tpm.firmware += 1;
        prover.tpm.reboot().unwrap();
        prover.tpm.restart();
        let found = exchange(&mut prover, true);
        assert_eq!(found.faults, [[""; 0]]);
        let attest = Attest::parse(&found.evidence.certifications[0].attest).unwrap();
        assert_eq!(
            (attest.clock.reset_count, attest.clock.restart_count),
            (8, 1)
        );
        assert_eq!(attest.firmware, prover.tpm.firmware);
    }
}
