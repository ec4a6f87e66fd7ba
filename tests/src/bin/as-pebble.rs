//! Colophon in Pebble's place, for tests that start Pebble themselves (`-config FILE -dnsserver ADDRESS`, and `PEBBLE_AUTHZREUSE`): a stack
//! of its own, configured as that file says, whose directory and root are served where such tests look for Pebble's. All other requests
//! go to the stack itself, which has the HTTPS certificate that the file names.
#![allow(clippy::disallowed_methods, reason = "tests live in real time")]

use std::{
    collections::BTreeMap,
    env, fs,
    net::TcpListener,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
    thread,
};

use anyhow::{Context as _, Result};
use rcgen::KeyPair;
use serde::Deserialize;
use serde_json::{Value, json};
use tests::{
    client::Client,
    openssl,
    stack::{Options, Stack},
    tls_responder,
};

/// Pebble's configuration, as far as a test can choose it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Pebble {
    listen_address: String,
    management_listen_address: String,
    certificate: PathBuf,
    private_key: PathBuf,
    http_port: u16,
    tls_port: u16,
    external_account_binding_required: bool,
    #[serde(default)]
    external_account_mac_keys: BTreeMap<String, String>,
    profiles: BTreeMap<String, Profile>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Profile {
    description: String,
    validity_period: u64,
}

#[derive(Debug, Deserialize)]
struct Configuration {
    pebble: Pebble,
}

fn main() -> Result<()> {
    let arguments: Vec<String> = env::args().collect();
    let after = |name: &str| {
        let position = arguments.iter().position(|argument| argument == name);
        position.and_then(|position| arguments.get(position + 1)).with_context(|| format!("{name} is not given"))
    };
    let file = after("-config")?;
    let Configuration { pebble } = serde_json::from_slice(&fs::read(file).with_context(|| file.clone())?)?;
    // At once: clients that connect early wait here until the stack is ready.
    let front = TcpListener::bind(&pebble.listen_address).with_context(|| pebble.listen_address.clone())?;
    let management = TcpListener::bind(&pebble.management_listen_address)?;

    let port = front.local_addr()?.port();
    let state = Options::fresh(&env::temp_dir().to_string_lossy(), &format!("as-pebble-{port}"))?;
    present(state.state(), &pebble)?;
    let mut options = state.http_port(pebble.http_port).tls_alpn_port(pebble.tls_port);
    options = options.with(["--resolver", &format!("tcp://{}", after("-dnsserver")?)]);
    // What instant-acme's tests may order; the name on Pebble's block list is not below it.
    options = options.set("identifiers.dns_suffixes", &json!(["example.com"]));
    for (name, profile) in &pebble.profiles {
        let usages = ["serverAuth", "clientAuth"];
        let profile = json!({ "description": profile.description, "validity_seconds": profile.validity_period,
            "extended_key_usage": usages });
        options = options.set(&format!("profiles.{name}"), &profile);
    }
    let default = if pebble.profiles.contains_key("default") { "default" } else { "server" };
    options = options.set("default_profile", &json!(default));
    if env::var("PEBBLE_AUTHZREUSE").is_ok_and(|percent| percent == "100") {
        options = options.set("lifetimes.authorization_reuse", &json!(3600));
    }
    if pebble.external_account_binding_required {
        options = options.with(["--eab", "required"]);
    }
    let stack = Stack::up(options)?;
    for (kid, key) in &pebble.external_account_mac_keys {
        bind(&stack, kid, key)?;
    }

    let directory = String::from_utf8(Client::of(&stack.report)?.get(&stack.report.directory)?.body)?;
    let root = fs::read_to_string(&stack.report.root)?;
    let config = tls_responder::of_files(&pebble.certificate, &pebble.private_key)?;
    let other = config.clone();
    thread::spawn(move || tls_responder::answer_all(&management, &other, &root));
    tls_responder::answer_all(&front, &config, &directory);
    Ok(())
}

/// Gives the stack the HTTPS certificate that the client trusts: `up` finds its front's authority and leaf in its state, and keeps them.
fn present(state: &Path, pebble: &Pebble) -> Result<()> {
    let folder = state.join("pki/front");
    fs::create_dir_all(&folder)?;
    let authority = pebble.certificate.with_file_name("ca.pem");
    for (from, to) in [(&authority, "ca.pem"), (&pebble.certificate, "front.pem"), (&pebble.private_key, "front.key")] {
        fs::copy(from, folder.join(to)).with_context(|| format!("copying {}", from.display()))?;
    }
    // It signs nothing: the leaf is there.
    fs::write(folder.join("ca.key"), KeyPair::generate()?.serialize_pem())?;
    let made = json!({ "names": ["localhost", "127.0.0.1", "::1"], "not_after": u64::from(u32::MAX) });
    Ok(fs::write(folder.join("front.json"), made.to_string())?)
}

/// Makes a binding of this key, which an operator's command cannot choose.
fn bind(stack: &Stack, kid: &str, key: &str) -> Result<()> {
    let xtask = env::var_os("COLOPHON_XTASK").context("COLOPHON_XTASK is not set")?;
    let mut new = Command::new(xtask);
    new.args(["eab", "new", "--json", "--kid", kid, "--state"]).arg(&stack.report.state);
    openssl::run(&mut new, b"")?;
    let file = stack.report.state.join("signers/1/bindings.json");
    let mut bindings: Value = serde_json::from_slice(&fs::read(&file)?)?;
    let all = bindings["bindings"].as_array_mut().context("a file of bindings has bindings")?;
    let binding = all.iter_mut().find(|binding| binding["kid"] == kid).context("the binding was made")?;
    binding["key"] = json!(key);
    // As the signer wants it: written beside it, for its owner alone, and moved over it.
    let beside = file.with_extension("new");
    fs::write(&beside, serde_json::to_vec(&bindings)?)?;
    fs::set_permissions(&beside, fs::Permissions::from_mode(0o600))?;
    Ok(fs::rename(&beside, &file)?)
}
