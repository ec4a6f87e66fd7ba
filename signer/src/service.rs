//! HTTP: routes, the limit of a body, strict JSON in and typed JSON out. What is asked is done elsewhere.

use std::{pin::pin, sync::Arc, time::Duration};

use http_body_util::{BodyExt, Full, Limited};
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Body, Buf, Bytes},
    header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER},
};
use serde::{Serialize, de::DeserializeOwned};
use shared::{
    checkpoint::{JOURNAL_PATH, JournalReply},
    grant::{BIND_PATH, BindReply},
    signing::{
        CRL_PATH, CrlReply, DISOWN_PATH, ISSUE_PATH, IssueReply, OCSP_PATH, OcspReply, RECORDS_PATH, REVOKE_PATH,
        RecordsReply, Refusal, Refused, RevokeReply, SETTLE_PATH, STATUS_PATH,
    },
};
use tokio::time::timeout;

use crate::{admit::refused, identity::ClientIdentity, issuance::Issuance, share::Admission};

/// Of a body that is too long so many times the limit more are read and dropped, for so long at most: who writes it to its end hears why it
/// is refused. A connection that is closed while its client writes tells it nothing (RFC 9112 §9.6).
const DROPPED: usize = 8;
const DROPPING: Duration = Duration::from_secs(5);

/// The answer of every route.
pub(crate) type Answer = Response<Full<Bytes>>;

/// The service of a connection. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Service {
    pub(crate) issuance: Arc<Issuance>,
    /// Bytes of a request's body.
    pub(crate) request_bytes: usize,
    /// The time within which a body must have arrived.
    pub(crate) body: Duration,
    /// DNS names of the certificates of peers: they may ask for the journal's head.
    pub(crate) peers: Arc<[String]>,
}

impl Service {
    /// Answers one request of this client. Refuses it as busy when too many of its requests are being answered.
    pub(crate) async fn answer<B>(&self, client: &ClientIdentity, admission: &Admission, request: Request<B>) -> Answer
    where
        B: Body<Error: Into<Box<dyn std::error::Error + Send + Sync>>>,
    {
        let busy = |detail| issue_answer(&IssueReply::Refused(refused(Refusal::Busy, detail)));
        let Some(place) = admission.request() else {
            self.issuance.works.metrics.refused(Refusal::Busy);
            return busy("limits.requests_per_identity requests of this client are being answered: ask again later");
        };
        let (head, body) = self.admitted(client, admission, request).await.into_parts();
        match admission.answer(place, whole(body).await) {
            Ok(bytes) => Response::from_parts(head, Full::new(bytes)),
            Err(place) => {
                self.issuance.works.metrics.refused(Refusal::Busy);
                let detail = "limits.answer_bytes_per_identity bytes of answers to this client are not sent yet";
                let (head, body) = busy(detail).into_parts();
                Response::from_parts(head, Full::new(Admission::refusal(place, whole(body).await)))
            }
        }
    }

