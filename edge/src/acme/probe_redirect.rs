//! Where http-01 looks: the target of a probe, and where a redirect leads it (RFC 8555 §8.3). Never to another scheme or
//! port, never to a bare address.

use shared::identifier::DnsName;

use super::probe::ProbeFault;

/// What one GET asks for: which host, and which path there. The port is the configured one, always.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpTarget {
    /// The host that is resolved and named in `Host`.
    pub name: DnsName,
    /// Absolute path with its query, of visible ASCII characters.
    pub path: String,
}

/// The longest path that a redirect may lead to, in bytes.
const MAX_PATH: usize = 2048;

impl HttpTarget {
    /// Where a challenge's answer is expected first (RFC 8555 §8.3). The token is base64url text of ours.
    #[must_use]
    pub fn challenge(name: &DnsName, token: &str) -> Self {
        Self { name: name.without_wildcard(), path: format!("/.well-known/acme-challenge/{token}") }
    }

    /// The value of `Host`: the port is left out when it is HTTP's own (RFC 9110 §7.2).
    #[must_use]
    pub fn host(&self, port: u16) -> String {
        if port == HTTP_PORT { self.name.to_string() } else { format!("{}:{port}", self.name) }
    }

    /// The target that a `Location` names, relative to this one (RFC 9110 §10.2.2). `port` is the configured port; a URL
    /// without one means that port too.
    ///
    /// # Errors
    /// [`ProbeFault::BadRedirect`] for another scheme (https too, for now), another port, user information, a host that
    /// is no DNS name, or a path that is too long or has characters that no URL has.
    pub fn redirect(&self, location: &str, port: u16) -> Result<Self, ProbeFault> {
        let location = location.split('#').next().unwrap_or_default();
        if let Some(rest) = strip_scheme(location)? {
            return Self::from_authority(rest, port);
        }
        if let Some(rest) = location.strip_prefix("//") {
            return Self::from_authority(rest, port);
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
        Self::new(self.name.clone(), path)
    }

    fn new(name: DnsName, path: String) -> Result<Self, ProbeFault> {
        let allowed = |byte: u8| {
            byte.is_ascii_graphic() && !matches!(byte, b'"' | b'<' | b'>' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}')
        };
        if path.len() > MAX_PATH || !path.bytes().all(allowed) {
            return Err(ProbeFault::BadRedirect);
        }
        Ok(Self { name, path })
    }

    /// From what follows `//`: `host[:port][/path][?query]`.
    fn from_authority(text: &str, port: u16) -> Result<Self, ProbeFault> {
        let end = text.find(['/', '?']).unwrap_or(text.len());
        let (authority, path) = text.split_at_checked(end).ok_or(ProbeFault::BadRedirect)?;
        let host = match authority.split_once(':') {
            None | Some((_, "")) => authority.trim_end_matches(':'),
            Some((host, digits)) if digits.parse() == Ok(port) => host,
            Some(_) => return Err(ProbeFault::BadRedirect),
        };
        let name: DnsName = host.parse().map_err(|_| ProbeFault::BadRedirect)?;
        if name.is_wildcard() {
            return Err(ProbeFault::BadRedirect);
        }
        Self::new(name, if path.starts_with('/') { path.to_owned() } else { format!("/{path}") })
    }

    fn path_without_query(&self) -> &str {
        self.path.split('?').next().unwrap_or_default()
    }
}

const HTTP_PORT: u16 = 80;

/// What follows `http://`; nothing when the reference is relative (RFC 3986 §4.1: a colon before any other delimiter ends
/// a scheme).
fn strip_scheme(location: &str) -> Result<Option<&str>, ProbeFault> {
    let Some((scheme, rest)) = location.split_once(':') else { return Ok(None) };
    if scheme.contains(['/', '?']) {
        return Ok(None);
    }
    let authority = rest.strip_prefix("//").filter(|_| scheme.eq_ignore_ascii_case("http"));
    authority.map(Some).ok_or(ProbeFault::BadRedirect)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn target(name: &str, path: &str) -> HttpTarget {
        HttpTarget { name: name.parse().unwrap(), path: path.to_owned() }
    }

    fn start() -> HttpTarget {
        HttpTarget::challenge(&"a.test".parse().unwrap(), "token")
    }

    #[test]
    fn the_first_target_is_the_well_known_path() {
        assert_eq!(start().path, "/.well-known/acme-challenge/token");
        assert_eq!(start().host(80), "a.test");
        assert_eq!(start().host(5002), "a.test:5002");
    }

    #[test]
    fn redirects_lead_to_http_urls_on_the_configured_port() {
        let table = [
            ("http://b.test/x?y#z", target("b.test", "/x?y")),
            ("HTTP://B.test:80/x", target("b.test", "/x")),
            ("http://b.test", target("b.test", "/")),
            ("http://b.test:/x", target("b.test", "/x")),
            ("http://b.test?y", target("b.test", "/?y")),
            ("//b.test/x", target("b.test", "/x")),
            ("/x:y", target("a.test", "/x:y")),
            ("other", target("a.test", "/.well-known/acme-challenge/other")),
            ("?y", target("a.test", "/.well-known/acme-challenge/token?y")),
            ("", start()),
        ];
        for (location, expected) in table {
            assert_eq!(start().redirect(location, 80), Ok(expected), "{location}");
        }
    }

    #[test]
    fn redirects_elsewhere_are_refused() {
        let long = format!("/{}", "x".repeat(MAX_PATH));
        let table = [
            "https://b.test/x",
            "ftp://b.test/x",
            "file:///etc/passwd",
            "http:/x",
            "http:x",
            "http://b.test:8080/x",
            "http://b.test:x/",
            "http://user@b.test/x",
            "http://user:secret@b.test/x",
            "http://127.0.0.1/x",
            "http://2130706433/x",
            "http://[::1]/x",
            "http:///x",
            "http://*.b.test/x",
            "http://b..test/x",
            "/a b",
            "/a\r\nHost: c.test",
            "/ä",
            &long,
        ];
        for location in table {
            assert_eq!(start().redirect(location, 80), Err(ProbeFault::BadRedirect), "{location}");
        }
    }

    #[test]
    fn a_url_without_a_port_means_the_configured_one() {
        assert_eq!(start().redirect("http://b.test/x", 5002), Ok(target("b.test", "/x")));
        assert_eq!(start().redirect("http://b.test:5002/x", 5002), Ok(target("b.test", "/x")));
        assert_eq!(start().redirect("http://b.test:80/x", 5002), Err(ProbeFault::BadRedirect));
    }

    proptest! {
        #[test]
        fn any_location_gives_a_clean_target_or_is_refused(location in ".*") {
            if let Ok(target) = start().redirect(&location, 80) {
                prop_assert!(target.path.starts_with('/'));
                prop_assert!(target.path.bytes().all(|byte| byte.is_ascii_graphic()));
            }
        }
    }
}
