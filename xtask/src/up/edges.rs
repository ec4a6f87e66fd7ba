//! Several edges on the same signers, as deployments of their own: what each of them has that no other one does. They share the
//! signers, the root and the resolver, and nothing else.

use std::net::SocketAddr;

use anyhow::Result;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::external_account::SCOPE;
use super::front::Front;
use super::state::State;

/// One edge by its number, from 1, and its addresses.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EdgePlace {
    pub(crate) number: u16,
    pub(crate) front: Front,
}

/// Where another edge than the first one is.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct OtherEdge {
    /// The ACME directory's URL.
    pub(crate) directory: String,
    /// Base URL of what is served as plain HTTP.
    pub(crate) http: String,
}

impl EdgePlace {
    /// So many edges: the first one at these addresses, the others beside it at ports that are free, and remembered.
    pub(crate) fn all(state: &mut State, edges: u16, https: SocketAddr, http: SocketAddr) -> Result<Vec<Self>> {
        let mut places = Vec::new();
        for number in 1..=edges {
            let wanted = |first: SocketAddr| if number == 1 { first } else { SocketAddr::new(first.ip(), 0) };
            let front = Front {
                https: state.address(&numbered("https", number), wanted(https))?,
                http: state.address(&numbered("http", number), wanted(http))?,
            };
            places.push(Self { number, front });
        }
        Ok(places)
    }

    /// Its role, folder and log: `edge`, `edge-2`, …
    pub(crate) fn role(self) -> String {
        numbered("edge", self.number)
    }

    /// The name in the certificate that it shows to signers.
    pub(crate) fn identity(self) -> String {
        format!("{}.colophon.internal", self.role())
    }

    /// The name of one of its secrets in the state.
    pub(crate) fn secret(self, name: &str) -> String {
        if self.number == 1 { name.to_owned() } else { format!("{}-{name}", self.role()) }
    }

    /// The tag in the names of its objects, where it is not the deployment's own.
    pub(crate) fn deployment(self) -> Option<String> {
        (self.number > 1).then(|| self.role())
    }

    /// Its `[[edge]]` at the signers.
    pub(crate) fn caller(self) -> Value {
        json!({ "name": self.identity(), "base_urls": [self.front.base_url()] })
    }

    /// What the report says of it.
    pub(crate) fn report(self) -> OtherEdge {
        OtherEdge { directory: self.front.directory(), http: self.front.http_url() }
    }
}

/// `scope` for each of the edges: a single edge has the whole of it, several have one each, and so a budget and a kill switch each.
pub(crate) fn scopes(places: &[EdgePlace], scope: &Value) -> Vec<Value> {
    let of = |place: &EdgePlace| {
        let mut own = scope.clone();
        if let (true, Some(own)) = (places.len() > 1, own.as_object_mut()) {
            own.insert("name".to_owned(), numbered(SCOPE, place.number).into());
            own.insert("edges".to_owned(), json!([place.identity()]));
        }
        own
    };
    places.iter().map(of).collect()
}

fn numbered(name: &str, number: u16) -> String {
    if number == 1 { name.to_owned() } else { format!("{name}-{number}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_edge_has_its_own_ports_identity_secrets_and_scope() {
        let folder = tempfile::tempdir().unwrap();
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let places = EdgePlace::all(&mut State::open(folder.path()).unwrap(), 2, any, any).unwrap();
        let [first, second] = places.as_slice() else { panic!("{places:?}") };
        let ports = [first.front.https, first.front.http, second.front.https, second.front.http];
        assert!(ports.iter().enumerate().all(|(position, port)| !ports[..position].contains(port)), "{ports:?}");
        assert_eq!([first.identity(), second.identity()], ["edge.colophon.internal", "edge-2.colophon.internal"]);
        assert_eq!([first.secret("url"), second.secret("url")], ["url", "edge-2-url"]);
        assert_eq!([first.deployment(), second.deployment()], [None, Some("edge-2".to_owned())]);

        let scope = json!({ "name": SCOPE, "open": true });
        assert_eq!(scopes(&places[..1], &scope), std::slice::from_ref(&scope));
        let both = scopes(&places, &scope);
        assert_eq!(both[0], json!({ "name": SCOPE, "open": true, "edges": ["edge.colophon.internal"] }));
        assert_eq!(both[1]["name"], "everything-2");
        assert_eq!(both[1]["edges"], json!(["edge-2.colophon.internal"]));
    }
}
