package main

import (
	"fmt"
	"io"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"

	"fourways.example/common/cli"
	"fourways.example/common/h1"
	"fourways.example/common/servertest"
	"fourways.example/common/sock"
	"golang.org/x/sys/unix"
)

// TestListenFails: a socket that cannot listen is closed again.
func TestListenFails(t *testing.T) {
	cfg := newConfig(t)
	first, err := listen(netip.MustParseAddrPort("127.0.0.1:0"), false, cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	const tries = 100 // what earlier tests left behind may close some of its own meanwhile
	before := len(servertest.SocketsOf(os.Getpid()))
	for range tries {
		if _, err := listen(first.Addr(), false, cfg); err == nil {
			t.Fatalf("%v can be listened on twice", first.Addr())
		}
	}
	if more := len(servertest.SocketsOf(os.Getpid())) - before; more > tries/2 {
		t.Errorf("%d times it could not listen, and %d sockets more are open", tries, more)
	}
}

// TestLacks: what a machine does not have is told from what is wrong with the command line.
func TestLacks(t *testing.T) {
	for err, want := range map[error]bool{
		unix.EAFNOSUPPORT:  true, // no such family in the kernel
		unix.EADDRNOTAVAIL: true, // no address of it
		unix.ENOPROTOOPT:   true, // no IPV6_V6ONLY
		unix.EADDRINUSE:    false,
		unix.EACCES:        false,
	} {
		if got := lacks(fmt.Errorf("listen on [::]:8080: %w", os.NewSyscallError("bind", err))); got != want {
			t.Errorf("%v: %v, want %v", err, got, want)
		}
	}
}

// TestStopLooksOnceMore: a request that has arrived, but that no event has told of yet, is
// answered when the server stops.
func TestStopLooksOnceMore(t *testing.T) {
	cfg := newConfig(t)
	l, client := newLoops(t, cfg, 1)[0], newClient(t, cfg)
	l.push(l.worker.Open(client.server))
	l.adopt() // and has found nothing to read
	client.send("GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
	cfg.Stop.Begin()
	l.stop()
	if got := client.received(); !strings.HasPrefix(got, "HTTP/1.1 200 ") || !strings.HasSuffix(got, "\r\n\r\nok") {
		t.Errorf("got %q", got)
	}
	if len(l.clients) != 0 || l.open.Load() != 0 {
		t.Errorf("%d clients are left, %d are counted", len(l.clients), l.open.Load())
	}
}

// TestBalanceWakesOnce: a loop that has lost clients wakes those that have more, once for each time.
func TestBalanceWakesOnce(t *testing.T) {
	loops := newLoops(t, newConfig(t), 3)
	few, more, alike := loops[0], loops[1], loops[2]
	more.open.Store(slack + 1)
	alike.open.Store(slack)
	for i, lost := range []bool{false, true, false, true} {
		if !more.inbox.Sleep() || !alike.inbox.Sleep() {
			t.Fatalf("%d: there are news before anything happened", i)
		}
		if lost {
			few.lost = true
		}
		few.balance()
		if woken := !more.inbox.Sleep(); woken != lost {
			t.Errorf("%d: the loop with %d clients more was woken: %v", i, slack+1, woken)
		}
		if !alike.inbox.Sleep() {
			t.Errorf("%d: the loop with %d clients more was woken", i, slack)
		}
		more.inbox.Take()
	}
}

// TestBalanceIsBounded: a loop gives away a share, looks after its clients, and goes on.
func TestBalanceIsBounded(t *testing.T) {
	const clients = 200
	cfg := newConfig(t)
	loops := newLoops(t, cfg, 2)
	more, few := loops[0], loops[1]
	for range clients {
		more.push(more.worker.Open(newClient(t, cfg).server))
	}
	more.adopt()
	for _, want := range []int64{share, clients/2 - slack/2} {
		more.balance()
		if got := few.open.Load(); got != want || more.open.Load() != clients-want {
			t.Errorf("of %d clients %d are given away, %d are left, want %d given away", clients, got, more.open.Load(), want)
		}
		if sleeps, last := more.inbox.Sleep(), want != share; sleeps != last {
			t.Errorf("%d clients are given away, and the loop goes to sleep: %v", want, sleeps)
		}
		more.adopt()
	}
	few.adopt()
	if n := len(few.clients); n != clients/2-slack/2 {
		t.Errorf("the other loop has %d clients", n)
	}
}

// TestWatchFails: where epoll_ctl(2) fails for a client, that client is closed, and nobody else.
func TestWatchFails(t *testing.T) {
	cfg := newConfig(t)
	l := newLoops(t, cfg, 1)[0]
	bad, good := newClient(t, cfg), newClient(t, cfg)
	for _, c := range []*pair{bad, good} {
		if err := unix.SetsockoptInt(c.server.FD(), unix.SOL_SOCKET, unix.SO_SNDBUF, 4096); err != nil {
			t.Fatal(err)
		}
		l.push(l.worker.Open(c.server))
	}
	l.adopt()
	if err := l.epoll.Del(bad.server.FD()); err != nil { // behind the loop's back
		t.Fatal(err)
	}
	for _, c := range []*pair{bad, good} {
		c.send("GET /server.go HTTP/1.1\r\nHost: localhost\r\n\r\n") // more than fits: wait for room
	}
	for _, c := range l.clients {
		c.conn.Ready()
		l.handle(c)
	}
	if len(l.clients) != 1 || l.open.Load() != 1 {
		t.Errorf("%d clients are left, want the one that can be watched", len(l.clients))
	}
	for _, c := range l.clients {
		if c.conn.FD() != good.server.FD() || c.want != h1.Write {
			t.Errorf("left is descriptor %d, which wants %v", c.conn.FD(), c.want)
		}
	}
}

// TestShed: the client that has been idle longest makes room for one more, and no other does.
func TestShed(t *testing.T) {
	cfg := newConfig(t, "--max-conns", "4")
	cfg.Conns.OnFull(func() {}) // the test is the loop, and does not sleep
	l := newLoops(t, cfg, 1)[0]
	underWay, first, second, third := newClient(t, cfg), newClient(t, cfg), newClient(t, cfg), newClient(t, cfg)
	for _, c := range []*pair{underWay, first, second, third} {
		l.push(l.worker.Open(c.server))
		l.adopt()
	}
	underWay.send("GET /heal")
	events := make([]unix.EpollEvent, batch)
	for i := range l.wait(events) {
		l.event(sock.Tag(&events[i]))
	}
	l.shed()
	want := func(when string, open ...*pair) {
		t.Helper()
		for i, c := range []*pair{underWay, first, second, third} {
			if c.open() != slices.Contains(open, c) {
				t.Errorf("%s: client %d is open: %v", when, i, c.open())
			}
		}
	}
	want("nobody waits", underWay, first, second, third)
	acquire := func() {
		t.Helper()
		acquired := make(chan bool)
		go func() { acquired <- cfg.Conns.Acquire() }()
		for {
			select {
			case <-acquired:
				return
			default:
				l.shed()
			}
		}
	}
	acquire()
	want("one has come", underWay, second, third)

	// A request that has arrived is answered. Its client is idle again, and another one longer.
	second.send("GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
	acquire()
	if got := second.received(); !strings.HasPrefix(got, "HTTP/1.1 200 ") {
		t.Errorf("a client whose request had arrived gets %q", got)
	}
	want("two have come", underWay, second)

	acquire()
	want("three have come", underWay)
	for range 100 {
		l.shed()
	}
	want("nobody waits any more", underWay)
}

// open tells whether the server has not closed the connection.
func (p *pair) open() bool {
	_, err := unix.Read(p.fd, make([]byte, 1))
	return err == unix.EAGAIN
}

// newLoops makes loops that run nowhere: a test calls their methods.
func newLoops(t *testing.T, cfg *cli.Config, n int) []*loop {
	t.Helper()
	loops := make([]*loop, n)
	for i := range loops {
		l, err := newLoop(loops, cfg)
		if err != nil {
			t.Fatal(err)
		}
		loops[i] = l
	}
	return loops
}

// pair is a connection that holds a slot, seen from both of its ends.
type pair struct {
	t      *testing.T
	server sock.Conn
	fd     int
}

func newClient(t *testing.T, cfg *cli.Config) *pair {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fds[1]) })
	cfg.Conns.Acquire()
	return &pair{t, sock.FromFD(fds[0], netip.MustParseAddrPort("192.0.2.1:1"), true), fds[1]}
}

func (p *pair) send(text string) {
	p.t.Helper()
	if n, err := unix.Write(p.fd, []byte(text)); n != len(text) {
		p.t.Fatalf("sent %d of %d bytes: %v", n, len(text), err)
	}
}

// received is what the server has sent until now.
func (p *pair) received() string {
	p.t.Helper()
	var b [4096]byte
	n, err := unix.Read(p.fd, b[:])
	if err != nil {
		p.t.Fatal(err)
	}
	return string(b[:n])
}

// newConfig is what main would make of a command line.
func newConfig(t *testing.T, args ...string) *cli.Config {
	t.Helper()
	cfg, err := cli.New(stage, args, func(string) string { return "" }, io.Discard, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}
