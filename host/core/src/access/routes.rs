//! The table of routes.

use super::Role;

/// A method that a route takes. `HEAD` goes wherever `GET` does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Method {
    /// Looks, and never acts.
    Get,
    /// Adds or does something.
    Post,
    /// Puts something in the place of what is there.
    Put,
    /// Ends something.
    Delete,
}

impl Method {
    /// Its name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Delete => "DELETE",
        }
    }
}

/// Who may use a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Everybody whom `Host` and `Origin` let in: it tells nothing about the bench, or asks for the token itself.
    Open,
    /// Whoever has this role or a stronger one.
    Role(Role),
    /// Whoever has the token of the log ingest, or is an operator.
    Ingest,
}

impl std::fmt::Display for Access {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Open => f.write_str("no token"),
            Self::Role(role) => role.fmt(f),
            Self::Ingest => f.write_str("ingest token or operator"),
        }
    }
}

/// Names a route within the program: the host has one handler for each, by exhaustive match.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "the table says what each is")]
pub enum RouteId {
    Page,
    File,
    Socket,
    Echo,
    Metrics,
    Healthz,
    Readyz,
    SessionBegin,
    SessionShow,
    SessionEnd,
    State,
    Events,
    Openapi,
    Logs,
    LogsIngest,
    Message,
    MessagePut,
    Layout,
    LayoutPut,
    Devices,
    Device,
    DeviceCommand,
    Commands,
    Command,
    CommandCancel,
    ShadowRun,
    Plugins,
    PluginReload,
    PluginGrant,
    DeviceReload,
    DeviceRollback,
    Telemetry,
    TelemetryIngest,
    TelemetrySeries,
    Clients,
    Schema,
}

/// One line of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Route {
    /// Its handler.
    pub id: RouteId,
    /// Its method.
    pub method: Method,
    /// Its path; a part in braces stands for anything without a slash, with a star for anything at all.
    pub path: &'static str,
    /// Who may use it.
    pub access: Access,
    /// What it is for.
    pub about: &'static str,
}

const VIEWER: Access = Access::Role(Role::Viewer);
const ADMIN: Access = Access::Role(Role::Admin);
const OPERATOR: Access = Access::Role(Role::Operator);

/// Every route that the daemon serves.
#[rustfmt::skip]
pub const ROUTES: &[Route] = &[
    route(RouteId::Page, Method::Get, "/", Access::Open, "the mirror"),
    route(RouteId::File, Method::Get, "/{*file}", Access::Open, "the mirror's files"),
    route(RouteId::Socket, Method::Get, "/ws", Access::Open, "the socket; it asks for the token itself"),
    route(RouteId::Socket, Method::Get, "/ws/flow", Access::Open, "the socket under its other name"),
    route(RouteId::Echo, Method::Get, "/ws/echo", VIEWER, "gives messages back; only with `--test-endpoints`"),
    route(RouteId::Metrics, Method::Get, "/metrics", VIEWER, "what the daemon counts, for Prometheus"),
    route(RouteId::Healthz, Method::Get, "/healthz", Access::Open, "the process answers"),
    route(RouteId::Readyz, Method::Get, "/readyz", Access::Open, "the bench serves"),
    route(RouteId::SessionShow, Method::Get, "/api/v1/session", VIEWER, "who asks, and with which role"),
    route(RouteId::SessionBegin, Method::Post, "/api/v1/session", Access::Open, "gives a session for a token"),
    route(RouteId::SessionEnd, Method::Delete, "/api/v1/session", Access::Open, "ends the session"),
    route(RouteId::Openapi, Method::Get, "/api/v1/openapi.json", VIEWER, "these routes as OpenAPI 3.1"),
    route(RouteId::State, Method::Get, "/api/v1/state", VIEWER, "the state, or one value of it"),
    route(RouteId::Events, Method::Get, "/api/v1/events", VIEWER, "what the socket sends, as server-sent events"),
    route(RouteId::Logs, Method::Get, "/api/v1/logs", VIEWER, "log entries"),
    route(RouteId::LogsIngest, Method::Post, "/api/v1/logs", Access::Ingest, "takes log entries in"),
    route(RouteId::Message, Method::Get, "/api/v1/message", VIEWER, "the text that all mirrors show"),
    route(RouteId::MessagePut, Method::Put, "/api/v1/message", OPERATOR, "sets that text"),
    route(RouteId::Layout, Method::Get, "/api/v1/layout", VIEWER, "which panes the mirrors show where"),
    route(RouteId::LayoutPut, Method::Put, "/api/v1/layout", OPERATOR, "sets the layout"),
    route(RouteId::Devices, Method::Get, "/api/v1/devices", VIEWER, "every device"),
    route(RouteId::Device, Method::Get, "/api/v1/devices/{id}", VIEWER, "one device"),
    route(RouteId::DeviceCommand, Method::Post, "/api/v1/devices/{id}/commands", OPERATOR, "asks a device for a command"),
    route(RouteId::DeviceReload, Method::Post, "/api/v1/devices/{id}/reload", OPERATOR, "tries the newest file of its plugin again"),
    route(RouteId::DeviceRollback, Method::Post, "/api/v1/devices/{id}/rollback", OPERATOR, "goes back to the good version before"),
    route(RouteId::ShadowRun, Method::Post, "/api/v1/devices/{id}/shadow-runs", ADMIN, "runs a candidate beside the version that runs, and may adopt it"),
    route(RouteId::Commands, Method::Get, "/api/v1/commands", VIEWER, "the newest commands"),
    route(RouteId::Command, Method::Get, "/api/v1/commands/{id}", VIEWER, "how a command is"),
    route(RouteId::CommandCancel, Method::Delete, "/api/v1/commands/{id}", OPERATOR, "withdraws a command"),
    route(RouteId::Plugins, Method::Get, "/api/v1/plugins", VIEWER, "every plugin"),
    route(RouteId::PluginReload, Method::Post, "/api/v1/plugins/{id}/reload", OPERATOR, "tries the newest file again on all its devices"),
    route(RouteId::PluginGrant, Method::Post, "/api/v1/plugins/{id}/grant", ADMIN, "consents to what a version wants more than those before it"),
    route(RouteId::Telemetry, Method::Get, "/api/v1/telemetry", VIEWER, "every telemetry series"),
    route(RouteId::TelemetryIngest, Method::Post, "/api/v1/telemetry", OPERATOR, "takes samples in"),
    route(RouteId::TelemetrySeries, Method::Get, "/api/v1/telemetry/{endpointId}", VIEWER, "the last ten minutes of a series"),
    route(RouteId::Clients, Method::Get, "/api/v1/clients", OPERATOR, "who is connected, and how far behind"),
    route(RouteId::Schema, Method::Get, "/api/v1/schema", Access::Open, "the messages of the socket as JSON Schemas"),
];

const fn route(
    id: RouteId,
    method: Method,
    path: &'static str,
    access: Access,
    about: &'static str,
) -> Route {
    Route {
        id,
        method,
        path,
        access,
        about,
    }
}
