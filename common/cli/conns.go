package cli

import (
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// RLIMIT_NOFILE is shared by the connections, the descriptors of the event loops
// (Stage.LoopFiles for each), and these two.
const (
	cacheFiles = 256 // the site's cache of open files
	otherFiles = 64  // listeners, pipes, the standard streams, what the Go runtime opens
)

// maxConns is how many connections a limit on descriptors has room for, beside those that
// the event loops have. Under a small limit the connections get a quarter of what the loops
// leave: the cache closes files where there are no more descriptors.
func maxConns(limit uint64, loopFiles int) int {
	left := int(min(limit, 1<<30)) - loopFiles
	return max(left-cacheFiles-otherFiles, left/4, 1)
}

// descriptors is the limit on open files of this process.
func descriptors() uint64 {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return 1024
	}
	return limit.Cur
}

// ConnLimit bounds the open connections. An acceptor acquires a slot before it accepts, so
// that further clients wait in the kernel's backlog, where they cost no descriptor.
type ConnLimit struct {
	open chan struct{} // one element for each open connection, of 0 bytes
	stop *Stop

	onFull []func()    // see OnFull; none where nobody can make room
	wanted atomic.Bool // an acceptor waits for a slot, and no thread has taken it upon itself to make room
}

// askAgain is how long an acceptor waits for a slot before it asks for room again: the
// thread that was going to make room may have found a request where it expected silence.
const askAgain = 50 * time.Millisecond

// NewConnLimit makes a limit of n connections.
func NewConnLimit(n int, stop *Stop) *ConnLimit {
	return &ConnLimit{open: make(chan struct{}, n), stop: stop}
}

// OnFull adds a function that an acceptor calls when it finds no slot free. The function
// wakes a thread that may close an idle connection; RoomWanted tells that thread whether to.
// OnFull comes before the first Acquire.
func (l *ConnLimit) OnFull(wake func()) { l.onFull = append(l.onFull, wake) }

// Acquire waits for a slot. It returns false if the server stops first.
func (l *ConnLimit) Acquire() bool {
	var again <-chan time.Time // never ready until room was asked for
	for !l.stop.Stopping() {
		if len(l.open) == cap(l.open) && l.onFull != nil {
			l.wanted.Store(true)
			for _, wake := range l.onFull {
				wake()
			}
			again = time.After(askAgain)
		}
		select {
		case l.open <- struct{}{}:
			if again != nil {
				l.wanted.Store(false) // a client may have left of its own accord
			}
			return true
		case <-l.stop.Done():
		case <-again:
		}
	}
	return false
}

// Release gives a slot back: its connection is closed.
func (l *ConnLimit) Release() { <-l.open }

// RoomWanted tells whether an acceptor waits for a slot. Of all threads that ask, one is
// told so: it closes one connection.
func (l *ConnLimit) RoomWanted() bool {
	return l.wanted.Load() && l.wanted.CompareAndSwap(true, false)
}
