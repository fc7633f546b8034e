//! The known name that somebody who wrote another one probably meant.

/// A hint that ends a sentence about an unknown name, if one of `known` is near enough.
pub fn hint(written: &str, known: &[&str]) -> Option<String> {
    // Longer than any name we have, and the distance costs the product of both lengths.
    if written.len() > LONGEST_COMPARED {
        return None;
    }
    if let Some(name) = known.iter().find(|name| name.eq_ignore_ascii_case(written)) {
        return Some(format!("write \"{name}\": upper and lower case matter"));
    }
    let nearest = known
        .iter()
        .map(|name| (strsim::damerau_levenshtein(written, name), name))
        .min()?;
    let (distance, name) = nearest;
    (distance <= tolerated(name)).then(|| format!("did you mean \"{name}\"?"))
}

/// The longest name for which a hint is looked up, in bytes.
const LONGEST_COMPARED: usize = 64;

/// One slip in short names, one in three characters in longer ones.
fn tolerated(name: &str) -> usize {
    name.len().div_euclid(3).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hints() {
        let known = ["ca_path", "hash_path", "ak"];
        for (written, expect) in [
            (
                "CA_Path",
                Some("write \"ca_path\": upper and lower case matter"),
            ),
            ("capath", Some("did you mean \"ca_path\"?")),
            ("hahs_path", Some("did you mean \"hash_path\"?")),
            ("ka", Some("did you mean \"ak\"?")),
            ("xyz", None),
            ("", None),
        ] {
            assert_eq!(hint(written, &known).as_deref(), expect, "{written}");
        }
        assert_eq!(hint("x", &[]), None);
    }

    #[test]
    fn long_names_are_not_compared() {
        for (length, found) in [(64, true), (65, false)] {
            let (written, known) = ("x".repeat(length), "x".repeat(length + 1));
            assert_eq!(
                hint(&written, &[known.as_str()]).is_some(),
                found,
                "{length}"
            );
        }
    }
}
