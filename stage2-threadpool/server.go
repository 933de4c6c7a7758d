// Stage 2: a thread pool. One thread accepts connections and puts them into a queue;
// a fixed number of worker threads take them out and serve one connection each until
// it ends. A slow client now holds up one worker, not everybody. The queue is bounded:
// when it is full nothing is accepted, and the kernel's backlog holds who comes next.
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
	// Where there are more processors than CPUs the kernel shares out the CPUs.
	// A few are enough, and the garbage collector may use a thread for each.
	runtime.GOMAXPROCS(max(runtime.GOMAXPROCS(0), min(cfg.Workers, 4)+len(listeners)))
	var workers sync.WaitGroup
	for range cfg.Workers {
		workers.Go(func() { work(queue, cfg) })
	}
	for {
		s, ok := accept(listeners[0], cfg)
		if !ok {
			break
		}
		queue <- s
	}
	close(queue)
	workers.Wait()
	return cfg.Stop.Err()
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
	if !cfg.Conns.Acquire() {
		return s, false
	}
	for {
		s, err := l.Accept(0)
		if err == nil {
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
