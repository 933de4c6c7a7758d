package accesslog_test

import (
	"bytes"
	"io"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"fourways.example/common/accesslog"
	"fourways.example/common/h1"
)

func entry() *h1.Entry {
	return &h1.Entry{
		Peer:    netip.MustParseAddrPort("192.0.2.7:4711"),
		Time:    time.Date(2026, 11, 23, 5, 30, 0, 0, time.UTC),
		Took:    123 * time.Microsecond,
		Method:  []byte("GET"),
		Target:  []byte("/x"),
		Version: []byte("HTTP/1.1"),
		Status:  200,
		Bytes:   1234,
	}
}

// patience is how long Close waits in tests in which it should not have to give up.
const patience = 10 * time.Second

// start starts a log that writes its lines to out. After end, all lines are written.
func start(t testing.TB, out io.Writer) (log *accesslog.Logger, end func()) {
	t.Helper()
	stdout := accesslog.NewOutput(out)
	return accesslog.New(stdout, stdout), func() { accesslog.Close(patience, stdout) }
}

func Example() {
	stdout, stderr := accesslog.NewOutput(os.Stdout), accesslog.NewOutput(os.Stderr)
	log := accesslog.New(stdout, stderr)
	log.Log(entry())
	accesslog.Close(time.Second, stdout, stderr)
	// Output:
	// 192.0.2.7 - - [23/Nov/2026:05:30:00 +0000] "GET /x HTTP/1.1" 200 1234 0.000123
}

func TestLine(t *testing.T) {
	const stamp = " - - [23/Nov/2026:05:30:00 +0000] "
	for _, tt := range []struct {
		name   string
		change func(e *h1.Entry)
		want   string
	}{
		{
			"IPv6", func(e *h1.Entry) { e.Peer = netip.MustParseAddrPort("[2001:db8::1]:1") },
			`2001:db8::1` + stamp + `"GET /x HTTP/1.1" 200 1234 0.000123`,
		},
		{
			"a mapped address, which stage 3 converts before", func(e *h1.Entry) { e.Peer = netip.MustParseAddrPort("[::ffff:192.0.2.7]:1") },
			`::ffff:192.0.2.7` + stamp + `"GET /x HTTP/1.1" 200 1234 0.000123`,
		},
		{
			"no peer", func(e *h1.Entry) { e.Peer = netip.AddrPort{} },
			`-` + stamp + `"GET /x HTTP/1.1" 200 1234 0.000123`,
		},
		{
			"another zone", func(e *h1.Entry) { e.Time = e.Time.In(time.FixedZone("", 3600)) },
			`192.0.2.7` + stamp + `"GET /x HTTP/1.1" 200 1234 0.000123`,
		},
		{
			"no request line", func(e *h1.Entry) { e.Method, e.Target, e.Version, e.Status = nil, nil, nil, 408 },
			`192.0.2.7` + stamp + `"-" 408 1234 0.000123`,
		},
		{
			"only a method", func(e *h1.Entry) { e.Target, e.Version, e.Status = nil, nil, 408 },
			`192.0.2.7` + stamp + `"GET" 408 1234 0.000123`,
		},
		{
			"half a request line", func(e *h1.Entry) { e.Version, e.Status = nil, 408 },
			`192.0.2.7` + stamp + `"GET /x" 408 1234 0.000123`,
		},
		{
			"response that is cut", func(e *h1.Entry) { e.Cut = true },
			`192.0.2.7` + stamp + `"GET /x HTTP/1.1" 200 1234 0.000123 cut`,
		},
		{
			"quote, line end and control codes", func(e *h1.Entry) { e.Target = []byte("/\" \\\r\n\x1b[31m\x7f\x80\xff") },
			`192.0.2.7` + stamp + `"GET /\" \\\x0d\x0a\x1b[31m\x7f\x80\xff HTTP/1.1" 200 1234 0.000123`,
		},
		{
			"escapes in the method", func(e *h1.Entry) { e.Method = []byte("G\"\n") },
			`192.0.2.7` + stamp + `"G\"\x0a /x HTTP/1.1" 200 1234 0.000123`,
		},
		{
			"a long target", func(e *h1.Entry) { e.Target = bytes.Repeat([]byte("a"), 9000) },
			`192.0.2.7` + stamp + `"GET ` + strings.Repeat("a", 8192) + `... HTTP/1.1" 200 1234 0.000123`,
		},
		{
			"longer than a second", func(e *h1.Entry) { e.Took = 61*time.Second + 20300*time.Microsecond },
			`192.0.2.7` + stamp + `"GET /x HTTP/1.1" 200 1234 61.020300`,
		},
		{
			"clock that was set back", func(e *h1.Entry) { e.Took = -time.Second },
			`192.0.2.7` + stamp + `"GET /x HTTP/1.1" 200 1234 0.000000`,
		},
		{
			"HTTP/1.0", func(e *h1.Entry) { e.Version = []byte("HTTP/1.0") },
			`192.0.2.7` + stamp + `"GET /x HTTP/1.0" 200 1234 0.000123`,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e := entry()
			tt.change(e)
			var out bytes.Buffer
			log, end := start(t, &out)
			log.Log(e)
			end()
			if got := out.String(); got != tt.want+"\n" {
				t.Errorf("got  %swant %s", got, tt.want)
			}
		})
	}
}

func TestStampChangesEachSecond(t *testing.T) {
	var out bytes.Buffer
	log, end := start(t, &out)
	e := entry()
	for range 3 {
		log.Log(e)
		e.Time = e.Time.Add(500 * time.Millisecond)
	}
	end()
	var got []string
	for line := range strings.Lines(out.String()) {
		got = append(got, strings.Fields(line)[3])
	}
	want := "[23/Nov/2026:05:30:00 [23/Nov/2026:05:30:00 [23/Nov/2026:05:30:01"
	if strings.Join(got, " ") != want {
		t.Errorf("got %v", got)
	}
}

func TestPanic(t *testing.T) {
	for _, out := range []*accesslog.Output{accesslog.NewOutput(io.Discard), nil} {
		var errs bytes.Buffer
		stderr := accesslog.NewOutput(&errs)
		log := accesslog.New(out, stderr)
		log.Log(entry())
		log.Panic("no such\nthing", []byte("goroutine 7 [running]:"))
		accesslog.Close(patience, stderr)
		want := "panic in a handler: \"no such\\nthing\"\ngoroutine 7 [running]:\n"
		if errs.String() != want {
			t.Errorf("got %q", errs.String())
		}
	}
}

func BenchmarkLog(b *testing.B) {
	log, end := start(b, io.Discard)
	defer end()
	e := entry()
	b.ReportAllocs()
	for b.Loop() {
		log.Log(e)
	}
}
