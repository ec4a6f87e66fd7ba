//! A cluster as kubernetes-01 meets it: it signs tokens, publishes its keys, and has an API server that knows TokenReview and
//! pods in the schema of the real API. No real cluster is behind it.

use std::{
    collections::BTreeSet,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{Ipv4Addr, TcpListener, TcpStream},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use shared::{base64url, jwk::Jwk};
use tests::key::AccountKey;

/// The id of its key.
pub(crate) const KEY_ID: &str = "k1";

#[derive(Default)]
struct Book {
    /// Whom the API server answers.
    bearer: String,
    /// Pods that are gone, by their uids.
    gone: BTreeSet<String>,
    pods: Vec<Value>,
    /// Request lines, in their order.
    asked: Vec<String>,
    key: Value,
    broken: bool,
}

/// A cluster. Its API server listens until the process ends.
pub(crate) struct Cluster {
    pub(crate) url: String,
    key: AccountKey,
    book: Arc<Mutex<Book>>,
}

impl Cluster {
    pub(crate) fn start(key: AccountKey) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let url = format!("http://127.0.0.1:{}", listener.local_addr()?.port());
        let mut jwk = key.jwk();
        (jwk["kid"], jwk["alg"], jwk["use"]) = (json!(KEY_ID), json!(key.algorithm()), json!("sig"));
        let book = Arc::new(Mutex::new(Book { key: jwk, ..Book::default() }));
        let shared = Arc::clone(&book);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let book = Arc::clone(&shared);
                thread::spawn(move || converse(stream, &book));
            }
        });
        Ok(Self { url, key, book })
    }

    /// Its key set, as its operator gives it to a signer.
    pub(crate) fn key_set(&self) -> Value {
        json!({ "keys": [lock(&self.book).key] })
    }

    /// The API server answers who shows this, and nobody else.
    pub(crate) fn trust(&self, bearer: &str) {
        bearer.clone_into(&mut lock(&self.book).bearer);
    }

    /// The API server no longer knows the pod.
    pub(crate) fn delete_pod(&self, uid: &str) {
        lock(&self.book).gone.insert(uid.to_owned());
    }

    /// A pod of the service account `web` in `shop` runs at this address.
    pub(crate) fn run_pod(&self, name: &str, address: &str) {
        lock(&self.book).pods.push(json!({
            "metadata": {"name": name, "namespace": "shop", "uid": format!("uid-{name}")},
            "spec": {"serviceAccountName": "web", "nodeName": "n1"},
            "status": {"phase": "Running", "podIP": address, "podIPs": [{"ip": address}]},
        }));
    }

    /// The API server answers 500 from now on, or answers again.
    pub(crate) fn set_broken(&self, broken: bool) {
        lock(&self.book).broken = broken;
    }

    /// How often a path that begins so was asked for.
    pub(crate) fn asked(&self, start: &str) -> usize {
        let found = |line: &&String| line.split(' ').nth(1).is_some_and(|path| path.starts_with(start));
        lock(&self.book).asked.iter().filter(found).count()
    }

    /// A token of this pod of the service account `web` in `shop`, made now, for so many seconds, with these claims changed.
    pub(crate) fn token(&self, pod: &str, audience: &str, seconds: i64, change: &Value) -> Result<String> {
        let now = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs())?;
        // One that has ended was made ten minutes before its end.
        let made = if seconds < 0 { now + seconds - 600 } else { now };
        let mut claims = json!({
            "iss": self.url, "aud": [audience], "sub": "system:serviceaccount:shop:web", "jti": "j",
            "exp": now + seconds, "iat": made, "nbf": made,
            "kubernetes.io": {
                "namespace": "shop", "node": {"name": "n1", "uid": "uid-n1"}, "pod": {"name": pod, "uid": format!("uid-{pod}")},
                "serviceaccount": {"name": "web", "uid": "uid-web"},
            },
        });
        for (name, value) in change.as_object().context("changes are an object")? {
            claims[name] = value.clone();
        }
        self.sign(&self.key, KEY_ID, &claims)
    }

    /// A token of these claims under any key.
    pub(crate) fn sign(&self, key: &AccountKey, id: &str, claims: &Value) -> Result<String> {
        let jws = key.sign(&json!({ "kid": id }), claims.to_string().as_bytes())?;
        let part = |name: &str| jws[name].as_str().with_context(|| format!("a JWS has {name}"));
        Ok([part("protected")?, part("payload")?, part("signature")?].join("."))
    }
}

