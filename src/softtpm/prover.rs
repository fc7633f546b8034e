//! An agent's side of one exchange: a TPM, what it is told, and the lies it tells.

use crate::lies::Seen;
use crate::{Lies, SoftTpm, TpmError};

/// Which agent is played.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Generation {
    /// Offers no extension and answers with the secret.
    First,
    /// Offers the extension and answers what it is asked.
    Current,
}

/// An agent without an agent: bytes in, bytes out.
pub struct Prover {
    /// The TPM that answers.
    pub tpm: SoftTpm,
    /// The trust domain that the agent was told, by its name.
    pub trust_domain: String,
    /// The EK certificate in DER.
    pub certificate: Option<Vec<u8>>,
    /// DER certificates between that and an anchor.
    pub intermediates: Vec<Vec<u8>>,
    /// Which agent is played.
    pub generation: Generation,
    /// What is not so.
    pub lies: Lies,
}

impl Prover {
    /// An honest agent of the current generation without a certificate.
    pub fn new(tpm: SoftTpm, trust_domain: &str) -> Self {
        Self {
            tpm,
            trust_domain: trust_domain.to_owned(),
            certificate: None,
            intermediates: Vec::new(),
            generation: Generation::Current,
            lies: Lies::none(),
        }
    }

    /// The first message.
    pub fn payload(&mut self) -> Result<Vec<u8>, TpmError> {
        let certificate = self.certificate.as_deref();
        let mut offer = self.tpm.offer_lying(certificate, &self.lies)?;
        match (self.generation, &mut offer.extension) {
            (Generation::Current, Some(extension)) => {
                extension.ek_intermediates.clone_from(&self.intermediates);
            }
            (_, extension) => *extension = None,
        }
        self.lies.tell_offer(&mut offer);
        let mut payload = offer.encode();
        self.lies.tell_payload(&mut payload);
        Ok(payload)
    }

    /// The third message, to `challenge` after `payload`, both as they travelled.
    pub fn answer(&mut self, payload: &[u8], challenge: &[u8]) -> Result<Vec<u8>, TpmError> {
        let seen = Seen {
            trust_domain: self.trust_domain.clone(),
            payload: payload.to_vec(),
            challenge: challenge.to_vec(),
        };
        let answer = match self.generation {
            Generation::Current => self.tpm.respond_lying(seen, &self.lies)?,
            Generation::First => self.tpm.reveal_lying(challenge, &self.lies)?,
        };
        let mut bytes = answer.response.encode();
        self.lies.tell_response(&mut bytes);
        Ok(bytes.to_vec())
    }
}

#[cfg(test)]
mod tests {
    use evidence::{
        AkTemplate, Algorithm, Attest, Attested, Challenge, ChallengeExtension, Credential,
        EkProfile, Evidence, Hash, Offer, PcrSelection, Response, Secret, Transcript, pcr_digest,
        tag,
    };

    use super::*;
    use crate::{Answer, Key, KeyKind, Role};

    const TRUST_DOMAIN: &str = "example.org";

    fn wanted() -> Vec<PcrSelection> {
        vec![PcrSelection::new(Hash::Sha256, &[0, 7])]
    }

    fn challenge(tpm: &SoftTpm) -> Vec<u8> {
        let profile = EkProfile::of(tpm.ek_key()).unwrap();
        let name = tpm.ak.name().unwrap();
        let secret = Secret::new(vec![7; 32]);
        let seed = vec![1; profile.hash.size()];
        Challenge {
            credential: Credential::make(tpm.ek_key(), profile, &name, &secret, &seed).unwrap(),
            extension: Some(ChallengeExtension {
                version: 1,
                nonce: [3; 32],
                pcrs: vec![(Hash::Sha256, vec![0, 7])],
                log: false,
                certify: false,
                known_pcrs: None,
            }),
        }
        .encode()
    }

    /// RSASSA is deterministic: a signature is good when the AK makes the same.
    fn prover(lies: Lies) -> Prover {
        let tpm = SoftTpm::sample(KeyKind::P256, AkTemplate::Rsa2048).unwrap();
        let mut prover = Prover::new(tpm, TRUST_DOMAIN);
        prover.lies = lies;
        prover
    }

