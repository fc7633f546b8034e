//! Where a database is: the path of an SQLite file, or the URL of a PostgreSQL database whose password nobody gets to see.

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use sqlx::postgres::{PgConnectOptions, PgSslMode};
use url::{Host, Url};

/// Where a database is. Shown without its password.
#[derive(Clone)]
pub struct DatabaseAddress {
    place: Place,
    shown: String,
}

#[derive(Clone)]
pub(crate) enum Place {
    Sqlite(PathBuf),
    Postgres(Box<PgConnectOptions>),
}

/// A text that is no address of a database. Says what is wrong with it, and nothing that may be a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NoDatabaseAddress(String);

impl DatabaseAddress {
    /// Takes an absolute path, whose directory must exist, or a URL: `postgres://user:password@host:port/database`, with
    /// the parameters `host` (the directory of a socket, instead of the host before), `sslmode`, `sslrootcert`, `sslcert` and `sslkey`.
    ///
    /// `${NAME}` in a URL stands for the value that `lookup` has for the name, which may hold any characters. Without
    /// `sslmode` a host that is not this machine has to prove who it is (`verify-full`).
    pub fn parse(
        text: &str,
        lookup: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, NoDatabaseAddress> {
        if text.starts_with('/') {
            let path = PathBuf::from(text);
            check_directory(&path).map_err(NoDatabaseAddress)?;
            return Ok(Self {
                place: Place::Sqlite(path),
                shown: text.to_owned(),
            });
        }
        if !SCHEMES.iter().any(|scheme| text.starts_with(scheme)) {
            return Err(no("is neither an absolute path nor a postgres:// URL"));
        }
        let url = substituted(text, lookup)?;
        // The error is one of a few sentences without any of the text.
        let url = Url::parse(&url).map_err(|error| no(format!("is no URL: {error}")))?;
        let server = Server::of(&url)?;
        Ok(Self {
            shown: server.shown(),
            place: Place::Postgres(Box::new(server.options()?)),
        })
    }

    /// Whether it is a PostgreSQL database.
    pub fn is_postgres(&self) -> bool {
        matches!(self.place, Place::Postgres(_))
    }

    pub(crate) fn place(&self) -> &Place {
        &self.place
    }
}

impl fmt::Display for DatabaseAddress {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.shown)
    }
}

impl fmt::Debug for DatabaseAddress {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "DatabaseAddress({self})")
    }
}

/// A file can be made beside its log and the memory that its users share: not on a network file system
/// (sqlite.org/wal.html, section 1).
pub(crate) fn check_directory(path: &Path) -> Result<(), String> {
    let (Some(directory), Some(_)) = (path.parent(), path.file_name()) else {
        return Err("is not the path of a file".to_owned());
    };
    let shown = directory.display();
    match directory.metadata() {
        Ok(metadata) if metadata.is_dir() => {}
        Ok(_) => return Err(format!("{shown} is not a directory")),
        Err(error) => return Err(format!("{shown}: {error}")),
    }
    if path.is_dir() {
        return Err(format!("{} is a directory", path.display()));
    }
    let kind = rustix::fs::statfs(directory).map(|found| u32::try_from(found.f_type));
    match kind {
        Ok(Ok(kind)) if NETWORK_FILE_SYSTEMS.contains(&kind) => Err(format!(
            "{shown} is on a network file system, where SQLite cannot share a file"
        )),
        _ => Ok(()),
    }
}

/// What a URL says, percent-decoded.
struct Server<'a> {
    user: Cow<'a, str>,
    password: Option<Cow<'a, str>>,
    host: String,
    port: u16,
    database: Cow<'a, str>,
    parameters: Vec<(Parameter, String)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Parameter {
    Host,
    SslMode,
    SslRootCert,
    SslCert,
    SslKey,
}

impl<'a> Server<'a> {
    fn of(url: &'a Url) -> Result<Self, NoDatabaseAddress> {
        if url.fragment().is_some() {
            return Err(no("has a # that is not written as %23"));
        }
        let host = match url.host() {
            None => return Err(no("needs a host")),
            Some(Host::Domain(name)) => decoded("host", name)?.into_owned(),
            Some(Host::Ipv4(address)) => address.to_string(),
            Some(Host::Ipv6(address)) => address.to_string(),
        };
        let database = url.path().strip_prefix('/').unwrap_or_default();
        let server = Self {
            user: decoded("user", url.username())?,
            password: url
                .password()
                .map(|password| decoded("password", password))
                .transpose()?,
            host,
            port: url.port().unwrap_or(PORT),
            database: decoded("database", database)?,
            parameters: parameters(url)?,
        };
        if server.user.is_empty() || server.database.is_empty() {
            return Err(no("needs a user and the name of a database"));
        }
        if server.parameter(Parameter::Host).is_some() && server.socket().is_none() {
            return Err(no("has a parameter host that is not an absolute path"));
        }
        Ok(server)
    }

