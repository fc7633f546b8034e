//! TPM commands as bytes, enough of them to see what a TPM does.

use tests::TpmSocket;

pub(crate) const CC_CREATE_PRIMARY: u32 = 0x131;
pub(crate) const CC_FLUSH_CONTEXT: u32 = 0x165;
pub(crate) const CC_READ_PUBLIC: u32 = 0x173;
pub(crate) const CC_START_AUTH_SESSION: u32 = 0x176;
pub(crate) const CC_GET_CAPABILITY: u32 = 0x17A;
pub(crate) const CC_POLICY_GET_DIGEST: u32 = 0x189;

pub(crate) const CAP_HANDLES: u32 = 1;
pub(crate) const CAP_TPM_PROPERTIES: u32 = 6;
pub(crate) const PT_FIXED: u32 = 0x100;

/// A command without authorisations.
pub(crate) fn command(code: u32, body: &[u8]) -> Vec<u8> {
    tagged(0x8001, code, body)
}

pub(crate) fn tagged(tag: u16, code: u32, body: &[u8]) -> Vec<u8> {
    let size = u32::try_from(10 + body.len()).unwrap();
    [
        &tag.to_be_bytes()[..],
        &size.to_be_bytes(),
        &code.to_be_bytes(),
        body,
    ]
    .concat()
}

pub(crate) fn word(bytes: &[u8], offset: usize) -> u32 {
    u32::from_be_bytes(bytes[offset..offset + 4].try_into().unwrap())
}

/// The response code of an answer.
pub(crate) fn code(answer: &[u8]) -> u32 {
    word(answer, 6)
}

pub(crate) fn get_capability(capability: u32, property: u32) -> Vec<u8> {
    command(
        CC_GET_CAPABILITY,
        &[capability, property, 64].map(u32::to_be_bytes).concat(),
    )
}

/// CreatePrimary of a P-256 signing key in the owner hierarchy.
pub(crate) fn create_primary() -> Vec<u8> {
    let password = [0x4000_0009_u32.to_be_bytes().as_slice(), &[0; 5]].concat();
    let public = [
        &[0x00, 0x23, 0x00, 0x0B][..],  // ECC, name algorithm SHA-256
        &0x0004_0072_u32.to_be_bytes(), // fixed, sensitiveDataOrigin, userWithAuth, sign
        &[0, 0],                        // no policy
        &[0x00, 0x10],                  // no symmetric algorithm
        &[0x00, 0x18, 0x00, 0x0B],      // ECDSA, SHA-256
        &[0x00, 0x03, 0x00, 0x10],      // P-256, no KDF
        &[0; 4],                        // empty point
    ]
    .concat();
    let body = [
        &0x4000_0001_u32.to_be_bytes()[..],
        &u32::try_from(password.len()).unwrap().to_be_bytes(),
        &password,
        &[0, 4, 0, 0, 0, 0],
        &u16::try_from(public.len()).unwrap().to_be_bytes(),
        &public,
        &[0; 6],
    ]
    .concat();
    tagged(0x8002, CC_CREATE_PRIMARY, &body)
}

/// An unbound, unsalted policy session with SHA-256.
pub(crate) fn start_policy_session() -> Vec<u8> {
    let null = 0x4000_0007_u32.to_be_bytes();
    let nonce = [&[0, 16][..], &[7; 16]].concat();
    command(
        CC_START_AUTH_SESSION,
        &[&null[..], &null, &nonce, &[0, 0, 1, 0, 0x10, 0, 0x0B]].concat(),
    )
}

/// Creates a key and returns its handle.
pub(crate) fn create_key(tpm: &mut TpmSocket) -> u32 {
    let answer = tpm.transmit(&create_primary()).unwrap();
    assert_eq!(code(&answer), 0);
    word(&answer, 10)
}

pub(crate) fn read_public(tpm: &mut TpmSocket, handle: u32) -> Vec<u8> {
    tpm.transmit(&command(CC_READ_PUBLIC, &handle.to_be_bytes()))
        .unwrap()
}

/// The handles that the TPM lists from `first` on, up to 64.
pub(crate) fn handles(tpm: &mut TpmSocket, first: u32) -> Vec<u32> {
    let answer = tpm.transmit(&get_capability(CAP_HANDLES, first)).unwrap();
    assert_eq!(code(&answer), 0);
    answer[19..]
        .chunks_exact(4)
        .map(|chunk| word(chunk, 0))
        .collect()
}
