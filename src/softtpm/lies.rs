//! Lies: alterations of an exchange, each at a named step, before or after the signature.

use evidence::{
    Algorithm, Attest, ChallengeExtension, Evidence, Hash, KeyCertification, Offer, PcrBank,
    PcrSelection, Response, Secret, Signature,
};

use crate::{Key, SoftTpm, TpmError};

/// What an agent tells that is not so. Several lies about one step are told in the order they were
/// added; whatever follows the step is computed from the lie.
///
/// In the order of an exchange: creation, offer, payload; secret, seen, asked; selections, attest, signed, signer,
/// signature, values; for each SVID key certification, certified, certifier, certification_signature; certifications,
/// evidence, document, log, answer, response.
#[derive(Default)]
pub struct Lies {
    creation: Lie<Attest>,
    offer: Lie<Offer>,
    payload: Lie<Vec<u8>>,
    guess: Option<Vec<u8>>,
    seen: Lie<Seen>,
    asked: Lie<ChallengeExtension>,
    selections: Lie<Vec<PcrSelection>>,
    attest: Lie<Attest>,
    signed: Lie<Vec<u8>>,
    signer: Option<(Key, Algorithm, Hash)>,
    signature: Lie<Signature>,
    values: Lie<Vec<PcrBank>>,
    certification: Lie<Attest>,
    certified: Lie<Vec<u8>>,
    certifier: Option<(Key, Algorithm, Hash)>,
    certification_signature: Lie<Signature>,
    only_certification: Option<usize>,
    certifications: Lie<Vec<KeyCertification>>,
    evidence: Lie<Evidence>,
    document: Lie<Vec<u8>>,
    log: Lie<Option<Vec<u8>>>,
    answer: Lie<Answer>,
    response: Lie<Vec<u8>>,
}

/// What an agent says it has seen: the input of the transcript.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// The trust domain, by its name.
    pub trust_domain: String,
    /// The first message as it travelled.
    pub payload: Vec<u8>,
    /// The challenge as it travelled.
    pub challenge: Vec<u8>,
}

/// An answer, and the secret that its maker knows.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The third message.
    pub response: Response,
    /// The secret that bindings and proof were computed with.
    pub secret: Secret,
}

