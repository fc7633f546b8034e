//! What each refusal of the server's plugin takes: a machine, what its agent does, and who is at fault.

use evidence::{Hash, limits};
use plugin::Code;
use softtpm::{Lies, Prover};
use verify::Reason;

use crate::process_certificates::{Authority, ORDINARY};
use crate::process_grants::{certified, machine, old_machine};

/// What an agent does next.
pub(crate) enum Move {
    /// Its payload.
    Offer,
    /// Takes the challenge.
    Challenge,
    /// Its response.
    Answer,
    /// This as its payload.
    Payload(Vec<u8>),
    /// This as its response.
    Response(Vec<u8>),
    /// A message with neither.
    Neither,
    /// The end of its half of the stream.
    Close,
}

use Move::{Answer, Challenge, Close, Neither, Offer, Payload, Response};

pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) reason: Reason,
    pub(crate) code: Code,
    /// Further configuration.
    pub(crate) more: &'static str,
    pub(crate) prover: Prover,
    pub(crate) moves: Vec<Move>,
}

/// All of them.
pub(crate) fn cases(other: &Authority) -> Vec<Case> {
    let mut cases: Vec<_> = order().into_iter().chain(messages()).collect();
    cases.extend(offers(other).into_iter().chain(answers(other)));
    cases
}

pub(crate) fn lying(mut prover: Prover, lies: Lies) -> Prover {
    prover.lies = lies;
    prover
}

/// With these words in the name, no message was good enough to name an EK.
pub(crate) const NAMELESS: &str = "(no EK)";

fn case(name: &'static str, reason: Reason, code: Code, prover: Prover, moves: Vec<Move>) -> Case {
    Case {
        name,
        reason,
        code,
        more: "",
        prover,
        moves,
    }
}

fn configured_case(more: &'static str, case: Case) -> Case {
    Case { more, ..case }
}

/// Messages that come in a wrong order, late, or not at all.
fn order() -> Vec<Case> {
    let invalid = Code::InvalidArgument;
    let payload = || Payload(b"{}".to_vec());
    let honest = |name, reason, code, moves| case(name, reason, code, machine(), moves);
    vec![
        honest(
            "tpm/A07 response first (no EK)",
            Reason::ProtocolOrder,
            invalid,
            vec![Response(vec![1])],
        ),
        honest(
            "tpm/A08 payload twice",
            Reason::ProtocolOrder,
            invalid,
            vec![Offer, Challenge, payload()],
        ),
        honest(
            "tpm/A12 closed at once (no EK)",
            Reason::ClientClosed,
            invalid,
            vec![Close],
        ),
        honest(
            "tpm/A12 closed for an answer",
            Reason::ClientClosed,
            invalid,
            vec![Offer, Challenge, Close],
        ),
        configured_case(
            "challenge_timeout = \"150ms\"",
            honest(
                "tpm/A10 silent",
                Reason::Timeout,
                Code::DeadlineExceeded,
                vec![Offer, Challenge],
            ),
        ),
        configured_case(
            "attestation_timeout = \"150ms\"",
            honest(
                "tpm/A10 slow in all",
                Reason::Timeout,
                Code::DeadlineExceeded,
                vec![Offer, Challenge],
            ),
        ),
    ]
}

