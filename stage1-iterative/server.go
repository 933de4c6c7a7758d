// Stage 1: an iterative server. It accepts one connection, serves it until it is over, and
// then accepts the next. All other clients wait in the kernel's backlog. This stage is
// about reading and writing a stream: a read may return less than a request, a write may
// take less than a response, and both need a time-out.
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
