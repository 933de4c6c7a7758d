package cases

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"time"

	"fourways.example/common/servertest/docroot"
	"fourways.example/common/servertest/kernel"
	"fourways.example/common/servertest/process"
	"fourways.example/common/servertest/stages"
	"fourways.example/common/servertest/tier"
	"fourways.example/common/servertest/wire"
)

const (
	mostTierConns = 8          // of a worker
	mostQueued    = 1024       // questions that wait in an event loop
	patientTier   = "1m"       // --tier-timeout for a case in which it must not end
	hasty         = "300ms"    // --tier-timeout for a case that waits for it: shortTimeout
	largestReply  = 1024 << 10 // bytes
)

// closings are the ways in which a tier ends a connection.
var closings = map[string]func(*tier.Conn){"a FIN": (*tier.Conn).Close, "half a FIN": (*tier.Conn).HalfClose, "a reset": (*tier.Conn).Reset}

// workersOf returns how many workers or loops a server with -n 2 has, and the flag.
func workersOf(t *T, n int) (workers int, flags []string) {
	if t.Stage() == 1 {
		return 1, nil
	}
	return n, []string{"-n", fmt.Sprint(n)}
}

// addsNote is a request that adds a note.
func addsNote(cookie, text string) string {
	return wire.Request("POST", notesTarget, noteBody(text), "Cookie: "+cookie)
}

// listsNotes is a request for the list.
var listsNotes = wire.Request("GET", notesTarget, "")

// awaitWaiting waits until n questions wait for their answers.
func awaitWaiting(t *T, f *tier.Fake, n int) {
	t.Helper()
	t.Eventually(fmt.Sprintf("%d questions wait", n), func() bool { return len(f.Waiting()) >= n })
}

