//! The front: answers what needs no state, and forwards each signed request to its account's object in one hop. Holds
//! nothing between requests.

use std::net::IpAddr;

use shared::jws::KeyReference;
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
    status, webcrypto,
};
use crate::{
    acme::{
        authentication::{self, Home},
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
        return match (is_encrypted(request), method(request)) {
            (false, _) => Err(Problem::PlainHttp),
            (true, Some(Method::Options)) => Ok(Served::Here(Answer::options("GET"))),
            (true, Some(Method::Get)) => {
                renewal::ask(env, environment, &request.path(), id?).await.map(|answer| Served::ByObject(answer.into()))
            }
            (true, _) => Err(Problem::MethodNotAllowed("GET")),
        };
    }
    let route = environment.urls.parse(&request.path()).map_err(|_| Problem::NotFound)?;
    if !is_encrypted(request) && !matches!(route, Route::RootPem | Route::RootDer) {
        return Err(Problem::PlainHttp);
    }
    let not_allowed = Problem::MethodNotAllowed(route.methods());
    let Some(method) = method(request) else { return Err(not_allowed) };
    match (route, method) {
        (route, Method::Post) if route.takes_signed() => {
            signed(route, request, env, environment).await.map(Served::ByObject)
        }
        (Route::Agreement(account, tag), method) => {
            agreement(account, tag, method, env, environment).await.map(Served::Here)
        }
        (route, Method::Options) => Ok(Served::Here(Answer::options(route.methods()))),
        (route, _) if route.is_signed() => Err(not_allowed),
        // RFC 8555 §7.2.
        (Route::NewNonce, Method::Head) => Ok(Served::Here(Answer::empty(200))),
        (Route::NewNonce, Method::Get) => Ok(Served::Here(Answer::empty(204))),
        (route, Method::Get | Method::Head) => content(route, environment).map(Served::Here),
        (_, _) => Err(not_allowed),
    }
}

/// The method of a request; nothing for one that the platform's type does not know and takes for GET (PROPFIND, say).
pub(super) fn method(request: &Request) -> Option<Method> {
    let method = request.method();
    (request.inner().method() == method.as_ref()).then_some(method)
}

/// What is the same for everybody.
fn content(route: Route, environment: &Environment) -> Result<Answer, Problem> {
    let Environment { config, urls, .. } = environment;
    Ok(match route {
        Route::Page => html(page::html(config, urls), PAGE_POLICY),
        Route::Directory => Answer::content("application/json", Directory::new(config, urls).to_json()?),
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
        _ => Err(Problem::MethodNotAllowed(Route::Agreement(account, tag).methods())),
    }
}

fn html(page: String, policy: &str) -> Answer {
    Answer::content("text/html; charset=utf-8", page)
        .with("Content-Security-Policy", policy)
        .with("X-Content-Type-Options", "nosniff")
        .with("Referrer-Policy", "no-referrer")
        .for_people()
}

/// A signed request: everything that can be refused without its account is refused here; the rest is its object's.
///
/// No object is woken by a name that a stranger chose. An account in `kid` or in the URL carries this deployment's MAC.
/// A key in `jwk`, which names the object of newAccount, and of a revocation by the certificate's key, must have signed
/// the request.
async fn signed(
    route: Route,
    request: &mut Request,
    env: &Env,
    environment: &Environment,
) -> Result<web_sys::Response, Problem> {
    if !is_signed(request) {
        return Err(Problem::MediaType(request.headers().get("content-type").ok().flatten().unwrap_or_default()));
    }
    let limit = environment.config.limits.body_bytes;
    let bytes = body::of_request(request, limit).await.map_err(|error| match error {
        Unread::TooLarge => Problem::TooLarge(limit),
        Unread::Broken => Problem::Payload("a complete body"),
    })?;
    let SignedRequest { home, jws, .. } = SignedRequest::parse(route, &bytes, environment)?;
    authentication::check_query(route, jws.header(), query(request).as_deref(), &environment.urls)?;
    if let KeyReference::Jwk(key) = jws.header().key.clone() {
        webcrypto::verify(jws, &key, None, drop).await?;
    }
    let failed = |error: worker::Error| {
        console_error!("{home:?}: {error}");
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
    let stub = match home {
        Home::Account(account) => account::stub(env, environment, account),
        Home::Status(serial) => status::stub(env, environment, serial),
    };
    let url = format!("https://object{}", request.path());
    forward::ask(stub.map_err(failed)?, &url, &bytes, &headers).await.map_err(failed)
}

/// The query of the request's URL. Nothing else here has one: what a route is does not depend on it.
fn query(request: &Request) -> Option<String> {
    request.inner().url().split_once('?').map(|(_, query)| query.to_owned())
}

/// The client's address, where the configuration says that a proxy names it, and in which header.
fn client_address(request: &Request, environment: &Environment) -> Option<IpAddr> {
    let name = environment.config.rate_limits.trusted_address_header()?;
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
