//! Where probes connect: the addresses of a host, filtered, and a connection to the first that answers. Resolved once and
//! connected to as they were checked: no second look at the DNS can lead elsewhere.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use futures_util::future::join;
use shared::identifier::Identifier;

use super::{dns, tcp::Connection, timeout::within};
use crate::acme::{
    dns::{Question, Record, RecordType},
    network::Networks,
    probe::ProbeFault,
    validation::Validation,
};

/// Addresses of one family that are tried.
const TRIES: usize = 2;

/// Connects to one of these. An address that cannot be connected to is followed by the next.
pub(super) async fn connect(
    addresses: Vec<IpAddr>,
    port: u16,
    validation: &Validation,
) -> Result<Connection, ProbeFault> {
    let mut last = ProbeFault::Connection;
    for address in addresses {
        match within(share(validation), Connection::open(SocketAddr::new(address, port))).await {
            Some(Ok(connection)) => return Ok(connection),
            Some(Err(_)) => last = ProbeFault::Connection,
            None => last = ProbeFault::Timeout,
        }
    }
    Err(last)
}

/// The addresses that a probe may connect to: the host itself (RFC 8738 §4), or some of its name, IPv6 first.
pub(super) async fn find(
    host: &Identifier,
    validation: &Validation,
    networks: &Networks,
) -> Result<Vec<IpAddr>, ProbeFault> {
    let name = match host {
        Identifier::Dns(name) if networks.own.have_name(name) => return Err(ProbeFault::Refused),
        Identifier::Dns(name) => name,
        Identifier::Ip(address) if networks.permit(*address) => return Ok(vec![*address]),
        Identifier::Ip(_) => return Err(ProbeFault::Refused),
    };
    let ask = async |kind| dns::ask(&validation.resolvers, &Question::address(name, kind)?, share(validation)).await;
    let found = match join(ask(RecordType::Aaaa), ask(RecordType::A)).await {
        (Ok(six), Ok(four)) => [six, four],
        (Ok(some), Err(_)) | (Err(_), Ok(some)) => [some, Vec::new()],
        // That one family has no records says less than why the other could not be asked.
        (Err(fault), Err(ProbeFault::NoRecords)) | (Err(_), Err(fault)) => return Err(fault),
    };
    let permitted = |records: Vec<Record>| {
        let addresses = records.into_iter().filter_map(|record| match record {
            Record::Address(address) => Some(address),
            Record::Text(_) | Record::Caa { .. } => None,
        });
        addresses.filter(|address| networks.permit(*address)).take(TRIES)
    };
    let addresses: Vec<_> = found.into_iter().flat_map(permitted).collect();
    if addresses.is_empty() { Err(ProbeFault::Refused) } else { Ok(addresses) }
}

/// What one lookup or one connection may take of the whole probe's time.
pub(super) fn share(validation: &Validation) -> Duration {
    Duration::from_millis(u64::from(validation.timeout_ms)).checked_div(4).unwrap_or_default()
}