func tierCases() []Case {
	return []Case{
		{Name: "tier-exchange", IDs: []string{"tier-exchange", "notes-redis"}, NoServer: true, Run: tierExchange},
		{Name: "tier-split", IDs: []string{"tier-split"}, NoServer: true, Run: tierSplit},
		{Name: "tier-timeout", IDs: []string{"tier-timeout", "cli-tier-timeout", "tier-kept", "tier-once", "tier-recovers"}, NoServer: true, Run: tierTimeout},
		{Name: "tier-timeout-connect", IDs: []string{"tier-timeout", "tier-kept"}, NoServer: true, Run: func(t *T) {
			u, err := tier.NewUnreachable()
			t.Must(err)
			t.OnEnd(u.Close)
			s := beginNotes(t, u.URL(), "--tier-timeout", hasty)
			c := t.DialTo(s, DialOptions{})
			for range 2 {
				start := time.Now()
				unavailable(t, c.Request("GET", notesTarget), 504)
				if took := time.Since(start); took < shortTimeout {
					t.Errorf("the time-out came after %v, before its %v were over", took, shortTimeout)
				}
				c.WantKept()
			}
		}},
		{Name: "tier-timeout-default", IDs: []string{"cli-tier-timeout", "tier-timeout"}, NoServer: true, Run: func(t *T) {
			f := newTier(t)
			f.Hold()
			c := t.DialTo(beginNotes(t, f.URL()), DialOptions{})
			start := time.Now()
			unavailable(t, c.Request("GET", notesTarget), 504)
			if took := time.Since(start); took < 2*time.Second || took > 5*time.Second {
				t.Errorf("without --tier-timeout a question is given up after %v, want 2 s", took)
			}
			c.WantKept()
		}},
		{Name: "tier-timeout-queue", IDs: []string{"tier-timeout", "tier-queue"}, Stages: stages.In(4), NoServer: true, Run: tierTimeoutQueue},
		{Name: "tier-no-idle", IDs: []string{"tier-no-idle"}, NoServer: true, Run: func(t *T) {
			f := newTier(t)
			s := beginNotes(t, f.URL(), "--idle-timeout", hasty, "--header-timeout", hasty, "--body-timeout", hasty, "--write-timeout", hasty, "--tier-timeout", patientTier)
			t.OnEnd(f.Release)
			cookie := loggedIn(t, s)
			for _, request := range []string{listsNotes, addsNote(cookie, "x")} {
				f.Hold()
				c := t.DialTo(s, DialOptions{})
				c.Send(request)
				awaitWaiting(t, f, 1)
				c.WantSilence(3 * shortTimeout)
				f.Release()
				if resp := c.Read(); resp.Status/100 != 2 {
					t.Errorf("after a wait of %v: %v", 3*shortTimeout, resp)
				}
				c.WantEnd() // the idle time-out
				c.Close()
			}
		}},
		{Name: "tier-refused", IDs: []string{"tier-refused", "tier-recovers", "tier-kept", "tier-down"}, NoServer: true, Run: func(t *T) {
			f := newTier(t)
			s := beginNotes(t, f.URL(), "--tier-timeout", patientTier)
			cookie, c := loggedIn(t, s), t.DialTo(s, DialOptions{})
			var all []note
			for i := range 3 {
				f.Refuse()
				for range 3 {
					unavailable(t, c.Request("GET", notesTarget), 503)
					unavailable(t, c.Send(addsNote(cookie, "lost")), 503)
					c.Request("HEAD", notesTarget).WantTo("HEAD", 503)
					c.Request("GET", "/plain.txt").WantBody(200, docroot.Texts["plain.txt"])
					c.Post("/echo", "x").WantBody(200, "x")
					c.WantKept()
				}
				t.Must(f.Listen())
				all = append(all, addNote(t, c, cookie, fmt.Sprint(i)))
				wantNotes(t, c, all)
			}
		}},
		{Name: "tier-error", IDs: []string{"tier-error", "tier-kept", "tier-recovers"}, NoServer: true, Run: func(t *T) {
			const loading = "-LOADING Redis is loading the dataset in memory\r\n"
			tierReplies(t, 503, []string{loading, "-ERR x\r\n", "-\r\n", "-WRONGTYPE Operation against a key holding the wrong kind of value\r\n", "-NOAUTH Authentication required.\r\n"},
				[]string{loading + loading, "-ERR x\r\n-ERR y\r\n", ":1\r\n-ERR x\r\n", "-OOM command not allowed when used memory > 'maxmemory'.\r\n+OK\r\n"})
		}},
		{Name: "tier-garbled", IDs: []string{"tier-garbled", "tier-kept", "tier-recovers"}, NoServer: true, Run: garbledReplies},
		{Name: "tier-large", IDs: []string{"tier-large", "tier-kept"}, NoServer: true, Run: largeReplies},
		{Name: "tier-closed", IDs: []string{"tier-closed", "tier-kept", "tier-once"}, NoServer: true, Run: tierCloses},
		{Name: "tier-idle-closed", IDs: []string{"tier-idle-closed", "tier-kept", "tier-once"}, NoServer: true, Run: func(t *T) {
			for name, closes := range closings {
				t.Sub(name, func(t *T) {
					f := newTier(t)
					s := beginNotes(t, f.URL(), "--tier-timeout", patientTier)
					cookie, c := loggedIn(t, s), t.DialTo(s, DialOptions{})
					var all []note
					for i := range 4 {
						wantNotes(t, c, all)
						f.Drop(closes)
						all = append(all, addNote(t, c, cookie, fmt.Sprint(i))) // on a connection that has died
						f.Drop(closes)
						wantNotes(t, c, all)
					}
					c.WantKept()
					if n := len(f.List()); n != len(all) {
						t.Errorf("%d notes were added, the tier has %d", len(all), n)
					}
				})
			}
		}},
		{Name: "tier-pool", IDs: []string{"tier-pool"}, NoServer: true, Run: tierPool},
		{Name: "tier-queue", IDs: []string{"tier-queue"}, Stages: stages.In(4), NoServer: true, Run: tierQueue},
		{Name: "tier-queue-full", IDs: []string{"tier-queue", "tier-kept"}, Stages: stages.In(4), NoServer: true, Alone: true, Run: tierQueueFull},
		{Name: "tier-order", IDs: []string{"tier-order", "conn-pipeline"}, NoServer: true, Run: func(t *T) {
			f := newTier(t)
			s := beginNotes(t, f.URL(), "--tier-timeout", patientTier)
			t.OnEnd(f.Release)
			cookie, c := loggedIn(t, s), t.DialTo(s, DialOptions{})
			f.Hold()
			plain := wire.Request("GET", "/plain.txt", "")
			sent := c.SendLater(strings.Repeat(addsNote(cookie, "x")+plain+listsNotes+listsNotes+plain, 3))
			awaitWaiting(t, f, 1)
			c.WantSilence(100 * time.Millisecond)
			f.Release()
			for range 3 {
				c.Want(201)
				c.WantBody(200, docroot.Texts["plain.txt"])
				a, b := parseNotes(t, c.Want(200)), parseNotes(t, c.Want(200))
				if !slices.Equal(a, b) || len(a) == 0 {
					t.Errorf("two equal requests are answered with %v and %v", a, b)
				}
				c.WantBody(200, docroot.Texts["plain.txt"])
			}
			<-sent
			c.WantKept()
		}},
		{Name: "tier-slow", IDs: []string{"tier-slow"}, NoServer: true, Fails: stages.In(1, 2, 3), Run: func(t *T) {
			f := newTier(t)
			workers, flags := workersOf(t, 2)
			s := beginNotes(t, f.URL(), append(flags, "--tier-timeout", patientTier)...)
			t.OnEnd(f.Release)
			f.Hold()
			waiting := askNotes(t, s, 40)
			awaitWaiting(t, f, workers)
			c := t.DialTo(s, DialOptions{})
			for range 3 {
				c.Request("GET", "/plain.txt").WantBody(200, docroot.Texts["plain.txt"])
			}
			c.WantKept()
			f.Release()
			for _, c := range waiting {
				c.WantBody(200, `{"notes":[]}`)
				c.WantKept()
			}
		}},
		{Name: "tier-slow-connect", IDs: []string{"tier-slow", "tier-timeout"}, NoServer: true, Fails: stages.In(1, 2, 3), Run: func(t *T) {
			u, err := tier.NewUnreachable()
			t.Must(err)
			t.OnEnd(u.Close)
			_, flags := workersOf(t, 1)
			s := beginNotes(t, u.URL(), append(flags, "--tier-timeout", "3s")...)
			c := t.DialTo(s, DialOptions{})
			c.Send(listsNotes).AwaitRead()
			t.DialTo(s, DialOptions{}).Request("GET", "/plain.txt").WantBody(200, docroot.Texts["plain.txt"])
			if !c.Silent() {
				t.Errorf("the tier was given up before: the case proves nothing")
			}
			unavailable(t, c, 504)
		}},
		{Name: "tier-leaves", IDs: []string{"tier-leaves"}, NoServer: true, Run: tierLeaves},
		{Name: "tier-leaves-queue", IDs: []string{"tier-leaves", "tier-queue"}, Stages: stages.In(4), NoServer: true, Run: func(t *T) {
			f := newTier(t)
			s := beginNotes(t, f.URL(), "-n", "1", "--tier-timeout", patientTier)
			t.OnEnd(f.Release)
			f.Hold()
			for i, c := range askNotes(t, s, 30) {
				c.AwaitRead()
				if i%2 == 0 {
					c.Reset()
				} else {
					c.Close()
				}
			}
			f.Release()
			c := t.DialTo(s, DialOptions{})
			wantNotes(t, c, nil)
			c.WantKept()
			c.Close()
			onlyTierConns(t, s, f)
		}},
		{Name: "tier-shed", IDs: []string{"tier-shed", "cli-max-conns"}, Stages: stages.In(4), NoServer: true, Run: func(t *T) {
			f := newTier(t)
			s := beginNotes(t, f.URL(), "-n", "1", "--max-conns", "3", "--idle-timeout", "5m", "--tier-timeout", patientTier)
			t.OnEnd(f.Release)
			f.Hold()
			waiting := askNotes(t, s, 2)
			awaitWaiting(t, f, 2)
			idle := idleClient(t, s, DialOptions{})
			for range 5 { // each new client replaces the idle one
				next := idleClient(t, s, DialOptions{})
				idle.WantEnd()
				idle = next
			}
			f.Release()
			for _, c := range waiting {
				c.WantBody(200, `{"notes":[]}`)
			}
		}},
		{Name: "tier-stop", IDs: []string{"tier-stop", "stop-finishes"}, NoServer: true, Run: func(t *T) {
			for name, request := range map[string]func(cookie string) string{
				"GET":  func(string) string { return listsNotes },
				"POST": func(cookie string) string { return addsNote(cookie, "the last one") },
			} {
				t.Sub(name, func(t *T) {
					f := newTier(t)
					s := beginNotes(t, f.URL(), "--tier-timeout", patientTier)
					t.OnEnd(f.Release)
					cookie := loggedIn(t, s)
					f.Hold()
					c := t.DialTo(s, DialOptions{})
					c.Send(request(cookie))
					awaitWaiting(t, f, 1)
					s.Signal(syscall.SIGTERM)
					t.Eventually("the server no longer listens", func() bool { return !kernel.Listening(s.Port) })
					f.Release()
					if resp := c.Read(); resp.Status/100 != 2 {
						t.Errorf("a question under way at the stop: %v", resp)
					}
					c.WantEnd()
					if state, status, ok := s.Wait(atOnce); !ok || status != 0 {
						t.Errorf("after the last response: %s", state)
					}
				})
			}
		}},
		{Name: "tier-stop-bounded", IDs: []string{"tier-stop", "stop-five-seconds"}, NoServer: true, Alone: true, Run: func(t *T) {
			// A busy machine may explain one late stop, but not three.
			var took time.Duration
			for range 3 {
				f := newTier(t)
				s := beginNotes(t, f.URL(), "--tier-timeout", patientTier)
				t.OnEnd(f.Release)
				f.Hold()
				askNotes(t, s, 1)
				awaitWaiting(t, f, 1)
				start := time.Now()
				s.Signal(syscall.SIGTERM)
				if state, status, ok := s.Wait(process.StopPatience); !ok || status != 0 {
					t.Fatalf("%s after %v, want exit status 0", state, time.Since(start))
				}
				if took = time.Since(start); took < 5500*time.Millisecond {
					return
				}
			}
			t.Errorf("the server stops after %v, want 5 s", took.Round(time.Millisecond))
		}},
		{Name: "tier-real", IDs: []string{"tier-recovers", "tier-refused", "tier-idle-closed", "tier-error", "tier-timeout", "tier-kept"}, NoServer: true, Run: tierReal},
	}
}

