package trials

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"fourways.example/common/servertest/docroot"
	"fourways.example/common/servertest/process"
	"fourways.example/common/servertest/wire"
)

// stopUnderLoad stops a server under load and starts another one on the same port. Every response that has begun
// must arrive whole. A client that has not received a byte of its response repeats the request, which the
// second server must answer.
func stopUnderLoad(t *T) {
	keep, pipeline, slow := 30, 6, 3
	switch t.Stage() {
	case 1:
		keep, pipeline, slow = 6, 2, 1 // the server serves one client while the others wait
	case 4:
		keep, pipeline, slow = 150, 20, 4
	}
	port := serverPort(t)
	old := t.Begin(Config{Port: port, Flags: []string{"-s"}})
	l := &load{t: t, port: port, restarted: make(chan struct{})}
	var wg sync.WaitGroup
	for i := range keep {
		wg.Go(func() { l.run(uint64(i), 1) })
	}
	for i := range pipeline {
		wg.Go(func() { l.run(uint64(1000+i), 5) })
	}
	t.Eventually("each client has about five answers", func() bool { return l.answered.Load() > int64(5*(keep+pipeline)) })
	begun := make(chan struct{}, slow)
	for range slow {
		wg.Go(func() { l.readSlowly(begun) })
	}
	for range slow {
		select {
		case <-begun:
		case <-time.After(process.Patience):
			t.Fatalf("no first byte of a large response within %v", process.Patience)
		}
	}
	before := l.answered.Load()
	start := time.Now()
	old.Signal(syscall.SIGTERM)
	state, status, ok := old.Wait(process.StopPatience)
	took := time.Since(start)
	if !ok || status != 0 || took > 5*time.Second {
		t.Errorf("%s after %v, want exit status 0 within 5 s", state, took)
		if !ok {
			old.Kill()
		}
	}
	t.Begin(Config{Port: port, Flags: []string{"-s"}})
	l.stop.Store(true)
	close(l.restarted)
	wg.Wait()
	t.Logf("stopped after %v and %d answers, %d of them after the signal; %d requests were repeated",
		took.Round(time.Millisecond), l.answered.Load(), l.answered.Load()-before, l.retried.Load())
}

// load is many clients of a server that is stopped and started again.
type load struct {
	t         *T
	port      int
	restarted chan struct{} // closed when the second server runs
	stop      atomic.Bool   // each client ends after its next answer
	answered  atomic.Int64
	retried   atomic.Int64
}

// connect connects to the first server, or to the second one if the first has ended.
func (l *load) connect() (*countingConn, error) {
	select {
	case <-l.restarted:
		return l.dial()
	default:
	}
	c, err := l.dial()
	if err == nil {
		return c, nil
	}
	return l.reconnect()
}

// reconnect waits for the second server and connects to it.
func (l *load) reconnect() (*countingConn, error) {
	select {
	case <-l.restarted:
	case <-time.After(2 * process.Patience):
		return nil, errors.New("the second server does not start")
	}
	return l.dial()
}

func (l *load) dial() (*countingConn, error) {
	conn, err := net.DialTimeout("tcp4", fmt.Sprintf("127.0.0.1:%d", l.port), process.Patience)
	if err != nil {
		return nil, err
	}
	c := &countingConn{Conn: conn}
	c.r = bufio.NewReader(c)
	return c, nil
}

// A countingConn counts the bytes that it has received.
type countingConn struct {
	net.Conn
	r        *bufio.Reader // over this connection
	received int64
}

func (c *countingConn) Read(p []byte) (int, error) {
	_ = c.SetReadDeadline(time.Now().Add(process.Patience))
	n, err := c.Conn.Read(p)
	c.received += int64(n)
	return n, err
}

// readResponse reads one response. begun says whether at least one byte of the response has arrived.
func (c *countingConn) readResponse() (resp *Response, begun bool, err error) {
	before := c.received - int64(c.r.Buffered())
	resp, err = wire.ReadResponse(c.r, "GET", nil)
	return resp, c.received > before, err
}

