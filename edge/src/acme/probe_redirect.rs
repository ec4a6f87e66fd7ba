//! Where http-01 looks: the target of a probe, and where a redirect leads it (RFC 8555 §8.3). Never to another scheme
//! than http and https or another port than theirs, never to a bare address but the one that is asked already.

use std::net::IpAddr;

use shared::identifier::{DnsName, Identifier};

use super::probe::ProbeFault;

/// What one GET asks for: how, which host, and which path there. The port is the scheme's configured one, always.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpTarget {
    /// With or without TLS.
    pub scheme: Scheme,
    /// The host that is named in `Host`: a name without a wildcard, which is resolved, or an address, which is not.
    pub host: Identifier,
    /// Absolute path with its query, of visible ASCII characters.
    pub path: String,
}

/// Schemes that probes follow (RFC 8555 §8.3, §10.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// Where every look begins.
    Http,
    /// Only by redirects, and without a look at the certificate: who could redirect could have answered.
    Https,
}

/// Where the schemes' servers are: 80 and 443, but for tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ports {
    /// Of http.
    pub http: u16,
    /// Of https.
    pub https: u16,
}

/// The longest path that a redirect may lead to, in bytes.
const MAX_PATH: usize = 2048;

impl HttpTarget {
    /// Where a challenge's answer is expected first (RFC 8555 §8.3). The token is base64url text of ours.
    #[must_use]
    pub fn challenge(identifier: &Identifier, token: &str) -> Self {
        Self { scheme: Scheme::Http, host: identifier.clone(), path: format!("/.well-known/acme-challenge/{token}") }
    }

    /// The value of `Host`: the port is left out when it is the scheme's own (RFC 9110 §7.2).
    #[must_use]
    pub fn authority(&self, ports: Ports) -> String {
        let (host, port) = (self.host_in_url(), ports.of(self.scheme));
        if port == Ports::REGISTERED.of(self.scheme) { host } else { format!("{host}:{port}") }
    }

    /// The target that a `Location` names, relative to this one (RFC 9110 §10.2.2). A URL without a port
    /// means the configured one of its scheme.
    ///
    /// # Errors
    /// [`ProbeFault::BadRedirect`] for another scheme, another port, user information, a host that
    /// is neither a DNS name nor the very address of this target, or a path that is too long or has characters that no URL has.
    pub fn redirect(&self, location: &str, ports: Ports) -> Result<Self, ProbeFault> {
        let location = location.split('#').next().unwrap_or_default();
        if let Some((scheme, rest)) = split_scheme(location)? {
            return self.leads_to(scheme, rest, ports);
        }
        if let Some(rest) = location.strip_prefix("//") {
            return self.leads_to(self.scheme, rest, ports);
        }
        let path = match location.as_bytes().first() {
            None => self.path.clone(),
            Some(b'/') => location.to_owned(),
            Some(b'?') => format!("{}{location}", self.path_without_query()),
            Some(_) => {
                let folder = self.path_without_query().rsplit_once('/').map_or("", |(folder, _)| folder);
                format!("{folder}/{location}")
            }
        };
        Self::new(self.scheme, self.host.clone(), path)
    }

    fn new(scheme: Scheme, host: Identifier, path: String) -> Result<Self, ProbeFault> {
        let allowed = |byte: u8| {
            byte.is_ascii_graphic() && !matches!(byte, b'"' | b'<' | b'>' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}')
        };
        if path.len() > MAX_PATH || !path.bytes().all(allowed) {
            return Err(ProbeFault::BadRedirect);
        }
        Ok(Self { scheme, host, path })
    }

    /// From what follows `//`: `host[:port][/path][?query]`.
    fn leads_to(&self, scheme: Scheme, text: &str, ports: Ports) -> Result<Self, ProbeFault> {
        let end = text.find(['/', '?']).unwrap_or(text.len());
        let (authority, path) = text.split_at_checked(end).ok_or(ProbeFault::BadRedirect)?;
        let (host, rest) = match authority.strip_prefix(&self.host_in_url()) {
            Some(rest) if rest.is_empty() || rest.starts_with(':') => (self.host.clone(), rest),
            _ => {
                let (name, rest) = authority
                    .split_at_checked(authority.find(':').unwrap_or(authority.len()))
                    .ok_or(ProbeFault::BadRedirect)?;
                let name: DnsName = name.parse().map_err(|_| ProbeFault::BadRedirect)?;
                if name.is_wildcard() {
                    return Err(ProbeFault::BadRedirect);
                }
                (Identifier::Dns(name), rest)
            }
        };
        let digits = rest.strip_prefix(':').unwrap_or_default();
        if !digits.is_empty() && digits.parse() != Ok(ports.of(scheme)) {
            return Err(ProbeFault::BadRedirect);
        }
        Self::new(scheme, host, if path.starts_with('/') { path.to_owned() } else { format!("/{path}") })
    }

