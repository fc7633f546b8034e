//! The Workload API of an agent, as a workload of this process's user sees it.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;

use crate::process::Tool;
use crate::wait::until_some;

/// Asks as SPIRE's own command line does, once for each question.
#[derive(Clone, Debug)]
pub struct WorkloadApi {
    pub(crate) program: PathBuf,
    pub(crate) socket: PathBuf,
}

impl WorkloadApi {
    /// Waits until this process, as a workload, gets X.509-SVIDs; returns their SPIFFE IDs.
    pub fn fetch_x509(&self, limit: Duration) -> Vec<String> {
        until_some("the workload gets an X.509-SVID", limit, || {
            self.try_fetch_x509()
        })
    }

    /// As [`WorkloadApi::fetch_x509`], once: `None` when the agent has no identity for this process.
    pub fn try_fetch_x509(&self) -> Option<Vec<String>> {
        let socket = self.socket.display().to_string();
        let arguments = [
            "api",
            "fetch",
            "x509",
            "-output",
            "json",
            "-socketPath",
            &socket,
        ];
        let answer = Tool::run(&self.program, &arguments, &[]);
        if !answer.success {
            return None;
        }
        let answer: Value = serde_json::from_str(&answer.stdout).expect("fetch x509 prints JSON");
        let ids = answer["svids"]
            .as_array()?
            .iter()
            .filter_map(|svid| svid["spiffe_id"].as_str());
        Some(ids.map(str::to_owned).collect())
    }

    /// Waits until this process, as a workload, gets a JWT-SVID; returns it.
    pub fn fetch_jwt(&self, audience: &str, limit: Duration) -> String {
        until_some("the workload gets a JWT-SVID", limit, || {
            self.try_fetch_jwt(audience)
        })
    }

    /// As [`WorkloadApi::fetch_jwt`], once.
    pub fn try_fetch_jwt(&self, audience: &str) -> Option<String> {
        let socket = self.socket.display().to_string();
        let arguments = [
            "api",
            "fetch",
            "jwt",
            "-audience",
            audience,
            "-output",
            "json",
            "-socketPath",
            &socket,
        ];
        let answer = Tool::run(&self.program, &arguments, &[]);
        let answer: Value = answer
            .success
            .then(|| serde_json::from_str(&answer.stdout).ok())??;
        Some(answer.pointer("/0/svids/0/svid")?.as_str()?.to_owned())
    }
}
