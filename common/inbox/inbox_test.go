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

func readable[T any](t *testing.T, b *Inbox[T]) bool {
	t.Helper()
	n, err := sock.Poll([]unix.PollFd{{Fd: int32(b.FD()), Events: unix.POLLIN}}, 0)
	if err != nil {
		t.Fatal(err)
	}
	return n == 1
}

func TestAwakeOwnerIsNotWoken(t *testing.T) {
	b, err := New[int]()
	if err != nil {
		t.Fatal(err)
	}
	b.Put(1)
	b.Put(2)
	if readable(t, b) {
		t.Error("the descriptor is readable, but the owner does not sleep")
	}
	if b.Sleep() {
		t.Error("Sleep: true with two values in the inbox")
	}
	values, closed := b.Take()
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
				t.Error("the descriptor is not readable: the owner would sleep on")
			}
			if _, closed := b.Take(); closed != (name == "Close") {
				t.Errorf("closed = %v", closed)
			}
			if readable(t, b) {
				t.Error("still readable behind Take: the owner would spin")
			}
		})
	}
}

// Four threads put, the owner sleeps in poll(2) whenever it may: nothing is lost, and
// the owner never sleeps with something to do.
func TestNothingIsLost(t *testing.T) {
	const threads, each = 4, 5000
	b, err := New[int]()
	if err != nil {
		t.Fatal(err)
	}
	var putters sync.WaitGroup
	for i := range threads {
		putters.Go(func() {
			for j := range each {
				b.Put(i*each + j)
			}
		})
	}
	go func() { putters.Wait(); b.Close() }()
	seen := make([]bool, threads*each)
	next := [threads]int{}
	for {
		if b.Sleep() {
			n, err := sock.Poll([]unix.PollFd{{Fd: int32(b.FD()), Events: unix.POLLIN}}, time.Minute)
			if n != 1 || err != nil {
				t.Fatalf("poll: %d, %v: the owner sleeps and nobody wakes it", n, err)
			}
		}
		values, closed := b.Take()
		for _, v := range values {
			if seen[v] || v%each != next[v/each] {
				t.Fatalf("value %d came twice or out of order", v)
			}
			seen[v] = true
			next[v/each]++
		}
		if closed {
			break
		}
	}
	if next != [threads]int{each, each, each, each} {
		t.Errorf("values of each thread: %v", next)
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
