//! Finding a line by what is stable about it, never by its tty number.

use std::fs;
use std::path::{Path, PathBuf};

use autobench_core::driver::PortIdentity;

use crate::config::PortSource;

/// A line that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// What to open.
    pub path: PathBuf,
    /// What the system knows of it.
    pub identity: PortIdentity,
}

/// Why a line is not there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FindError {
    /// No such file.
    #[error("{0} is not there")]
    NoPath(PathBuf),
    /// No USB device of this identity has a tty.
    #[error("no USB serial device {0} is plugged in")]
    NoUsb(String),
    /// Several USB devices fit.
    #[error("several USB serial devices are {0}: {1}; add the serial number")]
    Ambiguous(String, String),
}

/// Looks for a line. `simulated` is the link of the emulator behind a `sim` port; `sysfs` is `/sys`, or what a test has planted.
pub fn find(source: &PortSource, simulated: Option<&Path>, sysfs: &Path) -> Result<Found, FindError> {
    match source {
        PortSource::Path(path) => by_path(path, sysfs),
        PortSource::Sim(spec) => match simulated {
            Some(link) => by_path(link, sysfs),
            None => Err(FindError::NoPath(PathBuf::from(format!(
                "the emulator {:?}",
                spec.emulator.device()
            )))),
        },
        PortSource::Usb {
            vendor,
            product,
            serial,
        } => by_usb(*vendor, *product, serial.as_deref(), sysfs),
    }
}

fn by_path(path: &Path, sysfs: &Path) -> Result<Found, FindError> {
    // The tty behind a link is what sysfs knows; the link is what is opened, so that a link that moves is followed next time.
    let Ok(real) = fs::canonicalize(path) else {
        return Err(FindError::NoPath(path.to_owned()));
    };
    let identity = real
        .strip_prefix("/dev")
        .ok()
        .map(|name| name.to_string_lossy().replace('/', "!"))
        .and_then(|name| usb_identity(&sysfs.join("class/tty").join(name)))
        .unwrap_or_default();
    Ok(Found {
        path: path.to_owned(),
        identity: PortIdentity {
            path: path.display().to_string(),
            ..identity
        },
    })
}

fn by_usb(vendor: u16, product: u16, serial: Option<&str>, sysfs: &Path) -> Result<Found, FindError> {
    let wanted = || match serial {
        Some(serial) => format!("{vendor:04x}:{product:04x}:{serial}"),
        None => format!("{vendor:04x}:{product:04x}"),
    };
    let mut found: Vec<Found> = fs::read_dir(sysfs.join("class/tty"))
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let identity = usb_identity(&entry.path())?;
            let fits = identity.usb_vendor_id == Some(vendor)
                && identity.usb_product_id == Some(product)
                && serial.is_none_or(|serial| identity.serial_number.as_deref() == Some(serial));
            // In the names of sysfs '!' stands for '/'.
            let path = Path::new("/dev").join(entry.file_name().to_string_lossy().replace('!', "/"));
            fits.then(|| Found {
                identity: PortIdentity {
                    path: path.display().to_string(),
                    ..identity
                },
                path,
            })
        })
        .collect();
    found.sort_by(|a, b| a.path.cmp(&b.path));
    match found.len() {
        1 => found.pop().ok_or_else(|| FindError::NoUsb(wanted())),
        0 => Err(FindError::NoUsb(wanted())),
        _ => {
            let paths: Vec<String> = found
                .iter()
                .map(|found| found.path.display().to_string())
                .collect();
            Err(FindError::Ambiguous(wanted(), paths.join(", ")))
        }
    }
}