fn lock(book: &Mutex<Book>) -> MutexGuard<'_, Book> {
    book.lock().unwrap_or_else(PoisonError::into_inner)
}

fn converse(mut stream: TcpStream, book: &Mutex<Book>) -> Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    let mut reader = BufReader::new(stream.try_clone()?);
    let (mut first, mut length, mut bearer) = (String::new(), 0, String::new());
    reader.read_line(&mut first)?;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.parse()?,
            "authorization" => bearer = value.strip_prefix("Bearer ").unwrap_or_default().to_owned(),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let (status, answer) = {
        let mut book = lock(book);
        book.asked.push(first.clone());
        book.answer(&first, &bearer, &body)
    };
    let text = answer.to_string();
    let head = format!("HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n", text.len());
    write!(stream, "{head}Connection: close\r\n\r\n{text}")?;
    Ok(())
}

impl Book {
    fn answer(&self, first: &str, bearer: &str, body: &[u8]) -> (&'static str, Value) {
        let status = |code: u16| json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code});
        let mut words = first.split(' ');
        let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        match (method, path) {
            ("GET", "/openid/v1/jwks") => ("200 OK", json!({ "keys": [self.key] })),
            _ if bearer != self.bearer || bearer.is_empty() => ("401 Unauthorized", status(401)),
            _ if self.broken => ("500 Internal Server Error", status(500)),
            ("POST", "/apis/authentication.k8s.io/v1/tokenreviews") => ("201 Created", self.review(body)),
            ("GET", "/api/v1/pods") => ("200 OK", self.list(query)),
            _ => ("404 Not Found", status(404)),
        }
    }

    /// As the API server does it: the signature, the time, the pod, and which of the audiences that were asked for are the
    /// token's.
    fn review(&self, body: &[u8]) -> Value {
        let mut review: Value = serde_json::from_slice(body).unwrap_or_default();
        let user = self.authenticate(&review["spec"]);
        review["status"] = user.unwrap_or_else(|| json!({"user": {}, "error": "[invalid bearer token]"}));
        review["metadata"] = json!({"creationTimestamp": null});
        review
    }

    fn authenticate(&self, spec: &Value) -> Option<Value> {
        let (signed, signature) = spec["token"].as_str()?.rsplit_once('.')?;
        let claims = base64url::decode(signed.split_once('.')?.1).ok()?;
        let claims: Value = serde_json::from_slice(&claims).ok()?;
        let key: Jwk = serde_json::from_value(self.key.clone()).ok()?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?.as_secs();
        let pod = &claims["kubernetes.io"]["pod"];
        let good = key.verify(signed.as_bytes(), &base64url::decode(signature).ok()?)
            && claims["exp"].as_u64()? > now
            && !self.gone.contains(pod["uid"].as_str()?);
        let asked = spec["audiences"].as_array()?;
        let audiences: Vec<&Value> =
            asked.iter().filter(|one| claims["aud"].as_array().is_some_and(|own| own.contains(one))).collect();
        (good && !audiences.is_empty()).then(|| {
            json!({"authenticated": true, "audiences": audiences, "user": {
                "username": claims["sub"], "uid": claims["kubernetes.io"]["serviceaccount"]["uid"],
                "groups": ["system:serviceaccounts", "system:authenticated"],
                "extra": {
                    "authentication.kubernetes.io/pod-name": [pod["name"]],
                    "authentication.kubernetes.io/pod-uid": [pod["uid"]],
                },
            }})
        })
    }

    fn list(&self, query: &str) -> Value {
        let query = query.replace("%3D", "=").replace("%2C", ",");
        let wanted = |path: &str| {
            let selector = query.split('&').find_map(|part| part.strip_prefix("fieldSelector="))?;
            selector.split(',').find_map(|one| one.strip_prefix(path)?.strip_prefix('=').map(str::to_owned))
        };
        let (address, phase) = (wanted("status.podIP"), wanted("status.phase"));
        let fits = |pod: &&Value| {
            pod["status"]["podIP"].as_str() == address.as_deref() && pod["status"]["phase"].as_str() == phase.as_deref()
        };
        let items: Vec<&Value> = self.pods.iter().filter(fits).collect();
        json!({"kind": "PodList", "apiVersion": "v1", "metadata": {"resourceVersion": "1"}, "items": items})
    }
}
