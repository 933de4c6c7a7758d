package goside

import (
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"fourways.example/common/sock"
)

const (
	many = 40 // goroutines that block
	few  = 15 // threads of a program in which no goroutine blocks: the runtime has up to about ten
)

// patience is how long a condition may take on a busy machine. Without a failure, no test waits that long.
const patience = 5 * time.Second

// eventually waits until ok returns true, and reports whether it did.
func eventually(ok func() bool) bool {
	for late := time.Now().Add(patience); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(late) {
			return false
		}
	}
	return true
}

// tasks returns the IDs of this process's threads.
func tasks(t *testing.T) []string {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/task")
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return all
}

// inCall reports whether a thread waits inside the system call nr.
func inCall(task string, nr int) bool {
	b, err := os.ReadFile("/proc/self/task/" + task + "/syscall")
	return err == nil && strings.HasPrefix(string(b), fmt.Sprintf("%d ", nr))
}

// blocked returns how many threads, except its own, are inside the system call nr.
func blocked(t *testing.T, nr int) (n int) {
	runtime.LockOSThread() // this thread does not count: it calls read(2) on the files in /proc
	defer runtime.UnlockOSThread()
	for _, task := range tasks(t) {
		if task != fmt.Sprint(unix.Gettid()) && inCall(task, nr) {
			n++
		}
	}
	return n
}

// pipe returns the two ends of a pipe whose reads block.
func pipe(t *testing.T) (r, w int) {
	t.Helper()
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	return p[0], p[1]
}

// wait starts many goroutines that wait in read for a pipe. end closes the pipe and waits for the goroutines.
func wait(t *testing.T, read func(r int) error) (end func()) {
	r, w := pipe(t)
	var wg sync.WaitGroup
	for range many {
		wg.Go(func() {
			if err := read(r); err != nil {
				t.Errorf("read: %v", err)
			}
		})
	}
	return func() {
		_ = unix.Close(w)
		wg.Wait()
		_ = unix.Close(r)
	}
}

// rawRead blocks in read(2) until the other end of the pipe is closed.
func rawRead(r int) error {
	var b [1]byte
	for {
		if _, err := unix.Read(r, b[:]); err != unix.EINTR {
			return err
		}
	}
}

func TestBlockedCallsPinThreads(t *testing.T) {
	// Package os makes the descriptor non-blocking, and the runtime's poller waits for it. The goroutines are
	// parked and hold no threads.
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	var begun atomic.Int32
	for range many {
		wg.Go(func() {
			begun.Add(1)
			if _, err := r.Read(make([]byte, 1)); err != io.EOF {
				t.Errorf("os.File.Read: %v", err)
			}
		})
	}
	eventually(func() bool { return begun.Load() == many })
	time.Sleep(50 * time.Millisecond) // lets the goroutines get from Add to Read
	if n := blocked(t, unix.SYS_READ); n > few {
		t.Errorf("while %d goroutines wait in os.File.Read, %d threads are inside read(2)", many, n)
	}
	_ = w.Close()
	wg.Wait()
	_ = r.Close()

	// With raw calls, each goroutine holds a thread.
	end := wait(t, rawRead)
	if !eventually(func() bool { return blocked(t, unix.SYS_READ) >= many }) {
		t.Errorf("while %d goroutines wait in a raw read(2), only %d threads are inside it", many, blocked(t, unix.SYS_READ))
	}
	if n := len(tasks(t)); n < many {
		t.Errorf("while %d goroutines wait in a raw read(2), the process has %d threads", many, n)
	}
	end()
}

func TestGoroutinesDoNotBoundThreads(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(2))
	end := wait(t, rawRead)
	if !eventually(func() bool { return blocked(t, unix.SYS_READ) >= many }) {
		t.Errorf("with GOMAXPROCS 2, %d threads are inside read(2), want %d", blocked(t, unix.SYS_READ), many)
	}
	end()

	const bound = 4
	semaphore := make(chan struct{}, bound)
	most := 0
	end = wait(t, func(r int) error {
		semaphore <- struct{}{}
		defer func() { <-semaphore }()
		return rawRead(r)
	})
	eventually(func() bool { return blocked(t, unix.SYS_READ) >= bound })
	for range 20 {
		most = max(most, blocked(t, unix.SYS_READ))
		time.Sleep(2 * time.Millisecond)
	}
	end()
	if most != bound {
		t.Errorf("with a semaphore of %d, %d threads are inside read(2)", bound, most)
	}
}

// interrupt calls f in a thread of its own, and sends this thread SIGURG ten times while it waits in the system call
// nr, as the runtime does. If a signal makes f return, early is true and interrupted is its error. Otherwise
// interrupt calls ready, which must let f return.
func interrupt(t *testing.T, nr int, f func() error, ready func()) (interrupted error, early bool) {
	t.Helper()
	var tid atomic.Int32
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		tid.Store(int32(unix.Gettid()))
		done <- f()
	}()
	eventually(func() bool { return tid.Load() != 0 })
	for range 10 {
		eventually(func() bool { return len(done) > 0 || inCall(fmt.Sprint(tid.Load()), nr) })
		if len(done) > 0 {
			return <-done, true
		}
		if err := unix.Tgkill(os.Getpid(), int(tid.Load()), unix.SIGURG); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Millisecond)
	}
	if len(done) > 0 {
		return <-done, true
	}
	ready()
	return <-done, false
}

