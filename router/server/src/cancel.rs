//! Sending a cancel request to a server, so that it can hit nothing but the statement it is meant for.
//!
//! A signal is on its way until the server has closed the connection that the request came by: the process that handles
//! it signals before it exits. So the connection is opened first, the session is asked once more right before the bytes
//! are written, and its backend is held until the end of file comes.

use crate::backend::LinkInfo;
use crate::mailbox::Letter;
use crate::registry::Client;
use bytes::BytesMut;
use shardgate_wire::frontend::put;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

/// Opens a connection to the very server of the link and says so by a letter with this ticket.
pub fn open(client: Arc<Client>, info: Arc<LinkInfo>, ticket: u64, timeout: Duration) {
    tokio::spawn(async move {
        let opened = tokio::time::timeout(timeout, TcpStream::connect(info.peer)).await;
        let opened = opened.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()));
        // When the client has ended, its backend was closed, and there is nothing to cancel.
        let _ = client.mailbox.send(Letter::CancelOpen { ticket, opened });
    });
}

/// Writes the request. A new socket has room for sixteen bytes, so this does not wait; False: it could not be written.
pub fn write(stream: &TcpStream, info: &LinkInfo) -> bool {
    let mut packet = BytesMut::new();
    put::cancel(&mut packet, info.pid, &info.secret);
    matches!(stream.try_write(&packet), Ok(count) if count == packet.len())
}

/// Waits until the server closes the connection and says so by a letter with this ticket.
pub fn wait(client: Arc<Client>, mut stream: TcpStream, ticket: u64, timeout: Duration) {
    tokio::spawn(async move {
        let mut byte = [0u8; 64];
        let end = async {
            // A server says nothing here; whatever comes is not the end.
            loop {
                match stream.read(&mut byte).await {
                    Ok(0) => return true,
                    Ok(_) => {}
                    // A reset is the end of the connection as well.
                    Err(_) => return true,
                }
            }
        };
        let closed = tokio::time::timeout(timeout, end).await.unwrap_or(false);
        let _ = client.mailbox.send(Letter::CancelDone { ticket, closed });
    });
}
