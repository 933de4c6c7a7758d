package live

import (
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"fourways.example/common/servertest/process"
)

// A client is a row of the page. It has the same connections to one stage or to each.
type client struct {
	id   int
	name string // a letter
	kind *kind
	ends []*end

	stepped atomic.Bool   // has been sent on
	ready   chan struct{} // closed when all ends have tried to connect
}

// newClient makes a client. servers has the running servers by stage; the client connects at once.
func newClient(id int, name string, k *kind, servers map[int]*process.Server) *client {
	c := &client{id: id, name: name, kind: k, ready: make(chan struct{})}
	for stage := 1; stage <= stageCount; stage++ {
		for range k.connections() {
			if servers[stage] != nil {
				c.ends = append(c.ends, &end{kind: k, stage: stage, heard: make(chan struct{})})
			}
		}
	}
	go func() {
		defer close(c.ready)
		for _, e := range c.ends {
			e.connect(servers[e.stage])
			e.listen()
		}
	}()
	return c
}

// each calls f for each end of the client at the same time, and waits.
func (c *client) each(f func(*end)) {
	var all sync.WaitGroup
	for _, e := range c.ends {
		all.Go(func() { f(e) })
	}
	all.Wait()
}

// letters returns the name of the n-th client, from 0: A to Z, then A2 and so on.
func letters(n int) string {
	name := string(rune('A' + n%26))
	if n >= 26 {
		name += fmt.Sprint(n/26 + 1)
	}
	return name
}

// A clientView is a client as the page shows it.
type clientView struct {
	ID    int    `json:"id"`
	Name  string `json:"name"`
	Kind  string `json:"kind"`
	Words string `json:"words"`
	Step  string `json:"step"` // the button that sends the client on, or ""
	Done  bool   `json:"done"` // nothing more will happen
	Cells []cell `json:"cells"`
}

// A cell says what a client sees of one stage.
type cell struct {
	Text  string `json:"text"`
	Mood  mood   `json:"mood"`
	Exact string `json:"exact"` // how long the last answer took
	Place string `json:"place"` // where the server has the connection: "in the backlog", "thread 2"
}

func (c *client) view(now time.Time) clientView {
	v := clientView{ID: c.id, Name: c.name, Kind: c.kind.id, Words: c.kind.words, Done: true}
	for stage := 1; stage <= stageCount; stage++ {
		cell, done := c.cell(stage, now)
		v.Cells = append(v.Cells, cell)
		v.Done = v.Done && done
	}
	if !v.Done && (!c.stepped.Load() || c.kind.again) {
		v.Step = c.kind.step
	}
	return v
}

// cell sums up the client's connections to one stage.
func (c *client) cell(stage int, now time.Time) (cell, bool) {
	counts := map[string]int{}
	var order []cell
	done := true
	for _, e := range c.ends {
		if e.stage != stage {
			continue
		}
		text, m, over := e.outcome(now)
		if counts[text] == 0 {
			order = append(order, cell{Text: text, Mood: m, Exact: e.exact()})
		}
		counts[text]++
		done = done && over
	}
	switch {
	case len(order) == 0:
		return cell{Text: "not connected", Mood: quiet}, true
	case c.kind.connections() == 1:
		return order[0], done
	}
	sum := cell{Mood: order[0].Mood}
	for i, part := range order {
		if i > 0 {
			sum.Text += ", "
			sum.Mood = worse(sum.Mood, part.Mood)
		}
		sum.Text += fmt.Sprintf("%d %s", counts[part.Text], part.Text)
	}
	return sum, done
}

// worse returns the mood that deserves more attention.
func worse(a, b mood) mood {
	for _, m := range []mood{bad, waiting, good} {
		if a == m || b == m {
			return m
		}
	}
	return quiet
}

// A peer is the address of a client's end, to which a server's connection leads.
type peer struct {
	stage int
	addr  netip.AddrPort
}

// peers enters the client's ends into a table with an id, for the observation of the servers.
func (c *client) peers(table map[peer]int, id int) {
	for _, e := range c.ends {
		e.mu.Lock()
		if e.local.IsValid() {
			table[peer{e.stage, e.local}] = id
		}
		e.mu.Unlock()
	}
}

// holds reports whether a server has a connection of a client.
func (s *state) holds(id int) bool {
	return slices.ContainsFunc(s.Stages, func(v stageView) bool {
		return slices.ContainsFunc(v.Conns, func(c connView) bool { return c.Client == id })
	})
}

// place says where a server has the connections of a client.
func place(s *stageView, id int) string {
	var own []connView
	for _, c := range s.Conns {
		if c.Client == id {
			own = append(own, c)
		}
	}
	switch {
	case len(own) == 0:
		return ""
	case len(own) == 1 && own[0].N == 1:
		return own[0].Owner
	}
	return inWords(own)
}
