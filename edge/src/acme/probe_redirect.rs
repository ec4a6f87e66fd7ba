//! Where http-01 looks: the target of a probe, and where a redirect leads it (RFC 8555 §8.3). Never to another scheme
//! than http and https or another port than theirs, never to a bare address but the one that is asked already.

use serde::{Deserialize, Serialize};
use shared::identifier::Identifier;

use super::{excerpt, host::Host, probe::ProbeFault};

/// What one GET asks for: how, which host, and which path there. The port is the scheme's configured one, always.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpTarget {
    /// With or without TLS.
    pub scheme: Scheme,
    /// The host that is named in `Host`.
    pub host: Host,
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

/// Why a redirect is not followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum BadRedirect {
    /// Another scheme.
    #[error("its scheme is neither http nor https")]
    Scheme,
    /// A scheme without `//`.
    #[error("its scheme is not followed by // and a host")]
    NoHost,
    /// `user@`.
    #[error("it has a user name before the host")]
    UserInformation,
    /// Not a host, or one that is written in a way that is read differently by different software.
    #[error("its host is neither a name nor an address in its usual form")]
    Host,
    /// Another address than the one that is asked.
    #[error("its host is an address; only names are followed, and the address that the order is for")]
    Address,
    /// Another port.
    #[error("its port is not {0}, the only one that is followed for its scheme")]
    Port(u16),
    /// A byte that no URL has.
    #[error("it has a character that must be percent-encoded in a URL (RFC 3986)")]
    Character,
    /// More than [`MAX_PATH`] bytes.
    #[error("its path has more than {MAX_PATH} bytes")]
    LongPath,
}

/// The longest path that a redirect may lead to, in bytes.
const MAX_PATH: usize = 2048;

impl HttpTarget {
    /// Where a challenge's answer is expected first (RFC 8555 §8.3). The token is base64url text of ours.
    #[must_use]
    pub fn challenge(identifier: &Identifier, token: &str) -> Self {
        Self { scheme: Scheme::Http, host: identifier.into(), path: format!("/.well-known/acme-challenge/{token}") }
    }

    /// The value of `Host`: the port is left out when it is the scheme's own (RFC 9110 §7.2).
    #[must_use]
    pub fn authority(&self, ports: Ports) -> String {
        let (host, port) = (self.host.in_url(), ports.of(self.scheme));
        if port == Ports::REGISTERED.of(self.scheme) { host } else { format!("{host}:{port}") }
    }

    /// Resolves a `Location` relative to this target (RFC 9110 §10.2.2, RFC 3986 §5.2). A URL without a port means the
    /// configured one of its scheme.
    ///
    /// # Errors
    /// [`ProbeFault::BadRedirect`] with the beginning of the location and the reason.
    pub fn redirect(&self, location: &[u8], ports: Ports) -> Result<Self, ProbeFault> {
        self.resolve(location, ports).map_err(|why| ProbeFault::BadRedirect { to: excerpt::of_name(location), why })
    }

    fn resolve(&self, location: &[u8], ports: Ports) -> Result<Self, BadRedirect> {
        let location = str::from_utf8(location).map_err(|_| BadRedirect::Character)?;
        let location = location.split('#').next().unwrap_or_default();
        if let Some((scheme, rest)) = split_scheme(location)? {
            return self.leads_to(scheme, rest, ports);
        }
        if let Some(rest) = location.strip_prefix("//") {
            return self.leads_to(self.scheme, rest, ports);
        }
        let (own_path, own_query) = split_query(&self.path);
        let (path, query) = split_query(location);
        let path = match path.as_bytes().first() {
            None => {
                let query = if query.is_empty() { own_query } else { query };
                return Self::new(self.scheme, self.host.clone(), format!("{own_path}{query}"));
            }
            Some(b'/') => without_dots(path),
            Some(_) => {
                let folder = own_path.rsplit_once('/').map_or("", |(folder, _)| folder);
                without_dots(&format!("{folder}/{path}"))
            }
        };
        Self::new(self.scheme, self.host.clone(), format!("{path}{query}"))
    }

