package live

import (
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// This file makes the rows of an experiment from the last observation.

// outcomes returns what the new client sees.
func (t *trial) outcomes() (cells []cell) {
	now := time.Now()
	for n := 1; n <= stageCount; n++ {
		c := cell{Text: "not tried", Mood: quiet}
		if len(t.fresh) > 0 {
			c, _ = t.fresh[0].cell(n, now)
		}
		cells = append(cells, c)
	}
	return cells
}

// conns returns the connections of some clients in the last observation of a stage.
func (t *trial) conns(s *stageView, clients []*client) (all []connView) {
	for _, c := range s.Conns {
		if slices.ContainsFunc(clients, func(o *client) bool { return o.id == c.Client }) {
			all = append(all, c)
		}
	}
	return all
}

// each returns a cell for each stage, made from the last observation.
func (t *trial) each(text func(s *stageView) string) (cells []cell) {
	s, _ := t.w.current()
	for i := range s.Stages {
		c := cell{Text: s.Stages[i].Said, Mood: quiet}
		if s.Stages[i].State == "up" {
			c.Text = text(&s.Stages[i])
		}
		cells = append(cells, c)
	}
	return cells
}

// places says where the clients' connections are.
func (t *trial) places(clients []*client) []cell {
	return t.each(func(s *stageView) string { return inWords(t.conns(s, clients)) })
}

// holders counts the threads and loops that have a connection of the clients.
func (t *trial) holders(clients []*client) []cell {
	return t.each(func(s *stageView) string {
		owners := map[string]bool{}
		for _, c := range t.conns(s, clients) {
			if c.Place == "thread" {
				owners[c.Owner] = true
			}
		}
		t.found.threads[s.N] = len(owners)
		return fmt.Sprint(len(owners))
	})
}

// calls says in which system calls the threads that have the clients are.
func (t *trial) calls(clients []*client) []cell {
	return t.each(func(s *stageView) string {
		var texts []string
		for _, th := range s.Threads {
			for _, g := range th.Clients {
				if !slices.ContainsFunc(clients, func(c *client) bool { return c.id == g.Client }) {
					continue
				}
				text := waiter(s, &th)
				if !slices.Contains(texts, text) {
					texts = append(texts, text)
				}
			}
		}
		if len(texts) == 0 {
			return "no thread waits for it"
		}
		return strings.Join(texts, ", ")
	})
}

// waiter says which thread waits for a client: "1 of 4 threads, in poll".
func waiter(s *stageView, th *threadView) string {
	switch {
	case th.State != taken:
		return "a loop, in " + th.Call + ", for all its clients"
	case th.Label == onlyThread:
		return "the only thread, in " + th.Call
	case s.Pitfall == "" && (s.N == 2 || s.N == 3):
		return fmt.Sprintf("1 of %d threads, in %s", pool, th.Call)
	}
	return "a thread, in " + th.Call
}

// taken says how many bytes of the large file the kernel has taken from each server: those in the server's send
// queue, and those that have arrived at the client.
func (t *trial) taken(c *client) []cell {
	return t.each(func(s *stageView) string {
		n := int64(0)
		for _, conn := range t.conns(s, []*client{c}) {
			n += int64(conn.Unacked)
		}
		for _, e := range c.ends {
			if e.stage == s.N {
				n += e.received()
			}
		}
		t.found.taken[s.N] = n
		return fmt.Sprintf("%.1f of %d MiB", float64(n)/(1<<20), largeSize>>20)
	})
}

// received returns how many bytes have arrived at the client, read or not.
func (e *end) received() (n int64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.conn == nil {
		return 0
	}
	raw, err := e.conn.SyscallConn()
	if err != nil {
		return 0
	}
	_ = raw.Control(func(fd uintptr) {
		if info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO); err == nil {
			n = int64(info.Bytes_received)
		}
	})
	return n
}

// hasIPv6 reports whether this machine has the address ::1.
func hasIPv6() bool {
	l, err := net.Listen("tcp6", "[::1]:0")
	if err != nil {
		return false
	}
	_ = l.Close()
	return true
}
