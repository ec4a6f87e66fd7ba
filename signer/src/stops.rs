//! The kill switch: an edge, a binding, a scope or everything stops within a second, for open connections and queued jobs too. What
//! stands in the file `stops.json` of the state folder is stopped, across restarts, until somebody takes it out again.

use std::{
    collections::BTreeSet,
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, ensure};
use serde::{Deserialize, Serialize};
use tokio::{
    sync::watch,
    time::{MissedTickBehavior, interval},
};

use crate::{
    files::{self, Folder},
    journal::{Event, Journal},
};

/// How often the file is looked at.
const LOOK: Duration = Duration::from_millis(200);

/// What is stopped.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Stops {
    /// All certificates of all scopes, for all edges. Status is still told, and clients' revocations are still taken.
    #[serde(default)]
    pub(crate) everything: bool,
    /// Names of edges' client certificates: they get no answer to anything.
    #[serde(default)]
    pub(crate) edges: BTreeSet<String>,
    /// Key ids of external account bindings.
    #[serde(default)]
    pub(crate) bindings: BTreeSet<String>,
    /// Names of scopes.
    #[serde(default)]
    pub(crate) scopes: BTreeSet<String>,
}

/// Whom something is signed for, as far as it can be stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Subject {
    pub(crate) edge: String,
    pub(crate) binding: Option<String>,
    pub(crate) scope: String,
}

/// What is stopped now.
pub(crate) type Present = watch::Receiver<Arc<Stops>>;

impl Stops {
    /// Reads the file. One that is not there stops nothing.
    ///
    /// # Errors
    /// When it cannot be read or is not what it should be.
    pub(crate) fn load(state: &Path) -> anyhow::Result<Self> {
        let path = path(state);
        match files::read_state(&path) {
            Ok(Some(text)) => serde_json::from_slice(&text).with_context(|| format!("in {}", path.display())),
            Ok(None) => Ok(Self::default()),
            Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
        }
    }

    /// What holds when the file cannot be understood: nobody knows what was to be stopped.
    fn of_a_broken_file() -> Self {
        Self { everything: true, ..Self::default() }
    }

    /// Adds what is in `more`, or takes it out, and writes the file.
    ///
    /// # Errors
    /// When `more` names nothing, or the file cannot be read or written.
    pub(crate) fn change(state: &Path, more: &Self, stop: bool) -> anyhow::Result<Self> {
        ensure!(*more != Self::default(), "name an edge, a binding, a scope, or everything");
        Folder::make(state).with_context(|| format!("cannot make {}", state.display()))?;
        let mut stops = Self::load(state)?;
        let lists =
            [(&mut stops.edges, &more.edges), (&mut stops.bindings, &more.bindings), (&mut stops.scopes, &more.scopes)];
        for (list, names) in lists {
            for name in names {
                if stop {
                    list.insert(name.clone());
                } else {
                    ensure!(list.remove(name), "{name} is not stopped");
                }
            }
        }
        if more.everything {
            stops.everything = stop;
        }
        files::replace(&path(state), &serde_json::to_vec_pretty(&stops)?)?;
        Ok(stops)
    }

    /// True when this edge gets no answer.
    pub(crate) fn edge(&self, edge: &str) -> bool {
        self.edges.contains(edge)
    }

    /// Why nothing is signed for this one; nothing when it is.
    pub(crate) fn reason(&self, subject: &Subject) -> Option<&'static str> {
        let binding = subject.binding.as_ref().is_some_and(|binding| self.bindings.contains(binding));
        match () {
            () if self.everything => Some("an operator has stopped all certificates"),
            () if self.edge(&subject.edge) => Some("an operator has stopped this edge"),
            () if binding => Some("an operator has stopped this external account binding"),
            () if self.scopes.contains(&subject.scope) => Some("an operator has stopped this scope"),
            () => None,
        }
    }
}

impl fmt::Display for Stops {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { everything, edges, bindings, scopes } = self;
        if *self == Self::default() {
            return f.write_str("nothing is stopped");
        }
        f.write_str("stopped:")?;
        if *everything {
            f.write_str(" everything")?;
        }
        for (kind, names) in [("edge", edges), ("binding", bindings), ("scope", scopes)] {
            names.iter().try_for_each(|name| write!(f, " {kind} {name}"))?;
        }
        Ok(())
    }
}

/// Follows the file of this state folder, for ever. A change is journaled.
pub(crate) fn follow(state: &Path, journal: Journal) -> (Present, impl Future<Output = ()> + use<>) {
    let (state, first) = (state.to_owned(), read(state));
    let (sender, present) = watch::channel(Arc::new(first));
    let run = async move {
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            look.tick().await;
            let stops = read(&state);
            if **sender.borrow() == stops {
                continue;
            }
            tracing::warn!(?stops, "what is stopped has changed");
            // First it holds, then it is written down.
            sender.send_replace(Arc::new(stops.clone()));
            if journal.append(Event::Stops(stops)).await.is_err() {
                tracing::error!("a stop is not journaled");
            }
        }
    };
    (present, run)
}

fn read(state: &Path) -> Stops {
    Stops::load(state).unwrap_or_else(|error| {
        tracing::error!(error = format!("{error:#}"), "nothing is signed until it is known what is stopped");
        Stops::of_a_broken_file()
    })
}

fn path(state: &Path) -> PathBuf {
    state.join("stops.json")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subject() -> Subject {
        Subject { edge: "edge.test".into(), binding: Some("team-a".into()), scope: "open".into() }
    }

    fn stops(json: &str) -> Stops {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn each_kind_of_stop_stops_its_own() {
        let subject = subject();
        for json in [
            r#"{"everything":true}"#,
            r#"{"edges":["edge.test"]}"#,
            r#"{"bindings":["team-a"]}"#,
            r#"{"scopes":["open"]}"#,
        ] {
            assert!(stops(json).reason(&subject).is_some(), "{json}");
        }
        for json in ["{}", r#"{"edges":["other"],"bindings":["open"],"scopes":["team-a"]}"#] {
            assert_eq!(stops(json).reason(&subject), None, "{json}");
        }
        let unbound = Subject { binding: None, ..subject };
        assert_eq!(stops(r#"{"bindings":["team-a"]}"#).reason(&unbound), None);
    }

    #[test]
    fn what_is_stopped_stays_so_until_it_is_taken_out() {
        let folder = tempfile::tempdir().unwrap();
        let more = stops(r#"{"scopes":["open"],"everything":true}"#);
        assert_eq!(Stops::change(folder.path(), &more, true).unwrap(), more);
        assert_eq!(Stops::load(folder.path()).unwrap(), more);
        let rest = Stops::change(folder.path(), &stops(r#"{"everything":true}"#), false).unwrap();
        assert_eq!(rest, stops(r#"{"scopes":["open"]}"#));
        let error = Stops::change(folder.path(), &stops(r#"{"scopes":["closed"]}"#), false).unwrap_err();
        assert_eq!(error.to_string(), "closed is not stopped");
        assert!(Stops::change(folder.path(), &Stops::default(), true).is_err());
    }

    #[test]
    fn a_file_that_nobody_understands_stops_everything() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("stops.json"), r#"{"scope":["open"]}"#).unwrap();
        assert!(read(folder.path()).reason(&subject()).is_some());
    }
}
