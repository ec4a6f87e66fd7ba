//! Bodies of bounded size. A length that a stranger announces is never trusted: bytes are counted as they come.

use futures_util::StreamExt as _;
use worker::{ByteStream, Request, Response, ResponseBody};

/// Bytes of a body that is too large which are still taken in and thrown away: a client that is writing hears the answer only
/// when somebody reads, else its connection breaks first. Who sends more than this has not asked for an answer.
const THROWN_AWAY: usize = 1 << 20;

/// Why a body was not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unread {
    /// It has more bytes than the limit.
    TooLarge,
    /// It broke off.
    Broken,
}

/// The body of a request, at most `limit` bytes; empty when it has none.
pub(super) async fn of_request(request: &mut Request, limit: usize) -> Result<Vec<u8>, Unread> {
    let announced = request.headers().get("content-length").ok().flatten().and_then(|text| text.parse::<usize>().ok());
    match announced {
        Some(length) if length > limit => {
            if let Ok(stream) = request.stream() {
                throw_away(stream).await;
            }
            Err(Unread::TooLarge)
        }
        // The platform holds a request to the length that it announced; one read is much cheaper than a stream.
        Some(_) => request.bytes().await.map_err(|_| Unread::Broken),
        None if request.inner().body().is_none() => Ok(Vec::new()),
        None => {
            let mut stream = request.stream().map_err(|_| Unread::Broken)?;
            let body = collect(&mut stream, limit).await;
            if body == Err(Unread::TooLarge) {
                throw_away(stream).await;
            }
            body
        }
    }
}

/// The body of a response, at most `limit` bytes.
pub(super) async fn of_response(mut response: Response, limit: usize) -> Result<Vec<u8>, Unread> {
    match response.body() {
        ResponseBody::Empty => Ok(Vec::new()),
        ResponseBody::Body(bytes) if bytes.len() > limit => Err(Unread::TooLarge),
        ResponseBody::Body(bytes) => Ok(bytes.clone()),
        ResponseBody::Stream(_) => collect(&mut response.stream().map_err(|_| Unread::Broken)?, limit).await,
    }
}

async fn collect(stream: &mut ByteStream, limit: usize) -> Result<Vec<u8>, Unread> {
    let mut bytes = Vec::new();
    while let Some(chunk) = stream.next().await {
        let chunk = chunk.map_err(|_| Unread::Broken)?;
        if limit.saturating_sub(bytes.len()) < chunk.len() {
            return Err(Unread::TooLarge);
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

/// Reads on without keeping anything, within bounds.
async fn throw_away(mut stream: ByteStream) {
    let mut left = THROWN_AWAY;
    while let Some(Ok(chunk)) = stream.next().await {
        left = left.saturating_sub(chunk.len());
        if left == 0 {
            return;
        }
    }
}