// askNotes connects clients that ask for the list, and does not wait for their responses.
func askNotes(t *T, s *Server, n int) []*Client {
	t.Helper()
	var all []*Client
	for range n {
		all = append(all, t.DialTo(s, DialOptions{}).Send(listsNotes))
	}
	return all
}

// onlyTierConns waits until the server has no other connections than those to its tier.
func onlyTierConns(t *T, s *Server, f *tier.Fake) {
	t.Helper()
	if !kernel.Eventually(t.Patience(), func() bool { return s.Connections() == f.Count().Open }) {
		t.Errorf("all clients have left, the server has %d connections, and %d of them to the tier", s.Connections(), f.Count().Open)
	}
}

func tierExchange(t *T) {
	f := newTier(t)
	s := beginNotes(t, f.URL())
	cookie, c := loggedIn(t, s), t.DialTo(s, DialOptions{})
	n := addNote(t, c, cookie, "grüße\x00\"")
	wantNotes(t, c, []note{n})
	c.Request("HEAD", notesTarget).WantTo("HEAD", 200)
	asked := f.Asked()
	if len(asked) != 3 {
		t.Fatalf("%d questions for three requests", len(asked))
	}
	list := []string{"LRANGE", "notes", "-100", "-1"}
	post := asked[0].Commands
	if len(post) != 2 || len(post[0]) != 3 || !slices.Equal(post[0][:2], []string{"RPUSH", "notes"}) || !slices.Equal(post[1], []string{"LTRIM", "notes", "-100", "-1"}) {
		t.Fatalf("a POST asks %q", post)
	}
	if kept := parseNote(t, []byte(post[0][2])); kept != n {
		t.Errorf("the value in Redis is %+v, the note is %+v", kept, n)
	}
	for _, q := range asked[1:] {
		if len(q.Commands) != 1 || !slices.Equal(q.Commands[0], list) {
			t.Errorf("a GET or a HEAD asks %q, want %q", q.Commands, list)
		}
	}
}

