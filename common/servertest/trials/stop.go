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

// stopUnderLoad stops a server that has its hands full and starts it anew on the same port. Every
// response that has begun must arrive whole. A client that has got nothing, not one
// byte, asks once more, and must be answered then.
func stopUnderLoad(t *T) {
	keep, pipeline, slow := 30, 6, 3
	switch t.Stage() {
	case 1:
		keep, pipeline, slow = 6, 2, 1 // one is served, the others wait
	case 4:
		keep, pipeline, slow = 150, 20, 4
	}
	port := quietPort(t)
	old := t.Begin(Config{Port: port, Flags: []string{"-s"}})
	l := &load{t: t, port: port, again: make(chan struct{})}
	var wg sync.WaitGroup
	for i := range keep {
		wg.Go(func() { l.play(uint64(i), 1) })
	}
	for i := range pipeline {
		wg.Go(func() { l.play(uint64(1000+i), 5) })
	}
	t.Eventually("the load is on", func() bool { return l.answered.Load() > int64(5*(keep+pipeline)) })
	begun := make(chan struct{}, slow)
	for range slow {
		wg.Go(func() { l.slowly(begun) })
	}
	for range slow {
		select {
		case <-begun:
		case <-time.After(process.Patience):
			t.Fatalf("a large response does not begin")
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
	l.over.Store(true)
	close(l.again)
	wg.Wait()
	t.Logf("stopped after %v and %d answers, of which %d since the signal; %d requests were asked twice",
		took.Round(time.Millisecond), l.answered.Load(), l.answered.Load()-before, l.retried.Load())
}

// load is many clients of one server that is going to be another one.
type load struct {
	t        *T
	port     int
	again    chan struct{} // closed when the second server is there
	over     atomic.Bool   // each client may leave after its next answer
	answered atomic.Int64
	retried  atomic.Int64
}

// connect makes a connection to the first server, or to the second one where that is gone.
func (l *load) connect() (*counted, error) {
	select {
	case <-l.again:
		return l.dial()
	default:
	}
	c, err := l.dial()
	if err == nil {
		return c, nil
	}
	return l.reconnect()
}

// reconnect waits for the second server.
func (l *load) reconnect() (*counted, error) {
	select {
	case <-l.again:
	case <-time.After(2 * process.Patience):
		return nil, errors.New("there is no second server")
	}
	return l.dial()
}

func (l *load) dial() (*counted, error) {
	conn, err := net.DialTimeout("tcp4", fmt.Sprintf("127.0.0.1:%d", l.port), process.Patience)
	if err != nil {
		return nil, err
	}
	c := &counted{Conn: conn}
	c.r = bufio.NewReader(c)
	return c, nil
}

// counted knows whether anything has come back behind the last whole response.
type counted struct {
	net.Conn
	r        *bufio.Reader
	received int64
}

func (c *counted) Read(p []byte) (int, error) {
	_ = c.SetReadDeadline(time.Now().Add(process.Patience))
	n, err := c.Conn.Read(p)
	c.received += int64(n)
	return n, err
}

// read reads one response. begun says whether there was a byte of it.
func (c *counted) read() (resp *Response, begun bool, err error) {
	before := c.received - int64(c.r.Buffered())
	resp, err = wire.ReadResponse(c.r, "GET", nil)
	return resp, c.received > before, err
}

// play is a client that echoes, depth requests at a time. After some requests it leaves, and comes again.
func (l *load) play(seed uint64, depth int) {
	rng := rand.New(rand.NewPCG(seed, 3))
	longest := 40
	if l.t.Stage() == 1 {
		longest = 3 // who stays would be the only one
	}
	for last := false; !last; {
		c, err := l.connect()
		if err != nil {
			l.t.Errorf("connect: %v", err)
			return
		}
		for n := 1 + rng.IntN(longest); n > 0 && !last; n-- {
			last = l.over.Load()
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
					l.t.Errorf("%d requests were not answered when they were sent again", len(rest))
				}
				break
			}
		}
		_ = c.Close()
	}
}

// ask sends a request for each body and returns those that have got no byte of an answer.
func (l *load) ask(c *counted, bodies []string, last bool) (rest []string) {
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
	go func() { // beside the reading: the server answers the first before it reads the last
		defer close(sent)
		_, _ = io.WriteString(c.Conn, all.String())
	}()
	defer func() { <-sent }()
	for i, body := range bodies {
		resp, begun, err := c.read()
		if err != nil {
			_ = c.SetWriteDeadline(time.Now()) // nobody reads any more
			if begun {
				l.t.Errorf("a response is cut: %v", err)
			} else if errors.Is(err, os.ErrDeadlineExceeded) {
				l.t.Errorf("neither an answer nor an end within %v", process.Patience)
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

// slowly reads 24 MB in about a second.
func (l *load) slowly(begun chan<- struct{}) {
	c, err := l.connect()
	if err != nil {
		l.t.Errorf("connect: %v", err)
		return
	}
	defer func() { _ = c.Close() }()
	_, _ = io.WriteString(c.Conn, wire.Request("GET", "/big.bin", ""))
	if _, err := c.r.Peek(100); err != nil {
		l.t.Errorf("a large response: %v", err)
		return
	}
	// A request that the server will not read any more: were it to close the connection over that,
	// the kernel would throw away the megabytes that this client has not taken yet.
	_, _ = io.WriteString(c.Conn, healthz)
	begun <- struct{}{}
	_, err = wire.ReadResponse(c.r, "GET", func(resp *Response, in io.Reader) error {
		return wire.Digest(l.t.Root.BigSum)(resp, wire.Slowly(in, docroot.BigSize/100, 10*time.Millisecond))
	})
	if err != nil {
		l.t.Errorf("a large response under way: %v", err)
	}
}

// quietPort finds a port outside of the range from which the kernel takes those of clients: where a
// server is to come again, nobody else must have taken its port meanwhile.
func quietPort(t *T) int {
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
