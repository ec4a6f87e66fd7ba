//! `cargo xtask up`: the whole stack on this machine, with throwaway authorities, until it is stopped.

mod capnp;
mod detach;
mod edge;
mod edges;
pub(crate) mod external_account;
mod floor;
mod front;
mod issuing;
mod kubernetes;
mod pki;
mod readiness;
mod report;
mod resolver;
mod setting;
mod signers;
pub(crate) mod state;
mod stop;
mod supervisor;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use self::edge::Edge;
use self::edges::EdgePlace;
use self::external_account::BindingPolicy;
use self::floor::Floor;
use self::issuing::Ceremony;
use self::pki::{Authority, Purpose};
pub(crate) use self::report::Report;
use self::setting::Setting;
use self::signers::{Fleet, Signer};
use self::state::State;
pub(crate) use self::stop::{Stop, run};
use self::supervisor::Supervisor;
use crate::build::{self, Flavour};
use crate::deployment::Deployment;
use crate::npm::Npm;
use crate::packages::{self, SOFTHSM};
use crate::paths::Paths;

/// The flags of `up`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct UpOptions {
    /// Kept and reused: accounts, certificates and authorities are found again [default: .colophon/up in the workspace]
    #[arg(long, value_name = "DIR")]
    pub(crate) state: Option<PathBuf>,
    /// Where ACME is served; port 0 takes a free one and remembers it
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:14000")]
    https: SocketAddr,
    /// Where is served what must be plain HTTP; port 0 as above
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:14001")]
    http: SocketAddr,
    /// Edges that share the signers, each with its own identity, objects and scope; all but the first at free ports
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=9))]
    edges: u16,
    /// Signers
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=99))]
    signers: u16,
    /// Tokens of each signer
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=99))]
    tokens: u16,
    /// Where names are looked up: https://… (DNS over HTTPS) or tcp://IP:PORT [default: a throwaway resolver]
    #[arg(long, value_name = "URL", value_parser = resolver_url)]
    resolver: Option<String>,
    /// Where http-01 connects
    #[arg(long, value_name = "P", default_value_t = 5002)]
    pub(crate) http_port: u16,
    /// Where tls-alpn-01 connects
    #[arg(long, value_name = "P", default_value_t = 5001)]
    tls_alpn_port: u16,
    /// Makes the tokens as slow as USB ones, for tests (another build of the signer)
    #[arg(long, value_name = "MS")]
    token_latency_ms: Option<u64>,
    /// Whether accounts need an external account binding; the report names the file with a key
    #[arg(long, value_name = "WHEN", value_enum, default_value_t)]
    eab: BindingPolicy,
    /// Limits how often, by the local numbers of wrangler.toml
    #[arg(long)]
    rate_limits: bool,
    /// Another value for a key of wrangler.toml's COLOPHON, as JSON (lifetimes.retention=60); of one edge of several by its number
    /// (2:lifetimes.retention=60)
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<Setting>,
    /// The signers' [[cluster]]s, as a JSON array; without it they take the edge's word about kubernetes-01
    #[arg(long, value_name = "JSON", value_parser = clusters, default_value = "[]")]
    clusters: Value,
    /// Starts a process that died again instead of ending
    #[arg(long)]
    restart: bool,
    /// Prints exactly one line of JSON when ready
    #[arg(long)]
    pub(crate) json: bool,
    /// Returns when ready; `down` ends it
    #[arg(long)]
    pub(crate) detach: bool,
    /// Where the edge finds signer 1, 2, …: a relay of a test, which finds the signer itself in ports.json.
    #[arg(long, value_name = "ADDR", hide = true)]
    signer_relay: Vec<SocketAddr>,
    /// Starts the floor of the benchmarks too.
    #[arg(long, hide = true)]
    floor: bool,
    /// How `--detach` starts itself.
    #[arg(long, hide = true)]
    pub(crate) background: bool,
}

impl UpOptions {
    /// The state folder.
    pub(crate) fn state_folder(&self, paths: &Paths) -> PathBuf {
        state_folder(self.state.as_deref(), paths)
    }
}