    async fn admitted<B>(&self, client: &ClientIdentity, admission: &Admission, request: Request<B>) -> Answer
    where
        B: Body<Error: Into<Box<dyn std::error::Error + Send + Sync>>>,
    {
        let policy = self.issuance.policy();
        // Who is not an edge learns nothing, not even what there is.
        let Some(edge) = client.names.iter().find(|name| policy.knows_edge(name)) else {
            if let Some(peer) = client.names.iter().find(|name| self.peers.contains(name)) {
                return self.answer_peer(peer, admission, request).await;
            }
            let name = client.names.first().map_or("", String::as_str);
            let refused = refused(Refusal::UnknownEdge, "the client certificate names no edge of the configuration");
            self.issuance.note(name, "", &refused).await;
            return issue_answer(&IssueReply::Refused(refused));
        };
        if self.issuance.works.stops.borrow().edge(edge) {
            let refused = refused(Refusal::Stopped, "an operator has stopped this edge");
            self.issuance.note(edge, "", &refused).await;
            return issue_answer(&IssueReply::Refused(refused));
        }
        match (request.method(), request.uri().path()) {
            (&Method::POST, ISSUE_PATH) => {
                let reply = match self.read(edge, admission, request).await {
                    Ok(asked) => self.issuance.issue(edge, asked).await,
                    Err(refused) => IssueReply::Refused(refused),
                };
                issue_answer(&reply)
            }
            (&Method::POST, SETTLE_PATH) => {
                let reply = match self.read(edge, admission, request).await {
                    Ok(asked) => self.issuance.settle(edge, asked).await,
                    Err(refused) => IssueReply::Refused(refused),
                };
                issue_answer(&reply)
            }
            (&Method::POST, REVOKE_PATH) => {
                let reply = match self.read(edge, admission, request).await {
                    Ok(asked) => self.issuance.revoke(edge, asked).await,
                    Err(refused) => RevokeReply::Refused(refused),
                };
                revoke_answer(&reply)
            }
            (&Method::POST, RECORDS_PATH) => {
                let reply = match self.read(edge, admission, request).await {
                    Ok(asked) => self.issuance.records(edge, asked).await,
                    Err(refused) => RecordsReply::Refused(refused),
                };
                records_answer(&reply)
            }
            (&Method::POST, DISOWN_PATH) => {
                let reply = match self.read(edge, admission, request).await {
                    Ok(asked) => self.issuance.disown(edge, asked).await,
                    Err(refused) => RevokeReply::Refused(refused),
                };
                revoke_answer(&reply)
            }
            (&Method::POST, BIND_PATH) => {
                let reply = match self.read(edge, admission, request).await {
                    Ok(asked) => self.issuance.bind(edge, asked).await,
                    Err(refused) => BindReply::Refused(refused),
                };
                bind_answer(&reply)
            }
            (&Method::POST, OCSP_PATH) => {
                let reply = match self.read(edge, admission, request).await {
                    Ok(asked) => self.issuance.ocsp(asked).await,
                    Err(refused) => OcspReply::Refused(refused),
                };
                ocsp_answer(&reply)
            }
            (&Method::POST, JOURNAL_PATH) => self.journal(edge, admission, request).await,
            (&Method::POST, CRL_PATH) => {
                let reply = match self.read(edge, admission, request).await {
                    Ok(asked) => self.issuance.crl(&asked),
                    Err(refused) => CrlReply::Refused(refused),
                };
                crl_answer(&reply)
            }
            (&Method::GET, STATUS_PATH) => json(StatusCode::OK, &self.issuance.status()),
            (
                _,
                BIND_PATH | ISSUE_PATH | SETTLE_PATH | REVOKE_PATH | OCSP_PATH | CRL_PATH | JOURNAL_PATH | STATUS_PATH
                | RECORDS_PATH | DISOWN_PATH,
            ) => no_such(StatusCode::METHOD_NOT_ALLOWED),
            _ => no_such(StatusCode::NOT_FOUND),
        }
    }

    /// Answers one request of a peer.
    async fn answer_peer<B>(&self, peer: &str, admission: &Admission, request: Request<B>) -> Answer
    where
        B: Body<Error: Into<Box<dyn std::error::Error + Send + Sync>>>,
    {
        match (request.method(), request.uri().path()) {
            (&Method::POST, JOURNAL_PATH) => self.journal(peer, admission, request).await,
            _ => {
                let refused = refused(Refusal::UnknownEdge, "a peer may ask for the journal's head alone");
                self.issuance.note(peer, "", &refused).await;
                journal_answer(&JournalReply::Refused(refused))
            }
        }
    }

    async fn journal<B>(&self, caller: &str, admission: &Admission, request: Request<B>) -> Answer
    where
        B: Body<Error: Into<Box<dyn std::error::Error + Send + Sync>>>,
    {
        let reply = match self.read(caller, admission, request).await {
            Ok(asked) => self.issuance.heads(asked).await,
            Err(refused) => JournalReply::Refused(refused),
        };
        journal_answer(&reply)
    }

    /// Reads what this edge asks. What cannot be read is noted.
    async fn read<T, B>(&self, edge: &str, admission: &Admission, request: Request<B>) -> Result<T, Refused>
    where
        T: DeserializeOwned,
        B: Body<Error: Into<Box<dyn std::error::Error + Send + Sync>>>,
    {
        let read = self.parse(admission, request).await;
        if let Err(refused) = &read {
            self.issuance.note(edge, "", refused).await;
        }
        read
    }

