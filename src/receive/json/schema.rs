//! The messages of an export request as tables. Field numbers from opentelemetry-proto `trace.proto`,
//! `common.proto`, `resource.proto` and `trace_service.proto`.

/// A message.
pub(super) struct Schema {
    pub(super) name: &'static str,
    pub(super) fields: &'static [Field],
    /// Whether the fields exclude each other.
    pub(super) oneof: bool,
}

/// A field of a message.
pub(super) struct Field {
    pub(super) name: &'static str,
    pub(super) number: u32,
    pub(super) kind: Kind,
}

/// How a field looks in JSON and in protobuf.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    Text,
    HexId,
    Base64,
    Bool,
    Int64,
    Double,
    Fixed64,
    Fixed32,
    Uint32,
    Enum,
    Message(&'static Schema),
    Repeated(&'static Schema),
    Strings,
}

impl Kind {
    /// What JSON must hold, in words.
    pub(super) fn expected(self) -> &'static str {
        match self {
            Self::Text => "a string",
            Self::HexId => "a string of hex digits",
            Self::Base64 => "a string in base64",
            Self::Bool => "true or false",
            Self::Int64 => "a 64-bit integer, as a number or a string",
            Self::Double => "a number",
            Self::Fixed64 => "an unsigned 64-bit integer, as a number or a string",
            Self::Fixed32 | Self::Uint32 => "an unsigned 32-bit integer",
            Self::Enum => "an integer (enums have no names in OTLP/JSON)",
            Self::Message(_) => "an object",
            Self::Repeated(_) | Self::Strings => "an array",
        }
    }
}

impl Schema {
    const fn new(name: &'static str, fields: &'static [Field]) -> Self {
        Self { name, fields, oneof: false }
    }

    /// The field with this lowerCamelCase name.
    pub(super) fn field(&self, name: &str) -> Option<&'static Field> {
        self.fields.iter().find(|field| field.name == name)
    }
}

const fn f(name: &'static str, number: u32, kind: Kind) -> Field {
    Field { name, number, kind }
}

/// `opentelemetry.proto.collector.trace.v1.ExportTraceServiceRequest`.
pub(super) static REQUEST: Schema =
    Schema::new("ExportTraceServiceRequest", &[f("resourceSpans", 1, Kind::Repeated(&RESOURCE_SPANS))]);

static RESOURCE_SPANS: Schema = Schema::new(
    "ResourceSpans",
    &[
        f("resource", 1, Kind::Message(&RESOURCE)),
        f("scopeSpans", 2, Kind::Repeated(&SCOPE_SPANS)),
        f("schemaUrl", 3, Kind::Text),
    ],
);

static RESOURCE: Schema = Schema::new(
    "Resource",
    &[
        f("attributes", 1, Kind::Repeated(&KEY_VALUE)),
        f("droppedAttributesCount", 2, Kind::Uint32),
        f("entityRefs", 3, Kind::Repeated(&ENTITY_REF)),
    ],
);

static ENTITY_REF: Schema = Schema::new(
    "EntityRef",
    &[
        f("schemaUrl", 1, Kind::Text),
        f("type", 2, Kind::Text),
        f("idKeys", 3, Kind::Strings),
        f("descriptionKeys", 4, Kind::Strings),
    ],
);

static SCOPE_SPANS: Schema = Schema::new(
    "ScopeSpans",
    &[
        f("scope", 1, Kind::Message(&SCOPE)),
        f("spans", 2, Kind::Repeated(&SPAN)),
        f("schemaUrl", 3, Kind::Text),
    ],
);

static SCOPE: Schema = Schema::new(
    "InstrumentationScope",
    &[
        f("name", 1, Kind::Text),
        f("version", 2, Kind::Text),
        f("attributes", 3, Kind::Repeated(&KEY_VALUE)),
        f("droppedAttributesCount", 4, Kind::Uint32),
    ],
);

static SPAN: Schema = Schema::new(
    "Span",
    &[
        f("traceId", 1, Kind::HexId),
        f("spanId", 2, Kind::HexId),
        f("traceState", 3, Kind::Text),
        f("parentSpanId", 4, Kind::HexId),
        f("name", 5, Kind::Text),
        f("kind", 6, Kind::Enum),
        f("startTimeUnixNano", 7, Kind::Fixed64),
        f("endTimeUnixNano", 8, Kind::Fixed64),
        f("attributes", 9, Kind::Repeated(&KEY_VALUE)),
        f("droppedAttributesCount", 10, Kind::Uint32),
        f("events", 11, Kind::Repeated(&EVENT)),
        f("droppedEventsCount", 12, Kind::Uint32),
        f("links", 13, Kind::Repeated(&LINK)),
        f("droppedLinksCount", 14, Kind::Uint32),
        f("status", 15, Kind::Message(&STATUS)),
        f("flags", 16, Kind::Fixed32),
    ],
);

static EVENT: Schema = Schema::new(
    "Span.Event",
    &[
        f("timeUnixNano", 1, Kind::Fixed64),
        f("name", 2, Kind::Text),
        f("attributes", 3, Kind::Repeated(&KEY_VALUE)),
        f("droppedAttributesCount", 4, Kind::Uint32),
    ],
);

static LINK: Schema = Schema::new(
    "Span.Link",
    &[
        f("traceId", 1, Kind::HexId),
        f("spanId", 2, Kind::HexId),
        f("traceState", 3, Kind::Text),
        f("attributes", 4, Kind::Repeated(&KEY_VALUE)),
        f("droppedAttributesCount", 5, Kind::Uint32),
        f("flags", 6, Kind::Fixed32),
    ],
);

static STATUS: Schema = Schema::new("Status", &[f("message", 2, Kind::Text), f("code", 3, Kind::Enum)]);

static KEY_VALUE: Schema =
    Schema::new("KeyValue", &[f("key", 1, Kind::Text), f("value", 2, Kind::Message(&ANY_VALUE))]);

static ANY_VALUE: Schema = Schema {
    name: "AnyValue",
    fields: &[
        f("stringValue", 1, Kind::Text),
        f("boolValue", 2, Kind::Bool),
        f("intValue", 3, Kind::Int64),
        f("doubleValue", 4, Kind::Double),
        f("arrayValue", 5, Kind::Message(&ARRAY_VALUE)),
        f("kvlistValue", 6, Kind::Message(&KEY_VALUE_LIST)),
        f("bytesValue", 7, Kind::Base64),
    ],
    oneof: true,
};

static ARRAY_VALUE: Schema = Schema::new("ArrayValue", &[f("values", 1, Kind::Repeated(&ANY_VALUE))]);

static KEY_VALUE_LIST: Schema = Schema::new("KeyValueList", &[f("values", 1, Kind::Repeated(&KEY_VALUE))]);
