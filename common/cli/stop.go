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

// grace is how long responses under way may take after a signal. The rest of the five
// seconds (stop-five-seconds in docs/spec.md) is for the last lines of the log.
const grace = 4800 * time.Millisecond

// A Stop announces that the server stops. Threads that wait in poll(2) or epoll_wait(2) use
// FD, goroutines use Done, and code that does not wait calls Stopping. A Stop is an h1.Stop.
type Stop struct {
	stopping    atomic.Bool
	once        sync.Once
	done        chan struct{}
	read, write int // a pipe without data: closing write makes read readable

	signals chan os.Signal // SIGTERM, SIGINT and SIGHUP, registered before the server listens
	exit    func(error)    // writes the remaining lines and ends the process

	err    atomic.Pointer[error] // why the server stops; nil after a signal
	failed chan struct{}         // closed when err is set
}

// NewStop returns a Stop that has not begun.
func NewStop() (*Stop, error) {
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		return nil, os.NewSyscallError("pipe2", err)
	}
	return &Stop{done: make(chan struct{}), read: fds[0], write: fds[1], exit: func(error) {}, failed: make(chan struct{})}, nil
}

// Stopping reports whether the stop has begun.
func (s *Stop) Stopping() bool { return s.stopping.Load() }

// FD returns a descriptor that becomes readable when the stop begins, and stays readable.
// Closing the pipe wakes all threads that wait for it; a byte in the pipe would wake only
// one.
func (s *Stop) FD() int { return s.read }

// Done returns a channel that is closed when the stop begins.
func (s *Stop) Done() <-chan struct{} { return s.done }

// Begin begins the stop when it is called for the first time. It sets Stopping before it
// wakes the acceptors, because they call ListenerClosed, which checks Stopping.
func (s *Stop) Begin(listeners ...*sock.Listener) {
	s.once.Do(func() {
		s.stopping.Store(true)
		for _, l := range listeners {
			_ = l.Shutdown() // fails only if the socket does not listen any more
		}
		close(s.done)
		unix.Close(s.write)
	})
}

// ListenerClosed must be called by an acceptor whose listener was shut down. During a stop,
// Begin did that. Otherwise another program did (ss -K, or shutdown(2) on the same socket):
// the server then stops as after a signal, but with an error, which Err returns.
func (s *Stop) ListenerClosed(l *sock.Listener, cause error) {
	if s.Stopping() {
		return
	}
	err := fmt.Errorf("listen on %v: %w: another program has shut this socket down; start the server again", l.Addr(), cause)
	if s.err.CompareAndSwap(nil, &err) {
		close(s.failed)
	}
}

// Err returns the reason of the stop, which is nil after a signal.
func (s *Stop) Err() error {
	if err := s.err.Load(); err != nil {
		return *err
	}
	return nil
}

// OnSignal waits for SIGTERM, SIGINT, SIGHUP or the loss of a listener, and then begins the
// stop: Serve returns when the responses under way are sent. It does not wait for SIGHUP if
// the process was started with that signal ignored. At a second signal, or at the end of the
// grace, OnSignal ends the process. Each stage starts it as a goroutine, so that its
// main function shows every goroutine except the writers of stdout and stderr.
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
