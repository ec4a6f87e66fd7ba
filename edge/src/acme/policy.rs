//! Which identifiers this deployment takes orders for. The signer has a policy of its own and trusts none of this.

use std::net::IpAddr;

use serde::Deserialize;
use shared::{
    identifier::{DnsName, Identifier, IdentifierObject, NotAnIdentifier},
    network::Network,
};

use super::{config::BadConfig, identifier_refusal::IdentifierRefusal, validation::parse_networks};

/// Which identifiers orders may have, as an operator writes it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IdentifiersConfig {
    /// Names equal to one of these or below it.
    pub dns_suffixes: Vec<String>,
    /// True: wildcards of such names too.
    pub wildcards: bool,
    /// True: every name of one label too (`db1`, `localhost`). False: none, not even a suffix of one label itself.
    #[serde(default)]
    pub single_labels: bool,
    /// IP addresses in one of these (RFC 8738); none when it is empty.
    #[serde(default)]
    pub ip_networks: Vec<String>,
    /// The most identifiers in one order.
    pub per_order: usize,
}

/// Checked [`IdentifiersConfig`].
#[derive(Clone, Debug)]
pub struct IdentifierRules {
    /// In canonical form.
    pub dns_suffixes: Vec<DnsName>,
    /// Wildcards too.
    pub wildcards: bool,
    /// See [`IdentifiersConfig::single_labels`].
    pub single_labels: bool,
    /// See [`IdentifiersConfig::ip_networks`].
    pub ip_networks: Vec<Network>,
    /// The most identifiers in one order.
    pub per_order: usize,
}

/// Parses and admits one identifier of an order.
///
/// # Errors
/// Why it is refused, for its subproblem.
pub fn admit(object: IdentifierObject, rules: &IdentifierRules) -> Result<Identifier, IdentifierRefusal> {
    if object.kind == "ip" && rules.ip_networks.is_empty() {
        return Err(IdentifierRefusal::Unsupported);
    }
    let identifier = Identifier::try_from(object).map_err(IdentifierRefusal::Form)?;
    match &identifier {
        Identifier::Dns(name) => rules.admit_name(name)?,
        Identifier::Ip(address) => rules.admit_address(*address)?,
    }
    Ok(identifier)
}

impl IdentifierRules {
    fn admit_name(&self, name: &DnsName) -> Result<(), IdentifierRefusal> {
        let within = || self.dns_suffixes.iter().any(|suffix| name.is_within(suffix.as_str()));
        match name {
            name if name.is_single_label() && self.single_labels => Ok(()),
            name if name.is_single_label() => Err(IdentifierRefusal::SingleLabel),
            name if name.is_wildcard() && !self.wildcards => Err(IdentifierRefusal::Wildcard),
            _ if within() => Ok(()),
            _ => Err(IdentifierRefusal::NotPermitted),
        }
    }

    fn admit_address(&self, address: IpAddr) -> Result<(), IdentifierRefusal> {
        let within = self.ip_networks.iter().any(|network| network.contains(address));
        if within { Ok(()) } else { Err(IdentifierRefusal::AddressNotPermitted) }
    }
}

impl TryFrom<IdentifiersConfig> for IdentifierRules {
    type Error = BadConfig;

    fn try_from(config: IdentifiersConfig) -> Result<Self, BadConfig> {
        if !(1..=100).contains(&config.per_order) {
            return Err(BadConfig::PerOrder);
        }
        let suffix = |text: String| match text.parse::<DnsName>() {
            Ok(name) if name.is_wildcard() => Err(BadConfig::Suffix(text, NotAnIdentifier::BadWildcard)),
            Ok(name) => Ok(name),
            Err(error) => Err(BadConfig::Suffix(text, error)),
        };
        Ok(Self {
            dns_suffixes: config.dns_suffixes.into_iter().map(suffix).collect::<Result<_, _>>()?,
            wildcards: config.wildcards,
            single_labels: config.single_labels,
            ip_networks: parse_networks("identifiers.ip_networks", config.ip_networks)?,
            per_order: config.per_order,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use IdentifierRefusal::*;

    fn rules() -> IdentifierRules {
        IdentifierRules {
            dns_suffixes: vec!["test".parse().unwrap()],
            wildcards: false,
            single_labels: false,
            ip_networks: Vec::new(),
            per_order: 100,
        }
    }

    fn everything() -> IdentifierRules {
        let ip_networks = ["10.0.0.0/8", "fd00::/8"].map(|text| text.parse().unwrap()).into();
        IdentifierRules { wildcards: true, single_labels: true, ip_networks, ..rules() }
    }

    fn judge(kind: &str, value: &str, rules: &IdentifierRules) -> Result<String, IdentifierRefusal> {
        admit(IdentifierObject { kind: kind.into(), value: value.into() }, rules)
            .map(|identifier| identifier.to_string())
    }

    #[test]
    fn what_the_rules_give_is_admitted_and_folded() {
        let table = [
            ("dns", "A.Test", "a.test"),
            ("dns", "XN--BCHER-KVA.test", "xn--bcher-kva.test"),
            ("dns", "*.a.test", "*.a.test"),
            ("dns", "*.test", "*.test"),
            ("dns", "DB1", "db1"),
            ("dns", "localhost", "localhost"),
            ("ip", "10.1.2.3", "10.1.2.3"),
            ("ip", "fd00::1", "fd00::1"),
        ];
        for (kind, value, identifier) in table {
            assert_eq!(judge(kind, value, &everything()).as_deref(), Ok(identifier), "{value}");
        }
        assert_eq!(judge("dns", "a.test", &rules()).as_deref(), Ok("a.test"));
    }

    #[test]
    fn what_no_rule_gives_is_refused_with_its_reason() {
        let table = [
            ("dns", "a.example", NotPermitted, NotPermitted),
            ("dns", "atest.example", NotPermitted, NotPermitted),
            ("dns", "*.a.example", Wildcard, NotPermitted),
            ("dns", "*.db1", Wildcard, NotPermitted),
            ("ip", "192.0.2.1", Unsupported, AddressNotPermitted),
            ("ip", "11.0.0.0", Unsupported, AddressNotPermitted),
            ("ip", "fe80::1", Unsupported, AddressNotPermitted),
            ("ip", "nonsense", Unsupported, Form(NotAnIdentifier::BadAddress)),
            ("ip", "::ffff:10.0.0.1", Unsupported, Form(NotAnIdentifier::MappedAddress)),
            ("ip", "*.10.0.0.1", Unsupported, Form(NotAnIdentifier::WildcardAddress)),
            ("dns", "10.0.0.1", Form(NotAnIdentifier::LooksLikeAddress), Form(NotAnIdentifier::LooksLikeAddress)),
            ("dns", "", Form(NotAnIdentifier::Empty), Form(NotAnIdentifier::Empty)),
            ("DNS", "a.test", Form(NotAnIdentifier::UnknownType), Form(NotAnIdentifier::UnknownType)),
            ("email", "a@b.test", Form(NotAnIdentifier::UnknownType), Form(NotAnIdentifier::UnknownType)),
        ];
        for (kind, value, few, many) in table {
            assert_eq!(judge(kind, value, &rules()), Err(few), "{value}");
            assert_eq!(judge(kind, value, &everything()), Err(many), "{value}");
        }
        for value in ["localhost", "db1", "test"] {
            assert_eq!(judge("dns", value, &rules()), Err(SingleLabel), "{value}");
        }
        assert_eq!(judge("dns", "*.a.test", &rules()), Err(Wildcard));
    }
}