func tierSplit(t *T) {
	f := newTier(t)
	s := beginNotes(t, f.URL(), "--tier-timeout", patientTier)
	cookie, c := loggedIn(t, s), t.DialTo(s, DialOptions{})
	f.Does(func(q *tier.Question) { q.Drip(q.Reply()) })
	wantNotes(t, c, nil)
	all := []note{addNote(t, c, cookie, "a"), addNote(t, c, cookie, "ü\r\n\x00")}
	wantNotes(t, c, all)
	at := 0
	f.Does(func(q *tier.Question) { q.SendPieces(q.Reply(), at) })
	for at = 1; at < len(tier.Array(f.List()...)); at++ {
		wantNotes(t, c, all)
	}
	for at = 1; at < len(":3\r\n+OK\r\n"); at++ {
		addNote(t, c, cookie, fmt.Sprint(at))
	}
	c.WantKept()
	if n := f.Count(); n.Opened != 1 {
		t.Errorf("all answers were right, but the server has opened %d connections to the tier", n.Opened)
	}
}

func tierTimeout(t *T) {
	f := newTier(t)
	s := beginNotes(t, f.URL(), "--tier-timeout", hasty)
	cookie, c := loggedIn(t, s), t.DialTo(s, DialOptions{})
	for _, does := range []tier.Script{
		func(*tier.Question) {},
		func(q *tier.Question) { q.Reply() },
		func(q *tier.Question) { q.Send(q.Reply()[:1]) },
	} {
		f.Clear()
		before := len(f.Asked())
		f.Does(does)
		for _, request := range []string{listsNotes, addsNote(cookie, "slow")} {
			start := time.Now()
			unavailable(t, c.Send(request), 504)
			if took := time.Since(start); took < shortTimeout || took > shortTimeout+3*time.Second {
				t.Errorf("a question is given up after %v, want %v", took, shortTimeout)
			}
			c.WantKept()
		}
		if n := len(f.Asked()) - before; n != 2 || len(f.List()) > 1 {
			t.Errorf("two requests asked %d questions, the tier has %d notes", n, len(f.List()))
		}
		// A late answer is for nobody.
		f.Release()
		f.Clear() // a late POST may have added its note
		wantNotes(t, c, nil)
	}
}

