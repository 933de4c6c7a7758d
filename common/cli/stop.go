package cli

import (
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
	flush   func()         // writes what is left for stdout and stderr, before the process ends
}

// NewStop makes a Stop that has not begun.
func NewStop() (*Stop, error) {
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		return nil, os.NewSyscallError("pipe2", err)
	}
	return &Stop{done: make(chan struct{}), read: fds[0], write: fds[1], flush: func() {}}, nil
}

// Stopping tells whether the stop has begun.
func (s *Stop) Stopping() bool { return s.stopping.Load() }

// FD is a descriptor that becomes readable, for everyone who waits for it and for good,
// when the stop begins. One closed pipe wakes them all; a byte in it would wake one.
func (s *Stop) FD() int { return s.read }

// Done is closed when the stop begins.
func (s *Stop) Done() <-chan struct{} { return s.done }

// Begin begins the stop, the first time that it is called. Stopping is true before the
// first acceptor wakes up and wonders why.
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

// OnSignal waits for SIGTERM or SIGINT and then stops the server: Serve returns when the
// responses under way are out. A second signal, or the end of the grace, ends the process
// here. The stage starts it as a goroutine, so that every goroutine but the log's is started
// in sight.
func (s *Stop) OnSignal(listeners []*sock.Listener) {
	<-s.signals
	s.Begin(listeners...)
	select {
	case <-s.signals:
		os.Exit(1)
	case <-time.After(grace):
		s.flush()
		os.Exit(0)
	}
}

// Slots bounds the open connections. Who wants to accept one takes a slot first, so that
// further clients wait in the kernel's backlog, where they cost no descriptor.
type Slots struct {
	taken chan struct{}
	stop  *Stop
}

// NewSlots makes n slots.
func NewSlots(n int, stop *Stop) *Slots {
	return &Slots{make(chan struct{}, n), stop} // elements of 0 bytes, however many
}

// Take waits for a free slot. It returns false if the server stops first.
func (s *Slots) Take() bool {
	if s.stop.Stopping() {
		return false
	}
	select {
	case s.taken <- struct{}{}:
		return true
	case <-s.stop.Done():
		return false
	}
}

// Give gives a slot back: its connection is closed.
func (s *Slots) Give() { <-s.taken }
