//! Errors of the system, as what to do about them.

use std::io;
use std::net::SocketAddr;

/// Why the daemon cannot listen, and what helps.
pub fn listen_error(listen: SocketAddr, error: &io::Error) -> anyhow::Error {
    anyhow::Error::msg(match error.kind() {
        io::ErrorKind::AddrInUse => format!(
            "port {port} of {address} is in use, perhaps by another autobench — stop that one, or listen on another port with --listen {other}",
            port = listen.port(),
            address = listen.ip(),
            other = SocketAddr::new(listen.ip(), listen.port().checked_add(1).unwrap_or(0)),
        ),
        io::ErrorKind::PermissionDenied => format!(
            "listening on port {} is not allowed for this user — take a port from 1024 up with --listen {}",
            listen.port(),
            SocketAddr::new(listen.ip(), 9898),
        ),
        io::ErrorKind::AddrNotAvailable => format!(
            "{} is no address of this machine — listen on 127.0.0.1:{}",
            listen.ip(),
            listen.port(),
        ),
        _ => format!("cannot listen on {listen}: {error}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_in_use_says_which_one_to_take() {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        let error = std::net::TcpListener::bind(address).unwrap_err();
        let told = listen_error(address, &error).to_string();
        assert!(
            told.contains("in use") && told.contains("--listen 127.0.0.1:"),
            "{told}"
        );
    }

    #[test]
    fn an_address_of_another_machine_says_so() {
        let address = "192.0.2.1:9898".parse().unwrap();
        let error = std::net::TcpListener::bind(address).unwrap_err();
        assert_eq!(
            listen_error(address, &error).to_string(),
            "192.0.2.1 is no address of this machine — listen on 127.0.0.1:9898"
        );
    }
}
