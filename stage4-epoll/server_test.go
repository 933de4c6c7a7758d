package main

import (
	"fmt"
	"io"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"fourways.example/common/cli"
	"fourways.example/common/h1"
	"fourways.example/common/servertest"
	"fourways.example/common/sock"
	"golang.org/x/sys/unix"
)

// TestListenFails checks that listen closes its socket after an error.
func TestListenFails(t *testing.T) {
	cfg := newConfig(t)
	first, err := listen(netip.MustParseAddrPort("127.0.0.1:0"), false, cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	const tries = 100 // earlier tests may close sockets meanwhile, but far fewer than this
	before := len(servertest.SocketsOf(os.Getpid()))
	for range tries {
		if _, err := listen(first.Addr(), false, cfg); err == nil {
			t.Fatalf("two sockets listen on %v", first.Addr())
		}
	}
	if more := len(servertest.SocketsOf(os.Getpid())) - before; more > tries/2 {
		t.Errorf("after %d failures to listen, %d more sockets are open", tries, more)
	}
}

// TestLacks checks that lacks tells a missing address family from an error in the command line.
func TestLacks(t *testing.T) {
	for err, want := range map[error]bool{
		unix.EAFNOSUPPORT:  true, // the kernel does not have the family
		unix.EADDRNOTAVAIL: true, // the family has no address
		unix.ENOPROTOOPT:   true, // the kernel does not have IPV6_V6ONLY
		unix.EADDRINUSE:    false,
		unix.EACCES:        false,
	} {
		if got := lacks(fmt.Errorf("listen on [::]:8080: %w", os.NewSyscallError("bind", err))); got != want {
			t.Errorf("%v: %v, want %v", err, got, want)
		}
	}
}

// TestStopAnswersArrivedRequest checks that a stop answers a request that has arrived, even if
// no event has reported it yet.
func TestStopAnswersArrivedRequest(t *testing.T) {
	cfg := newConfig(t)
	l, client := newLoops(t, cfg, 1)[0], newClient(t, cfg)
	push(l, client.server)
	l.adopt() // finds nothing to read
	client.send("GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
	cfg.Stop.Begin()
	l.stop()
	if got := client.received(); !strings.HasPrefix(got, "HTTP/1.1 200 ") || !strings.HasSuffix(got, "\r\n\r\nok") {
		t.Errorf("got %q", got)
	}
	if n := len(clientsOf(l)); n != 0 || l.open.Load() != 0 {
		t.Errorf("%d clients are left, and open is %d; want 0", n, l.open.Load())
	}
}

// TestBalanceWakesOnce checks that a loop that has lost clients wakes the loops with more clients,
// and only once for each loss.
func TestBalanceWakesOnce(t *testing.T) {
	loops := newLoops(t, newConfig(t), 3)
	few, more, alike := loops[0], loops[1], loops[2]
	more.open.Store(slack + 1)
	alike.open.Store(slack)
	for i, lost := range []bool{false, true, false, true} {
		if !more.inbox.Sleep() || !alike.inbox.Sleep() {
			t.Fatalf("round %d: a loop is woken before balance is called", i)
		}
		if lost {
			few.lost = true
		}
		few.balance()
		if woken := !more.inbox.Sleep(); woken != lost {
			t.Errorf("round %d: the loop with %d more clients is woken: %v, want %v", i, slack+1, woken, lost)
		}
		if !alike.inbox.Sleep() {
			t.Errorf("round %d: the loop with %d more clients is woken", i, slack)
		}
		more.inbox.Take(share)
	}
}

// TestBalanceIsBounded checks that a loop gives away at most share clients in one round, and goes on
// in the next round without waiting.
func TestBalanceIsBounded(t *testing.T) {
	const clients = 200
	cfg := newConfig(t)
	loops := newLoops(t, cfg, 2)
	more, few := loops[0], loops[1]
	for range clients {
		push(more, newClient(t, cfg).server)
	}
	adoptAll(more)
	for _, want := range []int64{share, clients/2 - slack/2} {
		more.balance()
		if got := few.open.Load(); got != want || more.open.Load() != clients-want {
			t.Errorf("of %d clients, %d are given away and %d are left; want %d given away", clients, got, more.open.Load(), want)
		}
		if sleeps, last := more.inbox.Sleep(), want != share; sleeps != last {
			t.Errorf("after %d clients are given away, the loop goes to sleep: %v, want %v", want, sleeps, last)
		}
		more.adopt()
	}
	adoptAll(few)
	if n := len(clientsOf(few)); n != clients/2-slack/2 {
		t.Errorf("the other loop has %d clients, want %d", n, clients/2-slack/2)
	}
}

// TestBalanceHandsOver checks that the loop that gets a client is woken, and that the one that gives it away watches it no more.
func TestBalanceHandsOver(t *testing.T) {
	cfg := newConfig(t)
	loops := newLoops(t, cfg, 2)
	more, few := loops[0], loops[1]
	var clients []*pair
	for range slack + 2 {
		c := newClient(t, cfg)
		push(more, c.server)
		clients = append(clients, c)
	}
	adoptAll(more)
	few.inbox.Sleep()
	more.balance()
	var events [batch]unix.EpollEvent
	if n, err := few.epoll.Wait(events[:], 0); err != nil || n != 1 || sock.Tag(&events[0]) != 0 {
		t.Errorf("the loop that gets a client has %d events (%v), want that of its inbox: it must be woken", n, err)
	}
	last := clients[len(clients)-1] // it has become idle last
	last.send("GET /")
	if n, err := more.epoll.Wait(events[:], 0); err != nil || n != 0 {
		t.Errorf("the client that was given away has sent, and the loop that gave it has %d events (%v), want none", n, err)
	}
	few.adopt()
	if got := clientsOf(few); len(got) != 1 || got[0].conn.FD() != last.server.FD() {
		t.Errorf("the other loop has %d clients, want one: the client that has become idle last", len(got))
	}
}

// TestBalanceStops checks that no client is given away while the server stops: the other loop may have ended.
func TestBalanceStops(t *testing.T) {
	cfg := newConfig(t)
	loops := newLoops(t, cfg, 2)
	more, few := loops[0], loops[1]
	for range 2 * slack {
		push(more, newClient(t, cfg).server)
	}
	adoptAll(more)
	cfg.Stop.Begin()
	more.balance()
	if n := few.open.Load(); n != 0 {
		t.Errorf("%d clients are given to another loop during the stop, want 0", n)
	}
}

// TestWatch checks which event of a client the set reports, and when its time-out is armed.
func TestWatch(t *testing.T) {
	cfg := newConfig(t)
	l := newLoops(t, cfg, 1)[0]
	reported := func() bool {
		t.Helper()
		var events [batch]unix.EpollEvent
		n, err := l.epoll.Wait(events[:], 0)
		if err != nil {
			t.Fatal(err)
		}
		return n > 0
	}
	p := newClient(t, cfg)
	if err := unix.SetsockoptInt(p.server.FD(), unix.SOL_SOCKET, unix.SO_SNDBUF, 4096); err != nil {
		t.Fatal(err)
	}
	c := &client{conn: l.worker.Open(p.server)}
	c.timeout.Value = c
	l.open.Add(1)
	l.clients.Put(p.server.FD(), c)
	serveAndWatch := func() {
		t.Helper()
		c.conn.Ready()
		if err := serve(&c.conn); err != sock.ErrAgain {
			t.Fatalf("serve: %v, want sock.ErrAgain", err)
		}
		l.watch(c)
	}

	serveAndWatch()
	if reported() {
		t.Error("a client that sends nothing has an event: a socket with an empty send queue is always writable")
	}
	if front := l.timeouts.Front(int(h1.ClassIdle)); front == nil || front.Value != c {
		t.Error("no idle time-out is armed for a new client")
	}
	p.send("GET /server.go HTTP/1.1\r\nHost: localhost\r\n\r\n") // the response is larger than the send queue
	if !reported() {
		t.Error("a client that has sent a request has no event")
	}
	serveAndWatch()
	if c.conn.Want() != h1.Write || reported() {
		t.Errorf("the client wants %v and has an event: %v; want a full send queue, and no event until the client reads", c.conn.Want(), reported())
	}
	if front := l.timeouts.Front(int(h1.ClassWrite)); front == nil || front.Value != c || l.timeouts.Front(int(h1.ClassIdle)) != nil {
		t.Error("during a response, the client must have the time-out of a response and no other")
	}
	for range 100 { // so much fits into both queues at most
		if _, err := unix.Read(p.fd, make([]byte, 4096)); err != nil {
			break
		}
	}
	if !reported() {
		t.Error("the client has read, and there is no event: the rest of the response would never be sent")
	}

	if err := l.epoll.Del(p.server.FD()); err != nil { // without the loop's knowledge, so that Watch fails
		t.Fatal(err)
	}
	p.send("x")
	for c.conn.Want() == h1.Write {
		c.conn.Ready()
		if err := serve(&c.conn); err != nil && err != sock.ErrAgain {
			t.Fatal(err)
		}
		for unix.Read(p.fd, make([]byte, 4096)); ; {
			if n, _ := unix.Read(p.fd, make([]byte, 4096)); n <= 0 {
				break
			}
		}
	}
	l.watch(c)
	if n := len(clientsOf(l)); n != 0 || l.open.Load() != 0 {
		t.Errorf("Watch has failed, and %d clients are left; want 0: no event would ever come for this one", n)
	}
	if left := l.timeouts.Timeout(time.Now()); left >= 0 {
		t.Errorf("the client that was dropped has a time-out, in %v", left)
	}
}

// TestWatchFails checks that a failure of epoll_ctl(2) closes only the client that it concerns.
func TestWatchFails(t *testing.T) {
	cfg := newConfig(t)
	l := newLoops(t, cfg, 1)[0]
	bad, good := newClient(t, cfg), newClient(t, cfg)
	for _, c := range []*pair{bad, good} {
		if err := unix.SetsockoptInt(c.server.FD(), unix.SOL_SOCKET, unix.SO_SNDBUF, 4096); err != nil {
			t.Fatal(err)
		}
		push(l, c.server)
	}
	l.adopt()
	if err := l.epoll.Del(bad.server.FD()); err != nil { // without the loop's knowledge
		t.Fatal(err)
	}
	for _, c := range []*pair{bad, good} {
		c.send("GET /server.go HTTP/1.1\r\nHost: localhost\r\n\r\n") // the response is larger than the send queue
	}
	for _, c := range clientsOf(l) {
		c.conn.Ready()
		l.handle(c)
	}
	if n := len(clientsOf(l)); n != 1 || l.open.Load() != 1 {
		t.Errorf("%d clients are left, want only the one that can be watched", n)
	}
	for _, c := range clientsOf(l) {
		if c.conn.FD() != good.server.FD() || c.conn.Want() != h1.Write {
			t.Errorf("the client that is left has descriptor %d and wants %v", c.conn.FD(), c.conn.Want())
		}
	}
}

// TestTurn checks that a client with many requests gets a turn of at most budget calls, and further turns after the other
// clients, because the epoll set reports it again.
func TestTurn(t *testing.T) {
	cfg := newConfig(t)
	l, p := newLoops(t, cfg, 1)[0], newClient(t, cfg)
	push(l, p.server)
	l.adopt()
	const requests = 800 // their responses need more than budget calls, and fit into the send queue
	p.send(strings.Repeat("GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n", requests))
	turns, answered := 0, 0
	var got strings.Builder
	for answered < requests {
		var events [batch]unix.EpollEvent
		if n, err := l.epoll.Wait(events[:], 0); n != 1 || err != nil {
			t.Fatalf("after %d turns, %d of %d requests are answered, and the set has %d events (%v), want one of the client", turns, answered, requests, n, err)
		}
		l.event(sock.Tag(&events[0]))
		turns++
		if len(clientsOf(l)) != 1 {
			t.Fatalf("after %d turns, the client is closed", turns)
		}
		for {
			n, err := unix.IoctlGetInt(p.fd, unix.SIOCINQ)
			if err != nil {
				t.Fatal(err)
			}
			if n == 0 {
				break
			}
			got.WriteString(p.received())
		}
		answered = strings.Count(got.String(), "HTTP/1.1 200 ")
	}
	if turns < 2 {
		t.Errorf("all %d requests are answered in one turn, want several turns of at most %d calls", requests, budget)
	}
}

// TestShed checks that the client that has been idle longest is closed for a new one, and that no
// other client is.
func TestShed(t *testing.T) {
	cfg := newConfig(t, "--max-conns", "4")
	cfg.Conns.OnFull(func() {}) // no thread to wake: the test itself runs the loop
	l := newLoops(t, cfg, 1)[0]
	underWay, first, second, third := newClient(t, cfg), newClient(t, cfg), newClient(t, cfg), newClient(t, cfg)
	for _, c := range []*pair{underWay, first, second, third} {
		push(l, c.server)
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
	want("before a new client", underWay, first, second, third)
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
	want("after one new client", underWay, second, third)

	// A request that has arrived is answered. Its client then has a new idle time, so the third
	// client has been idle longest.
	second.send("GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
	acquire()
	if got := second.received(); !strings.HasPrefix(got, "HTTP/1.1 200 ") {
		t.Errorf("the client whose request had arrived gets %q", got)
	}
	want("after two new clients", underWay, second)

	acquire()
	want("after three new clients", underWay)
	for range 100 {
		l.shed()
	}
	want("when no new client waits", underWay)
}

// open reports whether the server has the connection still open.
func (p *pair) open() bool {
	_, err := unix.Read(p.fd, make([]byte, 1))
	return err == unix.EAGAIN
}

// push hands a new connection to a loop.
func push(l *loop, s sock.Conn) { l.push(&client{conn: l.worker.Open(s)}) }

// adoptAll lets a loop adopt all clients in its inbox.
func adoptAll(l *loop) {
	for l.adopt(); !l.inbox.Sleep(); l.adopt() {
	}
}

// clientsOf returns a loop's clients.
func clientsOf(l *loop) []*client { return slices.Collect(l.clients.All()) }

// newLoops makes loops that no thread runs: the test calls their methods.
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

// pair is both ends of a connection that holds a slot of the connection limit.
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

// received returns what the server has sent until now.
func (p *pair) received() string {
	p.t.Helper()
	var b [4096]byte
	n, err := unix.Read(p.fd, b[:])
	if err != nil {
		p.t.Fatal(err)
	}
	return string(b[:n])
}

// newConfig returns the configuration of a command line.
func newConfig(t *testing.T, args ...string) *cli.Config {
	t.Helper()
	cfg, err := cli.New(stage, args, func(string) string { return "" }, io.Discard, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}
