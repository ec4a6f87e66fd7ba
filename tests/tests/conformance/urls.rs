//! The URL that a request signs (RFC 8555 §6.4), and what URLs tell (§10.5).

use std::collections::BTreeSet;

use anyhow::{Context as _, Result};
use serde_json::json;

use crate::ask::{account, all_urls, changed, header, kind, send, signed_resources};

/// RFC 8555 §6.4 MUST: a request whose `url` is not the one that it was sent to is refused as unauthorized.
#[test]
fn a_request_that_was_signed_for_another_url_is_unauthorized() -> Result<()> {
    let account = account()?;
    for url in signed_resources(&account.client).filter(|url| !url.ends_with("new-account")) {
        let mut header = header(&account, url)?;
        header["url"] = json!(account.url);
        assert_eq!(kind(&send(&account, url, &header, b"{}")?)?, "unauthorized", "{url}");
    }
    let new_account = account.client.url("newAccount");
    let header = json!({"url": account.url, "nonce": account.client.nonce()?, "jwk": account.key.jwk()});
    assert_eq!(kind(&send(&account, new_account, &header, b"{}")?)?, "unauthorized");
    for (what, url) in all_urls(&account, "signed.urls.test")? {
        let mut header = crate::ask::header(&account, &url)?;
        header["url"] = json!(new_account);
        assert_eq!(kind(&send(&account, &url, &header, b"")?)?, "unauthorized", "{what}");
    }
    Ok(())
}

/// RFC 8555 §6.4 MUST: `url` is compared as a text with the URL that the server gave.
#[test]
fn another_spelling_of_the_right_url_is_unauthorized() -> Result<()> {
    let account = account()?;
    let (origin, path) = account.url.split_at(account.url.match_indices('/').nth(2).context("a path")?.0);
    for spelling in [
        format!("{}/", account.url),
        format!("{}?", account.url),
        format!("{}#", account.url),
        format!("{}{path}", origin.to_uppercase()),
        format!("{}{path}", origin.replacen("https", "http", 1)),
        format!("{origin}/{path}"),
        format!("{origin}{}", path.replacen('a', "%61", 1)),
        path.to_owned(),
        String::new(),
    ] {
        assert_eq!(kind(&changed(&account, |header| header["url"] = json!(spelling))?)?, "unauthorized", "{spelling}");
    }
    Ok(())
}

/// RFC 8555 §10.5 SHOULD: URLs cannot be guessed from others, and do not show which resources belong together to strangers.
#[test]
fn urls_of_accounts_and_orders_have_parts_that_cannot_be_guessed() -> Result<()> {
    let (one, two) = (account()?, account()?);
    let id = |url: &str| url.rsplit('/').next().map(str::to_owned).context("an id");
    let mut ids = BTreeSet::new();
    for account in [&one, &two] {
        assert!(ids.insert(id(&account.url)?) && id(&account.url)?.len() >= 22, "{}", account.url);
        for _ in 0..2 {
            let order = account.order(&["guess.urls.test"])?;
            assert!(ids.insert(id(&order.url)?) && id(&order.url)?.len() >= 22, "{}", order.url);
        }
    }
    Ok(())
}
