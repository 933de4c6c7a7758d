// Package inbox hands values from any thread to a thread that waits in epoll_wait(2).
package inbox

import (
	"sync"

	"fourways.example/common/sock"
	"golang.org/x/sys/unix"
)

// Inbox is a list of values. Any thread may add a value. One thread, the owner, takes them
// all. The owner waits in its epoll set and runs a loop:
//
//	for {
//		if b.Sleep() {
//			… epoll_wait(2) without a time limit …
//		}
//		values, closed := b.Take(100)
//		…
//	}
//
// The inbox wakes the owner only if the owner sleeps. An owner that is awake calls Take
// anyway, so adding a value then needs no system call. A thread that adds several values wakes
// the owner once, after the last.
type Inbox[T any] struct {
	wake *sock.Eventfd

	mu     sync.Mutex // guards the fields below
	values []T        // in the order of Put
	closed bool       // Close was called
	news   bool       // Take has left values, or Put, Close or Wake was called since
	asleep bool       // the owner waits, or is going to wait, and nobody has woken it
}

// New returns an empty inbox. It adds an eventfd to the owner's epoll set, with the tag 0. The
// set watches it edge-triggered: it reports each call that wakes the owner once, and nobody
// needs to read the eventfd, which stays readable.
func New[T any](epoll *sock.Epoll) (*Inbox[T], error) {
	wake, err := sock.NewEventfd()
	if err != nil {
		return nil, err
	}
	return &Inbox[T]{wake: wake}, epoll.Add(wake.FD(), unix.EPOLLIN|unix.EPOLLET, 0)
}

// Put adds a value. A sleeping owner takes it after Flush. Any thread may call it.
func (b *Inbox[T]) Put(v T) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.values = append(b.values, v)
	b.news = true
}

// Flush wakes the owner if values were put since the last Take. Any thread may call it.
func (b *Inbox[T]) Flush() { b.wakeIf(func() bool { return b.news }) }

// Close tells the owner that no more values come. Any thread may call it.
func (b *Inbox[T]) Close() {
	b.wakeIf(func() bool {
		b.closed = true
		return true
	})
}

// Wake wakes the owner without a value. Any thread may call it.
func (b *Inbox[T]) Wake() { b.wakeIf(func() bool { return true }) }

// wakeIf wakes a sleeping owner if news, which it calls under the lock, returns true. It wakes
// the owner after it has released the lock, for which the owner would wait otherwise.
func (b *Inbox[T]) wakeIf(news func() bool) {
	b.mu.Lock()
	b.news = news() || b.news
	wake := b.asleep && b.news
	b.asleep = b.asleep && !wake
	b.mu.Unlock()
	if wake {
		if err := b.wake.Wake(); err != nil {
			panic(err) // a write fails only if the counter reaches 2^64-1
		}
	}
}

// Sleep announces that the owner is going to wait. It returns false if the owner must not
// wait, because the last Take has left values, or Put, Close or Wake was called since.
func (b *Inbox[T]) Sleep() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.asleep = !b.news
	return b.asleep
}

// Take takes up to n values out of the inbox, in the order of Put. closed reports that no
// more values will come. Only the owner may call it.
func (b *Inbox[T]) Take(n int) (values []T, closed bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.asleep = false
	if len(b.values) > n {
		values, b.values, b.news = b.values[:n], b.values[n:], true
		return values, false
	}
	values, b.values, b.news = b.values, nil, false
	return values, b.closed
}
