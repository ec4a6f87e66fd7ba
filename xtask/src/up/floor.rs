//! The floor of the benchmarks beside the edge: the same workerd, the same certificate, the same kind of storage, and a worker that does
//! nothing (see `tests/floor`).

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::capnp::text;
use super::pki::Pair;
use super::state::{State, write_private};
use super::supervisor::{Ready, Service};
use crate::deployment::Deployment;

/// What the floor is made of.
#[derive(Debug)]
pub(crate) struct Floor<'a> {
    /// From `wrangler.toml`: the day whose behaviour the platform shows.
    pub(crate) deployment: &'a Deployment,
    /// The bundle.
    pub(crate) bundle: &'a Path,
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// The HTTPS certificate.
    pub(crate) certificate: &'a Pair,
}

impl Floor<'_> {
    /// Writes everything that workerd reads, and says how to start it.
    pub(crate) fn prepare(&self, state: &State, workerd: PathBuf) -> Result<Service> {
        let folder = state.subfolder("floor")?;
        fs::create_dir_all(folder.join("storage"))?;
        for module in ["index.js", "index_bg.wasm"] {
            let from = self.bundle.join(module);
            fs::copy(&from, folder.join(module)).with_context(|| format!("copying {}", from.display()))?;
        }
        for (name, file) in [("front.pem", &self.certificate.certificate), ("front.key", &self.certificate.key)] {
            write_private(&folder.join(name), &fs::read(file).with_context(|| format!("reading {}", file.display()))?)?;
        }
        let configuration = folder.join("workerd.capnp");
        fs::write(&configuration, self.configuration(&folder))?;
        Ok(Service {
            role: "floor".to_owned(),
            program: workerd,
            arguments: vec!["serve".into(), configuration.into()],
            folder,
            log: state.subfolder("logs")?.join("floor.log"),
            ready: Ready::Elsewhere,
        })
    }

    fn configuration(&self, folder: &Path) -> String {
        let flags: Vec<String> = self.deployment.compatibility_flags.iter().map(|flag| text(flag)).collect();
        format!(
            "# Written by `cargo xtask up` at each start.
using Workerd = import \"/workerd/workerd.capnp\";

const config :Workerd.Config = (
  services = [
    (name = \"floor\", worker = .floor),
    (name = \"storage\", disk = (path = {storage}, writable = true)),
  ],
  sockets = [
    (name = \"https\", address = {address}, service = \"floor\", https = (
      options = (),
      tlsOptions = (keypair = (privateKey = embed \"front.key\", certificateChain = embed \"front.pem\")),
    )),
  ],
);

const floor :Workerd.Worker = (
  modules = [
    (name = \"index.js\", esModule = embed \"index.js\"),
    (name = \"index_bg.wasm\", wasm = embed \"index_bg.wasm\"),
  ],
  compatibilityDate = {date},
  compatibilityFlags = [{flags}],
  bindings = [
    (name = \"FLOOR\", durableObjectNamespace = \"Floor\"),
  ],
  durableObjectNamespaces = [
    (className = \"Floor\", uniqueKey = \"colophon-floor\", enableSql = true),
  ],
  durableObjectStorage = (localDisk = \"storage\"),
);
",
            storage = text(&folder.join("storage").to_string_lossy()),
            address = text(&self.address.to_string()),
            date = text(&self.deployment.compatibility_date),
            flags = flags.join(", "),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::up::pki::{Authority, Purpose};

    #[test]
    fn the_floor_runs_on_the_platform_of_the_deployment() {
        let place = tempfile::tempdir().unwrap();
        let bundle = place.path().join("bundle");
        fs::create_dir(&bundle).unwrap();
        for module in ["index.js", "index_bg.wasm"] {
            fs::write(bundle.join(module), "").unwrap();
        }
        let state = State::open(&place.path().join("state")).unwrap();
        let deployment = Deployment::read(Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()).unwrap();
        let authority = Authority::open(place.path().join("front"), "front").unwrap();
        let certificate = authority.leaf("front", &["localhost"], Purpose::Server).unwrap();
        let address = "127.0.0.1:7001".parse().unwrap();
        let floor = Floor { deployment: &deployment, bundle: &bundle, address, certificate: &certificate };
        let service = floor.prepare(&state, "workerd".into()).unwrap();
        let capnp = fs::read_to_string(service.folder.join("workerd.capnp")).unwrap();
        let date = format!("compatibilityDate = {}", text(&deployment.compatibility_date));
        for part in [r#"(name = "https", address = "127.0.0.1:7001""#, &date] {
            assert!(capnp.contains(part), "{part} is not in\n{capnp}");
        }
        assert_eq!(capnp.matches('(').count(), capnp.matches(')').count());
    }
}
