package pitfalls

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"fourways.example/common/servertest/kernel"
	"fourways.example/common/servertest/process"
	"fourways.example/common/servertest/scenario"
	"fourways.example/common/servertest/stages"
	"fourways.example/common/servertest/wire"
)

func init() { scenarios = append(scenarios, stage2Scenarios, stage3Scenarios, stage4Scenarios) }

// halfHead is the beginning of a request whose end does not come.
const halfHead = "GET /plain.txt HTTP/1.1\r\nHost: loc"

// stage2Scenarios are about a pool: how many threads there are, and what waits for them.
func stage2Scenarios() []Scenario {
	serve := Place{Dir: "STAGE", Func: "Serve"}
	work := Place{Dir: "STAGE", Func: "work"}
	return []Scenario{
		{
			ID: "head-of-line", Stage: 2,
			Bug:      "one client is served to its end before the next is accepted",
			Question: "A has sent half a request and takes its time. B connects and asks for a page. The server is iterative. What does B see?",
			Choices:  []string{"connection refused", "it is connected, and then waits", "its page"},
			Answer:   1, Assertion: "second-client-served-meanwhile",
			Usually: "that one thread waits for one client: somebody else must accept, and serve, meanwhile",
			Where:   []Place{serve, work},
			Fails:   stages.In(1),
			Run: func(s *S) {
				a := s.Connect("A")
				a.Send("GET /plain.txt", plainGet)
				if resp, err := a.Answer(); err != nil || resp.Status != 200 {
					s.Fatalf("not even one client is answered: %s", scenario.InWords(resp, err))
				}
				a.Send("half of another request", halfHead)
				b := s.Connect("B")
				b.Send("GET /plain.txt", plainGet)
				resp, err := b.Answer()
				s.Assert(err == nil && resp.Status == 200, "beside a client with half a request, the next one gets: %s", scenario.InWords(resp, err))
			},
		},
		{
			ID: "thread-per-connection", Stage: 2,
			Bug:      "a thread is made for every connection, without bound",
			Question: "The server is told to use 8 threads (-n 8), and makes one for each connection. 200 clients connect, and none sends a byte. How many threads has it?",
			Choices:  []string{"some 8: idle clients need none", "some 200", "as many as there are CPUs"},
			Answer:   1, Assertion: "threads-stay-at-the-pool",
			Usually: "that the clients decide how many threads there are: make a fixed number at the start",
			Where:   []Place{serve, work},
			Stages:  stages.In(2, 3, 4), Flags: []string{"-n", "8"},
			Run: func(s *S) { countThreads(s, 200) },
		},
		{
			ID: "goroutines-are-not-threads", Stage: 2,
			Bug:      "GOMAXPROCS is taken for the size of a pool of threads",
			Question: "GOMAXPROCS is 8, and each connection has a goroutine that waits in a raw poll(2). 200 clients connect. How many OS threads are there?",
			Choices:  []string{"8, or a few more", "some 200", "1: goroutines are no threads"},
			Answer:   1, Assertion: "threads-stay-at-the-pool",
			Usually: "that goroutines make blocking system calls: each holds a thread then, and GOMAXPROCS does not count it",
			Where:   []Place{{Dir: "STAGE", Func: "work", Has: "LockOSThread"}, serve},
			Stages:  stages.In(2, 3, 4), Flags: []string{"-n", "8"},
			Run: func(s *S) { countThreads(s, 200) },
		},
		{
			ID: "unbounded-queue", Stage: 2,
			Bug:      "connections are accepted into a list without bound",
			Question: "There are 2 workers, both busy. 100 more clients connect. The server accepts whatever comes. Where do the 100 wait?",
			Choices:  []string{"in the kernel's backlog", "in the server, with a descriptor and memory for each", "nowhere: they are refused"},
			Answer:   1, Assertion: "the-backlog-holds-them",
			Usually: "that a queue without bound hides an overload: where it is bounded the acceptor waits, and the kernel holds the rest for nothing",
			Where: []Place{
				{Dir: "STAGE", Func: "Serve", Has: "make(chan sock.Conn, cfg.Workers)"},
				{Dir: "STAGE", Func: "Serve", Has: "queue <- s"},
			},
			Stages: stages.In(2, 3), Flags: []string{"-n", "2"},
			Run: func(s *S) {
				a := s.Connect("A")
				a.Send("GET /plain.txt", plainGet)
				if resp, err := a.Answer(); err != nil || resp.Status != 200 {
					s.Fatalf("not answered: %s", scenario.InWords(resp, err))
				}
				const clients = 100
				s.Crowd("B", clients, DialOptions{})
				s.Step("how many connections does the server hold, with 2 workers?")
				// Two are served, two are in the queue, one is in the acceptor's hand.
				const most = 5
				s.Until(func() bool { return s.Server.Connections() > clients })
				n := s.Server.Connections()
				s.Saw("%d", n)
				s.Assert(n <= most, "2 workers, and the server holds %d connections", n)
			},
		},
		{
			ID: "lost-worker", Stage: 2,
			Bug:      "a worker returns after the error of one connection",
			Question: "There are 4 workers. 4 clients come one behind the other, and each resets its connection in the middle of a request. A worker that meets an error returns. Then B comes. What does B see?",
			Choices:  []string{"its page", "it is connected, and nobody answers", "connection refused"},
			Answer:   1, Assertion: "the-pool-keeps-its-size",
			Usually: "that a worker ends with its connection: the loop of a worker may end with the server only",
			Where:   []Place{{Dir: "STAGE", Func: "handle"}, work},
			Stages:  stages.In(2, 3, 4), Flags: []string{"-n", "4"},
			Run: func(s *S) {
				for i := range 4 {
					p := s.Connect(fmt.Sprintf("A%d", i+1))
					p.Send("half of a request", halfHead)
					p.AwaitRead()
					p.Reset()
					s.Until(func() bool { return s.Server.Connections() <= 0 })
				}
				b := s.Connect("B")
				b.Send("GET /plain.txt", plainGet)
				resp, err := b.Answer()
				s.Assert(err == nil && resp.Status == 200, "behind 4 clients that reset their connections, the next one gets: %s", scenario.InWords(resp, err))
			},
		},
		{
			ID: "two-at-a-time", Stage: 2,
			Bug:      "a pool of threads with as many Go processors as CPUs",
			Question: "GOMAXPROCS is 2, as on a machine with 2 CPUs. 8 clients ask without a pause, and each has a worker, which is a thread. How many of the 8 threads can the kernel choose from?",
			Choices:  []string{"all 8: they are threads", "2: the other 6 wait for a Go processor", "1: Go runs one goroutine at a time"},
			Answer:   1, Assertion: "busy-workers-share-the-cpus",
			Usually: "that threads wait for each other, not for a CPU: a locked thread needs a Go processor to run, and gives a busy one up every 10 ms or later",
			Where:   []Place{{Dir: "STAGE", Func: "Serve", Has: "runtime.GOMAXPROCS("}, work},
			Stages:  stages.In(2, 3, 4), Flags: []string{"-s", "-n", "8"}, Env: []string{"GOMAXPROCS=2"},
			Run: twoAtATime,
		},
	}
}

