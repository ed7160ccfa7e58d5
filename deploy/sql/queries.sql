-- Questions to the tables, after the views `spans` and `traces` are made (README.md tells how). The same text runs in DuckDB, Spark
-- and deltalake's QueryBuilder. On a large table keep the line with `date`: without it every file is read.

-- Error rate by service and route, of all spans and not only of those kept: each counts as many as it stands for.
SELECT service_name, http_route,
       sum(adjusted_count) AS requests,
       sum(CASE WHEN status_code = 'error' THEN adjusted_count ELSE 0 END) / sum(adjusted_count) AS error_rate
FROM spans
WHERE kind = 'server' AND date >= current_date - INTERVAL '1' DAY
GROUP BY service_name, http_route
ORDER BY error_rate DESC, requests DESC
LIMIT 20;

-- 99th percentile of the duration by route, by adjusted counts: the shortest duration below which 99 % of all requests are.
SELECT service_name, http_route, min(duration_nano) / 1e6 AS p99_ms, max(total) AS requests
FROM (SELECT service_name, http_route, duration_nano,
             sum(adjusted_count) OVER (PARTITION BY service_name, http_route ORDER BY duration_nano) AS so_far,
             sum(adjusted_count) OVER (PARTITION BY service_name, http_route) AS total
      FROM spans
      WHERE kind = 'server' AND date >= current_date - INTERVAL '1' DAY) AS ordered
WHERE so_far >= 0.99 * total
GROUP BY service_name, http_route
ORDER BY p99_ms DESC
LIMIT 20;

-- One trace. Files are sorted by trace id and have its minimum and maximum in the table's log, so few are read.
SELECT start_time, service_name, name, kind, duration_nano / 1e6 AS ms, status_code, span_id, parent_span_id
FROM spans
WHERE trace_id = '00000000000000000000000000000000'
ORDER BY start_time_unix_nano;

-- The slowest traces with an error.
SELECT trace_id, min(start_time) AS started, max(duration_nano) / 1e6 AS ms, sum(span_count) AS spans, sum(error_count) AS errors
FROM traces
WHERE date >= current_date - INTERVAL '1' DAY
GROUP BY trace_id
HAVING sum(error_count) > 0
ORDER BY ms DESC
LIMIT 20;

-- The spans of a user: any attribute without a column of its own is in the map.
SELECT start_time, trace_id, service_name, name, attributes['user.id'] AS user_id
FROM spans
WHERE attributes['user.id'] = '42' AND date >= current_date - INTERVAL '1' DAY
ORDER BY start_time_unix_nano DESC
LIMIT 100;

-- What is stored, by retention class, rule and day.
SELECT retention, rule, date, count(*) AS spans, sum(adjusted_count) AS stands_for
FROM spans
GROUP BY retention, rule, date
ORDER BY date DESC, retention, rule;