macro_rules! lies {
    ($($(#[$doc:meta])* $step:ident $tell:ident $type:ty;)*) => {
        impl Lies {
            $($(#[$doc])*
            #[must_use]
            pub fn $step(mut self, lie: impl Fn(&mut $type) + Send + Sync + 'static) -> Self {
                self.$step.0.push(Box::new(lie));
                self
            }

            pub(crate) fn $tell(&self, truth: &mut $type) {
                self.$step.tell(truth);
            })*
        }
    };
}

lies! {
    /// Alters the creation attestation before it is signed.
    creation tell_creation Attest;
    /// Alters the first message.
    offer tell_offer Offer;
    /// Alters the bytes of the first message; the agent then knows them as what it sent.
    payload tell_payload Vec<u8>;
    /// Alters what goes into the transcript.
    seen tell_seen Seen;
    /// Alters what the challenge asks, as if it had come so; the transcript is of the challenge as it travelled.
    asked tell_asked ChallengeExtension;
    /// Alters what is quoted; values, digest and signature are then true to that.
    selections tell_selections Vec<PcrSelection>;
    /// Alters the quote before it is signed.
    attest tell_attest Attest;
    /// Alters the bytes of the quote before they are signed.
    signed tell_signed Vec<u8>;
    /// Alters the signature of the quote.
    signature tell_signature Signature;
    /// Alters the PCR values that go with the quote.
    values tell_values Vec<PcrBank>;
    /// Alters each certification of an SVID key before it is signed.
    certification tell_certification Attest;
    /// Alters the bytes of each certification before they are signed.
    certified tell_certified Vec<u8>;
    /// Alters the signature of each certification.
    certification_signature tell_certification_signature Signature;
    /// Withholds, adds, swaps or alters certifications after their signatures; the list is empty where none was asked for.
    certifications tell_certifications Vec<KeyCertification>;
    /// Alters the evidence after the signature; the proof then covers the lie.
    evidence tell_evidence Evidence;
    /// Alters the bytes of the evidence document; the proof then covers the lie.
    document tell_document Vec<u8>;
    /// Sends the log unasked, withholds or alters it; the proof then covers the lie.
    log tell_log Option<Vec<u8>>;
    /// Alters the answer after the proof, knowing the secret.
    answer tell_answer Answer;
    /// Alters the bytes of the third message.
    response tell_response Vec<u8>;
}

impl Lies {
    /// Nothing but the truth.
    pub fn none() -> Self {
        Self::default()
    }

    /// Opens no credential and takes these bytes for the secret: what is left to a machine without
    /// the EK, or with an AK that its TPM has not loaded.
    #[must_use]
    pub fn guess(mut self, secret: &[u8]) -> Self {
        self.guess = Some(secret.to_vec());
        self
    }

    /// Signs with another key than the AK: creation evidence, quotes and certifications.
    #[must_use]
    pub fn signer(mut self, key: Key, algorithm: Algorithm, hash: Hash) -> Self {
        self.signer = Some((key, algorithm, hash));
        self
    }

    /// Signs certifications alone with another key than the AK, such as the SVID key itself.
    #[must_use]
    pub fn certifier(mut self, key: Key, algorithm: Algorithm, hash: Hash) -> Self {
        self.certifier = Some((key, algorithm, hash));
        self
    }

    /// Tells the lies about each certification (`certification`, `certified`, `certifier`, `certification_signature`) in the
    /// one at this place of the offer, and the truth in the others.
    #[must_use]
    pub fn only_certification(mut self, index: usize) -> Self {
        self.only_certification = Some(index);
        self
    }

    /// Sends the certifications of another exchange; see [`certifications_of`](crate::certifications_of).
    #[must_use]
    pub fn replayed(self, earlier: Vec<KeyCertification>) -> Self {
        self.certifications(move |all| all.clone_from(&earlier))
    }

    pub(crate) fn secret_of(
        &self,
        truth: impl FnOnce() -> Result<Secret, TpmError>,
    ) -> Result<Secret, TpmError> {
        match &self.guess {
            Some(guess) => Ok(Secret::new(guess.clone())),
            None => truth(),
        }
    }

    pub(crate) fn sign(&self, tpm: &SoftTpm, bytes: &[u8]) -> Result<Signature, TpmError> {
        match &self.signer {
            Some((key, algorithm, hash)) => key.sign(*algorithm, *hash, bytes),
            None => tpm.sign(bytes),
        }
    }

    /// The certification at `index` of the offer, from its structure to its signature.
    pub(crate) fn certify(
        &self,
        tpm: &SoftTpm,
        index: usize,
        mut structure: Attest,
    ) -> Result<KeyCertification, TpmError> {
        if self.only_certification.is_some_and(|only| only != index) {
            let attest = structure.encode();
            let signature = self.sign(tpm, &attest)?.encode();
            return Ok(KeyCertification { attest, signature });
        }
        self.tell_certification(&mut structure);
        let mut attest = structure.encode();
        self.tell_certified(&mut attest);
        let mut signature = match &self.certifier {
            Some((key, algorithm, hash)) => key.sign(*algorithm, *hash, &attest)?,
            None => self.sign(tpm, &attest)?,
        };
        self.tell_certification_signature(&mut signature);
        let signature = signature.encode();
        Ok(KeyCertification { attest, signature })
    }
}

struct Lie<T>(Vec<Told<T>>);

type Told<T> = Box<dyn Fn(&mut T) + Send + Sync>;

impl<T> Lie<T> {
    fn tell(&self, truth: &mut T) {
        for lie in &self.0 {
            lie(truth);
        }
    }
}

impl<T> Default for Lie<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}
