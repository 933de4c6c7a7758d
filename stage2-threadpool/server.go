// Stage 2: a thread pool. One thread accepts connections and puts them into a queue. A
// fixed number of worker threads take them out, and each serves one connection until it is
// over. A slow client now holds up one worker, not all other clients. The queue is bounded:
// when it is full, the server stops accepting, and new clients wait in the backlog.
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
