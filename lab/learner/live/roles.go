package live

import (
	"fmt"
	"slices"
	"strings"
)

// A memory is what is known of a server's threads from earlier observations.
type memory struct {
	known    bool           // all threads that serve clients can be told from those of the Go runtime
	roles    map[int]string // the labels of threads that keep their roles
	sets     map[int]int    // the epoll sets of event loops, by thread
	ran      map[int]int    // in how many observations in a row a thread was running
	acceptor int            // the thread that was last seen to wait for a new client
}

func newMemory() *memory { return &memory{roles: map[int]string{}, sets: map[int]int{}} }

// note counts the observations in which threads run. The Go runtime's own threads run for a moment now and then.
func (m *memory) note(tasks []task) {
	ran := map[int]int{}
	for _, t := range tasks {
		if t.call == "running" {
			ran[t.tid] = m.ran[t.tid] + 1
		}
	}
	m.ran = ran
}

// onlyThread is the label of a thread that accepts clients and serves them too.
const onlyThread = "the thread"

// label names a thread whose role is not remembered.
func (d *describer) label(noun string, tid int) string {
	switch {
	case d.stage == 1, noun == "thread" && d.alone():
		return onlyThread
	case noun == "acceptor":
		return noun
	}
	return fmt.Sprintf("%s %d", noun, tid)
}

// alone reports whether a server that is not known has one accepted connection, a thread serves it, and no thread waits
// for a new client: the one that serves is then the one that accepts. The Go runtime may move it from one kernel thread to
// another, so that thread IDs do not show this.
func (d *describer) alone() bool {
	serve := 0
	for _, t := range d.tasks {
		if d.listensTo(t.fds) {
			return false
		}
		serve += len(d.remotes(t.fds))
	}
	return !d.known && serve == 1 && len(d.byInode) == 1 && len(d.observation.sets) == 0
}

// pooled reports whether the server is a pool of which all workers are known.
func (d *describer) pooled() bool { return d.known && (d.stage == 2 || d.stage == 3) }

// absentAcceptor describes the acceptor of a pool while no thread waits for a new client. Between two clients that is
// so for a moment. It lasts when the queue is full: the acceptor then holds the connection for which there is no room. It
// waits for the Go runtime and not for the kernel, so that no thread's system call shows it; but more accepted connections
// than the queue has places do.
func (d *describer) absentAcceptor(held int) threadView {
	v := threadView{TID: d.memory.acceptor, Label: "acceptor", State: runs, Text: "between two clients", Clients: []group{}}
	if held > 0 {
		v.State, v.Text = full, "waits until the queue has room"
	}
	i := slices.IndexFunc(d.tasks, func(t task) bool { return t.tid == v.TID })
	if i < 0 {
		return v
	}
	v.Call = d.tasks[i].call
	if d.others[v.Call]--; d.others[v.Call] <= 0 {
		delete(d.others, v.Call)
	}
	return v
}

// held returns how many of the accepted connections without a thread do not fit into the queue of a pool.
func (d *describer) held(conns []connView) int {
	n := 0
	for _, c := range conns {
		if c.Place == "queue" {
			n += c.N
		}
	}
	return max(0, n-pool)
}

// otherThreads sums up the threads that serve no client.
func (d *describer) otherThreads() string {
	var parts []string
	total := 0
	for call, n := range d.others {
		if call != "running" {
			call = "in " + call
		}
		parts = append(parts, fmt.Sprintf("%d %s", n, call))
		total += n
	}
	slices.Sort(parts)
	switch {
	case total == 0:
		return ""
	case !d.known:
		noun := "threads"
		if total == 1 {
			noun = "thread"
		}
		return fmt.Sprintf("and %d other %s (Go runtime and idle workers)", total, noun)
	}
	return fmt.Sprintf("and %d of the Go runtime: %s", total, strings.Join(parts, ", "))
}
