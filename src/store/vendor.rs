//! The makers of TPMs by the names under which they are registered.

use verify::Vendor;

/// The vendor of a registered name, such as `IFX`, or of `id:` and eight hex digits. A name that is not
/// registered is none: it would be a slip of the pen, and no TPM would ever have it.
pub fn vendor(name: &str) -> Option<Vendor> {
    if name.starts_with("id:") {
        return Vendor::from_name(name);
    }
    registered().find(|vendor| vendor.to_string() == name)
}

/// The registered names.
pub fn vendor_names() -> Vec<String> {
    registered().map(|vendor| vendor.to_string()).collect()
}

fn registered() -> impl Iterator<Item = Vendor> {
    REGISTERED.into_iter().map(|id| Vendor(*id))
}

/// TCG TPM Vendor ID Registry 1.06, and those added since that have certificates in circulation.
const REGISTERED: [&[u8; 4]; 29] = [
    b"AMD\0", b"ANT\0", b"ATML", b"BRCM", b"CSCO", b"FLYS", b"GOOG", b"HISI", b"HPE\0", b"HPI\0",
    b"IBM\0", b"IFX\0", b"INTC", b"LEN\0", b"MSFT", b"NSG\0", b"NSM ", b"NTC\0", b"NTZ\0", b"QCOM",
    b"ROCC", b"SEAL", b"SECE", b"SMSC", b"SMSN", b"SNS\0", b"STM ", b"TXN\0", b"WEC\0",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_that_selectors_show() {
        for (name, id) in [
            ("IFX", Some(b"IFX\0")),
            ("STM", Some(b"STM ")),
            ("INTC", Some(b"INTC")),
            ("id:00001014", Some(b"\0\0\x10\x14")),
            ("id:53544D20", Some(b"STM ")),
            ("INFX", None),
            ("ifx", None),
            ("STM ", None),
            ("id:1014", None),
            ("", None),
        ] {
            assert_eq!(vendor(name), id.map(|id| Vendor(*id)), "{name}");
        }
        for name in vendor_names() {
            assert_eq!(vendor(&name).unwrap().to_string(), name);
        }
    }
}
