//! Why a machine is refused: one stable reason code for each check, grouped by whose fault it is.

use std::fmt;

use evidence::EkHash;

/// Who is at fault; decides the status code, and with it whether an agent tries again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fault {
    /// The peer sent what no correct peer sends.
    Malformed,
    /// The peer did not prove what it claims.
    Misbehaved,
    /// The proof does not lead to anything the operator trusts.
    Untrusted,
    /// The operator's rules refuse this machine.
    Denied,
    /// The peer wants more than its share.
    Limit,
    /// The peer let our deadline pass.
    Deadline,
    /// Something that the server needs is down.
    Unavailable,
    /// Our own failure.
    Bug,
}

/// A refusal: the reason, and for the operator's log only a detail that names our own findings.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Rejection {
    /// The stable code.
    pub reason: Reason,
    /// What exactly was found; never shown to the peer, escaped before it is logged.
    pub detail: Option<String>,
    /// The EK that the peer claimed to have, where the refusal came after it was read; the
    /// operator finds by it which machine was refused.
    pub ek_hash: Option<EkHash>,
}

impl Rejection {
    /// A rejection with a detail for the operator.
    pub fn because(reason: Reason, detail: impl Into<String>) -> Self {
        Self {
            reason,
            detail: Some(detail.into()),
            ek_hash: None,
        }
    }

    /// The same, with the EK that it is about.
    #[must_use]
    pub(crate) fn about(self, ek_hash: EkHash) -> Self {
        Self {
            ek_hash: Some(ek_hash),
            ..self
        }
    }
}

impl From<Reason> for Rejection {
    fn from(reason: Reason) -> Self {
        Self {
            reason,
            detail: None,
            ek_hash: None,
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: {}", self.code(), self.sentence())
    }
}

impl Reason {
    /// Whether a machine that is refused for it stays refused until an operator has looked at it: what it showed is
    /// either an attack or a change that only the operator can know of.
    pub fn quarantines(self) -> bool {
        matches!(
            self,
            Self::CloneSuspected | Self::ClockRegressed | Self::TpmCleared | Self::AkChanged
        )
    }
}

macro_rules! reasons {
    ($($name:ident, $code:literal, $fault:ident, $sentence:literal, $cause:literal, $remedy:literal;)*) => {
        /// A reason code: stable, documented, one for each check.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Reason {
            $(#[doc = $cause] $name,)*
        }

        impl Reason {
            /// All of them, in the order of the documentation.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The stable code, snake case.
            pub fn code(self) -> &'static str {
                match self { $(Self::$name => $code,)* }
            }

            /// The reason of a code.
            pub fn from_code(code: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|reason| reason.code() == code)
            }

            /// Whose fault it is.
            pub fn fault(self) -> Fault {
                match self { $(Self::$name => Fault::$fault,)* }
            }

            /// The constant sentence that a peer may read.
            pub fn sentence(self) -> &'static str {
                match self { $(Self::$name => $sentence,)* }
            }

            /// What leads to it, for the documentation.
            pub fn cause(self) -> &'static str {
                match self { $(Self::$name => $cause,)* }
            }

            /// What an operator does about it, for the documentation.
            pub fn remedy(self) -> &'static str {
                match self { $(Self::$name => $remedy,)* }
            }
        }
    };
}

