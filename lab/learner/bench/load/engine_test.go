package load

import (
	"bufio"
	"context"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"
)

const request = "GET / HTTP/1.1\r\nHost: x\r\n\r\n"

// serve starts a server that calls handle for each connection, one goroutine each.
func serve(t *testing.T, handle func(n int, c net.Conn)) netip.AddrPort {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for n := 0; ; n++ {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go handle(n, c)
		}
	}()
	return l.Addr().(*net.TCPAddr).AddrPort()
}

// answering answers every request on a connection.
func answering(c net.Conn, response string) {
	defer func() { _ = c.Close() }()
	for r := bufio.NewReader(c); ; {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		if line == "\r\n" {
			if _, err := c.Write([]byte(response)); err != nil {
				return
			}
		}
	}
}

const ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"

// run runs a group until it has at least n responses or errors, and returns the counts.
func run(t *testing.T, g Group, n int64) Counts {
	t.Helper()
	e, err := New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	group := e.Add(g)
	e.Reset()
	enough := func() bool { return e.groups[group].Responses+e.groups[group].Errors >= n }
	if err := e.Run(context.Background(), 10*time.Second, enough); err != nil {
		t.Fatal(err)
	}
	if !enough() {
		t.Errorf("%+v after 10 s, want %d responses", e.groups[group].Counts, n)
	}
	return e.Counts(group)
}

// TestEngine checks what clients of each kind count with a server that answers everything.
func TestEngine(t *testing.T) {
	addr := serve(t, func(_ int, c net.Conn) { answering(c, ok) })
	for _, tt := range []struct {
		name    string
		group   Group
		batches int64 // for each 1000 responses
	}{
		{"one request after the other", Group{Request: []byte(request), Clients: 3}, 1000},
		{"pipelined", Group{Request: []byte(strings.Repeat(request, 10)), Batch: 10, Clients: 3}, 100},
		{"a connection for each request", Group{Request: []byte(request), PerConn: 1, Clients: 3}, 1000},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.group.Addr = addr
			c := run(t, tt.group, 1000)
			if c.Errors != 0 || c.Served != 3 || c.Bytes < c.Responses*int64(len(ok)) {
				t.Errorf("%d errors (%s), %d served, %d bytes for %d responses", c.Errors, c.LastError, c.Served, c.Bytes, c.Responses)
			}
			if n := c.Latency.TotalCount(); n < tt.batches || n > tt.batches+30 {
				t.Errorf("%d latencies, want about %d", n, tt.batches)
			}
		})
	}
}

// TestOnce checks that a client with Once makes one request.
func TestOnce(t *testing.T) {
	addr := serve(t, func(_ int, c net.Conn) { answering(c, ok) })
	if c := run(t, Group{Addr: addr, Request: []byte(request), Clients: 5, Once: true}, 5); c.Responses != 5 || c.Served != 5 {
		t.Errorf("%d responses for %d clients, want 5 and 5", c.Responses, c.Served)
	}
}

// TestServed checks that clients without a response are not served, and that their wait counts.
func TestServed(t *testing.T) {
	addr := serve(t, func(n int, c net.Conn) {
		if n < 2 {
			answering(c, ok)
		}
	})
	c := run(t, Group{Addr: addr, Request: []byte(request), Clients: 5}, 1000)
	if c.Connected != 5 || c.Served != 2 || c.Unanswered != 3 {
		t.Errorf("%d connected, %d served, %d unanswered, want 5, 2 and 3", c.Connected, c.Served, c.Unanswered)
	}
}

// TestErrors checks that every kind of failure is counted.
func TestErrors(t *testing.T) {
	for _, tt := range []struct {
		name, want string
		handle     func(n int, c net.Conn)
	}{
		{"a status", "status 503", func(_ int, c net.Conn) { answering(c, "HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n") }},
		{"half a response", "before the end", func(_ int, c net.Conn) {
			_, _ = bufio.NewReader(c).ReadString('\n')
			_, _ = c.Write([]byte(ok[:len(ok)-1]))
			_ = c.(*net.TCPConn).CloseWrite()
		}},
		{"no HTTP", "no status line", func(_ int, c net.Conn) { answering(c, "hello there, this is not HTTP\r\n\r\n") }},
		{"more responses than requests", "without a request", func(_ int, c net.Conn) { answering(c, ok+ok) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := run(t, Group{Addr: serve(t, tt.handle), Request: []byte(request), Clients: 1}, 3)
			if c.Errors == 0 || !strings.Contains(c.LastError, tt.want) {
				t.Errorf("%d errors, the last is %q, want %q", c.Errors, c.LastError, tt.want)
			}
		})
	}
	t.Run("refused", func(t *testing.T) {
		l, err := net.Listen("tcp4", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		addr := l.Addr().(*net.TCPAddr).AddrPort()
		_ = l.Close()
		if c := run(t, Group{Addr: addr, Request: []byte(request), Clients: 1}, 3); c.Connected != 0 || c.Served != 0 {
			t.Errorf("%d connected, %d served at a closed port", c.Connected, c.Served)
		}
	})
}

// TestEndOfContext checks that Run ends with its context.
func TestEndOfContext(t *testing.T) {
	addr := serve(t, func(int, net.Conn) {})
	e, err := New()
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	e.Add(Group{Addr: addr, Request: []byte(request), Clients: 1})
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := e.Run(ctx, time.Hour, nil); err != context.Canceled {
		t.Errorf("%v, want %v", err, context.Canceled)
	}
}

// TestOpenLoop checks that the open loop makes all requests that are due, and counts those that fail.
func TestOpenLoop(t *testing.T) {
	addr := serve(t, func(_ int, c net.Conn) { answering(c, ok) })
	o := OpenLoop{URL: "http://" + addr.String() + "/", Rate: 200, For: 500 * time.Millisecond, Timeout: 5 * time.Second}
	r, err := o.Run(context.Background())
	if err != nil || r.Due < 50 || r.Errors != 0 || r.Latency.TotalCount() != r.Due {
		t.Errorf("%+v, %v", r, err)
	}
	bad := serve(t, func(_ int, c net.Conn) { _ = c.Close() })
	o.URL = "http://" + bad.String() + "/"
	if r, err = o.Run(context.Background()); err != nil || r.Errors != r.Due || r.Reason == "" {
		t.Errorf("%+v, %v, want only errors", r, err)
	}
}

// TestDue checks that the latency begins when a request is due, even if it started late.
func TestDue(t *testing.T) {
	start := time.Now()
	s := sample{number: 5, end: start.Add(80 * time.Millisecond)}
	if got := s.latency(start, 100); got != 30*time.Millisecond {
		t.Errorf("request 5 of 100 a second ends after 80 ms: latency %v, want 30ms", got)
	}
}
