// Stage 3: IPv4 and IPv6. One IPv6 socket can take the clients of both families, or
// each family gets a socket of its own, and a thread that accepts from it: one thread
// for both would make the clients of one family wait for those of the other. Which way
// works depends on the machine. What it lacks is no reason not to serve the rest.
package main

import (
	"net/netip"
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
	// Where there are more processors than CPUs the kernel shares out the CPUs.
	// A few are enough, and the garbage collector may use a thread for each.
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

// work serves connections from the queue, one at a time, until the queue is closed.
// The worker is an OS thread: its system calls block, so it would hold one anyway. The
// pool fixes how many threads there are.
func work(queue <-chan sock.Conn, cfg *cli.Config) {
	runtime.LockOSThread()
	w := cfg.HTTP.NewWorker()
	for s := range queue {
		handle(w.Open(s), cfg)
	}
}

// accept returns the next connection; ok is false once the server stops. No error of
// a single accept ends the server: see sock.ClassifyAcceptError.
func accept(l *sock.Listener, cfg *cli.Config) (s sock.Conn, ok bool) {
	l.Wait() // the last free slot may be needed by the other family's acceptor
	if !cfg.Conns.Acquire() {
		return s, false
	}
	for {
		s, err := l.Accept(0)
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

// handle serves one connection to its end.
func handle(c *h1.Conn, cfg *cli.Config) {
	_ = serve(c) // it concerns this client alone, and is in the access log
	c.Close()
	cfg.Conns.Release()
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
