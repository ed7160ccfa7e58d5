#!/usr/bin/env bash
# Runs one load against Tracewell and against the OpenTelemetry Collector, one after the other on this machine, and
# prints what each cost. benches/README.md says what the figures mean.
#
#   benches/peers.sh [sample|store|agent] [--only tracewell|collector] [--prepare] [options of the load, such as --spans N]
#
#   sample   tail sampling: errors, slower than 500 ms, /login and /upload, 1 % of the rest (default)
#   store    everything is kept: the Collector's file exporter, Tracewell's table
#   agent    everything goes on to a gateway, a Collector that drops it: from the Collector's queue in memory, from Tracewell's log
#   --prepare only builds what is needed
set -euo pipefail
cd "$(dirname "$0")/.."

VERSION=0.161.0
CACHE="${XDG_CACHE_HOME:-$HOME/.cache}/tracewell/peers"
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/tracewell/target}"
GRPC=127.0.0.1:14317 HTTP=127.0.0.1:14318 API=127.0.0.1:13200 SINK=127.0.0.1:14327

mode=sample only= prepare= load_options=()
while [ $# -gt 0 ]; do
    case "$1" in
    sample | store | agent) mode=$1 ;;
    --only) only=$2 && shift ;;
    --prepare) prepare=1 ;;
    -h | --help) sed -n '2,11s/^# \{0,1\}//p' "$0" && exit ;;
    *) load_options+=("$1") ;;
    esac
    shift
done

# The Collector with just these components, by its own builder.
build_collector() {
    local built="$CACHE/bin/otelcol-peer" folder="$CACHE/otelcol"
    [ -x "$built" ] && "$built" --version | grep -qF "$VERSION" &&
        "$built" components | sed -n '/^exporters/,/^connectors/p' | grep -q 'name: otlp' && return
    command -v go >/dev/null || { echo "SKIPPED: the Collector (Go is not installed)" >&2 && return 1; }
    echo "building the Collector $VERSION into $CACHE" >&2
    mkdir -p "$folder" "$CACHE/bin"
    local core="go.opentelemetry.io/collector" contrib="github.com/open-telemetry/opentelemetry-collector-contrib"
    cat >"$folder/builder.yaml" <<YAML
dist: { name: otelcol-peer, output_path: ./dist, version: $VERSION }
receivers:
  - gomod: $core/receiver/otlpreceiver v$VERSION
processors:
  - gomod: $core/processor/batchprocessor v$VERSION
  - gomod: $contrib/processor/attributesprocessor v$VERSION
  - gomod: $contrib/processor/tailsamplingprocessor v$VERSION
exporters:
  - gomod: $core/exporter/debugexporter v$VERSION
  - gomod: $core/exporter/nopexporter v$VERSION
  - gomod: $core/exporter/otlpexporter v$VERSION
  - gomod: $contrib/exporter/fileexporter v$VERSION
YAML
    (
        cd "$folder"
        GOBIN="$CACHE/bin" go install "$core/cmd/builder@v$VERSION"
        "$CACHE/bin/builder" --config builder.yaml --skip-compilation
        cd dist && go build -trimpath -ldflags="-s -w" -o "$built" .
    )
}

build_load() {
    cargo bench --locked --bench load --no-run --message-format=json 2>/dev/null |
        sed -n 's/.*"executable":"\([^"]*\/load-[^"]*\)".*/\1/p'
}

