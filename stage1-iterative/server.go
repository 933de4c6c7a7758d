// Stage 1: an iterative server. It accepts one connection, serves it until it ends,
// and accepts the next; meanwhile everybody else waits in the kernel's backlog. What
// there is to learn here is how to read and write a stream properly: a read may
// return less than a request, a write may take less than a response, and both must
// be bounded in time.
package main

import (
	"time"

	"fourways.example/common/cli"
	"fourways.example/common/h1"
	"fourways.example/common/sock"
)

// Serve accepts connections and serves them one at a time. It returns nil after a
// graceful stop.
func Serve(listeners []*sock.Listener, cfg *cli.Config) error {
	w := cfg.HTTP.NewWorker()
	for {
		s, ok := accept(listeners[0], cfg)
		if !ok {
			return cfg.Stop.Err()
		}
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
