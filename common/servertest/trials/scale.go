package trials

import (
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"fourways.example/common/servertest/kernel"
	"fourways.example/common/servertest/process"
	"fourways.example/common/servertest/stages"
	"fourways.example/common/servertest/wire"
)

// All are those about numbers: threads, connections, descriptors, bytes.
func All() []Trial {
	return []Trial{
		{Name: "threads", Stages: stages.In(2, 3), Files: 1000, Run: poolThreads},
		{Name: "idle-10000", Stages: stages.In(4), Files: 10_500, Run: idle10000},
		{Name: "deaf-readers", Stages: stages.In(4), Run: deafReaders},
		{Name: "flood", Stages: stages.In(4), Run: flood},
		{Name: "spread", Stages: stages.In(4), Files: 1500, Run: spread},
		{Name: "spread-one-loop-leaves", Stages: stages.In(4), Files: 1500, Run: spreadOneLoop},
		{Name: "silent-1000", Stages: stages.In(4), Files: 1500, Run: silent1000},
		{Name: "resets-1000", Run: resets1000},
		{Name: "out-of-descriptors", Stderr: `cannot accept: .*too many open files`, Run: outOfDescriptors},
		{Name: "memory-returns", Stages: stages.In(2, 3, 4), Files: 3500, Run: memoryReturns},
		{Name: "stop-under-load", Run: stopUnderLoad},
		{Name: "memory-budget", Stages: stages.In(2, 3, 4), Run: memoryBudget},
		{Name: "idle-after-turn", Stages: stages.In(4), Files: 1500, Run: idleAfterTurn},
	}
}

// poolThreads counts a pool's threads while 500 clients, each annoying in its own way, want to be served,
// and sees to it that none of them was lost on the way.
func poolThreads(t *T) {
	const pool, few, clients = 64, 12, 500
	s := t.Begin(Config{Flags: []string{"--idle-timeout", "5m"}})
	if n := s.Threads(); n < pool {
		t.Logf("%d threads before the first client", n)
	}
	var crowd []*Client
	for i := range clients {
		c := t.Connect(s, DialOptions{RecvBuf: 4096})
		crowd = append(crowd, c)
		switch i % 4 {
		case 0: // says nothing
		case 1:
			c.Send("GET /healthz HT")
		case 2:
			c.Request("GET", "/big.bin") // and does not read it
		case 3:
			c.Request("GET", "/healthz") // and asks for nothing more
		}
	}
	// Every fourth of the first ones is answered, every fourth has begun to be.
	for i := 0; i < pool; i += 4 {
		crowd[i+2].AwaitAnswer()
		crowd[i+3].AwaitAnswer()
	}
	t.Eventually("the queue is full", func() bool { return s.Connections() > pool })
	n := s.Threads()
	t.Logf("%d threads for %d clients", n, clients)
	if n < pool || n > pool+few {
		t.Errorf("%d threads for %d clients, want the pool's %d and at most %d", n, clients, pool, few)
	}
	for _, c := range crowd {
		c.Reset()
	}
	t.Eventually("all of them are gone", func() bool { return s.Connections() == 0 })
	// Now as many at once as there are workers, and each keeps its worker.
	for range pool {
		t.DialTo(s, DialOptions{}).Request("GET", "/healthz").WantBody(200, "ok")
	}
	if n := s.Threads(); n > pool+few {
		t.Errorf("%d threads after them", n)
	}
}

