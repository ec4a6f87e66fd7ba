//! Terms of service that change: an account must agree to the version that is in force before it may order (RFC 8555 §7.3.3).
//! A person agrees, on a page whose URL only the account is told.

use super::{
    account,
    config::Config,
    page,
    problem::Problem,
    record::{AccountRecord, Record},
    route::{AccountId, Urls},
    step::Context,
    storage::{Change, Key, Rows},
};

/// True when nothing is left to agree to.
#[must_use]
pub fn agreed(account: &AccountRecord, config: &Config) -> bool {
    config.terms_of_service.is_none()
        || (account.terms_agreed
            && (config.terms_of_service_version.is_none() || account.terms_version == config.terms_of_service_version))
}

/// The refusal of what needs an agreement that is not there: it says where to agree.
#[must_use]
pub fn refusal(context: &Context<'_>) -> Problem {
    let terms = context.config.terms_of_service.clone().unwrap_or_default();
    Problem::TermsChanged { terms, instance: agreement(context.account, context.config, context.urls) }
}

/// Where a person agrees for this account to the version that is in force.
#[must_use]
pub fn agreement(account: AccountId, config: &Config, urls: &Urls) -> String {
    urls.agreement(account, config.terms_of_service_version.as_deref().unwrap_or_default())
}

/// A person has agreed. Nothing to write where that was so before, or there is no account.
///
/// # Errors
/// When rows cannot be read.
pub fn agree(rows: &dyn Rows, context: &Context<'_>) -> Result<Vec<Change>, Problem> {
    let Some(mut record) = AccountRecord::load(rows, Key::Account)? else { return Ok(Vec::new()) };
    if agreed(&record, context.config) {
        return Ok(Vec::new());
    }
    record.terms_agreed = true;
    record.terms_version.clone_from(&context.config.terms_of_service_version);
    Ok(vec![account::put(&record, context)?])
}

/// The page where a person agrees.
#[must_use]
pub fn html(config: &Config) -> String {
    let terms = page::escape(config.terms_of_service.as_deref().unwrap_or_default());
    let version = config.terms_of_service_version.as_deref().map(|version| format!(", version {version}"));
    let version = page::escape(&version.unwrap_or_default());
    let title = page::escape(&config.title);
    page::document(
        &title,
        &format!(
            r#"<h1>{title}</h1>
<p>An ACME account needs your agreement to the <a href="{terms}">terms of service</a>{version} before it can order certificates.</p>
<form method="post"><button>I have read the terms and agree to them for this account</button></form>
"#
        ),
    )
}

/// The page after that.
#[must_use]
pub fn agreed_html(config: &Config) -> String {
    let title = page::escape(&config.title);
    page::document(&title, &format!("<h1>{title}</h1>\n<p>Thank you. The account can order certificates again.</p>\n"))
}
