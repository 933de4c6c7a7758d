// Step 4a: one event loop. One thread serves all clients: epoll_wait(2) reports the
// connections that can be read or written. The loop leaves a connection that would have to
// wait, and serves the others. An idle client costs a few hundred bytes and no thread.
package main

import (
	"runtime"
	"sync"
	"time"

	"fourways.example/common/cli"
	"fourways.example/common/h1"
	"fourways.example/common/slotmap"
	"fourways.example/common/sock"
	"golang.org/x/sys/unix"
)

// Serve accepts connections and hands them to the event loop. It returns nil after a
// graceful stop.
func Serve(listeners []*sock.Listener, cfg *cli.Config) error {
	epoll, err := sock.NewEpoll()
	if err != nil {
		return err
	}
	to := &loop{cfg: cfg, worker: cfg.HTTP.NewWorker(), epoll: epoll}
	// A worker whose client never pauses keeps its Go processor until it is preempted.
	// With more processors than CPUs, the kernel shares the CPUs among the threads.
	// A few more are enough: the garbage collector may use a thread for each processor.
	runtime.GOMAXPROCS(max(runtime.GOMAXPROCS(0), min(cfg.Workers, 4)+len(listeners)))
	go to.work()
	var acceptors sync.WaitGroup
	for _, l := range listeners {
		acceptors.Go(func() { acceptAll(l, to, cfg) })
	}
	acceptors.Wait()
	to.stop()
	to.open.Wait()
	return cfg.Stop.Err()
}

// acceptAll hands the connections of one listening socket to the loop.
func acceptAll(l *sock.Listener, to *loop, cfg *cli.Config) {
	for {
		s, ok := accept(l, cfg)
		if !ok {
			return
		}
		to.push(&client{conn: to.worker.Open(s)})
	}
}

// loop is an event loop. Its thread holds mu except while it waits for events.
type loop struct {
	cfg     *cli.Config
	worker  *h1.Worker
	epoll   *sock.Epoll
	mu      sync.Mutex
	clients slotmap.Map[*client]
	open    sync.WaitGroup // counts the clients
}

// client is a connection in a loop.
type client struct {
	slotmap.Slot // its key is the tag of the client's events
	conn         h1.Conn
	watched      sock.Watched // what the epoll set watches for this client
}

// push hands a client to the loop. The set reports it when its request arrives, or has arrived.
func (l *loop) push(c *client) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open.Add(1)
	l.clients.Put(c.conn.FD(), c)
	l.watch(c, unix.EPOLLIN)
}

// work runs the event loop: it waits, and serves the clients that are ready.
func (l *loop) work() {
	runtime.LockOSThread()
	events := make([]unix.EpollEvent, 256)
	for {
		n, err := l.epoll.Wait(events, -1)
		if err != nil {
			panic(err) // epoll_wait(2) fails only if the program is wrong
		}
		l.mu.Lock()
		for i := range n {
			if c := l.clients.Get(sock.Tag(&events[i])); c != nil {
				c.conn.Ready()
				l.handle(c)
			}
		}
		l.mu.Unlock()
	}
}

// watch tells the epoll set which event the client waits for, if any.
func (l *loop) watch(c *client, events uint32) {
	if err := l.epoll.Watch(&c.watched, c.conn.FD(), events, c.Key()); err != nil {
		l.cfg.Warn("cannot watch a connection: %v; it is closed", err)
		l.drop(c)
	}
}

// drop closes a client. The loop forgets the client first, because the kernel may give
// the closed descriptor to the next connection at once.
func (l *loop) drop(c *client) {
	l.epoll.Forget(&c.watched, c.conn.FD())
	l.clients.Delete(c.Key())
	c.conn.Close()
	l.cfg.Conns.Release()
	l.open.Done()
}

// stop serves every client once more when the server stops. This closes the clients that
// have not sent a request. The others are closed after their responses.
func (l *loop) stop() {
	l.mu.Lock()
	defer l.mu.Unlock()
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
	switch err := serve(&c.conn); {
	case err != sock.ErrAgain:
		l.drop(c) // the connection is over, or an error has ended it
	case c.conn.Want() == h1.Write:
		l.watch(c, unix.EPOLLOUT)
	default:
		l.watch(c, unix.EPOLLIN)
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
