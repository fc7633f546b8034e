//! TPM_RC: what a TPM answers instead of a result (TPM library part 2, section 6.6).

use std::fmt;

/// A response code as it stands on the wire.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ResponseCode(pub u32);

impl ResponseCode {
    /// TPM_RC_SUCCESS.
    pub const SUCCESS: Self = Self(0);
    /// TPM_RC_INITIALIZE.
    pub const INITIALIZE: Self = Self(0x100);
    /// TPM_RC_FAILURE.
    pub const FAILURE: Self = Self(0x101);
    /// TPM_RC_CONTEXT_GAP.
    pub const CONTEXT_GAP: Self = Self(0x901);
    /// TPM_RC_OBJECT_MEMORY.
    pub const OBJECT_MEMORY: Self = Self(0x902);
    /// TPM_RC_SESSION_MEMORY.
    pub const SESSION_MEMORY: Self = Self(0x903);
    /// TPM_RC_MEMORY.
    pub const MEMORY: Self = Self(0x904);
    /// TPM_RC_SESSION_HANDLES.
    pub const SESSION_HANDLES: Self = Self(0x905);
    /// TPM_RC_OBJECT_HANDLES.
    pub const OBJECT_HANDLES: Self = Self(0x906);
    /// TPM_RC_YIELDED.
    pub const YIELDED: Self = Self(0x908);
    /// TPM_RC_TESTING.
    pub const TESTING: Self = Self(0x90A);
    /// TPM_RC_NV_RATE.
    pub const NV_RATE: Self = Self(0x920);
    /// TPM_RC_LOCKOUT.
    pub const LOCKOUT: Self = Self(0x921);
    /// TPM_RC_RETRY.
    pub const RETRY: Self = Self(0x922);
    /// TPM_RC_NV_UNAVAILABLE.
    pub const NV_UNAVAILABLE: Self = Self(0x923);

    /// TPM_RC_HANDLE of the first handle: nothing is there.
    pub(crate) const FIRST_HANDLE: Self = Self(0x18B);
    /// TPM_RC_VALUE of the first handle: a handle that the TPM does not have.
    pub(crate) const FIRST_HANDLE_VALUE: Self = Self(0x184);
    /// TPM_RC_VALUE of the first parameter: TPM2_NV_Read was asked for too much at once.
    pub(crate) const SIZE_TOO_LARGE: Self = Self(0x1C4);

    /// The TPM asks for the same command again.
    pub fn is_transient(self) -> bool {
        matches!(
            self,
            Self::YIELDED | Self::TESTING | Self::RETRY | Self::NV_RATE | Self::NV_UNAVAILABLE
        )
    }

    /// The TPM has no room for an object or a session.
    pub fn is_exhaustion(self) -> bool {
        matches!(
            self,
            Self::CONTEXT_GAP
                | Self::OBJECT_MEMORY
                | Self::SESSION_MEMORY
                | Self::MEMORY
                | Self::SESSION_HANDLES
                | Self::OBJECT_HANDLES
        )
    }

    /// A handle of the command names nothing that is loaded.
    pub fn is_lost_handle(self) -> bool {
        self == Self::FIRST_HANDLE_VALUE
            || self.error_of_handle(0x0B)
            || (0x910..=0x916).contains(&self.0)
    }

    /// An authorisation value is wrong: TPM_RC_AUTH_FAIL or TPM_RC_BAD_AUTH.
    pub fn is_wrong_auth(self) -> bool {
        self.is_format_one() && matches!(self.0 & 0x3F, 0x0E | 0x22)
    }

    /// TPM_RC_INTEGRITY: a wrapped structure does not fit the key.
    pub fn is_integrity(self) -> bool {
        self.is_format_one() && self.0 & 0x3F == 0x1F
    }

    /// TPM2_Load cannot unwrap a key: TPM_RC_INTEGRITY, or anything else that it says against the
    /// private part, as TPM_RC_SIZE where the key's parent has another hash.
    pub(crate) fn is_foreign_key(self) -> bool {
        self.is_integrity() || self.subject() == Some(("parameter", 1))
    }

    /// A parameter of the command is wrong.
    pub(crate) fn is_of_parameter(self) -> bool {
        matches!(self.subject(), Some(("parameter", _)))
    }