    async fn parse<T, B>(&self, admission: &Admission, request: Request<B>) -> Result<T, Refused>
    where
        T: DeserializeOwned,
        B: Body<Error: Into<Box<dyn std::error::Error + Send + Sync>>>,
    {
        let malformed = |detail: String| refused(Refusal::Malformed, detail);
        let mut body = pin!(request.into_body());
        let mut has_place = false;
        let read = timeout(self.body, async {
            let _place = admission.bodies.acquire().await;
            has_place = true;
            read_whole(Limited::new(body.as_mut(), self.request_bytes)).await
        });
        let Ok(read) = read.await else {
            let limit = self.body.as_millis();
            return Err(if has_place {
                malformed(format!("the body did not arrive within limits.body_ms = {limit}"))
            } else {
                refused(
                    Refusal::Busy,
                    format!(
                        "limits.bodies_per_identity bodies of this client were being read for limits.body_ms = {limit}"
                    ),
                )
            });
        };
        if read.is_err() {
            let mut rest = Limited::new(body, self.request_bytes.saturating_mul(DROPPED));
            // It may be endless, or come as slowly as its sender likes.
            let _ = timeout(DROPPING, async { while let Some(Ok(_)) = rest.frame().await {} }).await;
        }
        let body = read.map_err(|error| malformed(format!("the body cannot be read: {error}")))?;
        // What serde says of a position and a member is ours; it repeats a value only where that has the wrong type.
        serde_json::from_slice(&body).map_err(|error| malformed(error.to_string()))
    }
}

/// Reads a body to its end. Copies each frame: a frame of one byte would keep the whole buffer that it was read into.
async fn read_whole<B: Body + Unpin>(mut body: B) -> Result<Vec<u8>, B::Error> {
    let mut whole = Vec::new();
    while let Some(frame) = body.frame().await {
        if let Ok(mut data) = frame?.into_data() {
            while data.has_remaining() {
                let chunk = data.chunk();
                let length = chunk.len();
                whole.extend_from_slice(chunk);
                data.advance(length);
            }
        }
    }
    Ok(whole)
}

/// Returns the bytes of an answer.
async fn whole(body: Full<Bytes>) -> Bytes {
    match body.collect().await {
        Ok(body) => body.to_bytes(),
    }
}

fn issue_answer(reply: &IssueReply) -> Answer {
    match reply {
        IssueReply::Issued(_) | IssueReply::Settled { .. } => json(StatusCode::OK, reply),
        IssueReply::Queued { retry_after } => queued(*retry_after, reply),
        IssueReply::Refused(refused) => json(status_of(refused), reply),
    }
}

fn revoke_answer(reply: &RevokeReply) -> Answer {
    match reply {
        RevokeReply::Revoked(_) => json(StatusCode::OK, reply),
        RevokeReply::Refused(refused) => json(status_of(refused), reply),
    }
}

fn records_answer(reply: &RecordsReply) -> Answer {
    match reply {
        RecordsReply::Records { .. } => json(StatusCode::OK, reply),
        RecordsReply::Refused(refused) => json(status_of(refused), reply),
    }
}

fn ocsp_answer(reply: &OcspReply) -> Answer {
    match reply {
        OcspReply::Signed(_) => json(StatusCode::OK, reply),
        OcspReply::Queued { retry_after } => queued(*retry_after, reply),
        OcspReply::Refused(refused) => json(status_of(refused), reply),
    }
}

fn crl_answer(reply: &CrlReply) -> Answer {
    match reply {
        CrlReply::Current(_) => json(StatusCode::OK, reply),
        CrlReply::Refused(refused) => json(status_of(refused), reply),
    }
}

fn queued<T: Serialize>(retry_after: u64, reply: &T) -> Answer {
    let mut answer = json(StatusCode::ACCEPTED, reply);
    answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from(retry_after));
    answer
}

fn journal_answer(reply: &JournalReply) -> Answer {
    match reply {
        JournalReply::Heads { .. } => json(StatusCode::OK, reply),
        JournalReply::Shorter { .. } => json(StatusCode::CONFLICT, reply),
        JournalReply::Refused(refused) => json(status_of(refused), reply),
    }
}

fn bind_answer(reply: &BindReply) -> Answer {
    match reply {
        BindReply::Bound(_) => json(StatusCode::OK, reply),
        BindReply::Refused(refused) => json(status_of(refused), reply),
    }
}

fn status_of(refused: &Refused) -> StatusCode {
    StatusCode::from_u16(refused.reason.http_status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

fn no_such(status: StatusCode) -> Answer {
    let refused = refused(Refusal::Malformed, "there is no such verb");
    json(status, &IssueReply::Refused(refused))
}

fn json<T: Serialize>(status: StatusCode, value: &T) -> Answer {
    let (status, body) = match serde_json::to_vec(value) {
        Ok(body) => (status, body),
        Err(_) => (StatusCode::INTERNAL_SERVER_ERROR, Vec::new()),
    };
    let mut answer = Response::new(Full::new(Bytes::from(body)));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answer
}
