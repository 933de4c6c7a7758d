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

// many is how many goroutines block. A runtime has up to some ten threads for itself.
const (
	many = 40
	few  = 15
)

// patience is for a machine that has a lot to do. Nothing here waits for it to end.
const patience = 5 * time.Second

func eventually(ok func() bool) bool {
	for late := time.Now().Add(patience); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(late) {
			return false
		}
	}
	return true
}

// tasks are this process's threads.
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

// inCall says whether a thread is asleep inside this system call.
func inCall(task string, nr int) bool {
	b, err := os.ReadFile("/proc/self/task/" + task + "/syscall")
	return err == nil && strings.HasPrefix(string(b), fmt.Sprintf("%d ", nr))
}

// blocked is how many threads are inside this system call.
func blocked(t *testing.T, nr int) (n int) {
	runtime.LockOSThread() // this thread is inside a read(2) of its own while it looks
	defer runtime.UnlockOSThread()
	for _, task := range tasks(t) {
		if task != fmt.Sprint(unix.Gettid()) && inCall(task, nr) {
			n++
		}
	}
	return n
}

// pipe is a pipe whose reading end blocks.
func pipe(t *testing.T) (r, w int) {
	t.Helper()
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	return p[0], p[1]
}

// wait is many goroutines that wait in read until the function that it returns is called.
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

// rawRead blocks in read(2) until the other end is closed.
func rawRead(r int) error {
	var b [1]byte
	for {
		if _, err := unix.Read(r, b[:]); err != unix.EINTR {
			return err
		}
	}
}

func TestBlockedCallsPinThreads(t *testing.T) {
	// By package os: a non-blocking descriptor, which the runtime's poller waits for. The goroutines
	// are parked, all in no thread at all.
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
	time.Sleep(50 * time.Millisecond)
	if n := blocked(t, unix.SYS_READ); n > few {
		t.Errorf("%d goroutines wait in os.File.Read, and %d threads are inside read(2)", many, n)
	}
	_ = w.Close()
	wg.Wait()
	_ = r.Close()

	// By raw calls: a thread each.
	end := wait(t, rawRead)
	if !eventually(func() bool { return blocked(t, unix.SYS_READ) >= many }) {
		t.Errorf("%d goroutines wait in a raw read(2), and only %d threads are inside it", many, blocked(t, unix.SYS_READ))
	}
	if n := len(tasks(t)); n < many {
		t.Errorf("there are %d threads", n)
	}
	end()
}

func TestGoroutinesDoNotBoundThreads(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(2))
	end := wait(t, rawRead)
	if !eventually(func() bool { return blocked(t, unix.SYS_READ) >= many }) {
		t.Errorf("GOMAXPROCS is 2, and %d threads are inside read(2), want %d", blocked(t, unix.SYS_READ), many)
	}
	end()

	const bound = 4
	seats := make(chan struct{}, bound)
	most := 0
	end = wait(t, func(r int) error {
		seats <- struct{}{}
		defer func() { <-seats }()
		return rawRead(r)
	})
	eventually(func() bool { return blocked(t, unix.SYS_READ) >= bound })
	for range 20 {
		most = max(most, blocked(t, unix.SYS_READ))
		time.Sleep(2 * time.Millisecond)
	}
	end()
	if most != bound {
		t.Errorf("behind a semaphore of %d there are %d threads inside read(2)", bound, most)
	}
}

// interrupt has f wait in a system call in a thread of its own, and sends this thread SIGURG, as the
// runtime does, until f returns or rounds are over. Then ready is called, to let f return.
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
		t.Errorf("unix.Poll that is interrupted returns %v, want EINTR", err)
	}
	err, early = interrupt(t, unix.SYS_PPOLL, func() error {
		n, err := sock.Poll(fds(r), long)
		if n != 1 && err == nil {
			err = errors.New("nothing to read")
		}
		return err
	}, write(w))
	if early || err != nil {
		t.Errorf("sock.Poll that is interrupted returns early, %t, with %v", early, err)
	}

	// SA_RESTART has the kernel repeat a read.
	one := make([]byte, 1)
	r, w = pipe(t)
	defer func() { _, _ = unix.Close(r), unix.Close(w) }()
	err, early = interrupt(t, unix.SYS_READ, func() error { _, err := unix.Read(r, one); return err }, write(w))
	if early || err != nil {
		t.Errorf("unix.Read that is interrupted returns early, %t, with %v: Go's handlers have SA_RESTART", early, err)
	}

	// But not one with a time-out of the socket.
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
		t.Errorf("unix.Read with SO_RCVTIMEO that is interrupted returns %v, want EINTR", err)
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
			// It is not kept either: the read sleeps in the kernel until something comes.
			read, late := make(chan error, 1), time.After(100*time.Millisecond)
			go func() { _, err := f.Read(make([]byte, 1)); read <- err }()
			select {
			case err := <-read:
				t.Errorf("the read returns at a deadline that was refused: %v", err)
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

	// What takes its place: poll(2) with the time that is left, and a read that does not wait.
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _, _ = unix.Close(pair[0]), unix.Close(pair[1]) }()
	n, err := sock.Poll([]unix.PollFd{{Fd: int32(pair[0]), Events: unix.POLLIN}}, 10*time.Millisecond)
	if n != 0 || err != nil {
		t.Errorf("sock.Poll: %d, %v, want 0 at the time-out", n, err)
	}
}
