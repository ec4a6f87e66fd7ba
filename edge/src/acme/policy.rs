//! Which identifiers this deployment takes orders for. The signer has a policy of its own and trusts none of this.

use shared::identifier::{Identifier, IdentifierObject};

use super::{config::IdentifierRules, problem::IdentifierRefusal};

/// Parses and admits one identifier of an order.
///
/// # Errors
/// Why it is refused, for its subproblem.
pub fn admit(object: IdentifierObject, rules: &IdentifierRules) -> Result<Identifier, IdentifierRefusal> {
    let identifier = Identifier::try_from(object).map_err(IdentifierRefusal::Form)?;
    let Identifier::Dns(name) = &identifier else { return Err(IdentifierRefusal::Unsupported) };
    if name.is_wildcard() && !rules.wildcards {
        return Err(IdentifierRefusal::Wildcard);
    }
    if rules.dns_suffixes.iter().any(|suffix| name.is_within(suffix.as_str())) {
        Ok(identifier)
    } else {
        Err(IdentifierRefusal::NotPermitted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(wildcards: bool) -> IdentifierRules {
        IdentifierRules { dns_suffixes: vec!["test".parse().unwrap()], wildcards, per_order: 100 }
    }

    fn admit_dns(value: &str, wildcards: bool) -> Result<Identifier, IdentifierRefusal> {
        admit(IdentifierObject { kind: "dns".into(), value: value.into() }, &rules(wildcards))
    }

    #[test]
    fn names_below_a_suffix_are_admitted_and_folded() {
        assert_eq!(admit_dns("A.Test", false).unwrap().to_string(), "a.test");
        assert!(admit_dns("*.a.test", true).is_ok());
    }

    #[test]
    fn everything_else_is_refused_with_its_reason() {
        assert_eq!(admit_dns("a.example", true), Err(IdentifierRefusal::NotPermitted));
        assert_eq!(admit_dns("atest", true), Err(IdentifierRefusal::NotPermitted));
        assert_eq!(admit_dns("*.a.test", false), Err(IdentifierRefusal::Wildcard));
        assert!(matches!(admit_dns("a..test", true), Err(IdentifierRefusal::Form(_))));
        let address = IdentifierObject { kind: "ip".into(), value: "192.0.2.1".into() };
        assert_eq!(admit(address, &rules(true)), Err(IdentifierRefusal::Unsupported));
        let mail = IdentifierObject { kind: "email".into(), value: "a@b.test".into() };
        assert!(matches!(admit(mail, &rules(true)), Err(IdentifierRefusal::Form(_))));
    }
}
