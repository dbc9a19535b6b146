//! What stands behind the question mark.

use hyper::Uri;

use super::problem::Problem;

/// Names and values, as they were sent. Names that nobody asks for do not matter.
pub(super) struct Query<'u>(&'u str);

impl<'u> Query<'u> {
    pub(super) fn of(uri: &'u Uri) -> Self {
        Self(uri.query().unwrap_or_default())
    }

    /// A value without its percent signs.
    pub(super) fn text(&self, name: &str) -> Option<String> {
        let (_, value) = self
            .0
            .split('&')
            .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
            .find(|(key, _)| *key == name)?;
        Some(decoded(value))
    }

    /// A whole number from 0 on.
    pub(super) fn number(&self, name: &'static str) -> Result<Option<u64>, Problem> {
        let Some(text) = self.text(name) else {
            return Ok(None);
        };
        text.parse().map(Some).map_err(|_| Problem::BadQuery {
            name,
            rule: "a whole number from 0 on",
        })
    }
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let mut ahead = rest.clone();
        match (byte, digits(&mut ahead)) {
            (b'%', Some(value)) => {
                bytes.push(value);
                rest = ahead;
            }
            (b'+', _) => bytes.push(b' '),
            (other, _) => bytes.push(other),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// A byte in two hexadecimal digits.
fn digits(text: &mut std::str::Bytes<'_>) -> Option<u8> {
    let mut digit = || text.next().and_then(|digit| char::from(digit).to_digit(16));
    let (high, low) = (digit()?, digit()?);
    u8::try_from(high * 16 + low).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_without_their_percent_signs() {
        let uri: Uri = "/?a=1&path=%2FpowerMeter/last%20x+y%&path=2&c".parse().unwrap();
        let query = Query::of(&uri);
        assert_eq!(query.text("path").unwrap(), "/powerMeter/last x y%");
        assert_eq!(query.number("a"), Ok(Some(1)));
        assert_eq!(query.number("b"), Ok(None));
        assert!(query.number("path").is_err());
        assert_eq!(query.text("c").unwrap(), "");
    }
}