    /// The name in the TPM library, without the number of a handle, session or parameter.
    pub fn name(self) -> &'static str {
        if self.is_format_one() {
            return name_of(FORMAT_ONE, self.0 & 0x3F);
        }
        match self.0 {
            0x910..=0x916 => "TPM_RC_REFERENCE_H",
            0x918..=0x91E => "TPM_RC_REFERENCE_S",
            code => name_of(FORMAT_ZERO, code),
        }
    }

    fn is_format_one(self) -> bool {
        self.0 & 0x80 != 0 && self.0 < 0x1000
    }

    fn error_of_handle(self, error: u32) -> bool {
        let parameter_or_session = 0x840;
        self.is_format_one() && self.0 & parameter_or_session == 0 && self.0 & 0x3F == error
    }

    /// Which part of the command a code is about.
    fn subject(self) -> Option<(&'static str, u32)> {
        if !self.is_format_one() {
            return None;
        }
        let number = (self.0 >> 8) & 0xF;
        Some(match (self.0 & 0x40 != 0, number) {
            (_, 0) => return None,
            (true, number) => ("parameter", number),
            (false, number) if number >= 8 => ("session", number - 8),
            (false, number) => ("handle", number),
        })
    }
}

impl fmt::Display for ResponseCode {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} ({:#05x}", self.name(), self.0)?;
        if let Some((subject, number)) = self.subject() {
            write!(out, ", {subject} {number}")?;
        }
        write!(out, ")")
    }
}

impl fmt::Debug for ResponseCode {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}

