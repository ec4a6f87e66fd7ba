//! Pods by their address (`v1`, PodList): for workloads that present no token, where the operator trusts addresses.

use std::net::IpAddr;

use serde_json::Value;
use shared::kubernetes::workload::Workload;

use super::refusal::Refusal;

/// Where the API server lists the running pods of this address.
#[must_use]
pub fn path(address: IpAddr) -> String {
    // The colons of IPv6 may stand in a query (RFC 3986 §3.4).
    format!("/api/v1/pods?fieldSelector=status.podIP%3D{address}%2Cstatus.phase%3DRunning&limit=10")
}

/// The one pod of the answer that runs and has the address for itself: pods on their node's network share its address, and one
/// that is being deleted may have lost it already.
///
/// # Errors
/// [`Refusal::ApiAnswer`], [`Refusal::NoPod`].
pub fn workload(answer: &[u8], address: IpAddr) -> Result<Workload, Refusal> {
    let answer: Value = serde_json::from_slice(answer).map_err(|_| Refusal::ApiAnswer)?;
    let text = |value: &Value, path: &str| value.pointer(path).and_then(Value::as_str).unwrap_or_default().to_owned();
    if text(&answer, "/kind") != "PodList" || text(&answer, "/apiVersion") != "v1" {
        return Err(Refusal::ApiAnswer);
    }
    // The items are null where there are none.
    let items = answer.get("items").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    // The selector is the API server's to apply; that it did is checked.
    let has_it = |pod: &&Value| {
        text(pod, "/status/podIP").parse::<IpAddr>().is_ok_and(|found| found.to_canonical() == address)
            && text(pod, "/status/phase") == "Running"
    };
    let mut found = items.iter().filter(has_it);
    let (Some(pod), None) = (found.next(), found.next()) else { return Err(Refusal::NoPod) };
    let shares = pod.pointer("/spec/hostNetwork") == Some(&Value::Bool(true));
    let ends = !text(pod, "/metadata/deletionTimestamp").is_empty();
    let partial = !text(&answer, "/metadata/continue").is_empty();
    let workload = Workload {
        namespace: text(pod, "/metadata/namespace"),
        service_account: text(pod, "/spec/serviceAccountName"),
        pod: text(pod, "/metadata/name"),
    };
    let named = ![&workload.namespace, &workload.service_account, &workload.pod].into_iter().any(String::is_empty);
    if shares || ends || partial || !named { Err(Refusal::NoPod) } else { Ok(workload) }
}
