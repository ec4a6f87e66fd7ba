//! Status services at the front: what every kind of document is sent with, certificates of issuers and the root's CRL. They are
//! answered on plain HTTP and HTTPS alike, and never with a nonce.

use worker::{Env, Method, Request, Response};

use super::{
    crl,
    environment::{self, Environment},
    front::method,
    issuers, ocsp_responder,
    reply::Answer,
};
use crate::status::{
    cache_tag,
    document::{Conditions, Document, Kind},
    route::StatusRoute,
};

/// Seconds after which a client may ask again.
pub(super) const RETRY: u64 = 10;

/// A request to a path of status services.
pub(super) async fn serve(
    route: &StatusRoute,
    request: &mut Request,
    env: &Env,
    environment: &Environment,
) -> worker::Result<Response> {
    let fits = match (route, method(request)) {
        (StatusRoute::Ocsp, Some(Method::Post)) => true,
        (StatusRoute::Ocsp, _) => false,
        (_, Some(Method::Get | Method::Head)) => true,
        (_, _) => false,
    };
    if !fits {
        return none(405).with("Allow", route.methods()).send_to_all(environment, 0);
    }
    let (answer, hops) = match route {
        StatusRoute::Ocsp | StatusRoute::OcspGet(_) => ocsp_responder::answer(route, request, env, environment).await,
        StatusRoute::Crl(issuer, shard) => crl::answer((*issuer, *shard), request, env, environment).await,
        StatusRoute::Issuer(id) => {
            let certificate = |known: &crate::status::issuers::Issuers| {
                known.by_id(*id).map(|known| {
                    let issuer = known.chain.issuer();
                    Document {
                        kind: Kind::Certificate,
                        body: shared::base64url::Base64Url(issuer.der().to_vec()),
                        this_update: issuer.not_before(),
                        next_update: issuer.not_after(),
                    }
                })
            };
            let answer = match issuers::known(env, environment, certificate).await {
                Ok(Some(certificate)) => document(&certificate, cache_tag::of_issuer(*id), request, environment),
                Ok(None) => none(404),
                Err(issuers::Unreached) => later(),
            };
            (answer, 0)
        }
        StatusRoute::RootCrl => {
            let answer = match &environment.config.root_crl {
                Some(crl) if crl.is_good(environment::now()) => {
                    document(crl, "root-crl".to_owned(), request, environment)
                }
                // It has expired, and the next ceremony is late.
                Some(_) => later(),
                None => none(404),
            };
            (answer, 0)
        }
    };
    answer.send_to_all(environment, hops)
}

/// A document for this client, or the word that it has it (RFC 9110 §15.4.5).
pub(super) fn document(document: &Document, tag: String, request: &Request, environment: &Environment) -> Answer {
    let header = |name| request.headers().get(name).ok().flatten();
    // Conditions are about what can be kept: not about a POST (RFC 9110 §13.1.3).
    let conditional = !matches!(request.method(), Method::Post);
    let (tags, since) = (header("if-none-match"), header("if-modified-since"));
    let conditions = Conditions { if_none_match: tags.as_deref(), if_modified_since: since.as_deref() };
    let answer = if conditional && document.is_known(conditions) {
        Answer::empty(304)
    } else {
        Answer::empty(200).with_body(document.body.0.clone())
    };
    let most = environment.config.status.max_age_seconds;
    let headers = document.headers(environment::now(), most);
    let headers = headers.into_iter().chain(std::iter::once(("Cache-Tag", tag)));
    headers.fold(answer, |answer, (name, value)| answer.with(name, value))
}

/// There is none.
pub(super) fn none(status: u16) -> Answer {
    Answer::empty(status).with("Cache-Control", "no-store")
}

/// There is none that is good now.
pub(super) fn later() -> Answer {
    none(503).with("Retry-After", RETRY.to_string())
}
