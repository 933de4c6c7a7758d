// Package load makes requests: in a closed loop, where a client sends its next request when it has the response to
// the last one, and in an open one, where requests are due at a constant rate.
//
// The closed loop is one thread with one epoll set. It is cheap enough to share a machine with the server, and it
// counts how many of its connections were served at all, which wrk does not.
package load

import (
	"context"
	"net/netip"
	"runtime"
	"time"

	hdr "github.com/HdrHistogram/hdrhistogram-go"
	"golang.org/x/sys/unix"
)

// A Group is a number of clients that behave in the same way.
type Group struct {
	Addr    netip.AddrPort
	Clients int
	// Request is what a client sends at once: one request, or several pipelined ones.
	Request []byte
	// Batch is how many responses Request has; 0 means 1.
	Batch int
	// PerConn is after how many Requests a client opens a new connection; 0 means never.
	PerConn int
	// Once makes a client keep its connection after the first response without another request.
	Once bool
	// BytesPerSecond makes a client read slowly, through a small receive buffer; 0 means at full speed.
	BytesPerSecond int
}

// Counts is what a group of clients has seen since the last Reset, and since the start where it says so.
type Counts struct {
	Responses int64
	Bytes     int64 // of responses, heads included
	Errors    int64 // failed connections, broken responses, and every status but 200
	LastError string
	Connected int // clients whose connection was established, since the start
	Served    int // clients that have received a complete response, since the start
	// Latency has the time of each batch in nanoseconds, from its first byte sent, or from connect(2) if that
	// is part of it, to the last byte received.
	Latency *hdr.Histogram
	// Unanswered is how many requests are older than the last Reset, and have no response. Latency has their
	// age. A younger request without a response is simply under way.
	Unanswered int64
}

// slowTick is how often a slow reader reads.
const slowTick = 50 * time.Millisecond

// retryDelay is how long a client waits after an error: a server that refuses must not turn the loop into a
// measurement of refusals.
const retryDelay = 10 * time.Millisecond

// maxConnecting bounds the connections that are being established, below the backlog of every server.
const maxConnecting = 512

// NewLatency returns a histogram for latencies in nanoseconds, from 1 µs to 100 s, with three digits.
func NewLatency() *hdr.Histogram { return hdr.New(1_000, 100_000_000_000, 3) }

// An Engine runs groups of clients in one thread. Its methods must be called by one goroutine.
type Engine struct {
	groups []*group
	epoll  int
	byFD   []*client
	gen    int32
	events []unix.EpollEvent
	buf    []byte
	start  time.Time
	reset  int64 // when Reset was called

	toConnect  []*client
	connecting int
	retries    []retry // sorted: each waits for the same time
	slow       []*client
	nextSlow   int64
}

type retry struct {
	at int64
	c  *client
}

type group struct {
	Group
	Counts
	clients []*client
}

// New returns an engine without clients. The caller must close it.
func New() (*Engine, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, err
	}
	return &Engine{epoll: fd, events: make([]unix.EpollEvent, 256), buf: make([]byte, 64<<10), start: time.Now()}, nil
}

// Add adds clients, which connect as soon as Run is called, and returns the number of their group.
func (e *Engine) Add(g Group) int {
	g.Batch = max(g.Batch, 1)
	own := &group{Group: g, Counts: Counts{Latency: NewLatency()}}
	for i := range g.Clients {
		c := &client{group: own, fd: -1, number: i, sentAt: e.now()}
		own.clients = append(own.clients, c)
		if g.BytesPerSecond > 0 {
			e.slow = append(e.slow, c)
		}
	}
	e.groups = append(e.groups, own)
	e.toConnect = append(e.toConnect, own.clients...)
	return len(e.groups) - 1
}

// Reset sets the counts that are not about connections to zero.
func (e *Engine) Reset() {
	for _, g := range e.groups {
		g.Responses, g.Bytes, g.Errors, g.LastError, g.Unanswered = 0, 0, 0, "", 0
		g.Latency.Reset()
	}
	e.reset = e.now()
}

// Progress returns how many clients of a group have been served so far.
func (e *Engine) Progress(group int) (served int) { return e.groups[group].Served }

// Counts returns what a group has seen, with the requests that have waited for a response since the last Reset.
func (e *Engine) Counts(group int) Counts {
	g := e.groups[group]
	got := g.Counts
	got.Latency = hdr.Import(g.Latency.Export())
	now := e.now()
	for _, c := range g.clients {
		if c.sentAt != 0 && c.sentAt <= e.reset {
			got.Unanswered++
			_ = got.Latency.RecordValue(now - c.sentAt)
		}
	}
	return got
}

// Close closes all connections.
func (e *Engine) Close() {
	for _, g := range e.groups {
		for _, c := range g.clients {
			if c.fd >= 0 {
				_ = unix.Close(c.fd)
				c.fd = -1
			}
		}
	}
	_ = unix.Close(e.epoll)
}

// Run lets the clients work for d, or until done, which may be nil, returns true.
func (e *Engine) Run(ctx context.Context, d time.Duration, done func() bool) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	end := e.now() + int64(d)
	for {
		now := e.now()
		if now >= end || done != nil && done() {
			return nil
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		e.startConnections(now)
		e.readSlowly(now)
		n, err := epollWait(e.epoll, e.events, e.pause(now, end))
		if err != nil {
			return err
		}
		for _, ev := range e.events[:n] {
			if c := e.byFD[ev.Fd]; c != nil && c.gen == ev.Pad {
				e.serve(c, ev.Events)
			}
		}
	}
}

// pause returns how long to wait for events, in milliseconds.
func (e *Engine) pause(now, end int64) int {
	if len(e.toConnect) > 0 && e.connecting < maxConnecting {
		return 0
	}
	wait := min(end-now, int64(10*time.Millisecond)) // bounds how late the end of the context is noticed
	if len(e.retries) > 0 {
		wait = min(wait, e.retries[0].at-now)
	}
	return int(max(wait, 0)+999_999) / 1_000_000
}

func (e *Engine) now() int64 { return int64(time.Since(e.start)) + 1 }

// startConnections starts some of the connections that are to be made. Between them the clients that are connected
// already are served.
func (e *Engine) startConnections(now int64) {
	for len(e.retries) > 0 && e.retries[0].at <= now {
		e.toConnect = append(e.toConnect, e.retries[0].c)
		e.retries = e.retries[1:]
	}
	for range 64 {
		if len(e.toConnect) == 0 || e.connecting >= maxConnecting {
			return
		}
		c := e.toConnect[0]
		e.toConnect = e.toConnect[1:]
		e.connect(c)
	}
}

// readSlowly lets each slow reader read its share.
func (e *Engine) readSlowly(now int64) {
	if len(e.slow) == 0 || now < e.nextSlow {
		return
	}
	e.nextSlow = now + int64(slowTick)
	for _, c := range e.slow {
		if c.fd < 0 || c.connecting {
			continue
		}
		share := max(1, c.group.BytesPerSecond/int(time.Second/slowTick))
		e.read(c, e.buf[:min(share, len(e.buf))])
	}
}