    fn new(scheme: Scheme, host: Host, path: String) -> Result<Self, BadRedirect> {
        let allowed = |byte: u8| {
            byte.is_ascii_graphic() && !matches!(byte, b'"' | b'<' | b'>' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}')
        };
        match path {
            path if !path.bytes().all(allowed) => Err(BadRedirect::Character),
            path if path.len() > MAX_PATH => Err(BadRedirect::LongPath),
            path => Ok(Self { scheme, host, path }),
        }
    }

    /// From what follows `//`: `host[:port][/path][?query]`.
    fn leads_to(&self, scheme: Scheme, text: &str, ports: Ports) -> Result<Self, BadRedirect> {
        let (authority, rest) = split_before(text, &['/', '?']);
        if authority.contains('@') {
            return Err(BadRedirect::UserInformation);
        }
        let (host, port) = match authority.rsplit_once(':') {
            // The colons of an IPv6 address are in brackets.
            Some((host, port)) if !authority.ends_with(']') => (host, port),
            _ => (authority, ""),
        };
        let host = Host::parse(host).map_err(|_| BadRedirect::Host)?;
        if matches!(host, Host::Address(_)) && host != self.host {
            return Err(BadRedirect::Address);
        }
        if !port.is_empty() && port.parse() != Ok(ports.of(scheme)) {
            return Err(BadRedirect::Port(ports.of(scheme)));
        }
        let (path, query) = split_query(rest);
        let path = if path.is_empty() { "/".to_owned() } else { without_dots(path) };
        Self::new(scheme, host, format!("{path}{query}"))
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
fn split_scheme(location: &str) -> Result<Option<(Scheme, &str)>, BadRedirect> {
    let Some((scheme, rest)) = location.split_once(':') else { return Ok(None) };
    if scheme.contains(['/', '?']) {
        return Ok(None);
    }
    let scheme = match scheme {
        _ if scheme.eq_ignore_ascii_case(Scheme::Http.name()) => Scheme::Http,
        _ if scheme.eq_ignore_ascii_case(Scheme::Https.name()) => Scheme::Https,
        _ => return Err(BadRedirect::Scheme),
    };
    rest.strip_prefix("//").map(|authority| Some((scheme, authority))).ok_or(BadRedirect::NoHost)
}

/// The path, and the query with its question mark.
fn split_query(text: &str) -> (&str, &str) {
    split_before(text, &['?'])
}

/// What is before the first of these characters, and the rest with it.
fn split_before<'a>(text: &'a str, ends: &[char]) -> (&'a str, &'a str) {
    text.find(ends).and_then(|end| text.split_at_checked(end)).unwrap_or((text, ""))
}

/// Removes the dot segments of an absolute path (RFC 3986 §5.2.4): `/a/./b/../c` is `/a/c`, and nothing is above `/`.
fn without_dots(path: &str) -> String {
    let mut kept = Vec::new();
    let mut ends_in_folder = false;
    for segment in path.strip_prefix('/').unwrap_or(path).split('/') {
        ends_in_folder = matches!(segment, "." | "..");
        match segment {
            "." => {}
            ".." => drop(kept.pop()),
            segment => kept.push(segment),
        }
    }
    if ends_in_folder {
        kept.push("");
    }
    format!("/{}", kept.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn target(host: &str, path: &str) -> HttpTarget {
        let host = host.parse().map_or_else(|_| Host::Name(host.parse().unwrap()), Host::Address);
        HttpTarget { scheme: Scheme::Http, host, path: path.to_owned() }
    }

    fn secure(host: &str, path: &str) -> HttpTarget {
        HttpTarget { scheme: Scheme::Https, ..target(host, path) }
    }

    const OTHER: Ports = Ports { http: 5002, https: 5003 };

    fn start_at(host: &str) -> HttpTarget {
        let host = host.parse().map_or_else(|_| Identifier::Dns(host.parse().unwrap()), Identifier::Ip);
        HttpTarget::challenge(&host, "token")
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
            assert_eq!(start().redirect(location.as_bytes(), Ports::REGISTERED), Ok(expected), "{location}");
        }
    }

    #[test]
    fn redirects_elsewhere_are_refused() {
        let long = format!("/{}", "x".repeat(MAX_PATH));
        use BadRedirect::{Address, Character, Host, LongPath, NoHost, Port, Scheme, UserInformation};
        let table = [
            ("https://b.test:80/x", Port(443)),
            ("https://b.test:8443/x", Port(443)),
            ("https:/x", NoHost),
            ("https://user@b.test/x", UserInformation),
            ("https://127.0.0.1/x", Address),
            ("httpss://b.test/x", Scheme),
            ("ftp://b.test/x", Scheme),
            ("file:///etc/passwd", Scheme),
            ("http:/x", NoHost),
            ("http:x", NoHost),
            ("http://b.test:8080/x", Port(80)),
            ("http://b.test:443/x", Port(80)),
            ("http://b.test:x/", Port(80)),
            ("http://b.test::80/", Host),
            ("http://user@b.test/x", UserInformation),
            ("http://user:secret@b.test/x", UserInformation),
            ("http://127.0.0.1/x", Address),
            ("http://127.1/x", Host),
            ("http://2130706433/x", Host),
            ("http://0x7f000001/x", Host),
            ("http://[::1]/x", Address),
            ("http://[::1/x", Host),
            ("http://[a.test]/x", Host),
            ("http://[::1]x/x", Host),
            ("http://::1/x", Host),
            ("http:///x", Host),
            ("http://*.b.test/x", Host),
            ("http://b..test/x", Host),
            ("/a b", Character),
            ("/a\r\nHost: c.test", Character),
            ("/ä", Character),
            (&long, LongPath),
        ];
        for (location, why) in table {
            assert_eq!(refused(&start(), location), why, "{location}");
        }
        assert_eq!(start().resolve(b"/\xff", Ports::REGISTERED), Err(Character));
        let ProbeFault::BadRedirect { to, .. } = start().redirect(long.as_bytes(), Ports::REGISTERED).unwrap_err()
        else {
            panic!()
        };
        assert_eq!(to, format!("\"/{}…\"", "x".repeat(63)));
    }

    fn refused(start: &HttpTarget, location: &str) -> BadRedirect {
        start.resolve(location.as_bytes(), Ports::REGISTERED).expect_err(location)
    }

    /// RFC 3986 §5.4, as far as the references stay with http and with hosts that are followed.
    #[test]
    fn references_are_resolved_as_in_the_examples_of_the_rfc() {
        let base = target("a.test", "/b/c/d;p?q");
        let table = [
            ("g", "/b/c/g"),
            ("./g", "/b/c/g"),
            ("g/", "/b/c/g/"),
            ("/g", "/g"),
            ("?y", "/b/c/d;p?y"),
            ("g?y", "/b/c/g?y"),
            ("#s", "/b/c/d;p?q"),
            ("g#s", "/b/c/g"),
            ("g?y#s", "/b/c/g?y"),
            (";x", "/b/c/;x"),
            ("", "/b/c/d;p?q"),
            (".", "/b/c/"),
            ("./", "/b/c/"),
            ("..", "/b/"),
            ("../", "/b/"),
            ("../g", "/b/g"),
            ("../..", "/"),
            ("../../", "/"),
            ("../../g", "/g"),
            ("../../../g", "/g"),
            ("../../../../g", "/g"),
            ("/./g", "/g"),
            ("/../g", "/g"),
            ("g.", "/b/c/g."),
            (".g", "/b/c/.g"),
            ("g..", "/b/c/g.."),
            ("..g", "/b/c/..g"),
            ("./../g", "/b/g"),
            ("./g/.", "/b/c/g/"),
            ("g/./h", "/b/c/g/h"),
            ("g/../h", "/b/c/h"),
            ("g;x=1/./y", "/b/c/g;x=1/y"),
            ("g;x=1/../y", "/b/c/y"),
            ("g?y/./x", "/b/c/g?y/./x"),
            ("g?y/../x", "/b/c/g?y/../x"),
            ("g#s/../x", "/b/c/g"),
            ("http://a.test/b/./c/../d?x/../y", "/b/d?x/../y"),
        ];
        for (location, path) in table {
            let resolved = base.redirect(location.as_bytes(), Ports::REGISTERED);
            assert_eq!(resolved, Ok(target("a.test", path)), "{location}");
        }
    }

    /// The host of a redirect is no identifier: no certificate is issued for it.
    #[test]
    fn redirects_lead_to_hosts_that_no_certificate_may_name() {
        for (location, host) in [
            ("http://my_host.b.test/x", "my_host.b.test"),
            ("http://B.test./x", "b.test"),
            ("http://intranet/x", "intranet"),
        ] {
            assert_eq!(start().redirect(location.as_bytes(), Ports::REGISTERED), Ok(target(host, "/x")), "{location}");
        }
    }

    #[test]
    fn an_address_leads_to_names_and_to_itself_alone() {
        let start = start_at("192.0.2.1");
        for location in ["/x", "//192.0.2.1/x", "http://192.0.2.1/x", "http://192.0.2.1:80/x"] {
            assert_eq!(
                start.redirect(location.as_bytes(), Ports::REGISTERED),
                Ok(target("192.0.2.1", "/x")),
                "{location}"
            );
        }
        assert_eq!(start.redirect(b"http://b.test/x", Ports::REGISTERED), Ok(target("b.test", "/x")));
        for location in ["http://192.0.2.2/x", "http://[192.0.2.1]/x", "http://192.0.2.1:81/x", "http://192.0.2.01/x"] {
            refused(&start, location);
        }
        let start = start_at("2001:db8::1");
        for location in [
            "http://[2001:db8::1]/x",
            "http://[2001:db8::1]:80/x",
            "http://[2001:db8::1]:/x",
            "http://[2001:DB8:0::1]/x",
        ] {
            assert_eq!(
                start.redirect(location.as_bytes(), Ports::REGISTERED),
                Ok(target("2001:db8::1", "/x")),
                "{location}"
            );
        }
        for location in
            ["http://[2001:db8::2]/x", "http://2001:db8::1/x", "http://[2001:db8::1]:81/x", "http://192.0.2.1"]
        {
            refused(&start, location);
        }
    }

    #[test]
    fn a_url_without_a_port_means_the_configured_one() {
        assert_eq!(start().redirect(b"http://b.test/x", OTHER), Ok(target("b.test", "/x")));
        assert_eq!(start().redirect(b"http://b.test:5002/x", OTHER), Ok(target("b.test", "/x")));
        assert_eq!(start().resolve(b"http://b.test:80/x", OTHER), Err(BadRedirect::Port(5002)));
        assert_eq!(start().redirect(b"https://b.test/x", OTHER), Ok(secure("b.test", "/x")));
        assert_eq!(start().redirect(b"https://b.test:5003/x", OTHER), Ok(secure("b.test", "/x")));
        assert_eq!(start().resolve(b"https://b.test:5002/x", OTHER), Err(BadRedirect::Port(5003)));
    }

    #[test]
    fn a_reference_without_a_scheme_keeps_it() {
        let start = secure("a.test", "/x");
        for location in ["/y", "//a.test/y", "https://a.test/y"] {
            assert_eq!(start.redirect(location.as_bytes(), OTHER), Ok(secure("a.test", "/y")), "{location}");
        }
        assert_eq!(start.redirect(b"http://a.test/y", OTHER), Ok(target("a.test", "/y")));
    }

    proptest! {
        #[test]
        fn any_location_gives_a_clean_target_or_is_refused(location in ".*") {
            if let Ok(target) = start().redirect(location.as_bytes(), Ports::REGISTERED) {
                prop_assert!(target.path.starts_with('/'));
                prop_assert!(target.path.bytes().all(|byte| byte.is_ascii_graphic()));
            }
        }
    }
}
