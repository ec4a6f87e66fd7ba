//! The edge on this machine: workerd without wrangler. The configuration is generated from `wrangler.toml`, with what
//! only `up` knows in place of the deployment's addresses; the modules are copied into the state, so that a later build
//! does not change a running stack.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::capnp::text;
use super::edges::EdgePlace;
use super::external_account::BindingPolicy;
use super::kubernetes;
use super::pki::{Authority, Pair};
use super::resolver::LOOPBACK;
use super::setting::Setting;
use super::signers::Signer;
use super::state::{State, write_private};
use super::supervisor::{Ready, Service};
use crate::deployment::Deployment;

/// What the edge is made of.
#[derive(Debug)]
pub(crate) struct Edge<'a> {
    /// From `wrangler.toml`.
    pub(crate) deployment: &'a Deployment,
    /// The folder with the JavaScript entry (`edge/`), which holds the bundle in `build/`.
    pub(crate) source: &'a Path,
    /// Which one it is, and its addresses.
    pub(crate) place: &'a EdgePlace,
    /// The HTTPS certificate.
    pub(crate) certificate: &'a Pair,
    /// Trusted for requests that the edge makes itself (a resolver of a test, say).
    pub(crate) front_authority: &'a Authority,
    /// What it shows to signers.
    pub(crate) client: &'a Pair,
    /// What signers' certificates chain to.
    pub(crate) infrastructure: &'a Authority,
    /// The issuing root (PEM file).
    pub(crate) root: &'a Path,
    /// Its CRL (PEM).
    pub(crate) root_crl: Option<String>,
    /// Its signers.
    pub(crate) signers: &'a [Signer],
    /// Where names are looked up.
    pub(crate) resolver: &'a str,
    /// Where http-01 connects.
    pub(crate) http_port: u16,
    /// Where tls-alpn-01 connects.
    pub(crate) tls_alpn_port: u16,
    /// Whether accounts need an external account binding.
    pub(crate) binding_policy: BindingPolicy,
    /// Whether the deployment's rate limits are on.
    pub(crate) rate_limits: bool,
    /// Applied last.
    pub(crate) settings: &'a [Setting],
}

/// The modules, by the names under which they import each other. The first is the entry.
const MODULES: [&str; 3] = ["main.mjs", "build/index.js", "build/index_bg.wasm"];

