//! What plugin-manifest tells SPIRE, Helm and programs: consistent, and understood by the plugins.
#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test reports every failure by failing"
)]

mod manifest_release;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use hcl::Schema;
use serde_json::{Map, Value, json};
use toml::Table;

/// What the charts' schema takes in `customPlugins`, and nothing else.
const CUSTOM_KEYS: [&str; 4] = ["image", "plugin_checksum", "plugin_cmd", "plugin_data"];
const IMAGE_KEYS: [&str; 4] = ["pullPolicy", "registry", "repository", "tag"];
const PLUGINS: [(&str, &str, Schema); 2] = [
    ("server", "tpm-attestor-server", server::config::SCHEMA),
    ("agent", "tpm-attestor-agent", agent::config::SCHEMA),
];

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../plugin-manifest")
}

fn read(name: &str) -> String {
    let path = directory().join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn values(name: &str) -> Value {
    serde_json::from_str(&read(name)).expect("Helm values in JSON")
}

fn manifest() -> Table {
    read("manifest.toml").parse().expect("TOML")
}

fn keys(object: &Map<String, Value>) -> Vec<&str> {
    let mut keys: Vec<_> = object.keys().map(String::as_str).collect();
    keys.sort_unstable();
    keys
}

/// The words between at signs that somebody has to replace.
fn placeholders(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut parts = text.split('@');
    parts.next();
    for part in parts {
        if !part.is_empty()
            && part
                .bytes()
                .all(|byte| byte.is_ascii_uppercase() || byte == b'_')
        {
            found.insert(part.to_owned());
        }
    }
    found
}

#[test]
fn the_blocks_are_hcl_that_the_plugins_understand() {
    for (side, _, schema) in PLUGINS {
        let text = read(&format!("{side}.hcl"));
        hcl::parse(&text).unwrap_or_else(|problem| panic!("{side}.hcl: {problem}"));
        assert!(text.contains("NodeAttestor \"tpm\" {"), "{text}");
        let (_, data) = text.split_once("plugin_data {").expect("a configuration");
        let (data, _) = data.split_once('}').expect("its end");
        let (_, problems) = schema.read(data);
        assert_eq!(problems, [], "{side}.hcl");
    }
}

#[test]
fn helm_values_for_custom_plugins_hold_what_the_charts_take() {
    let values = values("values-custom-plugins.json");
    for (side, _, schema) in PLUGINS {
        let plugins = &values[format!("spire-{side}")]["customPlugins"];
        let plugins = plugins.as_object().expect("plugins by type");
        assert_eq!(keys(plugins), ["nodeAttestor"]);
        let plugin = plugins["nodeAttestor"]["tpm"]
            .as_object()
            .expect("a plugin");
        for key in plugin.keys() {
            assert!(CUSTOM_KEYS.contains(&key.as_str()), "{side}: {key}");
        }
        let checksum = format!("@{}_CHECKSUM@", side.to_uppercase());
        assert_eq!(plugin["plugin_checksum"], checksum);
        if let Some(image) = plugin.get("image") {
            assert_eq!(keys(image.as_object().expect("an image")), IMAGE_KEYS);
        }
        let (_, problems) = schema.read(&plugin["plugin_data"].to_string());
        assert_eq!(problems, [], "{side}");
    }
}

#[test]
fn helm_custom_plugins_find_their_files_where_volumes_are_mounted() {
    let values = values("values-custom-plugins.json");
    for (side, paths) in [
        (
            "server",
            &["plugin_data/ca_path", "plugin_data/hash_path"][..],
        ),
        ("agent", &["plugin_cmd", "plugin_data/device"]),
    ] {
        let part = &values[format!("spire-{side}")];
        let list = |name| part[name].as_array().expect("a list");
        for path in paths {
            let pointer = format!("/customPlugins/nodeAttestor/tpm/{path}");
            let file = part.pointer(&pointer).and_then(Value::as_str);
            let file = Path::new(file.expect("a path"));
            let mount = list("extraVolumeMounts")
                .iter()
                .find(|mount| file.starts_with(mount["mountPath"].as_str().unwrap()));
            let mount = mount.unwrap_or_else(|| panic!("{side}: {path} is not mounted"));
            let volume = |volume: &&Value| volume["name"] == mount["name"];
            assert!(
                list("extraVolumes").iter().any(|one| volume(&one)),
                "{mount}"
            );
        }
    }
}

#[test]
fn helm_values_for_tpm_direct_hold_what_the_charts_take() {
    let image = |name: &str| {
        json!({
            "registry": "@REGISTRY@", "repository": name, "tag": "@VERSION@", "pullPolicy": "IfNotPresent",
        })
    };
    // Server and agent differ in where the charts look for path and checksum.
    let expect = json!({
        "spire-server": { "nodeAttestor": { "tpmDirect": {
            "enabled": true,
            "image": image("tpm-attestor-server"),
            "pluginPath": in_image("tpm-attestor-server"),
            "checksum": "@SERVER_CHECKSUM@",
            "cas": {},
            "hashes": [],
        } } },
        "spire-agent": {
            "nodeAttestor": {
                "k8sPSAT": { "enabled": false },
                "tpmDirect": {
                    "enabled": true,
                    "plugin": {
                        "image": image("tpm-attestor-agent"),
                        "path": in_image("tpm-attestor-agent"),
                        "checksum": "@AGENT_CHECKSUM@",
                    },
                    "pubHash": { "enabled": true, "image": image("tpm-attestor-agent") },
                },
            },
            "extraVolumes": [security_file_system()],
            "extraVolumeMounts": [security_file_system_mount()],
        },
    });
    assert_eq!(values("values-tpm-direct.json"), expect);
    // The charts run it under this name.
    assert_eq!(in_image("tpm-attestor"), "/app/get_tpm_pubhash");
}

/// Where the kernel shows the boot event log.
fn security_file_system() -> Value {
    json!({
        "name": "boot-event-log",
        "hostPath": { "path": "/sys/kernel/security", "type": "Directory" },
    })
}

fn security_file_system_mount() -> Value {
    json!({ "name": "boot-event-log", "mountPath": "/sys/kernel/security", "readOnly": true })
}

#[test]
fn helm_values_show_the_agent_the_boot_event_log() {
    for name in ["values-custom-plugins.json", "values-tpm-direct.json"] {
        let agent = &values(name)["spire-agent"];
        let has = |list: &str, entry: &Value| {
            let entries = agent[list].as_array().expect("a list");
            entries.contains(entry)
        };
        assert!(has("extraVolumes", &security_file_system()), "{name}");
        assert!(
            has("extraVolumeMounts", &security_file_system_mount()),
            "{name}"
        );
    }
}

fn in_image(file: &str) -> String {
    let manifest = manifest();
    let mut files = manifest["file"].as_array().expect("files").iter();
    let entry = files.find(|entry| entry["name"].as_str() == Some(file));
    let path = entry.and_then(|entry| entry["in_image"].as_str());
    path.unwrap_or_else(|| panic!("{file} is not in the manifest"))
        .to_owned()
}

#[test]
fn the_manifest_names_files_and_blocks_that_exist() {
    let manifest = manifest();
    let plugins = manifest["plugin"].as_array().expect("plugins");
    assert_eq!(plugins.len(), PLUGINS.len());
    for (plugin, (side, file, _)) in plugins.iter().zip(PLUGINS) {
        assert_eq!(plugin["host"].as_str(), Some(&*format!("spire-{side}")));
        assert_eq!(plugin["file"].as_str(), Some(file));
        let configuration = plugin["configuration"].as_str().expect("a file");
        let block = format!(
            "{} {:?} {{",
            plugin["type"].as_str().expect("a type"),
            plugin["name"].as_str().expect("a name")
        );
        assert!(read(configuration).contains(&block), "{block}");
        assert!(in_image(file).starts_with("/app/"));
    }
    let protocol = manifest["protocol"].as_table().expect("a protocol");
    let line = format!(
        "{}|{}|{}|{}",
        protocol["go_plugin"].as_integer().unwrap(),
        protocol["application"].as_integer().unwrap(),
        protocol["network"].as_str().unwrap(),
        protocol["transport"].as_str().unwrap(),
    );
    assert_eq!(line, "1|1|unix|grpc");
}

#[test]
fn every_placeholder_is_documented_and_every_documented_one_is_used() {
    let files = [
        "server.hcl",
        "agent.hcl",
        "manifest.toml",
        "values-tpm-direct.json",
    ];
    let files = files.iter().chain(&["values-custom-plugins.json"]);
    let used = files.flat_map(|file| placeholders(&read(file))).collect();
    let readme = read("README.md");
    let table = readme.lines().filter(|line| line.starts_with("| `@"));
    let documented: BTreeSet<_> = table.flat_map(placeholders).collect();
    assert_eq!(documented, used);
}