    fn parameter(&self, wanted: Parameter) -> Option<&str> {
        let mut parameters = self.parameters.iter();
        let found = parameters.find(|(parameter, _)| *parameter == wanted);
        found.map(|(_, value)| value.as_str())
    }

    fn options(&self) -> Result<PgConnectOptions, NoDatabaseAddress> {
        let mut options = PgConnectOptions::new_without_pgpass()
            .host(&self.host)
            .port(self.port)
            .username(&self.user)
            .database(&self.database)
            .application_name("tpm-attestor")
            .ssl_mode(self.ssl_mode()?);
        if let Some(directory) = self.socket() {
            options = options.socket(directory);
        }
        if let Some(password) = &self.password {
            options = options.password(password);
        }
        if let Some(path) = self.parameter(Parameter::SslRootCert) {
            options = options.ssl_root_cert(path);
        }
        match (
            self.parameter(Parameter::SslCert),
            self.parameter(Parameter::SslKey),
        ) {
            (None, None) => Ok(options),
            (Some(certificate), Some(key)) => {
                Ok(options.ssl_client_cert(certificate).ssl_client_key(key))
            }
            _ => Err(no("needs both sslcert and sslkey, or none of them")),
        }
    }

    fn ssl_mode(&self) -> Result<PgSslMode, NoDatabaseAddress> {
        match self.parameter(Parameter::SslMode) {
            None if self.is_here() => Ok(PgSslMode::Disable),
            None | Some("verify-full") => Ok(PgSslMode::VerifyFull),
            Some("verify-ca") => Ok(PgSslMode::VerifyCa),
            Some("require") => Ok(PgSslMode::Require),
            Some("disable") => Ok(PgSslMode::Disable),
            Some(_) => Err(no(
                "has an sslmode that is none of verify-full, verify-ca, require and disable",
            )),
        }
    }

    /// Whether the server is on this machine.
    fn is_here(&self) -> bool {
        let is_loopback = |host: &str| match host.parse::<IpAddr>() {
            Ok(address) => address.is_loopback(),
            Err(_) => host == "localhost",
        };
        self.socket().is_some() || is_loopback(&self.host)
    }

    /// The directory of a unix socket, which both places for a host may name.
    fn socket(&self) -> Option<&str> {
        let named = self.parameter(Parameter::Host).unwrap_or(&self.host);
        named.starts_with('/').then_some(named)
    }

    fn shown(&self) -> String {
        let host = self.socket().unwrap_or(&self.host).escape_debug();
        let (user, database) = (self.user.escape_debug(), self.database.escape_debug());
        format!("postgres://{user}@{host}:{}/{database}", self.port)
    }
}

/// A parameter that is not known is an error: it may be a slip that leaves the connection unprotected.
fn parameters(url: &Url) -> Result<Vec<(Parameter, String)>, NoDatabaseAddress> {
    let mut found: Vec<(Parameter, String)> = Vec::new();
    for (name, value) in url.query_pairs() {
        let known = PARAMETERS.iter().find(|(known, _)| *known == name);
        let Some((name, parameter)) = known else {
            let names: Vec<_> = PARAMETERS.iter().map(|(name, _)| *name).collect();
            return Err(no(format!(
                "has a parameter that is none of {}",
                names.join(", ")
            )));
        };
        if found.iter().any(|(before, _)| before == parameter) {
            return Err(no(format!("has the parameter {name} twice")));
        }
        found.push((*parameter, value.into_owned()));
    }
    Ok(found)
}

fn substituted(
    text: &str,
    lookup: impl Fn(&str) -> Option<String>,
) -> Result<String, NoDatabaseAddress> {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        let (name, after) = after
            .split_once('}')
            .filter(|(name, _)| is_name(name))
            .ok_or_else(|| no("has a ${ without the name of a variable and a } after it"))?;
        let value = lookup(name).filter(|value| !value.is_empty());
        let value = value.ok_or_else(|| {
            no(format!(
                "needs the environment variable {name}, which is not set"
            ))
        })?;
        out.push_str(before);
        out.extend(utf8_percent_encode(&value, RESERVED));
        rest = after;
    }
    Ok(out + rest)
}

/// As a shell has it (POSIX, Base Definitions, 3.216).
fn is_name(name: &str) -> bool {
    let mut characters = name.chars();
    let starts = characters
        .next()
        .is_some_and(|first| first.is_ascii_alphabetic() || first == '_');
    starts && characters.all(|next| next.is_ascii_alphanumeric() || next == '_')
}

