//! A throwaway DNS server for `up` without `--resolver`: every name under `test`, `example`, `internal` and `localhost` is
//! at 127.0.0.1, and nothing else exists. UDP and TCP, on loopback.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use anyhow::{Context, Result};
use hickory_proto::op::{Message, MessageType, ResponseCode};
use hickory_proto::rr::rdata::A;
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UdpSocket};

/// The top-level names that exist here.
pub(crate) const SUFFIXES: [&str; 3] = ["test", "example", "internal"];

/// Loopback (RFC 6761 §6.3): as a name of one label a throwaway stack issues for it too.
const LOCALHOST: &str = "localhost";

/// The addresses that certificates of a throwaway stack may be for.
pub(crate) const LOOPBACK: [&str; 2] = ["127.0.0.0/8", "::1/128"];

/// How long answers may be kept: not at all.
const TTL: u32 = 0;

/// Starts answering; ends with the runtime.
pub(crate) async fn serve(address: SocketAddr) -> Result<()> {
    let tcp = TcpListener::bind(address)
        .await
        .with_context(|| format!("the throwaway resolver cannot listen on {address} (TCP)"))?;
    let udp = Arc::new(
        UdpSocket::bind(address)
            .await
            .with_context(|| format!("the throwaway resolver cannot listen on {address} (UDP)"))?,
    );
    tokio::spawn(async move {
        let mut buffer = [0; 4096];
        loop {
            if let Ok((length, peer)) = udp.recv_from(&mut buffer).await
                && let Some(reply) = answer(&buffer[..length])
            {
                let _ = udp.send_to(&reply, peer).await;
            }
        }
    });
    tokio::spawn(async move {
        loop {
            if let Ok((stream, _)) = tcp.accept().await {
                tokio::spawn(converse(stream));
            }
        }
    });
    Ok(())
}

/// One connection: length-prefixed messages until the client closes (RFC 7766).
async fn converse(mut stream: TcpStream) -> Option<()> {
    loop {
        let mut query = vec![0; usize::from(stream.read_u16().await.ok()?)];
        stream.read_exact(&mut query).await.ok()?;
        let reply = answer(&query)?;
        let mut framed = u16::try_from(reply.len()).ok()?.to_be_bytes().to_vec();
        framed.extend(reply);
        stream.write_all(&framed).await.ok()?;
    }
}

/// The reply to a message, both in wire form; none to what is not a query.
fn answer(query: &[u8]) -> Option<Vec<u8>> {
    let query = Message::from_vec(query).ok()?;
    if query.metadata.message_type != MessageType::Query {
        return None;
    }
    let mut reply = Message::response(query.metadata.id, query.metadata.op_code);
    reply.metadata.recursion_desired = query.metadata.recursion_desired;
    reply.metadata.recursion_available = true;
    reply.metadata.authoritative = true;
    let [question] = query.queries.as_slice() else {
        reply.metadata.response_code = ResponseCode::FormErr;
        return reply.to_vec().ok();
    };
    reply.add_query(question.clone());
    if !exists(question.name()) {
        reply.metadata.response_code = ResponseCode::NXDomain;
    } else if question.query_type() == RecordType::A && question.query_class() == DNSClass::IN {
        reply.add_answer(Record::from_rdata(question.name().clone(), TTL, RData::A(A(Ipv4Addr::LOCALHOST))));
    }
    reply.to_vec().ok()
}

fn exists(name: &Name) -> bool {
    let known =
        |top: &[u8]| SUFFIXES.iter().chain([&LOCALHOST]).any(|suffix| top.eq_ignore_ascii_case(suffix.as_bytes()));
    name.iter().next_back().is_some_and(known)
}

#[cfg(test)]
mod tests {
    use hickory_proto::op::{OpCode, Query};

    use super::*;

    fn ask(name: &str, kind: RecordType) -> Message {
        let mut message = Message::new(7, MessageType::Query, OpCode::Query);
        message.add_query(Query::query(Name::from_ascii(name).unwrap(), kind));
        Message::from_vec(&answer(&message.to_vec().unwrap()).unwrap()).unwrap()
    }

    #[test]
    fn every_throwaway_name_is_at_loopback() {
        for name in ["a.test.", "a.b.example.", "X.Internal.", "test.", "localhost."] {
            let reply = ask(name, RecordType::A);
            assert_eq!((reply.metadata.id, reply.metadata.response_code), (7, ResponseCode::NoError));
            assert_eq!(reply.answers[0].data, RData::A(A(Ipv4Addr::LOCALHOST)));
        }
    }

    #[test]
    fn other_types_have_no_answer_and_other_names_do_not_exist() {
        for kind in [RecordType::AAAA, RecordType::CAA, RecordType::TXT] {
            let reply = ask("a.test.", kind);
            assert_eq!((reply.metadata.response_code, reply.answers.len()), (ResponseCode::NoError, 0));
        }
        assert_eq!(ask("example.com.", RecordType::A).metadata.response_code, ResponseCode::NXDomain);
        assert_eq!(ask(".", RecordType::A).metadata.response_code, ResponseCode::NXDomain);
    }

    #[test]
    fn noise_and_replies_are_not_answered() {
        assert!(answer(b"noise").is_none());
        assert!(answer(&Message::response(1, OpCode::Query).to_vec().unwrap()).is_none());
    }
}
