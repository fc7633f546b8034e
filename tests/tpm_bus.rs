//! What crosses the bus between a program and its TPM and is in no log: passwords, nonces, HMACs and activated secrets.

use crate::secrets::Secrets;
use crate::tpm_socket::code;

/// `TPM_ST_SESSIONS`
const SESSIONS: u16 = 0x8002;
/// `TPM_RS_PW`
const PASSWORD: u32 = 0x4000_0009;
const HEADER: usize = 10;
const ACTIVATE_CREDENTIAL: u32 = 0x147;
const CERTIFY: u32 = 0x148;
const CREATE: u32 = 0x153;
const QUOTE: u32 = 0x158;
const START_AUTH_SESSION: u32 = 0x176;

/// Learns from a command with so many handles and its answer. What is no command teaches nothing.
pub(crate) fn learn(secrets: &Secrets, command: &[u8], handles: usize, answer: &[u8]) {
    learn_from_command(secrets, command, handles);
    if command.len() >= HEADER && answer.len() >= HEADER && code(answer) == 0 {
        learn_from_answer(secrets, code(command), answer);
    }
}

fn learn_from_command(secrets: &Secrets, command: &[u8], handles: usize) -> Option<()> {
    let mut rest = command;
    let tag = u16::try_from(number(&mut rest, 2)?).ok()?;
    number(&mut rest, 4)?;
    let code = number(&mut rest, 4)?;
    take(&mut rest, 4 * handles)?;
    if tag == SESSIONS {
        let size = usize::try_from(number(&mut rest, 4)?).ok()?;
        let mut area = take(&mut rest, size)?;
        while !area.is_empty() {
            let session = number(&mut area, 4)?;
            secrets.learn("a session's nonce", sized(&mut area)?);
            take(&mut area, 1)?;
            let kind = if session == PASSWORD {
                "a password"
            } else {
                "a session's HMAC"
            };
            secrets.learn(kind, sized(&mut area)?);
        }
    }
    match code {
        CERTIFY => secrets.learn("a certification's binding", sized(&mut rest)?),
        QUOTE => secrets.learn("a quote's binding", sized(&mut rest)?),
        START_AUTH_SESSION => secrets.learn("a session's nonce", sized(&mut rest)?),
        _ => {}
    }
    Some(())
}

fn learn_from_answer(secrets: &Secrets, code: u32, answer: &[u8]) -> Option<()> {
    let mut rest = &answer[HEADER..];
    match code {
        ACTIVATE_CREDENTIAL => {
            number(&mut rest, 4)?;
            // Encrypted in a salted session, and even so in no log.
            secrets.learn("an activated secret", sized(&mut rest)?);
        }
        CREATE => {
            number(&mut rest, 4)?;
            // Encrypted, and even so in no log.
            secrets.learn("a wrapped key", sized(&mut rest)?);
        }
        START_AUTH_SESSION => {
            number(&mut rest, 4)?;
            secrets.learn("a session's nonce", sized(&mut rest)?);
        }
        _ => {}
    }
    Some(())
}

fn take<'a>(rest: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
    let (taken, left) = rest.split_at_checked(count)?;
    *rest = left;
    Some(taken)
}

fn number(rest: &mut &[u8], width: usize) -> Option<u32> {
    let bytes = take(rest, width)?.iter();
    Some(bytes.fold(0, |number, byte| number << 8 | u32::from(*byte)))
}

fn sized<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let size = usize::try_from(number(rest, 2)?).ok()?;
    take(rest, size)
}
