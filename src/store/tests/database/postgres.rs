//! PostgreSQL: how it is reached, and which databases are refused.

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use store::{Database, DatabaseAddress, DatabaseError};
use tempfile::TempDir;
use tests::Postgres;
use tokio::task::JoinSet;

use crate::machines::{key, records};
use crate::{damage, suite};

/// The address that a URL is, with the password for `${PASSWORD}`.
pub(crate) fn address(url: &str) -> DatabaseAddress {
    let lookup = |name: &str| (name == "PASSWORD").then(|| Postgres::PASSWORD.to_owned());
    DatabaseAddress::parse(url, lookup).unwrap()
}

fn its_address(server: &Postgres) -> DatabaseAddress {
    address(&server.url("PASSWORD"))
}

async fn refusal(address: &DatabaseAddress) -> DatabaseError {
    Database::open(address).await.unwrap_err()
}

#[tokio::test]
async fn every_rule_holds() {
    let server = Postgres::start();
    let database = Database::open(&its_address(&server)).await.unwrap();
    suite::every_rule(&database).await;
    let bytes = |hex: &str| format!("'\\x{hex}'");
    damage::is_told(&database, bytes, async |sql| {
        server.sql(&format!("SET search_path = tpm_attestor; {sql}"));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn several_may_make_the_tables_at_once() {
    let server = Postgres::start();
    for round in 0..5 {
        let mut tasks = JoinSet::new();
        for number in 0..8 {
            let address = its_address(&server);
            tasks.spawn(async move {
                let database = Database::open(&address).await?;
                database.keep_keys(&records("agent", &[key(number)])).await
            });
        }
        for outcome in tasks.join_all().await {
            assert_eq!(outcome, Ok(()), "round {round}");
        }
        let count = server.sql("SELECT count(*) FROM tpm_attestor.svid_keys");
        assert_eq!(count.trim(), "8", "round {round}");
        server.sql("DROP SCHEMA tpm_attestor CASCADE");
    }
}

#[tokio::test]
async fn what_is_not_a_database_of_this_release_is_refused() {
    use DatabaseError::{Foreign, Unavailable, Version};
    let server = Postgres::start();
    let address = its_address(&server);
    server.sql("CREATE SCHEMA tpm_attestor");
    drop(Database::open(&address).await.unwrap());
    for found in [2, -1] {
        server.sql(&format!(
            "UPDATE tpm_attestor.schema_version SET version = {found}"
        ));
        assert_eq!(refusal(&address).await, Version { found, known: 1 });
    }
    server.sql("DROP TABLE tpm_attestor.schema_version");
    assert_eq!(refusal(&address).await, Foreign, "tables without a version");
    server.sql("DROP SCHEMA tpm_attestor CASCADE");
    server.sql("ALTER DATABASE postgres SET default_transaction_read_only = on");
    let told = refusal(&address).await;
    assert!(
        matches!(&told, Unavailable(text) if text.contains("read-only")),
        "{told}"
    );
}

/// A user who may do no more than the manual says it must.
#[tokio::test]
async fn a_user_needs_a_schema_or_the_right_to_make_one() {
    let server = Postgres::start();
    server.sql("CREATE USER plain PASSWORD 'plain'");
    let port = server.port();
    let address = address(&format!("postgres://plain:plain@localhost:{port}/postgres"));
    let told = refusal(&address).await.to_string();
    assert!(told.contains("privilege"), "{told}");
    server.sql("CREATE SCHEMA tpm_attestor AUTHORIZATION plain");
    let database = Database::open(&address).await.unwrap();
    assert_eq!(
        database.keep_keys(&records("agent", &[key(1)])).await,
        Ok(())
    );
}

#[tokio::test]
async fn passwords_are_in_no_error() {
    let server = Postgres::start();
    let port = server.port();
    let closed = Postgres::start().port();
    for (url, expect) in [
        (
            format!("postgres://attestor:${{PASSWORD}}wrong@127.0.0.1:{port}/postgres"),
            "password",
        ),
        (
            format!("postgres://nobody:${{PASSWORD}}@127.0.0.1:{port}/postgres"),
            "password",
        ),
        (
            format!("postgres://attestor:${{PASSWORD}}@127.0.0.1:{port}/none"),
            "no such database",
        ),
        (
            format!("postgres://attestor:${{PASSWORD}}@127.0.0.1:{closed}/postgres"),
            "refused",
        ),
        (
            format!("postgres://attestor:${{PASSWORD}}@127.0.0.1:{port}/postgres?sslmode=require"),
            "TLS",
        ),
        (
            "postgres://attestor:${PASSWORD}@no.such.host.invalid/postgres".to_owned(),
            "lookup",
        ),
        (
            format!("postgres://attestor:${{PASSWORD}}@localhost:{port}/postgres?host=/nowhere"),
            "No such file",
        ),
        (
            format!(
                "postgres://attestor:${{PASSWORD}}@localhost:{port}/postgres?sslmode=verify-full&sslrootcert=/nowhere"
            ),
            "",
        ),
    ] {
        let address = address(&url);
        let told = refusal(&address).await;
        let shown = format!("{told} {told:?} {address} {address:?}");
        assert!(shown.contains(expect), "{url}: {shown}");
        for secret in [Postgres::PASSWORD, "p%40ss", "p@ss", "w:rd"] {
            assert!(!shown.contains(secret), "{url}: {shown}");
        }
    }
}

#[tokio::test]
async fn a_socket_is_a_way_in() {
    let server = Postgres::start();
    let directory = server.socket_directory().display();
    let port = server.port();
    for url in [
        format!(
            "postgresql://attestor:${{PASSWORD}}@{}:{port}/postgres",
            directory.to_string().replace('/', "%2F")
        ),
        format!(
            "postgres://attestor:${{PASSWORD}}@ignored.example:{port}/postgres?host={directory}"
        ),
    ] {
        let database = Database::open(&address(&url)).await.unwrap();
        assert_eq!(database.prune(0).await, Ok(()), "{url}");
    }
}

/// A CA, and what it issues to a name: certificate and key.
fn authority(names: &[&str]) -> (String, String, String) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let names: Vec<_> = names.iter().map(|&name| name.to_owned()).collect();
    let server_key = KeyPair::generate().unwrap();
    let server = CertificateParams::new(names).unwrap();
    let server = server.signed_by(&server_key, &ca).unwrap();
    (ca.pem(), server.pem(), server_key.serialize_pem())
}

#[tokio::test]
async fn a_server_proves_who_it_is() {
    let (ca, certificate, key) = authority(&["localhost"]);
    let server = Postgres::start_encrypted(&certificate, &key);
    let directory = TempDir::new().unwrap();
    for (name, pem) in [("ca.pem", &ca), ("other.pem", &authority(&["localhost"]).0)] {
        std::fs::write(directory.path().join(name), pem).unwrap();
    }
    let port = server.port();
    let files = directory.path().display();
    for (host, parameters, may) in [
        (
            "localhost",
            format!("sslmode=verify-full&sslrootcert={files}/ca.pem"),
            true,
        ),
        (
            "127.0.0.1",
            format!("sslmode=verify-full&sslrootcert={files}/ca.pem"),
            false,
        ),
        (
            "127.0.0.1",
            format!("sslmode=verify-ca&sslrootcert={files}/ca.pem"),
            true,
        ),
        (
            "localhost",
            format!("sslmode=verify-full&sslrootcert={files}/other.pem"),
            false,
        ),
        (
            "localhost",
            format!("sslmode=verify-ca&sslrootcert={files}/other.pem"),
            false,
        ),
        ("localhost", "sslmode=verify-full".to_owned(), false),
        ("localhost", "sslmode=require".to_owned(), true),
    ] {
        let url = format!("postgres://attestor:${{PASSWORD}}@{host}:{port}/postgres?{parameters}");
        let outcome = Database::open(&address(&url)).await;
        assert_eq!(outcome.is_ok(), may, "{host} {parameters}: {outcome:?}");
        if let Ok(database) = outcome {
            assert_eq!(database.prune(0).await, Ok(()), "{host} {parameters}");
            let encrypted = server.sql(
                "SELECT bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) \
                WHERE application_name = 'tpm-attestor'",
            );
            assert_eq!(encrypted.trim(), "t", "{host} {parameters}");
        }
    }
}
