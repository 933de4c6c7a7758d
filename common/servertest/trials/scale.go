package trials

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"fourways.example/common/servertest/kernel"
	"fourways.example/common/servertest/process"
	"fourways.example/common/servertest/stages"
	"fourways.example/common/servertest/wire"
)

// All returns all trials but those of [RunFamilies].
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

// runtimeThreads bounds the threads that a server has besides its workers. Eight have a task: the monitor of the Go
// runtime, the one that starts threads while others are locked, two for signals, one in the runtime's epoll set, two
// acceptors and a writer of the log. A processor has a thread that runs Go code. A second one may be about to
// sleep: it has given the processor up, but the runtime does not find it among the sleeping threads yet, and starts
// another. Threads never end, so a server keeps the largest number that it ever needed.
func runtimeThreads(processors int) int { return 8 + 2*processors }

// poolThreads counts the threads of a pool while 500 clients, many of them silent or slow, are connected. When they
// have left, every worker must still serve clients.
func poolThreads(t *T) {
	const pool, clients = 64, 500
	// On a machine with more CPUs the runtime has more threads, so the trial sets the number of processors. Serve
	// raises it to 4 for the workers and one for each acceptor.
	s := t.Begin(Config{Flags: []string{"--idle-timeout", "5m"}, Env: []string{"GOMAXPROCS=2"}})
	few := runtimeThreads(4 + 2)
	if n := s.Threads(); n < pool {
		t.Logf("%d threads before the first client", n)
	}
	var crowd []*Client
	for i := range clients {
		c := t.Connect(s, DialOptions{RecvBuf: 4096})
		crowd = append(crowd, c)
		switch i % 4 {
		case 0: // sends nothing
		case 1:
			c.Send("GET /healthz HT")
		case 2:
			c.Request("GET", "/big.bin") // reads no byte of the response
		case 3:
			c.Request("GET", "/healthz") // sends no other request
		}
	}
	// Of the first 64 clients, which have a worker each, every fourth gets a response and every fourth the
	// beginning of one.
	for i := 0; i < pool; i += 4 {
		crowd[i+2].AwaitAnswer()
		crowd[i+3].AwaitAnswer()
	}
	t.Eventually("the queue is full", func() bool { return s.Connections() > pool })
	n := s.Threads()
	t.Logf("%d threads for %d clients", n, clients)
	if n < pool || n > pool+few {
		t.Errorf("%d threads for %d clients, want the pool's %d and at most %d more", n, clients, pool, few)
	}
	for _, c := range crowd {
		c.Reset()
	}
	t.Eventually("all connections are closed", func() bool { return s.Connections() == 0 })
	// These clients stay connected, so each needs a worker of its own.
	for range pool {
		t.DialTo(s, DialOptions{}).Request("GET", "/healthz").WantBody(200, "ok")
	}
	if n := s.Threads(); n > pool+few {
		t.Errorf("%d threads after %d more clients, want at most %d", n, pool, pool+few)
	}
}

// idle10000 keeps 10,000 connections open after one request each, and measures their threads and memory.
func idle10000(t *T) {
	const clients = 10_000
	const maxGrowth = 5 << 20 // bytes
	s := t.Begin(Config{Flags: []string{"--idle-timeout", "10m"}})
	for range 20 {
		serve(t, s)
	}
	t.Eventually("all connections are closed", func() bool { return s.Connections() == 0 })
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
	if grown := after - before; grown > maxGrowth && !racing {
		t.Errorf("RSS grows by %d kB, want at most %d", grown>>10, maxGrowth>>10)
	}
	for range 500 { // idle clients are still served
		if err := crowd[rand.IntN(clients)].ask(); err != nil {
			t.Fatalf("an idle connection: %v", err)
		}
	}
	for _, m := range crowd {
		m.leave()
	}
	t.Eventually("all connections are closed", func() bool { return s.Connections() == 0 })
}

// deafReaders has 200 clients request 24 MB and read nothing. If the server waits for one of them in a system
// call, other clients have to wait. If it polls the clients in a loop, or epoll reports again and again that
// idle clients are writable, it uses CPU time.
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
	newCrowd(t, s, 50, true) // writable, but there is nothing to send
	wantIdle(t, s, func() { serve(t, s) })
	// The server still serves a client that reads late.
	late := deaf[clients/2]
	late.Control(func(fd int) { _ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, 1<<20) })
	if _, err := late.Stream(wire.Digest(t.Root.BigSum)); err != nil {
		t.Errorf("a client that reads late: %v", err)
	}
	for _, c := range deaf {
		c.Reset()
	}
	t.Eventually("their connections are closed", func() bool { return s.Connections() == 50 })
}