// idle10000 holds 10,000 connections that did one request each, and measures what they cost.
func idle10000(t *T) {
	const clients = 10_000
	const most = 5 << 20 // bytes
	s := t.Begin(Config{Flags: []string{"--idle-timeout", "10m"}})
	for range 20 {
		serve(t, s)
	}
	t.Eventually("nobody is there", func() bool { return s.Connections() == 0 })
	before := s.Memory("VmRSS")
	start := time.Now()
	crowd := newCrowd(t, s, clients, true)
	t.Logf("%d connections in %v", clients, time.Since(start).Round(time.Millisecond))
	after := s.Memory("VmRSS")
	if n := s.Connections(); n != clients {
		t.Errorf("%d connections are open, want %d", n, clients)
	}
	start = time.Now()
	serve(t, s)
	if took := time.Since(start); took > time.Second {
		t.Errorf("the next client waits for %v", took)
	} else {
		t.Logf("the next client is answered within %v", took.Round(time.Microsecond))
	}
	n := s.Threads()
	t.Logf("%d threads, RSS grows from %d to %d kB", n, before>>10, after>>10)
	if n >= 24 {
		t.Errorf("%d threads for %d connections, want fewer than 24", n, clients)
	}
	if grown := after - before; grown > most && !racing {
		t.Errorf("RSS grows by %d kB, want at most %d", grown>>10, most>>10)
	}
	for range 500 { // they are idle, not forgotten
		if err := crowd[rand.IntN(clients)].ask(); err != nil {
			t.Fatalf("an idle connection: %v", err)
		}
	}
	for _, m := range crowd {
		m.leave()
	}
	t.Eventually("all of them are gone", func() bool { return s.Connections() == 0 })
}

// deafReaders ask for 24 MB and read nothing of it. A server that waits for one of them in a
// system call, or that asks in a circle whether they take more, is seen by its other clients or by
// the CPU it uses. So is one that is told in a circle that idle clients could be written to.
func deafReaders(t *T) {
	const clients = 200
	s := t.Begin(Config{})
	serve(t, s)
	var deaf []*Client
	for range clients {
		deaf = append(deaf, t.DialTo(s, DialOptions{RecvBuf: 4096}).Request("GET", "/big.bin"))
	}
	for _, c := range deaf {
		c.AwaitAnswer()
	}
	newCrowd(t, s, 50, true) // who could be written to, and has nothing to be told
	// What fits the socket buffers may still be on its way; a circle has no end.
	calm(t, s, func() { serve(t, s) })
	// They are slow, not forgotten.
	late := deaf[clients/2]
	late.Control(func(fd int) { _ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, 1<<20) })
	if _, err := late.Stream(wire.Digest(t.Root.BigSum)); err != nil {
		t.Errorf("when one of them reads at last: %v", err)
	}
	for _, c := range deaf {
		c.Reset()
	}
	t.Eventually("all of them are gone", func() bool { return s.Connections() == 50 })
}

// calm observes a server that has next to nothing to do: one request at each tick. It fails if
// that takes CPU time worth mentioning, or if a request has to wait.
func calm(t *T, s *Server, request func()) {
	t.Helper()
	const requests, tick = 25, 20 * time.Millisecond
	var used, window, slowest time.Duration
	for range 3 { // whatever was under way at first is over in the second window
		ticks := time.Tick(tick)
		start, cpu := time.Now(), s.CPU()
		for range requests {
			<-ticks
			began := time.Now()
			request()
			slowest = max(slowest, time.Since(began))
		}
		used, window = s.CPU()-cpu, time.Since(start)
		if used <= window/5 {
			break
		}
	}
	t.Logf("in %v it used %v of CPU time; the slowest answer took %v",
		window.Round(time.Millisecond), used, slowest.Round(time.Microsecond))
	if used > window/5 {
		t.Errorf("it used %v of CPU time in %v with nothing to do", used, window)
	}
	if slowest > time.Second {
		t.Errorf("an answer took %v", slowest)
	}
}

