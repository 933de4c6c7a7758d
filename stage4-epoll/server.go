// Stage 4: event loops. There are as many threads as CPUs, and each waits for thousands of
// connections at once: epoll_wait(2) reports the connections that can be read or written.
// A loop leaves a connection that would have to wait, and serves the others. Each
// connection belongs to one loop, so no two threads ever use the same connection. An idle
// client costs a few hundred bytes and no thread.
package main

import (
	"cmp"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"fourways.example/common/cli"
	"fourways.example/common/deadline"
	"fourways.example/common/h1"
	"fourways.example/common/inbox"
	"fourways.example/common/slotmap"
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
		cfg.Conns.OnFull(l.inbox.Wake) // so that the loop sheds an idle client
	}
	// A busy loop never gives up its Go processor, so the acceptors and the log need others.
	// With more processors than CPUs, the kernel shares the CPUs among the threads.
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

// acceptAll hands each connection of one listening socket to the loop that has the fewest.
func acceptAll(l *sock.Listener, loops []*loop, cfg *cli.Config) {
	for {
		s, ok := accept(l, loops, cfg)
		if !ok {
			return
		}
		to := slices.MinFunc(loops, func(a, b *loop) int { return cmp.Compare(a.open.Load(), b.open.Load()) })
		to.push(&client{conn: to.worker.Open(s)})
	}
}

// flush wakes the loops that have new clients in their inboxes.
func flush(loops []*loop) {
	for _, l := range loops {
		l.inbox.Flush()
	}
}

const (
	batch   = 256 // the most events that one epoll_wait reports
	budget  = 16  // system calls for one connection before the loop serves the others
	slack   = 4   // how many more clients one loop may have than another
	share   = 64  // the most clients that a loop adopts, or gives away, before it serves the others again
	stopTag = 1   // the tag of the stop's event; the inbox has 0, and each client its key
)

// loop is an event loop. Only its own thread uses its fields, unless a comment says otherwise.
type loop struct {
	cfg      *cli.Config
	loops    []*loop // all loops; the list is complete before the first loop runs
	worker   *h1.Worker
	epoll    *sock.Epoll
	clients  slotmap.Map[*client]
	timeouts *deadline.Set[*client]
	lost     bool                  // a client has left since the last call of balance
	open     atomic.Int64          // number of clients, with those in the inbox; any thread may use it
	inbox    *inbox.Inbox[*client] // clients handed to this loop; any thread may use it
}

// client is a connection in a loop.
type client struct {
	// The key of the slot is the tag of the client's events. Unlike a descriptor, a key is never
	// used again: an event may be for a client that was closed earlier in the batch.
	slotmap.Slot
	conn    h1.Conn
	watched sock.Watched // what the epoll set watches for this client
	timeout deadline.Entry[*client]
}

// newLoop makes a loop. Its epoll set watches the inbox and the stop, which wake the loop.
func newLoop(loops []*loop, cfg *cli.Config) (*loop, error) {
	epoll, err := sock.NewEpoll()
	if err != nil {
		return nil, err
	}
	in, err := inbox.New[*client](epoll)
	if err != nil {
		return nil, err
	}
	return &loop{
		cfg: cfg, loops: loops, worker: cfg.HTTP.NewWorker(), epoll: epoll,
		timeouts: deadline.NewSet[*client](h1.Classes), inbox: in,
	}, epoll.Add(cfg.Stop.FD(), unix.EPOLLIN, stopTag)
}

// push hands a client to the loop. Any thread may call it, and must call flush later.
func (l *loop) push(c *client) {
	l.open.Add(1)
	l.inbox.Put(c)
}

// work runs the event loop: it waits, serves the clients that are ready, adopts new ones, expires
// time-outs, sheds an idle client for a new one, asks waiting questions, and balances the loops.
func (l *loop) work() {
	runtime.LockOSThread()
	events := make([]unix.EpollEvent, batch)
	for {
		for i := range l.wait(events) {
			l.event(sock.Tag(&events[i]))
		}
		last := l.adopt()
		for e := range l.timeouts.Expired(time.Now()) {
			e.Value.conn.Expire()
			l.handle(e.Value)
		}
		l.shed()
		l.ask()
		if last && l.open.Load() == 0 { // at the end: any call above may close the last client
			return
		}
		l.balance()
	}
}

// wait waits for events and returns how many there are. It only polls if the inbox has news.
func (l *loop) wait(events []unix.EpollEvent) int {
	timeout := time.Duration(0)
	if l.inbox.Sleep() {
		timeout = l.timeouts.Timeout(time.Now())
	}
	n, err := l.epoll.Wait(events, timeout)
	if err != nil {
		panic(err) // epoll_wait(2) fails only if the program is wrong
	}
	return n
}

// event handles the event with this tag.
func (l *loop) event(tag uint64) {
	if c := l.clients.Get(tag); c != nil {
		c.conn.Ready()
		l.handle(c)
	} else if tag == stopTag {
		l.stop()
	} // else it is the inbox, which adopt empties, or a client that was closed
}

