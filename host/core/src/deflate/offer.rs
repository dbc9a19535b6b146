//! What client and server agree on: the header `Sec-WebSocket-Extensions` (RFC 6455 section 9.1, RFC 7692 section 7.1).

use super::Compression;

/// What was agreed on. There is nothing to configure beyond it: both windows have 32 KiB, and the client compresses each message alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Agreement {
    /// How the server may compress.
    pub compression: Compression,
    /// The client named the size of the server's window, and the standard wants it repeated then.
    names_server_window: bool,
}

/// A header that is not written as the standard wants: the handshake fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("Sec-WebSocket-Extensions is not a list of extensions as the standard writes it")]
pub struct MalformedOffer;

const EXTENSION: &str = "permessage-deflate";

/// The first offer that can be taken, in the order of the client's preference; none, and the connection goes on uncompressed.
///
/// `headers` are the values of all headers of that name: together they are one list. An offer with a parameter that is not known, is there
/// twice, or has a value that it cannot have, is declined, and so is one that wants a window below 32 KiB from the server: the window of a
/// shared context is one for everybody.
pub fn negotiate<'h>(
    headers: impl IntoIterator<Item = &'h [u8]>,
) -> Result<Option<Agreement>, MalformedOffer> {
    let mut agreed = None;
    for header in headers {
        let mut rest = Scanner(header);
        while let Some(offer) = rest.offer()? {
            agreed = agreed.or(offer);
        }
    }
    Ok(agreed)
}

impl Agreement {
    /// The header of the answer. The client compresses each message alone, so that nothing is kept for an idle one.
    pub const fn answer(self) -> &'static str {
        match (self.compression, self.names_server_window) {
            (Compression::Shared, false) => "permessage-deflate; client_no_context_takeover",
            (Compression::Shared, true) => {
                "permessage-deflate; client_no_context_takeover; server_max_window_bits=15"
            }
            (Compression::Alone, false) => {
                "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
            }
            (Compression::Alone, true) => {
                "permessage-deflate; server_no_context_takeover; client_no_context_takeover; \
                 server_max_window_bits=15"
            }
        }
    }
}

/// What of a header has not been read.
struct Scanner<'h>(&'h [u8]);

/// The parameters of one offer, as far as they were seen.
#[derive(Default)]
struct Parameters {
    server_alone: bool,
    client_alone: bool,
    server_window: bool,
    client_window: bool,
    is_declined: bool,
}

impl<'h> Scanner<'h> {
    /// The next extension of the list: `Some(None)` for one that cannot be taken.
    #[expect(
        clippy::option_option,
        reason = "the end of the list, and an offer that is declined"
    )]
    fn offer(&mut self) -> Result<Option<Option<Agreement>>, MalformedOffer> {
        // Empty elements are to be tolerated in a list.
        while self.skip_space_and(b',') {}
        if self.0.is_empty() {
            return Ok(None);
        }
        let is_deflate = self.token()? == EXTENSION.as_bytes();
        let mut parameters = Parameters::default();
        while self.skip_space_and(b';') {
            self.skip_space();
            let name = self.token()?;
            let value = match self.skip_space_and(b'=') {
                true => Some(self.value()?),
                false => None,
            };
            parameters.take(name, value.as_deref());
        }
        self.skip_space();
        if !self.0.is_empty() && !self.0.starts_with(b",") {
            return Err(MalformedOffer);
        }
        Ok(Some(parameters.agreement().filter(|_| is_deflate)))
    }

    fn token(&mut self) -> Result<&'h [u8], MalformedOffer> {
        let length = self.0.iter().take_while(|byte| is_token(**byte)).count();
        let (token, rest) = self.0.split_at_checked(length).ok_or(MalformedOffer)?;
        self.0 = rest;
        if token.is_empty() {
            return Err(MalformedOffer);
        }
        Ok(token)
    }

    /// A token, or one in quotes: what stands in them has to be a token, too.
    fn value(&mut self) -> Result<Vec<u8>, MalformedOffer> {
        self.skip_space();
        let Some(mut rest) = self.0.strip_prefix(b"\"") else {
            return self.token().map(<[u8]>::to_vec);
        };
        let mut value = Vec::new();
        loop {
            let (&byte, behind) = rest.split_first().ok_or(MalformedOffer)?;
            rest = behind;
            match byte {
                b'"' => break,
                b'\\' => {
                    let (&escaped, behind) = rest.split_first().ok_or(MalformedOffer)?;
                    rest = behind;
                    value.push(escaped);
                }
                byte => value.push(byte),
            }
        }
        self.0 = rest;
        if value.is_empty() || !value.iter().copied().all(is_token) {
            return Err(MalformedOffer);
        }
        Ok(value)
    }

    fn skip_space(&mut self) {
        while let [b' ' | b'\t', rest @ ..] = self.0 {
            self.0 = rest;
        }
    }

    /// Whether this byte was there, with space before it.
    fn skip_space_and(&mut self, byte: u8) -> bool {
        self.skip_space();
        match self.0.split_first() {
            Some((&first, rest)) if first == byte => {
                self.0 = rest;
                true
            }
            _ => false,
        }
    }
}

