package cli

import (
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"fourways.example/common/sock"
)

// grace is how long responses under way may take after a signal. The five seconds of
// the contract are for the whole end, with the last lines of the log.
const grace = 4800 * time.Millisecond

// Stop is how everybody learns that the server stops, however they wait: threads in
// poll(2) or epoll_wait(2) by FD, goroutines by Done, and who does not wait asks Stopping.
// It is an h1.Stop.
type Stop struct {
	stopping    atomic.Bool
	once        sync.Once
	done        chan struct{}
	read, write int // a pipe into which nothing is written: the end of write is what read sees

	signals chan os.Signal // SIGTERM and SIGINT, from before there is a listener
	exit    func(error)    // writes what is left for stdout and stderr, and ends the process

	err    atomic.Pointer[error] // why the server stops, if that is no signal
	failed chan struct{}         // closed when err is set
}

// NewStop makes a Stop that has not begun.
func NewStop() (*Stop, error) {
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		return nil, os.NewSyscallError("pipe2", err)
	}
	return &Stop{done: make(chan struct{}), read: fds[0], write: fds[1], exit: func(error) {}, failed: make(chan struct{})}, nil
}

// Stopping tells whether the stop has begun.
func (s *Stop) Stopping() bool { return s.stopping.Load() }

// FD is a descriptor that becomes readable, for everyone who waits for it and for good,
// when the stop begins. One closed pipe wakes them all; a byte in it would wake one.
func (s *Stop) FD() int { return s.read }

// Done is closed when the stop begins.
func (s *Stop) Done() <-chan struct{} { return s.done }

// Begin begins the stop, the first time that it is called. Stopping is true before the
// first acceptor wakes up: ListenerClosed asks for it.
func (s *Stop) Begin(listeners ...*sock.Listener) {
	s.once.Do(func() {
		s.stopping.Store(true)
		for _, l := range listeners {
			_ = l.Shutdown() // it can fail only where nothing listens any more
		}
		close(s.done)
		unix.Close(s.write)
	})
}

// ListenerClosed is called by an acceptor whose listener has been shut down. During a
// stop that is how it wakes up. Otherwise somebody else has done it (ss -K, or shutdown(2) on
// the same socket): the server stops as after a signal, but with an error, which Err returns.
func (s *Stop) ListenerClosed(l *sock.Listener, cause error) {
	if s.Stopping() {
		return
	}
	err := fmt.Errorf("listen on %v: %w: somebody else has shut this socket down; start the server again", l.Addr(), cause)
	if s.err.CompareAndSwap(nil, &err) {
		close(s.failed)
	}
}

// Err is why the server stops: nil after a signal.
func (s *Stop) Err() error {
	if err := s.err.Load(); err != nil {
		return *err
	}
	return nil
}

// OnSignal waits for SIGTERM or SIGINT, or until a listener is lost, and then stops the
// server: Serve returns when the responses under way are out. A signal after that, or the
// end of the grace, ends the process here. The stage starts it as a goroutine, so that
// every goroutine but the log's is started in sight.
func (s *Stop) OnSignal(listeners []*sock.Listener) {
	select {
	case <-s.signals:
	case <-s.failed:
	}
	s.Begin(listeners...)
	select {
	case <-s.signals:
		os.Exit(1)
	case <-time.After(grace):
		s.exit(s.Err())
	}
}