// tierTimeoutQueue checks that the time in the queue counts. A busy machine may be late, so there are three tries.
func tierTimeoutQueue(t *T) {
	const timeout = longTimeout
	f := newTier(t)
	s := beginNotes(t, f.URL(), "-n", "1", "--tier-timeout", timeout.String())
	t.OnEnd(f.Release)
	var took time.Duration
	for range 3 {
		f.Hold()
		start := time.Now()
		for _, c := range askNotes(t, s, mostTierConns+5) {
			unavailable(t, c, 504)
			c.Close()
		}
		if took = time.Since(start); took < 2*timeout-100*time.Millisecond {
			return
		}
	}
	t.Errorf("questions in the queue are given up after %v, want %v", took, timeout)
}

// tierReplies gives each of these answers to a GET or a POST, which must get this status. The next question must be
// answered.
func tierReplies(t *T, status int, toGet, toPost []string) {
	t.Helper()
	f := newTier(t)
	s := beginNotes(t, f.URL(), "--tier-timeout", patientTier)
	cookie := loggedIn(t, s)
	try := func(request, reply string) {
		t.Sub(wire.Quote(reply), func(t *T) {
			c := t.DialTo(s, DialOptions{})
			for _, first := range []bool{true, false} { // on a new connection to the tier, and on one in use
				if first {
					f.Drop((*tier.Conn).Close)
				}
				f.Does(func(q *tier.Question) { q.Send(reply) })
				unavailable(t, c.Send(request), status)
				if status == 502 {
					t.Eventually("the server closes its connection to the tier", func() bool { return f.Count().Open == 0 })
				}
				c.WantKept()
				f.Does(nil)
				f.Clear()
				wantNotes(t, c, nil)
			}
		})
	}
	for _, reply := range toGet {
		try(listsNotes, reply)
	}
	for _, reply := range toPost {
		try(addsNote(cookie, "x"), reply)
	}
}

