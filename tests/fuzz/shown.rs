//! What may reach a log or an operator: printable ASCII of bounded length.

/// Whoever reads a log must not be fooled by what a peer sent.
pub(crate) fn assert_shown(text: &str, limit: usize) {
    assert!(text.len() <= limit, "{} bytes of {text:?}", text.len());
    let odd = text.bytes().find(|byte| !(b' '..=b'~').contains(byte));
    assert_eq!(odd, None, "{text:?}");
}

/// A debug format of what holds a secret shows it in no form.
pub(crate) fn assert_hidden(secret: &[u8], debug: &str) {
    // Shorter ones are found in anything.
    if secret.len() < 8 {
        return;
    }
    let decimals = format!("{secret:?}");
    let forms = [
        hex::encode(secret),
        crate::messages::base64(secret),
        decimals,
    ];
    for form in forms {
        assert!(!debug.contains(form.as_str()), "{debug} shows {form}");
    }
}
