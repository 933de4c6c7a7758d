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

// halfHead is the beginning of a request that the client never completes.
const halfHead = "GET /plain.txt HTTP/1.1\r\nHost: loc"

// stage2Scenarios returns the scenarios about a pool: how many threads it has, and where clients wait for one.
func stage2Scenarios() []Scenario {
	serve := Place{Dir: "STAGE", Func: "Serve"}
	work := Place{Dir: "STAGE", Func: "work"}
	return []Scenario{
		{
			ID: "head-of-line", Stage: 2,
			Bug:      "the server serves one connection to its end before it accepts the next",
			Question: "An iterative server waits for the other half of A's request. B connects and asks for a page. What does B see?",
			Choices:  []string{"connection refused", "it is connected, but gets no response", "its page"},
			Answer:   1, Assertion: "second-client-served-meanwhile",
			Usually: "that the only thread waits for one client: other threads must accept and serve clients meanwhile",
			Where:   []Place{serve, work},
			Fails:   stages.In(1),
			Run: func(s *S) {
				a := s.Connect("A")
				a.Send("GET /plain.txt", plainGet)
				if resp, err := a.Answer(); err != nil || resp.Status != 200 {
					s.Fatalf("even a single client is not answered: %s", scenario.InWords(resp, err))
				}
				a.Send("half of another request", halfHead)
				b := s.Connect("B")
				b.Send("GET /plain.txt", plainGet)
				resp, err := b.Answer()
				s.Assert(err == nil && resp.Status == 200, "while one client has sent half a request, the next client gets: %s", scenario.InWords(resp, err))
			},
		},
		{
			ID: "thread-per-connection", Stage: 2,
			Bug:      "the server starts a thread for every connection, without a limit",
			Question: "The server is told to use 8 threads (-n 8), but starts one for each connection. 200 clients connect, and none of them sends a byte. How many threads does the server have?",
			Choices:  []string{"about 8: idle clients need no thread", "about 200", "as many as the machine has CPUs"},
			Answer:   1, Assertion: "threads-stay-at-the-pool",
			Usually: "that the number of clients determines the number of threads: start a fixed number of threads",
			Where:   []Place{serve, work},
			Stages:  stages.In(2, 3, 4), Flags: []string{"-n", "8"},
			Run: func(s *S) { countThreads(s, 200) },
		},
		{
			ID: "goroutines-are-not-threads", Stage: 2,
			Bug:      "the server relies on GOMAXPROCS to limit its threads",
			Question: "GOMAXPROCS is 8, and each connection has a goroutine that waits in a raw poll(2). 200 clients connect. How many OS threads does the server have?",
			Choices:  []string{"8, or a few more", "about 200", "1: goroutines are not threads"},
			Answer:   1, Assertion: "threads-stay-at-the-pool",
			Usually: "that many goroutines make blocking system calls: each of them holds a thread, which GOMAXPROCS does not count",
			Where:   []Place{{Dir: "STAGE", Func: "work", Has: "LockOSThread"}, serve},
			Stages:  stages.In(2, 3, 4), Flags: []string{"-n", "8"},
			Run: func(s *S) { countThreads(s, 200) },
		},
		{
			ID: "unbounded-queue", Stage: 2,
			Bug:      "the server accepts connections into a queue without a limit",
			Question: "Both of the server's 2 workers are busy, and 100 more clients connect. The server accepts every connection. Where do the 100 clients wait?",
			Choices:  []string{"in the kernel's backlog", "in the server, which needs a descriptor and memory for each", "nowhere: they are refused"},
			Answer:   1, Assertion: "the-backlog-holds-them",
			Usually: "that an unbounded queue hides an overload: when a bounded queue is full the acceptor waits, and further clients stay in the kernel's backlog",
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
				crowd := s.Crowd("B", clients, DialOptions{})
				s.Step("how many connections has the server accepted, with 2 workers?")
				// The workers serve two, the queue holds two, and the acceptor waits to queue the fifth.
				const most = 5
				s.Until(func() bool { return s.Server.Connections() > clients })
				n := s.Server.Connections()
				if n <= most {
					s.Saw("%d or fewer", most)
				} else {
					s.Saw("more than %d", min(n-1, clients))
				}
				s.Assert(n <= most, "with 2 workers the server has accepted %d connections", n)
				s.Step("A and all others but the last close")
				a.Abandon()
				for _, p := range crowd[:clients-1] {
					p.Abandon()
				}
				last := crowd[clients-1]
				last.Send("GET /plain.txt", plainGet)
				resp, err := last.Answer()
				s.Assert(err == nil && resp.Status == 200, "the client that has waited longest in the backlog gets: %s", scenario.InWords(resp, err))
			},
		},
		{
			ID: "lost-worker", Stage: 2,
			Bug:      "a worker ends after an error on one connection",
			Question: "A worker that meets an error ends. The server has 4 workers. One after the other, 4 clients reset their connections in the middle of a request. Then B connects. What does B see?",
			Choices:  []string{"its page", "it is connected, but gets no response", "connection refused"},
			Answer:   1, Assertion: "the-pool-keeps-its-size",
			Usually: "that a worker ends when its connection ends: the loop of a worker may end only when the server stops",
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
				s.Assert(err == nil && resp.Status == 200, "after 4 clients that reset their connections, the next client gets: %s", scenario.InWords(resp, err))
			},
		},
		{
			ID: "two-at-a-time", Stage: 2,
			Bug:      "a pool of threads has only as many Go processors as CPUs",
			Question: "GOMAXPROCS is 2, as on a machine with 2 CPUs. 8 clients send requests without a pause, and each has a worker, which is a thread. How many of these 8 threads are ready to run at the same time?",
			Choices:  []string{"all 8: each is a thread of its own", "2: the other 6 wait for a Go processor", "1: Go runs one goroutine at a time"},
			Answer:   1, Assertion: "busy-workers-share-the-cpus",
			Usually: "that threads wait for a Go processor and not for a CPU: a busy thread keeps its Go processor for 10 ms or longer",
			Where:   []Place{{Dir: "STAGE", Func: "Serve", Has: "runtime.GOMAXPROCS("}, work},
			Stages:  stages.In(2, 3, 4), Flags: []string{"-s", "-n", "8"}, Env: []string{"GOMAXPROCS=2"},
			Run: twoAtATime,
		},
	}
}

