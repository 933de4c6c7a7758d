package live

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"

	"fourways.example/common/servertest/kernel"
)

// Clients have ids from 1 on. Others that connect have these.
const (
	probeID    = 0
	strangerID = -1
	leftID     = -2 // a client that has hung up, which the server does not know yet
)

// A group is some connections of one client. A client with one connection is a group of one.
type group struct {
	Client int  `json:"client"`
	N      int  `json:"n"`
	Write  bool `json:"write"` // the server waits until the client takes more bytes
}

// A threadView is a thread as the page shows it.
type threadView struct {
	TID     int     `json:"tid"`
	Label   string  `json:"label"` // "thread 2", "loop 1", "acceptor"
	Call    string  `json:"call"`  // the system call, or "running"
	State   string  `json:"state"` // one of the words below
	Text    string  `json:"text"`  // what it waits for
	Clients []group `json:"clients"`
}

// The states of a thread.
const (
	taken   = "taken"   // waits for one client and serves no other meanwhile
	loops   = "watches" // waits for any of many clients
	accepts = "accepts" // waits for a new client
	free    = "free"    // has no client
	full    = "full"    // holds a client for which the queue has no room
	runs    = "running"
	unknown = "unknown"
)

// A connView is one connection, or several of a crowd in the same place.
type connView struct {
	group
	Place   string `json:"place"`   // "backlog", "queue", or "thread"
	Owner   string `json:"owner"`   // the label of the thread, or where the connection waits
	Unread  int    `json:"unread"`  // bytes that the server has not read
	Unacked int    `json:"unacked"` // bytes that the client has not acknowledged
	Note    string `json:"note"`    // the state, unless it is ESTABLISHED
}

// A description is an observation with the names of clients and threads.
type description struct {
	Threads []threadView `json:"threads"`
	Others  string       `json:"others"`  // the threads of the Go runtime
	Accepts bool         `json:"accepts"` // a thread waits for new clients
	Held    int          `json:"held"`    // accepted connections that do not fit into the queue: the acceptor holds them
	Conns   []connView   `json:"conns"`
	Backlog int          `json:"backlog"`
	Limit   int          `json:"limit"`
}

// A describer gives the names.
type describer struct {
	*observation
	*memory
	stage  int
	client func(netip.AddrPort) int // the id of the client at an address
	owners map[uint32]string        // the owner of a connection, by its inode
	others map[string]int           // the calls of other threads
}

// describe names what an observation has found. It also learns the roles of event loops, and which threads run on.
func describe(o *observation, stage int, m *memory, client func(netip.AddrPort) int) description {
	d := &describer{observation: o, memory: m, stage: stage, client: client, owners: map[uint32]string{}, others: map[string]int{}}
	m.note(o.tasks)
	v := description{Backlog: o.backlog, Limit: o.limit, Threads: []threadView{}, Conns: []connView{}}
	for _, t := range o.tasks {
		if view, ok := d.thread(t); ok {
			v.Threads = append(v.Threads, view)
			v.Accepts = v.Accepts || view.State == accepts
		}
	}
	v.Conns = d.connections()
	if d.pooled() && !v.Accepts && m.acceptor != 0 {
		v.Held = d.held(v.Conns)
		v.Threads = append(v.Threads, d.absentAcceptor(v.Held))
	}
	slices.SortFunc(v.Threads, func(a, b threadView) int {
		return cmp.Or(cmp.Compare(a.Label, b.Label), cmp.Compare(a.TID, b.TID))
	})
	v.Others = d.otherThreads()
	return v
}

// thread describes a thread. ok is false if it belongs to the Go runtime.
func (d *describer) thread(t task) (v threadView, ok bool) {
	v = threadView{TID: t.tid, Label: d.roles[t.tid], Call: t.call, Clients: []group{}}
	switch {
	case t.call == "epoll_wait" && len(t.fds) == 1 && d.set(t.fds[0].fd) >= 0:
		return d.loop(v, t.fds[0].fd), true
	case d.listensTo(t.fds):
		v.Label, v.State, v.Text = cmp.Or(v.Label, d.label("acceptor", t.tid)), accepts, "until a client connects"
		d.memory.acceptor = t.tid
		return v, true
	case len(d.remotes(t.fds)) > 0:
		v.Label = cmp.Or(v.Label, d.label("thread", t.tid))
		v.State, v.Clients = taken, d.groups(t.fds)
		v.Text = "until it sends more"
		if v.Clients[0].Write {
			v.Text = "until there is room to send"
		}
		d.own(t.fds, v.Label)
		return v, true
	case d.memory.sets[t.tid] > 0 && d.set(d.memory.sets[t.tid]) >= 0:
		v = d.loop(v, d.memory.sets[t.tid])
		v.State, v.Text = runs, "not in epoll_wait at this moment"
		return v, true
	case v.Label != "" && t.call == "futex":
		v.State, v.Text = free, "until the queue has a client"
		return v, true
	case t.call == "":
		v.Label, v.Call, v.State, v.Text = cmp.Or(v.Label, d.label("thread", t.tid)), "unknown", unknown, "the kernel does not show its call"
		return v, true
	case t.call == "poll" && t.unknown:
		v.Label, v.State, v.Text = cmp.Or(v.Label, d.label("thread", t.tid)), unknown, "what it waits for cannot be read"
		return v, true
	case v.Label != "" || t.call == "running" && d.ran[t.tid] > 1 && !(d.pooled() && t.tid == d.memory.acceptor):
		v.Label, v.State, v.Text = cmp.Or(v.Label, d.label("thread", t.tid)), runs, "works, or waits for no client"
		return v, true
	}
	d.others[t.call]++
	return v, false
}

