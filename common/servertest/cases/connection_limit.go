package cases

import (
	"fmt"
	"strings"
	"time"
)

// These functions test servers whose connections are all taken.

// The two halves of a request. A client that has sent the first half has a request under way.
const (
	halfHealthz = "GET /healthz HTTP/1.1\r\nHost: loc"
	restHealthz = "alhost\r\n\r\n"
)

// halfRequest connects, sends half a request and waits until the server has read it.
func halfRequest(t *T, s *Server, o DialOptions) *Client {
	t.Helper()
	c := t.DialTo(s, o)
	c.Send(halfHealthz)
	c.AwaitRead()
	return c
}

// idleClient connects and makes one request.
func idleClient(t *T, s *Server, o DialOptions) *Client {
	t.Helper()
	c := t.DialTo(s, o)
	c.WantKept()
	return c
}

// shedIdle fills a server that has one event loop. Each further client must replace the client that
// has been idle longest.
func shedIdle(t *T) {
	const most = 4
	s := t.Begin(Config{Flags: []string{"-n", "1", "--max-conns", fmt.Sprint(most), "--idle-timeout", "5m", "--header-timeout", "5m"}})
	full := func() {
		t.Helper()
		t.Eventually(fmt.Sprintf("%d connections are open", most), func() bool { return s.Connections() == most })
	}
	var idle []*Client // longest idle first
	busy := halfRequest(t, s, DialOptions{})
	idle = append(idle, t.DialTo(s, DialOptions{})) // never sends a byte
	t.Eventually("both clients are accepted", func() bool { return s.Connections() == 2 })
	for range most - 2 {
		idle = append(idle, idleClient(t, s, DialOptions{}))
	}
	full()
	fastest := time.Hour
	for range 6 {
		start := time.Now()
		idle = append(idle, idleClient(t, s, DialOptions{}))
		fastest = min(fastest, time.Since(start))
		idle[0].WantEnd()
		idle = idle[1:]
		full()
	}
	if fastest > time.Second { // a busy machine may delay some clients, but not all
		t.Errorf("the fastest of 6 clients is let in after %v, want at most 1 s", fastest)
	}
	for _, c := range idle { // each new client closed only one connection
		c.WantKept()
	}
	// When all clients have a request under way, none of them is closed for a further client.
	for _, c := range idle {
		c.Send(halfHealthz)
		c.AwaitRead()
	}
	next := t.DialTo(s, DialOptions{}).Request("GET", "/healthz")
	next.WantSilence(100 * time.Millisecond)
	wantLittleCPU(t, s)
	idle[0].Send(restHealthz).WantBody(200, "ok") // this client is idle now
	next.WantBody(200, "ok")
	idle[0].WantEnd()
	for _, c := range append(idle[1:], busy) {
		c.Send(restHealthz).WantBody(200, "ok")
	}
}

// wantLittleCPU checks that the server does not use a CPU while a client that it cannot let in waits in
// its backlog.
func wantLittleCPU(t *T, s *Server) {
	t.Helper()
	cpu, start := s.CPU(), time.Now()
	for range 20 {
		time.Sleep(20 * time.Millisecond)
	}
	if used, took := s.CPU()-cpu, time.Since(start); used > took/4 {
		t.Errorf("while a client waits in the backlog the server uses %v of CPU time in %v, want at most a quarter", used, took)
	}
}

// shedInLoops fills a server that has several event loops and two listeners. Only one of the loops has
// an idle client.
func shedInLoops(t *T) {
	const loops = 4
	s := t.Begin(Config{Flags: []string{
		"-n", fmt.Sprint(loops), "--max-conns", fmt.Sprint(loops), "--bind", "separate", "--idle-timeout", "5m", "--header-timeout", "5m",
	}})
	var busy []*Client
	for range loops - 1 { // each goes to a loop of its own
		busy = append(busy, halfRequest(t, s, DialOptions{}))
	}
	idle := idleClient(t, s, DialOptions{})
	for i := range 8 {
		next := idleClient(t, s, DialOptions{IPv6: i%2 == 0 && haveIPv6()})
		idle.WantEnd()
		idle = next
	}
	for _, c := range append(busy, idle) {
		if c != idle {
			c.Send(restHealthz).WantBody(200, "ok")
		} else {
			c.WantKept()
		}
	}
}

// fillServer starts a server with a low limit of descriptors and connects more clients than it can
// accept. The server must accept want of them. Neither the clients nor the files that it keeps open
// may use up its descriptors.
func fillServer(t *T, descriptors, workers, want int) {
	t.Helper()
	const more, files = 20, 260 // files: more than the cache of open files holds
	contents := map[string]string{}
	for i := range files {
		contents[fmt.Sprintf("%d.bin", i)] = strings.Repeat("x", 17<<10) // a smaller file is not kept open
	}
	s := t.Begin(Config{
		Root:  t.Folder(contents).Dir,
		Flags: []string{"-s", "-n", fmt.Sprint(workers)},
		Wrap:  []string{"sh", "-c", fmt.Sprintf(`ulimit -n %d; exec "$@"`, descriptors), "sh"},
	})
	about := fmt.Sprintf("RLIMIT_NOFILE is %d, with %d workers", descriptors, workers)
	var clients []*Client
	for i := range want {
		c := t.DialTo(s, DialOptions{})
		clients = append(clients, c)
		if want >= files && i < files {
			c.Request("GET", fmt.Sprintf("/%d.bin", i)).Want(200)
		}
	}
	t.Eventually(fmt.Sprintf("%s: %d connections are open", about, want), func() bool { return s.Connections() >= want })
	for range more {
		clients = append(clients, t.DialTo(s, DialOptions{}))
	}
	last := clients[want+more-1].Request("GET", "/0.bin")
	if t.Stage() < 4 {
		last.WantSilence(50 * time.Millisecond)
	} else {
		last.Want(200) // the server closes an idle client for each new one
	}
	if n := s.Connections(); n != want {
		t.Errorf("%s: %d connections are open, want %d", about, n, want)
	}
	for _, c := range clients[:2*more] {
		c.Close()
	}
	if t.Stage() < 4 {
		last.Want(200)
	}
}
