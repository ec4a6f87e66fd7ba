//! A card in the hand of a test: plugged into readers and pulled out of them, slowed, and hung, at any time.

use std::{
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    sync::{Arc, Condvar, Mutex, MutexGuard},
    thread,
    time::{Duration, Instant},
};

use crate::{
    applet::{ATR, Applet},
    site::{eventually, stopwatch},
};

/// A card. Everything happens to it while it is in use.
#[derive(Clone)]
pub(crate) struct Card(Arc<Inside>);

struct Inside {
    applet: Mutex<Applet>,
    faults: Mutex<Faults>,
    /// When it gave its signatures.
    moments: Mutex<Vec<Instant>>,
    changed: Condvar,
}

#[derive(Default)]
struct Faults {
    /// What a signature takes.
    latency: Duration,
    /// It answers nothing, not even to whether it is there.
    hung: bool,
    /// Where it is plugged in.
    plug: Option<TcpStream>,
    /// It has been given power there.
    powered: bool,
}

impl Card {
    pub(crate) fn new(serial: u32, pin: &str) -> Self {
        let applet = Mutex::new(Applet::new(serial, pin));
        Self(Arc::new(Inside { applet, faults: Mutex::default(), moments: Mutex::default(), changed: Condvar::new() }))
    }

    /// What it keeps.
    pub(crate) fn applet(&self) -> MutexGuard<'_, Applet> {
        self.0.applet.lock().unwrap()
    }

    /// Plugs it into the reader that listens there, or is about to.
    pub(crate) fn plug(&self, reader: SocketAddr) {
        let mut plug = TcpStream::connect(reader);
        eventually("the reader listens", || {
            if plug.is_err() {
                plug = TcpStream::connect(reader);
            }
            plug.is_ok()
        });
        let plug = plug.unwrap();
        plug.set_nodelay(true).unwrap();
        {
            let mut faults = self.faults();
            (faults.plug, faults.powered) = (Some(plug.try_clone().unwrap()), false);
        }
        self.applet().reset();
        let card = self.clone();
        thread::spawn(move || card.serve(plug));
    }

    /// True once the reader knows that it is there.
    pub(crate) fn is_powered(&self) -> bool {
        self.faults().powered
    }

    /// Pulls it out, in the middle of whatever it does.
    pub(crate) fn unplug(&self) {
        if let Some(plug) = self.faults().plug.take() {
            let _ = plug.shutdown(Shutdown::Both);
        }
        self.0.changed.notify_all();
    }

    /// Pulls it out and plugs it in where it was.
    pub(crate) fn replug(&self) {
        let reader = self.faults().plug.as_ref().unwrap().peer_addr().unwrap();
        self.unplug();
        self.plug(reader);
    }

    /// What a signature takes from now on.
    pub(crate) fn set_latency(&self, latency: Duration) {
        self.faults().latency = latency;
    }

    /// Lets it answer nothing, or answer again.
    pub(crate) fn set_hung(&self, hung: bool) {
        self.faults().hung = hung;
        self.0.changed.notify_all();
    }

    /// When it gave its signatures since this was asked last.
    pub(crate) fn take_moments(&self) -> Vec<Instant> {
        std::mem::take(&mut *self.0.moments.lock().unwrap())
    }

    fn faults(&self) -> MutexGuard<'_, Faults> {
        self.0.faults.lock().unwrap()
    }

    /// Messages behind their length, two bytes, big-endian: one byte is for the reader, more are an APDU.
    fn serve(&self, mut plug: TcpStream) {
        let mut length = [0; 2];
        while plug.read_exact(&mut length).is_ok() {
            let mut message = vec![0; usize::from(u16::from_be_bytes(length))];
            if plug.read_exact(&mut message).is_err() {
                return;
            }
            let answer = match message[..] {
                // Off, on, reset: without an answer.
                [0..=2] => {
                    self.applet().reset();
                    self.faults().powered = true;
                    continue;
                }
                [_] => ATR.to_vec(),
                _ => self.exchange(&message),
            };
            drop(self.0.changed.wait_while(self.faults(), |faults| faults.hung && faults.plug.is_some()).unwrap());
            let length = u16::try_from(answer.len()).unwrap().to_be_bytes();
            if plug.write_all(&[&length, answer.as_slice()].concat()).is_err() {
                return;
            }
        }
    }

    fn exchange(&self, apdu: &[u8]) -> Vec<u8> {
        let (before, answer) = {
            let mut applet = self.applet();
            (applet.signatures, applet.answer(apdu))
        };
        if self.applet().signatures > before {
            let latency = self.faults().latency;
            thread::sleep(latency);
            self.0.moments.lock().unwrap().push(stopwatch());
        }
        answer
    }
}
