//! The front: answers what needs no state, and forwards each signed request to its account's object in one hop. Holds
//! nothing between requests.

use std::net::IpAddr;

use subtle::ConstantTimeEq;
use worker::{Context, Env, Method, Request, console_error, event, web_sys};

use super::{
    account,
    body::{self, Unread},
    environment::Environment,
    forward, front_status, metrics, renewal,
    reply::{self, Answer},
    rollover,
    signed_request::SignedRequest,
    status,
};
use crate::{
    acme::{
        authentication::Home,
        directory::Directory,
        page,
        problem::Problem,
        renewal_info::CertificateId,
        route::{AccountId, Route},
        terms,
    },
    status::route::StatusRoute,
};

/// The media type of every signed request (RFC 8555 §6.2).
const SIGNED: &str = "application/jose+json";

/// The page loads nothing and runs nothing.
const PAGE_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'";

/// This one sends its form to where it came from.
const AGREEMENT_POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; form-action 'self'";

/// Who answers.
enum Served {
    /// The front itself.
    Here(Answer),
    /// An account's object, completely.
    ByObject(web_sys::Response),
}

/// Every request of the deployment.
#[event(fetch)]
async fn fetch(mut request: Request, env: Env, _context: Context) -> worker::Result<web_sys::Response> {
    let environment = match Environment::of(&env) {
        Ok(environment) => environment,
        Err(error) => return reply::unconfigured(&error).map(Into::into),
    };
    if let Some(route) = StatusRoute::parse(&request.path()) {
        return front_status::serve(&route, &mut request, &env, &environment).await.map(Into::into);
    }
    if [metrics::PATH, metrics::UNDELIVERED].contains(&request.path().as_str()) {
        return metrics::serve(&request, &env, &environment).await.map(Into::into);
    }
    let answer = match serve(&mut request, &env, &environment).await {
        Ok(Served::ByObject(response)) => return Ok(response),
        Ok(Served::Here(answer)) => answer,
        Err(problem) => problem.into(),
    };
    answer.send(&environment, environment.mint_nonce().ok(), 0).map(Into::into)
}

async fn serve(request: &mut Request, env: &Env, environment: &Environment) -> Result<Served, Problem> {
    if environment.config.renewal.offered
        && let Some(id) = CertificateId::of_path(&request.path())
    {
        return match (is_encrypted(request), request.method()) {
            (false, _) => Err(Problem::PlainHttp),
            (true, Method::Get) => {
                renewal::ask(env, environment, &request.path(), id?).await.map(|answer| Served::ByObject(answer.into()))
            }
            (true, _) => Err(Problem::MethodNotAllowed("GET")),
        };
    }
    let route = environment.urls.parse(&request.path()).map_err(|_| Problem::NotFound)?;
    if !is_encrypted(request) && !matches!(route, Route::RootPem | Route::RootDer) {
        return Err(Problem::PlainHttp);
    }
    match (route, request.method()) {
        (route, Method::Post) if route.takes_signed() => {
            signed(route, request, env, environment).await.map(Served::ByObject)
        }
        (route, _) if route.is_signed() => Err(Problem::MethodNotAllowed("POST")),
        // RFC 8555 §7.2.
        (Route::NewNonce, Method::Head) => Ok(Served::Here(Answer::empty(200))),
        (Route::NewNonce, Method::Get) => Ok(Served::Here(Answer::empty(204))),
        (Route::Agreement(account, tag), method) => {
            agreement(account, tag, method, env, environment).await.map(Served::Here)
        }
        (route, Method::Get | Method::Head) => content(route, environment).map(Served::Here),
        (Route::Directory | Route::NewNonce, _) => Err(Problem::MethodNotAllowed("GET, HEAD, POST")),
        (_, _) => Err(Problem::MethodNotAllowed("GET, HEAD")),
    }
}

