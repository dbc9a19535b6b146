//! Becoming a client of a daemon.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use super::SwarmOptions;

/// What a client says that wants only what the load marks; see `source`.
const FILTER: &[u8] = br#"{"type":"subscribe_logs","filters":{"level":"warn"}}"#;

/// How long a daemon may take to answer.
const HANDSHAKE_WAIT: Duration = Duration::from_secs(10);

/// From here on, or a moment later, the client is sent only what the load marks. The daemon acknowledges it.
pub(super) fn filter_logs(stream: &mut TcpStream) -> io::Result<()> {
    // A text frame, short and masked with zeros.
    let mut frame = vec![0x81, 0x80 | FILTER.len() as u8, 0, 0, 0, 0];
    frame.extend_from_slice(FILTER);
    stream.write_all(&frame)
}

/// Gives the socket, what came behind the answer, and whether compression was agreed on.
pub(super) fn handshake(options: &SwarmOptions, deflate: bool) -> io::Result<(TcpStream, Vec<u8>, bool)> {
    let mut stream = TcpStream::connect(options.address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(HANDSHAKE_WAIT))?;
    let mut request = format!(
        "GET {} HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: {}\r\n",
        options.path,
        options.authority,
        autobench_core::wire::PROTOCOL
    );
    if deflate {
        request.push_str("Sec-WebSocket-Extensions: permessage-deflate\r\n");
    }
    for header in &options.headers {
        request.push_str(header);
        request.push_str("\r\n");
    }
    request.push_str("\r\n");
    stream.write_all(request.as_bytes())?;
    let mut head = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let count = stream.read(&mut buffer)?;
        if count == 0 {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "the daemon closed the connection during the handshake",
            ));
        }
        head.extend_from_slice(buffer.get(..count).unwrap_or_default());
        if let Some(end) = memchr::memmem::find(&head, b"\r\n\r\n") {
            let behind = head.split_off(end + 4);
            let head = String::from_utf8_lossy(&head).into_owned();
            if !head.starts_with("HTTP/1.1 101 ") {
                let first = head.lines().next().unwrap_or_default();
                let body = String::from_utf8_lossy(&behind).into_owned();
                return Err(io::Error::other(format!(
                    "the daemon answers {first}: {}",
                    body.trim()
                )));
            }
            let is_deflated = head.to_ascii_lowercase().contains("permessage-deflate");
            return Ok((stream, behind, is_deflated));
        }
        if head.len() > 64 << 10 {
            return Err(io::Error::other("the answer to the handshake has no end"));
        }
    }
}
