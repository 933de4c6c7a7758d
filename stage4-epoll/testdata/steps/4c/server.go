// Step 4c: several event loops. There are as many loops as CPUs, and each has a thread and an
// epoll set. Threads of their own accept connections and hand each to a loop. The loop finds
// it in its inbox, and an eventfd wakes the loop for it. Each connection belongs to one loop,
// so no two threads ever use the same connection.
package main

import (
	"runtime"
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
		l, err := newLoop(cfg)
		if err != nil {
			return err
		}
		loops[i] = l
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

// acceptAll hands the connections of one listening socket to the loops in turn.
func acceptAll(l *sock.Listener, loops []*loop, cfg *cli.Config) {
	for i := 0; ; i++ {
		s, ok := accept(l, cfg)
		if !ok {
			return
		}
		to := loops[i%len(loops)]
		to.push(&client{conn: to.worker.Open(s)})
	}
}

const (
	batch   = 256 // the most events that one epoll_wait reports
	share   = 64  // the most clients that a loop adopts before it serves the others again
	stopTag = 1   // the tag of the stop's event; the inbox has 0, and each client its key
)

// loop is an event loop. Only its own thread uses its fields, unless a comment says otherwise.
type loop struct {
	cfg      *cli.Config
	worker   *h1.Worker
	epoll    *sock.Epoll
	clients  slotmap.Map[*client]
	timeouts *deadline.Set[*client]
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
func newLoop(cfg *cli.Config) (*loop, error) {
	epoll, err := sock.NewEpoll()
	if err != nil {
		return nil, err
	}
	in, err := inbox.New[*client](epoll)
	if err != nil {
		return nil, err
	}
	return &loop{
		cfg: cfg, worker: cfg.HTTP.NewWorker(), epoll: epoll,
		timeouts: deadline.NewSet[*client](h1.Classes), inbox: in,
	}, epoll.Add(cfg.Stop.FD(), unix.EPOLLIN, stopTag)
}

// push hands a client to the loop, and wakes the loop. Any thread may call it.
func (l *loop) push(c *client) {
	l.open.Add(1)
	l.inbox.Put(c)
	l.inbox.Flush()
}

// work runs the event loop: it waits, serves the clients that are ready, adopts new ones, and
// expires time-outs.
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
		if last && l.open.Load() == 0 { // at the end: any call above may close the last client
			return
		}
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
	l.epoll.Forget(&c.watched, c.conn.FD())
	c.timeout.Remove()
	l.clients.Delete(c.Key())
	c.conn.Close()
	l.cfg.Conns.Release()
	l.open.Add(-1)
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

// accept returns the next connection; ok is false once the server stops. The failure of a
// single accept does not stop the server: see sock.ClassifyAcceptError.
func accept(l *sock.Listener, cfg *cli.Config) (s sock.Conn, ok bool) {
	l.Wait() // acquire a slot only for a waiting client: the other acceptor may need the last free slot
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

// handle serves a client until it would have to wait.
func (l *loop) handle(c *client) {
	switch err := serve(&c.conn); err {
	case sock.ErrAgain:
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