func TestEINTRIsYours(t *testing.T) {
	write := func(w int) func() { return func() { _, _ = unix.Write(w, []byte("x")) } }
	fds := func(r int) []unix.PollFd { return []unix.PollFd{{Fd: int32(r), Events: unix.POLLIN}} }
	const long = 60 * time.Second

	r, w := pipe(t)
	first := [2]int{r, w}
	defer func() { _, _ = unix.Close(first[0]), unix.Close(first[1]) }()
	err, early := interrupt(t, unix.SYS_PPOLL, func() error {
		_, err := unix.Poll(fds(r), int(long.Milliseconds()))
		return err
	}, write(w))
	if !early || err != unix.EINTR {
		t.Errorf("unix.Poll returns %v after a signal, want EINTR", err)
	}
	err, early = interrupt(t, unix.SYS_PPOLL, func() error {
		n, err := sock.Poll(fds(r), long)
		if n != 1 && err == nil {
			err = errors.New("nothing to read")
		}
		return err
	}, write(w))
	if early || err != nil {
		t.Errorf("sock.Poll after a signal: returns early, %t, error %v; want no early return and no error", early, err)
	}

	// With SA_RESTART the kernel repeats a read.
	one := make([]byte, 1)
	r, w = pipe(t)
	defer func() { _, _ = unix.Close(r), unix.Close(w) }()
	err, early = interrupt(t, unix.SYS_READ, func() error { _, err := unix.Read(r, one); return err }, write(w))
	if early || err != nil {
		t.Errorf("unix.Read after a signal: returns early, %t, error %v; want the kernel to repeat it (SA_RESTART)", early, err)
	}

	// The kernel does not repeat a read from a socket that has a time-out.
	var pair [2]int
	if pair, err = unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0); err != nil {
		t.Fatal(err)
	}
	defer func() { _, _ = unix.Close(pair[0]), unix.Close(pair[1]) }()
	if err := unix.SetsockoptTimeval(pair[0], unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 60}); err != nil {
		t.Fatal(err)
	}
	err, early = interrupt(t, unix.SYS_READ, func() error { _, err := unix.Read(pair[0], one); return err }, write(pair[1]))
	if !early || err != unix.EINTR {
		t.Errorf("unix.Read with SO_RCVTIMEO returns %v after a signal, want EINTR", err)
	}
}

func TestRawDescriptorsHaveNoDeadlines(t *testing.T) {
	for _, nonblock := range []bool{false, true} {
		pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		if err := unix.SetNonblock(pair[0], nonblock); err != nil {
			t.Fatal(err)
		}
		f := os.NewFile(uintptr(pair[0]), "a socket")
		err = f.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
		if !nonblock {
			if !errors.Is(err, os.ErrNoDeadline) {
				t.Errorf("SetReadDeadline on a blocking descriptor: %v, want ErrNoDeadline", err)
			}
			// The refused deadline has no effect: the read sleeps in the kernel until a byte arrives.
			read, late := make(chan error, 1), time.After(100*time.Millisecond)
			go func() { _, err := f.Read(make([]byte, 1)); read <- err }()
			select {
			case err := <-read:
				t.Errorf("the read returns without a byte, although the deadline was refused: %v", err)
			case <-late:
			}
			if n := blocked(t, unix.SYS_READ); n == 0 {
				t.Error("no thread is inside read(2)")
			}
			_, _ = unix.Write(pair[1], []byte("x"))
			if err := <-read; err != nil {
				t.Errorf("read: %v", err)
			}
		} else {
			if err != nil {
				t.Errorf("SetReadDeadline on a non-blocking descriptor: %v", err)
			}
			if _, err := f.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("a read with a deadline: %v, want ErrDeadlineExceeded", err)
			}
			// The deadline belongs to the file and not to its descriptor.
			if n, err := unix.Read(pair[0], make([]byte, 1)); err != unix.EAGAIN {
				t.Errorf("a raw read of the same descriptor: %d, %v, want EAGAIN", n, err)
			}
		}
		_ = f.Close()
		_ = unix.Close(pair[1])
	}

	// Instead of a deadline, use poll(2) with the time that is left, and then a read that does not block.
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _, _ = unix.Close(pair[0]), unix.Close(pair[1]) }()
	n, err := sock.Poll([]unix.PollFd{{Fd: int32(pair[0]), Events: unix.POLLIN}}, 10*time.Millisecond)
	if n != 0 || err != nil {
		t.Errorf("sock.Poll: %d, %v, want 0 after the time-out", n, err)
	}
}
