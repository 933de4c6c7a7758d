package live

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"fourways.example/common/servertest/kernel"
)

func remote(port uint16) netip.AddrPort {
	return netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), port)
}

// conn returns a connection from a port. Its inode is 0 if it waits in the backlog.
func conn(port uint16, inode uint32) kernel.Connection {
	return kernel.Connection{Socket: kernel.Socket{State: unix.BPF_TCP_ESTABLISHED, Inode: inode}, Remote: remote(port)}
}

// clientAt finds the clients of these tests: port 1001 belongs to client 1, and so on; 9 is the probe's.
func clientAt(a netip.AddrPort) int {
	switch p := int(a.Port()); {
	case p == 9:
		return probeID
	case p > 1000:
		return p - 1000
	}
	return strangerID
}

// server returns an observation of a server whose listening socket is descriptor 3 and has the inode 30. Each further
// connection has the descriptor inode/10.
func server(conns ...kernel.Connection) *observation {
	o := &observation{
		descriptors: map[int]string{3: "socket:[30]", 4: "anon_inode:[eventpoll]", 5: "pipe:[50]"},
		listeners:   map[uint32]bool{30: true}, conns: conns,
	}
	for _, c := range conns {
		if c.Inode != 0 {
			o.descriptors[int(c.Inode/10)] = "socket:[" + itoa(c.Inode) + "]"
		} else {
			o.backlog++
		}
	}
	o.index()
	return o
}

func itoa(n uint32) string {
	return string(rune('0'+n/100)) + string(rune('0'+n/10%10)) + string(rune('0'+n%10))
}

// TestPool describes a pool: two threads have clients, one of them sends; one is free; one connection is accepted and one
// is not.
func TestPool(t *testing.T) {
	o := server(conn(1001, 100), conn(1002, 110), conn(1003, 120), conn(9, 0))
	o.conns[1].Unacked = 5000
	o.tasks = []task{
		{tid: 20, call: "poll", fds: []watched{{fd: 10}, {fd: 5}}},
		{tid: 21, call: "sendfile", fds: []watched{{fd: 11, write: true}}},
		{tid: 22, call: "futex"},
		{tid: 23, call: "futex"},
		{tid: 24, call: "accept4", fds: []watched{{fd: 3}}},
		{tid: 25, call: "epoll_wait", fds: []watched{{fd: 6}}},
	}
	m := newMemory()
	m.known = true
	m.roles = map[int]string{20: "thread 1", 21: "thread 2", 22: "thread 3"}
	got := describe(o, 2, m, clientAt)
	want := description{
		Threads: []threadView{
			{TID: 24, Label: "acceptor", Call: "accept4", State: accepts, Text: "until a client connects", Clients: []group{}},
			{TID: 20, Label: "thread 1", Call: "poll", State: taken, Text: "until it sends more", Clients: []group{{Client: 1, N: 1}}},
			{TID: 21, Label: "thread 2", Call: "sendfile", State: taken, Text: "until there is room to send", Clients: []group{{Client: 2, N: 1, Write: true}}},
			{TID: 22, Label: "thread 3", Call: "futex", State: free, Text: "until the queue has a client", Clients: []group{}},
		},
		Others:  "and 2 of the Go runtime: 1 in epoll_wait, 1 in futex",
		Accepts: true,
		Conns: []connView{
			{group: group{Client: 1, N: 1}, Place: "thread", Owner: "thread 1"},
			{group: group{Client: 2, N: 1}, Place: "thread", Owner: "thread 2", Unacked: 5000},
			{group: group{Client: 3, N: 1}, Place: "queue", Owner: "accepted, no thread"},
			{group: group{Client: probeID, N: 1}, Place: "backlog", Owner: "backlog"},
		},
		Backlog: 1,
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(connView{})); diff != "" {
		t.Error(diff)
	}
}

// TestFullQueue describes a pool whose queue is full: the acceptor waits for the Go runtime, and holds one connection.
func TestFullQueue(t *testing.T) {
	o := server(conn(1001, 100), conn(1002, 110), conn(1003, 120), conn(1004, 130), conn(1005, 140))
	o.tasks = []task{{tid: 24, call: "futex"}, {tid: 25, call: "futex"}}
	m := newMemory()
	m.known, m.acceptor = true, 24
	got := describe(o, 2, m, clientAt)
	want := []threadView{{TID: 24, Label: "acceptor", Call: "futex", State: full, Text: "waits until the queue has room", Clients: []group{}}}
	if diff := cmp.Diff(want, got.Threads); diff != "" || got.Held != 1 || got.Others != "and 1 of the Go runtime: 1 in futex" {
		t.Errorf("%s\nheld %d, others %q", diff, got.Held, got.Others)
	}
}

