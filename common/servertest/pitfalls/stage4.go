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

// stage4Scenarios are about event loops: a thread that serves thousands may wait for none of them, and a
// descriptor is not a client.
func stage4Scenarios() []Scenario {
	at := func(fn, has string) Place { return Place{Dir: "STAGE", Func: fn, Has: has} }
	return []Scenario{
		{
			ID: "pool-exhausted", Stage: 4,
			Bug:      "idle connections hold the workers of a pool",
			Question: "There are 4 workers in a pool. 4 clients get a page each and keep their connections, as browsers do. Then B comes. What does B get?",
			Choices:  []string{"its page: the other four are idle", "nothing, until one of them leaves", "503"},
			Answer:   1, Assertion: "served-beside-idle-clients",
			Usually: "that a waiting connection holds a thread: have one thread wait for many",
			Where:   []Place{at("loop.work", ""), at("loop.wait", "")},
			Stages:  stages.In(2, 3, 4), Fails: stages.In(2, 3), Flags: []string{"-n", "4", "--idle-timeout", "1m"},
			Run: func(s *S) {
				for i := range 4 {
					p := s.Connect(fmt.Sprintf("A%d", i+1))
					p.Send("GET /plain.txt, and keeps the connection", plainGet)
					if resp, err := p.Answer(); err != nil || resp.Status != 200 {
						s.Fatalf("not answered: %s", scenario.InWords(resp, err))
					}
				}
				served(s, "B", "beside 4 idle clients")
			},
		},
		{
			ID: "blocking-fd", Stage: 4,
			Bug:      "the sockets in an event loop are blocking ones",
			Question: "One event loop (-n 1), and its sockets are blocking. A sends half a request. Then B asks for a page. What does B get?",
			Choices:  []string{"its page: that is what epoll is for", "nothing: the loop waits for the other half", "an error"},
			Answer:   1, Assertion: "nobody-notices-a-slow-client",
			Usually: "that a call in the loop can wait: an epoll set does not make its sockets non-blocking, O_NONBLOCK does",
			Where:   []Place{at("accept", "SOCK_NONBLOCK"), at("loop.handle", "")},
			Stages:  stages.In(2, 3, 4), Fails: stages.In(2, 3), Flags: []string{"-n", "1", "--idle-timeout", "1m"},
			Run: func(s *S) {
				a := s.Connect("A")
				a.Send("half of a request", halfHead)
				a.AwaitRead()
				served(s, "B", "beside a client with half a request")
				c := s.Connect("C")
				c.Send("GET /big.bin, and does not read", wire.Request("GET", "/big.bin", ""))
				s.Stalled(c)
				served(s, "D", "beside a client that does not read")
			},
		},
		{
			ID: "no-epollout", Stage: 4,
			Bug:      "after EAGAIN from a write nobody waits for room",
			Question: "A asks for 24 MiB and reads slowly. The non-blocking send says EAGAIN, and the loop goes on to watch A for EPOLLIN. What does A get?",
			Choices:  []string{"all of it", "as much as fitted into the buffers, then nothing", "a reset"},
			Answer:   1, Assertion: "the-rest-is-sent-when-writable",
			Usually: "that EAGAIN from a write is not followed by a wait for EPOLLOUT: the client has nothing to say, so EPOLLIN never comes",
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
				s.Assert(err == nil && bytes.Equal(resp.Body, big), "of a large response comes a part, then: %s", scenario.InWords(resp, err))
			},
		},
		{
			ID: "always-epollout", Stage: 4,
			Bug:      "EPOLLOUT is watched for all the time",
			Question: "The loop watches each connection for EPOLLIN and EPOLLOUT, always. Three clients are connected and do nothing. How much CPU does the server use?",
			Choices:  []string{"none", "a little, now and then", "all that it can get"},
			Answer:   2, Assertion: "asleep-with-idle-clients",
			Usually: "that a level-triggered event is true all the time: a socket nearly always has room to write, so ask for EPOLLOUT only after EAGAIN",
			Where:   []Place{at("loop.watch", ""), at("loop.adopt", "EPOLLIN")},
			Flags:   []string{"--idle-timeout", "1m"},
			Run: func(s *S) {
				s.Crowd("A", 3, DialOptions{})
				s.Step("does the server go to sleep?")
				assertRests(s, "3 clients do nothing")
			},
		},
		{
			ID: "shared-epoll", Stage: 4,
			Bug:      "all workers wait on one epoll set",
			Question: "4 threads wait on the same epoll set. A uploads 900 KB, again and again, which the server sends back. What comes back?",
			Choices:  []string{"what was sent: an event wakes one thread", "now and then something else, or nothing", "each answer four times"},
			Answer:   1, Assertion: "uploads-come-back-unchanged",
			Usually: "that two threads have one connection in hand: each descriptor needs one owner",
			Where:   []Place{at("Serve", "newLoop"), at("acceptAll", ""), at("newLoop", "")},
			Stages:  stages.In(2, 3, 4), Flags: []string{"-n", "4"},
			Run: func(s *S) {
				a := s.Connect("A")
				var body strings.Builder
				for i := 0; body.Len() < 900_000; i++ {
					fmt.Fprintf(&body, "%d,", i)
				}
				const n = 30
				s.Step("A uploads %d bytes %d times, and compares what comes back", body.Len(), n)
				data := wire.Request("POST", "/echo", body.String())
				a.Put(wire.Request("POST", "/echo", "one"))
				if resp, err := a.Take("POST"); err != nil || resp.Status != 200 || string(resp.Body) != "one" {
					s.Fatalf("not even a small one comes back: %s", scenario.InWords(resp, err))
				}
				for i := range n {
					go a.Put(data)
					resp, err := a.Take("POST")
					same := err == nil && resp.Status == 200 && string(resp.Body) == body.String()
					if !same {
						s.Saw("something else, or nothing")
						s.Assert(false, "upload %d does not come back as it was sent: %s", i+1, scenario.InWords(resp, err))
					}
				}
				s.Saw("what it has sent, each time")
				s.Assert(true, "")
			},
		},
		{
			ID: "stale-fd", Stage: 4,
			Bug:      "a connection is closed first, and forgotten later",
			Question: "A leaves: its connection is closed, its entries by descriptor are tidied up with its time-out. B and C come, and one of them gets A's old descriptor. Both send half a request, and the other half when A's time-out is over. What do they get?",
			Choices:  []string{"their pages", "one gets nothing: the server has forgotten it", "one gets A's page"},
			Answer:   1, Assertion: "nothing-left-of-the-client-before",
			Usually: "that a descriptor is taken for a client: its number is given to the next one at once, so forget first and close last",
			Where:   []Place{at("loop.drop", "l.forget(c)"), at("loop.forget", ""), at("loop.adopt", "l.number++")},
			Stages:  stages.In(4), Flags: []string{"-n", "1", "--idle-timeout", "700ms"},
			Run: func(s *S) {
				a := s.Connect("A")
				a.Send("GET /plain.txt", plainGet)
				if resp, err := a.Answer(); err != nil || resp.Status != 200 {
					s.Fatalf("not answered: %s", scenario.InWords(resp, err))
				}
				a.Close()
				s.Until(func() bool { return s.Server.Connections() <= 0 })
				// An accept(2) that waits has taken its descriptor before: A's is for the one after the next.
				const half = len("GET /plain.txt HTTP/1.1\r\n")
				var new []*Peer
				for _, name := range []string{"B", "C"} {
					p := s.Connect(name)
					p.Send("the first line of GET /plain.txt", plainGet[:half])
					new = append(new, p)
				}
				s.Step("they wait until the time-out that A had is over")
				s.UntilAfter(time.Second, func() bool { return false })
				for _, p := range new {
					p.Send("the rest", plainGet[half:])
					resp, err := p.Answer()
					s.Assert(err == nil && resp.Status == 200, "when the former client's time-out is over, one who came behind it gets: %s", scenario.InWords(resp, err))
				}
			},
		},
		{
			ID: "accept-in-loop", Stage: 4,
			Bug:      "a worker accepts, serves, and accepts again",
			Question: "The listening socket is in the epoll set of a worker, which accepts one connection in each turn around its loop. When does it accept most seldom?",
			Choices:  []string{"when nobody comes", "when there is most to do", "it makes no difference"},
			Answer:   1, Assertion: "who-accepts-does-not-serve",
			Usually: "that accepting waits for serving: have a thread of its own for each listening socket",
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
				s.Step("has a thread that called accept(2) also called send(2)?")
				s.Calls(s.Scenario.Strace...) // until strace has written all
				who := s.Callers()
				both := ""
				for tid, calls := range who {
					if calls["accept4"] && calls["sendto"] {
						both = tid
					}
				}
				if both == "" {
					s.Saw("no")
				} else {
					s.Saw("yes")
				}
				s.Assert(both == "", "one thread accepts and serves: what it serves delays what it accepts")
			},
		},
		{
			ID: "emfile-spin", Stage: 4,
			Bug:      "accept fails with EMFILE, and is tried again at once",
			Question: "The server has no free descriptor, and a client waits to be accepted. accept(2) fails with EMFILE and is tried again at once. What does the server do now?",
			Choices:  []string{"it sleeps: accept blocks until there is a descriptor", "it uses up a CPU", "it refuses the client"},
			Answer:   1, Assertion: "asleep-at-the-limit",
			Usually: "that an error which does not go away by itself is retried without a pause: the client stays in the queue, and accept returns at once",
			Where:   []Place{at("accept", "time.Sleep"), {Dir: "common/sock", Func: "ClassifyAcceptError"}},
			Stages:  stages.In(2, 3, 4), Flags: []string{"--max-conns", "1000", "--idle-timeout", "1m"}, Stderr: "cannot accept",
			Run: func(s *S) {
				a := s.Connect("A")
				a.Send("GET /healthz", wire.Request("GET", "/healthz", ""))
				if resp, err := a.Answer(); err != nil || resp.Status != 200 {
					s.Fatalf("not answered: %s", scenario.InWords(resp, err))
				}
				s.Server.Stdout.Await(process.Patience, func(out string) bool { return strings.Contains(out, "/healthz") })
				s.Step("the server may open 4 more descriptors (prlimit)")
				if _, err := s.Server.Limit(4); err != nil {
					s.Fatalf("%v", err)
				}
				crowd := s.Crowd("B", 8, DialOptions{})
				if !s.Server.Stderr.Await(process.Patience, func(out string) bool { return strings.Contains(out, "\n") }) {
					s.Fatalf("the server does not say that it cannot accept")
				}
				s.Step("does the server go to sleep?")
				assertRests(s, "a client waits for a descriptor")
				s.Step("B1 to B4 close")
				for _, p := range crowd[:4] {
					p.Abandon()
				}
				last := crowd[5]
				last.Send("GET /healthz", wire.Request("GET", "/healthz", "")) // which opens nothing
				resp, err := last.AtLeast(time.Second).Answer()
				s.Assert(err == nil && resp.Status == 200, "when descriptors come free, who has waited gets: %s", scenario.InWords(resp, err))
			},
		},
		{
			ID: "unbalanced", Stage: 4,
			Bug:      "connections are dealt out in turn, whoever stays",
			Question: "2 loops get connections in turn. 40 clients come, and every other one leaves. How many clients have the loops now?",
			Choices:  []string{"10 and 10", "20 and 0", "about as many as the other, by chance"},
			Answer:   1, Assertion: "loops-about-even",
			Usually: "that connections are shared out when they come, and never again: count them, and move idle ones",
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
					s.Fatalf("the loops do not take %d clients over", n)
				}
				s.Step("every other client leaves: A1, A3, A5, …")
				for i := 0; i < n; i += 2 {
					crowd[i].Abandon()
				}
				s.Until(func() bool { sum, _ := held(); return sum == n/2 })
				s.Step("how are the other %d shared out among the loops?", n/2)
				ok := s.Until(func() bool { sum, apart := held(); return sum == n/2 && apart <= process.LoopsApart })
				_, apart := held()
				if ok {
					s.Saw("about evenly")
				} else {
					s.Saw("one has %d more than the other", apart)
				}
				s.Assert(ok, "of %d clients one loop has %d more than the other", n/2, apart)
			},
		},
		{
			ID: "stale-event", Stage: 4,
			Bug:      "an event is believed, though its connection was closed earlier in the same batch",
			Question: "A batch of events has one with EPOLLHUP for the client in place 9 of a table, A. Before it is looked at, A is closed by its time-out, and a new client, B, gets the place. What happens to B?",
			Choices:  []string{"nothing: the event is A's", "its connection is closed", "it gets A's answer"},
			Answer:   1, Assertion: "another-clients-event-is-ignored",
			Usually: "that an event names a place or a descriptor and not a client: use numbers that never come again, and look them up",
			Where:   []Place{at("loop.event", ""), at("loop.adopt", "l.number++"), at("loop.work", "l.event(")},
			Stages:  stages.In(4), Flags: []string{"-n", "1", "--idle-timeout", staleTimeout.String()}, Needs: scenario.NeedsHold, NoServer: true,
			Run: func(s *S) {
				s.Begin(Config{Wrap: scenario.Beneath})
				a := s.Connect("A")
				over := time.Now().Add(staleTimeout + 200*time.Millisecond)
				s.Step("the loop is stopped (ptrace) where it is about to call epoll_wait, until A's idle time-out is over")
				release := s.Hold(a)
				time.Sleep(time.Until(over)) // the server's clock goes on
				s.Step("now A resets its connection, and B connects and sends half a request")
				_ = a.Conn.SetLinger(0) // close(2) is a reset then
				_ = a.Conn.Close()
				b := s.Join("B", DialOptions{})
				const half = len("GET /plain.txt HTTP/1.1\r\n")
				b.Put(plainGet[:half])
				if !kernel.Eventually(process.Patience, func() bool {
					// A is in the server's hands still, B is by now, and the loop will find it.
					_, again := s.Server.InCall("accept4", "accept", "poll")
					return again && s.Server.Connections() == 2
				}) {
					s.Fatalf("B is not accepted while the loop is stopped")
				}
				s.Step("the loop goes on")
				release()
				s.Until(func() bool { return s.Server.Connections() <= 1 })
				b.AwaitRead()
				b.Send("the rest of its request", plainGet[half:])
				resp, err := b.Answer()
				s.Assert(err == nil && resp.Status == 200, "a client that has come in the same turn of the loop gets: %s", scenario.InWords(resp, err))
			},
		},
		{
			ID: "fifo-blocks", Stage: 4,
			Bug:      "open(2) without O_NONBLOCK, on whatever the path names",
			Question: "Under the root is a FIFO, which nobody writes to. A asks for it, and the loop opens it. What does A get?",
			Choices:  []string{"404", "an empty file", "nothing, and neither does anybody else in this loop"},
			Answer:   2, Assertion: "404-for-a-fifo",
			Usually: "that opening a file can wait: O_NONBLOCK, then fstat, then serve regular files only",
			Where:   []Place{{Dir: "common/site", Func: "Site.load", Has: "unix.O_NONBLOCK"}, {Dir: "common/site", Func: "entry.read"}},
			Run: func(s *S) {
				a := s.Connect("A")
				a.Send("GET /plain.txt", plainGet)
				if resp, err := a.Answer(); err != nil || resp.Status != 200 {
					s.Fatalf("not answered: %s", scenario.InWords(resp, err))
				}
				a.Send("GET /fifo", wire.Request("GET", "/fifo", ""))
				resp, err := a.Answer()
				s.Assert(err == nil && resp.Status == 404, "a FIFO is answered with: %s", scenario.InWords(resp, err))
			},
		},
		{
			ID: "late-loop", Stage: 4,
			Bug:      "a time-out is believed, though the server was late itself",
			Question: "A has sent half a head, B a head and half a body. Then the server is stopped, as by a busy machine or a laptop's lid. Meanwhile A and B send the rest, and their 1.5 s are over. The server goes on, and its loop looks at the time-outs. What do A and B get?",
			Choices:  []string{"their pages: they were in time", "408: they are late", "nothing"},
			Answer:   1, Assertion: "in-time-is-in-time",
			Usually: "that a time-out says only when the server looked: read what has arrived before you call it late, once, or a client that keeps sending is never late",
			Where:   []Place{{Dir: "common/h1", Func: "Conn.catchUp"}, {Dir: "common/h1", Func: "Conn.Expire"}, at("loop.work", "Expired(")},
			Stages:  stages.In(2, 3, 4), Flags: []string{"-n", "2", "--header-timeout", lateTimeout.String(), "--body-timeout", lateTimeout.String()},
			Run: func(s *S) {
				head, body := plainGet, wire.Request("POST", "/echo", "hello")
				a := s.Connect("A")
				a.Send("half of GET /plain.txt", head[:len(head)/2])
				a.AwaitRead()
				b := s.Connect("B")
				b.Send("POST /echo with half of its body", body[:len(body)-3])
				b.AwaitRead()
				s.UntilAfter(0, func() bool { return !s.Server.Awake() })
				over := time.Now().Add(lateTimeout + 300*time.Millisecond)
				s.Step("the server is stopped (SIGSTOP); A and B send the rest; when their time is over it goes on (SIGCONT)")
				s.Server.Signal(syscall.SIGSTOP)
				if !kernel.Eventually(process.Patience, s.Server.Suspended) {
					s.Fatalf("the server does not stop")
				}
				a.Put(head[len(head)/2:])
				b.Put(body[len(body)-3:])
				time.Sleep(time.Until(over)) // the server's clock goes on
				s.Server.Signal(syscall.SIGCONT)
				for _, p := range []*Peer{a, b} {
					resp, err := p.Answer()
					s.Assert(err == nil && resp.Status == 200, "a client that sent everything in time gets: %s", scenario.InWords(resp, err))
				}
			},
		},
		{
			ID: "slowloris", Stage: 4,
			Bug:      "the time-out for a head begins anew with each byte",
			Question: "50 clients send a head, a byte now and then. The time-out for a head is 0.5 s, and begins anew with each read. When are they closed?",
			Choices:  []string{"after 0.5 s", "never, while they send a byte now and then", "when another client needs the room"},
			Answer:   1, Assertion: "late-heads-are-closed",
			Usually: "that a time-out is for one read: a deadline for the whole head is needed, from its first byte on",
			Where:   []Place{{Dir: "common/h1", Func: "Conn.enter"}, {Dir: "common/h1", Func: "Conn.Expire"}, at("loop.watch", "")},
			Stages:  stages.In(2, 3, 4), Flags: []string{"--header-timeout", "500ms"},
			Run: func(s *S) {
				crowd := s.Crowd("A", 50, DialOptions{})
				head := "GET /plain.txt HTTP/1.1\r\nX-Fill: "
				s.Step("each sends the beginning of a head, and then %q every 50 ms", "x")
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
					s.Saw("all have got a 408, or the end, before they have sent 30 of those")
				} else {
					s.Saw("%d have got nothing after 30 of those, and go on", open)
				}
				s.Assert(open == 0, "%d of %d clients may send a byte now and then for as long as they like", open, len(crowd))
				served(s, "B", "after all that")
			},
		},
	}
}

// lateTimeout is long enough for both clients of late-loop to have begun before.
const lateTimeout = 1500 * time.Millisecond

// staleTimeout is long enough for the loop of stale-event to be stopped before.
const staleTimeout = 1500 * time.Millisecond

// served asserts that one more client gets its page.
func served(s *S, name, when string) {
	p := s.Connect(name)
	p.Send("GET /plain.txt", plainGet)
	resp, err := p.Answer()
	s.Assert(err == nil && resp.Status == 200, "%s, the next one gets: %s", when, scenario.InWords(resp, err))
}

// assertRests asserts that all threads of the server go to sleep before it has used 0.7 s of CPU.
func assertRests(s *S, why string) {
	var err error
	for w := s.Watch(0); err == nil; {
		err = w.Tick()
	}
	if err == scenario.ErrSilent {
		s.Saw("yes")
	} else {
		s.Saw("no: it uses up a CPU")
	}
	s.Assert(err == scenario.ErrSilent, "%s, and the server uses up a CPU", why)
}