// wantIdle checks that a server with almost nothing to do, one request every 20 ms, uses less than 20 % of a
// CPU and answers each request within 1 s.
func wantIdle(t *T, s *Server, request func()) {
	t.Helper()
	const requests, tick = 25, 20 * time.Millisecond
	var used, window, slowest time.Duration
	for range 3 { // in the first window the server may still be busy with earlier requests
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
	t.Logf("the server used %v of CPU time in %v; the slowest answer took %v",
		used, window.Round(time.Millisecond), slowest.Round(time.Microsecond))
	if used > window/5 {
		t.Errorf("the server used %v of CPU time in %v with almost nothing to do", used, window)
	}
	if slowest > time.Second {
		t.Errorf("an answer took %v", slowest)
	}
}

// flood has four clients, two for each loop, pipeline requests without end. The server must still answer the single
// requests of other clients.
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
	t.Logf("%d answers during four floods in %v", 2*requests, took.Round(time.Millisecond))
	if took > 5*time.Second {
		t.Errorf("%d answers during four floods take %v, want at most 5s", 2*requests, took)
	}
	t.Eventually("every flood is still answered", func() bool { return answered() > before })
}

// spread makes 1,000 connections and has a third of them leave, three times. The loops must have about equally
// many connections each time.
func spread(t *T) {
	s := t.Begin(Config{Flags: []string{"-n", "4", "--idle-timeout", "10m"}})
	crowd := newCrowd(t, s, 1000, true)
	awaitSpread(t, s, len(crowd))
	for range 3 {
		rand.Shuffle(len(crowd), func(i, j int) { crowd[i], crowd[j] = crowd[j], crowd[i] })
		third := len(crowd) / 3
		for _, m := range crowd[:third] {
			m.leave()
		}
		crowd = crowd[third:]
		awaitSpread(t, s, len(crowd))
	}
	for _, m := range crowd { // a connection that has moved to another loop is served there
		if err := m.ask(); err != nil {
			t.Fatalf("a connection that stayed: %v", err)
		}
	}
	awaitSpread(t, s, len(crowd))
}

// spreadOneLoop has all connections of one loop leave, three times. The other loops must share theirs with it.
func spreadOneLoop(t *T) {
	s := t.Begin(Config{Flags: []string{"-n", "3", "--idle-timeout", "10m"}})
	// The second half of the clients never sends a byte.
	crowd := append(newCrowd(t, s, 500, true), newCrowd(t, s, 500, false)...)
	awaitSpread(t, s, len(crowd))
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
			t.Fatalf("%d of %d connections stay when the %d of one loop leave", len(stay), len(crowd), len(loop))
		}
		crowd = stay
		awaitSpread(t, s, len(crowd))
	}
	for _, m := range crowd {
		if err := m.ask(); err != nil {
			t.Fatalf("a connection that stayed: %v", err)
		}
	}
}

// awaitSpread waits until the loops have n connections together, and about equally many each.
func awaitSpread(t *T, s *Server, n int) {
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
		t.Fatalf("%s", notSpread(counts, n))
	}
	t.Logf("%d connections: %v, after %v", n, counts, time.Since(start).Round(time.Millisecond))
}

// notSpread describes the fault in how n open connections are spread over the loops.
func notSpread(counts []int, n int) string {
	sum := 0
	for _, c := range counts {
		sum += c
	}
	what := fmt.Sprintf("one loop has at least %d connections more than another", process.LoopsApart+1)
	switch {
	case sum > n:
		what = "some connections are in the epoll sets of two loops"
	case sum < n:
		what = "some connections are in no loop's epoll set"
	}
	return fmt.Sprintf("%s: %d connections are open, and the epoll sets of the loops have %v", what, n, counts)
}

// silent1000 has 1,000 clients connect and send nothing. The server must close them after the idle time-out.
func silent1000(t *T) {
	const idle = 300 * time.Millisecond // short, because the trial waits for it
	s := t.Begin(Config{Flags: []string{"--idle-timeout", idle.String()}})
	start := time.Now()
	crowd := newCrowd(t, s, 1000, false)
	connected := time.Since(start)
	for i, m := range crowd {
		_ = m.conn.SetReadDeadline(time.Now().Add(process.Patience))
		if n, err := m.conn.Read(make([]byte, 1)); n != 0 || !wire.Closed(err) {
			t.Fatalf("client %d reads %d bytes, %v; want the end of the connection", i, n, err)
		}
		if i == 0 && time.Since(start) < idle/2 {
			t.Errorf("closed after %v, want at least half of %v", time.Since(start), idle)
		}
	}
	t.Logf("connected in %v, closed after %v", connected.Round(time.Millisecond), time.Since(start).Round(time.Millisecond))
	t.Eventually("all connections are closed", func() bool { return s.Connections() == 0 })
	serve(t, s)
}