// twoAtATime has eight clients ask without a pause, and counts the threads that want a CPU.
func twoAtATime(s *S) {
	const clients, looks, few = 8, 100, 3
	// Chunks of one byte: much to do for a server before its next system call, and little for a client.
	const size = 2000 // of each answer's body
	raw := "POST /echo HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n" + strings.Repeat("1\r\nx\r\n", size) + "0\r\n\r\n"
	var floods []*wire.Flood
	s.Step("%d clients upload in small chunks, each without end", clients)
	for range clients {
		conn, err := s.Server.Dial(DialOptions{})
		if err != nil {
			s.Fatalf("connect: %v", err)
		}
		f := wire.NewFlood(conn, raw)
		s.OnEnd(f.Stop)
		floods = append(floods, f)
	}
	twice := kernel.Eventually(process.Patience, func() bool {
		return !slices.ContainsFunc(floods, func(f *wire.Flood) bool { return f.Answered.Load() < 2*size })
	})
	if !twice {
		s.Fatalf("not every client is answered twice")
	}
	s.Saw("all of them are answered, sooner or later")
	s.Step("how many threads run, or would if there were a CPU for them?")
	var seen []int
	for range looks {
		time.Sleep(5 * time.Millisecond)
		seen = append(seen, s.Server.Runnable())
	}
	// There are more now and then: the runtime's own, and threads that are inside a system call.
	slices.Sort(seen)
	n := seen[looks/10]
	if n > few {
		s.Saw("%d or more, nearly always", few+1)
	} else {
		s.Saw("often %d at most", few)
	}
	s.Assert(n > few, "%d clients never pause, and often no more than %d threads of the server run", clients, n)
}

// countThreads is for a server with -n 8: n idle clients may not make it make more threads.
func countThreads(s *S, n int) {
	a := s.Connect("A")
	a.Send("GET /plain.txt", plainGet)
	if resp, err := a.Answer(); err != nil || resp.Status != 200 {
		s.Fatalf("not answered: %s", scenario.InWords(resp, err))
	}
	const most = 8 + 20 // the workers, and what a runtime has besides
	s.Crowd("B", n, DialOptions{})
	s.Step("how many threads has the server? A Go program has some beside its workers")
	s.Until(func() bool { return s.Server.Threads() > n })
	threads := s.Server.Threads()
	s.Saw("%d", threads)
	s.Assert(threads <= most, "%d idle clients, and the server has %d threads", n, threads)
}
