// Sends traces with the OpenTelemetry SDK for Go and writes down, from the SDK's own span objects, what it sent.
package main

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log"
	"math"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/sdk/resource"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

const (
	hasIsRemote   = 0x100
	isRemote      = 0x200
	attributesMax = 40
)

// Every type of attribute that the SDK has.
func everyType() []attribute.KeyValue {
	every := make([]byte, 256)
	for i := range every {
		every[i] = byte(i)
	}
	return []attribute.KeyValue{
		attribute.String("string", "text"),
		attribute.String("string.empty", ""),
		attribute.String("string.unicode", "žluťoučký kůň 雨傘 🦀 \x00 \" \\ \n"),
		attribute.String("string.long", strings.Repeat("x", 10_000)),
		attribute.Bool("bool.true", true),
		attribute.Bool("bool.false", false),
		attribute.Int64("int", 42),
		attribute.Int64("int.zero", 0),
		attribute.Int64("int.beyond.2^53", 1<<53+1),
		attribute.Int64("int.max", math.MaxInt64),
		attribute.Int64("int.min", math.MinInt64),
		attribute.Float64("double", math.Pi),
		attribute.Float64("double.whole", 1),
		attribute.Float64("double.tiny", math.SmallestNonzeroFloat64),
		attribute.Float64("double.huge", math.MaxFloat64),
		attribute.Float64("double.negative.zero", math.Copysign(0, -1)),
		attribute.Float64("double.infinity", math.Inf(-1)),
		attribute.Float64("double.nan", math.NaN()),
		attribute.StringSlice("array.string", []string{"a", "", "雨傘"}),
		attribute.BoolSlice("array.bool", []bool{true, false}),
		attribute.Int64Slice("array.int", []int64{1, -1, 1<<53 + 1}),
		attribute.Float64Slice("array.double", []float64{0.5, -2, 1e300}),
		attribute.StringSlice("array.empty", []string{}),
		attribute.ByteSlice("bytes", every),
		attribute.ByteSlice("bytes.empty", []byte{}),
		attribute.Slice("array.mixed", attribute.StringValue("a"), attribute.Int64Value(1<<53+1),
			attribute.SliceValue(attribute.BoolValue(true)), attribute.Value{}),
		attribute.Map("map", attribute.String("a", "b"), attribute.Map("inner", attribute.Float64("c", 2)),
			attribute.ByteSlice("d", []byte{0, 255})),
		{Key: "empty"},
		attribute.String("ключ", "a key that is not ASCII"),
		attribute.String("http.route", "/login"),
		attribute.Int("http.response.status_code", 404),
		attribute.String("db.system.name", "postgresql"),
	}
}

// writesDown hands spans on to the real exporter, and remembers those it took.
type writesDown struct {
	sdk.SpanExporter
	mu    sync.Mutex
	spans []any
}