impl Parameters {
    fn take(&mut self, name: &[u8], value: Option<&[u8]>) {
        let (seen, is_good) = match name {
            b"server_no_context_takeover" => (&mut self.server_alone, value.is_none()),
            b"client_no_context_takeover" => (&mut self.client_alone, value.is_none()),
            b"server_max_window_bits" => (&mut self.server_window, value == Some(b"15")),
            // Any size is fine: our inflater has the largest window.
            b"client_max_window_bits" => (&mut self.client_window, value.is_none_or(is_window)),
            _ => {
                self.is_declined = true;
                return;
            }
        };
        self.is_declined |= *seen || !is_good;
        *seen = true;
    }

    fn agreement(&self) -> Option<Agreement> {
        (!self.is_declined).then_some(Agreement {
            compression: match self.server_alone {
                true => Compression::Alone,
                false => Compression::Shared,
            },
            names_server_window: self.server_window,
        })
    }
}

/// 8 to 15, without leading zeros.
fn is_window(value: &[u8]) -> bool {
    matches!(value, [b'8' | b'9'] | [b'1', b'0'..=b'5'])
}

/// A character of a token as HTTP has it.
const fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(byte, b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'.' | b'^'..=b'`' | b'|' | b'~')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn answer(headers: &[&str]) -> Result<Option<&'static str>, MalformedOffer> {
        negotiate(headers.iter().map(|h| h.as_bytes())).map(|agreed| agreed.map(Agreement::answer))
    }

    const SHARED: &str = "permessage-deflate; client_no_context_takeover";
    const ALONE: &str = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";

    #[test]
    fn each_offer_has_its_answer() {
        let cases: &[(&[&str], Option<&str>)] = &[
            (&[], None),
            (&[""], None),
            (&[" , ,"], None),
            (&["permessage-deflate"], Some(SHARED)),
            // What Chromium and Firefox send.
            (&["permessage-deflate; client_max_window_bits"], Some(SHARED)),
            (&["permessage-deflate;client_no_context_takeover"], Some(SHARED)),
            (&["permessage-deflate; server_no_context_takeover"], Some(ALONE)),
            (
                &[
                    "permessage-deflate; client_max_window_bits=8; server_no_context_takeover; client_no_context_takeover",
                ],
                Some(ALONE),
            ),
            (
                &["permessage-deflate; client_max_window_bits=\"15\""],
                Some(SHARED),
            ),
            (
                &["permessage-deflate; client_max_window_bits=\"1\\5\""],
                Some(SHARED),
            ),
            (&["permessage-deflate; client_max_window_bits=7"], None),
            (&["permessage-deflate; client_max_window_bits=16"], None),
            (&["permessage-deflate; client_max_window_bits=08"], None),
            (
                &["permessage-deflate; server_max_window_bits=15"],
                Some("permessage-deflate; client_no_context_takeover; server_max_window_bits=15"),
            ),
            (
                &["permessage-deflate; server_max_window_bits=\"15\" ; server_no_context_takeover"],
                Some(
                    "permessage-deflate; server_no_context_takeover; client_no_context_takeover; \
                     server_max_window_bits=15",
                ),
            ),
            (&["permessage-deflate; server_max_window_bits"], None),
            (&["permessage-deflate; server_max_window_bits=14"], None),
            (&["permessage-deflate; server_max_window_bits=8"], None),
            (&["permessage-deflate; server_no_context_takeover=1"], None),
            (&["permessage-deflate; client_no_context_takeover=true"], None),
            (
                &["permessage-deflate; server_no_context_takeover; server_no_context_takeover"],
                None,
            ),
            (
                &["permessage-deflate; client_max_window_bits; client_max_window_bits=10"],
                None,
            ),
            (&["permessage-deflate; unknown"], None),
            (&["permessage-deflate; unknown=\"a\""], None),
            (&["x-webkit-deflate-frame"], None),
            (&["Permessage-Deflate"], None),
            // The first that can be taken wins.
            (
                &["permessage-deflate; server_max_window_bits=10, permessage-deflate"],
                Some(SHARED),
            ),
            (
                &["x-other; a=b, permessage-deflate; server_no_context_takeover, permessage-deflate"],
                Some(ALONE),
            ),
            (
                &["x-other", " permessage-deflate ;\tclient_max_window_bits = 9 "],
                Some(SHARED),
            ),
        ];
        for (headers, agreed) in cases {
            assert_eq!(answer(headers), Ok(*agreed), "{headers:?}");
        }
    }

    #[test]
    fn what_is_no_list_of_extensions_fails_the_handshake() {
        for header in [
            "permessage-deflate;",
            "permessage-deflate; =1",
            "permessage-deflate; a=",
            "permessage-deflate; a=\"",
            "permessage-deflate; a=\"\"",
            "permessage-deflate; a=\"x\\",
            "permessage-deflate; a=\"x y\"",
            "permessage-deflate permessage-deflate",
            "; a",
            "per/message",
            "permessage-deflate, =",
            "\u{e4}",
        ] {
            assert_eq!(answer(&[header]), Err(MalformedOffer), "{header}");
        }
    }

    fn spaced() -> impl Strategy<Value = String> {
        "[ \t]{0,2}"
    }

    fn parameter() -> impl Strategy<Value = (String, Option<String>)> {
        let name = prop_oneof![
            Just("server_no_context_takeover".to_owned()),
            Just("client_no_context_takeover".to_owned()),
            Just("server_max_window_bits".to_owned()),
            Just("client_max_window_bits".to_owned()),
            "[a-z_]{1,4}",
        ];
        let value = proptest::option::of(prop_oneof!["[0-9]{1,2}", Just("15".to_owned()), "[a-z]{1,3}"]);
        (name, value)
    }

    proptest! {
        #[test]
        fn spelling_changes_nothing(
            offers in proptest::collection::vec(proptest::collection::vec(parameter(), 0..4), 1..4),
            spaces in proptest::collection::vec(spaced(), 64),
            quotes in proptest::collection::vec(any::<bool>(), 16),
            is_split in any::<bool>(),
        ) {
            let mut spaces = spaces.iter().cycle();
            let mut quotes = quotes.iter().cycle();
            let mut plain = Vec::new();
            let mut odd = Vec::new();
            for parameters in &offers {
                let (mut simple, mut spaced) = (EXTENSION.to_owned(), EXTENSION.to_owned());
                for (name, value) in parameters {
                    simple.push_str(&format!(";{name}"));
                    spaced.push_str(&format!("{};{}{name}", spaces.next().unwrap(), spaces.next().unwrap()));
                    if let Some(value) = value {
                        simple.push_str(&format!("={value}"));
                        let quote = if *quotes.next().unwrap() { "\"" } else { "" };
                        spaced.push_str(&format!("{}={}{quote}{value}{quote}", spaces.next().unwrap(), spaces.next().unwrap()));
                    }
                }
                plain.push(simple);
                odd.push(format!("{}{spaced}{}", spaces.next().unwrap(), spaces.next().unwrap()));
            }
            let expected = answer(&[&plain.join(",")]).unwrap();
            let given = match is_split {
                true => answer(&odd.iter().map(String::as_str).collect::<Vec<_>>()),
                false => answer(&[&odd.join(" ,, ")]),
            };
            prop_assert_eq!(given.unwrap(), expected);
            // What is agreed on never goes beyond an offer: alone if and only if the offer that was taken said so.
            let taken = offers.iter().find(|offer| {
                let names: Vec<_> = offer.iter().map(|(name, _)| name.as_str()).collect();
                let mut once = names.clone();
                once.sort_unstable();
                once.dedup();
                once.len() == names.len() && offer.iter().all(|(name, value)| match name.as_str() {
                    "server_no_context_takeover" | "client_no_context_takeover" => value.is_none(),
                    "server_max_window_bits" => value.as_deref() == Some("15"),
                    "client_max_window_bits" => value.as_ref().is_none_or(|value| {
                        (8..=15).any(|bits| value == &format!("{bits}"))
                    }),
                    _ => false,
                })
            });
            prop_assert_eq!(expected.is_some(), taken.is_some());
            if let (Some(answer), Some(offer)) = (expected, taken) {
                prop_assert!(answer.contains("client_no_context_takeover"));
                for name in ["server_no_context_takeover", "server_max_window_bits"] {
                    prop_assert_eq!(answer.contains(name), offer.iter().any(|(n, _)| n == name));
                }
            }
        }

        #[test]
        fn no_header_makes_it_stumble(header in proptest::collection::vec(any::<u8>(), 0..100)) {
            let _ = negotiate([&header[..]]);
        }

        #[test]
        fn nor_one_that_nearly_is_right(header in "(permessage-deflate|[;,=\" \\\\]|[a-z]|server_max_window_bits|15){0,20}") {
            let _ = negotiate([header.as_bytes()]);
        }
    }
}