// listensTo reports whether a listening socket is among some descriptors.
func (d *describer) listensTo(fds []watched) bool {
	return slices.ContainsFunc(fds, func(w watched) bool { return d.listens(w.fd) })
}

// set returns the index of an event loop's epoll set, or -1.
func (d *describer) set(fd int) int {
	return slices.IndexFunc(d.observation.sets, func(s set) bool { return s.fd == fd })
}

// loop describes a thread in epoll_wait(2), and remembers that it is an event loop.
func (d *describer) loop(v threadView, fd int) threadView {
	i := d.set(fd)
	v.Label = fmt.Sprintf("loop %d", i+1)
	d.roles[v.TID], d.memory.sets[v.TID] = v.Label, fd
	v.State, v.Clients, v.Text = loops, d.groups(d.observation.sets[i].fds), "until any of them is ready"
	if len(v.Clients) == 0 {
		v.State, v.Text = free, "until it is given a client"
	}
	if d.listensTo(d.observation.sets[i].fds) {
		v.State, v.Text = accepts, "until any of them is ready, or a client connects"
	}
	return v
}

// own records the owner of connections.
func (d *describer) own(fds []watched, label string) {
	for _, w := range fds {
		if inode := d.inode(w.fd); d.byInode[inode] != nil {
			d.owners[inode] = label
		}
	}
}

// groups returns the clients of some descriptors, each with the number of its connections.
func (d *describer) groups(fds []watched) []group {
	all := []group{}
	for _, w := range fds {
		c := d.conn(w.fd)
		if c == nil {
			continue
		}
		id := d.client(c.Remote)
		if i := slices.IndexFunc(all, func(g group) bool { return g.Client == id && g.Write == w.write }); i >= 0 {
			all[i].N++
		} else {
			all = append(all, group{Client: id, N: 1, Write: w.write})
		}
	}
	slices.SortFunc(all, func(a, b group) int { return cmp.Compare(a.Client, b.Client) })
	return all
}

// connections describes all connections; those of a crowd in the same place with the same queues are one row.
func (d *describer) connections() []connView {
	for i, s := range d.observation.sets {
		for _, w := range s.fds {
			if inode := d.inode(w.fd); d.byInode[inode] != nil && d.owners[inode] == "" {
				d.owners[inode] = fmt.Sprintf("loop %d", i+1)
			}
		}
	}
	all := []connView{}
	for i := range d.conns {
		v := d.connection(&d.conns[i])
		same := func(o connView) bool {
			return o.Client == v.Client && o.Owner == v.Owner && o.Note == v.Note && o.Unread == v.Unread && o.Unacked == v.Unacked
		}
		if at := slices.IndexFunc(all, same); at >= 0 {
			all[at].N++
		} else {
			all = append(all, v)
		}
	}
	rank := map[string]int{"thread": 1, "queue": 2, "backlog": 3}
	slices.SortFunc(all, func(a, b connView) int {
		return cmp.Or(cmp.Compare(rank[a.Place], rank[b.Place]), cmp.Compare(a.Owner, b.Owner), cmp.Compare(a.Client, b.Client),
			cmp.Compare(a.Unread, b.Unread), cmp.Compare(a.Unacked, b.Unacked))
	})
	return all
}

func (d *describer) connection(c *kernel.Connection) connView {
	v := connView{
		group:  group{Client: d.client(c.Remote), N: 1},
		Unread: int(c.Unread), Unacked: int(c.Unacked), Note: stateName(c.State),
		Place: "thread", Owner: d.owners[c.Inode],
	}
	switch {
	case c.Waits():
		v.Place, v.Owner = "backlog", "backlog"
	case v.Owner == "":
		v.Place, v.Owner = "queue", "accepted, no thread"
	}
	return v
}

// stateName returns the name of a TCP state, or "" for the usual one.
func stateName(state uint8) string {
	names := []string{"", "", "SYN-SENT", "SYN-RECV", "FIN-WAIT-1", "FIN-WAIT-2", "TIME-WAIT", "CLOSE", "CLOSE-WAIT", "LAST-ACK", "LISTEN", "CLOSING"}
	if int(state) < len(names) {
		return names[state]
	}
	return fmt.Sprint("state ", state)
}
