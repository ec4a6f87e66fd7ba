//! Certificates: read, and their form (RFC 8555 §7.4.2, §9.1).

use anyhow::{Context as _, Result};
use serde_json::json;
use tests::openssl;

use crate::{
    ask::{account, kind},
    world::world,
};

/// One certificate in the strict encoding of RFC 7468 §3: full lines of 64 characters, and one that may be shorter.
fn is_strict(block: &str) -> bool {
    let mut lines: Vec<&str> = block.lines().collect();
    let framed =
        lines.first() == Some(&"-----BEGIN CERTIFICATE-----") && lines.pop() == Some("-----END CERTIFICATE-----");
    let body = lines.get(1..).unwrap_or_default();
    let base64 = |line: &str| line.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+/=".contains(&byte));
    let (last, full) = body.split_last().unwrap_or((&"", &[]));
    framed && full.iter().all(|line| line.len() == 64 && base64(line)) && (1..=64).contains(&last.len()) && base64(last)
}

/// RFC 8555 §7.4.2 says: a certificate is read by POST-as-GET, as `application/pem-certificate-chain`.
/// RFC 8555 §9.1 MUST: certificates are in the strict PEM encoding.
/// RFC 8555 §9.1 MUST NOT: there is other text in a chain.
/// RFC 8555 §9.1 MUST: the first certificate is the end entity's.
/// RFC 8555 §9.1 SHOULD: each certificate is signed by the next one.
#[test]
fn a_chain_is_strict_pem_and_begins_with_the_leaf() -> Result<()> {
    let account = account()?;
    let name = "form.certificates.test";
    let (_, chain) = account.issue(&[name], &world().responder)?;
    let end = "-----END CERTIFICATE-----\n";
    assert!(chain.ends_with(end), "{chain}");
    let blocks: Vec<String> =
        chain.split_inclusive(end).map(|block| block.trim_start_matches('\n').to_owned()).collect();
    assert!(blocks.len() >= 2 && blocks.iter().all(|block| is_strict(block)), "{chain}");
    assert!(openssl::x509(&blocks[0], ["-ext", "subjectAltName"])?.contains(name));
    let field = |block: &str, field: &str| -> Result<String> {
        let text = openssl::x509(block, [field])?;
        Ok(text.split_once('=').context("a name")?.1.trim().to_owned())
    };
    for pair in blocks.windows(2) {
        assert_eq!(field(&pair[0], "-issuer")?, field(&pair[1], "-subject")?);
        assert!(openssl::x509(&pair[1], ["-ext", "basicConstraints"])?.contains("CA:TRUE"));
    }
    openssl::verify(&world().stack.report.root, &chain, name)
}

/// RFC 8555 §7.4.2 says: a certificate never changes.
#[test]
fn a_certificate_is_the_same_every_time_that_it_is_read() -> Result<()> {
    let account = account()?;
    let (order, chain) = account.issue(&["same.certificates.test"], &world().responder)?;
    for _ in 0..2 {
        assert_eq!(account.certificate(&order)?, chain);
    }
    Ok(())
}

/// RFC 8555 §7.4.2 says: there is nothing to read before the order is valid.
#[test]
fn an_order_that_is_not_valid_has_no_certificate() -> Result<()> {
    let account = account()?;
    let (order, _) = account.issue(&["one.certificates.test"], &world().responder)?;
    let valid = account.read(&order.url)?.json()?;
    let url = valid["certificate"].as_str().context("a certificate")?;
    let pending = account.order(&["two.certificates.test"])?;
    assert!(pending.object.get("certificate").is_none());
    let id = |url: &str| url.rsplit('/').next().map(str::to_owned).context("an id");
    kind(&account.read(&url.replace(&id(url)?, &id(&pending.url)?))?)?;
    kind(&account.post(url, &json!({}))?)?;
    Ok(())
}
