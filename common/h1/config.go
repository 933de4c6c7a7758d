package h1

import (
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// A Config holds the settings that all connections of a server share. Do not change it
// after the first connection is open.
type Config struct {
	Handler Handler
	// Early answers a request whose answer is certain from its head alone. It is called
	// instead of sending 100 Continue, at most once for a request: when the head is complete,
	// the client waits for 100 Continue (RFC 9110 §10.1.1), and no byte of the body has
	// arrived. The request has no Body. If Early returns true, the response in w is sent, and
	// the request is refused: the connection closes, because nobody knows whether the body
	// follows. If it returns false, w is dropped, and Handler is called when the body has
	// arrived. If Early panics, the client receives a 500. If it is nil, no answer is certain.
	Early func(w *Response, r *Request) (certain bool)
	// Log receives an entry for every response, including responses that were cut off. If
	// it is nil, there is no log.
	Log Logger
	// Silent says that Log receives no entries, only the reports of panics.
	Silent bool

	IdleTimeout   time.Duration // how long to wait for the first byte of a request
	HeaderTimeout time.Duration // from the first byte of a request to the end of its head
	BodyTimeout   time.Duration // from the end of the head to the end of the body
	WriteTimeout  time.Duration // how long a client may go without acknowledging a byte

	// Tier is the address of the other tier, which a handler may ask. It is the zero AddrPort if
	// there is none. TierTimeout limits the time from a question to its reply, the wait for a
	// connection included.
	Tier        netip.AddrPort
	TierTimeout time.Duration

	// Stop reports when the server stops. If it is nil, the server never stops.
	Stop Stop

	memory    atomic.Int64 // the sum of exchange.memory over all connections, in bytes
	exchanges sync.Pool    // of *exchange
}

// SendTimeout returns the SO_SNDTIMEO for blocking sockets. It limits one wait for the
// client in a blocking send. When a send returns after this time, the connection asks the
// kernel whether the client has acknowledged anything. The time is a small part of
// WriteTimeout, because sendfile(2) may wait several times in one call.
func (cfg *Config) SendTimeout() time.Duration {
	return max(cfg.WriteTimeout/64, time.Millisecond)
}

// probeTime returns how long an event loop waits before it asks the kernel whether the
// client has acknowledged anything.
func (cfg *Config) probeTime() time.Duration { return max(cfg.WriteTimeout/16, time.Millisecond) }

// logs reports whether there is an access log.
func (cfg *Config) logs() bool { return cfg.Log != nil && !cfg.Silent }

func (cfg *Config) stopping() bool { return cfg.Stop != nil && cfg.Stop.Stopping() }

// A Stop tells connections that the server is stopping.
type Stop interface {
	// Stopping reports whether the stop has begun. A connection then closes after its
	// current response.
	Stopping() bool
	// FD returns a descriptor for poll(2). It becomes readable when the stop begins.
	FD() int
}

// A Logger receives the entries of the access log.
type Logger interface {
	// Log adds one entry. All workers call it at the same time, once for each response, so
	// it must not block. It must not keep e or the slices in it.
	Log(e *Entry)
	// Panic reports that a handler panicked, with the stack of the panic.
	Panic(value any, stack []byte)
}

// An Entry describes one response for the access log. Its slices are valid only during the
// call of Log. They are empty if the request was refused before the parser had read them.
type Entry struct {
	Peer    netip.AddrPort // the address of the client
	Time    time.Time      // when the response was complete or cut off
	Took    time.Duration  // since the first byte of the request
	Method  []byte         // as received
	Target  []byte         // as received
	Version []byte         // such as "HTTP/1.1"
	Status  int            // the status code of the response
	Bytes   int64          // bytes of the response that the kernel took, including the head
	Cut     bool           // the response was not sent completely
}