fn name_of(names: &[(u32, &'static str)], code: u32) -> &'static str {
    names
        .iter()
        .find(|(known, _)| *known == code)
        .map_or("unnamed code", |(_, name)| name)
}

const FORMAT_ZERO: &[(u32, &str)] = &[
    (0x000, "TPM_RC_SUCCESS"),
    (0x01E, "TPM_RC_BAD_TAG"),
    (0x100, "TPM_RC_INITIALIZE"),
    (0x101, "TPM_RC_FAILURE"),
    (0x103, "TPM_RC_SEQUENCE"),
    (0x119, "TPM_RC_PRIVATE"),
    (0x120, "TPM_RC_DISABLED"),
    (0x121, "TPM_RC_EXCLUSIVE"),
    (0x124, "TPM_RC_AUTH_TYPE"),
    (0x125, "TPM_RC_AUTH_MISSING"),
    (0x126, "TPM_RC_POLICY"),
    (0x127, "TPM_RC_PCR"),
    (0x128, "TPM_RC_PCR_CHANGED"),
    (0x12D, "TPM_RC_UPGRADE"),
    (0x12E, "TPM_RC_TOO_MANY_CONTEXTS"),
    (0x12F, "TPM_RC_AUTH_UNAVAILABLE"),
    (0x130, "TPM_RC_REBOOT"),
    (0x131, "TPM_RC_UNBALANCED"),
    (0x142, "TPM_RC_COMMAND_SIZE"),
    (0x143, "TPM_RC_COMMAND_CODE"),
    (0x144, "TPM_RC_AUTHSIZE"),
    (0x145, "TPM_RC_AUTH_CONTEXT"),
    (0x146, "TPM_RC_NV_RANGE"),
    (0x147, "TPM_RC_NV_SIZE"),
    (0x148, "TPM_RC_NV_LOCKED"),
    (0x149, "TPM_RC_NV_AUTHORIZATION"),
    (0x14A, "TPM_RC_NV_UNINITIALIZED"),
    (0x14B, "TPM_RC_NV_SPACE"),
    (0x14C, "TPM_RC_NV_DEFINED"),
    (0x150, "TPM_RC_BAD_CONTEXT"),
    (0x151, "TPM_RC_CPHASH"),
    (0x152, "TPM_RC_PARENT"),
    (0x153, "TPM_RC_NEEDS_TEST"),
    (0x154, "TPM_RC_NO_RESULT"),
    (0x155, "TPM_RC_SENSITIVE"),
    (0x901, "TPM_RC_CONTEXT_GAP"),
    (0x902, "TPM_RC_OBJECT_MEMORY"),
    (0x903, "TPM_RC_SESSION_MEMORY"),
    (0x904, "TPM_RC_MEMORY"),
    (0x905, "TPM_RC_SESSION_HANDLES"),
    (0x906, "TPM_RC_OBJECT_HANDLES"),
    (0x907, "TPM_RC_LOCALITY"),
    (0x908, "TPM_RC_YIELDED"),
    (0x909, "TPM_RC_CANCELED"),
    (0x90A, "TPM_RC_TESTING"),
    (0x920, "TPM_RC_NV_RATE"),
    (0x921, "TPM_RC_LOCKOUT"),
    (0x922, "TPM_RC_RETRY"),
    (0x923, "TPM_RC_NV_UNAVAILABLE"),
];

const FORMAT_ONE: &[(u32, &str)] = &[
    (0x01, "TPM_RC_ASYMMETRIC"),
    (0x02, "TPM_RC_ATTRIBUTES"),
    (0x03, "TPM_RC_HASH"),
    (0x04, "TPM_RC_VALUE"),
    (0x05, "TPM_RC_HIERARCHY"),
    (0x07, "TPM_RC_KEY_SIZE"),
    (0x08, "TPM_RC_MGF"),
    (0x09, "TPM_RC_MODE"),
    (0x0A, "TPM_RC_TYPE"),
    (0x0B, "TPM_RC_HANDLE"),
    (0x0C, "TPM_RC_KDF"),
    (0x0D, "TPM_RC_RANGE"),
    (0x0E, "TPM_RC_AUTH_FAIL"),
    (0x0F, "TPM_RC_NONCE"),
    (0x10, "TPM_RC_PP"),
    (0x12, "TPM_RC_SCHEME"),
    (0x15, "TPM_RC_SIZE"),
    (0x16, "TPM_RC_SYMMETRIC"),
    (0x17, "TPM_RC_TAG"),
    (0x18, "TPM_RC_SELECTOR"),
    (0x1A, "TPM_RC_INSUFFICIENT"),
    (0x1B, "TPM_RC_SIGNATURE"),
    (0x1C, "TPM_RC_KEY"),
    (0x1D, "TPM_RC_POLICY_FAIL"),
    (0x1F, "TPM_RC_INTEGRITY"),
    (0x20, "TPM_RC_TICKET"),
    (0x21, "TPM_RC_RESERVED_BITS"),
    (0x22, "TPM_RC_BAD_AUTH"),
    (0x23, "TPM_RC_EXPIRED"),
    (0x24, "TPM_RC_POLICY_CC"),
    (0x25, "TPM_RC_BINDING"),
    (0x26, "TPM_RC_CURVE"),
    (0x27, "TPM_RC_ECC_POINT"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_have_the_library_s_names_and_say_what_they_are_about() {
        for (code, text) in [
            (0x922, "TPM_RC_RETRY (0x922)"),
            (0x18B, "TPM_RC_HANDLE (0x18b, handle 1)"),
            (0x1DF, "TPM_RC_INTEGRITY (0x1df, parameter 1)"),
            (0x98E, "TPM_RC_AUTH_FAIL (0x98e, session 1)"),
            (0x9A2, "TPM_RC_BAD_AUTH (0x9a2, session 1)"),
            (0x2C4, "TPM_RC_VALUE (0x2c4, parameter 2)"),
            (0x911, "TPM_RC_REFERENCE_H (0x911)"),
            (0x101, "TPM_RC_FAILURE (0x101)"),
            (0x8_0001, "unnamed code (0x80001)"),
        ] {
            assert_eq!(ResponseCode(code).to_string(), text);
        }
    }

    #[test]
    fn what_is_said_against_a_parameter_is_told_apart() {
        for (code, of_parameter, foreign) in [
            (0x1DF, true, true),
            (0x09F, false, true),
            (0x1D5, true, true),
            (0x1DA, true, true),
            (0x2D5, true, false),
            (0x1E6, true, true),
            (0x18B, false, false),
            (0x98E, false, false),
            (0x902, false, false),
            (0x143, false, false),
        ] {
            let code = ResponseCode(code);
            assert_eq!(code.is_of_parameter(), of_parameter, "{code}");
            assert_eq!(code.is_foreign_key(), foreign, "{code}");
        }
    }

    #[test]
    fn each_class_has_its_codes_and_no_others() {
        type Class = fn(ResponseCode) -> bool;
        let classes: [(Class, &[u32]); 5] = [
            (
                ResponseCode::is_transient,
                &[0x908, 0x90A, 0x920, 0x922, 0x923],
            ),
            (
                ResponseCode::is_exhaustion,
                &[0x901, 0x902, 0x903, 0x904, 0x905, 0x906],
            ),
            (
                ResponseCode::is_lost_handle,
                &[0x184, 0x18B, 0x28B, 0x38B, 0x910, 0x911, 0x916],
            ),
            (ResponseCode::is_wrong_auth, &[0x98E, 0x9A2]),
            (ResponseCode::is_integrity, &[0x1DF]),
        ];
        for (place, (class, members)) in classes.iter().enumerate() {
            for (other, (_, codes)) in classes.iter().enumerate() {
                for code in *codes {
                    assert_eq!(class(ResponseCode(*code)), place == other, "{code:#x}");
                }
            }
            assert!(!members.is_empty());
            for neither in [0x000, 0x100, 0x101, 0x1C4, 0x1CB, 0x917, 0x921] {
                assert!(!class(ResponseCode(neither)), "{neither:#x}");
            }
        }
    }
}
