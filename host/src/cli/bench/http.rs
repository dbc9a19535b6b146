//! Requests to the daemon that is measured, one after the other over one connection.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;

use anyhow::{Context, bail};

use super::{Measured, PATIENCE};
use crate::cli::target::problem_text;

/// An answer of the daemon's is a page of numbers or less.
const ANSWER_BYTES: u64 = 16 << 20;

#[derive(Debug)]
pub(super) struct Connection {
    reader: BufReader<TcpStream>,
    /// What stands in every request.
    headers: String,
}

impl Connection {
    pub(super) fn open(daemon: &Measured) -> anyhow::Result<Self> {
        let stream = daemon.connect()?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut headers = format!("Host: {}\r\n", daemon.target.authority);
        for header in daemon.headers() {
            headers.push_str(&header);
            headers.push_str("\r\n");
        }
        Ok(Self {
            reader: BufReader::new(stream),
            headers,
        })
    }

    /// Sends a request, with a body of JSON if there is one, and gives the body of the answer.
    pub(super) fn ask(&mut self, method: &str, path: &str, body: Option<&str>) -> anyhow::Result<String> {
        let (status, answer) = self
            .exchange(method, path, body)
            .with_context(|| format!("{method} {path} is not answered"))?;
        let hint = match status {
            200..300 => return Ok(answer),
            401 => "; put a token of that daemon into AUTOBENCH_TOKEN",
            403 => "; the token in AUTOBENCH_TOKEN has to have another role",
            _ => "",
        };
        bail!(
            "{method} {path} is answered with {status}: {}{hint}",
            problem_text(&answer)
        )
    }

    fn exchange(&mut self, method: &str, path: &str, body: Option<&str>) -> anyhow::Result<(u16, String)> {
        let body = match body {
            Some(json) => format!(
                "Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{json}",
                json.len()
            ),
            None => "\r\n".to_owned(),
        };
        let request = format!("{method} {path} HTTP/1.1\r\n{}{body}", self.headers);
        self.reader.get_mut().write_all(request.as_bytes())?;
        let first = self.line()?;
        let status = first
            .strip_prefix("HTTP/1.1 ")
            .and_then(|rest| rest.get(..3)?.parse().ok());
        let status = status.with_context(|| format!("{first:?} is no answer"))?;
        let mut length = 0;
        loop {
            let line = self.line()?;
            if line.is_empty() {
                break;
            }
            if let Some((name, value)) = line.split_once(':')
                && name.eq_ignore_ascii_case("content-length")
            {
                length = value.trim().parse()?;
            }
        }
        let mut answer = String::new();
        let most = length.min(ANSWER_BYTES);
        self.reader.by_ref().take(most).read_to_string(&mut answer)?;
        Ok((status, answer))
    }

    /// A line of the head. The end of the connection is no line.
    fn line(&mut self) -> anyhow::Result<String> {
        let mut line = String::new();
        let mut head = self.reader.by_ref().take(64 << 10);
        if head.read_line(&mut line)? == 0 {
            bail!("the daemon has closed the connection");
        }
        Ok(line.trim_end().to_owned())
    }
}
