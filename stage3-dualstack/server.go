// Stage 3: IPv4 and IPv6. Either one IPv6 socket takes the clients of both families, or
// each family has its own socket and its own thread that accepts: with one thread for two
// sockets, the clients of one family would wait for those of the other. Which way works
// depends on the machine. The server serves whatever families the machine has.
package main

import (
	"runtime"
	"sync"
	"time"

	"fourways.example/common/cli"
	"fourways.example/common/h1"
	"fourways.example/common/sock"
)

// Serve accepts connections and hands them to the workers. It returns nil after a
// graceful stop.
func Serve(listeners []*sock.Listener, cfg *cli.Config) error {
	queue := make(chan sock.Conn, cfg.Workers)
	// A worker whose client never pauses keeps its Go processor until it is preempted.
	// With more processors than CPUs, the kernel shares the CPUs among the threads.
	// A few more are enough: the garbage collector may use a thread for each processor.
	runtime.GOMAXPROCS(max(runtime.GOMAXPROCS(0), min(cfg.Workers, 4)+len(listeners)))
	var workers sync.WaitGroup
	for range cfg.Workers {
		workers.Go(func() { work(queue, cfg) })
	}
	var acceptors sync.WaitGroup
	for _, l := range listeners {
		acceptors.Go(func() { acceptAll(l, queue, cfg) })
	}
	acceptors.Wait()
	close(queue)
	workers.Wait()
	return cfg.Stop.Err()
}

// acceptAll hands the connections of one listening socket to the workers.
func acceptAll(l *sock.Listener, queue chan<- sock.Conn, cfg *cli.Config) {
	for {
		s, ok := accept(l, cfg)
		if !ok {
			return
		}
		queue <- s
	}
}

// work serves connections from the queue, one at a time, until the queue is closed. Each
// worker has an OS thread to itself: its system calls block, so it would hold one anyway.
// The size of the pool therefore limits the number of threads.
func work(queue <-chan sock.Conn, cfg *cli.Config) {
	runtime.LockOSThread()
	w := cfg.HTTP.NewWorker()
	for s := range queue {
		conn := w.Open(s)
		handle(&conn, cfg)
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
		s, err := l.Accept(0)
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

// handle serves one connection until it is over, and closes it.
func handle(c *h1.Conn, cfg *cli.Config) {
	_ = serve(c) // an error ends only this connection
	c.Close()
	cfg.Conns.Release()
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
