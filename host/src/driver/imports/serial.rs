//! Ports: writes, line settings and signals.

use autobench_core::driver as core;
use wasmtime::component::Resource;

use crate::driver::bindings::PortHandle;
use crate::driver::bindings::autobench::driver::{serial, types};
use crate::driver::convert;
use crate::driver::host_state::HostState;
use crate::serial::{ReserveError, TRANSMIT_LIMIT_BYTES};

impl serial::Host for HostState {
    fn open(&mut self, name: String) -> wasmtime::Result<Result<Resource<PortHandle>, serial::SerialError>> {
        let Some(rights) = self.rights() else {
            return Ok(Err(serial::SerialError::NotGranted));
        };
        let Some(index) = rights.ports.iter().position(|port| **port.name() == *name) else {
            return Ok(Err(serial::SerialError::NotGranted));
        };
        // The handle's number is the port's index: there is nothing to look up and nothing to free.
        Ok(Ok(Resource::new_own(u32::try_from(index)?)))
    }
}

impl serial::HostPort for HostState {
    fn write(
        &mut self,
        port: Resource<PortHandle>,
        data: Vec<u8>,
    ) -> wasmtime::Result<Result<(), serial::SerialError>> {
        self.charge(data.len())?;
        let Some((index, control)) = self.port(port.rep()) else {
            return Ok(Err(serial::SerialError::NotGranted));
        };
        if data.len() > TRANSMIT_LIMIT_BYTES {
            // It would not fit into an empty queue either: `full` would have the driver try for ever.
            return Ok(Err(serial::SerialError::Invalid(format!(
                "{} bytes in one write; at most {TRANSMIT_LIMIT_BYTES} fit",
                data.len()
            ))));
        }
        let reserved = self.reserved_bytes.get(index.0).copied().unwrap_or(0) + data.len();
        match control.reserve(reserved) {
            Ok(()) => {}
            Err(ReserveError::NotAttached) => return Ok(Err(serial::SerialError::NotAttached)),
            Err(ReserveError::Full) => return Ok(Err(serial::SerialError::Full)),
        }
        if let Some(slot) = self.reserved_bytes.get_mut(index.0) {
            *slot = reserved;
        }
        self.effects
            .port_actions
            .push((index, core::PortAction::Write(data)));
        Ok(Ok(()))
    }

    fn discard_output(
        &mut self,
        port: Resource<PortHandle>,
    ) -> wasmtime::Result<Result<(), serial::SerialError>> {
        self.charge(0)?;
        Ok(self.act(&port, core::PortAction::DiscardOutput))
    }

    fn set_line(
        &mut self,
        port: Resource<PortHandle>,
        settings: types::LineSettings,
    ) -> wasmtime::Result<Result<(), serial::SerialError>> {
        if settings.baud_rate == 0 {
            return Ok(Err(serial::SerialError::Invalid(
                "baud-rate is 0; a line needs at least 1 bit per second".to_owned(),
            )));
        }
        self.charge(0)?;
        Ok(self.act(&port, core::PortAction::SetLine(convert::line_settings(settings))))
    }

    fn set_signals(
        &mut self,
        port: Resource<PortHandle>,
        signals: serial::OutputSignals,
    ) -> wasmtime::Result<Result<(), serial::SerialError>> {
        if let Some((_, control)) = self.port(port.rep())
            && !control.has_control_lines()
        {
            return Ok(Err(serial::SerialError::NotSupported));
        }
        let action = core::PortAction::SetSignals {
            data_terminal_ready: signals.data_terminal_ready,
            request_to_send: signals.request_to_send,
            break_condition: signals.break_,
        };
        self.charge(0)?;
        Ok(self.act(&port, action))
    }

    fn get_signals(
        &mut self,
        port: Resource<PortHandle>,
    ) -> wasmtime::Result<Result<serial::InputSignals, serial::SerialError>> {
        let Some((_, control)) = self.port(port.rep()) else {
            return Ok(Err(serial::SerialError::NotGranted));
        };
        Ok(control
            .input_signals()
            .map(convert::input_signals)
            .map_err(convert::signal_error))
    }

    fn identity(
        &mut self,
        port: Resource<PortHandle>,
    ) -> wasmtime::Result<Result<serial::IdentityResult, serial::SerialError>> {
        let Some((_, control)) = self.port(port.rep()) else {
            return Ok(Err(serial::SerialError::NotGranted));
        };
        Ok(control
            .identity()
            .map(|identity| convert::identity(&identity))
            .ok_or(serial::SerialError::NotAttached))
    }

    fn drop(&mut self, _port: Resource<PortHandle>) -> wasmtime::Result<()> {
        Ok(())
    }
}

impl HostState {
    fn act(
        &mut self,
        port: &Resource<PortHandle>,
        action: core::PortAction,
    ) -> Result<(), serial::SerialError> {
        let Some((index, control)) = self.port(port.rep()) else {
            return Err(serial::SerialError::NotGranted);
        };
        if !control.is_attached() {
            return Err(serial::SerialError::NotAttached);
        }
        self.effects.port_actions.push((index, action));
        Ok(())
    }
}
