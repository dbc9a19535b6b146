//! What the system knows of a connection, and tokio does not say.

use std::os::fd::AsRawFd;

use tokio::net::TcpStream;

/// What the system holds of what was written, and the peer's has not acknowledged. It falls when the peer reads, and long before the system takes
/// more: that it does only when a third of its buffer is free.
pub(crate) fn unacknowledged_bytes(socket: &TcpStream) -> u64 {
    let mut bytes: libc::c_int = 0;
    // SAFETY: the descriptor is that of the borrowed socket, and the system writes one integer to where it is told.
    let answer = unsafe { libc::ioctl(socket.as_raw_fd(), libc::TIOCOUTQ, &raw mut bytes) };
    // A system that does not say leaves what the socket took.
    if answer == 0 {
        u64::try_from(bytes).unwrap_or(0)
    } else {
        0
    }
}