// flood has four clients pipeline without end, two for each loop, while others ask now and then.
func flood(t *T) {
	const requests = 30
	s := t.Begin(Config{Flags: []string{"-s", "-n", "2"}})
	t.Server = s
	var floods []*wire.Flood
	for range 4 {
		floods = append(floods, t.Flood(wire.Request("GET", "/healthz", "")))
	}
	answered := func() (least int64) {
		least = floods[0].Answered.Load()
		for _, f := range floods {
			least = min(least, f.Answered.Load())
		}
		return least
	}
	t.Eventually("every flood is answered", func() bool { return answered() > 1<<20 })
	before := answered()
	start := time.Now()
	kept := t.DialTo(s, DialOptions{})
	for range requests {
		kept.WantKept()
		serve(t, s)
	}
	took := time.Since(start)
	t.Logf("%d answers beside four floods in %v", 2*requests, took.Round(time.Millisecond))
	if took > 5*time.Second {
		t.Errorf("%d answers beside four floods take %v", 2*requests, took)
	}
	t.Eventually("every flood is still answered", func() bool { return answered() > before })
}

// evenly deals 1,000 connections out, and has a third of them leave.
func spread(t *T) {
	s := t.Begin(Config{Flags: []string{"-n", "4", "--idle-timeout", "10m"}})
	crowd := newCrowd(t, s, 1000, true)
	evenly(t, s, len(crowd))
	for range 3 {
		rand.Shuffle(len(crowd), func(i, j int) { crowd[i], crowd[j] = crowd[j], crowd[i] })
		third := len(crowd) / 3
		for _, m := range crowd[:third] {
			m.leave()
		}
		crowd = crowd[third:]
		evenly(t, s, len(crowd))
	}
	for _, m := range crowd { // those that moved are served where they are now
		if err := m.ask(); err != nil {
			t.Fatalf("a connection that stayed: %v", err)
		}
	}
	evenly(t, s, len(crowd))
}

// spreadOneLoop has all connections of one loop leave, and then of another one.
func spreadOneLoop(t *T) {
	s := t.Begin(Config{Flags: []string{"-n", "3", "--idle-timeout", "10m"}})
	// Half of them never say a word.
	crowd := append(newCrowd(t, s, 500, true), newCrowd(t, s, 500, false)...)
	evenly(t, s, len(crowd))
	for range 3 {
		gone := map[int]bool{}
		ports := s.Peers()
		loop := s.Loops()[rand.IntN(3)]
		for _, fd := range loop {
			gone[ports[fd]] = true
		}
		var stay []*member
		for _, m := range crowd {
			if gone[m.port] {
				m.leave()
			} else {
				stay = append(stay, m)
			}
		}
		if len(stay) != len(crowd)-len(loop) {
			t.Fatalf("%d of %d connections stay when a loop's %d leave", len(stay), len(crowd), len(loop))
		}
		crowd = stay
		evenly(t, s, len(crowd))
	}
	for _, m := range crowd {
		if err := m.ask(); err != nil {
			t.Fatalf("a connection that stayed: %v", err)
		}
	}
}

// evenly waits until the loops have n connections together, and about as many each.
func evenly(t *T, s *Server, n int) {
	t.Helper()
	var counts []int
	start := time.Now()
	if !kernel.Eventually(process.Patience, func() bool {
		counts = counts[:0]
		sum, least, most := 0, n, 0
		for _, loop := range s.Loops() {
			counts = append(counts, len(loop))
			sum, least, most = sum+len(loop), min(least, len(loop)), max(most, len(loop))
		}
		return sum == n && most-least <= process.LoopsApart
	}) {
		t.Fatalf("the loops have %v of %d connections: further than %d apart", counts, n, process.LoopsApart)
	}
	t.Logf("%d connections: %v, after %v", n, counts, time.Since(start).Round(time.Millisecond))
}

