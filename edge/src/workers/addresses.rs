//! Where probes connect: the addresses of a host, filtered, and a connection to the first that answers. Resolved once and
//! connected to as they were checked: no second look at the DNS can lead elsewhere.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use super::{dns, progress::Progress, tcp::Connection, timeout::within};
use crate::acme::{
    dns::{DnsFault, Question, Record, RecordType},
    host::Host,
    network::Networks,
    probe::{Attempt, Peer, ProbeFault, Waiting},
    validation::Validation,
};
use futures_util::future::join;

/// Addresses of one family that are tried.
const TRIES: usize = 2;

/// Connects to one of these. An address that cannot be connected to is followed by the next.
pub(super) async fn connect(
    addresses: Vec<IpAddr>,
    port: u16,
    validation: &Validation,
    progress: &Progress,
) -> Result<(Connection, Peer), ProbeFault> {
    let mut attempts = Vec::new();
    for address in addresses {
        let address = SocketAddr::new(address, port);
        let peer = Peer::Address(address);
        progress.waits_for(Waiting::Connection(peer.clone()));
        match within(share(validation), Connection::open(address)).await {
            Some(Ok(connection)) => return Ok((connection, peer)),
            failed => attempts.push(Attempt { peer, timed_out: failed.is_none() }),
        }
    }
    Err(ProbeFault::Unreached(attempts))
}

/// The addresses that a probe may connect to: the host itself (RFC 8738 §4), or some of its name, IPv6 first.
pub(super) async fn find(
    host: &Host,
    validation: &Validation,
    networks: &Networks,
    progress: &Progress,
) -> Result<Vec<IpAddr>, ProbeFault> {
    let refused = || ProbeFault::Refused(host.to_string());
    let name = match host {
        Host::Name(name) if networks.own.have_name(name) => return Err(refused()),
        Host::Name(name) => name,
        Host::Address(address) if networks.permit(*address) => return Ok(vec![*address]),
        Host::Address(_) => return Err(refused()),
    };
    progress.waits_for(Waiting::Resolver(name.to_string()));
    let ask = async |kind| dns::ask(&validation.resolvers, &Question::address(name, kind)?, share(validation)).await;
    let failed = |asked: &str, fault| Err(ProbeFault::Lookup { asked: format!("{asked} {name}"), fault });
    let found = match join(ask(RecordType::Aaaa), ask(RecordType::A)).await {
        (Ok(six), Ok(four)) => [six, four],
        (Ok(some), Err(_)) | (Err(_), Ok(some)) => [some, Vec::new()],
        (Err(six), Err(four)) if six == four => return failed("AAAA and A", six),
        // That one family has no records says less than why the other could not be asked.
        (Err(fault), Err(DnsFault::NoRecords)) => return failed("AAAA", fault),
        (Err(_), Err(fault)) => return failed("A", fault),
    };
    let permitted = |records: Vec<Record>| {
        let addresses = records.into_iter().filter_map(|record| match record {
            Record::Address(address) => Some(address),
            Record::Text(_) | Record::Caa { .. } => None,
        });
        addresses.filter(|address| networks.permit(*address)).take(TRIES)
    };
    let addresses: Vec<_> = found.into_iter().flat_map(permitted).collect();
    if addresses.is_empty() { Err(refused()) } else { Ok(addresses) }
}

/// What one lookup or one connection may take of the whole probe's time.
pub(super) fn share(validation: &Validation) -> Duration {
    Duration::from_millis(u64::from(validation.timeout_ms)).checked_div(4).unwrap_or_default()
}
