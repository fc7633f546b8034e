//! What plugin-manifest/release has written beside the files: their checksums everywhere, nothing left to fill in.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::path::PathBuf;

use tests::run;
use toml::Table;

use crate::placeholders;

const FILES: [&str; 3] = ["tpm-attestor-server", "tpm-attestor-agent", "tpm-attestor"];

/// Where tests/run has the release written.
fn dist() -> PathBuf {
    let test = env::current_exe().expect("the running test has a path");
    let target = test.ancestors().nth(3).expect("target/<profile>/deps/test");
    let dist = target.join("dist");
    let sums = dist.join("SHA256SUMS");
    assert!(
        sums.is_file(),
        "{} is missing: run tests/run, or plugin-manifest/release --out {}",
        sums.display(),
        dist.display()
    );
    dist
}

fn text(name: &str) -> String {
    fs::read_to_string(dist().join(name)).expect("a released file")
}

/// Name → SHA-256 as SHA256SUMS has it.
fn sums() -> BTreeMap<String, String> {
    let line = |line: &str| {
        let (sum, name) = line.split_once("  ").expect("sum and name");
        (name.to_owned(), sum.to_owned())
    };
    text("SHA256SUMS").lines().map(line).collect()
}

#[test]
fn checksums_are_those_of_the_files_and_in_all_configuration() {
    let dist = dist().display().to_string();
    run(
        "sh",
        &[
            "-c",
            "cd \"$0\" && sha256sum --check --strict SHA256SUMS",
            &dist,
        ],
        &[],
    );
    let sums = sums();
    let sum = |file: &str| sums[file].as_str();
    let manifest: Table = text("manifest.toml").parse().expect("TOML");
    let files = manifest["file"].as_array().expect("files");
    assert_eq!(files.len(), FILES.len());
    for file in files {
        let [name, in_image, sha256] =
            ["name", "in_image", "sha256"].map(|key| file[key].as_str().expect("a string"));
        assert_eq!(sha256, sum(name), "{name}");
        assert_eq!(sha256, sum(in_image.trim_start_matches('/')), "{in_image}");
    }
    for (name, files) in [
        ("server.hcl", &["tpm-attestor-server"][..]),
        ("credential-composer.hcl", &["tpm-attestor-server"]),
        ("agent.hcl", &["tpm-attestor-agent"]),
        ("key-manager.hcl", &["tpm-attestor-agent"]),
        (
            "values-tpm-direct.json",
            &["tpm-attestor-server", "tpm-attestor-agent"],
        ),
        (
            "values-custom-plugins.json",
            &["tpm-attestor-server", "tpm-attestor-agent"],
        ),
        (
            "values-hardware-bound-keys.json",
            &["tpm-attestor-server", "tpm-attestor-agent"],
        ),
    ] {
        for file in files {
            assert!(
                text(name).contains(sum(file)),
                "{name} lacks the sum of {file}"
            );
        }
    }
}

#[test]
fn only_what_the_operator_decides_is_left_to_fill_in() {
    for (name, left) in [
        ("manifest.toml", &[][..]),
        (
            "server.hcl",
            &["CA_PATH", "HASH_PATH", "PLUGIN_CMD", "STORE"],
        ),
        ("credential-composer.hcl", &["PLUGIN_CMD", "STORE"]),
        ("agent.hcl", &["DEVICE", "KEYS_PATH", "PLUGIN_CMD"]),
        ("key-manager.hcl", &["DEVICE", "KEYS_PATH", "PLUGIN_CMD"]),
        ("values-tpm-direct.json", &["REGISTRY"]),
        ("values-custom-plugins.json", &["REGISTRY"]),
        ("values-hardware-bound-keys.json", &["REGISTRY"]),
    ] {
        let found: Vec<_> = placeholders(&text(name)).into_iter().collect();
        assert_eq!(found, left, "{name}");
    }
}