func garbledReplies(t *T) {
	const good = `{"id":"0123456789abcdef","user":"user0","text":"x","at":"2026-01-02T03:04:05Z"}`
	values := func(all ...string) string { return tier.Array(all...) }
	tierReplies(t, 502, []string{
		"x\r\n", "\r\n", "\x00", "HTTP/1.1 400 Bad Request\r\n\r\n", ":1\r\n", "+OK\r\n", "$1\r\nx\r\n", "$-1\r\n", "*-1\r\n", "*-2\r\n", "*x\r\n", "*\r\n", "*1x\r\n", "*1\n", "*1\rx",
		"*1\r\n:1\r\n", "*1\r\n+x\r\n", "*1\r\n$-1\r\n", "*1\r\n*0\r\n", "*1\r\n$-2\r\n", "*1\r\n$x\r\n", "*1\r\n$1\r\nxy\r\n", "*99999999999999999999\r\n", "*1\r\n$99999999999999999999\r\n",
		"%0\r\n", "_\r\n", "~0\r\n", "*0\r\n*0\r\n", "*0\r\nx", "*0\r\n:1\r\n", values(good) + "\r\n",
		values("x"), values(""), values("{}"), values("null"), values("[]"), values(`"x"`), values(good[1:]), values(good + "x"), values(good, "x"), values("x", good), values(good, "{}"),
		values(strings.Replace(good, `"x"`, `"`+"\xff"+`"`, 1)), values(strings.Replace(good, `"x"`, "5", 1)), values(strings.Replace(good, `"id"`, `"ID"`, 1)),
	}, []string{
		"x\r\n", "+OK\r\n+OK\r\n", ":1\r\n:1\r\n", "$1\r\n1\r\n+OK\r\n", "*0\r\n*0\r\n", ":x\r\n+OK\r\n", ":\r\n+OK\r\n", ":1\n+OK\n", ":1\r\n+OK\r\n+OK\r\n", ":1\r\n+OK\r\nx", "$-1\r\n+OK\r\n",
	})
}

func largeReplies(t *T) {
	f := newTier(t)
	s := beginNotes(t, f.URL(), "--tier-timeout", patientTier)
	cookie, c := loggedIn(t, s), t.DialTo(s, DialOptions{})
	// The longest text in JSON has an escape for each code point.
	addNote(t, c, cookie, strings.Repeat("\x01", mostText))
	longest := f.List()[0]
	f.Clear()
	for range mostNotes {
		f.Put(longest)
	}
	if n := len(listNotes(t, c)); n != mostNotes {
		t.Errorf("of %d notes of %d bytes the list has %d", mostNotes, len(longest), n)
	}
	c.WantKept()
	zeros := strings.Repeat("0", largestReply)
	blank := longest + strings.Repeat(" ", largestReply/4)
	for name, reply := range map[string]string{
		"five values": tier.Array(blank, blank, blank, blank, blank), "one value": tier.Array(longest + strings.Repeat(" ", largestReply)),
		"a line": "+" + zeros + zeros, "an error": "-" + zeros + zeros, "a number": ":" + zeros + zeros, "a length": "*" + zeros + zeros,
		"many values": fmt.Sprintf("*%d\r\n", largestReply) + strings.Repeat("$0\r\n\r\n", largestReply/4),
	} {
		t.Sub(name, func(t *T) {
			f.Does(func(q *tier.Question) { q.Send(reply) })
			c.Send(listsNotes)
			unavailable(t, c, 502)
			t.Eventually("the server closes its connection to the tier", func() bool { return f.Count().Open == 0 })
			c.WantKept()
		})
	}
	f.Does(nil)
	f.Clear()
	wantNotes(t, c, nil)
	if peak := s.Memory("VmHWM"); peak > 200<<20 {
		t.Errorf("after these answers the server has used %d MiB", peak>>20)
	}
}