/// A state folder that was named, or the usual one.
pub(crate) fn state_folder(named: Option<&std::path::Path>, paths: &Paths) -> PathBuf {
    named.map_or_else(|| paths.root.join(".colophon/up"), PathBuf::from)
}

/// What must be built before a stack can start.
#[derive(Debug)]
pub(crate) struct Artefacts {
    signer: PathBuf,
    workerd: PathBuf,
    module: PathBuf,
    /// The bundle of the benchmarks' floor, where it was asked for.
    floor: Option<PathBuf>,
}

impl Artefacts {
    /// Builds what is stale and installs what is missing.
    pub(crate) fn prepare(paths: &Paths, options: &UpOptions) -> Result<Self> {
        let [module] = packages::ensure([SOFTHSM])?;
        build::build_edge(paths)?;
        let floor = if options.floor { Some(build::build_floor(paths)?) } else { None };
        let flavour = if options.token_latency_ms.is_some() { Flavour::SlowToken } else { Flavour::Usual };
        let signer = build::build_signer(paths, flavour)?;
        Ok(Self { signer, workerd: Npm::install(paths)?.workerd()?, module, floor })
    }
}

/// `cargo xtask up`.
pub(crate) fn up(paths: &Paths, options: &UpOptions, started: Instant) -> Result<()> {
    let artefacts = Artefacts::prepare(paths, options)?;
    if options.detach {
        return detach::detach(&options.state_folder(paths), options);
    }
    run(
        async |stop: &mut Stop| {
            let Some(mut stack) = stop.unless(Stack::start(paths, options, &artefacts, started)).await? else {
                return Ok(());
            };
            stack.report.print(options.json)?;
            let result = stop.unless(stack.watch(options.restart)).await;
            stack.stop().await;
            result.map(|_| ())
        },
        options.background,
    )
}

/// A running stack.
#[derive(Debug)]
pub(crate) struct Stack {
    supervisor: Supervisor,
    state: State,
    /// What clients need to know.
    pub(crate) report: Report,
}

