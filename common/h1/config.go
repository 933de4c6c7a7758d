package h1

import (
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// Config is what all connections of a server have in common. It is not changed
// once the first connection is open.
type Config struct {
	Handler Handler
	// Log is told of every response, also of one that was cut off; nil for no log.
	Log Logger

	IdleTimeout   time.Duration // no request begun
	HeaderTimeout time.Duration // from a request's first byte to the end of its head
	BodyTimeout   time.Duration // from the end of a head to the end of its body
	WriteTimeout  time.Duration // no byte of a response accepted by the client

	// Stop tells connections that the server is stopping; nil means never.
	Stop Stop

	memory    atomic.Int64 // bytes that requests hold beyond their first, in all connections together
	exchanges sync.Pool    // of *exchange
}

// SendTimeout is for SO_SNDTIMEO on blocking sockets: how long one wait in a send lasts until
// it is asked whether the client has taken anything meanwhile. sendfile(2) may
// wait several times in one call, so this is a small part of WriteTimeout.
func (cfg *Config) SendTimeout() time.Duration {
	return max(cfg.WriteTimeout/64, time.Millisecond)
}

// probeTime is how long an event loop waits until it asks the same.
func (cfg *Config) probeTime() time.Duration { return max(cfg.WriteTimeout/16, time.Millisecond) }

func (cfg *Config) stopping() bool { return cfg.Stop != nil && cfg.Stop.Stopping() }

// Stop is how connections learn that the server is stopping.
type Stop interface {
	// Stopping tells whether the stop has begun. Connections then close behind the
	// response under way.
	Stopping() bool
	// FD is a descriptor that becomes readable when the stop begins, for poll(2).
	FD() int
}

// Logger takes the access log. Log is called from every worker at once, on their
// hot path: it must neither block nor keep e or anything in it.
type Logger interface {
	Log(e *Entry)
	// Panic reports a handler's panic with its stack.
	Panic(value any, stack []byte)
}

// Entry is one line of the access log.
type Entry struct {
	Peer    netip.AddrPort // the client
	Time    time.Time      // when the response was complete, or cut off
	Took    time.Duration  // since the request's first byte
	Method  []byte         // as sent; empty if the request line could not be read. Valid during the call
	Target  []byte         // likewise
	Version []byte         // likewise: "HTTP/1.1"
	Status  int            // what was answered
	Bytes   int64          // bytes of the response that the kernel took, head included
	Cut     bool           // the response did not get out whole
}