// TestOnlyThread describes a server with a bug, of which one thread both accepts and serves.
func TestOnlyThread(t *testing.T) {
	o := server(conn(1001, 100))
	m := newMemory()
	o.tasks = []task{{tid: 20, call: "poll", fds: []watched{{fd: 10}}}, {tid: 21, call: "futex"}}
	got := describe(o, 2, m, clientAt)
	if len(got.Threads) != 1 || got.Threads[0].Label != onlyThread || got.Conns[0].Owner != onlyThread {
		t.Errorf("%+v", got.Threads)
	}
	o.tasks = append(o.tasks, task{tid: 22, call: "accept4", fds: []watched{{fd: 3}}})
	if got := describe(o, 2, m, clientAt); got.Threads[1].Label != "thread 20" {
		t.Errorf("next to an acceptor: %+v", got.Threads)
	}
	if want := "and 1 other thread (Go runtime and idle workers)"; got.Others != want {
		t.Errorf("%q, want %q", got.Others, want)
	}
}

// TestLoops describes two event loops. One of them is stopped in futex by the Go runtime, and keeps its clients. A
// crowd's connections in the same place are one row.
func TestLoops(t *testing.T) {
	o := server(conn(1001, 100), conn(1002, 110), conn(1002, 120))
	o.conns[2].Remote = remote(1002)
	o.sets = []set{
		{fd: 4, fds: []watched{{fd: 5}, {fd: 10, write: true}}},
		{fd: 7, fds: []watched{{fd: 5}, {fd: 11}, {fd: 12}}},
	}
	o.tasks = []task{{tid: 20, call: "epoll_wait", fds: []watched{{fd: 4}}}, {tid: 21, call: "futex"}}
	m := newMemory()
	m.roles[21], m.sets[21] = "loop 2", 7
	got := describe(o, 4, m, clientAt)
	want := []threadView{
		{TID: 20, Label: "loop 1", Call: "epoll_wait", State: loops, Text: "until any of them is ready", Clients: []group{{Client: 1, N: 1, Write: true}}},
		{TID: 21, Label: "loop 2", Call: "futex", State: runs, Text: "not in epoll_wait at this moment", Clients: []group{{Client: 2, N: 2}}},
	}
	if diff := cmp.Diff(want, got.Threads); diff != "" {
		t.Error(diff)
	}
	conns := []connView{
		{group: group{Client: 1, N: 1}, Place: "thread", Owner: "loop 1"},
		{group: group{Client: 2, N: 2}, Place: "thread", Owner: "loop 2"},
	}
	if diff := cmp.Diff(conns, got.Conns, cmp.AllowUnexported(connView{})); diff != "" {
		t.Error(diff)
	}
	if m.roles[20] != "loop 1" {
		t.Errorf("the role of thread 20 is %q", m.roles[20])
	}
}

// TestUnknown describes threads that cannot be read. Nothing is made up for them.
func TestUnknown(t *testing.T) {
	o := server(conn(1001, 100), conn(5, 110))
	o.tasks = []task{{tid: 20, call: "", unknown: true}, {tid: 21, call: "poll", unknown: true}, {tid: 22, call: "running"}}
	m := newMemory()
	got := describe(o, 2, m, clientAt)
	want := []threadView{
		{TID: 20, Label: "thread 20", Call: "unknown", State: unknown, Text: "the kernel does not show its call", Clients: []group{}},
		{TID: 21, Label: "thread 21", Call: "poll", State: unknown, Text: "what it waits for cannot be read", Clients: []group{}},
	}
	if diff := cmp.Diff(want, got.Threads); diff != "" {
		t.Error(diff)
	}
	// A thread that is still running in the next observation is the server's: it spins.
	got = describe(o, 2, m, clientAt)
	if !slices.ContainsFunc(got.Threads, func(v threadView) bool { return v.TID == 22 && v.State == runs }) {
		t.Errorf("a thread that runs on is not among %+v", got.Threads)
	}
	if got.Accepts {
		t.Error("a thread accepts")
	}
	if c := got.Conns[0]; c.Client != strangerID || c.Owner != "accepted, no thread" {
		t.Errorf("a stranger's connection is %+v", c)
	}
}
