//! Addresses of databases: a password is shown to nobody, wherever and however it is written.

use store::{DatabaseAddress, NoDatabaseAddress};

use crate::parts::Parts;
use crate::shown::assert_shown;

/// Any text; or a URL of parts, with a password that it names or that is written into it: with another one in its place
/// the same is told.
pub(crate) fn database_address(data: &[u8]) {
    let mut parts = Parts::of(data);
    let shape = parts.byte();
    let mut text = || String::from_utf8_lossy(parts.next()).into_owned();
    let (before, after) = (text(), text());
    if shape & 1 == 0 {
        drop(parse(&text(), &before));
        return;
    }
    let others = [text(), text(), text()];
    let [user, host, rest] = &others;
    let is_variable = shape & 4 == 0;
    let told = |middle: &str| {
        let password = format!("{before}{middle}{after}");
        let written = match (is_variable, shape & 2) {
            (true, 0) => VARIABLE.to_owned(),
            (true, _) => format!("a{VARIABLE}b{VARIABLE}"),
            (false, 0) => password.clone(),
            (false, _) => percent_encoded(&password),
        };
        let address = format!("postgres://{user}:{written}@{host}/{rest}");
        match parse(&address, &password) {
            Ok(parsed) => format!("{parsed} {parsed:?}"),
            Err(problem) => format!("{problem} {problem:?}"),
        }
    };
    // It is no password where it is asked for elsewhere, too, or behind a character that ends the place for one, or as the
    // name of a variable.
    let is_elsewhere = others.iter().any(|other| other.contains(VARIABLE));
    let ends = |text: &String| text.contains(['/', '\\', '?', '#']) || text.contains("${");
    let is_written = !is_variable && shape & 2 == 0;
    let is_cut = ends(user) || (is_written && [&before, &after].into_iter().any(ends));
    if !is_elsewhere && !is_cut {
        assert_eq!(told("zQ9kV"), told("yW8jU"));
    }
}

const VARIABLE: &str = "${PASSWORD}";

fn percent_encoded(text: &str) -> String {
    let digit = |value: u8| char::from(b"0123456789ABCDEF"[usize::from(value)]);
    let bytes = text.bytes();
    bytes
        .flat_map(|byte| ['%', digit(byte >> 4), digit(byte & 15)])
        .collect()
}

/// The same twice, and sentences that fool nobody.
fn parse(text: &str, password: &str) -> Result<DatabaseAddress, NoDatabaseAddress> {
    let lookup = |name: &str| (name == "PASSWORD").then(|| password.to_owned());
    let outcome = DatabaseAddress::parse(text, lookup);
    let again = DatabaseAddress::parse(text, lookup);
    assert_eq!(format!("{outcome:?}"), format!("{again:?}"));
    match &outcome {
        Ok(address) if address.is_postgres() => {
            assert!(!address.to_string().contains(char::is_control));
        }
        Ok(address) => assert_eq!(address.to_string(), text, "a path"),
        // A path is the operator's own, and told as it is.
        Err(_) if text.starts_with('/') => {}
        // The name of a variable is as long as it is.
        Err(problem) => assert_shown(&problem.to_string(), 160 + text.len()),
    }
    outcome
}

/// Paths and URLs, good ones and slips.
pub(crate) mod seeds {
    use crate::parts::part;

    pub(crate) fn database_address() -> Vec<Vec<u8>> {
        let raw = [
            "/dev/shm/store.sqlite3",
            "/nonexistent/store",
            "/",
            "postgresql://spire:${PASSWORD}@[::1]:5433/spire?sslmode=verify-ca&sslrootcert=/etc/ca.pem",
            "postgres://u@h/d?host=/run/postgresql",
            "postgres://u:p@h/d?password=x",
            "postgres://u:${NONE}@h/d#x",
        ];
        let raw =
            raw.map(|text| [&[0], &*part(b"a"), &part(b"b"), &part(text.as_bytes())].concat());
        let url = |shape: u8, password: [&str; 2], others: [&str; 3]| {
            let texts = password.into_iter().chain(others);
            let parts: Vec<_> = texts.map(|text| part(text.as_bytes())).collect();
            [&[shape], &*parts.concat()].concat()
        };
        let built = [
            url(
                1,
                ["s3:/?#[]@!$&'()*+,;=% ", "\"\\ü"],
                ["u", "db.example.org", "d"],
            ),
            url(
                3,
                ["${USER}", ""],
                ["us%65r", "192.0.2.1:5433", "d?sslmode=require"],
            ),
            url(5, ["a", "b"], ["u", "h", "d?sslcert=/c&sslkey=/k"]),
            url(7, ["é", "ß"], ["u", "h", "d"]),
            url(5, ["a", "b"], ["u", "h:port", "d"]),
        ];
        raw.into_iter().chain(built).collect()
    }
}