/// What is the same for everybody.
fn content(route: Route, environment: &Environment) -> Result<Answer, Problem> {
    let Environment { config, urls, .. } = environment;
    Ok(match route {
        Route::Page => html(page::html(config, urls), PAGE_POLICY),
        Route::Directory => {
            let directory = serde_json::to_vec(&Directory::new(config, urls))
                .map_err(|_| Problem::Internal("the directory cannot be serialized"))?;
            Answer::content("application/json", directory)
        }
        Route::RootPem => Answer::content("application/x-pem-file", config.root_pem.clone()),
        Route::RootDer => Answer::content("application/pkix-cert", config.root.der()),
        _ => return Err(Problem::NotFound),
    })
}

/// A person reads what there is to agree to, or agrees, for an account whose URL was told to nobody else.
async fn agreement(
    account: AccountId,
    tag: [u8; 8],
    method: Method,
    env: &Env,
    environment: &Environment,
) -> Result<Answer, Problem> {
    let Environment { config, urls, .. } = environment;
    let version = config.terms_of_service_version.as_deref().unwrap_or_default();
    let ours = bool::from(urls.agreement_tag(account, version).as_slice().ct_eq(tag.as_slice()));
    if config.terms_of_service.is_none() || !ours {
        return Err(Problem::NotFound);
    }
    match method {
        Method::Get | Method::Head => Ok(html(terms::html(config), AGREEMENT_POLICY)),
        Method::Post => {
            rollover::agree(env, environment, account).await?;
            Ok(html(terms::agreed_html(config), AGREEMENT_POLICY))
        }
        _ => Err(Problem::MethodNotAllowed("GET, HEAD, POST")),
    }
}

fn html(page: String, policy: &str) -> Answer {
    Answer::content("text/html; charset=utf-8", page)
        .with("Content-Security-Policy", policy)
        .with("X-Content-Type-Options", "nosniff")
        .with("Referrer-Policy", "no-referrer")
}

/// A signed request: everything that can be refused without its account is refused here; the rest is its object's.
async fn signed(
    route: Route,
    request: &mut Request,
    env: &Env,
    environment: &Environment,
) -> Result<web_sys::Response, Problem> {
    if !is_signed(request) {
        return Err(Problem::MediaType);
    }
    let limit = environment.config.limits.body_bytes;
    let bytes = body::of_request(request, limit).await.map_err(|error| match error {
        Unread::TooLarge => Problem::TooLarge(limit),
        Unread::Broken => Problem::Payload("a complete body"),
    })?;
    let parsed = SignedRequest::parse(route, &bytes, environment)?;
    let failed = |error: worker::Error| {
        console_error!("{:?}: {error}", parsed.home);
        Problem::Internal("an object cannot be asked")
    };
    let client = client_address(request, environment).map(|client| (account::CLIENT, client.to_string()));
    let mut headers = Vec::from_iter(client);
    // Only where it makes a difference.
    if let Some(place) =
        request.cf().filter(|_| environment.config.signers.iter().any(|signer| !signer.colos.is_empty()))
    {
        headers.push((account::COLO, place.colo()));
    }
    let stub = match parsed.home {
        Home::Account(account) => account::stub(env, environment, account),
        Home::Status(serial) => status::stub(env, environment, serial),
    };
    let url = format!("https://object{}", request.path());
    forward::ask(stub.map_err(failed)?, &url, &bytes, &headers).await.map_err(failed)
}

/// The client's address, where the configuration says in which header the platform names it.
fn client_address(request: &Request, environment: &Environment) -> Option<IpAddr> {
    let name = environment.config.rate_limits.client_address_header.as_deref()?;
    request.headers().get(name).ok()??.trim().parse().ok()
}

/// The platform terminates TLS and says in the URL whether there was any.
pub(super) fn is_encrypted(request: &Request) -> bool {
    request.inner().url().starts_with("https://")
}

/// Parameters of the media type are ignored.
fn is_signed(request: &Request) -> bool {
    let value = request.headers().get("content-type").ok().flatten().unwrap_or_default();
    value.split(';').next().is_some_and(|media_type| media_type.trim().eq_ignore_ascii_case(SIGNED))
}
