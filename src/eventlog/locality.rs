//! TCG_EfiStartupLocalityEvent: where TPM2_Startup came from, which decides what PCR 0 starts as (PFP 1.06, section
//! 10.4.5.3).

/// The locality of an EV_NO_ACTION event's data; `None` where it is another event.
///
/// # Errors
/// The data says that it is one, and is not of its size.
pub(crate) fn parse(data: &[u8]) -> Result<Option<u8>, &'static str> {
    match data.strip_prefix(SIGNATURE) {
        None => Ok(None),
        Some([locality]) => Ok(Some(*locality)),
        Some(_) => Err("a startup locality is not one byte"),
    }
}

const SIGNATURE: &[u8] = b"StartupLocality\0";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_locality_is_one_byte_behind_its_signature() {
        let is = |data: &[u8]| parse(data);
        assert_eq!(is(b"StartupLocality\0\x03"), Ok(Some(3)));
        assert_eq!(is(b"StartupLocality\x03"), Ok(None));
        assert_eq!(is(b"SP800-155 Event\0\x03"), Ok(None));
        assert_eq!(is(b""), Ok(None));
        for wrong in [&b"StartupLocality\0"[..], b"StartupLocality\0\x03\0"] {
            assert!(is(wrong).is_err(), "tpm/F27: {wrong:?}");
        }
    }
}