func (w *writesDown) ExportSpans(ctx context.Context, spans []sdk.ReadOnlySpan) error {
	if err := w.SpanExporter.ExportSpans(ctx, spans); err != nil {
		log.Fatalf("export failed: %v", err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, span := range spans {
		w.spans = append(w.spans, written(span))
	}
	return nil
}

type object = map[string]any

func value(v attribute.Value) []any {
	list := func(count int, at func(int) attribute.Value) []any {
		items := make([]any, count)
		for i := range items {
			items[i] = value(at(i))
		}
		return []any{"array", items}
	}
	switch v.Type() {
	case attribute.STRING:
		return []any{"string", v.AsString()}
	case attribute.BOOL:
		return []any{"bool", v.AsBool()}
	case attribute.INT64:
		return []any{"int", strconv.FormatInt(v.AsInt64(), 10)}
	case attribute.FLOAT64:
		return []any{"double", strconv.FormatFloat(v.AsFloat64(), 'g', -1, 64)}
	case attribute.BYTESLICE:
		return []any{"bytes", hex.EncodeToString(v.AsByteSlice())}
	case attribute.STRINGSLICE:
		items := v.AsStringSlice()
		return list(len(items), func(i int) attribute.Value { return attribute.StringValue(items[i]) })
	case attribute.BOOLSLICE:
		items := v.AsBoolSlice()
		return list(len(items), func(i int) attribute.Value { return attribute.BoolValue(items[i]) })
	case attribute.INT64SLICE:
		items := v.AsInt64Slice()
		return list(len(items), func(i int) attribute.Value { return attribute.Int64Value(items[i]) })
	case attribute.FLOAT64SLICE:
		items := v.AsFloat64Slice()
		return list(len(items), func(i int) attribute.Value { return attribute.Float64Value(items[i]) })
	case attribute.SLICE:
		items := v.AsSlice()
		return list(len(items), func(i int) attribute.Value { return items[i] })
	case attribute.MAP:
		return []any{"kvlist", attributes(v.AsMap())}
	case attribute.EMPTY:
		return []any{"empty"}
	}
	panic(fmt.Sprintf("a type that this test does not know: %v", v.Type()))
}

func attributes(of []attribute.KeyValue) object {
	all := object{}
	for _, kv := range of {
		all[string(kv.Key)] = value(kv.Value)
	}
	return all
}

func flagsOf(traceFlags trace.TraceFlags, parent trace.SpanContext) int {
	flags := int(traceFlags) | hasIsRemote
	if parent.IsRemote() {
		flags |= isRemote
	}
	return flags
}

func nanos(t time.Time) string { return strconv.FormatInt(t.UnixNano(), 10) }

func written(span sdk.ReadOnlySpan) object {
	parent := ""
	if span.Parent().SpanID().IsValid() {
		parent = span.Parent().SpanID().String()
	}
	events, links := []any{}, []any{}
	for _, event := range span.Events() {
		events = append(events, object{
			"name": event.Name, "time": nanos(event.Time),
			"attributes": attributes(event.Attributes), "dropped_attributes": event.DroppedAttributeCount,
		})
	}
	for _, link := range span.Links() {
		links = append(links, object{
			"trace_id": link.SpanContext.TraceID().String(), "span_id": link.SpanContext.SpanID().String(),
			"trace_state": "", // The exporter does not send it.
			"flags":       flagsOf(link.SpanContext.TraceFlags(), link.SpanContext),
			"attributes":  attributes(link.Attributes), "dropped_attributes": link.DroppedAttributeCount,
		})
	}
	// OTLP's numbers of the codes are not the SDK's.
	code := map[codes.Code]int{codes.Unset: 0, codes.Ok: 1, codes.Error: 2}[span.Status().Code]
	scope := span.InstrumentationScope()
	return object{
		"trace_id": span.SpanContext().TraceID().String(), "span_id": span.SpanContext().SpanID().String(),
		"parent_span_id": parent, "trace_state": span.SpanContext().TraceState().String(),
		"flags": flagsOf(span.SpanContext().TraceFlags(), span.Parent()),
		"name":  span.Name(), "kind": int(span.SpanKind()),
		"start": nanos(span.StartTime()), "end": nanos(span.EndTime()),
		"attributes": attributes(span.Attributes()), "dropped_attributes": span.DroppedAttributes(),
		"events": events, "dropped_events": span.DroppedEvents(),
		"links": links, "dropped_links": span.DroppedLinks(),
		"status":   object{"code": code, "message": span.Status().Description},
		"resource": object{"attributes": attributes(span.Resource().Attributes()), "schema_url": span.Resource().SchemaURL()},
		"scope": object{
			"name": scope.Name, "version": scope.Version, "schema_url": scope.SchemaURL,
			"attributes": attributes(scope.Attributes.ToSlice()),
		},
	}
}

func remote() trace.SpanContext {
	state, err := trace.ParseTraceState("congo=t61rcWkgMzE,rojo=00f067aa0ba902b7")
	if err != nil {
		log.Fatal(err)
	}
	now := uint64(time.Now().UnixNano())
	config := trace.SpanContextConfig{TraceFlags: trace.FlagsSampled, TraceState: state, Remote: true}
	for i := range 8 {
		config.TraceID[i] = byte(now >> (8 * i))
		config.TraceID[8+i] = byte(now >> (8*i + 4))
		config.SpanID[i] = byte(^now >> (8 * i))
	}
	return trace.NewSpanContext(config)
}

// tell makes two traces: one whose parent is elsewhere, and one with a root that links to it.
func tell(provider trace.TracerProvider) {
	one := provider.Tracer("peer.scope.one", trace.WithInstrumentationVersion("1.2.3"),
		trace.WithSchemaURL("https://opentelemetry.io/schemas/1.36.0"),
		trace.WithInstrumentationAttributes(attribute.String("scope.string", "s"), attribute.Int64("scope.int", 1<<53+1)))
	two := provider.Tracer("peer.scope.two")

	ctx := trace.ContextWithRemoteSpanContext(context.Background(), remote())
	ctx, away := one.Start(ctx, "away", trace.WithSpanKind(trace.SpanKindServer), trace.WithAttributes(everyType()...))
	away.AddEvent("every type", trace.WithAttributes(everyType()...))
	away.AddEvent("none")
	for _, kind := range []trace.SpanKind{1, 2, 3, 4, 5} {
		_, child := two.Start(ctx, "kind "+kind.String()+" — ünïcode", trace.WithSpanKind(kind))
		child.SetAttributes(attribute.String("kind", kind.String()))
		child.End()
	}
	_, fails := one.Start(ctx, "fails")
	fails.RecordError(errors.New("broken on purpose: „quotes“\nand lines"), trace.WithStackTrace(true))
	fails.SetStatus(codes.Error, "broken on purpose")
	fails.End()
	_, fine := two.Start(ctx, "fine")
	fine.SetStatus(codes.Ok, "")
	fine.End()
	_, much := two.Start(ctx, "too much")
	for n := range attributesMax + 7 {
		much.SetAttributes(attribute.Int(fmt.Sprintf("k%d", n), n))
	}
	much.End()
	away.End()

	links := trace.WithLinks(trace.Link{SpanContext: away.SpanContext(), Attributes: everyType()}, trace.Link{SpanContext: remote()})
	ctx, root := one.Start(context.Background(), "root", trace.WithSpanKind(trace.SpanKindConsumer), links)
	deep(ctx, two, 30)
	root.SetStatus(codes.Error, "gave up")
	root.End()
}

func deep(ctx context.Context, tracer trace.Tracer, levels int) {
	ctx, span := tracer.Start(ctx, fmt.Sprintf("level %d", levels))
	defer span.End()
	if levels > 1 {
		deep(ctx, tracer, levels-1)
	}
}

func main() {
	_ = flag.String("protocol", "grpc", "always gRPC")
	endpoint := flag.String("endpoint", "", "http://host:port or https://host:port")
	out := flag.String("out", "", "what was sent is written here")
	flag.Parse()

	ctx := context.Background()
	// An https endpoint takes its CA, certificate and headers from the environment.
	exporter, err := otlptracegrpc.New(ctx, otlptracegrpc.WithEndpointURL(*endpoint), otlptracegrpc.WithCompressor("gzip"))
	if err != nil {
		log.Fatal(err)
	}
	remembers := &writesDown{SpanExporter: exporter}
	about := resource.NewWithAttributes("https://opentelemetry.io/schemas/1.37.0",
		attribute.String("service.name", "peer-go"), attribute.Int64("r.int", 1<<53+1), attribute.Float64("r.double", 0.1),
		attribute.Bool("r.bool", true), attribute.StringSlice("r.array", []string{"x", "雨傘"}), attribute.String("r.unicode", "žluť"))
	limits := sdk.NewSpanLimits()
	limits.AttributeCountLimit = attributesMax
	provider := sdk.NewTracerProvider(sdk.WithSyncer(remembers), sdk.WithResource(about), sdk.WithRawSpanLimits(limits))
	tell(provider)
	if err := provider.Shutdown(ctx); err != nil {
		log.Fatal(err)
	}
	text, err := json.MarshalIndent(object{"spans": remembers.spans}, "", " ")
	if err != nil {
		log.Fatal(err)
	}
	if err := os.WriteFile(*out, text, 0o600); err != nil {
		log.Fatal(err)
	}
}