/// Messages that are none.
fn messages() -> Vec<Case> {
    use Reason::{MalformedPayload, MalformedResponse, PayloadTooLarge, ResponseTooLarge};
    let invalid = Code::InvalidArgument;
    let exhausted = Code::ResourceExhausted;
    let spaces = |length| vec![b' '; length];
    let first = |name, reason, code, step| case(name, reason, code, machine(), vec![step]);
    let last = |name, reason, code, step| {
        case(name, reason, code, machine(), vec![Offer, Challenge, step])
    };
    let transport = 5 << 20;
    vec![
        first("neither (no EK)", MalformedPayload, invalid, Neither),
        first(
            "tpm/A01 empty (no EK)",
            MalformedPayload,
            invalid,
            Payload(vec![]),
        ),
        first(
            "tpm/A03 no members (no EK)",
            MalformedPayload,
            invalid,
            Payload(b"{}".to_vec()),
        ),
        first(
            "largest (no EK)",
            MalformedPayload,
            invalid,
            Payload(spaces(limits::PAYLOAD)),
        ),
        first(
            "tpm/A02 larger (no EK)",
            PayloadTooLarge,
            exhausted,
            Payload(spaces(limits::PAYLOAD + 1)),
        ),
        first(
            "tpm/A02 largest of all (no EK)",
            PayloadTooLarge,
            exhausted,
            Payload(spaces(transport)),
        ),
        last("neither", MalformedResponse, invalid, Neither),
        last("empty", MalformedResponse, invalid, Response(vec![])),
        last(
            "no members",
            MalformedResponse,
            invalid,
            Response(b"{}".to_vec()),
        ),
        last(
            "bare secret",
            MalformedResponse,
            invalid,
            Response(br#"{"Secret":"AAAA"}"#.to_vec()),
        ),
        last(
            "largest",
            MalformedResponse,
            invalid,
            Response(spaces(limits::RESPONSE)),
        ),
        last(
            "larger",
            ResponseTooLarge,
            exhausted,
            Response(spaces(limits::RESPONSE + 1)),
        ),
        last(
            "largest of all",
            ResponseTooLarge,
            exhausted,
            Response(spaces(transport)),
        ),
    ]
}

/// Offers that are refused before a challenge is made.
fn offers(other: &Authority) -> Vec<Case> {
    let invalid = Code::InvalidArgument;
    let denied = Code::PermissionDenied;
    let lie =
        |name, reason, code, lies| case(name, reason, code, lying(machine(), lies), vec![Offer]);
    let versions = |lowest, highest| {
        Lies::none().offer(move |offer| {
            let extension = offer.extension.as_mut().unwrap();
            (extension.min_version, extension.max_version) = (lowest, highest);
        })
    };
    let no_quote =
        || Lies::none().offer(|offer| offer.extension.as_mut().unwrap().evidence.clear());
    let certificate = |bytes: Vec<u8>| {
        Lies::none().offer(move |offer| offer.ek.certificate = Some(bytes.clone()))
    };
    let elsewhere = other.certify(&machine().tpm.ek_key().spki(), &ORDINARY);
    let key = Lies::none().offer(|offer| offer.ek.public_key = Some(vec![0x30, 0]));
    let creation = Lies::none().creation(|attest| attest.magic = 0);
    let old = |name, reason, lies| {
        case(
            name,
            reason,
            denied,
            lying(old_machine(), lies),
            vec![Offer],
        )
    };
    vec![
        lie(
            "tpm/A04 later (no EK)",
            Reason::UnsupportedVersion,
            invalid,
            versions(2, 9),
        ),
        lie(
            "earlier (no EK)",
            Reason::UnsupportedVersion,
            invalid,
            versions(0, 0),
        ),
        lie(
            "tpm/A19 quotes nothing (no EK)",
            Reason::PolicyRequiresQuote,
            denied,
            no_quote(),
        ),
        configured_case(
            "legacy_agents = \"deny\"",
            old(
                "tpm/A19 first generation (no EK)",
                Reason::PolicyRequiresQuote,
                Lies::none(),
            ),
        ),
        old("creation", Reason::CreationMismatch, creation),
        lie(
            "certificate (no EK)",
            Reason::MalformedCert,
            invalid,
            certificate(vec![0x30, 0]),
        ),
        lie("key (no EK)", Reason::MalformedKey, invalid, key),
        lie(
            "another's certificate (no EK)",
            Reason::EkKeyMismatch,
            denied,
            certificate(elsewhere),
        ),
        configured_case(
            "ek_profiles = [\"rsa-2048\"]",
            lie("kind of EK", Reason::EkProfileDenied, denied, Lies::none()),
        ),
        configured_case(
            "ek_trust = \"both\"",
            lie(
                "no certificate",
                Reason::EkCertMissing,
                denied,
                Lies::none(),
            ),
        ),
        configured_case(
            "ek_trust = \"both\"",
            case(
                "a stranger's, refused at once",
                Reason::UntrustedChain,
                denied,
                certified(machine(), other),
                vec![Offer],
            ),
        ),
    ]
}

/// Answers that prove nothing, and machines that nobody trusts.
fn answers(other: &Authority) -> Vec<Case> {
    let denied = Code::PermissionDenied;
    let whole = || vec![Offer, Challenge, Answer];
    let lie = |name, reason, lies| case(name, reason, denied, lying(machine(), lies), whole());
    let elsewhere = Lies::none().seen(|seen| "example.com".clone_into(&mut seen.trust_domain));
    let nonce = Lies::none().attest(|attest| attest.extra_data = vec![0; 32]);
    let pcrs = Lies::none().values(|banks| {
        banks[0]
            .values
            .insert(7, Hash::Sha256.digest(&[b"another"]));
    });
    let guess = || Lies::none().guess(&[7; 32]);
    let old = lying(old_machine(), guess());
    vec![
        lie("guess", Reason::ProofMismatch, guess()),
        lie(
            "tpm/A21 for another trust domain",
            Reason::ProofMismatch,
            elsewhere,
        ),
        case("bare guess", Reason::ProofMismatch, denied, old, whole()),
        lie("another challenge's quote", Reason::NonceMismatch, nonce),
        lie("other values", Reason::PcrDigest, pcrs),
        lie("not enrolled", Reason::EkNotAllowed, Lies::none()),
        case(
            "a stranger's",
            Reason::UntrustedChain,
            denied,
            certified(machine(), other),
            whole(),
        ),
    ]
}
