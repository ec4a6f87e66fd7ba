//! Accounts: made, found, read, updated, ended (RFC 8555 §7.1.2, §7.3).

use serde::Deserialize;
use shared::{
    identifier::DnsName,
    json,
    jws::{Flattened, KeyReference, Verified},
    timestamp::Timestamp,
};

use super::{
    external_account::{BadBinding, Binding, BindingClaim, BindingPolicy},
    problem::Problem,
    record::{AccountRecord, AccountStatus, OrderRecord, OrderState, Record, RetiredRecord},
    route::{AccountId, Resource, Route},
    step::{Context, Reply, Settled, Step, payload},
    storage::{Change, Key, Rows, StorageFault},
    terms,
    view::AccountView,
};

/// The most contacts that an account keeps, and the most bytes in one.
const MAX_CONTACTS: usize = 10;
const MAX_CONTACT_BYTES: usize = 254;

/// Orders that are looked at together.
const PAGE: usize = 50;

/// What a newAccount payload must be.
const NEW_ACCOUNT: &str = "a newAccount object";

/// The external account binding that must be verified before newAccount can go on; nothing when none is wanted or the account
/// is there already (RFC 8555 §7.3.4).
///
/// # Errors
/// `externalAccountRequired`, `malformed`, `badSignatureAlgorithm`.
pub fn binding_claim(
    rows: &dyn Rows,
    request: &Verified,
    context: &Context<'_>,
) -> Result<Option<BindingClaim>, Problem> {
    let policy = context.config.external_account_binding;
    if policy == BindingPolicy::Off || !opens(rows, request)? {
        return Ok(None);
    }
    let asked: NewAccount = payload(request, NEW_ACCOUNT)?;
    let KeyReference::Jwk(key) = &request.header().key else { return Err(Problem::WrongKeyMember("jwk")) };
    match asked.external_account_binding {
        Some(binding) => {
            let proof: Flattened = json::object(binding.to_string().as_bytes()).map_err(|_| BadBinding::Form)?;
            Ok(Some(BindingClaim::parse(proof, key, &context.urls.of(Route::NewAccount))?))
        }
        None if policy == BindingPolicy::Required => Err(Problem::BindingRequired),
        None => Ok(None),
    }
}

/// True when newAccount would open an account: there is none, and one is asked for.
///
/// # Errors
/// `malformed`.
pub fn opens(rows: &dyn Rows, request: &Verified) -> Result<bool, Problem> {
    if AccountRecord::load(rows, Key::Account)?.is_some() {
        return Ok(false);
    }
    let asked: NewAccount = payload(request, NEW_ACCOUNT)?;
    Ok(!asked.only_return_existing)
}