fn decoded<'a>(part: &str, text: &'a str) -> Result<Cow<'a, str>, NoDatabaseAddress> {
    let decoded = percent_decode_str(text).decode_utf8();
    decoded
        .ok()
        .filter(|text| !text.contains('\0'))
        .ok_or_else(|| no(format!("has a {part} that is not text")))
}

fn no(problem: impl Into<String>) -> NoDatabaseAddress {
    NoDatabaseAddress(problem.into())
}

const SCHEMES: [&str; 2] = ["postgres://", "postgresql://"];

const PORT: u16 = 5432;

const PARAMETERS: [(&str, Parameter); 5] = [
    ("host", Parameter::Host),
    ("sslmode", Parameter::SslMode),
    ("sslrootcert", Parameter::SslRootCert),
    ("sslcert", Parameter::SslCert),
    ("sslkey", Parameter::SslKey),
];

/// All but the unreserved characters (RFC 3986, section 2.3).
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// Their magic numbers in `linux/magic.h` and their own headers: NFS, three of SMB, Ceph, two of AFS, Coda, 9P, OCFS2,
/// GFS2, Lustre, GPFS.
const NETWORK_FILE_SYSTEMS: [u32; 13] = [
    0x6969,
    0x517B,
    0xFF53_4D42,
    0xFE53_4D42,
    0x00C3_6400,
    0x5346_414F,
    0x6B41_4653,
    0x7375_7245,
    0x0102_1997,
    0x7461_636F,
    0x0116_1970,
    0x0BD0_0BD0,
    0x4750_4653,
];

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    fn parse(text: &str) -> Result<DatabaseAddress, NoDatabaseAddress> {
        DatabaseAddress::parse(text, |name| match name {
            "PASSWORD" | "_p1" => Some("s3:/?#[]@!$&'()*+,;=% ${USER}\\\"ü".to_owned()),
            "HOST" => Some("db.example.org".to_owned()),
            "EMPTY" => Some(String::new()),
            _ => None,
        })
    }

    fn options(text: &str) -> PgConnectOptions {
        match parse(text).unwrap().place {
            Place::Postgres(options) => *options,
            Place::Sqlite(path) => panic!("{}", path.display()),
        }
    }

    /// What sqlx does not show it has in its own Debug.
    fn has_password(options: &PgConnectOptions, password: &str) -> bool {
        format!("{options:?}").contains(&format!("password: Some({password:?})"))
    }

    #[test]
    fn a_path_is_a_file_in_a_directory() {
        let directory = TempDir::new().unwrap();
        let file = directory.path().join("a file ${HOME}?x.sqlite3");
        let text = file.to_str().unwrap();
        let address = parse(text).unwrap();
        assert_eq!(address.to_string(), text);
        assert!(!address.is_postgres());
        assert!(matches!(&address.place, Place::Sqlite(path) if *path == file));
        std::fs::write(&file, "").unwrap();
        assert!(parse(text).is_ok(), "it may be there");
        for (text, expect) in [
            (format!("{text}/below"), "is not a directory"),
            (
                format!("{}/none/file", directory.path().display()),
                "No such file",
            ),
            (directory.path().display().to_string(), "is a directory"),
            ("/".to_owned(), "is not the path of a file"),
            ("store.sqlite3".to_owned(), "neither an absolute path"),
            (String::new(), "neither an absolute path"),
            (
                "sqlite:///store.sqlite3".to_owned(),
                "neither an absolute path",
            ),
            ("mysql://a@b/c".to_owned(), "neither an absolute path"),
            ("${URL}".to_owned(), "neither an absolute path"),
        ] {
            let told = parse(&text).unwrap_err().to_string();
            assert!(told.contains(expect), "{text}: {told}");
        }
    }

    #[test]
    fn a_url_names_everything_but_the_password() {
        for scheme in SCHEMES {
            let text = format!("{scheme}us%65r:s3cr%65t@db.example.org:5433/sp%69re");
            let address = parse(&text).unwrap();
            assert!(address.is_postgres());
            let expect = "postgres://user@db.example.org:5433/spire";
            assert_eq!(address.to_string(), expect);
            assert_eq!(format!("{address:?}"), format!("DatabaseAddress({expect})"));
            let options = options(&text);
            assert_eq!(options.get_host(), "db.example.org");
            assert_eq!((options.get_port(), options.get_username()), (5433, "user"));
            assert_eq!(options.get_database(), Some("spire"));
            assert!(has_password(&options, "s3cret"));
        }
        assert_eq!(options("postgres://u@h/d").get_port(), 5432);
        assert_eq!(options("postgres://u@[::1]/d").get_host(), "::1");
        let socket = "postgres://u@ignored/d?host=/run/postgresql";
        assert_eq!(
            parse(socket).unwrap().to_string(),
            "postgres://u@/run/postgresql:5432/d"
        );
    }

    #[test]
    fn a_variable_may_hold_any_characters() {
        let value = "s3:/?#[]@!$&'()*+,;=% ${USER}\\\"ü";
        for text in ["postgres://u:${PASSWORD}@h/d", "postgres://u:${_p1}@h/d"] {
            assert!(has_password(&options(text), value), "{text}");
            let shown = format!("{0} {0:?}", parse(text).unwrap());
            assert!(!shown.contains("s3"), "{shown}");
        }
        let two = options("postgres://u:a${PASSWORD}z@${HOST}/d");
        assert!(has_password(&two, &format!("a{value}z")));
        assert_eq!(two.get_host(), "db.example.org");
        assert!(has_password(&options("postgres://u:$a$%7Bb@h/d"), "$a${b"));
    }

    #[test]
    fn slips_are_told_without_what_may_be_secret() {
        for (text, expect) in [
            ("postgres://u:s3cret${NONE}@h/d", "NONE"),
            ("postgres://u:s3cret${EMPTY}@h/d", "EMPTY"),
            ("postgres://u:s3cret${}@h/d", "${"),
            ("postgres://u:s3cret${PASSWORD@h/d", "${"),
            ("postgres://u:s3cret${1a}@h/d", "${"),
            ("postgres://u:s3cret${s3cret-a}@h/d", "${"),
            ("postgres://u:s3cret@h:port/d", "invalid port"),
            ("postgres://u:s3cret@/d", "empty host"),
            ("postgres:///d", "needs a host"),
            ("postgres://h/d", "needs a user"),
            ("postgres://:s3cret@h/d", "needs a user"),
            ("postgres://u:s3cret@h", "the name of a database"),
            ("postgres://u:s3cret@h/", "the name of a database"),
            ("postgres://u:s3cret@h/d#s3cret", "%23"),
            ("postgres://u:s3cret%FF@h/d", "a password that is not text"),
            ("postgres://u:s3cret%00@h/d", "a password that is not text"),
            ("postgres://u:s3cret@h/d?pasword=s3cret", "none of host"),
            ("postgres://u@h/d?password=s3cret", "none of host"),
            ("postgres://u@h/d?options=s3cret", "none of host"),
            (
                "postgres://u:s3cret@h/d?SSLMODE=verify-full",
                "none of host",
            ),
            ("postgres://u:s3cret@h/d?sslmode=prefer", "verify-full"),
            ("postgres://u:s3cret@h/d?sslmode=", "verify-full"),
            (
                "postgres://u:s3cret@h/d?sslmode=require&sslmode=disable",
                "twice",
            ),
            ("postgres://u:s3cret@h/d?host=s3cret", "absolute path"),
            (
                "postgres://u:s3cret@h/d?sslcert=/c",
                "both sslcert and sslkey",
            ),
            (
                "postgres://u:s3cret@h/d?sslkey=/k",
                "both sslcert and sslkey",
            ),
        ] {
            let told = parse(text).unwrap_err();
            let shown = format!("{told} {told:?}");
            assert!(shown.contains(expect), "{text}: {shown}");
            assert!(!shown.contains("s3cret"), "{text}: {shown}");
        }
    }

    #[test]
    fn a_server_elsewhere_proves_who_it_is_unless_told_otherwise() {
        for (rest, expect) in [
            ("db.example.org/d", "VerifyFull"),
            ("192.0.2.1/d", "VerifyFull"),
            ("localhost.example.org/d", "VerifyFull"),
            ("db.example.org/d?sslmode=verify-full", "VerifyFull"),
            ("db.example.org/d?sslmode=verify-ca", "VerifyCa"),
            ("db.example.org/d?sslmode=require", "Require"),
            ("db.example.org/d?sslmode=disable", "Disable"),
            ("localhost/d", "Disable"),
            ("127.0.0.1/d", "Disable"),
            ("[::1]/d", "Disable"),
            ("db.example.org/d?host=/run", "Disable"),
            ("%2Frun/d", "Disable"),
            ("localhost/d?sslmode=verify-full", "VerifyFull"),
        ] {
            let options = options(&format!("postgres://u@{rest}"));
            let mode = format!("{:?}", options.get_ssl_mode());
            assert_eq!(mode, expect, "{rest}");
        }
        let files = "sslrootcert=/etc/ca.pem&sslcert=/etc/c.pem&sslkey=/etc/k.pem";
        let options = options(&format!("postgres://u@h/d?{files}"));
        let shown = format!("{options:?}");
        for file in ["/etc/ca.pem", "/etc/c.pem", "/etc/k.pem"] {
            assert!(shown.contains(file), "{shown}");
        }
    }
}
