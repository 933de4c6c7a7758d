package inbox

import (
	"errors"
	"sync"
	"testing"
	"time"

	"fourways.example/common/sock"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// newInbox returns an empty inbox and the epoll set of its owner.
func newInbox[T any](t *testing.T) (*Inbox[T], *sock.Epoll) {
	t.Helper()
	epoll, err := sock.NewEpoll()
	if err != nil {
		t.Fatal(err)
	}
	b, err := New[T](epoll)
	if err != nil {
		t.Fatal(err)
	}
	return b, epoll
}

// woken reports whether the set has an event, and waits for one for the given time.
func woken(t *testing.T, epoll *sock.Epoll, wait time.Duration) bool {
	t.Helper()
	var events [2]unix.EpollEvent
	for end := time.Now().Add(wait); ; {
		n, err := epoll.Wait(events[:], max(0, time.Until(end))) // 0 events if a signal comes
		if err != nil || n > 1 || n == 1 && sock.Tag(&events[0]) != 0 {
			t.Fatalf("%d events, %v, tag %#x", n, err, sock.Tag(&events[0]))
		}
		if n == 1 || !time.Now().Before(end) {
			return n == 1
		}
	}
}

// Put and Flush do not write the eventfd while the owner is awake.
func TestAwakeOwnerIsNotWoken(t *testing.T) {
	b, epoll := newInbox[int](t)
	b.Put(1)
	b.Put(2)
	b.Flush()
	if woken(t, epoll, 0) {
		t.Error("there is an event, although the owner does not sleep")
	}
	if b.Sleep() {
		t.Error("Sleep: true with two values in the inbox")
	}
	values, closed := b.Take(3)
	if diff := cmp.Diff([]int{1, 2}, values); diff != "" || closed {
		t.Errorf("Take: closed %v, values (-want +got):\n%s", closed, diff)
	}
	if !b.Sleep() {
		t.Error("Sleep: false with an empty inbox")
	}
	b.Flush()
	if woken(t, epoll, 0) {
		t.Error("Flush of an empty inbox wakes the owner")
	}
}

func TestSleepingOwnerIsWokenOnce(t *testing.T) {
	for name, change := range map[string]func(*Inbox[int]){
		"Put and Flush": func(b *Inbox[int]) { b.Put(1); b.Put(2); b.Flush() },
		"Close":         func(b *Inbox[int]) { b.Close() },
		"Wake":          func(b *Inbox[int]) { b.Wake() },
	} {
		t.Run(name, func(t *testing.T) {
			b, epoll := newInbox[int](t)
			for range 2 { // the eventfd stays readable, but the second change is an event, too
				if !b.Sleep() {
					t.Fatal("Sleep: false after Take")
				}
				change(b)
				if !woken(t, epoll, 0) {
					t.Error("there is no event: the owner would not wake")
				}
				change(b)
				if woken(t, epoll, 0) {
					t.Error("the owner is woken twice")
				}
				if b.Sleep() {
					t.Error("Sleep: true before Take")
				}
				if _, closed := b.Take(4); closed != (name == "Close") {
					t.Errorf("closed = %v", closed)
				}
				if woken(t, epoll, 0) {
					t.Error("there is an event after Take: the owner would spin")
				}
			}
		})
	}
}

// A sleeping owner is not woken for each value, but once for all, by Flush.
func TestPutDoesNotWake(t *testing.T) {
	b, epoll := newInbox[int](t)
	b.Sleep()
	b.Put(1)
	if woken(t, epoll, 0) {
		t.Error("Put wakes the owner")
	}
	b.Flush()
	if !woken(t, epoll, 0) {
		t.Error("Flush does not wake the owner")
	}
}

// Take takes at most as many values as it is asked for. Until it has taken all, the owner does
// not sleep, and the inbox is not closed.
func TestTakeInParts(t *testing.T) {
	b, _ := newInbox[int](t)
	for i := range 5 {
		b.Put(i)
	}
	b.Close()
	for _, want := range [][]int{{0, 1}, {2, 3}, {4}} {
		if b.Sleep() {
			t.Error("Sleep: true although values are left")
		}
		values, closed := b.Take(2)
		if diff := cmp.Diff(want, values); diff != "" || closed != (len(want) == 1) {
			t.Errorf("Take: closed %v, values (-want +got):\n%s", closed, diff)
		}
	}
}

// Four goroutines put values, and the owner waits whenever it may. No value is lost, and the
// owner never waits while there are values that were flushed.
func TestNothingIsLost(t *testing.T) {
	const putters, each = 4, 5000
	b, epoll := newInbox[int](t)
	var putting sync.WaitGroup
	for i := range putters {
		putting.Go(func() {
			for j := range each {
				b.Put(i*each + j)
				b.Flush()
			}
		})
	}
	go func() { putting.Wait(); b.Close() }()
	seen := make([]bool, putters*each)
	next := [putters]int{}
	for {
		if b.Sleep() && !woken(t, epoll, time.Minute) {
			t.Fatal("no change wakes the owner")
		}
		values, closed := b.Take(7)
		for _, v := range values {
			if seen[v] || v%each != next[v/each] {
				t.Fatalf("value %d comes twice or out of order", v)
			}
			seen[v] = true
			next[v/each]++
		}
		if closed {
			break
		}
	}
	if next != [putters]int{each, each, each, each} {
		t.Errorf("number of values of each goroutine: %v, want %d", next, each)
	}
}

func TestNoDescriptors(t *testing.T) {
	epoll, err := sock.NewEpoll()
	if err != nil {
		t.Fatal(err)
	}
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 0, Max: limit.Max}); err != nil {
		t.Fatal(err)
	}
	_, errNew := New[int](epoll)
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	if !errors.Is(errNew, unix.EMFILE) {
		t.Errorf("an inbox without a descriptor: %v, want EMFILE", errNew)
	}
}
