//! The web shop of the demo: which services a visit passes through, and what goes wrong there.

use fastrand::Rng;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;

use super::generate::{attribute, int, text};
use super::story::{Elsewhere, Story};

/// A service of the shop.
pub(super) struct Service {
    /// `service.name`.
    pub name: &'static str,
    /// `service.version`.
    pub version: &'static str,
    /// `telemetry.sdk.language`.
    pub language: &'static str,
    /// What instruments it; goes into the scope's name.
    pub framework: &'static str,
}

const FRONTEND: Service =
    Service { name: "frontend", version: "3.8.1", language: "nodejs", framework: "express" };
const CART: Service = Service { name: "cart", version: "1.14.0", language: "go", framework: "otelhttp" };
const CHECKOUT: Service =
    Service { name: "checkout", version: "2.3.0", language: "go", framework: "otelgrpc" };
const PAYMENT: Service =
    Service { name: "payment", version: "1.9.2", language: "java", framework: "grpc-1.6" };
const SEARCH: Service =
    Service { name: "search", version: "0.21.4", language: "python", framework: "fastapi" };
const INVENTORY: Service =
    Service { name: "inventory", version: "1.2.7", language: "java", framework: "jdbc" };

/// What a customer does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Visit {
    Home,
    Product,
    Search,
    Cart,
    Checkout,
    Login,
    Upload,
}

impl Visit {
    fn method(self) -> &'static str {
        match self {
            Self::Home | Self::Product | Self::Search => "GET",
            Self::Cart | Self::Checkout | Self::Login | Self::Upload => "POST",
        }
    }

    fn route(self) -> &'static str {
        match self {
            Self::Home => "/",
            Self::Product => "/product/{id}",
            Self::Search => "/search",
            Self::Cart => "/cart",
            Self::Checkout => "/checkout",
            Self::Login => "/login",
            Self::Upload => "/upload",
        }
    }
}

/// How a visit ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Well,
    Slow,
    Error,
}

/// One customer's request to the frontend.
pub(super) fn visit(rng: &mut Rng, visit: Visit, fate: Fate) -> Story<'_> {
    let product = rng.u32(1..400);
    let user = rng.u32(1..5_000);
    let (method, route) = (visit.method(), visit.route());
    let path = route.replace("{id}", &product.to_string());
    let attributes = vec![
        attribute("http.request.method", text(method)),
        attribute("http.route", text(route)),
        attribute("url.path", text(path)),
        attribute("url.scheme", text("https")),
        attribute("server.address", text("shop.example.com")),
        attribute("client.address", text(format!("203.0.113.{}", rng.u8(1..255)))),
        attribute("user_agent.original", text("Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Firefox/140.0")),
        attribute("user.id", text(format!("user-{user:04}"))),
    ];
    let mut story = Story::new(rng);
    story.span(&FRONTEND, SpanKind::Server, format!("{method} {route}"), attributes, |s| {
        s.work(300..1_500);
        match visit {
            Visit::Home => home(s, fate),
            Visit::Product => call_inventory(s, &FRONTEND, product, fate),
            Visit::Search => find(s, fate),
            Visit::Cart => cart(s, product, fate),
            Visit::Checkout => checkout(s, product, fate),
            Visit::Login => login(s, fate),
            Visit::Upload => upload(s, fate),
        }
        render(s);
        let code = if fate == Fate::Error { 500 } else { 200 };
        s.set("http.response.status_code", int(code));
        if fate == Fate::Error {
            s.set("error.type", text("500"));
            s.fail("");
        }
    });
    story
}

/// The queue's consumer fulfils orders that other traces produced: a trace of its own that links to them.
pub(super) fn fulfil<'r>(rng: &'r mut Rng, orders: &[Elsewhere]) -> Story<'r> {
    let mut story = Story::new(rng);
    let attributes = messaging("process", Some(orders.len()));
    story.span(&INVENTORY, SpanKind::Consumer, "process orders", attributes, |s| {
        for (offset, order) in (0_i64..).zip(orders) {
            s.link(order, vec![attribute("messaging.kafka.offset", int(offset))]);
        }
        for _ in orders {
            s.work(200..900);
            query(s, &INVENTORY, "UPDATE", "stock", Fate::Well);
        }
    });
    story
}

fn home(s: &mut Story, fate: Fate) {
    s.both(|s| cache(s, &FRONTEND, "GET", fate), |s| call_inventory(s, &FRONTEND, 1, Fate::Well));
}

