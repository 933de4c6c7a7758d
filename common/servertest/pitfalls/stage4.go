package pitfalls

import (
	"bytes"
	"fmt"
	"strings"
	"syscall"
	"time"

	"fourways.example/common/servertest/kernel"
	"fourways.example/common/servertest/process"
	"fourways.example/common/servertest/scenario"
	"fourways.example/common/servertest/stages"
	"fourways.example/common/servertest/wire"
)

// stage4Scenarios returns the scenarios about event loops. A thread that serves thousands of clients must not
// block on any of them, and a descriptor does not identify a client for long.
func stage4Scenarios() []Scenario {
	at := func(fn, has string) Place { return Place{Dir: "STAGE", Func: fn, Has: has} }
	return []Scenario{
		{
			ID: "pool-exhausted", Stage: 4,
			Bug:      "every idle connection holds a worker of the pool",
			Question: "A pool has 4 workers. 4 clients get a page each and keep their connections open, as browsers do. Then B asks for a page. What does B get?",
			Choices:  []string{"its page: the other four clients are idle", "nothing, until one of the four leaves", "503"},
			Answer:   1, Assertion: "served-beside-idle-clients",
			Usually: "that a connection holds a thread while it is idle: let one thread wait for many connections",
			Where:   []Place{at("loop.work", ""), at("loop.wait", "")},
			Stages:  stages.In(2, 3, 4), Fails: stages.In(2, 3), Flags: []string{"-n", "4", "--idle-timeout", "1m"},
			Run: func(s *S) {
				for i := range 4 {
					p := s.Connect(fmt.Sprintf("A%d", i+1))
					p.Send("GET /plain.txt, and keeps the connection open", plainGet)
					if resp, err := p.Answer(); err != nil || resp.Status != 200 {
						s.Fatalf("not answered: %s", scenario.InWords(resp, err))
					}
				}
				served(s, "B", "while 4 clients are idle")
			},
		},
		{
			ID: "blocking-fd", Stage: 4,
			Bug:      "an event loop serves blocking sockets",
			Question: "The server has one event loop (-n 1), and its sockets are blocking. A sends half a request. Then B asks for a page. What does B get?",
			Choices:  []string{"its page: epoll lets one thread serve both", "nothing: the loop waits for A's other half", "an error"},
			Answer:   1, Assertion: "nobody-notices-a-slow-client",
			Usually: "that a system call blocks the loop: epoll does not make sockets non-blocking, so set O_NONBLOCK",
			Where:   []Place{at("accept", "SOCK_NONBLOCK"), at("loop.handle", "")},
			Stages:  stages.In(2, 3, 4), Fails: stages.In(2, 3), Flags: []string{"-n", "1", "--idle-timeout", "1m"},
			Run: func(s *S) {
				a := s.Connect("A")
				a.Send("half of a request", halfHead)
				a.AwaitRead()
				served(s, "B", "while one client has sent half a request")
				c := s.Connect("C")
				c.Send("GET /big.bin, and does not read", wire.Request("GET", "/big.bin", ""))
				s.Stalled(c)
				served(s, "D", "while one client does not read")
			},
		},
		{
			ID: "no-epollout", Stage: 4,
			Bug:      "the loop does not wait for EPOLLOUT after a write has returned EAGAIN",
			Question: "A asks for 24 MiB and reads slowly. A non-blocking send returns EAGAIN, and the loop watches A for EPOLLIN. What does A get?",
			Choices:  []string{"the whole file", "as much as fits into the socket buffers, then nothing", "a reset"},
			Answer:   1, Assertion: "the-rest-is-sent-when-writable",
			Usually: "that the loop does not wait for EPOLLOUT after EAGAIN from a write: the client sends nothing while it reads, so EPOLLIN never comes",
			Where:   []Place{at("loop.watch", "EPOLLOUT"), {Dir: "common/h1", Func: "Conn.send"}},
			Run: func(s *S) {
				big := s.Root.Big()
				a := s.Connect("A")
				a.Send("GET /plain.txt", plainGet)
				if resp, err := a.Answer(); err != nil || resp.Status != 200 {
					s.Fatalf("not answered: %s", scenario.InWords(resp, err))
				}
				a.Send("GET /big.bin, and does not read at first", wire.Request("GET", "/big.bin", ""))
				s.Stalled(a)
				resp, err := a.Answer()
				s.Assert(err == nil && bytes.Equal(resp.Body, big), "of a large response A gets only a part, then: %s", scenario.InWords(resp, err))
			},
		},
		{
			ID: "always-epollout", Stage: 4,
			Bug:      "the loop watches for EPOLLOUT all the time",
			Question: "The loop always watches each connection for EPOLLIN and EPOLLOUT. Three clients are connected and idle. How much CPU time does the server use?",
			Choices:  []string{"none", "a little, now and then", "as much as it can get"},
			Answer:   2, Assertion: "asleep-with-idle-clients",
			Usually: "that a level-triggered event is always ready: a socket can take more bytes nearly all the time, so watch for EPOLLOUT only after EAGAIN",
			Where:   []Place{at("loop.watch", "EPOLLOUT")},
			Flags:   []string{"--idle-timeout", "1m"},
			Run: func(s *S) {
				s.Crowd("A", 3, DialOptions{})
				s.Step("does the server go to sleep?")
				assertRests(s, "while 3 clients are idle")
			},
		},
		{
			ID: "shared-epoll", Stage: 4,
			Bug:      "all worker threads wait on one epoll set",
			Question: "4 threads wait on the same epoll set. A uploads 900 KB again and again, and the server echoes each upload. What does A get back?",
			Choices:  []string{"each upload unchanged: an event wakes only one thread", "sooner or later something else, or nothing", "each upload four times"},
			Answer:   1, Assertion: "uploads-come-back-unchanged",
			Usually: "that two threads serve one connection at the same time: let each descriptor belong to one thread",
			Where:   []Place{at("Serve", "newLoop"), at("acceptAll", ""), at("newLoop", "")},
			Stages:  stages.In(2, 3, 4), Flags: []string{"-n", "4"},
			Run: func(s *S) {
				a := s.Connect("A")
				var body strings.Builder
				for i := 0; body.Len() < 900_000; i++ {
					fmt.Fprintf(&body, "%d,", i)
				}
				const n = 30
				s.Step("A uploads %d bytes %d times, and compares each response with its upload", body.Len(), n)
				data := wire.Request("POST", "/echo", body.String())
				a.Put(wire.Request("POST", "/echo", "one"))
				if resp, err := a.Take("POST"); err != nil || resp.Status != 200 || string(resp.Body) != "one" {
					s.Saw("one upload does not come back unchanged")
					s.Assert(false, "a small upload before them does not come back unchanged: A gets %s", scenario.InWords(resp, err))
					return
				}
				for i := range n {
					go a.Put(data)
					resp, err := a.Take("POST")
					same := err == nil && resp.Status == 200 && string(resp.Body) == body.String()
					if !same {
						s.Saw("one upload does not come back unchanged")
						s.Assert(false, "upload %d of %d does not come back unchanged: A gets %s", i+1, n, scenario.InWords(resp, err))
					}
				}
				s.Saw("all uploads come back unchanged")
				s.Assert(true, "")
			},
		},
		{
			ID: "stale-fd", Stage: 4,
			Bug:      "the server closes a descriptor first, and removes its table entries later",
			Question: "A closes. The server closes its end at once, but removes its table entries for A's descriptor only when A's time-out is over. B and C connect, and one of them gets A's old descriptor. Both send half a request, and the other half after A's time-out. What do they get?",
			Choices:  []string{"their pages", "one gets nothing: the server has removed its entry", "one gets A's page"},
			Answer:   1, Assertion: "nothing-left-of-the-client-before",
			Usually: "that the server identifies a client by its descriptor, whose number the next client may get at once: remove the table entries first, and close last",
			Where:   []Place{at("loop.drop", "l.forget(c)"), at("loop.forget", ""), {Dir: "common/slotmap", Func: "Map.Put", Has: "m.count++"}},
			Stages:  stages.In(4), Flags: []string{"-n", "1", "--idle-timeout", "700ms"},
			Run: func(s *S) {
				a := s.Connect("A")
				a.Send("GET /plain.txt", plainGet)
				if resp, err := a.Answer(); err != nil || resp.Status != 200 {
					s.Fatalf("not answered: %s", scenario.InWords(resp, err))
				}
				a.Close()
				s.Until(func() bool { return s.Server.Connections() <= 0 })
				// B gets A's old descriptor, unless accept(2) was already waiting when A left: it had then
				// reserved another descriptor for B, and C gets A's.
				const half = len("GET /plain.txt HTTP/1.1\r\n")
				var later []*Peer
				for _, name := range []string{"B", "C"} {
					p := s.Connect(name)
					p.Send("the first line of GET /plain.txt", plainGet[:half])
					later = append(later, p)
				}
				s.Step("B and C wait until A's time-out is over")
				s.UntilAfter(time.Second, func() bool { return false })
				for _, p := range later {
					p.Send("the rest", plainGet[half:])
					resp, err := p.Answer()
					s.Assert(err == nil && resp.Status == 200, "after the time-out of a client that has left, a later client gets: %s", scenario.InWords(resp, err))
				}
			},
		},
		{
			ID: "accept-in-loop", Stage: 4,
			Bug:      "a worker both accepts and serves connections",
			Question: "The listening socket is in a worker's epoll set. The worker accepts one connection in each round of its loop. When does it reach accept(2) least often?",
			Choices:  []string{"when no clients connect", "when it has the most to do", "the load makes no difference"},
			Answer:   1, Assertion: "who-accepts-does-not-serve",
			Usually: "that a new connection waits while the same thread serves others: give each listening socket a thread of its own",
			Where:   []Place{at("Serve", "acceptAll("), at("acceptAll", "")},
			Stages:  stages.In(2, 3, 4), Flags: []string{"-n", "1"}, Strace: []string{"accept4", "sendto"},
			Run: func(s *S) {
				for i := range 3 {
					p := s.Connect(fmt.Sprintf("A%d", i+1))
					p.Send("GET /plain.txt with Connection: close", wire.Request("GET", "/plain.txt", "", "Connection: close"))
					if resp, err := p.Answer(); err != nil || resp.Status != 200 {
						s.Fatalf("not answered: %s", scenario.InWords(resp, err))
					}
				}
				s.Step("has one thread called both accept(2) and send(2)?")
				s.Calls(s.Scenario.Strace...) // wait until strace has written all calls
				both := ""
				for tid, calls := range s.Callers() {
					if calls["accept4"] && calls["sendto"] {
						both = tid
					}
				}
				if both == "" {
					s.Saw("no")
				} else {
					s.Saw("yes")
				}
				s.Assert(both == "", "one thread accepts and serves: new connections wait while it serves others")
			},
		},
		{
			ID: "emfile-spin", Stage: 4,
			Bug:      "the server retries accept(2) at once after EMFILE",
			Question: "The server has no free descriptor, and a client waits to be accepted. accept(2) fails with EMFILE, and the server calls it again at once. What does the server do now?",
			Choices:  []string{"it sleeps: accept(2) blocks until a descriptor is free", "it keeps a CPU busy", "it refuses the client"},
			Answer:   1, Assertion: "asleep-at-the-limit",
			Usually: "that the server retries without a pause after an error that lasts: the client stays in the queue, so accept(2) fails again at once",
			Where:   []Place{at("accept", "time.Sleep"), {Dir: "common/sock", Func: "ClassifyAcceptError"}},
			Stages:  stages.In(2, 3, 4), Flags: []string{"--max-conns", "1000", "--idle-timeout", "1m"}, Stderr: "cannot accept",
			Run: func(s *S) {
				a := s.Connect("A")
				a.Send("GET /healthz", wire.Request("GET", "/healthz", ""))
				if resp, err := a.Answer(); err != nil || resp.Status != 200 {
					s.Fatalf("not answered: %s", scenario.InWords(resp, err))
				}
				s.Server.Stdout.Await(process.Patience, func(out string) bool { return strings.Contains(out, "/healthz") })
				s.Step("the server can open only 4 more descriptors (prlimit)")
				if _, err := s.Server.Limit(4); err != nil {
					s.Fatalf("%v", err)
				}
				crowd := s.Crowd("B", 8, DialOptions{})
				if !s.Server.Stderr.Await(process.Patience, func(out string) bool { return strings.Contains(out, "\n") }) {
					s.Fatalf("the server writes no warning that it cannot accept connections")
				}
				s.Step("does the server go to sleep?")
				assertRests(s, "while clients wait to be accepted")
				s.Step("B1 to B4 close")
				for _, p := range crowd[:4] {
					p.Abandon()
				}
				last := crowd[5]
				last.Send("GET /healthz", wire.Request("GET", "/healthz", "")) // opens no file
				resp, err := last.AtLeast(time.Second).Answer()
				s.Assert(err == nil && resp.Status == 200, "after descriptors have become free, a client that waited gets: %s", scenario.InWords(resp, err))
			},
		},
		{
			ID: "unbalanced", Stage: 4,
			Bug:      "the acceptor assigns connections to the loops in turn, and they never move",
			Question: "The acceptor assigns connections to 2 event loops in turn. 40 clients connect, then every other client leaves. How many clients does each loop have now?",
			Choices:  []string{"10 and 10", "20 and 0", "about the same number, depending on chance"},
			Answer:   1, Assertion: "loops-about-even",
			Usually: "that the server distributes connections only when they arrive: count the connections of each loop, and move idle ones",
			Where:   []Place{at("acceptAll", "slices.MinFunc"), at("loop.balance", "")},
			Stages:  stages.In(4), Flags: []string{"-n", "2", "--idle-timeout", "1m"},
			Run: func(s *S) {
				const n = 40
				crowd := s.Crowd("A", n, DialOptions{})
				held := func() (sum, apart int) {
					least, most := n, 0
					for _, l := range s.Server.Loops() {
						sum, least, most = sum+len(l), min(least, len(l)), max(most, len(l))
					}
					return sum, most - least
				}
				if !s.UntilAfter(time.Second, func() bool { sum, apart := held(); return sum == n && apart <= process.LoopsApart }) {
					s.Fatalf("the loops do not have %d clients in about equal parts", n)
				}
				s.Step("every other client leaves: A1, A3, A5, …")
				for i := 0; i < n; i += 2 {
					crowd[i].Abandon()
				}
				s.Until(func() bool { sum, _ := held(); return sum == n/2 })
				s.Step("how are the other %d distributed over the loops?", n/2)
				ok := s.Until(func() bool { sum, apart := held(); return sum == n/2 && apart <= process.LoopsApart })
				_, apart := held()
				if ok {
					s.Saw("about evenly")
				} else {
					s.Saw("one loop has %d more than the other", apart)
				}
				s.Assert(ok, "of %d clients, one loop has %d more than the other", n/2, apart)
			},
		},
		{
			ID: "stale-event", Stage: 4,
			Bug:      "the loop applies an event for a closed connection to a new client",
			Question: "A has slot 9 of the table of clients, and a batch of events contains EPOLLHUP for slot 9. Before the loop comes to this event, it closes A because of a time-out, and B gets slot 9. What happens to B?",
			Choices:  []string{"nothing: the event concerns A", "the server closes its connection", "it gets A's response"},
			Answer:   1, Assertion: "another-clients-event-is-ignored",
			Usually: "that an event names a slot or a descriptor, which may belong to another client by now: put a number into the event that is never used again, and look the client up by it",
			Where:   []Place{at("loop.event", ""), at("loop.adopt", ""), {Dir: "common/slotmap", Func: "Map.Put", Has: "m.count++"}, at("loop.work", "l.event(")},
			Stages:  stages.In(4), Flags: []string{"-n", "1", "--idle-timeout", staleTimeout.String()}, Needs: scenario.NeedsHold, NoServer: true,
			Run: func(s *S) {
				s.Begin(Config{Wrap: scenario.UnderShell})
				a := s.Connect("A")
				over := time.Now().Add(staleTimeout + 200*time.Millisecond)
				s.Step("ptrace(2) holds the loop before its next epoll_wait until A's idle time-out is over")
				release := s.Hold(a)
				time.Sleep(time.Until(over)) // the time-out runs on meanwhile
				s.Step("A resets its connection, and B connects and sends half a request")
				_ = a.Conn.SetLinger(0) // makes Close send a reset
				_ = a.Conn.Close()
				b := s.Join("B", DialOptions{})
				const half = len("GET /plain.txt HTTP/1.1\r\n")
				b.Put(plainGet[:half])
				if !kernel.Eventually(process.Patience, func() bool {
					// The server still has A's connection, and the acceptor has handed B's to the loop.
					_, again := s.Server.InCall("accept4", "accept", "poll")
					return again && s.Server.Connections() == 2
				}) {
					s.Fatalf("the server does not accept B while the loop is held")
				}
				s.Step("the loop runs on")
				release()
				s.Until(func() bool { return s.Server.Connections() <= 1 })
				b.AwaitRead()
				b.Send("the other half of its request", plainGet[half:])
				resp, err := b.Answer()
				s.Assert(err == nil && resp.Status == 200, "a client that the loop took over in the same round gets: %s", scenario.InWords(resp, err))
			},
		},
		{
			ID: "fifo-blocks", Stage: 4,
			Bug:      "the server opens any kind of file without O_NONBLOCK",
			Question: "The root contains a FIFO that has no writer. A asks for it, and the loop opens it. What does A get?",
			Choices:  []string{"404", "an empty file", "nothing, and the other clients of this loop get nothing more either"},
			Answer:   2, Assertion: "404-for-a-fifo",
			Usually: "that open(2) blocks: open with O_NONBLOCK, then call fstat(2), and serve regular files only",
			Where:   []Place{{Dir: "common/site", Func: "Site.load", Has: "unix.O_NONBLOCK"}, {Dir: "common/site", Func: "entry.read"}},
			Run: func(s *S) {
				a := s.Connect("A")
				a.Send("GET /plain.txt", plainGet)
				if resp, err := a.Answer(); err != nil || resp.Status != 200 {
					s.Fatalf("not answered: %s", scenario.InWords(resp, err))
				}
				a.Send("GET /fifo", wire.Request("GET", "/fifo", ""))
				resp, err := a.Answer()
				s.Assert(err == nil && resp.Status == 404, "a client that asks for a FIFO gets: %s", scenario.InWords(resp, err))
			},
		},
		{
			ID: "late-loop", Stage: 4,
			Bug:      "the server refuses a request as late, although the server itself was late",
			Question: "A has sent half a request head, B a request head and half a body. Then the server is stopped, as on a busy machine or a suspended laptop. Meanwhile A and B send the rest in time, and then their time-out of 1.5 s ends. The server goes on, and its loop checks the time-outs. What do A and B get?",
			Choices:  []string{"their responses: both requests were in time", "408: both requests count as late", "nothing"},
			Answer:   1, Assertion: "in-time-is-in-time",
			Usually: "that the server was busy or suspended when the bytes arrived: before it refuses a request as late, it should read once what has already arrived",
			Where:   []Place{{Dir: "common/h1", Func: "Conn.catchUp"}, {Dir: "common/h1", Func: "Conn.Expire"}, at("loop.work", "Expired(")},
			Stages:  stages.In(2, 3, 4), Flags: []string{"-n", "2", "--header-timeout", lateTimeout.String(), "--body-timeout", lateTimeout.String()},
			Run: func(s *S) {
				head, body := plainGet, wire.Request("POST", "/echo", "hello")
				a := s.Connect("A")
				a.Send("half of the request head of GET /plain.txt", head[:len(head)/2])
				a.AwaitRead()
				b := s.Connect("B")
				b.Send("POST /echo and half of its body", body[:len(body)-3])
				b.AwaitRead()
				s.UntilAfter(0, func() bool { return !s.Server.Awake() })
				over := time.Now().Add(lateTimeout + 300*time.Millisecond)
				s.Step("the server is stopped (SIGSTOP), A and B send the rest, and after their time-out the server continues (SIGCONT)")
				s.Server.Signal(syscall.SIGSTOP)
				if !kernel.Eventually(process.Patience, s.Server.Suspended) {
					s.Fatalf("the server does not stop")
				}
				a.Put(head[len(head)/2:])
				b.Put(body[len(body)-3:])
				time.Sleep(time.Until(over)) // the time-outs run on meanwhile
				s.Server.Signal(syscall.SIGCONT)
				for _, p := range []*Peer{a, b} {
					resp, err := p.Answer()
					s.Assert(err == nil && resp.Status == 200, "a client that sent everything in time gets: %s", scenario.InWords(resp, err))
				}
			},
		},
		{
			ID: "slowloris", Stage: 4,
			Bug:      "the time-out for a request head starts again with each byte",
			Question: "50 clients each send a request head, one byte every 50 ms. The time-out for a request head is 0.5 s, and starts again with each read. When does the server close these connections?",
			Choices:  []string{"after 0.5 s", "never, as long as the bytes keep coming", "when another client needs a connection"},
			Answer:   1, Assertion: "late-heads-are-closed",
			Usually: "that the time-out limits only a single read: set a deadline for the whole request head when its first byte arrives",
			Where:   []Place{{Dir: "common/h1", Func: "Conn.enter"}, {Dir: "common/h1", Func: "Conn.Expire"}, at("loop.watch", "")},
			Stages:  stages.In(2, 3, 4), Flags: []string{"--header-timeout", "500ms"},
			Run: func(s *S) {
				crowd := s.Crowd("A", 50, DialOptions{})
				head := "GET /plain.txt HTTP/1.1\r\nX-Fill: "
				s.Step("each sends the beginning of a request head, and then %q every 50 ms, up to 30 times", "x")
				for _, p := range crowd {
					p.Put(head)
				}
				open := len(crowd)
				for range 30 {
					time.Sleep(50 * time.Millisecond)
					open = 0
					for _, p := range crowd {
						if p.Silent() {
							open++
							p.Put("x")
						}
					}
					if open == 0 {
						break
					}
				}
				if open == 0 {
					s.Saw("each gets a 408, or the end of the connection, before it has sent 30")
				} else {
					s.Saw("%d clients have sent 30, and their connections are still open", open)
				}
				s.Assert(open == 0, "after 1.5 s, %d of %d unfinished request heads are still open", open, len(crowd))
				served(s, "B", "after these 50 clients")
			},
		},
		blockingTier(),
		tierPool(),
	}
}

// lateTimeout is the time-out in late-loop: both clients can begin their requests before the server is stopped.
const lateTimeout = 1500 * time.Millisecond

// staleTimeout is the idle time-out in stale-event: the test can hold the loop before it ends.
const staleTimeout = 1500 * time.Millisecond

// served asserts that another client gets its page. when begins the message that says what it gets instead.
func served(s *S, name, when string) {
	p := s.Connect(name)
	p.Send("GET /plain.txt", plainGet)
	resp, err := p.Answer()
	s.Assert(err == nil && resp.Status == 200, "%s, the next client gets: %s", when, scenario.InWords(resp, err))
}

// assertRests asserts that all threads of the server go to sleep before it has used 0.7 s of CPU time.
// when begins the message that says otherwise.
func assertRests(s *S, when string) {
	var err error
	for w := s.Watch(0); err == nil; {
		err = w.Tick()
	}
	if err == scenario.ErrSilent {
		s.Saw("yes")
	} else {
		s.Saw("no: it keeps a CPU busy")
	}
	s.Assert(err == scenario.ErrSilent, "%s, the server keeps a CPU busy", when)
}