// twoAtATime has eight clients send requests without a pause, and counts the threads that run or wait for a CPU.
func twoAtATime(s *S) {
	const clients, samples, few = 8, 100, 3
	// Chunks of one byte give the server much to do between two system calls, and a client little.
	const size = 2000 // bytes of data in each request and response
	raw := "POST /echo HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n" + strings.Repeat("1\r\nx\r\n", size) + "0\r\n\r\n"
	var floods []*wire.Flood
	s.Step("%d clients send uploads in small chunks, without a pause", clients)
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
		s.Fatalf("some clients get fewer than two responses")
	}
	s.Saw("each gets responses")
	s.Step("how many threads of the server run, or wait only for a CPU?")
	var seen []int
	for range samples {
		time.Sleep(5 * time.Millisecond)
		seen = append(seen, s.Server.Runnable())
	}
	// The runtime's own threads, and threads inside a system call, need no Go processor: the number is
	// higher now and then. So the test looks at the lowest tenth of the samples.
	slices.Sort(seen)
	n := seen[samples/10]
	if n > few {
		s.Saw("%d or more, nearly always", few+1)
	} else {
		s.Saw("often no more than %d", few)
	}
	s.Assert(n > few, "%d clients never pause, but often no more than %d threads of the server run", clients, n)
}

// countThreads asserts that n idle clients do not make a server with -n 8 start more threads.
func countThreads(s *S, n int) {
	a := s.Connect("A")
	a.Send("GET /plain.txt", plainGet)
	if resp, err := a.Answer(); err != nil || resp.Status != 200 {
		s.Fatalf("not answered: %s", scenario.InWords(resp, err))
	}
	const most = 8 + 20 // the workers, and the runtime's own threads
	s.Crowd("B", n, DialOptions{})
	s.Step("how many threads does the server have? (The Go runtime starts some besides the workers)")
	s.Until(func() bool { return s.Server.Threads() > n })
	threads := s.Server.Threads()
	if threads <= most {
		s.Saw("%d or fewer", most)
	} else {
		s.Saw("more than %d", min(threads-1, n))
	}
	s.Assert(threads <= most, "with %d idle clients the server has %d threads", n, threads)
}