    /// What a verifier would object to, and the evidence document.
    fn exchange(lies: Lies) -> (Vec<&'static str>, Vec<u8>) {
        let mut prover = prover(lies);
        let payload = prover.payload().unwrap();
        let challenge = challenge(&prover.tpm);
        let answer = prover.answer(&payload, &challenge).unwrap();
        let Response::Proof(proof) = Response::decode(&answer).unwrap() else {
            panic!("a proof")
        };
        let transcript = Transcript::new(TRUST_DOMAIN, &payload, &challenge);
        let secret = Secret::new(vec![7; 32]);
        let expect = secret.proof(&transcript, &proof.evidence, b"");
        let evidence = Evidence::decode(&proof.evidence).unwrap();
        let attest = Attest::parse(&evidence.quote).unwrap();
        let signature = prover.tpm.sign(&evidence.quote).unwrap().encode();
        let Attested::Quote { selections, digest } = attest.attested else {
            return (vec!["kind"], proof.evidence);
        };
        let values = pcr_digest(Hash::Sha256, &wanted(), &evidence.pcrs);
        let checks = [
            ("proof", proof.proof == expect),
            ("signature", evidence.signature == signature),
            (
                "binding",
                attest.extra_data == secret.quote_binding(&transcript),
            ),
            ("selection", selections == wanted()),
            ("values", values == Some(digest)),
        ];
        let failed = checks.into_iter().filter(|(_, holds)| !holds);
        (failed.map(|(check, _)| check).collect(), proof.evidence)
    }

    fn other_signer() -> Lies {
        let key = Key::sample(Role::Other, KeyKind::Rsa2048).unwrap();
        Lies::none().signer(key, Algorithm::RSASSA, Hash::Sha256)
    }

    fn raw_secret_for_proof(answer: &mut Answer) {
        let raw = answer.secret.expose().try_into().unwrap();
        if let Response::Proof(proof) = &mut answer.response {
            proof.proof = raw;
        }
    }

    #[test]
    fn each_lie_shows_where_it_was_told_and_nowhere_else() {
        let lies = Lies::none;
        let cases: Vec<(&str, Lies, &[&str])> = vec![
            ("none", lies(), &[]),
            ("guess", lies().guess(&[0; 32]), &["proof", "binding"]),
            (
                "seen",
                lies().seen(|seen| seen.trust_domain.push('x')),
                &["proof", "binding"],
            ),
            (
                "selections",
                lies().selections(|all| *all = vec![PcrSelection::new(Hash::Sha256, &[16])]),
                &["selection", "values"],
            ),
            (
                "attest",
                lies().attest(|attest| attest.extra_data.clear()),
                &["binding"],
            ),
            (
                "attest's kind",
                lies().attest(|attest| {
                    attest.kind = tag::ATTEST_TIME;
                    attest.attested = Attested::Other(vec![0; 8]);
                }),
                &["kind"],
            ),
            (
                "signed",
                lies().signed(|bytes| *bytes.last_mut().unwrap() ^= 1),
                &["values"],
            ),
            ("signer", other_signer(), &["signature"]),
            (
                "signature",
                lies().signature(|signature| signature.hash = Algorithm::SHA1),
                &["signature"],
            ),
            (
                "values",
                lies().values(|banks| banks[0].values.clear()),
                &["values"],
            ),
            (
                "evidence",
                lies().evidence(|evidence| evidence.signature.push(0)),
                &["signature"],
            ),
            ("answer", lies().answer(raw_secret_for_proof), &["proof"]),
            (
                "two in order",
                lies()
                    .attest(|attest| attest.extra_data = vec![1])
                    .attest(|attest| assert_eq!(attest.extra_data, [1])),
                &["binding"],
            ),
        ];
        for (name, lies, expect) in cases {
            assert_eq!(exchange(lies).0, expect, "{name}");
        }
    }

    #[test]
    fn the_proof_covers_a_lying_document() {
        let (failed, document) = exchange(Lies::none().document(|bytes| bytes.push(b' ')));
        assert!(failed.is_empty(), "{failed:?}");
        assert_eq!(document.last(), Some(&b' '));
    }

