//! Where clients find the stack: the two addresses, and the URLs made of them.

use std::net::SocketAddr;

/// The two sockets of the edge.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Front {
    /// ACME.
    pub(crate) https: SocketAddr,
    /// What must be plain HTTP.
    pub(crate) http: SocketAddr,
}

impl Front {
    /// `https://localhost:14000`
    pub(crate) fn base_url(&self) -> String {
        format!("https://{}:{}", host(self.https), self.https.port())
    }

    /// The ACME directory.
    pub(crate) fn directory(&self) -> String {
        format!("{}/directory", self.base_url())
    }

    /// `http://localhost:14001`
    pub(crate) fn http_url(&self) -> String {
        format!("http://{}:{}", host(self.http), self.http.port())
    }

    /// The same by its address: linters take a name without a dot in a certificate's pointers for none.
    pub(crate) fn status_url(&self) -> String {
        format!("http://{}", self.http)
    }

    /// What the HTTPS certificate has to be for.
    pub(crate) fn names(&self) -> Vec<String> {
        let mut names = vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
        let own = self.https.ip().to_string();
        if !self.https.ip().is_unspecified() && !names.contains(&own) {
            names.push(own);
        }
        names
    }
}

/// A host for URLs: a name where the address is this machine's own, else the address.
fn host(address: SocketAddr) -> String {
    match address {
        _ if address.ip().is_loopback() || address.ip().is_unspecified() => "localhost".to_owned(),
        SocketAddr::V4(address) => address.ip().to_string(),
        SocketAddr::V6(address) => format!("[{}]", address.ip()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn front(https: &str, http: &str) -> Front {
        Front { https: https.parse().unwrap(), http: http.parse().unwrap() }
    }

    #[test]
    fn this_machine_is_called_localhost() {
        let front = front("127.0.0.1:14000", "0.0.0.0:14001");
        assert_eq!(front.directory(), "https://localhost:14000/directory");
        assert_eq!(front.http_url(), "http://localhost:14001");
        assert_eq!(front.names(), ["localhost", "127.0.0.1", "::1"]);
    }

    #[test]
    fn other_addresses_are_written_out_and_certified() {
        let front = front("[fd00::1]:443", "10.0.0.1:80");
        assert_eq!(front.base_url(), "https://[fd00::1]:443");
        assert_eq!(front.http_url(), "http://10.0.0.1:80");
        assert_eq!(front.names().last().unwrap(), "fd00::1");
    }
}
