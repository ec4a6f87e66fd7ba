//! Terms of service (RFC 8555 §7.3, §7.3.3).

use anyhow::Result;
use serde_json::json;
use tests::{account::register, key::AccountKey};

use crate::{
    ask::{kind, link},
    external_accounts::bind,
    world::{TERMS, strict},
};

/// RFC 8555 §7.3 MUST: newAccount without `termsOfServiceAgreed` is refused where terms must be agreed to.
/// RFC 8555 §7.3.3 MUST: `userActionRequired` links to the terms as `terms-of-service`, and says in `instance` where to go.
#[test]
fn no_account_is_opened_without_agreement_and_the_terms_are_named() -> Result<()> {
    let strict = strict();
    let key = AccountKey::es256();
    let binding = bind(&strict.client, &key, strict.stack.report.external_account.as_deref())?;
    let without = json!({"externalAccountBinding": binding});
    for payload in [without, json!({"termsOfServiceAgreed": false, "externalAccountBinding": binding})] {
        let reply = register(&strict.client, &key, &payload)?;
        assert_eq!((kind(&reply)?.as_str(), reply.status), ("userActionRequired", 403));
        assert_eq!(link(&reply, "terms-of-service").as_deref(), Some(TERMS));
        assert_eq!(reply.json()?["instance"], TERMS);
    }
    let payload = json!({"termsOfServiceAgreed": true, "externalAccountBinding": binding});
    let object = register(&strict.client, &key, &payload)?.expect(201)?.json()?;
    assert_eq!(object["termsOfServiceAgreed"], true);
    Ok(())
}
