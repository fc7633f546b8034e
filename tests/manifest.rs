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
use plugin::proto::{
    agent_attestor::node_attestor_server::SERVICE_NAME as AGENT_ATTESTOR,
    config::config_server::SERVICE_NAME as CONFIG,
    credential_composer::credential_composer_server::SERVICE_NAME as CREDENTIAL_COMPOSER,
    key_manager::key_manager_server::SERVICE_NAME as KEY_MANAGER,
    server_attestor::node_attestor_server::SERVICE_NAME as SERVER_ATTESTOR,
};
use serde_json::{Map, Value, json};
use toml::Table;

const CUSTOM: &str = "values-custom-plugins.json";
const HARDWARE_BOUND: &str = "values-hardware-bound-keys.json";
const TPM_DIRECT: &str = "values-tpm-direct.json";
/// Where the charts mount the data volumes of server and agent.
const DATA_VOLUMES: [(&str, &str); 2] =
    [("server", "/run/spire/data"), ("agent", "/var/lib/spire")];

/// What the charts' schema takes in `customPlugins`, and nothing else.
const CUSTOM_KEYS: [&str; 4] = ["image", "plugin_checksum", "plugin_cmd", "plugin_data"];
const IMAGE_KEYS: [&str; 4] = ["pullPolicy", "registry", "repository", "tag"];
const ATTESTOR: &str = "NodeAttestor";
const PLUGINS: [Plugin; 4] = [
    Plugin {
        side: "server",
        kind: ATTESTOR,
        block: "server.hcl",
        service: SERVER_ATTESTOR,
        schema: server::config::SCHEMA,
    },
    Plugin {
        side: "server",
        kind: "CredentialComposer",
        block: "credential-composer.hcl",
        service: CREDENTIAL_COMPOSER,
        schema: server::composer_config::SCHEMA,
    },
    Plugin {
        side: "agent",
        kind: ATTESTOR,
        block: "agent.hcl",
        service: AGENT_ATTESTOR,
        schema: agent::config::SCHEMA,
    },
    Plugin {
        side: "agent",
        kind: "KeyManager",
        block: "key-manager.hcl",
        service: KEY_MANAGER,
        schema: agent::config::KEY_MANAGER_SCHEMA,
    },
];

/// A role of one of the two files, as SPIRE names it.
struct Plugin {
    side: &'static str,
    kind: &'static str,
    block: &'static str,
    service: &'static str,
    schema: Schema,
}

impl Plugin {
    fn file(&self) -> String {
        format!("tpm-attestor-{}", self.side)
    }

    /// The type of plugin, as the charts write it.
    fn chart_kind(&self) -> String {
        let (first, rest) = self.kind.split_at(1);
        first.to_lowercase() + rest
    }

    /// What the charts are given for it in `customPlugins`.
    fn custom<'a>(&self, values: &'a Value) -> Option<&'a Map<String, Value>> {
        let custom = &values[format!("spire-{}", self.side)]["customPlugins"];
        custom[self.chart_kind()]["tpm"].as_object()
    }

    /// What is in the braces of `plugin_data`, the keys that stand there as comments among it if they are wanted.
    fn data(&self, with_comments: bool) -> String {
        let text = read(self.block);
        let (_, data) = text.split_once("plugin_data {").expect("a configuration");
        let (data, _) = data.split_once('}').expect("its end");
        let line = |line: &str| match line.trim().strip_prefix("# ") {
            Some(key) if with_comments && key.contains(" = ") => key.to_owned(),
            _ => line.to_owned(),
        };
        data.lines().map(line).collect::<Vec<_>>().join("\n")
    }

    /// A key of the block, which has it as it is or as a comment.
    fn text(&self, key: &str) -> Option<String> {
        let data = self.data(true);
        let (values, _) = self.schema.read(&data);
        values.text(key).map(|text| text.value.to_owned())
    }
}

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
    for plugin in PLUGINS {
        let text = read(plugin.block);
        hcl::parse(&text).unwrap_or_else(|problem| panic!("{}: {problem}", plugin.block));
        assert!(
            text.contains(&format!("{} \"tpm\" {{", plugin.kind)),
            "{text}"
        );
        for with_comments in [false, true] {
            let (_, problems) = plugin.schema.read(&plugin.data(with_comments));
            assert_eq!(problems, [], "{}", plugin.block);
        }
    }
}