/// newAccount (RFC 8555 §7.3): makes the account of the key in the request, or finds it (§7.3.1). `binding` is the verified
/// [`binding_claim`].
///
/// # Errors
/// `accountDoesNotExist`, `invalidContact`, `unsupportedContact`, `userActionRequired`, `externalAccountRequired`,
/// `unauthorized`, `malformed`.
pub fn create(
    rows: &dyn Rows,
    request: Verified,
    binding: Option<Binding>,
    context: &Context<'_>,
) -> Result<Step, Problem> {
    let KeyReference::Jwk(key) = &request.header().key else { return Err(Problem::WrongKeyMember("jwk")) };
    let location = context.urls.resource(context.account, Resource::Account);
    if let Some(account) = AccountRecord::load(rows, Key::Account)? {
        // Whatever the payload says is ignored (RFC 8555 §7.3.1).
        return match account.status {
            AccountStatus::Deactivated => Err(Problem::Deactivated),
            AccountStatus::Valid if account.key != **key => {
                let asked: NewAccount = payload(&request, NEW_ACCOUNT)?;
                if asked.only_return_existing {
                    return Err(Problem::AccountDoesNotExist);
                }
                Err(Problem::Unauthorized("The account that this key opened has another key now."))
            }
            AccountStatus::Valid => Ok(Step::read(reply(200, &account, context)?.at(location))),
        };
    }
    let asked: NewAccount = payload(&request, NEW_ACCOUNT)?;
    if asked.only_return_existing {
        return Err(Problem::AccountDoesNotExist);
    }
    if RetiredRecord::load(rows, Key::Retired)?.is_some() {
        return Err(Problem::Unauthorized("This key was replaced by another one, and opens no account any more."));
    }
    if let Some(terms) = context.config.terms_of_service.as_ref().filter(|_| !asked.terms_of_service_agreed) {
        return Err(Problem::TermsNotAgreed(terms.clone()));
    }
    if binding.is_none() && context.config.external_account_binding == BindingPolicy::Required {
        return Err(Problem::BindingRequired);
    }
    let account = AccountRecord {
        key: (**key).clone(),
        terms_version: terms_version(&asked, context),
        contact: check_contacts(&asked.contact)?,
        terms_agreed: asked.terms_of_service_agreed,
        created: context.now,
        status: AccountStatus::Valid,
        binding,
    };
    let reply = reply(201, &account, context)?.at(location);
    Ok(Step { changes: vec![put(&account, context)?], effect: None, reply })
}

/// A POST to the account's URL: read (§7.3.3 of POST-as-GET), update contacts (§7.3.2), deactivate (§7.3.6).
///
/// # Errors
/// `invalidContact`, `unsupportedContact`, `malformed`.
pub fn read_or_update(mut account: AccountRecord, request: &Verified, context: &Context<'_>) -> Result<Step, Problem> {
    if request.payload().is_empty() {
        return Ok(Step::read(reply(200, &account, context)?));
    }
    let update: AccountUpdate = payload(request, "an account object, or empty")?;
    // No other status is a client's to give (RFC 8555 §7.3.2).
    if update.status.is_some_and(|status| status == "deactivated") {
        account.status = AccountStatus::Deactivated;
    }
    if let Some(contact) = update.contact {
        account.contact = check_contacts(&contact)?;
    }
    let reply = reply(200, &account, context)?;
    Ok(Step { changes: vec![put(&account, context)?], effect: None, reply })
}

/// The account's row. Its alarm looks whether the account is still of use; a deactivated one stays, so that its key opens no
/// other.
///
/// # Errors
/// Never: an account can be serialized.
pub fn put(account: &AccountRecord, context: &Context<'_>) -> Result<Change, StorageFault> {
    let due = account.created.plus(context.config.lifetimes.idle_account);
    account.put(Key::Account, (account.status == AccountStatus::Valid).then_some(due))
}

/// An alarm asks whether the account is of use: it deletes itself when it has issued nothing for `lifetimes.idle_account`, no
/// certificate of its is still valid, and no order can become one.
///
/// # Errors
/// When rows cannot be read.
pub fn due(rows: &dyn Rows, context: &Context<'_>) -> Result<Settled, Problem> {
    let Some(account) = AccountRecord::load(rows, Key::Account)? else { return Ok(Settled::default()) };
    if account.status == AccountStatus::Deactivated {
        return Ok(Settled::changes(vec![put(&account, context)?]));
    }
    let next = of_use_until(rows, &account, context)?;
    if next > context.now {
        return Ok(Settled::changes(vec![account.put(Key::Account, Some(next))?]));
    }
    if AccountId(account.key.thumbprint()) == context.account {
        return Ok(Settled { ends: true, ..Settled::default() });
    }
    // The key that named this object was given up: whoever has it must not come back in the account's name.
    let retired = RetiredRecord { since: context.now };
    Ok(Settled::changes(vec![Change::Clear, retired.put(Key::Retired, None)?]))
}

