//! The page for people who open the URL in a browser: what this is, the root certificate, and a ready line for each client.

use std::fmt::Write;

use super::{config::Config, route::Urls};

/// The page as HTML, complete in itself: no script, nothing loaded from elsewhere.
#[must_use]
pub fn html(config: &Config, urls: &Urls) -> String {
    let title = escape(&config.title);
    let fingerprint = escape(&hex(&config.root.fingerprint()));
    let subject = escape(&config.root.subject().to_string());
    let not_after = config.root.not_after();
    let pem = escape(&config.root_pem);
    let directory = urls.directory();
    let root = urls.absolute("/root.pem");
    let clients: String = client_lines(&directory)
        .iter()
        .map(|(name, line)| format!("<dt>{name}</dt><dd><pre>{}</pre></dd>\n", escape(line)))
        .collect();
    let directory = escape(&directory);
    let host = config.status.host.as_ref().map(|host| escape(host.as_str()));
    let status = host.map(|host| format!("\n<dt>Status of certificates</dt><dd>{host}</dd>")).unwrap_or_default();
    document(
        &title,
        &format!(
            r#"<h1>{title}</h1>
<p>This is a private certificate authority. It speaks ACME (RFC 8555): point any ACME client at its directory.</p>
<pre>{directory}</pre>
<h2>The root certificate</h2>
<p>Programs that are to trust certificates of this CA need its root: <a href="{root}">root.pem</a>.
Compare its fingerprint with one that you got another way.</p>
<dl>
<dt>Subject</dt><dd>{subject}</dd>
<dt>Valid until</dt><dd>{not_after}</dd>
<dt>SHA-256</dt><dd class="fingerprint"><code>{fingerprint}</code></dd>{status}
</dl>
<pre>{pem}</pre>
<h2>Clients</h2>
<dl>
{clients}</dl>
"#
        ),
    )
}

/// A page of this style, complete in itself. Title and body are HTML.
pub(super) fn document(title: &str, body: &str) -> String {
    format!(
        r#"<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>
body {{ max-width: 46rem; margin: 2rem auto; padding: 0 1rem; font: 1rem/1.5 system-ui, sans-serif; color: #222; background: #fff }}
pre {{ white-space: pre-wrap; overflow-wrap: anywhere; padding: .6rem; background: #f3f3f0; border-radius: .3rem }}
code, pre {{ font-size: .875rem }} dt {{ font-weight: 600 }} dd {{ margin: 0 0 1rem }} .fingerprint {{ word-break: break-all }}
</style>
</head>
<body>
{body}</body>
</html>
"#
    )
}

/// A ready line for each client; `name.example` stands for the name to certify.
fn client_lines(directory: &str) -> [(&'static str, String); 4] {
    [
        ("certbot", format!("certbot certonly --standalone --server {directory} -d name.example")),
        ("lego", format!("lego --server {directory} --accept-tos --email you@name.example --http -d name.example run")),
        ("Caddy", format!("name.example {{\n\ttls {{\n\t\tissuer acme {{\n\t\t\tdir {directory}\n\t\t}}\n\t}}\n}}")),
        ("acme.sh", format!("acme.sh --issue --standalone --server {directory} -d name.example")),
    ]
}

/// Octets as OpenSSL writes fingerprints.
pub(super) fn hex(bytes: &[u8]) -> String {
    let mut text = String::new();
    for byte in bytes {
        let separator = if text.is_empty() { "" } else { ":" };
        // Writing to a string cannot fail.
        let _ = write!(text, "{separator}{byte:02X}");
    }
    text
}

pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_the_operator_cannot_become_markup() {
        assert_eq!(escape(r#"<a href="x">&'"#), "&lt;a href=&quot;x&quot;&gt;&amp;&#39;");
    }

    #[test]
    fn fingerprints_are_written_as_openssl_writes_them() {
        assert_eq!(hex(&[0, 0xab, 0xff]), "00:AB:FF");
    }
}