    /// An IPv6 address is in brackets (RFC 3986 §3.2.2, RFC 8738 §4).
    fn host_in_url(&self) -> String {
        match &self.host {
            Identifier::Ip(IpAddr::V6(address)) => format!("[{address}]"),
            host => host.to_string(),
        }
    }

    fn path_without_query(&self) -> &str {
        self.path.split('?').next().unwrap_or_default()
    }
}

impl Scheme {
    /// As it stands in a URL.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

impl Ports {
    /// Those of the registry.
    const REGISTERED: Self = Self { http: 80, https: 443 };

    /// The port of this scheme.
    #[must_use]
    pub const fn of(self, scheme: Scheme) -> u16 {
        match scheme {
            Scheme::Http => self.http,
            Scheme::Https => self.https,
        }
    }
}

/// The scheme, and what follows `//`; nothing when the reference is relative (RFC 3986 §4.1: a colon before any other
/// delimiter ends a scheme).
fn split_scheme(location: &str) -> Result<Option<(Scheme, &str)>, ProbeFault> {
    let Some((scheme, rest)) = location.split_once(':') else { return Ok(None) };
    if scheme.contains(['/', '?']) {
        return Ok(None);
    }
    let scheme = match scheme {
        _ if scheme.eq_ignore_ascii_case(Scheme::Http.name()) => Scheme::Http,
        _ if scheme.eq_ignore_ascii_case(Scheme::Https.name()) => Scheme::Https,
        _ => return Err(ProbeFault::BadRedirect),
    };
    rest.strip_prefix("//").map(|authority| Some((scheme, authority))).ok_or(ProbeFault::BadRedirect)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn target(host: &str, path: &str) -> HttpTarget {
        let host = host.parse().map_or_else(|_| Identifier::Dns(host.parse().unwrap()), Identifier::Ip);
        HttpTarget { scheme: Scheme::Http, host, path: path.to_owned() }
    }

    fn secure(host: &str, path: &str) -> HttpTarget {
        HttpTarget { scheme: Scheme::Https, ..target(host, path) }
    }

    const OTHER: Ports = Ports { http: 5002, https: 5003 };

    fn start_at(host: &str) -> HttpTarget {
        HttpTarget::challenge(&target(host, "").host, "token")
    }

    fn start() -> HttpTarget {
        start_at("a.test")
    }

    #[test]
    fn the_first_target_is_the_well_known_path() {
        assert_eq!(start().path, "/.well-known/acme-challenge/token");
        let table = [("a.test", "a.test"), ("192.0.2.1", "192.0.2.1"), ("2001:db8::1", "[2001:db8::1]")];
        for (host, authority) in table {
            assert_eq!(start_at(host).authority(Ports::REGISTERED), authority);
            assert_eq!(start_at(host).authority(OTHER), format!("{authority}:5002"));
            assert_eq!(secure(host, "/").authority(Ports::REGISTERED), authority);
            assert_eq!(secure(host, "/").authority(OTHER), format!("{authority}:5003"));
        }
    }

    #[test]
    fn redirects_lead_to_http_and_https_urls_on_the_configured_ports() {
        let table = [
            ("http://b.test/x?y#z", target("b.test", "/x?y")),
            ("HTTP://B.test:80/x", target("b.test", "/x")),
            ("http://b.test", target("b.test", "/")),
            ("http://b.test:/x", target("b.test", "/x")),
            ("http://b.test?y", target("b.test", "/?y")),
            ("https://b.test/x", secure("b.test", "/x")),
            ("HTTPS://b.test:443", secure("b.test", "/")),
            ("//b.test/x", target("b.test", "/x")),
            ("/x:y", target("a.test", "/x:y")),
            ("other", target("a.test", "/.well-known/acme-challenge/other")),
            ("?y", target("a.test", "/.well-known/acme-challenge/token?y")),
            ("", start()),
        ];
        for (location, expected) in table {
            assert_eq!(start().redirect(location, Ports::REGISTERED), Ok(expected), "{location}");
        }
    }

    #[test]
    fn redirects_elsewhere_are_refused() {
        let long = format!("/{}", "x".repeat(MAX_PATH));
        let table = [
            "https://b.test:80/x",
            "https://b.test:8443/x",
            "https:/x",
            "https://user@b.test/x",
            "https://127.0.0.1/x",
            "httpss://b.test/x",
            "ftp://b.test/x",
            "file:///etc/passwd",
            "http:/x",
            "http:x",
            "http://b.test:8080/x",
            "http://b.test:443/x",
            "http://b.test:x/",
            "http://b.test::80/",
            "http://user@b.test/x",
            "http://user:secret@b.test/x",
            "http://127.0.0.1/x",
            "http://2130706433/x",
            "http://[::1]/x",
            "http://[::1/x",
            "http://[a.test]/x",
            "http://[::1]x/x",
            "http://::1/x",
            "http:///x",
            "http://*.b.test/x",
            "http://b..test/x",
            "/a b",
            "/a\r\nHost: c.test",
            "/ä",
            &long,
        ];
        for location in table {
            assert_eq!(start().redirect(location, Ports::REGISTERED), Err(ProbeFault::BadRedirect), "{location}");
        }
    }

    #[test]
    fn an_address_leads_to_names_and_to_itself_alone() {
        let start = start_at("192.0.2.1");
        for location in ["/x", "//192.0.2.1/x", "http://192.0.2.1/x", "http://192.0.2.1:80/x"] {
            assert_eq!(start.redirect(location, Ports::REGISTERED), Ok(target("192.0.2.1", "/x")), "{location}");
        }
        assert_eq!(start.redirect("http://b.test/x", Ports::REGISTERED), Ok(target("b.test", "/x")));
        for location in ["http://192.0.2.2/x", "http://[192.0.2.1]/x", "http://192.0.2.1:81/x", "http://192.0.2.01/x"] {
            assert_eq!(start.redirect(location, Ports::REGISTERED), Err(ProbeFault::BadRedirect), "{location}");
        }
        let start = start_at("2001:db8::1");
        for location in ["http://[2001:db8::1]/x", "http://[2001:db8::1]:80/x", "http://[2001:db8::1]:/x"] {
            assert_eq!(start.redirect(location, Ports::REGISTERED), Ok(target("2001:db8::1", "/x")), "{location}");
        }
        for location in
            ["http://[2001:db8::2]/x", "http://2001:db8::1/x", "http://[2001:db8::1]:81/x", "http://192.0.2.1"]
        {
            assert_eq!(start.redirect(location, Ports::REGISTERED), Err(ProbeFault::BadRedirect), "{location}");
        }
    }

    #[test]
    fn a_url_without_a_port_means_the_configured_one() {
        assert_eq!(start().redirect("http://b.test/x", OTHER), Ok(target("b.test", "/x")));
        assert_eq!(start().redirect("http://b.test:5002/x", OTHER), Ok(target("b.test", "/x")));
        assert_eq!(start().redirect("http://b.test:80/x", OTHER), Err(ProbeFault::BadRedirect));
        assert_eq!(start().redirect("https://b.test/x", OTHER), Ok(secure("b.test", "/x")));
        assert_eq!(start().redirect("https://b.test:5003/x", OTHER), Ok(secure("b.test", "/x")));
        assert_eq!(start().redirect("https://b.test:5002/x", OTHER), Err(ProbeFault::BadRedirect));
    }

    #[test]
    fn a_reference_without_a_scheme_keeps_it() {
        let start = secure("a.test", "/x");
        for location in ["/y", "//a.test/y", "https://a.test/y"] {
            assert_eq!(start.redirect(location, OTHER), Ok(secure("a.test", "/y")), "{location}");
        }
        assert_eq!(start.redirect("http://a.test/y", OTHER), Ok(target("a.test", "/y")));
    }

    proptest! {
        #[test]
        fn any_location_gives_a_clean_target_or_is_refused(location in ".*") {
            if let Ok(target) = start().redirect(&location, Ports::REGISTERED) {
                prop_assert!(target.path.starts_with('/'));
                prop_assert!(target.path.bytes().all(|byte| byte.is_ascii_graphic()));
            }
        }
    }
}