/// What the USB device above a tty says of itself; none for a tty that is on no USB device.
fn usb_identity(tty: &Path) -> Option<PortIdentity> {
    let device = fs::canonicalize(tty.join("device")).ok()?;
    let usb = device
        .ancestors()
        .find(|folder| folder.join("idVendor").is_file())?;
    let text = |name: &str| {
        fs::read_to_string(usb.join(name))
            .ok()
            .map(|text| text.trim().to_owned())
    };
    let number = |name: &str| text(name).and_then(|text| u16::from_str_radix(&text, 16).ok());
    let attributes = ["manufacturer", "product"]
        .into_iter()
        .filter_map(|name| Some((name.to_owned(), text(name)?)))
        .collect();
    Some(PortIdentity {
        path: String::new(),
        usb_vendor_id: number("idVendor"),
        usb_product_id: number("idProduct"),
        serial_number: text("serial"),
        attributes,
    })
}

/// Who has a tty open, as far as the system tells: names and numbers of processes.
pub(super) fn holders(path: &Path) -> Vec<String> {
    let Ok(real) = fs::canonicalize(path) else {
        return Vec::new();
    };
    let own = std::process::id().to_string();
    fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter(|process| {
            let name = process.file_name();
            name.to_string_lossy().chars().all(|c| c.is_ascii_digit()) && *name != *own
        })
        .filter(|process| {
            let descriptors = fs::read_dir(process.path().join("fd"))
                .into_iter()
                .flatten()
                .flatten();
            descriptors
                .into_iter()
                .any(|descriptor| fs::read_link(descriptor.path()).is_ok_and(|to| to == real))
        })
        .map(|process| {
            let name = fs::read_to_string(process.path().join("comm")).unwrap_or_default();
            format!(
                "{} (process {})",
                name.trim(),
                process.file_name().to_string_lossy()
            )
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plant(sysfs: &Path, tty: &str, vendor: &str, product: &str, serial: &str) {
        let usb = sysfs.join("devices/usb1").join(tty);
        let device = usb.join("1-1:1.0").join(tty);
        fs::create_dir_all(&device).unwrap();
        fs::write(usb.join("idVendor"), vendor).unwrap();
        fs::write(usb.join("idProduct"), product).unwrap();
        fs::write(usb.join("serial"), format!("{serial}\n")).unwrap();
        let class = sysfs.join("class/tty").join(tty);
        fs::create_dir_all(&class).unwrap();
        std::os::unix::fs::symlink(&device, class.join("device")).unwrap();
    }

    fn usb(serial: Option<&str>) -> PortSource {
        PortSource::Usb {
            vendor: 0x0403,
            product: 0x6001,
            serial: serial.map(str::to_owned),
        }
    }

    #[test]
    fn a_device_is_found_by_its_identity_whatever_its_number() {
        let sysfs = tempfile::tempdir().unwrap();
        plant(sysfs.path(), "ttyUSB7", "0403\n", "6001\n", "A9");
        plant(sysfs.path(), "ttyUSB1", "1a86\n", "7523\n", "");
        let found = find(&usb(None), None, sysfs.path()).unwrap();
        assert_eq!(found.path, Path::new("/dev/ttyUSB7"));
        assert_eq!(found.identity.serial_number.as_deref(), Some("A9"));
    }

    #[test]
    fn two_devices_of_one_kind_want_a_serial_number() {
        let sysfs = tempfile::tempdir().unwrap();
        plant(sysfs.path(), "ttyUSB0", "0403", "6001", "A");
        plant(sysfs.path(), "ttyUSB1", "0403", "6001", "B");
        let error = find(&usb(None), None, sysfs.path()).unwrap_err();
        assert!(
            error.to_string().contains("/dev/ttyUSB0, /dev/ttyUSB1"),
            "{error}"
        );
        assert_eq!(
            find(&usb(Some("B")), None, sysfs.path()).unwrap().path,
            Path::new("/dev/ttyUSB1")
        );
        assert_eq!(
            find(&usb(Some("C")), None, sysfs.path()),
            Err(FindError::NoUsb("0403:6001:C".to_owned()))
        );
    }

    #[test]
    fn a_path_that_is_not_there_is_named() {
        let error = find(
            &PortSource::Path("/dev/no-such-tty".into()),
            None,
            Path::new("/sys"),
        )
        .unwrap_err();
        assert_eq!(error.to_string(), "/dev/no-such-tty is not there");
    }
}
