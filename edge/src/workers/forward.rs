//! What an object is asked, on its way there: in a header where it fits, because a body is a stream that both sides wait for. The
//! answer is passed on as it comes.

use js_sys::{Object, Promise, Reflect, Uint8Array};
use wasm_bindgen::{JsCast as _, JsValue, prelude::wasm_bindgen};
use wasm_bindgen_futures::JsFuture;
use worker::{Request, Stub, web_sys};

/// The header that has what is asked. The guard knows it too: who asks in this way waits no longer than the front does. Tokens of
/// workloads may be in it: by its last word the platform leaves its value out of logs and traces.
const ASKED: &str = "Colophon-Asked-Secret";

/// The longest header, in bytes: all headers of a request together may have eight times as many.
const MAX_HEADER: usize = 16 * 1024;

#[wasm_bindgen]
extern "C" {
    /// A stub as the platform has it: [`Stub`] takes each answer apart, and its stream of a body would have to be copied.
    type RawStub;

    #[wasm_bindgen(method, catch)]
    fn fetch(this: &RawStub, url: &str, init: &Object) -> Result<Promise, JsValue>;
}

/// Asks an object, with further headers.
///
/// # Errors
/// When it cannot be asked, or fails.
pub(super) async fn ask(
    stub: Stub,
    url: &str,
    asked: &[u8],
    headers: &[(&str, String)],
) -> worker::Result<web_sys::Response> {
    let (init, sent) = (Object::new(), Object::new());
    let set = |object: &Object, name: &str, value: &JsValue| Reflect::set(object, &JsValue::from_str(name), value);
    for (name, value) in headers {
        set(&sent, name, &JsValue::from_str(value))?;
    }
    if let Some(text) = as_header(asked) {
        set(&sent, ASKED, &JsValue::from_str(text))?;
    } else {
        set(&init, "method", &JsValue::from_str("POST"))?;
        set(&init, "body", &Uint8Array::from(asked))?;
    }
    set(&init, "headers", &sent)?;
    let answer = JsFuture::from(stub.into_rpc::<RawStub>().fetch(url, &init)?).await?;
    Ok(answer.dyn_into::<web_sys::Response>()?)
}

/// What this object is asked, as [`ask`] got it.
///
/// # Errors
/// When a body breaks off.
pub(super) async fn asked(request: &mut Request) -> worker::Result<Vec<u8>> {
    match request.headers().get(ASKED)? {
        Some(text) => Ok(text.into_bytes()),
        None => request.bytes().await,
    }
}

/// The same bytes as the value of a header, which begins and ends with no blank and has nothing but printable ASCII.
fn as_header(asked: &[u8]) -> Option<&str> {
    let whole = asked.starts_with(b"{") && asked.ends_with(b"}") && asked.len() <= MAX_HEADER;
    let plain = whole && asked.iter().all(|byte| matches!(byte, b' '..=b'~'));
    str::from_utf8(asked).ok().filter(|_| plain)
}