// run is a client that posts to /echo, depth requests at a time. After some requests it closes the connection and
// makes another one.
func (l *load) run(seed uint64, depth int) {
	rng := rand.New(rand.NewPCG(seed, 3))
	longest := 40
	if l.t.Stage() == 1 {
		longest = 3 // while one client is connected, the server serves no other one
	}
	for last := false; !last; {
		c, err := l.connect()
		if err != nil {
			l.t.Errorf("connect: %v", err)
			return
		}
		for n := 1 + rng.IntN(longest); n > 0 && !last; n-- {
			last = l.stop.Load()
			bodies := make([]string, depth)
			for i := range bodies {
				bodies[i] = fmt.Sprint(seed, " ", n, " ", i, " ") + strings.Repeat("x", rng.IntN(20_000))
			}
			if rest := l.ask(c, bodies, n == 1); len(rest) > 0 {
				_ = c.Close()
				l.retried.Add(int64(len(rest)))
				if c, err = l.reconnect(); err != nil {
					l.t.Errorf("connect: %v", err)
					return
				}
				if rest = l.ask(c, rest, true); len(rest) > 0 {
					l.t.Errorf("%d requests are not answered the second time either", len(rest))
				}
				break
			}
		}
		_ = c.Close()
	}
}

// ask sends a request for each body and reads the responses. It returns the bodies of the requests that got no
// byte of a response.
func (l *load) ask(c *countingConn, bodies []string, last bool) (rest []string) {
	var all strings.Builder
	for i, body := range bodies {
		var fields []string
		if last && i == len(bodies)-1 {
			fields = []string{"Connection: close"}
		}
		all.WriteString(wire.Request("POST", "/echo", body, fields...))
	}
	_ = c.SetWriteDeadline(time.Now().Add(process.Patience))
	sent := make(chan struct{})
	go func() { // the server may read the last request only after the client has read the first response
		defer close(sent)
		_, _ = io.WriteString(c.Conn, all.String())
	}()
	defer func() { <-sent }()
	for i, body := range bodies {
		resp, begun, err := c.readResponse()
		if err != nil {
			_ = c.SetWriteDeadline(time.Now()) // ends the goroutine: the server reads nothing more
			if begun {
				l.t.Errorf("a response ends early: %v", err)
			} else if errors.Is(err, os.ErrDeadlineExceeded) {
				l.t.Errorf("neither an answer nor the end of the connection within %v", process.Patience)
			}
			return slices.Clone(bodies[i:])
		}
		if resp.Status != 200 || string(resp.Body) != body {
			l.t.Errorf("answered %v with %s, want %s", resp, wire.Quote(string(resp.Body)), wire.Quote(body))
		}
		l.answered.Add(1)
	}
	return nil
}

// readSlowly is a client that takes about 1 s to read 24 MB. It sends to begun when the response has begun.
func (l *load) readSlowly(begun chan<- struct{}) {
	c, err := l.connect()
	if err != nil {
		l.t.Errorf("connect: %v", err)
		return
	}
	defer func() { _ = c.Close() }()
	_, _ = io.WriteString(c.Conn, wire.Request("GET", "/big.bin", ""))
	if _, err := c.r.Peek(1); err != nil {
		l.t.Errorf("a large response: %v", err)
		return
	}
	// The server does not read this request any more. If it simply closed the connection, the unread bytes
	// would cause a reset, and the client would lose the rest of the large response.
	_, _ = io.WriteString(c.Conn, healthz)
	begun <- struct{}{}
	_, err = wire.ReadResponse(c.r, "GET", func(resp *Response, in io.Reader) error {
		return wire.Digest(l.t.Root.BigSum)(resp, wire.Slowly(in, docroot.BigSize/100, 10*time.Millisecond))
	})
	if err != nil {
		l.t.Errorf("a large response during the stop: %v", err)
	}
}

// serverPort returns a free port outside of the range from which the kernel gives ports to clients. A client
// must not get the port between the stop of a server and its second start.
func serverPort(t *T) int {
	t.Helper()
	low := 32768
	if data, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range"); err == nil {
		_, _ = fmt.Sscan(string(data), &low)
	}
	for range 100 {
		if low < 12_000 {
			break
		}
		l, err := net.Listen("tcp", fmt.Sprintf(":%d", 10_000+rand.IntN(low-10_000)))
		if err == nil {
			defer func() { _ = l.Close() }()
			return l.Addr().(*net.TCPAddr).Port
		}
	}
	return t.FreePort()
}