# The same work for both: a span attribute added, one deleted, and four policies after 5 s.
write_configs() {
    local receiver="otlp: { protocols: { grpc: { endpoint: $GRPC, max_recv_msg_size_mib: 64 } } }"
    local exporter="file: { path: $1/collector/spans.bin, format: proto, compression: zstd }"
    mkdir -p "$1/collector"
    cat >"$1/collector-sample.yaml" <<YAML
receivers: { $receiver }
processors:
  attributes:
    actions:
      - { action: insert, key: bench.run, value: sample }
      - { action: delete, key: network.protocol.version }
  tail_sampling:
    decision_wait: 5s
    num_traces: 1000000
    policies:
      - { name: errors, type: status_code, status_code: { status_codes: [ERROR] } }
      - { name: slow, type: latency, latency: { threshold_ms: 500 } }
      - { name: pinned, type: string_attribute, string_attribute: { key: http.route, values: [/login, /upload] } }
      - { name: baseline, type: probabilistic, probabilistic: { sampling_percentage: 1 } }
exporters: { $exporter }
service:
  telemetry: { metrics: { level: none }, logs: { level: error } }
  pipelines: { traces: { receivers: [otlp], processors: [attributes, tail_sampling], exporters: [file] } }
YAML
    cat >"$1/collector-store.yaml" <<YAML
receivers: { $receiver }
exporters: { $exporter }
service:
  telemetry: { metrics: { level: none }, logs: { level: error } }
  pipelines: { traces: { receivers: [otlp], exporters: [file] } }
YAML
    cat >"$1/collector-agent.yaml" <<YAML
receivers: { $receiver }
processors:
  attributes:
    actions:
      - { action: insert, key: bench.run, value: agent }
      - { action: delete, key: network.protocol.version }
exporters:
  otlp: { endpoint: "$SINK", tls: { insecure: true }, compression: none, sending_queue: { enabled: true, queue_size: 10000 } }
service:
  telemetry: { metrics: { level: none }, logs: { level: error } }
  pipelines: { traces: { receivers: [otlp], processors: [attributes], exporters: [otlp] } }
YAML
    cat >"$1/sink.yaml" <<YAML
receivers: { otlp: { protocols: { grpc: { endpoint: $SINK, max_recv_msg_size_mib: 64 } } } }
exporters: { nop: {} }
service:
  telemetry: { metrics: { level: none }, logs: { level: error } }
  pipelines: { traces: { receivers: [otlp], exporters: [nop] } }
YAML
    cat >"$1/tracewell-agent.yaml" <<YAML
role: agent
gateways: { static: ["$SINK"] }
enrich:
  actions:
    - { action: insert, key: bench.run, value: agent }
    - { action: delete, key: network.protocol.version }
YAML
    cat >"$1/tracewell-sample.yaml" <<YAML
enrich:
  actions:
    - { action: insert, key: bench.run, value: sample }
    - { action: delete, key: network.protocol.version }
YAML
    echo "{}" >"$1/tracewell-store.yaml"
    cat >"$1/rules-sample.yaml" <<YAML
version: 1
decision: { wait: 5s, after_root: 5s }
rules:
  - { name: errors, when: '{ status = error }', keep: 100% }
  - { name: slow, when: '{ traceDuration > 500ms }', keep: 100% }
  - { name: pinned, when: '{ span.http.route =~ "/login|/upload" }', keep: 100% }
  - { name: baseline, keep: 1% }
YAML
    cat >"$1/rules-store.yaml" <<YAML
version: 1
decision: { wait: 5s, after_root: 5s }
rules: [{ name: everything, keep: 100% }]
YAML
    cp "$1/rules-store.yaml" "$1/rules-agent.yaml"
}

run_load() { # label, command that starts the server
    "$load" --endpoint "http://$GRPC" --label "$1" --settle 12 --start "$2" \
        ${load_options[@]+"${load_options[@]}"}
}

if [ "$only" != tracewell ]; then build_collector || only=tracewell; fi
load=$(build_load)
[ -x "$load" ] || { echo "the load does not build: cargo bench --bench load --no-run" >&2 && exit 1; }
if [ "$only" != collector ]; then cargo build --locked --release --bin tracewell; fi
[ -z "$prepare" ] || exit 0

# Not in /tmp, which may be memory: fsync has to cost what it costs.
work=$(mktemp -d "$CACHE/run-XXXXXX")
sink=
trap '[ -z "$sink" ] || kill $sink; rm -rf "$work"' EXIT
write_configs "$work"
if [ "$mode" = agent ]; then
    "$CACHE/bin/otelcol-peer" --config "$work/sink.yaml" & sink=$!
    until (exec 3<>"/dev/tcp/${SINK%:*}/${SINK#*:}") 2>/dev/null; do sleep 0.1; done
fi
nproc | sed 's/^/cores shared by sender and server: /'
if [ "$only" != tracewell ]; then
    run_load "OpenTelemetry Collector $VERSION, $mode" "$CACHE/bin/otelcol-peer --config $work/collector-$mode.yaml"
    du -sm "$work/collector" | awk '{ print "  on disk                      " $1 " MiB" }'
fi
if [ "$only" != collector ]; then
    run_load "Tracewell, $mode" "env -u TRACE_DEBUG $CARGO_TARGET_DIR/release/tracewell run --grpc $GRPC --http $HTTP \
        --api $API --data $work/data --config $work/tracewell-$mode.yaml --rules $work/rules-$mode.yaml 2>$work/tracewell.log" ||
        { tail -20 "$work/tracewell.log" >&2 && exit 1; }
    du -sm "$work/data" | awk '{ print "  on disk, log included        " $1 " MiB" }'
fi
