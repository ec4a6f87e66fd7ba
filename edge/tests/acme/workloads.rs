//! A cluster as tests need it: it signs tokens, publishes keys, and answers as its API server would.

use p256::ecdsa::{Signature, SigningKey, signature::Signer};
use serde_json::{Value, json};
use shared::base64url;

/// A cluster with one key, `k1`.
pub(crate) struct TestCluster(SigningKey);

impl TestCluster {
    pub(crate) fn new(seed: u8) -> Self {
        Self(SigningKey::from_slice(&[seed; 32]).unwrap())
    }

    /// Its key set, as its API server publishes it.
    pub(crate) fn keys(&self) -> Value {
        let point = self.0.verifying_key().to_sec1_point(false);
        let (x, y) = (base64url::encode(point.x().unwrap()), base64url::encode(point.y().unwrap()));
        json!({"keys": [{"kty": "EC", "use": "sig", "alg": "ES256", "kid": "k1", "crv": "P-256", "x": x, "y": y}]})
    }

    /// A token of this header and these claims.
    pub(crate) fn sign(&self, header: &Value, claims: &Value) -> String {
        let part = |value: &Value| base64url::encode(value.to_string().as_bytes());
        let signed = format!("{}.{}", part(header), part(claims));
        let signature: Signature = self.0.sign(signed.as_bytes());
        format!("{signed}.{}", base64url::encode(&signature.to_bytes()))
    }

    /// A token of these claims.
    pub(crate) fn token(&self, claims: &Value) -> String {
        self.sign(&json!({"alg": "ES256", "kid": "k1"}), claims)
    }
}

/// The claims that a cluster gives to the pod `web-0` of the service account `web` in `shop`, for ten minutes.
pub(crate) fn claims(audience: &str, now: u64) -> Value {
    json!({
        "iss": "https://prod.example", "aud": [audience], "sub": "system:serviceaccount:shop:web",
        "exp": now + 600, "iat": now, "nbf": now, "jti": "0b6f1f3c-2f5d-4ad3-9d1d-5f4e4f5b1c11",
        "kubernetes.io": {
            "namespace": "shop", "node": {"name": "n1", "uid": "u-node"},
            "pod": {"name": "web-0", "uid": "u-pod"}, "serviceaccount": {"name": "web", "uid": "u-sa"},
        },
    })
}

/// What the API server says of a good token of [`claims`].
pub(crate) fn review(audience: &str) -> Value {
    json!({
        "kind": "TokenReview", "apiVersion": "authentication.k8s.io/v1",
        "metadata": {"creationTimestamp": null},
        "spec": {"token": "x", "audiences": [audience]},
        "status": {"authenticated": true, "audiences": [audience], "user": {
            "username": "system:serviceaccount:shop:web", "uid": "u-sa",
            "groups": ["system:serviceaccounts", "system:serviceaccounts:shop", "system:authenticated"],
            "extra": {
                "authentication.kubernetes.io/credential-id": ["JTI=0b6f1f3c-2f5d-4ad3-9d1d-5f4e4f5b1c11"],
                "authentication.kubernetes.io/node-name": ["n1"], "authentication.kubernetes.io/node-uid": ["u-node"],
                "authentication.kubernetes.io/pod-name": ["web-0"], "authentication.kubernetes.io/pod-uid": ["u-pod"],
            },
        }},
    })
}

/// The pod list that has the pod of [`claims`] at 10.1.2.3.
pub(crate) fn pods() -> Value {
    json!({
        "kind": "PodList", "apiVersion": "v1", "metadata": {"resourceVersion": "7"},
        "items": [{
            "metadata": {"name": "web-0", "namespace": "shop", "uid": "u-pod"},
            "spec": {"serviceAccountName": "web", "nodeName": "n1"},
            "status": {"phase": "Running", "podIP": "10.1.2.3", "podIPs": [{"ip": "10.1.2.3"}]},
        }],
    })
}
