package load

import (
	"testing"
	"time"
)

// TestParseWrk reads the line that the script prints at the end of the output of wrk.
func TestParseWrk(t *testing.T) {
	const head = `Running 1s test @ http://127.0.0.1:8080/1k.txt
  1 threads and 100 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency   804.00us    3.10ms  93.30ms   98.01%
  57120 requests in 1.00s, 71.01MB read
`
	const line = "bench: us=1004211 requests=57120 bytes=74423424 p50=804 p90=1013 p99=7560 max=93300 connect=1 read=2 write=3 status=4 timeout=5\n"
	got, err := parseWrk(head + line)
	want := WrkRun{
		Elapsed: 1004211 * time.Microsecond, Responses: 57120, Bytes: 74423424, Errors: 15,
		P50: 804 * time.Microsecond, P90: 1013 * time.Microsecond, P99: 7560 * time.Microsecond, Max: 93300 * time.Microsecond,
	}
	if err != nil || got != want {
		t.Errorf("%+v, %v, want %+v", got, err, want)
	}
	for _, bad := range []string{"", head, "bench: us=1 requests=many", head + line[:40]} {
		if got, err := parseWrk(bad); err == nil {
			t.Errorf("%q: %+v, want an error", bad, got)
		}
	}
}