    #[test]
    fn the_proof_covers_a_lying_log() {
        fn unasked(log: &mut Option<Vec<u8>>) {
            assert_eq!(log.replace(vec![1]), None, "nobody asked for it");
        }
        fn altered(log: &mut Option<Vec<u8>>) {
            log.as_mut().unwrap().push(1);
        }
        fn withheld(log: &mut Option<Vec<u8>>) {
            assert_eq!(log.take(), Some(vec![7]));
        }
        type Tale = fn(&mut Option<Vec<u8>>);
        let tales: [(bool, Tale, Option<&[u8]>); 3] = [
            (false, unasked, Some(&[1])),
            (true, altered, Some(&[7, 1])),
            (true, withheld, None),
        ];
        for (asked, tale, sent) in tales {
            let mut prover = prover(Lies::none().log(tale));
            prover.tpm.log = Some(vec![7]);
            let payload = prover.payload().unwrap();
            let mut challenge = Challenge::decode(&challenge(&prover.tpm)).unwrap();
            challenge.extension.as_mut().unwrap().log = asked;
            let challenge = challenge.encode();
            let answer = prover.answer(&payload, &challenge).unwrap();
            let Response::Proof(proof) = Response::decode(&answer).unwrap() else {
                panic!("a proof")
            };
            assert_eq!(proof.log.as_deref(), sent);
            let transcript = Transcript::new(TRUST_DOMAIN, &payload, &challenge);
            let secret = Secret::new(vec![7; 32]);
            let covered = sent.unwrap_or_default();
            let expect = secret.proof(&transcript, &proof.evidence, covered);
            assert_eq!(proof.proof, expect, "{sent:?}");
        }
    }

    #[test]
    fn messages_can_be_anything() {
        let mut prover = prover(
            Lies::none()
                .offer(|offer| offer.ek.public_key = Some(vec![1]))
                .payload(|bytes| bytes.push(b'!'))
                .response(|bytes| bytes.truncate(3)),
        );
        let payload = prover.payload().unwrap();
        let (last, sent) = payload.split_last().unwrap();
        assert_eq!(*last, b'!');
        assert_eq!(Offer::decode(sent).unwrap().ek.public_key, Some(vec![1]));
        let challenge = challenge(&prover.tpm);
        assert_eq!(prover.answer(&payload, &challenge).unwrap(), b"{\"t");
    }

    #[test]
    fn creation_evidence_can_lie_and_stay_signed() {
        let mut prover = prover(Lies::none().creation(|attest| attest.magic = 0));
        let offer = Offer::decode(&prover.payload().unwrap()).unwrap();
        let creation = offer.ak.creation.unwrap();
        assert_eq!(Attest::parse(&creation.attestation).unwrap().magic, 0);
        let signature = prover.tpm.sign(&creation.attestation).unwrap();
        assert_eq!(creation.signature, signature.encode());
    }

    #[test]
    fn the_first_generation_offers_and_answers_in_its_form() {
        let mut prover = prover(Lies::none());
        prover.generation = Generation::First;
        prover.certificate = Some(vec![1; 9]);
        let payload = prover.payload().unwrap();
        let offer = Offer::decode(&payload).unwrap();
        assert_eq!(
            (offer.extension, offer.ek.certificate),
            (None, Some(vec![1; 9]))
        );
        let challenge = challenge(&prover.tpm);
        let answer = prover.answer(&payload, &challenge).unwrap();
        assert_eq!(
            Response::decode(&answer),
            Ok(Response::Secret(Secret::new(vec![7; 32])))
        );
        prover.lies = Lies::none().guess(&[1]);
        let answer = prover.answer(&payload, &challenge).unwrap();
        assert_eq!(
            Response::decode(&answer),
            Ok(Response::Secret(Secret::new(vec![1])))
        );
    }

    #[test]
    fn intermediates_travel_with_the_extension() {
        let mut prover = prover(Lies::none());
        prover.intermediates = vec![vec![1; 4]];
        let offer = Offer::decode(&prover.payload().unwrap()).unwrap();
        assert_eq!(offer.extension.unwrap().ek_intermediates, [vec![1; 4]]);
    }
}
