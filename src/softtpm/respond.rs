//! The answer of an honest agent to a challenge, with a place for a lie at each step.

use evidence::{
    Challenge, Evidence, Hash, PcrSelection, Proof, Response, Secret, Transcript, pcr_digest,
};

use crate::lies::{Answer, Seen};
use crate::{Lies, SoftTpm, TpmError, witness};

impl SoftTpm {
    /// What an agent of this project answers: evidence and a proof, or the secret itself when the
    /// challenge is of the first generation. All arguments are as they travelled.
    pub fn respond(
        &mut self,
        trust_domain: &str,
        payload: &[u8],
        challenge: &[u8],
    ) -> Result<Response, TpmError> {
        let seen = Seen {
            trust_domain: trust_domain.to_owned(),
            payload: payload.to_vec(),
            challenge: challenge.to_vec(),
        };
        Ok(self.respond_lying(seen, &Lies::none())?.response)
    }

    /// What an agent of the first generation answers: the secret, whatever else was asked.
    pub fn legacy_respond(&self, challenge: &[u8]) -> Result<Response, TpmError> {
        Ok(self.reveal_lying(challenge, &Lies::none())?.response)
    }

    pub(crate) fn respond_lying(&mut self, seen: Seen, lies: &Lies) -> Result<Answer, TpmError> {
        let challenge = Challenge::decode(&seen.challenge)?;
        let secret = lies.secret_of(|| self.activate(&challenge.credential))?;
        let response = match challenge.extension {
            None => Response::Secret(secret.clone()),
            Some(mut extension) => {
                witness::tell("a nonce", &extension.nonce);
                let transcript = transcript(seen, lies);
                lies.tell_asked(&mut extension);
                let mut evidence = self.quote_lying(
                    &secret.quote_binding(&transcript),
                    extension.selections(),
                    lies,
                )?;
                if extension.certify {
                    let binding = secret.certify_binding(&transcript);
                    evidence.certifications = self.certify_lying(&binding, lies)?;
                }
                lies.tell_certifications(&mut evidence.certifications);
                lies.tell_evidence(&mut evidence);
                let values = pcr_digest(Hash::Sha256, &extension.selections(), &self.pcrs);
                let known = extension.known_pcrs.map(Vec::from);
                let is_known = known.is_some() && known == values;
                let mut log = self.log.clone();
                log = log.filter(|_log| extension.log && !is_known);
                lies.tell_log(&mut log);
                Response::Proof(prove(&secret, &transcript, &evidence, log, lies))
            }
        };
        let mut answer = Answer { response, secret };
        lies.tell_answer(&mut answer);
        Ok(answer)
    }

    pub(crate) fn reveal_lying(&self, challenge: &[u8], lies: &Lies) -> Result<Answer, TpmError> {
        let challenge = Challenge::decode(challenge)?;
        let secret = lies.secret_of(|| self.activate(&challenge.credential))?;
        let response = Response::Secret(secret.clone());
        let mut answer = Answer { response, secret };
        lies.tell_answer(&mut answer);
        Ok(answer)
    }

    fn quote_lying(
        &mut self,
        binding: &[u8],
        mut selections: Vec<PcrSelection>,
        lies: &Lies,
    ) -> Result<Evidence, TpmError> {
        witness::tell("a quote's binding", binding);
        lies.tell_selections(&mut selections);
        let mut attest = self.quote_structure(binding, &selections)?;
        lies.tell_attest(&mut attest);
        let mut quote = attest.encode();
        lies.tell_signed(&mut quote);
        let mut signature = lies.sign(self, &quote)?;
        lies.tell_signature(&mut signature);
        let mut pcrs = self.read_pcrs(&selections);
        lies.tell_values(&mut pcrs);
        Ok(Evidence {
            quote,
            signature: signature.encode(),
            pcrs,
            certifications: Vec::new(),
        })
    }
}

fn prove(
    secret: &Secret,
    transcript: &Transcript,
    evidence: &Evidence,
    log: Option<Vec<u8>>,
    lies: &Lies,
) -> Proof {
    let mut document = evidence.encode();
    lies.tell_document(&mut document);
    let proof = secret.proof(transcript, &document, log.as_deref().unwrap_or_default());
    witness::tell("a proof", &proof);
    Proof {
        evidence: document,
        log,
        proof,
    }
}