/// Before this the account need not be looked at again.
fn of_use_until(rows: &dyn Rows, account: &AccountRecord, context: &Context<'_>) -> Result<Timestamp, Problem> {
    let idle = context.config.lifetimes.idle_account;
    let mut until = account.created.plus(idle);
    let mut before = None;
    loop {
        let page = rows.orders(before, PAGE)?;
        for id in &page {
            let Some(order) = OrderRecord::load(rows, Key::Order(*id))? else { continue };
            until = until.max(match &order.state {
                OrderState::Processing(_) => context.now.plus(idle),
                OrderState::Open => order.expires,
                OrderState::Valid(issued) => order.created.plus(idle).max(issued.not_after),
                OrderState::Invalid(_) => until,
            });
        }
        // The newest orders are first: where one of them is reason enough to stay, the others need not be read.
        before = page.last().copied();
        if until > context.now || page.len() < PAGE {
            return Ok(until);
        }
    }
}

/// An account object as an answer.
///
/// # Errors
/// Never: a view can be serialized.
pub fn reply(http_status: u16, account: &AccountRecord, context: &Context<'_>) -> Result<Reply, Problem> {
    Reply::json(http_status, &view(account, context))
}

fn view(account: &AccountRecord, context: &Context<'_>) -> AccountView {
    AccountView {
        status: account.status,
        contact: account.contact.clone(),
        terms_of_service_agreed: context
            .config
            .terms_of_service
            .is_some()
            .then(|| terms::agreed(account, context.config)),
        external_account_binding: account.binding.as_ref().map(|binding| binding.proof.clone()),
        orders: context.urls.resource(context.account, Resource::Orders(None)),
    }
}

/// What is in force is what is agreed to.
fn terms_version(asked: &NewAccount, context: &Context<'_>) -> Option<String> {
    context.config.terms_of_service_version.clone().filter(|_| asked.terms_of_service_agreed)
}

/// One address each, without header fields (RFC 8555 §7.3).
fn check_contacts(contacts: &[String]) -> Result<Vec<String>, Problem> {
    if contacts.len() > MAX_CONTACTS {
        return Err(Problem::Payload("an account whose \"contact\" has at most 10 URLs"));
    }
    contacts.iter().map(|contact| check_contact(contact)).collect()
}

/// The contact without white space around it and behind its scheme, which some clients write there.
fn check_contact(contact: &str) -> Result<String, Problem> {
    let Some((scheme, address)) = contact.split_once(':') else {
        return Err(Problem::InvalidContact(cut(contact)));
    };
    let (scheme, address) = (scheme.trim(), address.trim());
    if !scheme.eq_ignore_ascii_case("mailto") {
        return Err(Problem::UnsupportedContact(cut(contact)));
    }
    let valid = address.rsplit_once('@').is_some_and(|(local, domain)| {
        let plain =
            |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b',' | b'?' | b'<' | b'>' | b'"' | b'@' | b'\\');
        !local.is_empty() && local.bytes().all(plain) && domain.parse::<DnsName>().is_ok_and(|name| !name.is_wildcard())
    });
    let trimmed = format!("{scheme}:{address}");
    if valid && trimmed.len() <= MAX_CONTACT_BYTES { Ok(trimmed) } else { Err(Problem::InvalidContact(cut(contact))) }
}

/// What is repeated of a stranger's text in a problem.
fn cut(text: &str) -> String {
    text.chars().take(100).collect()
}

/// RFC 8555 §7.3. Members that are not known are ignored.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct NewAccount {
    #[serde(default)]
    contact: Vec<String>,
    #[serde(default)]
    terms_of_service_agreed: bool,
    #[serde(default)]
    only_return_existing: bool,
    /// As it came: without a use for it nobody looks at its form.
    external_account_binding: Option<serde_json::Value>,
}

/// RFC 8555 §7.3.2, §7.3.6. Everything else is ignored.
#[derive(Deserialize)]
struct AccountUpdate {
    contact: Option<Vec<String>>,
    status: Option<serde_json::Value>,
}