#[test]
fn blocks_of_one_side_name_the_same_store_and_keys() {
    let [server, composer, agent, key_manager] = PLUGINS;
    for (attestor, other, key, word) in [
        (&server, &composer, "store", "@STORE@"),
        (&agent, &key_manager, "keys_path", "@KEYS_PATH@"),
        (&agent, &key_manager, "device", "@DEVICE@"),
    ] {
        let (one, two) = (attestor.text(key), other.text(key));
        assert_eq!((one.as_deref(), two.as_deref()), (Some(word), Some(word)));
        let values = values(HARDWARE_BOUND);
        let in_values = |plugin: &Plugin| {
            let custom = plugin.custom(&values).expect(plugin.kind);
            custom["plugin_data"][key].as_str().map(str::to_owned)
        };
        assert!(in_values(attestor).is_some(), "{key}");
        assert_eq!(in_values(attestor), in_values(other), "{key}");
    }
    assert!(composer.data(false).contains("@STORE@"));
    assert!(key_manager.data(false).contains("@KEYS_PATH@"));
}

#[test]
fn helm_values_for_custom_plugins_hold_what_the_charts_take() {
    for (name, roles) in [
        (CUSTOM, &[ATTESTOR][..]),
        (
            HARDWARE_BOUND,
            &[ATTESTOR, "CredentialComposer", "KeyManager"],
        ),
    ] {
        let values = values(name);
        let used = PLUGINS
            .into_iter()
            .filter(|plugin| roles.contains(&plugin.kind));
        let used: Vec<_> = used.collect();
        for side in ["server", "agent"] {
            let plugins = values[format!("spire-{side}")]["customPlugins"].as_object();
            let ours = used.iter().filter(|plugin| plugin.side == side);
            let kinds: BTreeSet<_> = ours.map(Plugin::chart_kind).collect();
            let found = plugins.expect("plugins by type").keys().cloned().collect();
            assert_eq!(kinds, found, "{name}: {side}");
        }
        for plugin in &used {
            check_custom(name, plugin, plugin.custom(&values).expect(plugin.kind));
        }
    }
}

fn check_custom(name: &str, plugin: &Plugin, custom: &Map<String, Value>) {
    let place = format!("{name}: {} of the {}", plugin.kind, plugin.side);
    for key in custom.keys() {
        assert!(CUSTOM_KEYS.contains(&key.as_str()), "{place}: {key}");
    }
    let checksum = format!("@{}_CHECKSUM@", plugin.side.to_uppercase());
    assert_eq!(custom["plugin_checksum"], checksum, "{place}");
    let command = custom["plugin_cmd"].as_str().expect("a path");
    assert!(command.ends_with(&in_image(&plugin.file())), "{place}");
    // The server's file comes with an image that the charts copy from; the agent's is in a volume.
    assert_eq!(
        custom.contains_key("image"),
        plugin.side == "server",
        "{place}"
    );
    if let Some(image) = custom.get("image") {
        assert_eq!(keys(image.as_object().expect("an image")), IMAGE_KEYS);
    }
    let (_, problems) = plugin.schema.read(&custom["plugin_data"].to_string());
    assert_eq!(problems, [], "{place}");
}

#[test]
fn helm_values_for_hardware_bound_keys_are_those_for_custom_plugins_and_more() {
    let store = "/run/spire/data/tpm-attestor.sqlite3";
    let keys_path = "/var/lib/spire/tpm-keys";
    let mut expect = values(CUSTOM);
    let server = &mut expect["spire-server"]["customPlugins"];
    let attestor = &mut server["nodeAttestor"]["tpm"];
    let mut composer = attestor.clone();
    attestor["plugin_data"]["store"] = store.into();
    attestor["plugin_data"]["svid_keys"] = "require".into();
    composer["plugin_data"] = json!({ "store": store });
    server["credentialComposer"] = json!({ "tpm": composer });
    let agent = &mut expect["spire-agent"];
    // SPIRE Agent takes exactly one KeyManager.
    agent["keyManager"] = json!({ "memory": { "enabled": false }, "disk": { "enabled": false } });
    agent["persistence"] = json!({ "type": "hostPath" });
    let attestor = &mut agent["customPlugins"]["nodeAttestor"]["tpm"];
    let mut key_manager = attestor.clone();
    attestor["plugin_data"]["keys_path"] = keys_path.into();
    key_manager["plugin_data"]["keys_path"] = keys_path.into();
    agent["customPlugins"]["keyManager"] = json!({ "tpm": key_manager });
    assert_eq!(values(HARDWARE_BOUND), expect);
}

