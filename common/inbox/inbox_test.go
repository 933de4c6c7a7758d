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

// readable reports whether the descriptor of the inbox is readable.
func readable[T any](t *testing.T, b *Inbox[T]) bool {
	t.Helper()
	n, err := sock.Poll([]unix.PollFd{{Fd: int32(b.FD()), Events: unix.POLLIN}}, 0)
	if err != nil {
		t.Fatal(err)
	}
	return n == 1
}

// Put does not write the eventfd while the owner is awake.
func TestAwakeOwnerIsNotWoken(t *testing.T) {
	b, err := New[int]()
	if err != nil {
		t.Fatal(err)
	}
	b.Put(1)
	b.Put(2)
	if readable(t, b) {
		t.Error("the descriptor is readable, although the owner does not sleep")
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
}

func TestSleepingOwnerIsWokenOnce(t *testing.T) {
	for name, change := range map[string]func(*Inbox[int]){
		"Put":   func(b *Inbox[int]) { b.Put(1) },
		"Close": func(b *Inbox[int]) { b.Close() },
		"Wake":  func(b *Inbox[int]) { b.Wake() },
	} {
		t.Run(name, func(t *testing.T) {
			b, err := New[int]()
			if err != nil {
				t.Fatal(err)
			}
			b.Sleep()
			change(b)
			if !readable(t, b) {
				t.Error("the descriptor is not readable: the owner would not wake")
			}
			if _, closed := b.Take(3); closed != (name == "Close") {
				t.Errorf("closed = %v", closed)
			}
			if readable(t, b) {
				t.Error("the descriptor is still readable after Take: the owner would spin")
			}
		})
	}
}

// Four goroutines put values, and the owner waits in poll(2) whenever it may. No value is lost,
// and the owner never waits while there are values.
func TestNothingIsLost(t *testing.T) {
	const putters, each = 4, 5000
	b, err := New[int]()
	if err != nil {
		t.Fatal(err)
	}
	var putting sync.WaitGroup
	for i := range putters {
		putting.Go(func() {
			for j := range each {
				b.Put(i*each + j)
			}
		})
	}
	go func() { putting.Wait(); b.Close() }()
	seen := make([]bool, putters*each)
	next := [putters]int{}
	for {
		if b.Sleep() {
			n, err := sock.Poll([]unix.PollFd{{Fd: int32(b.FD()), Events: unix.POLLIN}}, time.Minute)
			if n != 1 || err != nil {
				t.Fatalf("poll: %d, %v: no change wakes the owner", n, err)
			}
		}
		values, closed := b.Take(3)
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
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 0, Max: limit.Max}); err != nil {
		t.Fatal(err)
	}
	_, errNew := New[int]()
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	if !errors.Is(errNew, unix.EMFILE) {
		t.Errorf("an inbox without a descriptor: %v, want EMFILE", errNew)
	}
}
