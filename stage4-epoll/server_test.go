package main

import (
	"fmt"
	"io"
	"net/netip"
	"os"
	"strings"
	"testing"

	"fourways.example/common/cli"
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
	cfg.Slots.Take()
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

// newConfig is what main would make of an empty command line.
func newConfig(t *testing.T) *cli.Config {
	t.Helper()
	cfg, err := cli.New(stage, nil, func(string) string { return "" }, io.Discard, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}
