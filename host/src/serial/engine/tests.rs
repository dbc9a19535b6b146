use super::output::SETTLE_LIMIT;
use super::*;

#[test]
fn waits_are_spread_within_a_quarter() {
    let mut jitter = Jitter(7);
    for _ in 0..1000 {
        let wait = jitter.spread(Duration::from_secs(1));
        assert!(
            (Duration::from_millis(750)..=Duration::from_secs(1)).contains(&wait),
            "{wait:?}"
        );
    }
}

#[test]
fn a_change_waits_for_the_bytes_before_it_as_long_as_they_leave() {
    let begin = Instant::now();
    let at = |ms| begin + Duration::from_millis(ms);
    let mut settling = Settling::default();
    assert!(settling.is_settled(0, at(0)), "nothing was written");
    assert!(!settling.is_settled(900, at(0)));
    assert!(!settling.is_settled(500, at(900)));
    assert!(
        !settling.is_settled(100, at(1800)),
        "slow, but the bytes are leaving"
    );
    assert!(settling.is_settled(0, at(1900)));
    assert!(!settling.is_settled(100, at(5000)), "a new wait begins");
}

#[test]
fn a_change_does_not_wait_for_a_stalled_line_for_ever() {
    let begin = Instant::now();
    let mut settling = Settling::default();
    assert!(!settling.is_settled(100, begin));
    assert!(!settling.is_settled(100, begin + SETTLE_LIMIT / 2));
    assert!(settling.is_settled(100, begin + SETTLE_LIMIT));
}

#[test]
fn a_loss_and_a_return_are_said_once_each() {
    let mut said = Said::default();
    assert!(said.is_news(Phase::Open, "a"));
    for _ in 0..3 {
        assert!(said.is_news(Phase::Lost, "the device hung up"));
        for _ in 0..5 {
            assert!(!said.is_news(Phase::Missing, "a is not there"));
        }
        assert!(said.is_news(Phase::Open, "a"));
    }
}

#[test]
fn what_a_port_meets_first_is_said_at_once() {
    let mut said = Said::default();
    assert!(said.is_news(Phase::Missing, "a is not there"));
    assert!(!said.is_news(Phase::Missing, "a is not there"));
    assert!(said.is_news(Phase::Open, "a"));
}

#[test]
fn what_keeps_a_line_away_is_said_once_when_it_stays() {
    let mut said = Said::default();
    assert!(said.is_news(Phase::Open, "a"));
    assert!(said.is_news(Phase::Lost, "the device hung up"));
    assert!(
        !said.is_news(Phase::Denied, "not for you"),
        "its rights may be on their way"
    );
    assert!(!said.is_news(Phase::Missing, "a is not there"));
    assert!(!said.is_news(Phase::Denied, "not for you"));
    assert!(said.is_news(Phase::Denied, "not for you"), "found twice in a row");
    assert!(!said.is_news(Phase::Denied, "not for you"));
    assert!(!said.is_news(Phase::Ambiguous, "two lines fit"));
    assert!(said.is_news(Phase::Ambiguous, "two lines fit"));
    assert!(
        !said.is_news(Phase::Ambiguous, "three lines fit"),
        "a new reason has to stay, too"
    );
    assert!(said.is_news(Phase::Ambiguous, "three lines fit"));
}

#[test]
fn a_device_is_named_by_its_path_and_its_usb_identity() {
    let mut identity = PortIdentity {
        path: "/dev/ttyUSB0".to_owned(),
        ..PortIdentity::default()
    };
    assert_eq!(named(&identity), "/dev/ttyUSB0");
    (identity.usb_vendor_id, identity.usb_product_id) = (Some(0x0403), Some(0x6001));
    assert_eq!(named(&identity), "/dev/ttyUSB0, USB 0403:6001");
    identity.serial_number = Some("A1".to_owned());
    assert_eq!(named(&identity), "/dev/ttyUSB0, USB 0403:6001:A1");
}

#[test]
fn who_holds_a_line_is_found_out_once_per_refusal() {
    let mut refused = Refused::default();
    let busy = (Phase::Busy, "held by minicom".to_owned());
    assert_eq!(refused.explain("busy".to_owned(), || busy.clone()), busy);
    let again = refused.explain("busy".to_owned(), || unreachable!("it is known"));
    assert_eq!(again, busy);
    let denied = (Phase::Denied, "not for you".to_owned());
    assert_eq!(refused.explain("denied".to_owned(), || denied.clone()), denied);
    refused.forget();
    assert_eq!(refused.explain("denied".to_owned(), || busy.clone()), busy);
}

/// Tells a test what it is told.
struct Told(std::sync::mpsc::Sender<String>);

impl PortEvents for Told {
    fn attached(&mut self, _: Arc<PortIdentity>) {
        let _ = self.0.send("attached".to_owned());
    }
    fn bytes(&mut self, data: &[u8]) {
        let _ = self.0.send(String::from_utf8_lossy(data).into_owned());
    }
    fn lost(&mut self, _: &str) {}
    fn drained(&mut self) {}
    fn undone(&mut self, lease: &autobench_core::driver::Lease) {
        let _ = self.0.send(format!("undone {}", lease.number));
    }
    fn line_error(&mut self, reason: &str) {
        let _ = self.0.send(reason.to_owned());
    }
    fn lines_changed(&mut self, signals: InputSignals) {
        let _ = self.0.send(format!("CTS {}", signals.clear_to_send));
    }
}

#[test]
fn a_change_of_the_devices_lines_wakes_the_port_and_how_they_were_at_first_is_no_change() {
    let (other, tty) = TTYPort::pair().unwrap();
    let (tell, told) = std::sync::mpsc::channel();
    let settings = PortSettings {
        device: "probe".into(),
        name: "main".into(),
        source: PortSource::Path(tty.name().unwrap().into()),
        simulated: None,
        line: LineSettings {
            baud_rate: 9600,
            data_bits: autobench_core::driver::DataBits::Eight,
            parity: autobench_core::driver::Parity::None,
            stop_bits: autobench_core::driver::StopBits::One,
            flow_control: autobench_core::driver::FlowControl::None,
        },
        dtr: None,
        rts: None,
        hangup_on_close: None,
        exclusive: false,
        sysfs_root: "/sys".into(),
    };
    drop(tty);
    let port = Port::start(settings, Box::new(Told(tell)), None).unwrap();
    assert_eq!(told.recv().unwrap(), "attached");
    let see = |clear_to_send| {
        port.control().see(InputSignals {
            clear_to_send,
            data_set_ready: false,
            data_carrier_detect: false,
            ring_indicator: false,
        });
    };
    see(true);
    // The port looks at the first before the second comes: bytes that are sent after it are read after it.
    with_descriptor(&other, |other| rustix::io::write(other, b"x")).unwrap();
    assert_eq!(told.recv().unwrap(), "x");
    see(false);
    assert_eq!(told.recv().unwrap(), "CTS false");
    port.close();
}