// tierCloses ends connections in the middle of a question.
func tierCloses(t *T) {
	const inPart = "answers in part, then closes"
	for name, closes := range map[string]func(*tier.Question){
		"closes": func(q *tier.Question) { q.Close() },
		"resets": func(q *tier.Question) { q.Reset() },
		inPart:   func(q *tier.Question) { reply := q.Reply(); q.Send(reply[:len(reply)-1]); q.Close() },
	} {
		t.Sub(name, func(t *T) {
			f := newTier(t)
			s := beginNotes(t, f.URL(), "--tier-timeout", patientTier)
			cookie, c := loggedIn(t, s), t.DialTo(s, DialOptions{})
			ask := func(request string, status, questions int) {
				t.Helper()
				before := len(f.Asked())
				if resp := c.Send(request).Read(); resp.Status != status {
					t.Errorf("%s: answered %d, want %d", wire.Quote(request[:20]), resp.Status, status)
				}
				if n := len(f.Asked()) - before; n != questions {
					t.Errorf("%s: the tier was asked %d times, want %d", wire.Quote(request[:20]), n, questions)
				}
				c.WantKept()
			}
			always := func(q *tier.Question) { closes(q) }
			// once closes only connections that have answered before.
			once := func(q *tier.Question) {
				if q.Number > 1 {
					closes(q)
				} else {
					q.Answer()
				}
			}
			// A GET without a byte of its answer is asked four times in all.
			tries := 4
			if name == inPart {
				tries = 1
			}
			f.Does(always)
			ask(listsNotes, 502, tries)
			ask(addsNote(cookie, "x"), 502, 1)
			f.Does(nil)
			ask(listsNotes, 200, 1) // a new connection, which has answered now
			if f.Does(once); name == inPart {
				ask(listsNotes, 502, 1)
				ask(listsNotes, 200, 1)
			} else {
				ask(listsNotes, 200, 2)
			}
			ask(addsNote(cookie, "x"), 502, 1) // the last connection has answered, too
			f.Does(nil)
			ask(listsNotes, 200, 1)
			f.Does(always)
			ask(listsNotes, 502, tries)
		})
	}
}

func tierPool(t *T) {
	f := newTier(t)
	workers, flags := workersOf(t, 2)
	s := beginNotes(t, f.URL(), append(flags, "--tier-timeout", patientTier)...)
	t.OnEnd(f.Release)
	most := workers // a thread has one question at a time
	if t.Stage() == 4 {
		most = mostTierConns * workers
	}
	for range 3 {
		f.Hold()
		clients := askNotes(t, s, 40)
		awaitWaiting(t, f, most)
		if t.Stage() == 4 {
			for _, c := range clients {
				c.AwaitRead()
			}
		}
		f.Release()
		for _, c := range clients {
			c.WantBody(200, `{"notes":[]}`)
			c.Close()
		}
	}
	if n := f.Count(); n.Most > most || n.Opened > most || n.Overlaps > 0 {
		t.Errorf("%d connections to the tier at once, %d in all, %d questions that did not wait for the last answer; want at most %d connections, all used again",
			n.Most, n.Opened, n.Overlaps, most)
	}
	onlyTierConns(t, s, f)
}

func tierQueue(t *T) {
	const clients = 40
	f := newTier(t)
	s := beginNotes(t, f.URL(), "-n", "1", "--tier-timeout", patientTier)
	t.OnEnd(f.Release)
	cookie := loggedIn(t, s)
	f.Hold()
	var all []*Client
	for i := range clients {
		c := t.DialTo(s, DialOptions{}).Send(addsNote(cookie, fmt.Sprint(i)))
		c.AwaitRead()
		all = append(all, c)
	}
	awaitWaiting(t, f, mostTierConns)
	text := func(q *tier.Question) string {
		var n map[string]string
		_ = json.Unmarshal([]byte(q.Commands[0][2]), &n)
		return n["text"]
	}
	for i := mostTierConns; i < clients; i++ {
		f.Waiting()[0].Answer()
		t.Eventually("the next question comes", func() bool { return len(f.Asked()) > i })
		if got := text(f.Asked()[i]); got != fmt.Sprint(i) {
			t.Fatalf("the question of client %s comes at place %d", got, i)
		}
	}
	f.Release()
	for i, c := range all {
		if n := parseNote(t, c.Want(201).Body); n.Text != fmt.Sprint(i) {
			t.Errorf("client %d gets the note %q", i, n.Text)
		}
		c.Close()
	}
	if n := f.Count(); n.Overlaps > 0 {
		t.Errorf("%d questions did not wait for the last answer on their connection", n.Overlaps)
	}
}

