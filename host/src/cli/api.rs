//! One request to the daemon's API and its answer, for commands.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail};
use bytes::Bytes;
use clap::Args;
use http_body_util::{BodyExt, Full, Limited};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

use super::target::{Target, problem_text};
use super::usage;

/// How long the daemon may take to answer what it need not wait for.
pub(super) const ANSWER_WAIT: Duration = Duration::from_secs(20);

/// Largest answer: the manifests of a thousand plugins have a hundredth of this.
const MAX_ANSWER_BYTES: usize = 256 << 20;

/// Which daemon, and how to prove who asks.
#[derive(Debug, Args, PartialEq)]
pub struct DaemonArguments {
    /// The daemon's address
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:9898")]
    pub url: String,
    /// File with the token; without it the variable AUTOBENCH_TOKEN
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
}

/// A daemon that is asked.
#[derive(Debug)]
pub(super) struct Api {
    target: Target,
    runtime: tokio::runtime::Runtime,
}

/// What it answered.
#[derive(Debug)]
pub(super) struct Answered {
    pub(super) status: StatusCode,
    pub(super) body: String,
}

impl Api {
    /// `token` is what the environment has; a file is preferred.
    pub(super) fn new(daemon: &DaemonArguments, token: Option<&str>) -> anyhow::Result<Self> {
        let token = usage::token(daemon.token_file.as_deref(), token)?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("cannot start")?;
        Ok(Self {
            target: Target::parse(&daemon.url)?.with_token(token.as_deref()),
            runtime,
        })
    }

    /// An answer that has to be a good one.
    pub(super) fn get(&self, path: &str) -> anyhow::Result<Value> {
        self.ask(Method::GET, path, None, ANSWER_WAIT)?.good()
    }

    /// Asks, and gives whatever the answer is.
    pub(super) fn ask(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        patience: Duration,
    ) -> anyhow::Result<Answered> {
        let exchange = async {
            match tokio::time::timeout(patience, self.exchange(method, path, body)).await {
                Ok(answered) => answered,
                Err(_) => bail!("no answer within {} s", patience.as_secs()),
            }
        };
        self.runtime
            .block_on(exchange)
            .with_context(|| format!("the daemon at {} does not answer", self.target.address))
    }

    async fn exchange(&self, method: Method, path: &str, body: Option<&Value>) -> anyhow::Result<Answered> {
        let stream = TcpStream::connect(&self.target.address).await?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake::<_, Full<Bytes>>(TokioIo::new(stream)).await?;
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, &self.target.authority);
        if let Some(token) = &self.target.token {
            request = request.header(AUTHORIZATION, format!("Bearer {}", token.reveal()));
        }
        let body = match body {
            Some(body) => {
                request = request.header(CONTENT_TYPE, "application/json");
                Full::from(body.to_string())
            }
            None => Full::default(),
        };
        let answered = async {
            let response = sender.send_request(request.body(body)?).await?;
            let status = response.status();
            let body = Limited::new(response.into_body(), MAX_ANSWER_BYTES).collect();
            let bytes = body.await.map_err(anyhow::Error::from_boxed)?.to_bytes();
            Ok(Answered {
                status,
                body: String::from_utf8_lossy(&bytes).into_owned(),
            })
        };
        let mut connection = std::pin::pin!(connection);
        let mut answered = std::pin::pin!(answered);
        tokio::select! {
            answered = &mut answered => answered,
            // It may end with the answer still to be read.
            ended = &mut connection => match ended {
                Ok(()) => answered.await,
                Err(error) => Err(error.into()),
            },
        }
    }
}

impl Answered {
    /// The body of a good answer, or the daemon's words as an error.
    pub(super) fn good(self) -> anyhow::Result<Value> {
        if !self.status.is_success() {
            let hint = match self.status {
                StatusCode::UNAUTHORIZED => "; give a token with --token-file, or in AUTOBENCH_TOKEN",
                StatusCode::FORBIDDEN => "; the token has to have another role",
                _ => "",
            };
            bail!("refused by the daemon: {}{hint}", problem_text(&self.body));
        }
        serde_json::from_str(&self.body).context("the daemon answers something that is no JSON")
    }
}
