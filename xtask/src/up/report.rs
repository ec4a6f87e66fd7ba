//! What a ready stack tells: to people, and as one line of JSON to programs.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::edges::OtherEdge;
use super::state::write_private;

/// Everything that clients and tests need.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Report {
    /// The ACME directory's URL.
    pub(crate) directory: String,
    /// PEM file with what clients must trust for HTTPS.
    pub(crate) ca: PathBuf,
    /// PEM file with the issuing root.
    pub(crate) root: PathBuf,
    /// Base URL of what is served as plain HTTP.
    pub(crate) http: String,
    /// What certificates point to for their status.
    #[serde(default)]
    pub(crate) status_url: String,
    /// The edges beside the first one, in their order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) other_edges: Vec<OtherEdge>,
    /// JSON file with the id and the MAC key of an external account binding, where bindings are looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) external_account: Option<PathBuf>,
    /// Process ids by role: `up`, `edge`, `signer-1`, `signer-1-worker-1`, …
    pub(crate) pids: BTreeMap<String, i32>,
    /// The state folder.
    pub(crate) state: PathBuf,
    /// Milliseconds from the command's start.
    pub(crate) ready_ms: u64,
    /// Where the edge looks names up.
    pub(crate) resolver: String,
    /// Base URL of the benchmarks' floor, where it was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) floor: Option<String>,
    #[serde(skip)]
    pub(crate) throwaway_resolver: bool,
}

impl Report {
    /// Keeps it in the state folder, for whoever comes later and after each restart of a process.
    pub(crate) fn save(&self) -> Result<()> {
        write_private(&self.state.join("running.json"), &serde_json::to_vec(self)?)
    }

    /// On standard output.
    pub(crate) fn print(&self, json: bool) -> Result<()> {
        if json {
            println!("{}", serde_json::to_string(self)?);
        } else {
            println!("{self}");
        }
        Ok(())
    }
}

impl std::fmt::Display for Report {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let processes: Vec<String> = self.pids.iter().map(|(role, pid)| format!("{role} {pid}")).collect();
        let remark = if self.throwaway_resolver {
            " (throwaway: every name under test, example and internal is at 127.0.0.1)"
        } else {
            ""
        };
        writeln!(out, "\nColophon is up, after {:.1} s.", self.ready_ms as f64 / 1000.0)?;
        for (what, value) in [
            ("directory", self.directory.clone()),
            ("trust for HTTPS", self.ca.display().to_string()),
            ("issuing root", self.root.display().to_string()),
            ("plain HTTP", self.http.clone()),
            ("resolver", format!("{}{remark}", self.resolver)),
            ("processes", processes.join(", ")),
            ("logs", self.state.join("logs").display().to_string()),
        ] {
            writeln!(out, "  {what:16} {value}")?;
        }
        for (number, edge) in (2..).zip(&self.other_edges) {
            writeln!(out, "  {:16} {}", format!("edge {number}"), edge.directory)?;
        }
        if let Some(file) = &self.external_account {
            writeln!(out, "  {:16} {}", "account binding", file.display())?;
        }
        write!(out, "Ctrl-C, or `cargo xtask down --state {}`, ends it.", self.state.display())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_report_is_one_line_with_the_promised_keys() {
        let report = Report {
            directory: "https://localhost:1/directory".into(),
            ca: "/s/ca.pem".into(),
            root: "/s/root.pem".into(),
            http: "http://localhost:2".into(),
            status_url: "http://localhost:2".into(),
            other_edges: Vec::new(),
            external_account: None,
            pids: BTreeMap::from([("edge".into(), 7)]),
            state: "/s".into(),
            ready_ms: 1200,
            resolver: "tcp://127.0.0.1:53".into(),
            floor: None,
            throwaway_resolver: true,
        };
        let line = serde_json::to_string(&report).unwrap();
        assert!(!line.contains('\n'));
        let value: serde_json::Value = serde_json::from_str(&line).unwrap();
        for key in ["directory", "ca", "root", "http", "status_url", "pids", "state", "ready_ms"] {
            assert!(value.get(key).is_some(), "{key}");
        }
        assert!(report.to_string().contains("1.2 s"));
    }
}
