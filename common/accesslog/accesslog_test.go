package accesslog_test

import (
	"bytes"
	"io"
	"net/netip"
	"os"
	"strings"
	"sync"
	"syscall"
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

func Example() {
	log := accesslog.New(os.Stdout, os.Stderr)
	log.Log(entry())
	log.Close()
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
			"an address as it is: unmapping it is stage 3's business", func(e *h1.Entry) { e.Peer = netip.MustParseAddrPort("[::ffff:192.0.2.7]:1") },
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
			"a method alone", func(e *h1.Entry) { e.Target, e.Version, e.Status = nil, nil, 408 },
			`192.0.2.7` + stamp + `"GET" 408 1234 0.000123`,
		},
		{
			"half a request line", func(e *h1.Entry) { e.Version, e.Status = nil, 408 },
			`192.0.2.7` + stamp + `"GET /x" 408 1234 0.000123`,
		},
		{
			"cut", func(e *h1.Entry) { e.Cut = true },
			`192.0.2.7` + stamp + `"GET /x HTTP/1.1" 200 1234 0.000123 cut`,
		},
		{
			"a quote, a line of one's own, a terminal", func(e *h1.Entry) { e.Target = []byte("/\" \\\r\n\x1b[31m\x7f\x80\xff") },
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
			"a clock that went back", func(e *h1.Entry) { e.Took = -time.Second },
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
			log := accesslog.New(&out, io.Discard)
			log.Log(e)
			log.Close()
			if got := out.String(); got != tt.want+"\n" {
				t.Errorf("got  %swant %s", got, tt.want)
			}
		})
	}
}

func TestStampFollowsTheSeconds(t *testing.T) {
	var out bytes.Buffer
	log := accesslog.New(&out, io.Discard)
	e := entry()
	for range 3 {
		log.Log(e)
		e.Time = e.Time.Add(500 * time.Millisecond)
	}
	log.Close()
	var got []string
	for line := range strings.Lines(out.String()) {
		got = append(got, strings.Fields(line)[3])
	}
	want := "[23/Nov/2026:05:30:00 [23/Nov/2026:05:30:00 [23/Nov/2026:05:30:01"
	if strings.Join(got, " ") != want {
		t.Errorf("got %v", got)
	}
}

// Lines appear without anything but time passing.
func TestLinesAppear(t *testing.T) {
	r, w := io.Pipe()
	log := accesslog.New(w, io.Discard)
	for range 3 {
		log.Log(entry())
		b := make([]byte, 1000)
		if n, err := r.Read(b); err != nil || !bytes.HasSuffix(b[:n], []byte("0.000123\n")) {
			t.Fatalf("read %q, %v", b[:n], err)
		}
	}
	log.Close()
}

// stuck is a reader of the log that does not read until it is told to.
type stuck struct {
	entered, released chan struct{}
	once              sync.Once
	bytes.Buffer
}

func (s *stuck) Write(b []byte) (int, error) {
	s.once.Do(func() { close(s.entered) })
	<-s.released
	return s.Buffer.Write(b)
}

// Workers never wait for the log's reader: lines are dropped, and counted to the last one.
func TestSlowReader(t *testing.T) {
	out := &stuck{entered: make(chan struct{}), released: make(chan struct{})}
	log := accesslog.New(out, io.Discard)
	log.Log(entry())
	<-out.entered
	e, total := entry(), 1
	e.Target = bytes.Repeat([]byte("\n"), 1000)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 1000 {
				log.Log(e)
			}
		})
		total += 1000
	}
	wg.Wait()
	close(out.released)
	log.Close()
	lines := strings.SplitAfter(out.String(), "\n")
	last := lines[len(lines)-2]
	number, rest, _ := strings.Cut(last, " ")
	if rest != "lines dropped\n" {
		t.Fatalf("the last line is %q", last)
	}
	written := len(lines) - 2
	var dropped int
	for _, c := range number {
		dropped = 10*dropped + int(c-'0')
	}
	if written+dropped != total || written < 200 {
		t.Errorf("%d lines written, %d dropped, %d logged", written, dropped, total)
	}
}

func TestCloseDoesNotWaitForAStuckReader(t *testing.T) {
	out := &stuck{entered: make(chan struct{}), released: make(chan struct{})}
	defer close(out.released)
	log := accesslog.New(out, io.Discard)
	log.Log(entry())
	start := time.Now()
	log.Close()
	if took := time.Since(start); took > 2*time.Second {
		t.Errorf("Close took %v", took)
	}
}

// gone is a reader of the log that has left.
type gone struct{ writes int }

func (g *gone) Write([]byte) (int, error) {
	g.writes++
	return 0, &os.PathError{Op: "write", Path: "/dev/stdout", Err: syscall.EPIPE}
}

func TestReaderLeft(t *testing.T) {
	var out gone
	var errs bytes.Buffer
	log := accesslog.New(&out, &errs)
	for range 3 {
		log.Log(entry())
		time.Sleep(30 * time.Millisecond)
	}
	log.Close()
	log.Close()
	if out.writes != 1 || errs.Len() > 0 {
		t.Errorf("%d writes, %q on stderr", out.writes, errs.String())
	}
}

func TestPanic(t *testing.T) {
	for _, out := range []io.Writer{io.Discard, nil} {
		var errs bytes.Buffer
		log := accesslog.New(out, &errs)
		log.Log(entry())
		log.Panic("no such\nthing", []byte("goroutine 7 [running]:"))
		log.Close()
		want := "panic in a handler: \"no such\\nthing\"\ngoroutine 7 [running]:\n"
		if errs.String() != want {
			t.Errorf("got %q", errs.String())
		}
	}
}

func BenchmarkLog(b *testing.B) {
	log := accesslog.New(io.Discard, io.Discard)
	defer log.Close()
	e := entry()
	b.ReportAllocs()
	for b.Loop() {
		log.Log(e)
	}
}
