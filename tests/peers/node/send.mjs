// Sends traces with the OpenTelemetry SDK for Node and writes down, from the SDK's own span objects, what it sent.

import { writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { ROOT_CONTEXT, SpanKind, SpanStatusCode, TraceFlags, createTraceState, trace } from '@opentelemetry/api';
import { OTLPTraceExporter as JsonExporter } from '@opentelemetry/exporter-trace-otlp-http';
import { OTLPTraceExporter as ProtobufExporter } from '@opentelemetry/exporter-trace-otlp-proto';
import { resourceFromAttributes } from '@opentelemetry/resources';
import { BatchSpanProcessor, RandomIdGenerator } from '@opentelemetry/sdk-trace-base';
import { NodeTracerProvider } from '@opentelemetry/sdk-trace-node';

const HAS_IS_REMOTE = 0x100;
const IS_REMOTE = 0x200;
const ATTRIBUTES_MAX = 40;

const { values: args } = parseArgs({
  options: { protocol: { type: 'string' }, endpoint: { type: 'string' }, out: { type: 'string' } },
});

// Every type of attribute that the SDK lets pass. JavaScript has one kind of number: whole ones are sent as integers.
const everyType = {
  string: 'text',
  'string.empty': '',
  'string.unicode': 'žluťoučký kůň 雨傘 🦀 \u0000 " \\ \n',
  'string.long': 'x'.repeat(10_000),
  'bool.true': true,
  'bool.false': false,
  int: 42,
  'int.zero': 0,
  'int.negative': -7,
  'int.2^53-1': Number.MAX_SAFE_INTEGER,
  'int.beyond.2^53': 2 ** 53 + 4096,
  'int.large': 2 ** 62,
  'int.large.negative': -(2 ** 62),
  double: 3.141592653589793,
  'double.tiny': 5e-324,
  'double.negative': -0.1,
  'array.string': ['a', '', '雨傘'],
  'array.bool': [true, false],
  'array.int': [1, -1, 2 ** 53 + 4096],
  'array.double': [0.5, -2.25, 1e-300],
  'array.empty': [],
  ключ: 'a key that is not ASCII',
  'http.route': '/login',
  'http.response.status_code': 404,
  'db.system.name': 'postgresql',
};

class WritesDown {
  spans = [];
  constructor(exporter) {
    this.exporter = exporter;
  }
  export(spans, done) {
    this.exporter.export(spans, (result) => {
      if (result.code !== 0) {
        console.error('export failed', result.error);
        process.exit(1);
      }
      this.spans.push(...spans);
      done(result);
    });
  }
  shutdown() {
    return this.exporter.shutdown();
  }
  forceFlush() {
    return this.exporter.forceFlush();
  }
}

const integerText = (number) =>
  // In JSON the number is written in its shortest form, and that is the integer the other side reads.
  args.protocol === 'http/json' ? JSON.stringify(number) : BigInt(number).toString();

function value(v) {
  if (v === null || v === undefined) return ['empty'];
  if (typeof v === 'boolean') return ['bool', v];
  if (typeof v === 'string') return ['string', v];
  if (typeof v === 'number') return Number.isInteger(v) ? ['int', integerText(v)] : ['double', String(v)];
  if (v instanceof Uint8Array) return ['bytes', Buffer.from(v).toString('hex')];
  if (Array.isArray(v)) return ['array', v.map(value)];
  return ['kvlist', attributes(v)];
}

const attributes = (of) => Object.fromEntries(Object.entries(of ?? {}).map(([key, v]) => [key, value(v)]));
const nanos = ([seconds, nano]) => (BigInt(seconds) * 1_000_000_000n + BigInt(nano)).toString();
const flags = (traceFlags, isRemote) => (traceFlags & 0xff) | HAS_IS_REMOTE | (isRemote ? IS_REMOTE : 0);

function written(span) {
  const context = span.spanContext();
  const scope = span.instrumentationScope;
  return {
    trace_id: context.traceId,
    span_id: context.spanId,
    parent_span_id: span.parentSpanContext?.spanId ?? '',
    trace_state: context.traceState?.serialize() ?? '',
    flags: flags(context.traceFlags, span.parentSpanContext?.isRemote),
    name: span.name,
    kind: span.kind + 1,
    start: nanos(span.startTime),
    end: nanos(span.endTime),
    attributes: attributes(span.attributes),
    dropped_attributes: span.droppedAttributesCount,
    events: span.events.map((event) => ({
      name: event.name,
      time: nanos(event.time),
      attributes: attributes(event.attributes),
      dropped_attributes: event.droppedAttributesCount ?? 0,
    })),
    dropped_events: span.droppedEventsCount,
    links: span.links.map((link) => ({
      trace_id: link.context.traceId,
      span_id: link.context.spanId,
      trace_state: link.context.traceState?.serialize() ?? '',
      flags: flags(link.context.traceFlags, link.context.isRemote),
      attributes: attributes(link.attributes),
      dropped_attributes: link.droppedAttributesCount ?? 0,
    })),
    dropped_links: span.droppedLinksCount,
    status: { code: span.status.code, message: span.status.message ?? '' },
    resource: { attributes: attributes(span.resource.attributes), schema_url: span.resource.schemaUrl ?? '' },
    scope: {
      name: scope.name,
      version: scope.version ?? '',
      schema_url: scope.schemaUrl ?? '',
      attributes: attributes(scope.attributes),
    },
  };
}

const ids = new RandomIdGenerator();
const inside = (span) => trace.setSpan(ROOT_CONTEXT, span);

function remoteContext() {
  return {
    traceId: ids.generateTraceId(),
    spanId: ids.generateSpanId(),
    isRemote: true,
    traceFlags: TraceFlags.SAMPLED,
    traceState: createTraceState('congo=t61rcWkgMzE,rojo=00f067aa0ba902b7'),
  };
}

// Two traces: one whose parent is elsewhere, and one with a root that links to it.
function tell(provider) {
  const one = provider.getTracer('peer.scope.one', '1.2.3', {
    schemaUrl: 'https://opentelemetry.io/schemas/1.36.0',
    attributes: { 'scope.string': 's', 'scope.array': ['a', 'b'] },
  });
  const two = provider.getTracer('peer.scope.two');

  const parent = trace.setSpanContext(ROOT_CONTEXT, remoteContext());
  const away = one.startSpan('away', { kind: SpanKind.SERVER, attributes: everyType }, parent);
  away.addEvent('every type', everyType);
  away.addEvent('none');
  for (const kind of [0, 1, 2, 3, 4]) {
    const child = two.startSpan(`kind ${SpanKind[kind]} — ünïcode`, { kind }, inside(away));
    child.setAttribute('kind', SpanKind[kind]);
    child.end();
  }
  const fails = one.startSpan('fails', {}, inside(away));
  fails.recordException(new TypeError('broken on purpose: „quotes“\nand lines'));
  fails.setStatus({ code: SpanStatusCode.ERROR, message: 'broken on purpose' });
  fails.end();
  const fine = two.startSpan('fine', {}, inside(away));
  fine.setStatus({ code: SpanStatusCode.OK });
  fine.end();
  const much = two.startSpan('too much', {}, inside(away));
  for (let n = 0; n < ATTRIBUTES_MAX + 7; n += 1) much.setAttribute(`k${n}`, n);
  much.end();
  away.end();

  const links = [{ context: away.spanContext(), attributes: everyType }, { context: remoteContext() }];
  const root = one.startSpan('root', { kind: SpanKind.CONSUMER, links, root: true });
  deep(two, root, 30);
  root.setStatus({ code: SpanStatusCode.ERROR, message: 'gave up' });
  root.end();
}

function deep(tracer, parent, levels) {
  const span = tracer.startSpan(`level ${levels}`, {}, inside(parent));
  if (levels > 1) deep(tracer, span, levels - 1);
  span.end();
}

const Exporter = args.protocol === 'http/json' ? JsonExporter : ProtobufExporter;
const remembers = new WritesDown(new Exporter({ url: `${args.endpoint}/v1/traces` }));
const provider = new NodeTracerProvider({
  resource: resourceFromAttributes(
    {
      'service.name': 'peer-node',
      'service.version': '1.0',
      'r.int': 2 ** 53 + 4096,
      'r.double': 0.1,
      'r.bool': true,
      'r.array': ['x', '雨傘'],
      'r.unicode': 'žluť',
    },
    { schemaUrl: 'https://opentelemetry.io/schemas/1.37.0' },
  ),
  spanLimits: { attributeCountLimit: ATTRIBUTES_MAX },
  spanProcessors: [new BatchSpanProcessor(remembers)],
});
tell(provider);
await provider.forceFlush();
await provider.shutdown();
writeFileSync(args.out, JSON.stringify({ spans: remembers.spans.map(written) }, null, 1));
