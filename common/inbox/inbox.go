// Package inbox hands values from any thread to one that waits in epoll_wait(2).
package inbox

import (
	"sync"

	"fourways.example/common/sock"
)

// Inbox is a list that any thread may add to and that one thread, its owner, empties.
// The owner has FD in its epoll set. It is woken through it only where it sleeps: an
// owner that is awake looks into the inbox anyway, and a system call for each value is
// saved.
//
//	for {
//		if b.Sleep() { … epoll_wait(2), for as long as it takes … }
//		values, closed := b.Take()
//		…
//	}
type Inbox[T any] struct {
	wake *sock.Eventfd

	mu     sync.Mutex // guards what follows
	values []T        // in the order in which they were put
	closed bool       // no more values come
	news   bool       // something has changed since the owner last looked
	asleep bool       // the owner waits, or is about to: news must wake it
	woken  bool       // wake was written and not yet cleared
}

// New makes an empty inbox.
func New[T any]() (*Inbox[T], error) {
	wake, err := sock.NewEventfd()
	if err != nil {
		return nil, err
	}
	return &Inbox[T]{wake: wake}, nil
}

// FD is a descriptor that is readable from the owner's being woken until it Takes.
func (b *Inbox[T]) FD() int { return b.wake.FD() }

// Put adds a value.
func (b *Inbox[T]) Put(v T) { b.change(func() { b.values = append(b.values, v) }) }

// Close says that no more values come.
func (b *Inbox[T]) Close() { b.change(func() { b.closed = true }) }

// Wake wakes the owner for a reason that is not in the inbox.
func (b *Inbox[T]) Wake() { b.change(func() {}) }

func (b *Inbox[T]) change(what func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	what()
	b.news = true
	if b.asleep {
		b.asleep, b.woken = false, true
		if err := b.wake.Wake(); err != nil {
			panic(err) // an eventfd counts to 2 to the 64: it takes one more
		}
	}
}

// Sleep announces that the owner is going to wait. It returns false if there is news
// already; the owner does not wait then.
func (b *Inbox[T]) Sleep() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.asleep = !b.news
	return b.asleep
}

// Take empties the inbox, for its owner. closed tells that no more values come.
func (b *Inbox[T]) Take() (values []T, closed bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.woken {
		if err := b.wake.Clear(); err != nil {
			panic(err) // an eventfd that was written can be read
		}
	}
	values = b.values
	b.values, b.news, b.asleep, b.woken = nil, false, false, false
	return values, b.closed
}