fn find(s: &mut Story, fate: Fate) {
    let term = ["lamp", "blue shoes", "café crème", "desk", "雨傘"][s.rng().usize(0..5)];
    http_call(s, &FRONTEND, &SEARCH, "GET", "/query", fate, |s| {
        s.set("shop.search.term", text(term));
        s.work(2_000..9_000);
        s.span(
            &SEARCH,
            SpanKind::Internal,
            "rank",
            vec![attribute("shop.search.model", text("bm25"))],
            |s| {
                s.work(1_000..20_000);
                let hits = s.rng().i64(0..200);
                s.event("ranked", vec![attribute("shop.search.hits", int(hits))]);
            },
        );
        query(s, &SEARCH, "SELECT", "products", fate);
    });
}

fn cart(s: &mut Story, product: u32, fate: Fate) {
    http_call(s, &FRONTEND, &CART, "POST", "/cart/items", fate, |s| {
        s.set("shop.product.id", int(i64::from(product)));
        s.work(300..1_200);
        cache(s, &CART, "HSET", fate);
        call_inventory(s, &CART, product, Fate::Well);
    });
}

fn checkout(s: &mut Story, product: u32, fate: Fate) {
    rpc_call(s, &FRONTEND, &CHECKOUT, "shop.Checkout", "PlaceOrder", fate, |s| {
        s.work(500..2_000);
        s.both(
            |s| {
                http_call(s, &CHECKOUT, &CART, "GET", "/cart", Fate::Well, |s| {
                    cache(s, &CART, "HGETALL", Fate::Well)
                })
            },
            |s| call_inventory(s, &CHECKOUT, product, Fate::Well),
        );
        rpc_call(s, &CHECKOUT, &PAYMENT, "shop.Payment", "Charge", fate, |s| charge(s, fate));
        if fate == Fate::Error {
            return;
        }
        query(s, &CHECKOUT, "INSERT", "orders", Fate::Well);
        s.span(&CHECKOUT, SpanKind::Producer, "send orders", messaging("send", None), |s| {
            s.work(400..2_500);
            s.order();
        });
    });
}

fn charge(s: &mut Story, fate: Fate) {
    let cents = s.rng().i64(490..89_900);
    s.set("shop.payment.currency", text("EUR"));
    s.set("shop.payment.amount_cents", int(cents));
    s.work(8_000..40_000);
    match fate {
        Fate::Well => {}
        Fate::Slow => s.work(600_000..2_200_000),
        Fate::Error => s.throw(
            "com.example.payment.ProviderUnavailableException",
            "provider answered 503 after 3 tries",
            "\tat com.example.payment.Provider.charge(Provider.java:118)\n\tat com.example.payment.PaymentService.charge(PaymentService.java:57)\n\tat io.grpc.stub.ServerCalls$UnaryServerCallHandler.invoke(ServerCalls.java:182)",
        ),
    }
}

fn login(s: &mut Story, fate: Fate) {
    query(s, &FRONTEND, "SELECT", "users", fate);
    s.span(&FRONTEND, SpanKind::Internal, "verify password", Vec::new(), |s| s.work(40_000..90_000));
    cache(s, &FRONTEND, "SETEX", Fate::Well);
}

fn upload(s: &mut Story, fate: Fate) {
    let bytes = s.rng().i64(20_000..4_000_000);
    s.set("http.request.body.size", int(bytes));
    s.span(&FRONTEND, SpanKind::Internal, "resize image", Vec::new(), |s| {
        s.work(30_000..120_000);
        if fate == Fate::Error {
            s.throw(
                "RangeError",
                "image is 0 pixels wide",
                "    at resize (/app/src/images.js:41:11)\n    at async upload (/app/src/routes/upload.js:23:5)",
            );
        }
    });
    let fate = if fate == Fate::Slow { Fate::Slow } else { Fate::Well };
    query(s, &FRONTEND, "INSERT", "images", fate);
}

fn render(s: &mut Story) {
    s.span(&FRONTEND, SpanKind::Internal, "render", Vec::new(), |s| s.work(500..6_000));
}

fn call_inventory(s: &mut Story, from: &'static Service, product: u32, fate: Fate) {
    rpc_call(s, from, &INVENTORY, "shop.Inventory", "GetStock", fate, |s| {
        s.set("shop.product.id", int(i64::from(product)));
        s.work(200..1_500);
        query(s, &INVENTORY, "SELECT", "stock", fate);
    });
}

