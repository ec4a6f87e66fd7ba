//! A workload: a service account of a namespace, in one pod.

/// What a cluster says of whoever presented a proof. Names as the cluster writes them: nothing here is known to be a label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workload {
    /// Its namespace.
    pub namespace: String,
    /// Its service account, within the namespace.
    pub service_account: String,
    /// Its pod, within the namespace.
    pub pod: String,
}

/// Service accounts by whole names, `NAMESPACE/NAME`; `*` in place of one is any.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceAccountPattern {
    namespace: Option<String>,
    name: Option<String>,
}

impl ServiceAccountPattern {
    /// Reads `NAMESPACE/NAME`; nothing when it is neither names nor `*`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (namespace, name) = text.split_once('/')?;
        let dotted = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'.');
        let part = |part: &str| match part {
            "*" => Some(None),
            "" => None,
            name => name.bytes().all(dotted).then(|| Some(name.to_owned())),
        };
        Some(Self { namespace: part(namespace)?, name: part(name)? })
    }

    /// True when it is for this workload's service account.
    #[must_use]
    pub fn admits(&self, workload: &Workload) -> bool {
        let same = |wanted: &Option<String>, found: &str| wanted.as_deref().is_none_or(|wanted| wanted == found);
        same(&self.namespace, &workload.namespace) && same(&self.name, &workload.service_account)
    }

    /// True when it is for one namespace.
    #[must_use]
    pub const fn names_a_namespace(&self) -> bool {
        self.namespace.is_some()
    }
}
