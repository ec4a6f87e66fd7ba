//! TCP connections of probes: to one address and port, and closed as soon as nobody uses them. A socket that is only
//! dropped stays open until its object is evicted, and would count against the few connections that the platform allows.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use wasm_bindgen_futures::spawn_local;
use worker::Socket;

/// An open connection. Dropping it closes it.
#[derive(Debug)]
pub(super) struct Connection {
    /// Gone only while it is being dropped.
    socket: Option<Socket>,
}

impl Connection {
    /// Connects. Nothing bounds how long that takes: the caller does.
    pub(super) async fn open(address: SocketAddr) -> io::Result<Self> {
        let host = match address.ip() {
            IpAddr::V4(ip) => ip.to_string(),
            IpAddr::V6(ip) => format!("[{ip}]"),
        };
        let failed = |error: worker::Error| io::Error::other(error.to_string());
        let socket = Socket::builder().connect(host, address.port()).map_err(failed)?;
        let connection = Self { socket: Some(socket) };
        if let Some(socket) = &connection.socket {
            socket.opened().await.map_err(failed)?;
        }
        Ok(connection)
    }

    fn socket(self: Pin<&mut Self>) -> io::Result<Pin<&mut Socket>> {
        self.get_mut().socket.as_mut().map(Pin::new).ok_or_else(|| io::ErrorKind::NotConnected.into())
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if let Some(mut socket) = self.socket.take() {
            // Closing one that the other side has closed already is an error of no interest.
            spawn_local(async move { drop(socket.close().await) });
        }
    }
}

impl AsyncRead for Connection {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.socket()?.poll_read(context, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.socket()?.poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket()?.poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket()?.poll_shutdown(context)
    }
}