reasons! {
    MalformedPayload, "malformed_payload", Malformed, "the payload is not valid",
        "The first message is no attestation payload, or one with duplicate keys or keys in another letter case.",
        "Check that both ends run this plugin (or the community TPM plugin) under the same plugin name.";
    PayloadTooLarge, "payload_too_large", Limit, "the payload is too large",
        "The first message, or a field in it, exceeds its limit.",
        "A real agent stays far below the limits; look for what sent this.";
    MalformedResponse, "malformed_response", Malformed, "the response is not valid",
        "The second message of the agent is no response, or carries values that do not fit the challenge's form.",
        "Check that both ends run the same generation of the plugin.";
    ResponseTooLarge, "response_too_large", Limit, "the response is too large",
        "The response exceeds its limit.",
        "A real agent stays far below the limit; look for what sent this.";
    UnsupportedVersion, "unsupported_version", Malformed, "no common protocol version",
        "Agent and server have no protocol version in common.",
        "Upgrade the older of the two.";
    ProtocolOrder, "protocol_order", Malformed, "a message came out of order",
        "A response came before the challenge, or a payload came twice.",
        "No correct agent does this; look for what sent it.";
    ClientClosed, "client_closed", Malformed, "the stream ended early",
        "The agent closed the stream before it answered the challenge.",
        "Read the agent's log: its TPM failed, or it was stopped.";
    Timeout, "timeout", Deadline, "the agent did not answer in time",
        "The agent did not send the next message before the deadline.",
        "Read the agent's log; a slow TPM may need a larger `challenge_timeout` on the server.";
    Overloaded, "overloaded", Limit, "too many attestations at once",
        "The server holds as many unfinished attestations as it allows, in all or from one address.",
        "Look for a peer that opens streams and does not finish them; raise the limits if all are honest.";
    PolicyRequiresQuote, "policy_requires_quote", Denied, "a quote is required",
        "The agent offers no quote and `legacy_agents` is `deny`.",
        "Upgrade the agent, or set `legacy_agents = \"allow\"` while migrating.";
    EkCertMissing, "ek_cert_missing", Denied, "an EK certificate is required",
        "The server accepts certified EKs only and the agent sent no certificate.",
        "Set `ek_cert_path` on the agent, or enrol the EK's hash in `hash_path`.";
    MalformedCert, "malformed_cert", Malformed, "a certificate is not valid",
        "A certificate is not one DER structure, has something other than padding behind it, has duplicate extensions, or names two signature algorithms.",
        "Look at the certificate with `tpm-attestor inspect ek`.";
    CertTooLarge, "cert_too_large", Limit, "a certificate is too large",
        "A certificate exceeds 8 KiB.",
        "No TPM vendor issues such certificates; look for what sent it.";
    MalformedKey, "malformed_key", Malformed, "a public key is not valid",
        "A SubjectPublicKeyInfo is not valid.",
        "Look at the certificate with `tpm-attestor inspect ek`.";
    EkKeyMismatch, "ek_key_mismatch", Misbehaved, "the EK certificate is for another key",
        "The payload's EK certificate and EK public key are of different keys.",
        "The certificate is of another TPM, or the EK was regenerated; check `ek_cert_path`.";
    UnsupportedKey, "unsupported_key", Untrusted, "a key has an unsupported type",
        "A key is of a type, curve or size outside the known EK and AK templates.",
        "Use an RSA-2048, RSA-3072, RSA-4096, P-256, P-384 or P-521 EK.";
    WeakKey, "weak_key", Untrusted, "a key is too weak",
        "An RSA key is shorter than 2,048 bits, has an even modulus or an exponent other than 65537.",
        "The key cannot be trusted; replace it.";
    KeyTooLarge, "key_too_large", Limit, "a key is too large",
        "An RSA key of a certificate is larger than 4,096 bits.",
        "No TPM vendor uses such keys; look for what sent it.";
    InvalidPoint, "invalid_point", Misbehaved, "a public key is not on its curve",
        "The coordinates of an ECC key are no point of its curve.",
        "The key was not made by a working TPM.";
    RocaKey, "roca_key", Untrusted, "a key is vulnerable to CVE-2017-15361",
        "The modulus of an RSA key has the fingerprint of CVE-2017-15361.",
        "Update the TPM's firmware and make new keys; use the TPM's ECC EK until then.";
    EkIsCa, "ek_is_ca", Untrusted, "the EK certificate is of a CA",
        "The EK certificate has basicConstraints CA, or none at all.",
        "Send the EK's own certificate.";
    EkVersion, "ek_cert_version", Untrusted, "the EK certificate has an old version",
        "The EK certificate is not an X.509 version 3 certificate.",
        "The TPM vendor's certificate does not follow the EK profile; enrol the EK by hash.";
    EkEku, "ek_eku_missing", Untrusted, "the EK certificate is not for an EK",
        "The extended key usage lacks tcg-kp-EKCertificate (2.23.133.8.1), or names an AIK certificate too.",
        "The certificate is not an EK certificate; enrol the EK by hash if its vendor omits the usage.";
    EkKeyUsage, "ek_key_usage", Untrusted, "the EK certificate has a wrong key usage",
        "The key usage is absent, not critical, allows signing, or lacks the bit that the key type needs.",
        "The certificate is not an EK certificate; enrol the EK by hash if its vendor departs from the profile.";
    EkSan, "ek_san", Untrusted, "the EK certificate does not describe a TPM",
        "The subject alternative name lacks manufacturer, model or version, has one twice, or in a malformed way.",
        "The certificate is not an EK certificate; enrol the EK by hash if its vendor omits the name.";
    UnhandledCriticalExt, "unhandled_critical_ext", Untrusted, "a certificate has an unknown critical extension",
        "A certificate has a critical extension that this verifier does not evaluate.",
        "The chain cannot be judged; enrol the EK by hash.";
    EkCertExpired, "ek_cert_expired", Untrusted, "the EK certificate has expired",
        "The EK certificate's validity has ended.",
        "Set `accept_expired_ek = true`, or enrol the EK by hash.";
    EkCertNotYetValid, "ek_cert_not_yet_valid", Untrusted, "the EK certificate is not valid yet",
        "The EK certificate's validity has not begun.",
        "Check the server's clock.";
    CaExpired, "ca_expired", Untrusted, "a CA certificate is not valid now",
        "A CA certificate of the chain has expired or is not valid yet.",
        "Add the vendor's newer CA certificate to `ca_path`; check the server's clock.";
    IssuerNotCa, "issuer_not_ca", Untrusted, "an issuer is no CA",
        "A certificate of the chain was signed by one without basicConstraints CA.",
        "The chain is not one of a TPM vendor; look for what sent it.";
    IssuerKeyUsage, "issuer_key_usage", Untrusted, "an issuer may not sign certificates",
        "A CA certificate of the chain has a key usage without keyCertSign.",
        "The chain is not one of a TPM vendor; look for what sent it.";
    PathLen, "path_len", Untrusted, "the chain is longer than a CA allows",
        "A CA certificate's path length constraint is exceeded.",
        "The chain is not one of a TPM vendor; look for what sent it.";
    WeakSignatureAlg, "weak_signature_alg", Untrusted, "a certificate is signed with a weak hash",
        "A certificate of the chain is signed with SHA-1.",
        "Enrol the EK by hash, or waive `sha1` for the anchor if its vendor signed so.";
    UnsupportedSignatureAlg, "unsupported_signature_alg", Untrusted, "a certificate has an unknown signature algorithm",
        "A certificate of the chain is signed with an algorithm that this verifier does not know or that is broken, such as MD5.",
        "Enrol the EK by hash.";
    BadCertSignature, "bad_cert_signature", Untrusted, "could not verify cert: its signature is wrong",
        "An issuer of the right name exists, but its key did not sign the certificate.",
        "The chain is forged or `ca_path` holds another CA of the same name.";
    UntrustedChain, "untrusted_chain", Untrusted, "could not verify cert",
        "No path leads from the EK certificate to an anchor in `ca_path`.",
        "Add the issuing CA (its name is in the server's log) to `ca_path`, or enrol the EK by hash.";
    ChainLimit, "chain_limit", Limit, "the chain exceeds its limits",
        "More intermediates, a longer path or more signature checks than allowed.",
        "A real agent sends at most four intermediates; look for what sent this.";
    VendorAnchorMismatch, "vendor_anchor_mismatch", Untrusted, "the CA does not vouch for this vendor",
        "The EK certificate names a vendor that is none of those the chain's anchor is bound to.",
        "The certificate is forged or misissued; if not, correct the vendors of the anchor.";
    VendorDenied, "vendor_denied", Denied, "this TPM vendor is not accepted",
        "The vendor that the EK certificate names is not in `vendors`, or it names none.",
        "Extend `vendors`, or enrol the EK by hash.";
    EkRevoked, "ek_revoked", Untrusted, "the EK certificate is revoked",
        "A revocation list in `crl_path` revokes the EK certificate.",
        "The vendor no longer vouches for this TPM; replace it.";
    CaRevoked, "ca_revoked", Untrusted, "a CA certificate is revoked",
        "A revocation list in `crl_path` revokes a CA certificate of the chain.",
        "The vendor no longer vouches for this CA; look for a newer certificate of the TPM.";
    CrlStale, "crl_stale", Untrusted, "a revocation list is out of date",
        "With `crl_policy = \"require\"`: the revocation list for a certificate of the chain was to be replaced before now.",
        "Put the issuer's newer list (its name is in the server's log) into `crl_path`; check the server's clock.";
    CrlMissing, "crl_missing", Untrusted, "a revocation list is missing",
        "With `crl_policy = \"require\"`: no revocation list is about a certificate of the chain.",
        "Put the issuer's list (its name is in the server's log) into `crl_path`.";
    EkDenied, "ek_denied", Denied, "could not validate EK: it is denied",
        "The EK or its certificate is on the list in `ek_deny_path`.",
        "Take it off the list if it should not be there.";
    EkProfileDenied, "ek_profile_denied", Denied, "this kind of EK is not accepted",
        "The EK's type and size are not in `ek_profiles`.",
        "Choose another EK on the agent (`ek`), or extend `ek_profiles`.";
    EkNotAllowed, "ek_not_allowed", Denied, "could not validate EK",
        "The EK's hash is not enrolled in `hash_path`.",
        "Create a file named like the EK's hash in `hash_path`; `tpm-attestor fingerprint` prints it.";
    StoreUnavailable, "store_unavailable", Unavailable, "the enrolment store cannot be read",
        "The hash directory could not be read; unreadable is not the same as absent.",
        "Look at the server's log; check permissions and mounts of `hash_path`.";
    MalformedPublic, "malformed_public", Malformed, "the AK is not valid",
        "The AK's public area is no TPMT_PUBLIC, has reserved attributes or non-canonical widths.",
        "No TPM makes such a key; look for what sent it.";
    AkAttributes, "ak_attributes", Misbehaved, "the AK has wrong attributes",
        "The AK is not a restricted signing key that is fixed to its TPM and parent and was made there.",
        "Use an agent that makes its AK by the documented template.";
    AkScheme, "ak_scheme", Misbehaved, "the AK has a wrong scheme",
        "The AK has no scheme, or one other than RSASSA, RSAPSS or ECDSA with SHA-256, SHA-384 or SHA-512.",
        "Use an agent that makes its AK by the documented template.";
    AkNameAlg, "ak_namealg", Misbehaved, "the AK has a wrong name algorithm",
        "The AK's name algorithm is not SHA-256, SHA-384 or SHA-512.",
        "Use an agent that makes its AK by the documented template.";
    KeyReuse, "key_reuse", Misbehaved, "two keys that must differ are one",
        "AK and EK are the same key, or an SVID key is one of them.",
        "No TPM allows this; look for what sent it.";
    CreationMismatch, "creation_mismatch", Misbehaved, "the AK's creation is not proved",
        "The creation attestation of an agent of the first generation does not match its AK.",
        "Use an agent that certifies its AK's creation; look for what sent it.";
    ProofMismatch, "proof_mismatch", Misbehaved, "incorrect secret",
        "The agent did not open the credential, or its proof is for other messages.",
        "The AK is not in the TPM of the EK, or a message was altered or relayed.";
    UnsolicitedEvidence, "unsolicited_evidence", Malformed, "evidence came that was not asked for",
        "The response carries an event log or certifications that the challenge did not ask for.",
        "No correct agent does this; look for what sent it.";
    MalformedAttest, "malformed_attest", Malformed, "an attestation structure is not valid",
        "The quote or a certification is no TPMS_ATTEST, or bytes follow it.",
        "No TPM makes such a structure; look for what sent it.";
    BadMagic, "bad_magic", Misbehaved, "an attestation structure was not made by a TPM",
        "The attestation structure does not start with TPM_GENERATED.",
        "The structure was made outside a TPM; look for what sent it.";
    WrongAttestType, "wrong_attest_type", Misbehaved, "an attestation structure is of another type",
        "A quote was asked for, or the certification of a key, and the structure says something else.",
        "No correct agent does this; look for what sent it.";
    QualifiedSigner, "qualified_signer", Misbehaved, "the AK is not in the endorsement hierarchy",
        "The qualified signer of the quote or of a certification is not the AK as a primary key of the endorsement hierarchy.",
        "Use an agent that makes its AK by the documented template.";
    NonceMismatch, "nonce_mismatch", Misbehaved, "an attestation structure is for another challenge",
        "The extraData of the quote or of a certification is not what this exchange asks for.",
        "The structure is old or of another exchange; look for what sent it.";
    PcrSelection, "pcr_selection", Misbehaved, "the quote covers other PCRs",
        "The quote's PCR selection is not exactly what the server asked for.",
        "Check with `tpm-attestor doctor` that the TPM has the bank; else change `pcrs` on the server.";
    PcrDigest, "pcr_digest", Misbehaved, "the PCR values do not match the quote",
        "The digest in the quote is not that of the PCR values sent.",
        "No correct agent does this; look for what sent it.";
    SignatureScheme, "signature_scheme", Misbehaved, "a signature has another scheme than its key",
        "The signature's algorithm or hash differs from the AK's scheme.",
        "No TPM does this; look for what sent it.";
    BadSignature, "bad_signature", Misbehaved, "the AK's signature is wrong",
        "The AK did not sign this quote or certification.",
        "The structure was altered or made by another key; look for what sent it.";
    ClockUnsafe, "clock_unsafe", Denied, "the TPM's clock may have gone back",
        "The quote says that the TPM was not shut down orderly, and a profile has `clock_safe`.",
        "Reboot the machine orderly; the clock is safe again at once or within some minutes.";
    FirmwareDenied, "firmware_denied", Denied, "this TPM firmware is not accepted",
        "The firmware version in the quote is in an advisory, or in none of the ranges of a profile, or its maker is not known.",
        "Update the TPM's firmware; or extend the profile's `firmware`, or set `vulnerable_tpms = \"warn\"`.";
    TpmKindDenied, "tpm_kind_denied", Denied, "this kind of TPM is not accepted",
        "The TPM is discrete, firmware or virtual, by its certified vendor, and a profile's `tpm_kinds` does not name that.",
        "Extend `tpm_kinds`; a TPM without a verified certificate is of no known kind.";
    PcrBankInactive, "pcr_bank_inactive", Denied, "the firmware measures nothing",
        "PCRs that firmware always extends have the value of a reset: the quoted bank is enabled and not in use.",
        "Choose the bank that the firmware extends (`pcr_bank`), or enable it in the firmware's setup.";
    PcrPolicy, "pcr_policy", Denied, "the boot state is not an approved one",
        "A PCR has none of the values that a profile lists for it, or was not quoted.",
        "Compare with `tpm-attestor profile diff`; if the change is wanted, add the new value to the profile.";
    EventlogMissing, "eventlog_missing", Denied, "a boot event log is required",
        "A profile needs the boot event log, and the agent has none or sent none.",
        "Let the agent read the log: see `event_log_path`, and whether the kernel has it.";
    EventlogMalformed, "eventlog_malformed", Untrusted, "the boot event log is not valid",
        "The event log is no crypto-agile TCG log, or a structure in it is none.",
        "Look at the log with `tpm-attestor inspect eventlog`.";
    EventlogLimit, "eventlog_limit", Limit, "the boot event log is too large",
        "The event log has more events or bytes than any machine's.",
        "Look at the log with `tpm-attestor inspect eventlog`.";
    EventlogBank, "eventlog_bank", Denied, "the boot event log is of another bank",
        "The event log has no digests of the quoted bank, or of SHA-1 alone.",
        "Choose another `pcr_bank`, or enable the bank in the firmware's setup.";
    EventlogReplay, "eventlog_replay", Untrusted, "the boot event log does not lead to the PCRs",
        "Replaying the event log gives other values than those quoted: something is missing, added or altered.",
        "Look at the log with `tpm-attestor inspect eventlog`; a log of another boot or machine looks like this too.";
    EventlogUntrustedEvent, "eventlog_untrusted_event", Untrusted, "the boot event log has an event that may not be there",
        "An event in PCR 7 has a type that firmware does not use there.",
        "The log was altered, or the firmware departs from the profile; look at it with `tpm-attestor inspect eventlog`.";
    EventlogDigest, "eventlog_digest", Untrusted, "the boot event log says what was not measured",
        "The data of an event does not have the digest that was measured.",
        "The log was altered, or a firmware quirk is not tolerated; see `tolerate`.";
    EventlogDuplicate, "eventlog_duplicate", Untrusted, "the boot event log measures a variable twice",
        "A Secure Boot variable is in the event log more than once.",
        "The log was altered; look at it with `tpm-attestor inspect eventlog`.";
    EventlogOrder, "eventlog_order", Untrusted, "the boot event log is out of order",
        "An event stands where firmware does not measure it: a Secure Boot variable after the separator, or anything after the firmware's end.",
        "The log was altered; look at it with `tpm-attestor inspect eventlog`.";
    EventlogSeparator, "eventlog_separator", Untrusted, "the boot event log has no proper separators",
        "One of PCRs 0 to 7 has no separator, several, or one that reports an error.",
        "The firmware failed while it booted, or the log was altered.";
    SecureBootInconsistent, "secure_boot_inconsistent", Untrusted, "the Secure Boot state contradicts itself",
        "Secure Boot is said to be on, and keys are missing or nothing was verified.",
        "Enrol the platform's keys; look at the log with `tpm-attestor inspect eventlog`.";
    SecureBootDebug, "secure_boot_debug", Denied, "the firmware was in debug mode",
        "The firmware measured that a debugger could have been attached.",
        "Use production firmware, and switch its debug mode off.";
    SecureBootDisabled, "secure_boot_disabled", Denied, "Secure Boot is off",
        "A profile wants Secure Boot, and it is off.",
        "Switch Secure Boot on in the firmware's setup.";
    DbUnexpected, "db_unexpected", Denied, "the Secure Boot keys are not the approved ones",
        "The variable db has an entry that a profile's `db` does not list.",
        "Remove the key from the firmware, or add it to the profile.";
    DbxOutdated, "dbx_outdated", Denied, "the Secure Boot deny list is out of date",
        "The variable dbx lacks an entry that a profile's `dbx` lists.",
        "Update dbx, for instance with `fwupdmgr`.";
    AuthorityUnexpected, "authority_unexpected", Denied, "the boot loader was approved by another key",
        "An image was verified by a key that a profile's `authorities` does not list.",
        "Sign the image with an approved key, or add the key to the profile.";
    BootImageUnexpected, "boot_image_unexpected", Denied, "the boot loader is not an approved one",
        "A program of the boot has an Authenticode digest that a profile's `boot_images` does not list.",
        "Compare with `tpm-attestor profile diff`; if the change is wanted, add the digest to the profile.";
    CommandLinePolicy, "command_line_policy", Denied, "the kernel command line is not an approved one",
        "A profile's `command_line` does not allow the kernel command line, or none was measured.",
        "Compare with `tpm-attestor profile diff`; if the change is wanted, extend the profile.";
    DriverPolicy, "driver_policy", Denied, "an option ROM was loaded",
        "Code that came with a device was measured into PCR 2, and a profile has `option_roms = \"deny\"`.",
        "Disable option ROMs in the firmware's setup, or remove the device.";
    DmaUnprotected, "dma_unprotected", Denied, "protection against DMA is off",
        "The firmware measured that its protection against DMA was off, and a profile has `dma_protection = true`.",
        "Switch it on in the firmware's setup (Intel VT-d, AMD-Vi).";
    ProfileMismatch, "profile_mismatch", Denied, "no profile describes this machine",
        "Each of several profiles refuses the machine, for different reasons; the server's log names them.",
        "Ask `tpm-attestor policy explain` with the machine's evidence.";
    SvidKeyUncertified, "svid_key_uncertified", Denied, "no SVID key in the TPM was certified",
        "With `svid_keys = \"require\"`: the agent offered no key that its TPM could certify.",
        "Use the KeyManager of this plugin on the agent, and name its directory in the attestor's `keys_path`.";
    MalformedSvidKey, "malformed_svid_key", Malformed, "an SVID key is not valid",
        "An offered SVID key or its parent is no TPMT_PUBLIC of a kind that can be one, or a key is offered without its parent.",
        "No TPM makes such a key; look for what sent it.";
    CertifyAttributes, "certify_attributes", Misbehaved, "an SVID key has wrong attributes",
        "A certified key may leave its TPM, was not made there, is restricted, or does more than sign.",
        "Let the KeyManager of this plugin make the key.";
    CertifyName, "certify_name", Misbehaved, "the certification is for another key",
        "The Name in the certification is not that of the SVID key which was offered.",
        "No correct agent does this; look for what sent it.";
    CertifyParent, "certify_parent", Misbehaved, "the SVID key is not below the parent that was offered",
        "The qualified name in the certification does not lead over the offered storage key to the owner hierarchy.",
        "Let the KeyManager of this plugin make the key.";
    CertifyMissing, "certify_missing", Misbehaved, "not every SVID key was certified",
        "The response has fewer or more certifications than SVID keys were offered.",
        "No correct agent does this; look for what sent it.";
    InconsistentEvidence, "inconsistent_evidence", Misbehaved, "quote and certification contradict each other",
        "Firmware version, resetCount or restartCount differ between the quote and a certification of one exchange.",
        "The TPM was reset in between (the agent tries again), or the structures are of different TPMs.";
    CloneSuspected, "clone_suspected", Denied, "the machine may be a copy",
        "The TPM's counters went back though it was not cleared, or a boot came back that was over: two machines share one TPM state.",
        "Find the copy; then `tpm-attestor quarantine accept` the machine.";
    ClockRegressed, "clock_regressed", Denied, "the TPM's clock went back",
        "The TPM's clock is lower than it was though it counts on: an older state of it was restored.",
        "Find out who restored a snapshot; then `tpm-attestor quarantine accept` the machine.";
    TpmCleared, "tpm_cleared", Denied, "the TPM was cleared",
        "The storage root key is another than before, and `tpm_clear = \"quarantine\"`.",
        "If the clear was wanted, `tpm-attestor quarantine accept` the machine.";
    AkChanged, "ak_changed", Denied, "the attestation key is another one",
        "The AK is another than before, and `ak_change = \"quarantine\"`.",
        "If the agent's `ak` was changed, `tpm-attestor quarantine accept` the machine.";
    ResetUnexpected, "reset_unexpected", Denied, "the TPM was reset while the machine ran on",
        "resetCount grew within one boot of the machine, and `unexpected_reset = \"refuse\"`.",
        "Reboot the machine; look for what resets its TPM.";
    Downgrade, "downgrade", Denied, "the machine gave a quote before",
        "A machine that once attested with a quote came without one.",
        "Look for what strips the quote; after a wanted change of the agent, `tpm-attestor quarantine forget` the machine.";
    Quarantined, "quarantined", Denied, "the machine is in quarantine",
        "An earlier attestation put the machine into quarantine.",
        "`tpm-attestor quarantine show` says why; `tpm-attestor quarantine accept` ends it.";
    StateConflict, "state_conflict", Unavailable, "the machine's state changed meanwhile",
        "Attestations of one machine at several servers overtook each other too often.",
        "The agent tries again; look for a second machine with this TPM if it goes on.";
    DatabaseUnavailable, "database_unavailable", Unavailable, "the store of machine states cannot be used",
        "The database in `store` cannot be reached, read or written.",
        "Look at the server's log; check the file or the database server. It is used again when it is back.";
    SvidKeyMismatch, "svid_key_mismatch", Denied, "the SVID's key was not certified",
        "The CredentialComposer found no certification of this key for this agent: it is another key, or the attestation was not just now.",
        "Use the KeyManager of this plugin on the agent; look for who asks with another key.";
    EntropyFailure, "entropy_failure", Bug, "the server could not make a challenge",
        "The operating system's random source failed or returned nothing.",
        "Look at the server's machine; no attestation is possible without entropy.";
    InternalError, "internal_error", Bug, "the server failed",
        "A state that cannot be reached was reached.",
        "Report it with the server's log.";
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn codes_are_distinct_and_snake_case() {
        let codes: BTreeSet<_> = Reason::ALL.iter().map(|reason| reason.code()).collect();
        assert_eq!(codes.len(), Reason::ALL.len());
        let snake = |text: &str| text.chars().all(|c| c.is_ascii_lowercase() || c == '_');
        assert!(codes.iter().all(|code| snake(code) && code.len() <= 40));
    }
}