// silent1000 are clients that connect and say nothing at all.
func silent1000(t *T) {
	const idle = 300 * time.Millisecond // short; that it is not over early is checked with a margin
	s := t.Begin(Config{Flags: []string{"--idle-timeout", idle.String()}})
	start := time.Now()
	crowd := newCrowd(t, s, 1000, false)
	connected := time.Since(start)
	for i, m := range crowd {
		_ = m.conn.SetReadDeadline(time.Now().Add(process.Patience))
		if n, err := m.conn.Read(make([]byte, 1)); n != 0 || !wire.Closed(err) {
			t.Fatalf("client %d reads %d bytes, %v; want the end", i, n, err)
		}
		if i == 0 && time.Since(start) < idle/2 {
			t.Errorf("closed after %v of %v", time.Since(start), idle)
		}
	}
	t.Logf("connected in %v, closed after %v", connected.Round(time.Millisecond), time.Since(start).Round(time.Millisecond))
	t.Eventually("all of them are gone", func() bool { return s.Connections() == 0 })
	serve(t, s)
}

// resets1000 are clients that leave in the midst of a response, half of them with a RST, half with
// bytes that they have not read, which comes to the same. None may leave a descriptor.
func resets1000(t *T) {
	batch := 50
	if t.Stage() == 1 {
		batch = 1 // it would not see the second one
	}
	s := t.Begin(Config{Flags: []string{"-s"}})
	leave := func(n int) {
		var clients []*Client
		for range batch {
			clients = append(clients, t.Connect(s, DialOptions{RecvBuf: 4096}).Request("GET", "/big.bin"))
		}
		for i, c := range clients {
			c.AwaitAnswer()
			if (n+i)%2 == 0 {
				c.Reset()
			} else {
				c.Close()
			}
		}
	}
	leave(0)
	serve(t, s)
	t.Eventually("nobody is there", func() bool { return s.Connections() == 0 })
	before := len(s.FDs())
	for i := range 1000 / batch {
		leave(i * batch)
	}
	serve(t, s)
	if !kernel.Eventually(process.Patience, func() bool { return len(s.FDs()) <= before }) {
		t.Errorf("%d descriptors are left of %d", len(s.FDs())-before, before)
	}
}

// outOfDescriptors takes descriptors away from a running server, until accept(2) fails: --max-conns is
// far above what is left. The server must wait, not spin, say so, not shout, and
// serve on when there are descriptors again: because clients leave, or because the
// limit is raised.
func outOfDescriptors(t *T) {
	s := t.Begin(Config{Flags: []string{"--max-conns", "10000", "--idle-timeout", "5m"}})
	serve(t, s)
	t.Eventually("nobody is there", func() bool { return s.Connections() == 0 })
	// Its first line in the log makes a Go program read the time zone's file.
	if !s.Stdout.Await(process.Patience, func(out string) bool { return strings.Contains(out, "/healthz") }) {
		t.Fatalf("no request in the log")
	}
	room, over := 8, 4
	if t.Stage() == 1 {
		room = 0 // it never has two connections
	}
	before, err := s.Limit(room)
	t.Must(err)
	var served, waiting []*Client
	if room == 0 {
		// An accept(2) that is waiting has taken its descriptor before.
		first := t.DialTo(s, DialOptions{}).Request("GET", "/healthz")
		t.Eventually("the first client is served, or is one too many", func() bool { return !first.Silent() || s.Stderr.Len() > 0 })
		if first.Silent() {
			waiting = append(waiting, first)
		} else {
			first.WantBodyOK().Close()
		}
	}
	for range room {
		served = append(served, t.DialTo(s, DialOptions{}).Request("GET", "/healthz").WantBodyOK())
	}
	for range over {
		waiting = append(waiting, t.DialTo(s, DialOptions{}).Request("GET", "/healthz"))
	}
	if !s.Stderr.Await(process.Patience, func(out string) bool { return strings.Contains(out, "\n") }) {
		t.Errorf("it does not say on stderr that it cannot accept")
	}
	calm(t, s, func() {
		if room > 0 {
			served[0].WantKept()
		}
	})
	for i, c := range waiting {
		if !c.Silent() {
			t.Errorf("client %d over the limit is not left waiting", i)
		}
	}
	if room > 0 {
		served[room-1].Reset()
		served[room-2].Reset()
		waiting[0].WantBodyOK()
		waiting[1].WantBodyOK()
	}
	if err := unix.Prlimit(s.PID(), unix.RLIMIT_NOFILE, &before, nil); err != nil {
		t.Fatalf("prlimit: %v", err)
	}
	for _, c := range waiting[min(room, 2):] {
		c.WantBodyOK()
		if t.Stage() == 1 {
			c.Close()
		}
	}
	if lines := strings.Count(s.Stderr.String(), "\n"); lines > 5 {
		t.Errorf("%d lines on stderr about one shortage:%s", lines, process.Indent(s.Stderr.String()))
	}
}