// resets1000 has 1,000 clients leave in the middle of a response, half of them with a RST. The other half close with
// unread bytes, for which the kernel sends a RST too. The server must close all descriptors.
func resets1000(t *T) {
	batch := 50
	if t.Stage() == 1 {
		batch = 1 // the server accepts the second client only after the first has left
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
	t.Eventually("all connections are closed", func() bool { return s.Connections() == 0 })
	before := len(s.FDs())
	for i := range 1000 / batch {
		leave(i * batch)
	}
	serve(t, s)
	if !kernel.Eventually(process.Patience, func() bool { return len(s.FDs()) <= before }) {
		t.Errorf("%d descriptors are open, want at most %d", len(s.FDs()), before)
	}
}

// outOfDescriptors lowers the limit for descriptors below --max-conns while the server runs, so that accept(2)
// fails. The server must wait without using CPU time and write a few lines to stderr, not one for each
// failure. It must serve the waiting clients when others have left, or when the limit is raised.
func outOfDescriptors(t *T) {
	s := t.Begin(Config{Flags: []string{"--max-conns", "10000", "--idle-timeout", "5m"}})
	serve(t, s)
	t.Eventually("all connections are closed", func() bool { return s.Connections() == 0 })
	// Go opens the time zone's file for the first line of the log. Wait until it is closed.
	if !s.Stdout.Await(process.Patience, func(out string) bool { return strings.Contains(out, "/healthz") }) {
		t.Fatalf("the log has no line for the request")
	}
	room, over := 8, 4
	if t.Stage() == 1 {
		room = 0 // it never has more than one connection
	}
	before, err := s.Limit(room)
	t.Must(err)
	var served, waiting []*Client
	if room == 0 {
		// An accept(2) that already waits has reserved its descriptor, so it may still succeed.
		first := t.DialTo(s, DialOptions{}).Request("GET", "/healthz")
		t.Eventually("the first client is served, or accept(2) fails", func() bool { return !first.Silent() || s.Stderr.Len() > 0 })
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
		t.Errorf("no line on stderr says that the server cannot accept")
	}
	wantIdle(t, s, func() {
		if room > 0 {
			served[0].WantKept()
		}
	})
	for i, c := range waiting {
		if !c.Silent() {
			t.Errorf("client %d over the limit gets an answer or is closed, want it to wait", i)
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
		t.Errorf("%d lines on stderr about the lack of descriptors, want at most 5:%s", lines, process.Indent(s.Stderr.String()))
	}
}

// serve is a client that connects, gets one response and leaves.
func serve(t *T, s *Server) {
	t.Helper()
	c := t.Connect(s, DialOptions{})
	defer c.Close()
	c.Request("GET", "/healthz", "Connection: close").WantBody(200, "ok")
}

// A member is one connection of a crowd. It has no buffers, so that 10,000 members need little memory.
type member struct {
	conn *net.TCPConn
	port int // the local port
}

const healthz = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"

// newCrowd makes n connections. If ask is true, each sends a request and reads the response.
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

// joinCrowd makes connection i of a crowd. It uses another local address for every 4,000 connections, because an
// address has ports for only some thousands.
func joinCrowd(s *Server, i int) (*member, error) {
	conn, err := s.Dial(DialOptions{From: net.IPv4(127, 0, 0, byte(2+i/4000))})
	if err != nil {
		return nil, err
	}
	return &member{conn, conn.LocalAddr().(*net.TCPAddr).Port}, nil
}

// ask sends a request and reads the response.
func (m *member) ask() error {
	got, err := m.exchange([]byte(healthz), 1)
	if err != nil {
		return err
	}
	if !bytes.HasPrefix(got, []byte("HTTP/1.1 200 ")) || !bytes.HasSuffix(got, okEnd) {
		return fmt.Errorf("answered %s", wire.Quote(string(got)))
	}
	return nil
}

// okEnd is the end of the response to healthz.
var okEnd = []byte("\r\n\r\nok")

// exchange sends data, which is one or several times healthz, and returns the answers.
func (m *member) exchange(data []byte, answers int) ([]byte, error) {
	_ = m.conn.SetDeadline(time.Now().Add(process.Patience))
	if _, err := m.conn.Write(data); err != nil {
		return nil, err
	}
	got := make([]byte, 0, answers<<10)
	for bytes.Count(got, okEnd) < answers {
		if len(got) == cap(got) {
			return nil, fmt.Errorf("answered %s", wire.Quote(string(got)))
		}
		n, err := m.conn.Read(got[len(got):cap(got)])
		if err != nil {
			return nil, fmt.Errorf("after %s: %w", wire.Quote(string(got)), err)
		}
		got = got[:len(got)+n]
	}
	return got, nil
}

// leave closes the connection with a RST, so that no socket stays in TIME_WAIT.
func (m *member) leave() {
	_ = m.conn.SetLinger(0)
	_ = m.conn.Close()
}
