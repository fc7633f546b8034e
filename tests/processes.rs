//! The plugins as processes: loaded as SPIRE loads them, judged by what they say on their sockets and in their logs.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

mod process_abuse;
mod process_abuse_frames;
mod process_abuse_host;
mod process_abuse_streams;
mod process_abuse_surroundings;
mod process_abuse_wire;
mod process_agent;
mod process_agent_failures;
mod process_certificates;
mod process_certified;
mod process_composer;
mod process_configuration;
mod process_continuity;
mod process_contract;
mod process_followed;
mod process_grants;
mod process_key_cases;
mod process_key_crashes;
mod process_key_directory;
mod process_key_machine;
mod process_key_manager;
mod process_known_machines;
mod process_limits;
mod process_log;
mod process_machine;
mod process_pairs;
mod process_plugin;
mod process_reasons;
mod process_refusal_cases;
mod process_refusals;
mod process_replays;
mod process_secrets;
mod process_states;
mod process_store;
mod process_store_outages;
mod process_trust;
mod process_trust_reload;
