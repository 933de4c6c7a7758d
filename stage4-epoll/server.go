// Stage 4: event loops. A few threads, as many as there are CPUs, wait for thousands of
// connections each: epoll_wait(2) tells which of them have something to read or room
// to write, and a connection that would have to wait is left alone until it is told
// of again. Each connection belongs to one loop, so that no two threads ever meet in
// it. An idle client costs a few hundred bytes, and no thread.
package main

import (
	"cmp"
	"net/netip"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"fourways.example/common/cli"
	"fourways.example/common/deadline"
	"fourways.example/common/h1"
	"fourways.example/common/inbox"
	"fourways.example/common/sock"
	"golang.org/x/sys/unix"
)

// Serve accepts connections and hands them to the event loops. It returns nil after a
// graceful stop.
func Serve(listeners []*sock.Listener, cfg *cli.Config) error {
	loops := make([]*loop, cfg.Workers)
	for i := range loops {
		l, err := newLoop(loops, cfg)
		if err != nil {
			return err
		}
		loops[i] = l
		cfg.Conns.OnFull(l.inbox.Wake) // to shed
	}
	// A busy loop never lets go of its Go processor. The acceptors and the log have others.
	// Where there are more processors than CPUs the kernel shares out the CPUs.
	runtime.GOMAXPROCS(cfg.Workers + len(listeners) + 1)
	var workers sync.WaitGroup
	for _, l := range loops {
		workers.Go(l.work)
	}
	var acceptors sync.WaitGroup
	for _, l := range listeners {
		acceptors.Go(func() { acceptAll(l, loops, cfg) })
	}
	acceptors.Wait()
	for _, l := range loops {
		l.inbox.Close()
	}
	workers.Wait()
	return cfg.Stop.Err()
}

// acceptAll hands the connections of one listening socket to the loops, each to the
// one with the fewest.
func acceptAll(l *sock.Listener, loops []*loop, cfg *cli.Config) {
	for {
		s, ok := accept(l, cfg)
		if !ok {
			return
		}
		to := slices.MinFunc(loops, func(a, b *loop) int { return cmp.Compare(a.open.Load(), b.open.Load()) })
		to.push(to.worker.Open(s))
	}
}

const (
	batch = 256 // events that one epoll_wait reports at most
	turn  = 16  // system calls for one connection before the others get theirs
	slack = 4   // connections that a loop may have more than another
	share = 64  // connections that a loop gives away before it serves again
)

// What comes with an event: one of these, or a client's number.
const (
	inboxTag = iota
	stopTag
)

// loop is an event loop. What is not marked otherwise belongs to its thread.
type loop struct {
	cfg      *cli.Config
	loops    []*loop // all of them; complete before the first one runs
	worker   *h1.Worker
	epoll    *sock.Epoll
	clients  map[uint64]*client // by number
	number   uint64             // of the client that came last
	timeouts deadline.Set[*client]
	lost     bool                   // clients, since it last woke those that have more
	open     atomic.Int64           // clients, those in the inbox included; any thread's
	inbox    *inbox.Inbox[*h1.Conn] // accepted for this loop; any thread's
}

// client is a connection in a loop.
type client struct {
	// number comes with the client's events. It is never used again, as its descriptor
	// will be: an event may concern a client that was closed earlier in the same batch.
	number  uint64
	conn    *h1.Conn
	fd      int     // its descriptor in the epoll set, or -1
	want    h1.Want // what the set watches it for
	timeout deadline.Entry[*client]
}

// newLoop makes a loop whose set holds what can wake it: the inbox and the stop.
func newLoop(loops []*loop, cfg *cli.Config) (*loop, error) {
	epoll, err := sock.NewEpoll()
	if err != nil {
		return nil, err
	}
	in, err := inbox.New[*h1.Conn]()
	if err != nil {
		return nil, err
	}
	return &loop{
		cfg: cfg, loops: loops, worker: cfg.HTTP.NewWorker(), epoll: epoll,
		clients: make(map[uint64]*client), number: stopTag, inbox: in,
	}, cmp.Or(epoll.Add(in.FD(), unix.EPOLLIN, inboxTag), epoll.Add(cfg.Stop.FD(), unix.EPOLLIN, stopTag))
}

// push hands a connection to the loop. Any thread may call it.
func (l *loop) push(c *h1.Conn) {
	l.open.Add(1)
	l.inbox.Put(c)
}

// work is the event loop: wait, serve who is ready, take over who is new, look at the
// time. It owns its thread, its epoll set and its clients.
func (l *loop) work() {
	runtime.LockOSThread()
	events := make([]unix.EpollEvent, batch)
	for {
		for i := range l.wait(events) {
			l.event(sock.Tag(&events[i]))
		}
		if l.adopt() && l.open.Load() == 0 {
			return
		}
		for e := range l.timeouts.Expired(time.Now()) {
			e.Value.conn.Expire()
			l.handle(e.Value)
		}
		l.shed()
		l.balance()
	}
}

// wait returns how many events there are. It asks without waiting first: under load
// there always are some, and the Go scheduler need not be told of a call that cannot
// block.
func (l *loop) wait(events []unix.EpollEvent) int {
	n, err := l.epoll.Wait(events, 0)
	if n == 0 && err == nil && l.inbox.Sleep() {
		n, err = l.epoll.Wait(events, l.timeouts.Timeout(time.Now()))
	}
	if err != nil {
		panic(err) // epoll_wait(2) fails only where the program is wrong
	}
	return n
}

