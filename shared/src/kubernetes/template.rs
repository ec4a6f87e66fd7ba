//! Name templates: which names a workload may have. Parsed once; a placeholder is a whole label, and what it stands for must
//! be one label, so a value can never add a dot, a wildcard or anything else to a name.

use super::workload::Workload;
use crate::identifier::{DnsName, NotAnIdentifier};

/// A DNS name with placeholders: `{serviceaccount}.{namespace}.svc.example`. One that begins with `*.` is the wildcard name,
/// and not the names below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameTemplate(Vec<Label>);

/// Why a template is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadTemplate {
    /// Braces that are no placeholder of a whole label.
    #[error("{0:?} is not a whole label of {{namespace}}, {{serviceaccount}}, {{pod}} or {{cluster}}")]
    Placeholder(String),
    /// With labels in place of the placeholders it is no name.
    #[error(transparent)]
    Name(#[from] NotAnIdentifier),
    /// Every namespace could have this name.
    #[error("without {{namespace}} every entry of service_accounts must name its namespace")]
    AnyNamespace,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Label {
    Text(String),
    Namespace,
    ServiceAccount,
    Pod,
}

impl NameTemplate {
    /// Reads a template of this cluster.
    ///
    /// # Errors
    /// [`BadTemplate`], but for [`BadTemplate::AnyNamespace`].
    pub fn parse(text: &str, cluster: &str) -> Result<Self, BadTemplate> {
        let label = |label: &str| match label {
            "{namespace}" => Ok(Label::Namespace),
            "{serviceaccount}" => Ok(Label::ServiceAccount),
            "{pod}" => Ok(Label::Pod),
            "{cluster}" => Ok(Label::Text(cluster.to_owned())),
            other if other.contains(['{', '}']) => Err(BadTemplate::Placeholder(other.to_owned())),
            other => Ok(Label::Text(other.to_ascii_lowercase())),
        };
        let template = Self(text.split('.').map(label).collect::<Result<_, _>>()?);
        template.with("a", "a", "a").parse::<DnsName>()?;
        Ok(template)
    }

    /// True when it tells namespaces apart.
    #[must_use]
    pub fn has_namespace(&self) -> bool {
        self.0.contains(&Label::Namespace)
    }

    /// True when some workload could have this name.
    #[must_use]
    pub fn could_be(&self, name: &str) -> bool {
        let mut labels = name.split('.');
        let fits = |label: &Label| match (label, labels.next()) {
            (Label::Text(text), Some(found)) => text == found,
            (_, found) => found.is_some_and(is_label),
        };
        self.0.iter().all(fits) && labels.next().is_none()
    }

    /// The name of this workload; nothing when it has none, because a value is not one label.
    #[must_use]
    pub fn name_of(&self, workload: &Workload) -> Option<DnsName> {
        let Workload { namespace, service_account, pod } = workload;
        let usable = |label: &Label| match label {
            Label::Text(_) => true,
            Label::Namespace => is_label(namespace),
            Label::ServiceAccount => is_label(service_account),
            Label::Pod => is_label(pod),
        };
        let name = || self.with(namespace, service_account, pod).parse().ok();
        self.0.iter().all(usable).then(name).flatten()
    }

    fn with(&self, namespace: &str, service_account: &str, pod: &str) -> String {
        let values = self.0.iter().map(|label| match label {
            Label::Text(text) => text.as_str(),
            Label::Namespace => namespace,
            Label::ServiceAccount => service_account,
            Label::Pod => pod,
        });
        values.collect::<Vec<_>>().join(".")
    }
}

/// One DNS label as Kubernetes writes it (RFC 1123 §2.1): lower case, at most 63 bytes, no hyphen at an end.
#[must_use]
pub fn is_label(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=63).contains(&text.len()) && text.bytes().all(allowed) && !text.starts_with('-') && !text.ends_with('-')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn workload(namespace: &str, service_account: &str, pod: &str) -> Workload {
        Workload { namespace: namespace.to_owned(), service_account: service_account.to_owned(), pod: pod.to_owned() }
    }

    fn name(template: &str, workload: &Workload) -> Option<String> {
        NameTemplate::parse(template, "prod").unwrap().name_of(workload).map(|name| name.to_string())
    }

    #[test]
    fn placeholders_become_the_workloads_labels() {
        let web = workload("shop", "web", "web-7d4b9-x2x5q");
        for (template, expected) in [
            ("{serviceaccount}.{namespace}.svc.cluster.internal", "web.shop.svc.cluster.internal"),
            ("*.{namespace}.example", "*.shop.example"),
            ("{pod}.{namespace}.{cluster}.example", "web-7d4b9-x2x5q.shop.prod.example"),
            ("API.{namespace}.Example", "api.shop.example"),
        ] {
            assert_eq!(name(template, &web).as_deref(), Some(expected), "{template}");
            assert!(NameTemplate::parse(template, "prod").unwrap().could_be(expected), "{template}");
        }
    }

    #[test]
    fn what_is_no_whole_label_is_no_template() {
        for (template, words) in [
            ("x-{namespace}.example", "not a whole label"),
            ("{namespace}-x.example", "not a whole label"),
            ("{uid}.example", "not a whole label"),
            ("{namespace.example", "not a whole label"),
            ("{}.example", "not a whole label"),
            ("", "empty"),
            ("a..example", "a label is empty"),
            ("{namespace}.*.example", "wildcard"),
            ("{namespace}.example.", "dot"),
            ("{namespace}.1", "address"),
            ("a_b.{namespace}", "underscore"),
        ] {
            let refused = NameTemplate::parse(template, "prod").unwrap_err().to_string();
            assert!(refused.to_lowercase().contains(words), "{template}: {refused}");
        }
    }

    #[test]
    fn a_value_that_is_not_one_label_gives_no_name() {
        for value in ["a.b", "*", "", "-a", "a-", "A", "a_b", "a\0b", "ä", "{pod}", "a b", "a/b", &"a".repeat(64)] {
            let workload = workload(value, value, value);
            for template in ["{namespace}.example", "{serviceaccount}.example", "{pod}.example"] {
                assert_eq!(name(template, &workload), None, "{value:?} in {template}");
            }
            // A value that the template does not name does no harm.
            assert_eq!(name("fixed.example", &workload).as_deref(), Some("fixed.example"));
        }
    }

    proptest! {
        #[test]
        fn a_name_keeps_the_shape_of_its_template(values in [".{0,70}", "[a-z0-9.*-]{1,70}", "[a-z0-9-]{1,63}"]) {
            let workload = workload(&values[0], &values[1], &values[2]);
            let template = "{serviceaccount}.{namespace}.{pod}.example";
            if let Some(name) = name(template, &workload) {
                let labels: Vec<&str> = name.split('.').collect();
                prop_assert_eq!(labels, [&*values[1], &*values[0], &*values[2], "example"]);
            }
        }
    }
}