impl Edge<'_> {
    /// Writes everything that workerd reads, and says how to start it.
    pub(crate) fn prepare(&self, state: &State, workerd: PathBuf) -> Result<Service> {
        let role = self.place.role();
        let folder = state.subfolder(&role)?;
        fs::create_dir_all(folder.join("build"))?;
        fs::create_dir_all(folder.join("storage"))?;
        for module in MODULES {
            let from = self.source.join(module);
            fs::copy(&from, folder.join(module)).with_context(|| format!("copying {}", from.display()))?;
        }
        // workerd embeds files by paths relative to its configuration; the private ones stay private.
        for (name, file) in [
            ("front.pem", &self.certificate.certificate),
            ("front.key", &self.certificate.key),
            ("client.pem", &self.client.certificate),
            ("client.key", &self.client.key),
            ("infrastructure.pem", &self.infrastructure.certificate()),
            ("front-authority.pem", &self.front_authority.certificate()),
            ("url-secret", &state.secret(&self.place.secret("url"))?),
            ("nonce-secret", &state.secret(&self.place.secret("nonce"))?),
            ("cache-purge-token", &state.secret(&self.place.secret("cache-purge"))?),
            ("metrics-token", &state.secret(&self.place.secret("metrics"))?),
        ] {
            write_private(&folder.join(name), &fs::read(file).with_context(|| format!("reading {}", file.display()))?)?;
        }
        let colophon = self.colophon()?;
        write_private(&folder.join("kubernetes-tokens"), &kubernetes::tokens(state, &colophon)?)?;
        fs::write(folder.join("colophon.json"), serde_json::to_vec_pretty(&colophon)?)?;
        let configuration = folder.join("workerd.capnp");
        fs::write(&configuration, self.configuration(&folder)?)?;
        Ok(Service {
            program: workerd,
            arguments: vec!["serve".into(), configuration.into()],
            folder,
            log: state.subfolder("logs")?.join(format!("{role}.log")),
            ready: Ready::Elsewhere,
            role,
        })
    }

    /// The deployment's configuration with the addresses of this stack.
    fn colophon(&self) -> Result<Value> {
        let mut colophon = self.deployment.colophon()?;
        let signers: Vec<Value> = self
            .signers
            .iter()
            .map(|signer| json!({ "binding": signer.binding(), "url": format!("https://{}", signer.host()) }))
            .collect();
        let front = &self.place.front;
        for (path, value) in [
            (["", "base_url"], json!(front.base_url())),
            (["", "root_certificate"], json!(fs::read_to_string(self.root)?)),
            (["", "diagnostics"], json!(true)),
            (["", "external_account_binding"], json!(self.binding_policy.name())),
            (["", "signers"], json!(signers)),
            (["identifiers", "single_labels"], json!(true)),
            (["identifiers", "ip_networks"], json!(LOOPBACK)),
            (["status", "host"], json!(front.status_url())),
            (["status", "root_crl"], json!(self.root_crl)),
            (["validation", "resolvers"], json!([self.resolver])),
            (["validation", "http_port"], json!(self.http_port)),
            (["validation", "tls_alpn_port"], json!(self.tls_alpn_port)),
            (["validation", "allow_loopback"], json!(true)),
            (["lifetimes", "redrive"], json!(2)),
        ] {
            let [table, key] = path;
            let table = if table.is_empty() { Some(&mut colophon) } else { colophon.get_mut(table) };
            let table = table
                .and_then(Value::as_object_mut)
                .with_context(|| format!("wrangler.toml's COLOPHON has no place for {key}"))?;
            table.insert(key.to_owned(), value);
        }
        if !self.rate_limits
            && let Some(colophon) = colophon.as_object_mut()
        {
            colophon.remove("rate_limits");
        }
        if let (Some(deployment), Some(colophon)) = (self.place.deployment(), colophon.as_object_mut()) {
            colophon.insert("deployment".to_owned(), deployment.into());
        }
        for setting in self.settings.iter().filter(|setting| setting.is_for(self.place.number)) {
            setting.apply(&mut colophon)?;
        }
        Ok(colophon)
    }

    /// workerd's configuration, in Cap'n Proto's text form.
    fn configuration(&self, folder: &Path) -> Result<String> {
        let storage = folder.join("storage");
        let mut services = format!(
            "    (name = \"edge\", worker = .edge),
    (name = \"storage\", disk = (path = {}, writable = true)),
    (name = \"outbound\", network = (
      allow = [\"public\", \"private\"],
      tlsOptions = (trustBrowserCas = true, trustedCertificates = [embed \"front-authority.pem\"]),
    )),\n",
            text(&storage.to_string_lossy())
        );
        let mut bindings = String::from(
            "    (name = \"COLOPHON\", json = embed \"colophon.json\"),
    (name = \"URL_SECRET\", text = embed \"url-secret\"),
    (name = \"NONCE_SECRET\", text = embed \"nonce-secret\"),
    (name = \"CACHE_PURGE_TOKEN\", text = embed \"cache-purge-token\"),
    (name = \"METRICS_TOKEN\", text = embed \"metrics-token\"),
    (name = \"KUBERNETES_TOKENS\", text = embed \"kubernetes-tokens\"),\n",
        );
        for signer in self.signers {
            let (name, host) = (text(&signer.binding()), text(&signer.host()));
            write!(
                services,
                "    (name = {name}, external = (address = {}, https = (
      options = (),
      certificateHost = {host},
      tlsOptions = (
        trustedCertificates = [embed \"infrastructure.pem\"],
        keypair = (privateKey = embed \"client.key\", certificateChain = embed \"client.pem\"),
        minVersion = tls1Dot3,
      ),
    ))),\n",
                text(&signer.address.to_string())
            )?;
            writeln!(bindings, "    (name = {name}, service = {name}),")?;
        }
        for (name, value) in self.deployment.text_variables()? {
            writeln!(bindings, "    (name = {}, text = {}),", text(name), text(value))?;
        }
        let mut namespaces = String::new();
        for object in self.deployment.objects() {
            let class = text(&object.class_name);
            writeln!(bindings, "    (name = {}, durableObjectNamespace = {class}),", text(&object.name))?;
            // Storage is found again under this key.
            writeln!(
                namespaces,
                "    (className = {class}, uniqueKey = {}, enableSql = true),",
                text(&format!("colophon-{}", object.class_name))
            )?;
        }
        let flags: Vec<String> = self.deployment.compatibility_flags.iter().map(|flag| text(flag)).collect();
        Ok(format!(
            "# Written by `cargo xtask up` at each start, from wrangler.toml.
using Workerd = import \"/workerd/workerd.capnp\";

const config :Workerd.Config = (
  services = [
{services}  ],
  sockets = [
    (name = \"https\", address = {https}, service = \"edge\", https = (
      options = (cfBlobHeader = \"CF-Blob\"),
      tlsOptions = (keypair = (privateKey = embed \"front.key\", certificateChain = embed \"front.pem\")),
    )),
    (name = \"http\", address = {http}, service = \"edge\", http = ()),
  ],
);

const edge :Workerd.Worker = (
  modules = [
    (name = \"main.mjs\", esModule = embed \"main.mjs\"),
    (name = \"build/index.js\", esModule = embed \"build/index.js\"),
    (name = \"build/index_bg.wasm\", wasm = embed \"build/index_bg.wasm\"),
  ],
  compatibilityDate = {date},
  compatibilityFlags = [{flags}],
  bindings = [
{bindings}  ],
  globalOutbound = \"outbound\",
  durableObjectNamespaces = [
{namespaces}  ],
  durableObjectStorage = (localDisk = \"storage\"),
);
",
            https = text(&self.place.front.https.to_string()),
            http = text(&self.place.front.http.to_string()),
            date = text(&self.deployment.compatibility_date),
            flags = flags.join(", "),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::up::front::Front;
    use crate::up::pki::Purpose;

    #[test]
    fn the_configuration_has_the_addresses_of_this_stack_and_the_values_of_the_deployment() {
        let place = tempfile::tempdir().unwrap();
        let source = place.path().join("source");
        fs::create_dir_all(source.join("build")).unwrap();
        for module in MODULES {
            fs::write(source.join(module), "").unwrap();
        }
        let state = State::open(&place.path().join("state")).unwrap();
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let deployment = Deployment::read(root).unwrap();
        let authority = |name: &str| Authority::open(place.path().join(name), name).unwrap();
        let (front_authority, infrastructure) = (authority("front"), authority("infrastructure"));
        let edge = Edge {
            deployment: &deployment,
            source: &source,
            place: &EdgePlace {
                number: 1,
                front: Front { https: "127.0.0.1:7001".parse().unwrap(), http: "127.0.0.1:7002".parse().unwrap() },
            },
            certificate: &front_authority.leaf("front", &["localhost"], Purpose::Server).unwrap(),
            front_authority: &front_authority,
            client: &infrastructure.leaf("edge", &["edge.test"], Purpose::Client).unwrap(),
            infrastructure: &infrastructure,
            root: &front_authority.certificate(),
            root_crl: None,
            signers: &[Signer { number: 2, address: "127.0.0.1:7003".parse().unwrap() }],
            resolver: "tcp://127.0.0.1:7004",
            http_port: 5002,
            tls_alpn_port: 5001,
            binding_policy: BindingPolicy::Optional,
            rate_limits: false,
            settings: &["lifetimes.retention=60".parse().unwrap()],
        };
        let service = edge.prepare(&state, "workerd".into()).unwrap();

        let capnp = fs::read_to_string(service.folder.join("workerd.capnp")).unwrap();
        for part in [
            r#"(name = "https", address = "127.0.0.1:7001""#,
            r#"(name = "SIGNER_2", external = (address = "127.0.0.1:7003""#,
            r#"certificateHost = "signer-2.colophon.internal""#,
            r#"(name = "ACCOUNT", durableObjectNamespace = "Account")"#,
            r#"(className = "Account", uniqueKey = "colophon-Account", enableSql = true)"#,
            &format!("compatibilityDate = {}", text(&deployment.compatibility_date)),
        ] {
            assert!(capnp.contains(part), "{part} is not in\n{capnp}");
        }
        assert_eq!(capnp.matches('(').count(), capnp.matches(')').count());
        let secret = fs::read_to_string(state.secret("url").unwrap()).unwrap();
        assert!(!capnp.contains(&secret) && !service.arguments.iter().any(|argument| argument == secret.as_str()));

        let colophon: Value = serde_json::from_slice(&fs::read(service.folder.join("colophon.json")).unwrap()).unwrap();
        assert_eq!(colophon["base_url"], "https://localhost:7001");
        assert_eq!(
            colophon["signers"],
            json!([{ "binding": "SIGNER_2", "url": "https://signer-2.colophon.internal" }])
        );
        assert_eq!(colophon["validation"]["resolvers"], json!(["tcp://127.0.0.1:7004"]));
        assert_eq!(colophon["validation"]["allow_loopback"], true);
        assert_eq!(colophon["lifetimes"]["retention"], 60);
        assert_eq!(colophon.get("rate_limits"), None);
        assert_eq!(colophon["identifiers"]["ip_networks"], json!(["127.0.0.0/8", "::1/128"]));
        assert_eq!(colophon["limits"], deployment.colophon().unwrap()["limits"]);
    }
}