func tierQueueFull(t *T) {
	f := newTier(t)
	s := beginNotes(t, f.URL(), "-n", "1", "--tier-timeout", patientTier)
	t.OnEnd(f.Release)
	f.Hold()
	clients := askNotes(t, s, mostTierConns+mostQueued)
	for _, c := range clients {
		c.AwaitRead()
	}
	awaitWaiting(t, f, mostTierConns)
	for range 3 {
		c := t.DialTo(s, DialOptions{})
		unavailable(t, c.Send(listsNotes), 503)
		c.WantKept()
		c.Close()
	}
	for _, i := range []int{0, mostTierConns + mostQueued/2, len(clients) - 1} { // three leave the queue or the tier
		clients[i].Close()
	}
	f.Release()
	for i, c := range clients {
		if i != 0 && i != mostTierConns+mostQueued/2 && i != len(clients)-1 {
			c.WantBody(200, `{"notes":[]}`)
		}
		c.Close()
	}
	onlyTierConns(t, s, f)
}

func tierLeaves(t *T) {
	f := newTier(t)
	s := beginNotes(t, f.URL(), "--tier-timeout", patientTier)
	t.OnEnd(f.Release)
	cookie := loggedIn(t, s)
	f.Put()
	added := 0
	for i := range 12 {
		f.Hold()
		c := t.DialTo(s, DialOptions{})
		request := listsNotes
		if i%3 == 0 {
			request = addsNote(cookie, "x")
			added++
		}
		c.Send(request + strings.Repeat(listsNotes, i%2)) // with and without a request after it
		awaitWaiting(t, f, 1)
		if i%4 < 2 {
			c.Close()
		} else {
			c.Reset()
		}
		other := t.DialTo(s, DialOptions{}).Send(listsNotes)
		if t.Stage() > 1 {
			awaitWaiting(t, f, 2)
		}
		f.Release()
		if n := len(parseNotes(t, other.Want(200))); n != added && t.Stage() == 1 {
			t.Errorf("the list has %d notes, want %d", n, added)
		}
		other.WantKept()
		other.Close()
	}
	onlyTierConns(t, s, f)
	if n := len(f.List()); n != added {
		t.Errorf("%d notes were added, the tier has %d", added, n)
	}
}

// tierReal makes a real Redis fail in several ways.
func tierReal(t *T) {
	r := realTier(t)
	s := beginNotes(t, r.URL(), "--tier-timeout", "1s")
	cookie, c := loggedIn(t, s), t.DialTo(s, DialOptions{})
	all := []note{addNote(t, c, cookie, "a")}
	wantNotes(t, c, all)
	for range 3 { // Redis closes the connections of its clients
		reply, err := r.Do("CLIENT", "KILL", "TYPE", "normal")
		t.Must(err)
		if reply == ":0" {
			t.Errorf("the server has no connection to Redis")
		}
		all = append(all, addNote(t, c, cookie, "b"))
		wantNotes(t, c, all)
	}
	r.Suspend()
	unavailable(t, c.Send(listsNotes), 504)
	c.Request("GET", "/plain.txt").WantBody(200, docroot.Texts["plain.txt"])
	r.Resume()
	t.Eventually("Redis answers again", func() bool { _, err := r.Do("PING"); return err == nil })
	wantNotes(t, c, all)
	r.Kill()
	unavailable(t, c.Send(listsNotes), 503)
	unavailable(t, c.Send(addsNote(cookie, "x")), 503)
	c.Request("GET", "/plain.txt").WantBody(200, docroot.Texts["plain.txt"])
	t.Must(r.Start())
	wantNotes(t, c, nil)
	_, err := r.Do("SET", "notes", "not a list")
	t.Must(err)
	unavailable(t, c.Send(listsNotes), 503)
	unavailable(t, c.Send(addsNote(cookie, "x")), 503)
	_, err = r.Do("DEL", "notes")
	t.Must(err)
	all = []note{addNote(t, c, cookie, "c")}
	wantNotes(t, c, all)
	_, err = r.Do("RPUSH", "notes", "not a note")
	t.Must(err)
	unavailable(t, c.Send(listsNotes), 502)
	c.WantKept()
}
