//! The committed bindings are what the files under `proto/` compile to.

use std::{env, fs, path::Path};

const PROTOS: [&str; 12] = [
    "plugin/broker.proto",
    "plugin/controller.proto",
    "plugin/stdio.proto",
    "spire/agent/keymanager.proto",
    "spire/agent/nodeattestor.proto",
    "spire/common/config.proto",
    "spire/host/agentstore.proto",
    "spire/host/identityprovider.proto",
    "spire/host/metrics.proto",
    "spire/private/init.proto",
    "spire/server/credentialcomposer.proto",
    "spire/server/nodeattestor.proto",
];

/// `UPDATE_BINDINGS=1 cargo test -p plugin --test bindings` writes them anew.
#[test]
fn bindings_match_the_protos() {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let committed = package.join("generated");
    let protos = package.join("../../proto");
    let fresh = tempfile::tempdir().unwrap();

    let descriptors = protox::compile(PROTOS, [&protos]).unwrap();
    tonic_prost_build::configure()
        .out_dir(fresh.path())
        .compile_fds(descriptors)
        .unwrap();

    let mut names = Vec::new();
    for entry in fs::read_dir(fresh.path()).unwrap() {
        let entry = entry.unwrap();
        let generated = fs::read_to_string(entry.path()).unwrap();
        let body = generated
            .split_once('\n')
            .filter(|(first, _)| first.starts_with("// This file is @generated"))
            .map_or(generated.as_str(), |(_, rest)| rest);
        let text = format!(
            "// @generated from the files under proto/ by the test `bindings`; do not edit.\n{body}"
        );
        let name = entry.file_name();
        let path = committed.join(&name);
        if env::var_os("UPDATE_BINDINGS").is_some() {
            fs::write(&path, &text).unwrap();
        }
        let old = fs::read_to_string(&path).unwrap_or_default();
        assert!(
            old == text,
            "{} is out of date: run this test with UPDATE_BINDINGS=1",
            path.display()
        );
        names.push(name);
    }
    for entry in fs::read_dir(&committed).unwrap() {
        let name = entry.unwrap().file_name();
        assert!(names.contains(&name), "{name:?} comes from no proto file");
    }
}