/// A client span, and the server span within it on the other side.
fn http_call(
    s: &mut Story,
    from: &'static Service,
    to: &'static Service,
    method: &str,
    route: &str,
    fate: Fate,
    inside: impl FnOnce(&mut Story),
) {
    let code = int(if fate == Fate::Error { 500 } else { 200 });
    let client = vec![
        attribute("http.request.method", text(method)),
        attribute("url.full", text(format!("http://{}:8080{route}", to.name))),
        attribute("server.address", text(to.name)),
        attribute("server.port", int(8_080)),
        attribute("http.response.status_code", code.clone()),
    ];
    let server = vec![
        attribute("http.request.method", text(method)),
        attribute("http.route", text(route)),
        attribute("url.path", text(route)),
        attribute("http.response.status_code", code),
    ];
    call(s, from, to, [method.into(), format!("{method} {route}")], [client, server], fate, inside);
}

fn rpc_call(
    s: &mut Story,
    from: &'static Service,
    to: &'static Service,
    service: &str,
    method: &str,
    fate: Fate,
    inside: impl FnOnce(&mut Story),
) {
    let code: AnyValue = int(if fate == Fate::Error { 14 } else { 0 });
    let common = vec![
        attribute("rpc.system", text("grpc")),
        attribute("rpc.service", text(service)),
        attribute("rpc.method", text(method)),
        attribute("rpc.grpc.status_code", code),
    ];
    let mut client = common.clone();
    client.push(attribute("server.address", text(to.name)));
    let name = format!("{service}/{method}");
    call(s, from, to, [name.clone(), name], [client, common], fate, inside);
}

fn call(
    s: &mut Story,
    from: &'static Service,
    to: &'static Service,
    [client_name, server_name]: [String; 2],
    [client, server]: [Vec<KeyValue>; 2],
    fate: Fate,
    inside: impl FnOnce(&mut Story),
) {
    s.span(from, SpanKind::Client, client_name, client, |s| {
        s.work(150..900);
        s.span(to, SpanKind::Server, server_name, server, |s| {
            inside(s);
            s.work(50..300);
            if fate == Fate::Error {
                s.fail("");
            }
        });
        s.work(150..900);
        if fate == Fate::Error {
            s.fail(&format!("{} is unavailable", to.name));
        }
    });
}

fn query(s: &mut Story, service: &'static Service, verb: &str, table: &str, fate: Fate) {
    let statement = match verb {
        "SELECT" => format!("SELECT * FROM {table} WHERE id = $1"),
        "INSERT" => format!("INSERT INTO {table} VALUES ($1, $2, $3)"),
        _ => format!("UPDATE {table} SET amount = amount - 1 WHERE id = $1"),
    };
    let attributes = vec![
        attribute("db.system.name", text("postgresql")),
        attribute("db.namespace", text("shop")),
        attribute("db.operation.name", text(verb)),
        attribute("db.collection.name", text(table)),
        attribute("db.query.text", text(statement)),
        attribute("server.address", text("postgres")),
        attribute("server.port", int(5_432)),
    ];
    s.span(service, SpanKind::Client, format!("{verb} {table}"), attributes, |s| {
        s.work(400..6_000);
        match fate {
            Fate::Well => {}
            Fate::Slow => s.work(600_000..2_400_000),
            Fate::Error => {
                s.set("db.response.status_code", text("40P01"));
                s.throw(
                    "psycopg.errors.DeadlockDetected",
                    "deadlock detected",
                    "  File \"/app/store.py\", line 212, in fetch\n    cursor.execute(statement, parameters)\n  File \"/app/main.py\", line 88, in handle\n    return fetch(id)",
                );
            }
        }
    });
}

fn cache(s: &mut Story, service: &'static Service, verb: &str, fate: Fate) {
    let attributes = vec![
        attribute("db.system.name", text("redis")),
        attribute("db.operation.name", text(verb)),
        attribute("server.address", text("redis")),
        attribute("server.port", int(6_379)),
    ];
    s.span(service, SpanKind::Client, verb, attributes, |s| {
        s.work(100..700);
        match fate {
            Fate::Well => {}
            Fate::Slow => {
                s.event("retry", vec![attribute("retry.attempt", int(1))]);
                s.work(550_000..1_500_000);
            }
            Fate::Error => s.throw(
                "redis.TimeoutError",
                "i/o timeout",
                "goroutine 41 [running]:\nmain.(*Cart).Load(0xc0000b6000)\n\t/src/cart/store.go:77 +0x1a5\nmain.handle(0xc0001f2000)\n\t/src/cart/main.go:41 +0x9c",
            ),
        }
    });
}

fn messaging(operation: &str, batch: Option<usize>) -> Vec<KeyValue> {
    let mut attributes = vec![
        attribute("messaging.system", text("kafka")),
        attribute("messaging.destination.name", text("orders")),
        attribute("messaging.operation.type", text(operation)),
    ];
    let batch = batch.and_then(|count| i64::try_from(count).ok());
    attributes.extend(batch.map(|count| attribute("messaging.batch.message_count", int(count))));
    attributes
}