// event does what one event asks for.
func (l *loop) event(tag uint64) {
	if c := l.clients[tag]; c != nil {
		c.conn.Ready()
		l.handle(c)
	} else if tag == stopTag {
		l.stop()
	} // else the inbox, which is looked into anyway, or a client that is gone
}

// adopt takes over the connections in the inbox. It tells whether they are the last.
func (l *loop) adopt() (last bool) {
	accepted, last := l.inbox.Take()
	for _, conn := range accepted {
		l.number++
		c := &client{number: l.number, conn: conn, fd: conn.FD()}
		c.timeout.Value = c
		l.clients[c.number] = c
		if err := l.epoll.Add(c.fd, unix.EPOLLIN, c.number); err != nil {
			l.cfg.Warn("cannot watch a connection: %v; it is closed", err)
			l.drop(c)
			continue
		}
		l.handle(c)
	}
	return last
}

// watch has the epoll set report what the client waits for, if anything, and arms its
// time-out.
func (l *loop) watch(c *client) {
	if c.conn.FD() < 0 {
		l.unwatch(c)
	} else if want := c.conn.Want(); want != c.want {
		events := uint32(unix.EPOLLIN)
		if want == h1.Write {
			events = unix.EPOLLOUT
		}
		if err := l.epoll.Mod(c.fd, events, c.number); err != nil {
			l.cfg.Warn("cannot watch a connection: %v; it is closed", err)
			l.drop(c)
			return
		}
		c.want = want
	}
	class, at := c.conn.Deadline()
	l.timeouts.Push(int(class), &c.timeout, at)
}

// drop closes a client. The loop forgets it first: the kernel gives its descriptor to
// the next connection at once.
func (l *loop) drop(c *client) {
	l.forget(c)
	c.conn.Close()
	l.cfg.Conns.Release()
}

// unwatch takes a client's descriptor out of the epoll set.
func (l *loop) unwatch(c *client) {
	if c.fd >= 0 {
		l.epoll.Del(c.fd)
		c.fd = -1
	}
}

// forget takes a client out of the loop.
func (l *loop) forget(c *client) {
	l.unwatch(c)
	c.timeout.Remove()
	delete(l.clients, c.number)
	l.open.Add(-1)
	l.lost = true
}

// stop looks at every client once more: the server is stopping, and those that have
// not asked for anything are over. The others close behind their responses.
func (l *loop) stop() {
	l.epoll.Del(l.cfg.Stop.FD()) // level-triggered, it would be reported for ever
	for _, c := range l.clients {
		c.conn.Ready()
		l.handle(c)
	}
}

// shed closes the client that has been idle longest, where an acceptor waits for a slot. A
// request that has arrived meanwhile is answered: Expire looks for one.
func (l *loop) shed() {
	if idle := l.timeouts.Front(int(h1.ClassIdle)); idle != nil && l.cfg.Conns.RoomWanted() {
		idle.Value.conn.Expire()
		l.handle(idle.Value)
	}
}

// balance evens out what the acceptors cannot foresee: clients that leave one loop and
// stay in another. A loop gives away clients that are idle, and one that has lost some,
// given away or gone, wakes those that now have more. Whichever of two counts changed
// last, its loop sees the difference.
func (l *loop) balance() {
	given := 0
	for _, other := range l.loops {
		for l.surplus(other) > slack && !l.cfg.Stop.Stopping() {
			if given++; given > share {
				l.inbox.Wake() // to go on in the next round
				break
			}
			idle := l.timeouts.Back(int(h1.ClassIdle))
			if idle == nil || !idle.Value.conn.Move(other.worker) {
				break
			}
			l.forget(idle.Value)
			other.push(idle.Value.conn)
		}
	}
	for _, other := range l.loops {
		if l.lost && other.surplus(l) > slack {
			other.inbox.Wake()
		}
	}
	l.lost = false
}

// surplus is how many clients more than another loop's this one has.
func (l *loop) surplus(other *loop) int64 { return l.open.Load() - other.open.Load() }

// accept returns the next connection; ok is false once the server stops. No error of
// a single accept ends the server: see sock.ClassifyAcceptError.
func accept(l *sock.Listener, cfg *cli.Config) (s sock.Conn, ok bool) {
	l.Wait() // the last free slot may be needed by the other family's acceptor
	if !cfg.Conns.Acquire() {
		return s, false
	}
	for {
		s, err := l.Accept(unix.SOCK_NONBLOCK)
		if err == nil {
			// A socket for both families shows 192.0.2.1 as ::ffff:192.0.2.1.
			s.Peer = netip.AddrPortFrom(s.Peer.Addr().Unmap(), s.Peer.Port())
			return s, true
		}
		switch sock.ClassifyAcceptError(err) {
		case sock.ListenerClosed:
			cfg.Stop.ListenerClosed(l, err)
			return s, false
		case sock.BackOff:
			cfg.Warn("cannot accept: %v; trying again", err)
			time.Sleep(50 * time.Millisecond)
		}
	}
}

// handle serves a client until it would have to wait, or its turn is over.
func (l *loop) handle(c *client) {
	c.conn.Grant(turn)
	switch err := serve(c.conn); err {
	case sock.ErrAgain, h1.ErrYield:
		l.watch(c)
	default: // its end, or an error that concerns this client alone, and is in the access log
		l.drop(c)
	}
}

// serve drives a connection until it is over, or until it would have to wait on a
// non-blocking socket.
func serve(c *h1.Conn) error {
	for {
		var err error
		switch c.Want() {
		case h1.Read:
			err = c.Fill()
		case h1.Write:
			err = c.Flush()
		case h1.Close:
			return nil
		}
		if err != nil {
			return err
		}
	}
}