fn transcript(mut seen: Seen, lies: &Lies) -> Transcript {
    lies.tell_seen(&mut seen);
    Transcript::new(&seen.trust_domain, &seen.payload, &seen.challenge)
}

#[cfg(test)]
mod tests {
    use evidence::{
        AkTemplate, Attest, ChallengeExtension, Credential, EkProfile, Hash, Malformed,
    };

    use super::*;
    use crate::KeyKind;

    const SECRET: [u8; 32] = [7; 32];

    /// A challenge of this project asks for a log, or not; one of the first generation has no extension.
    fn challenge(tpm: &SoftTpm, extension: Option<bool>) -> Vec<u8> {
        let profile = EkProfile::of(tpm.ek_key()).unwrap();
        let secret = Secret::new(SECRET.to_vec());
        let name = tpm.ak.name().unwrap();
        let seed = vec![1; profile.hash.size()];
        let credential = Credential::make(tpm.ek_key(), profile, &name, &secret, &seed).unwrap();
        let extension = extension.map(|log| ChallengeExtension {
            known_pcrs: None,
            version: 1,
            nonce: [3; 32],
            pcrs: vec![(Hash::Sha256, vec![0, 7]), (Hash::Sha384, vec![4])],
            log,
            certify: false,
        });
        Challenge {
            credential,
            extension,
        }
        .encode()
    }

    #[test]
    fn the_proof_is_the_transcript_formula() {
        let some = || Some(b"log".to_vec());
        for (kept, asked, log) in [
            (None, false, None),
            (some(), true, some()),
            (some(), false, None),
            (None, true, None),
        ] {
            let mut tpm = SoftTpm::sample(KeyKind::P384, AkTemplate::EccP256).unwrap();
            tpm.log = kept;
            let payload = tpm.offer(None).unwrap().encode();
            let challenge = challenge(&tpm, Some(asked));
            let response = tpm.respond("example.org", &payload, &challenge).unwrap();
            let Response::Proof(proof) = response else {
                panic!("a proof")
            };

            let sized = |bytes: &[u8]| {
                let len = u32::try_from(bytes.len()).unwrap();
                [&len.to_be_bytes(), bytes].concat()
            };
            let transcript = Hash::Sha256.digest(&[
                b"tpm-attestor/v1",
                &sized(b"example.org"),
                &sized(&payload),
                &sized(&challenge),
            ]);
            let evidence = Hash::Sha256.digest(&[&proof.evidence]);
            let log_digest = Hash::Sha256.digest(&[log.as_deref().unwrap_or_default()]);
            let expect =
                Hash::Sha256.hmac(&SECRET, &[b"proof", &transcript, &evidence, &log_digest]);
            assert_eq!(proof.proof.to_vec(), expect);
            assert_eq!(proof.log, log);

            let evidence = Evidence::decode(&proof.evidence).unwrap();
            let attest = Attest::parse(&evidence.quote).unwrap();
            let binding = Hash::Sha256.hmac(&SECRET, &[b"quote", &transcript]);
            assert_eq!(attest.extra_data, binding);
            assert_eq!(evidence.pcrs[0].values.keys().collect::<Vec<_>>(), [&0, &7]);
            assert_eq!(evidence.pcrs[1].values.keys().collect::<Vec<_>>(), [&4]);
        }
    }

    #[test]
    fn old_challenges_and_old_agents_get_the_secret() {
        let mut tpm = SoftTpm::first_generation(KeyKind::Rsa2048).unwrap();
        let old = challenge(&tpm, None);
        let new = challenge(&tpm, Some(true));
        let secret = Response::Secret(Secret::new(SECRET.to_vec()));
        assert_eq!(tpm.respond("example.org", b"{}", &old), Ok(secret.clone()));
        assert_eq!(tpm.legacy_respond(&new), Ok(secret.clone()));
        assert_eq!(secret.encode().len(), "{\"Secret\":\"\"}".len() + 44);
        assert_eq!(
            tpm.respond("example.org", b"{}", b"{}"),
            Err(Malformed::Value.into())
        );
    }
}
