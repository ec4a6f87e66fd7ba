//! Demands of RFC 8555 on a server that no test checks, with why.

use super::Untested;

/// All of them.
pub(super) const UNTESTED: [Untested; 12] = [
    row("6.1", "SHOULD", "TLS is configured as RFC 7525 recommends.", "The platform terminates TLS."),
    row(
        "7.1.1",
        "MUST",
        "`caaIdentities` are names as they stand in CAA records.",
        "Not in the directory as long as CAA records are not looked at.",
    ),
    row(
        "7.3.4",
        "SHOULD",
        "MAC keys are handed out in base64url.",
        "The operator hands them out; they are configured in that form.",
    ),
    row(
        "7.4.2",
        "SHOULD",
        "a format of one certificate links to the issuer as `up`.",
        "There is one format, which is a chain. Other formats are optional.",
    ),
    row(
        "7.6",
        "SHOULD",
        "a revocation without a reason has no reasonCode in CRLs and OCSP responses.",
        "There are no CRLs and OCSP responses yet.",
    ),
    row(
        "8.2",
        "SHOULD",
        "a validation that failed is tried again after some time.",
        "Not done: a challenge is looked at once (divergences).",
    ),
    row(
        "8.2",
        "SHOULD",
        "a client that answers a challenge again makes the server try again.",
        "Not done: a challenge is looked at once (divergences).",
    ),
    row(
        "10.2",
        "RECOMMENDED",
        "names are looked up and challenges looked at from several places in the network.",
        "Not there yet.",
    ),
    row(
        "11.1",
        "MUST",
        "the key of a CSR is not that of any account.",
        "Checked for the account that finalizes; of others it is not known (divergences).",
    ),
    row("11.2", "RECOMMENDED", "resolvers check DNSSEC.", "The operator chooses the resolver."),
    row(
        "11.2",
        "RECOMMENDED",
        "the CA runs its resolvers itself, in a network that it trusts.",
        "The operator chooses the resolver.",
    ),
    row(
        "7.4",
        "says",
        "a CSR that asks for extensions which will not be in the certificate is an error.",
        "Not done: nothing of a CSR but its names, its key and its extended key usages is looked at (divergences).",
    ),
];

const fn row(section: &'static str, level: &'static str, text: &'static str, why: &'static str) -> Untested {
    Untested { section, level, text, why }
}
