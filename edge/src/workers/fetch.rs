//! http-01 by the platform's fetch: reaches hosts behind the platform's own proxy, which no socket of ours does. Where it
//! connects is the platform's choice, so it is used for names alone, and only where no private networks are listed.

use worker::{AbortController, CacheMode, Fetch, Headers, Method, Request, RequestInit, RequestRedirect};

use super::{
    body,
    dns::AbortOnDrop,
    http::{ACCEPT, Answer, USER_AGENT, is_redirect},
};
use crate::acme::{
    probe::{Evidence, MAX_BODY, ProbeFault},
    probe_redirect::{HttpTarget, Ports},
};

/// One GET. Follows nothing, sends no cookie, is answered by no cache, and ends when it is dropped.
pub(super) async fn get(target: &HttpTarget, ports: Ports) -> Result<Answer, ProbeFault> {
    let url = format!("{}://{}{}", target.scheme.name(), target.authority(ports), target.path);
    let abort = AbortOnDrop(Some(AbortController::default()));
    let signal = abort.0.as_ref().map(AbortController::signal).ok_or(ProbeFault::Connection)?;
    let request = Fetch::Request(request(&url).map_err(|_| ProbeFault::BadRedirect)?);
    let response = request.send_with_signal(&signal).await.map_err(|_| ProbeFault::Connection)?;
    let status = response.status_code();
    if is_redirect(status)
        && let Some(location) = response.headers().get("location").map_err(|_| ProbeFault::BadRedirect)?
    {
        return Ok(Answer::Redirect(location));
    }
    let body = body::beginning_of_response(response, MAX_BODY).await.map_err(|_| ProbeFault::Connection)?;
    Ok(Answer::Final(Evidence::Http { status, body }))
}

fn request(url: &str) -> worker::Result<Request> {
    let headers = Headers::new();
    headers.set("user-agent", USER_AGENT)?;
    headers.set("accept", ACCEPT)?;
    let mut init = RequestInit::new();
    init.with_method(Method::Get).with_headers(headers).with_redirect(RequestRedirect::Manual);
    init.cache = Some(CacheMode::NoStore);
    Request::new_with_init(url, &init)
}
