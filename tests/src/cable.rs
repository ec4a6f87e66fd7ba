//! A cable that can be cut: passes TCP connections on, or holds everything back, as a network does that is gone.

use std::{
    io::{Read as _, Write as _},
    net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
};

use anyhow::Result;

/// Listens until the process ends.
#[derive(Clone, Debug)]
pub struct Cable {
    /// Where it listens.
    pub address: SocketAddr,
    wire: Arc<Wire>,
}

#[derive(Debug, Default)]
struct Wire {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// Where connections go; until that is known they wait.
    target: Option<SocketAddr>,
    is_cut: bool,
}

impl Cable {
    /// Starts it on a free port of loopback, to nowhere yet.
    ///
    /// # Errors
    /// When there is none.
    pub fn start() -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let (address, wire) = (listener.local_addr()?, Arc::<Wire>::default());
        let shared = Arc::clone(&wire);
        thread::spawn(move || {
            for near in listener.incoming().flatten() {
                let wire = Arc::clone(&shared);
                thread::spawn(move || pass(near, &wire));
            }
        });
        Ok(Self { address, wire })
    }

    /// Connections go there from now on.
    pub fn to(&self, target: SocketAddr) {
        self.wire.lock().target = Some(target);
        self.wire.changed.notify_all();
    }

    /// Nothing gets through any more, in neither direction, and nobody is told.
    pub fn cut(&self) {
        self.wire.lock().is_cut = true;
    }

    /// Everything gets through again, what was held back first.
    pub fn mend(&self) {
        self.wire.lock().is_cut = false;
        self.wire.changed.notify_all();
    }
}

impl Wire {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until the wire is whole; gives its other end.
    fn whole(&self) -> SocketAddr {
        let mut state = self.lock();
        loop {
            match state.target {
                Some(target) if !state.is_cut => return target,
                _ => state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }
}

fn pass(near: TcpStream, wire: &Arc<Wire>) -> Result<()> {
    let far = TcpStream::connect(wire.whole())?;
    let (from, to, other) = (near.try_clone()?, far.try_clone()?, Arc::clone(wire));
    thread::spawn(move || copy(&from, &to, &other));
    copy(&far, &near, wire);
    Ok(())
}

/// One direction, until it ends; the end gets through only by a whole wire, too.
fn copy(mut from: &TcpStream, mut to: &TcpStream, wire: &Wire) {
    let mut bytes = [0; 16 * 1024];
    while let Ok(length @ 1..) = from.read(&mut bytes) {
        wire.whole();
        if bytes.get(..length).is_none_or(|bytes| to.write_all(bytes).is_err()) {
            break;
        }
    }
    wire.whole();
    let _ = (from.shutdown(Shutdown::Read), to.shutdown(Shutdown::Write));
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_is_sent_while_the_wire_is_cut_arrives_when_it_is_mended() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let cable = Cable::start().unwrap();
        cable.to(listener.local_addr().unwrap());
        let mut near = TcpStream::connect(cable.address).unwrap();
        let mut far = listener.accept().unwrap().0;
        let mut byte = [0];
        near.write_all(b"1").unwrap();
        far.read_exact(&mut byte).unwrap();

        cable.cut();
        near.write_all(b"2").unwrap();
        far.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        assert!(far.read_exact(&mut byte).is_err(), "nothing gets through");
        cable.mend();
        far.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        far.read_exact(&mut byte).unwrap();
        assert_eq!(&byte, b"2");
        drop(near);
        assert_eq!(far.read(&mut byte).unwrap(), 0, "the end gets through");
    }
}
