//! What clients hold: renewed, let go, and ended where nobody says any more that it is held.

use std::sync::Arc;
use std::time::{Duration, Instant};

use autobench_core::commands::{ClientId, Ended, Refused};
use autobench_core::driver::leases::reason;
use autobench_core::driver::{CommandId, Lease};
use autobench_core::wire::ErrorCode;
use parking_lot::MutexGuard;

use super::{DeviceCommands, Inner, Router, Shared};

/// Ends what was not renewed in time, until the router is closed.
pub(super) fn run(shared: &Shared) {
    let mut inner = shared.inner.lock();
    while !inner.is_closing {
        for ended in inner.holds.expire(shared.clock.monotonic_ns()) {
            shared.end_hold(
                &mut inner,
                &ended,
                reason::EXPIRED,
                "its client has not renewed it",
            );
        }
        match inner.holds.next_ns() {
            Some(next_ns) => {
                let left = Duration::from_nanos(next_ns.saturating_sub(shared.clock.monotonic_ns()));
                let _ = shared.held.wait_until(&mut inner, Instant::now() + left);
            }
            None => shared.held.wait(&mut inner),
        }
    }
}

impl Router {
    /// A client goes on holding what its command began.
    pub fn renew(&self, command: &str, client: ClientId) -> Result<(), Refused> {
        let mut inner = self.shared.inner.lock();
        let now_ns = self.shared.clock.monotonic_ns();
        let renewed = inner.holds.renew(&CommandId(command.into()), client, now_ns);
        renewed.map_err(|_| not_held(command))
    }

    /// A client lets go of what its command began.
    pub fn let_go(&self, command: &str, client: ClientId) -> Result<(), Refused> {
        let mut inner = self.shared.inner.lock();
        let let_go = inner.holds.let_go(&CommandId(command.into()), client);
        let ended = let_go.map_err(|_| not_held(command))?;
        self.shared
            .end_hold(&mut inner, &ended, reason::RELEASED, "its client lets go");
        Ok(())
    }

    /// A client is gone: it holds nothing any more.
    pub fn client_gone(&self, client: ClientId) {
        let mut inner = self.shared.inner.lock();
        for ended in inner.holds.client_gone(client) {
            self.shared
                .end_hold(&mut inner, &ended, reason::CLIENT_GONE, "its client is gone");
        }
    }
}

impl DeviceCommands {
    /// The driver has taken leases, each in place of the one with this number where there is one. Those that nobody holds any more end at once.
    pub fn leases_opened(&self, opened: &[(Lease, Option<u64>)]) {
        if opened
            .iter()
            .all(|(lease, instead_of)| lease.holder.is_none() && instead_of.is_none())
        {
            return;
        }
        let mut inner = self.router.shared.inner.lock();
        for (lease, instead_of) in opened {
            let holder = lease.holder.as_ref();
            if let Some(holder) =
                holder.filter(|holder| !inner.holds.opened(&self.device, holder, lease.number))
                && let Some(inbox) = inner.inbox(&self.device)
            {
                inbox.end_held(holder, reason::CLIENT_GONE);
            }
            if let Some(before) = instead_of {
                inner.holds.lease_over(&self.device, *before);
            }
        }
    }

    /// A lease of the driver is over.
    pub fn lease_over(&self, lease: &Lease) {
        if lease.holder.is_some() {
            let mut inner = self.router.shared.inner.lock();
            inner.holds.lease_over(&self.device, lease.number);
        }
    }
}

impl Shared {
    fn end_hold(&self, inner: &mut MutexGuard<'_, Inner>, ended: &Ended, reason: &str, why: &str) {
        let Ended { device, command } = ended;
        if let Some(inbox) = inner.inbox(device) {
            inbox.end_held(command, reason);
        }
        let stage = inner.book.stage(&command.0).map(|(_, stage)| stage);
        if stage.is_some_and(|stage| !stage.is_final()) {
            let device = Arc::clone(device);
            self.withdraw(inner, &device, command, why);
        }
    }
}

fn not_held(command: &str) -> Refused {
    Refused {
        code: ErrorCode::UnknownLease,
        message: format!("this client holds nothing by the command {command:?}, or not any more"),
    }
}
