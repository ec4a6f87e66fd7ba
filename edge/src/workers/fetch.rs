//! http-01 by the platform's fetch: reaches hosts behind the platform's own proxy, which no socket of ours does. Where it
//! connects is the platform's choice, so it is used for names alone, and only where no private networks are listed.

use worker::{AbortController, CacheMode, Fetch, Headers, Method, Request, RequestInit, RequestRedirect};

use super::{
    body::{self, Unread},
    dns::AbortOnDrop,
};
use crate::{
    acme::{
        probe::{Attempt, Evidence, MAX_BODY, Peer, ProbeFault},
        probe_redirect::{HttpTarget, Ports},
    },
    http::{ACCEPT, ACCEPT_ENCODING, Answer, USER_AGENT, is_redirect},
};

/// Returns the server as it is named in problems: the platform chooses its address.
pub(super) fn peer(target: &HttpTarget, ports: Ports) -> Peer {
    Peer::Host(format!("{} port {}", target.host, ports.of(target.scheme)))
}

/// One GET. Follows nothing, sends no cookie, is answered by no cache, and ends when it is dropped.
pub(super) async fn get(target: &HttpTarget, ports: Ports) -> Result<Answer, ProbeFault> {
    let broken = || ProbeFault::Broken(peer(target, ports));
    let url = format!("{}://{}{}", target.scheme.name(), target.authority(ports), target.path);
    let abort = AbortOnDrop(Some(AbortController::default()));
    let signal = abort.0.as_ref().map(AbortController::signal).ok_or_else(broken)?;
    let request = Fetch::Request(request(&url).map_err(|_| broken())?);
    let unreached = |_| ProbeFault::Unreached(vec![Attempt { peer: peer(target, ports), timed_out: false }]);
    let response = request.send_with_signal(&signal).await.map_err(unreached)?;
    let status = response.status_code();
    if is_redirect(status)
        && let Some(location) = response.headers().get("location").map_err(|_| broken())?
    {
        return Ok(Answer::Redirect(location.into_bytes()));
    }
    if status != 200 {
        return Ok(Answer::Final(Evidence::Http { status, body: Vec::new() }));
    }
    match body::of_response(response, MAX_BODY).await {
        Ok(body) => Ok(Answer::Final(Evidence::Http { status, body })),
        Err(Unread::TooLarge) => Err(ProbeFault::LongBody(peer(target, ports))),
        Err(Unread::Broken) => Err(broken()),
    }
}

fn request(url: &str) -> worker::Result<Request> {
    let headers = Headers::new();
    headers.set("user-agent", USER_AGENT)?;
    headers.set("accept", ACCEPT)?;
    headers.set("accept-encoding", ACCEPT_ENCODING)?;
    let mut init = RequestInit::new();
    init.with_method(Method::Get).with_headers(headers).with_redirect(RequestRedirect::Manual);
    init.cache = Some(CacheMode::NoStore);
    Request::new_with_init(url, &init)
}
