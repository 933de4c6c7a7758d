package pitfalls

import (
	"fmt"
	"strings"

	"fourways.example/common/servertest/scenario"
	"fourways.example/common/servertest/stages"
	"fourways.example/common/servertest/tier"
	"fourways.example/common/servertest/wire"
)

// This file has the scenarios about another tier: a database that the server asks before it can answer.

const (
	// patientTier is a --tier-timeout that does not end during a scenario.
	patientTier = "1m"
	// tierConns is the largest number of connections of a loop to the tier, as docs/spec.md has it.
	tierConns = 8
)

// notesGet requests the list of notes, which the server asks its tier for.
var notesGet = wire.Request("GET", "/api/notes", "")

// withTier starts a scripted tier, and a server that keeps its notes there.
func withTier(s *S, flags ...string) *tier.Fake {
	f, err := tier.NewFake()
	if err != nil {
		s.Fatalf("the tier does not start: %v", err)
	}
	s.OnEnd(f.Close)
	s.Tier = f
	s.Begin(Config{Flags: append(flags, "--notes", f.URL(), "--tier-timeout", patientTier)})
	return f
}

// blockingTier is about a loop that waits for the tier itself.
func blockingTier() Scenario {
	return Scenario{
		ID: "blocking-tier", Stage: 4,
		Bug:      "the loop reads the answer of the database from a blocking socket",
		Question: "The server has one event loop (-n 1). A's request needs the database, which is slow today. While A waits, B asks for a page that is in the cache. What does B get?",
		Choices:  []string{"its page: only A's request needs the database", "nothing, until the database answers A", "504"},
		Answer:   1, Assertion: "served-while-another-waits-for-the-tier",
		Usually: "that the loop waits for the database in a call: make that socket non-blocking too, put it into the loop's epoll set, and go on when the answer is there",
		Where: []Place{
			{Dir: "common/sock", Func: "Connect", Has: "SOCK_NONBLOCK"},
			{Dir: "STAGE", Func: "loop.watch"},
			{Dir: "common/h1", Func: "Conn.FD"},
		},
		Stages: stages.In(2, 3, 4), Fails: stages.In(2, 3), Flags: []string{"-n", "1", "--idle-timeout", "1m"}, NoServer: true,
		Run: func(s *S) {
			f := withTier(s)
			f.Hold()
			a := s.Connect("A")
			a.Send("GET /api/notes, and the database does not answer yet", notesGet)
			if !s.Until(func() bool { return len(f.Waiting()) == 1 }) {
				s.Fatalf("the server does not ask its database")
			}
			served(s, "B", "while another client waits for the database")
			s.Step("the database answers")
			f.Release()
			listed(s, a)
		},
	}
}

// tierPool is about the number of connections to the tier.
func tierPool() Scenario {
	const clients = 40
	return Scenario{
		ID: "tier-pool", Stage: 4,
		Bug:      "each request gets a connection of its own to the database",
		Question: fmt.Sprintf("The server has one event loop (-n 1). %d clients ask for something from the database at the same time. How many connections does the database get?", clients),
		Choices:  []string{"1: there is one thread", fmt.Sprintf("%d", clients), "as many as the server has CPUs"},
		Answer:   1, Assertion: "few-connections-to-the-tier",
		Usually: "that nothing limits the connections to the database: keep a few for each loop, and let further requests wait in a queue of limited length",
		Where:   []Place{{Dir: "common/h1", Func: "Conn.ask", Has: "TierConns"}, {Dir: "common/h1", Func: "Worker.Next"}, {Dir: "STAGE", Func: "loop.ask"}},
		Stages:  stages.In(2, 3, 4), Flags: []string{"-n", "1"}, NoServer: true,
		Run: func(s *S) {
			f := withTier(s)
			f.Hold()
			crowd := s.Crowd("A", clients, DialOptions{})
			s.Step("each sends GET /api/notes, and the database answers nobody yet")
			for _, p := range crowd {
				p.Put(notesGet)
			}
			s.Until(func() bool { return f.Count().Open == clients })
			n := f.Count().Open
			if n <= tierConns {
				s.Saw("at most %d connections to the database are open", tierConns)
			} else {
				s.Saw("%d connections to the database are open", n)
			}
			s.Assert(n <= tierConns, "%d clients that wait hold %d connections to the database", clients, n)
			s.Step("the database answers")
			f.Release()
			for _, p := range crowd {
				resp, err := p.Take("GET")
				s.Assert(err == nil && resp.Status == 200, "%s gets: %s", p.Name, scenario.InWords(resp, err))
				p.Abandon()
			}
			s.Saw("all get their lists")
		},
	}
}

// stalePool is about a connection in the pool that has died.
func stalePool() Scenario {
	return Scenario{
		ID: "stale-pool", Stage: 1,
		Bug:      "the server uses a connection to the database that the database has closed",
		Question: "The server keeps its connection to the database for the next request. The database closes connections that are idle for long. Then A asks for something from the database. What does A get?",
		Choices:  []string{"its answer: TCP opens the connection again", "an error, although the database runs", "nothing"},
		Answer:   1, Assertion: "an-idle-close-costs-nobody-an-error",
		Usually:  "that the server learns only from the failure of a request that a connection of its pool has died: look at the connection before, and repeat what may be repeated",
		Where:    []Place{{Dir: "common/h1", Func: "Conn.connect", Has: "Quiet()"}, {Dir: "common/h1", Func: "Conn.failed"}, {Dir: "common/sock", Func: "Conn.Quiet"}},
		NoServer: true,
		Run: func(s *S) {
			f := withTier(s)
			a := s.Connect("A")
			for _, closes := range []struct {
				how   string
				close func(*tier.Conn)
			}{{"closes", (*tier.Conn).Close}, {"resets", (*tier.Conn).Reset}} {
				a.Send("GET /api/notes", notesGet)
				listed(s, a)
				s.Step("the database %s its idle connection", closes.how)
				f.Drop(closes.close)
			}
			a.Send("GET /api/notes", notesGet)
			listed(s, a)
		},
	}
}

// listed asserts that a client gets the list of notes.
func listed(s *S, p *Peer) {
	resp, err := p.Answer()
	s.Assert(err == nil && resp.Status == 200 && strings.HasPrefix(string(resp.Body), `{"notes":[`), "%s gets from the database: %s", p.Name, scenario.InWords(resp, err))
}