impl Stack {
    /// Starts everything and waits until the directory is served.
    pub(crate) async fn start(
        paths: &Paths,
        options: &UpOptions,
        artefacts: &Artefacts,
        started: Instant,
    ) -> Result<Self> {
        let mut state = State::open(&options.state_folder(paths))?;
        let deployment = Deployment::read(&paths.root)?;
        let places = EdgePlace::all(&mut state, options.edges, options.https, options.http)?;
        let [first, others @ ..] = places.as_slice() else { bail!("there is no edge") };
        let bindings = options.eab != BindingPolicy::Off;
        ensure!(
            !bindings || others.is_empty(),
            "--eab: a binding is for one scope, and each of several edges has its own"
        );
        let front = first.front;
        let pki = state.subfolder("pki")?;
        let infrastructure = Authority::open(pki.join("infrastructure"), "Colophon throwaway infrastructure")?;
        let front_authority = Authority::open(pki.join("front"), "Colophon throwaway HTTPS front")?;
        let names = front.names();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let certificate = front_authority.leaf("front", &names, Purpose::Server)?;

        let mut supervisor = Supervisor::new();
        let (resolver, throwaway) = match &options.resolver {
            Some(url) => (url.clone(), false),
            None => {
                let address = state.address("resolver", SocketAddr::from(([127, 0, 0, 1], 0)))?;
                resolver::serve(address).await?;
                (format!("tcp://{address}"), true)
            }
        };
        let ceremony = Ceremony::open(artefacts.signer.clone(), artefacts.module.clone(), pki.join("root"))?;
        let fleet = Fleet {
            binary: &artefacts.signer,
            ceremony: &ceremony,
            infrastructure: &infrastructure,
            places: &places,
            tokens: options.tokens,
            bound: options.eab == BindingPolicy::Required,
            latency: options.token_latency_ms,
            settings: &options.set,
            clusters: &options.clusters,
        };
        let mut signers: Vec<Signer> = Vec::new();
        for number in 1..=options.signers {
            let (signer, service) = fleet.prepare(&mut state, number)?;
            if number == 1 && options.eab != BindingPolicy::Off {
                external_account::make(&artefacts.signer, &state)?;
            }
            supervisor.start(service).await?;
            let relay = options.signer_relay.get(signers.len()).copied();
            signers.push(Signer { address: relay.unwrap_or(signer.address), ..signer });
        }
        for place in &places {
            let edge = Edge {
                deployment: &deployment,
                source: &paths.root.join("edge"),
                place,
                certificate: &certificate,
                front_authority: &front_authority,
                client: &infrastructure.leaf(&place.role(), &[&place.identity()], Purpose::Client)?,
                infrastructure: &infrastructure,
                root: &ceremony.root_certificate(),
                root_crl: ceremony.root_crl()?,
                signers: &signers,
                resolver: &resolver,
                http_port: options.http_port,
                tls_alpn_port: options.tls_alpn_port,
                binding_policy: options.eab,
                rate_limits: options.rate_limits,
                settings: &options.set,
            };
            supervisor.start(edge.prepare(&state, artefacts.workerd.clone())?).await?;
        }
        for place in &places {
            let ready = readiness::serves(place.front.directory(), front_authority.certificate());
            supervisor.unless_one_dies(ready).await?;
        }
        let floor = match &artefacts.floor {
            Some(bundle) => {
                let address = state.address("floor", SocketAddr::from(([127, 0, 0, 1], 0)))?;
                let floor = Floor { deployment: &deployment, bundle, address, certificate: &certificate };
                supervisor.start(floor.prepare(&state, artefacts.workerd.clone())?).await?;
                supervisor.unless_one_dies(readiness::listens(address)).await?;
                Some(format!("https://localhost:{}", address.port()))
            }
            None => None,
        };
        let report = Report {
            directory: front.directory(),
            ca: front_authority.certificate(),
            root: ceremony.root_certificate(),
            http: front.http_url(),
            status_url: front.status_url(),
            other_edges: others.iter().map(|place| place.report()).collect(),
            external_account: external_account::key_file(&state, options.eab),
            pids: supervisor.processes(),
            state: state.folder().to_path_buf(),
            ready_ms: u64::try_from(started.elapsed().as_millis())?,
            resolver,
            floor,
            throwaway_resolver: throwaway,
        };
        report.save()?;
        Ok(Self { supervisor, state, report })
    }

    /// Watches the processes; ends with an error when one dies, unless `restart`.
    pub(crate) async fn watch(&mut self, restart: bool) -> Result<()> {
        let report = &mut self.report;
        self.supervisor
            .watch(restart, |supervisor| {
                report.pids = supervisor.processes();
                report.save()
            })
            .await
    }

    /// Ends all processes.
    pub(crate) async fn stop(mut self) {
        self.supervisor.stop().await;
        drop(self.state);
    }
}

/// The two ways of naming a resolver.
fn clusters(text: &str) -> Result<Value> {
    let clusters: Value = serde_json::from_str(text)?;
    if clusters.is_array() { Ok(clusters) } else { bail!("not a JSON array") }
}

fn resolver_url(text: &str) -> Result<String> {
    match text.split_once("://") {
        Some(("tcp", address)) => {
            address.parse::<SocketAddr>().with_context(|| format!("`{address}` is not IP:PORT"))?;
        }
        Some(("https", rest)) if !rest.is_empty() => {}
        _ => bail!("expected https://… or tcp://IP:PORT"),
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resolver_is_an_https_url_or_an_address() {
        assert!(resolver_url("tcp://127.0.0.1:53").is_ok() && resolver_url("tcp://[::1]:53").is_ok());
        assert!(resolver_url("https://dns.test/dns-query").is_ok());
        for wrong in ["tcp://localhost:53", "tcp://127.0.0.1", "https://", "udp://127.0.0.1:53", "127.0.0.1"] {
            assert!(resolver_url(wrong).is_err(), "{wrong}");
        }
    }
}