#[test]
fn helm_custom_plugins_find_their_files_where_volumes_are_mounted() {
    let is_path = |key: &str| key.ends_with("path") || ["device", "store"].contains(&key);
    let mut counts = Vec::new();
    for name in [CUSTOM, HARDWARE_BOUND] {
        let values = values(name);
        let mut count = 0;
        for plugin in PLUGINS {
            let Some(custom) = plugin.custom(&values) else {
                continue;
            };
            let data = custom["plugin_data"].as_object().expect("keys");
            let data = data.iter().filter(|(key, _)| is_path(key));
            let mut paths: Vec<_> = data.map(|(_, path)| path).collect();
            if !custom.contains_key("image") {
                paths.push(&custom["plugin_cmd"]);
            }
            let part = &values[format!("spire-{}", plugin.side)];
            for path in &paths {
                check_mounted(part, plugin.side, path.as_str().expect("a path"));
            }
            count += paths.len();
        }
        counts.push(count);
    }
    assert_eq!(counts, [4, 10]);
}

fn check_mounted(part: &Value, side: &str, file: &str) {
    let file = Path::new(file);
    if let Some(below) = DATA_VOLUMES
        .iter()
        .filter(|(whose, _)| *whose == side)
        .find_map(|(_, volume)| file.strip_prefix(volume).ok())
    {
        // The plugins make one directory or file, and nothing above it.
        assert_eq!(below.components().count(), 1, "{}", file.display());
        return;
    }
    let list = |name| part[name].as_array().expect("a list");
    let mount = list("extraVolumeMounts")
        .iter()
        .find(|mount| file.starts_with(mount["mountPath"].as_str().expect("a path")));
    let mount = mount.unwrap_or_else(|| panic!("{side}: {} is not mounted", file.display()));
    let is_its_volume = |volume: &Value| volume["name"] == mount["name"];
    assert!(list("extraVolumes").iter().any(is_its_volume), "{mount}");
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
    assert_eq!(values(TPM_DIRECT), expect);
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
    for name in [CUSTOM, HARDWARE_BOUND, TPM_DIRECT] {
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
    for (entry, plugin) in plugins.iter().zip(PLUGINS) {
        let text = |key: &str| entry[key].as_str().expect("a string");
        assert_eq!(text("host"), format!("spire-{}", plugin.side));
        // SPIRE's name of the type is the magic cookie that selects the role.
        assert_eq!((text("type"), text("role")), (plugin.kind, plugin.kind));
        assert_eq!(text("file"), plugin.file());
        assert_eq!(text("configuration"), plugin.block);
        let services = entry["services"].as_array().expect("services");
        let services: Vec<_> = services.iter().filter_map(toml::Value::as_str).collect();
        assert_eq!(services, [plugin.service, CONFIG]);
        let block = format!("{} {:?} {{", text("type"), text("name"));
        assert!(read(plugin.block).contains(&block), "{block}");
        assert!(in_image(&plugin.file()).starts_with("/app/"));
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
    let blocks = PLUGINS.map(|plugin| plugin.block);
    let others = ["manifest.toml", TPM_DIRECT, CUSTOM, HARDWARE_BOUND];
    let files = blocks.iter().chain(&others);
    let used = files.flat_map(|file| placeholders(&read(file))).collect();
    let readme = read("README.md");
    let table = readme.lines().filter(|line| line.starts_with("| `@"));
    let documented: BTreeSet<_> = table.flat_map(placeholders).collect();
    assert_eq!(documented, used);
}

#[test]
fn every_file_is_described_and_every_block_and_value_is_released() {
    let readme = read("README.md");
    let script = read("release");
    for entry in fs::read_dir(directory()).expect("files") {
        let name = entry.expect("a file").file_name();
        let name = name.to_str().expect("text");
        assert!(
            name == "README.md" || readme.contains(&format!("`{name}`")),
            "{name}"
        );
        let extension = Path::new(name).extension().and_then(|end| end.to_str());
        if ["hcl", "json", "toml"].map(Some).contains(&extension) {
            assert!(script.contains(name), "{name} is not released");
        }
    }
}