// adopt serves clients in the inbox for the first time: a client's request has often arrived
// already. It reports whether they were the last.
func (l *loop) adopt() (last bool) {
	clients, last := l.inbox.Take(share)
	for _, c := range clients {
		l.clients.Put(c.conn.FD(), c)
		c.timeout.Value = c
		l.handle(c)
	}
	return last
}

// watch tells the epoll set which event the client waits for, if any, and arms its
// time-out.
func (l *loop) watch(c *client) {
	events := uint32(unix.EPOLLIN)
	if c.conn.Want() == h1.Write {
		events = unix.EPOLLOUT
	}
	if err := l.epoll.Watch(&c.watched, c.conn.FD(), events, c.Key()); err != nil {
		l.cfg.Warn("cannot watch a connection: %v; it is closed", err)
		l.drop(c)
		return
	}
	class, at := c.conn.Deadline()
	l.timeouts.Push(int(class), &c.timeout, at)
}

// drop closes a client. The loop forgets the client first, because the kernel may give
// the closed descriptor to the next connection at once. The kernel also takes a closed
// descriptor out of the epoll set.
func (l *loop) drop(c *client) {
	l.forget(c)
	c.conn.Close()
	l.cfg.Conns.Release()
}

// forget takes a client out of the loop. Its own descriptor may stay in the epoll set, but a
// connection to the other tier may not: another client may use it next.
func (l *loop) forget(c *client) {
	l.epoll.Forget(&c.watched, c.conn.FD())
	c.timeout.Remove()
	l.clients.Delete(c.Key())
	l.open.Add(-1)
	l.lost = true
}

// stop serves every client once more when the server stops. This closes the clients that
// have not sent a request. The others are closed after their responses.
func (l *loop) stop() {
	l.epoll.Del(l.cfg.Stop.FD()) // a level-triggered set would report it forever
	for c := range l.clients.All() {
		c.conn.Ready()
		l.handle(c)
	}
}

// shed closes the client that has been idle longest if an acceptor waits for a slot. If
// the client's next request has arrived, Expire finds it, and the request is answered.
func (l *loop) shed() {
	if idle := l.timeouts.Front(int(h1.ClassIdle)); idle != nil && l.cfg.Conns.RoomWanted() {
		idle.Value.conn.Expire()
		l.handle(idle.Value)
	}
}

// ask serves clients whose questions have waited for a connection to the other tier.
func (l *loop) ask() {
	for range share {
		fd := l.worker.Next()
		if fd < 0 {
			return
		}
		l.handle(l.clients.At(fd))
	}
	l.inbox.Wake() // so that the next round goes on without a wait
}

// balance evens out the numbers of clients, because the acceptors cannot foresee which
// clients leave. A loop gives idle clients to loops that have fewer. A loop that has lost
// clients wakes the loops that now have more, so that they give some away. If more than
// share should go, the rest goes in the next round, which does not wait.
func (l *loop) balance() {
	given := 0
	for _, other := range l.loops {
		for l.surplus(other) > slack && !l.cfg.Stop.Stopping() {
			if given++; given > share {
				l.inbox.Wake() // so that the next round goes on without a wait
				break
			}
			idle := l.timeouts.Back(int(h1.ClassIdle))
			if idle == nil || !idle.Value.conn.Move(other.worker) {
				break
			}
			l.epoll.Unwatch(&idle.Value.watched)
			l.forget(idle.Value)
			other.push(idle.Value)
			other.inbox.Flush()
		}
	}
	for _, other := range l.loops {
		if l.lost && other.surplus(l) > slack {
			other.inbox.Wake()
		}
	}
	l.lost = false
}

// surplus returns how many more clients this loop has than another.
func (l *loop) surplus(other *loop) int64 { return l.open.Load() - other.open.Load() }

// accept returns the next connection; ok is false once the server stops. The failure of a
// single accept does not stop the server: see sock.ClassifyAcceptError.
func accept(l *sock.Listener, loops []*loop, cfg *cli.Config) (s sock.Conn, ok bool) {
	l.Gather(func() { flush(loops) }) // wait before Acquire: the other acceptor may need the last free slot
	if !cfg.Conns.Acquire() {
		return s, false
	}
	for {
		s, err := l.Accept(unix.SOCK_NONBLOCK)
		if err == nil {
			// A socket for both families reports 192.0.2.1 as ::ffff:192.0.2.1.
			s.UnmapPeer()
			return s, true
		}
		flush(loops) // the next Accept may wait
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

// handle serves a client until it would have to wait, or its budget is used up.
func (l *loop) handle(c *client) {
	c.conn.SetBudget(budget)
	switch err := serve(&c.conn); err {
	case sock.ErrAgain, h1.ErrBudget:
		l.watch(c)
	default: // the connection is over, or an error has ended it
		l.drop(c)
	}
}

// serve makes the calls that a connection wants. It returns nil when the connection is
// over, or the first error. On a non-blocking socket that may be sock.ErrAgain: the call
// would have to wait.
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