// serve is a client that comes, is answered and leaves.
func serve(t *T, s *Server) {
	t.Helper()
	c := t.Connect(s, DialOptions{})
	defer c.Close()
	c.Request("GET", "/healthz", "Connection: close").WantBody(200, "ok")
}

// A member is one connection of a crowd: no more than a descriptor, so that ten thousand of them
// cost the client little.
type member struct {
	conn *net.TCPConn
	port int // its own
}

const healthz = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"

// newCrowd makes n connections. Those that are to ask do one request each.
func newCrowd(t *T, s *Server, n int, ask bool) []*member {
	t.Helper()
	crowd := make([]*member, n)
	t.OnEnd(func() {
		for _, m := range crowd {
			if m != nil {
				m.leave()
			}
		}
	})
	var (
		next atomic.Int64
		fail atomic.Pointer[error]
		wg   sync.WaitGroup
	)
	for range 8 {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < n && fail.Load() == nil; i = int(next.Add(1)) - 1 {
				m, err := joinCrowd(s, i)
				if err == nil {
					crowd[i] = m
					if ask {
						err = m.ask()
					}
				}
				if err != nil {
					err = fmt.Errorf("connection %d: %w", i, err)
					fail.Store(&err)
				}
			}
		})
	}
	wg.Wait()
	if err := fail.Load(); err != nil {
		t.Fatalf("%v", *err)
	}
	return crowd
}

// joinCrowd makes connection i of a crowd. Each address of this machine has ports for some thousands,
// fewer where other connections are in TIME_WAIT.
func joinCrowd(s *Server, i int) (*member, error) {
	d := net.Dialer{
		Timeout:   process.Patience,
		LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, byte(2+i/4000))},
		Control: func(_, _ string, raw syscall.RawConn) error {
			// The port is chosen by connect(2), which may take one that is in use towards another
			// server; bind(2) may not.
			var failed error
			err := raw.Control(func(fd uintptr) {
				failed = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1)
			})
			if err != nil {
				return err
			}
			return failed
		},
	}
	conn, err := d.Dial("tcp4", s.Addr())
	if err != nil {
		return nil, err
	}
	return &member{conn.(*net.TCPConn), conn.LocalAddr().(*net.TCPAddr).Port}, nil
}

// ask does one request.
func (m *member) ask() error {
	_ = m.conn.SetDeadline(time.Now().Add(process.Patience))
	if _, err := m.conn.Write([]byte(healthz)); err != nil {
		return err
	}
	got := make([]byte, 0, 1024)
	for !strings.HasSuffix(string(got), "\r\n\r\nok") {
		if len(got) == cap(got) {
			return fmt.Errorf("answered %s", wire.Quote(string(got)))
		}
		n, err := m.conn.Read(got[len(got):cap(got)])
		if err != nil {
			return fmt.Errorf("after %s: %w", wire.Quote(string(got)), err)
		}
		got = got[:len(got)+n]
	}
	if !strings.HasPrefix(string(got), "HTTP/1.1 200 ") {
		return fmt.Errorf("answered %s", wire.Quote(string(got)))
	}
	return nil
}

// leave closes the connection with a RST, which leaves nothing behind in TIME_WAIT.
func (m *member) leave() {
	_ = m.conn.SetLinger(0)
	_ = m.conn.Close()
}
