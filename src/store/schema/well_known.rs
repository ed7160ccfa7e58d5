//! Attributes with a column of their own: copies, for SQL and for pruning.
//! Names: OpenTelemetry semantic conventions 1.37, dots as underscores.

use super::{ColumnType, Layout};

/// Where a well-known attribute stands.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum WellKnownScope {
    /// On the span.
    Span,
    /// On the resource.
    Resource,
}

/// An attribute with a column of its own, filled where the attribute has that column's type.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WellKnown {
    /// The attribute's key.
    pub key: &'static str,
    /// The column.
    pub column: &'static str,
    /// Where it stands.
    pub scope: WellKnownScope,
    /// The column's type: text or long.
    pub kind: ColumnType,
}

const fn span(key: &'static str, column: &'static str, kind: ColumnType) -> WellKnown {
    WellKnown { key, column, scope: WellKnownScope::Span, kind }
}

const fn resource(key: &'static str, column: &'static str) -> WellKnown {
    WellKnown { key, column, scope: WellKnownScope::Resource, kind: ColumnType::Text }
}

/// All of them that every table has, resource before span, in the order of their columns.
pub const WELL_KNOWN: &[WellKnown] = &[
    resource("service.name", "service_name"),
    resource("service.namespace", "service_namespace"),
    resource("service.version", "service_version"),
    resource("deployment.environment.name", "deployment_environment_name"),
    resource("host.name", "host_name"),
    resource("k8s.namespace.name", "k8s_namespace_name"),
    resource("k8s.pod.name", "k8s_pod_name"),
    span("http.route", "http_route", ColumnType::Text),
    span("http.request.method", "http_request_method", ColumnType::Text),
    span("http.response.status_code", "http_response_status_code", ColumnType::Long),
    span("url.path", "url_path", ColumnType::Text),
    span("server.address", "server_address", ColumnType::Text),
    span("error.type", "error_type", ColumnType::Text),
    span("rpc.service", "rpc_service", ColumnType::Text),
    span("rpc.method", "rpc_method", ColumnType::Text),
    span("db.system.name", "db_system_name", ColumnType::Text),
    span("db.operation.name", "db_operation_name", ColumnType::Text),
    span("messaging.system", "messaging_system", ColumnType::Text),
    span("messaging.destination.name", "messaging_destination_name", ColumnType::Text),
];

/// The column of an attribute, if it has one in every table.
pub fn well_known(scope: WellKnownScope, key: &str) -> Option<&'static WellKnown> {
    Layout::standard().position(scope, key).map(|at| &WELL_KNOWN[at])
}
