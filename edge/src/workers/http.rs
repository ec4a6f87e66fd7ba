//! http-01 (RFC 8555 §8.3): gets a challenge's answer over a TCP connection of our own, because only so the address that
//! was checked is the one that is connected to. Nothing here judges what came.

use super::{addresses, fetch, progress::Progress, timeout::within, tls};
use crate::{
    acme::{
        host::Host,
        network::Networks,
        probe::{MAX_REDIRECTS, ProbeFault, ProbeOutcome, TlsFault, Waiting},
        probe_redirect::{HttpTarget, Scheme},
        validation::Validation,
    },
    http::{Answer, exchange},
    tls::client,
};

/// The protocol that is offered to https servers (RFC 7301 §6).
const HTTP_1_1: &[u8] = b"http/1.1";

/// Looks, and follows redirects. The caller bounds the whole.
pub(super) async fn look(
    first: HttpTarget,
    validation: &Validation,
    networks: &Networks,
    progress: &Progress,
) -> ProbeOutcome {
    let mut target = first;
    for _ in 0..=MAX_REDIRECTS {
        match get(&target, validation, networks, progress).await? {
            Answer::Final(evidence) => return Ok(evidence),
            Answer::Redirect(location) => target = target.redirect(&location, validation.ports)?,
        }
    }
    Err(ProbeFault::TooManyRedirects)
}

/// One hop: resolve, filter, connect, with TLS where the URL says so, ask; or have the platform ask, where the configuration
/// says so.
async fn get(
    target: &HttpTarget,
    validation: &Validation,
    networks: &Networks,
    progress: &Progress,
) -> Result<Answer, ProbeFault> {
    let found = addresses::find(&target.host, validation, networks, progress).await?;
    if validation.http.fetches() && networks.listed.is_empty() && matches!(target.host, Host::Name(_)) {
        // The other half of the time is the socket's.
        let limit = addresses::share(validation).saturating_mul(2);
        let peer = fetch::peer(target, validation.ports);
        progress.waits_for(Waiting::Answer(peer.clone()));
        let answer = within(limit, fetch::get(target, validation.ports)).await;
        let seen = match answer.unwrap_or(Err(ProbeFault::Timeout(Waiting::Answer(peer)))) {
            Ok(Answer::Final(evidence)) => Ok(evidence),
            Ok(redirect @ Answer::Redirect(_)) => return Ok(redirect),
            Err(fault) => Err(fault),
        };
        if !validation.http.falls_back(&seen) {
            return seen.map(Answer::Final);
        }
    }
    let port = validation.ports.of(target.scheme);
    let (connection, peer) = addresses::connect(found, port, validation, progress).await?;
    match target.scheme {
        Scheme::Http => {
            progress.waits_for(Waiting::Answer(peer.clone()));
            exchange(connection, target, validation.ports, &peer).await
        }
        Scheme::Https => {
            progress.waits_for(Waiting::Handshake(peer.clone()));
            let name = client::server_name(&target.host);
            let name = name.ok_or_else(|| ProbeFault::Tls(peer.clone(), TlsFault::Handshake))?;
            let connection = tls::handshake(connection, name, HTTP_1_1, &peer).await?;
            progress.waits_for(Waiting::Answer(peer.clone()));
            exchange(connection, target, validation.ports, &peer).await
        }
    }
}
