package cli

import (
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// RLIMIT_NOFILE limits the descriptors of the process. The connections share them with the
// event loops (Stage.LoopFiles for each) and with the two uses below.
const (
	cacheFiles = 256 // the site's cache of open files
	otherFiles = 64  // listeners, pipes, standard streams, and descriptors of the Go runtime
)

// maxConns returns how many connections may be open under a limit on descriptors. The event
// loops use loopFiles of them. If the limit is small, the connections get a quarter of the
// rest. The cache closes files when the descriptors run out.
func maxConns(limit uint64, loopFiles int) int {
	left := int(min(limit, 1<<30)) - loopFiles
	return max(left-cacheFiles-otherFiles, left/4, 1)
}

// descriptors returns the limit on the descriptors of this process.
func descriptors() uint64 {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return 1024
	}
	return limit.Cur
}

// A ConnLimit bounds the number of open connections. An acceptor acquires a slot before it
// accepts. While there is none, further clients wait in the kernel's backlog, where they
// need no descriptor.
type ConnLimit struct {
	open chan struct{} // one element of 0 bytes for each open connection
	stop *Stop

	onFull []func()    // see OnFull; empty if no thread can make room
	wanted atomic.Bool // an acceptor waits for a slot, and no thread makes room for it yet
}

// askAgain is how long an acceptor waits for a slot before it asks for room again. The
// thread that tried to make room may have found a request on each of its connections.
const askAgain = 50 * time.Millisecond

// NewConnLimit returns a limit of n connections.
func NewConnLimit(n int, stop *Stop) *ConnLimit {
	return &ConnLimit{open: make(chan struct{}, n), stop: stop}
}

// OnFull adds a function that an acceptor calls when no slot is free. The function wakes a
// thread that has idle connections. That thread calls RoomWanted, which reports whether it
// must close one. OnFull must be called before the first Acquire.
func (l *ConnLimit) OnFull(wake func()) { l.onFull = append(l.onFull, wake) }

// Acquire waits for a slot. It returns false if the server stops first.
func (l *ConnLimit) Acquire() bool {
	var again <-chan time.Time // nil, and so never ready, until the acceptor has asked for room
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
				l.wanted.Store(false) // a client may have left by itself
			}
			return true
		case <-l.stop.Done():
		case <-again:
		}
	}
	return false
}

// Release releases the slot of a connection that was closed.
func (l *ConnLimit) Release() { <-l.open }

// RoomWanted reports whether an acceptor waits for a slot. It returns true to only one of
// the threads that ask. That thread must close one connection.
func (l *ConnLimit) RoomWanted() bool {
	return l.wanted.Load() && l.wanted.CompareAndSwap(true, false)
}
