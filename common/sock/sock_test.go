package sock

import (
	"bytes"
	"errors"
	"io"
	"math"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// pair returns the two ends of a connection within this process.
func pair(t *testing.T, nonblocking bool) (a, b Conn) {
	t.Helper()
	flags := unix.SOCK_STREAM | unix.SOCK_CLOEXEC
	if nonblocking {
		flags |= unix.SOCK_NONBLOCK
	}
	fds, err := unix.Socketpair(unix.AF_UNIX, flags, 0)
	if err != nil {
		t.Fatal(err)
	}
	a = FromFD(fds[0], netip.AddrPort{}, nonblocking)
	b = FromFD(fds[1], netip.AddrPort{}, nonblocking)
	t.Cleanup(func() { a.Close(); b.Close() })
	return a, b
}

// tcp returns an accepted connection over the loopback interface, and its client, which is
// blocking. The caller closes both.
func tcp(t *testing.T, flags int, options ...func(l *Listener) error) (accepted, client Conn) {
	t.Helper()
	l := listen(t, netip.MustParseAddrPort("127.0.0.1:0"), options...)
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	// With a small receive buffer, the sender must soon wait for a client that does not read.
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, 4096); err != nil {
		t.Fatal(err)
	}
	addr := l.Addr()
	if err := unix.Connect(fd, &unix.SockaddrInet4{Port: int(addr.Port()), Addr: addr.Addr().As4()}); err != nil {
		t.Fatal(err)
	}
	accepted, err = l.Accept(flags)
	if err != nil {
		t.Fatal(err)
	}
	return accepted, FromFD(fd, addr, false)
}

// listen returns a listening socket that the test closes.
func listen(t *testing.T, addr netip.AddrPort, options ...func(l *Listener) error) *Listener {
	t.Helper()
	family := unix.AF_INET
	if addr.Addr().Is6() {
		family = unix.AF_INET6
	}
	l, err := Socket(family)
	if errors.Is(err, unix.EAFNOSUPPORT) {
		t.Skip("no IPv6 here")
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	for _, option := range options {
		if err := option(l); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Bind(addr); err != nil {
		if errors.Is(err, unix.EADDRNOTAVAIL) {
			t.Skip("no IPv6 address here")
		}
		t.Fatal(err)
	}
	if err := l.Listen(16); err != nil {
		t.Fatal(err)
	}
	return l
}

// mustSend sends all of s.
func mustSend(t *testing.T, c *Conn, s string) {
	t.Helper()
	if n, err := c.Send([]byte(s), false); n != len(s) || err != nil {
		t.Fatalf("Send: %d, %v", n, err)
	}
}

// wantCall checks that err has the name of the call and the errno.
func wantCall(t *testing.T, err error, call string, errno syscall.Errno) {
	t.Helper()
	var e *os.SyscallError
	if !errors.As(err, &e) || e.Syscall != call || !errors.Is(err, errno) {
		t.Errorf("error %v, want %s: %v", err, call, errno)
	}
}

// readable waits until c has something to read.
func readable(t *testing.T, c *Conn) {
	t.Helper()
	if n, err := Poll([]unix.PollFd{{Fd: int32(c.FD()), Events: unix.POLLIN}}, 10*time.Second); n != 1 || err != nil {
		t.Fatalf("nothing to read: %d, %v", n, err)
	}
}

func TestReadRemembersThatNothingIsLeft(t *testing.T) {
	a, b := pair(t, true)
	p := make([]byte, 10)
	mustSend(t, &b, "abc")
	if n, err := a.Read(p); n != 3 || err != nil {
		t.Fatalf("Read: %d, %v", n, err)
	}
	mustSend(t, &b, "def")
	if n, err := a.Read(p); n != 0 || err != ErrAgain {
		t.Errorf("Read after a short one: %d, %v; want ErrAgain without a system call", n, err)
	}
	a.Ready()
	if n, err := a.Read(p[:3]); n != 3 || err != nil {
		t.Errorf("Read after an event: %d, %v", n, err)
	}
	mustSend(t, &b, "ghi") // the last Read filled its slice, so there may be more bytes
	if n, err := a.Read(p); n != 3 || err != nil {
		t.Errorf("Read after a full one: %d, %v", n, err)
	}
	a.Ready()
	if n, err := a.Read(p); n != 0 || err != ErrAgain {
		t.Errorf("Read of an empty connection: %d, %v", n, err)
	}
	mustSend(t, &b, "j")
	if _, err := a.Read(p); err != ErrAgain {
		t.Errorf("Read after EAGAIN: %v; want ErrAgain until the next event", err)
	}
}

func TestReadOfABlockingConnection(t *testing.T) {
	a, b := pair(t, false)
	p := make([]byte, 10)
	if n, err := a.Read(p); n != 0 || err != ErrAgain {
		t.Errorf("Read of an empty connection: %d, %v; want ErrAgain, without a wait", n, err)
	}
	for range 2 { // a blocking connection needs no Ready after a short read
		mustSend(t, &b, "abc")
		if n, err := a.Read(p); n != 3 || err != nil {
			t.Errorf("Read: %d, %v", n, err)
		}
	}
}

func TestReadAtTheEnd(t *testing.T) {
	for _, nonblocking := range []bool{false, true} {
		a, b := pair(t, nonblocking)
		mustSend(t, &b, "abc")
		if err := b.ShutdownWrite(); err != nil {
			t.Fatal(err)
		}
		p := make([]byte, 10)
		if n, err := a.Read(p); n != 3 || err != nil {
			t.Errorf("Read: %d, %v", n, err)
		}
		a.Ready()
		for range 3 {
			if n, err := a.Read(p); n != 0 || err != nil {
				t.Errorf("Read at the end: %d, %v", n, err)
			}
		}
		mustSend(t, &a, "still") // half-closed, not closed
		if n, err := b.Read(p); n != 5 || err != nil {
			t.Errorf("Read of the half-closed end: %d, %v", n, err)
		}
	}
}

func TestSendRemembersThatNothingFits(t *testing.T) {
	accepted, client := tcp(t, unix.SOCK_NONBLOCK)
	defer accepted.Close()
	defer client.Close()
	big := make([]byte, 1<<20)
	// fill sends until the kernel takes less than was offered, or nothing.
	fill := func(nothing bool) (sent int) {
		for {
			accepted.Ready()
			n, err := accepted.Send(big, false)
			sent += n
			switch {
			case err == ErrAgain, err == nil && n < len(big) && !nothing:
				return sent
			case err != nil:
				t.Fatal(err)
			}
		}
	}
	drain := func(n int) {
		for n > 0 {
			readable(t, &client)
			got, err := client.Read(big)
			if got == 0 || err != nil {
				t.Fatal(got, err)
			}
			n -= got
		}
	}
	sent := fill(false)
	if n, err := accepted.Unacked(); n == 0 || err != nil {
		t.Errorf("Unacked: %d, %v", n, err)
	}
	drain(sent)
	if _, err := accepted.Send(big, false); err != ErrAgain {
		t.Errorf("Send after a short one: %v; want ErrAgain without a system call", err)
	}
	drain(fill(true))
	file := tempFile(t, "abc")
	var offset int64
	if _, err := accepted.Send(big, false); err != ErrAgain {
		t.Errorf("Send after EAGAIN: %v; want ErrAgain without a system call", err)
	}
	if _, err := accepted.Sendfile(file, &offset, 3); err != ErrAgain {
		t.Errorf("Sendfile of a full connection: %v", err)
	}
	accepted.Ready()
	if n, err := accepted.Sendfile(file, &offset, 3); n != 3 || err != nil {
		t.Errorf("Sendfile after an event: %d, %v", n, err)
	}
}

func tempFile(t *testing.T, text string) (fd int) {
	t.Helper()
	f, err := os.OpenFile(filepath.Join(t.TempDir(), "f"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	if _, err := f.WriteString(text); err != nil {
		t.Fatal(err)
	}
	return int(f.Fd())
}

func TestSendfile(t *testing.T) {
	for name, mk := range map[string]func() (Conn, Conn){
		"socketpair": func() (Conn, Conn) { return pair(t, false) },
		"TCP": func() (Conn, Conn) {
			a, b := tcp(t, 0)
			t.Cleanup(func() { a.Close(); b.Close() })
			return a, b
		},
	} {
		a, b := mk()
		file := tempFile(t, "0123456789")
		offset := int64(2)
		if n, err := a.Sendfile(file, &offset, 3); n != 3 || offset != 5 || err != nil {
			t.Errorf("%s: Sendfile: %d, offset %d, %v", name, n, offset, err)
		}
		if n, err := a.Sendfile(file, &offset, 100); n != 5 || offset != 10 || err != nil {
			t.Errorf("%s: Sendfile beyond the end: %d, offset %d, %v", name, n, offset, err)
		}
		if n, err := a.Sendfile(file, &offset, 1); n != 0 || err != nil {
			t.Errorf("%s: Sendfile at the end: %d, %v", name, n, err)
		}
		a.ShutdownWrite()
		var got []byte
		for {
			readable(t, &b)
			p := make([]byte, 100)
			n, err := b.Read(p)
			if err != nil {
				t.Fatal(err)
			}
			if n == 0 {
				break
			}
			got = append(got, p[:n]...)
		}
		if string(got) != "23456789" {
			t.Errorf("%s: sent %q", name, got)
		}
	}
}

func TestErrorsNameTheirCall(t *testing.T) {
	t.Run("EPIPE", func(t *testing.T) {
		a, b := pair(t, false)
		if err := unix.Shutdown(b.FD(), unix.SHUT_RD); err != nil { // as if it were closed
			t.Fatal(err)
		}
		_, err := a.Send([]byte("x"), false)
		wantCall(t, err, "send", unix.EPIPE)
		var offset int64
		_, err = a.Sendfile(tempFile(t, "x"), &offset, 1)
		wantCall(t, err, "sendfile", unix.EPIPE)
	})
	t.Run("ECONNRESET", func(t *testing.T) {
		accepted, client := tcp(t, 0)
		defer accepted.Close()
		if err := client.Abort(); err != nil {
			t.Fatal(err)
		}
		client.Close()
		readable(t, &accepted)
		_, err := accepted.Read(make([]byte, 1))
		wantCall(t, err, "recv", unix.ECONNRESET)
	})
	t.Run("EBADF", func(t *testing.T) {
		none := FromFD(-1, netip.AddrPort{}, false)
		_, err := none.Read(make([]byte, 1))
		wantCall(t, err, "recv", unix.EBADF)
		_, err = none.Send([]byte("x"), true)
		wantCall(t, err, "send", unix.EBADF)
		_, err = none.Unacked()
		wantCall(t, err, "ioctl SIOCOUTQ", unix.EBADF)
		_, err = none.Unread()
		wantCall(t, err, "ioctl SIOCINQ", unix.EBADF)
		wantCall(t, none.ShutdownWrite(), "shutdown", unix.EBADF)
		wantCall(t, none.Abort(), "setsockopt SO_LINGER", unix.EBADF)
		wantCall(t, none.Close(), "close", unix.EBADF)
	})
}

func TestAbortResets(t *testing.T) {
	accepted, client := tcp(t, 0)
	defer client.Close()
	mustSend(t, &accepted, "unread")
	accepted.Abort()
	accepted.Close()
	readable(t, &client)
	_, err := io.ReadAll(readerOf(&client))
	if !errors.Is(err, unix.ECONNRESET) {
		t.Errorf("the client reads %v, want a reset", err)
	}
}

// readerOf returns a Reader that waits for the bytes of a blocking connection.
func readerOf(c *Conn) io.Reader { return connReader{c} }

type connReader struct{ c *Conn }

func (r connReader) Read(p []byte) (int, error) {
	for {
		n, err := r.c.Read(p)
		switch {
		case err == ErrAgain:
			if _, err := Poll([]unix.PollFd{{Fd: int32(r.c.FD()), Events: unix.POLLIN}}, -1); err != nil {
				return 0, err
			}
			continue
		case n == 0 && err == nil:
			return 0, io.EOF
		}
		return n, err
	}
}

func TestQueues(t *testing.T) {
	a, b := pair(t, false)
	mustSend(t, &b, "abc")
	if n, err := a.Unread(); n != 3 || err != nil {
		t.Errorf("socketpair: Unread: %d, %v", n, err)
	}
	if n, err := b.Unacked(); n == 0 || err != nil {
		t.Errorf("socketpair: Unacked: %d, %v", n, err)
	}
	accepted, client := tcp(t, 0)
	defer accepted.Close()
	defer client.Close()
	mustSend(t, &client, "abc")
	readable(t, &accepted)
	if n, err := accepted.Unread(); n != 3 || err != nil {
		t.Errorf("TCP: Unread: %d, %v", n, err)
	}
	for { // until all bytes are acknowledged, although they are not read
		n, err := client.Unacked()
		if err != nil {
			t.Fatal(err)
		}
		if n == 0 {
			break
		}
		runtime.Gosched()
	}
}

// A blocking send returns after the listener's time-out. It returns fewer bytes than given, or
// ErrAgain if the kernel took none.
func TestSendTimeout(t *testing.T) {
	const timeout = 60 * time.Millisecond
	accepted, client := tcp(t, 0, func(l *Listener) error { return l.SendTimeout(timeout) })
	defer accepted.Close()
	defer client.Close()
	big := bytes.Repeat([]byte("x"), 16<<20)
	begin := time.Now()
	n, err := accepted.Send(big, true)
	if n == 0 || n == len(big) || err != nil {
		t.Errorf("Send to a client that does not read: %d, %v; want less than all", n, err)
	}
	if took := time.Since(begin); took < timeout {
		t.Errorf("Send returns after %v, want at least %v", took, timeout)
	}
	for { // the kernel's buffers may still take some bytes
		begin = time.Now()
		n, err = accepted.Send(big, false)
		if err != nil || n == 0 {
			break
		}
	}
	if err != ErrAgain || time.Since(begin) < timeout {
		t.Errorf("the next Send: %d, %v after %v", n, err, time.Since(begin))
	}
	var offset int64
	if n, err := accepted.Sendfile(tempFile(t, "abc"), &offset, 3); n != 0 || err != ErrAgain {
		t.Errorf("Sendfile: %d, %v", n, err)
	}
	if n, err := accepted.Read(make([]byte, 1)); n != 0 || err != ErrAgain {
		t.Errorf("Read: %d, %v", n, err)
	}
}

// storm interrupts the calling thread with signals until the returned function is called, for
// at most limit.
func storm(limit time.Duration) (end func()) {
	runtime.LockOSThread()
	pid, tid := unix.Getpid(), unix.Gettid()
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for begin := time.Now(); time.Since(begin) < limit; {
			select {
			case <-stop:
				return
			default:
				unix.Tgkill(pid, tid, unix.SIGURG) // the Go runtime ignores such a SIGURG
				time.Sleep(50 * time.Microsecond)  // the thread needs time to make progress
			}
		}
	}()
	return func() { close(stop); <-done; runtime.UnlockOSThread() }
}

// Signals do not change how long Poll waits.
func TestPollDuringSignals(t *testing.T) {
	a, _ := pair(t, false)
	fds := []unix.PollFd{{Fd: int32(a.FD()), Events: unix.POLLIN}}
	const wait = 100 * time.Millisecond
	end := storm(5 * time.Second)
	begin := time.Now()
	n, err := Poll(fds, wait)
	took := time.Since(begin)
	end()
	if n != 0 || err != nil {
		t.Errorf("Poll: %d, %v", n, err)
	}
	if took < wait || took > 20*wait {
		t.Errorf("Poll waits for %v, want %v", took, wait)
	}
}

// Signals do not make blocking calls fail.
func TestBlockingCallsDuringSignals(t *testing.T) {
	// If the socket has a time-out, Linux itself does not restart the call.
	accepted, client := tcp(t, 0, func(l *Listener) error { return l.SendTimeout(10 * time.Second) })
	defer accepted.Close()
	defer client.Close()
	const size = 8 << 20
	received := make(chan int)
	go func() {
		n, _ := io.Copy(io.Discard, io.LimitReader(readerOf(&client), size))
		received <- int(n)
	}()
	end := storm(5 * time.Second)
	for left := make([]byte, size); len(left) > 0; {
		n, err := accepted.Send(left, false)
		if err != nil {
			t.Fatal(err)
		}
		left = left[n:]
	}
	end()
	if n := <-received; n != size {
		t.Errorf("%d of %d bytes arrived", n, size)
	}
}

func TestPoll(t *testing.T) {
	a, b := pair(t, false)
	fds := []unix.PollFd{{Fd: int32(a.FD()), Events: unix.POLLIN}, {Fd: -1, Events: unix.POLLIN}}
	if n, err := Poll(fds, 0); n != 0 || err != nil {
		t.Errorf("Poll of an empty connection: %d, %v", n, err)
	}
	mustSend(t, &b, "x")
	for _, wait := range []time.Duration{-1, 0, time.Hour} {
		if n, err := Poll(fds, wait); n != 1 || err != nil || fds[0].Revents != unix.POLLIN || fds[1].Revents != 0 {
			t.Errorf("Poll for %v: %d, %v, %v", wait, n, err, fds)
		}
	}
}

func TestMilliseconds(t *testing.T) {
	for d, want := range map[time.Duration]int{
		0: 0, -1: -1, -time.Hour: -1, 1: 1, time.Millisecond: 1, time.Millisecond + 1: 2,
		time.Second: 1000, math.MaxInt64: 1 << 30, math.MaxInt64 - 1: 1 << 30,
	} {
		if got := milliseconds(d); got != want {
			t.Errorf("milliseconds(%d) = %d, want %d", d, got, want)
		}
	}
}

func TestReadSendPollAllocateNothing(t *testing.T) {
	a, b := pair(t, true)
	p := make([]byte, 100)
	fds := make([]unix.PollFd, 1)
	if n := testing.AllocsPerRun(100, func() {
		b.Send(p[:10], false)
		fds[0] = unix.PollFd{Fd: int32(a.FD()), Events: unix.POLLIN}
		Poll(fds, time.Second)
		a.Ready()
		a.Read(p)
		a.Read(p)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// waitBlocked waits until the thread sleeps in the kernel.
func waitBlocked(t *testing.T, tid int) {
	t.Helper()
	for begin := time.Now(); time.Since(begin) < 10*time.Second; runtime.Gosched() {
		stat, err := os.ReadFile("/proc/self/task/" + strconv.Itoa(tid) + "/stat")
		if err != nil {
			t.Fatal(err)
		}
		if i := bytes.LastIndexByte(stat, ')'); stat[i+2] == 'S' {
			return
		}
	}
	t.Fatal("the thread does not wait in the kernel")
}

// TestConnect checks both families, a port on which nobody listens, and Quiet on the connection.
func TestConnect(t *testing.T) {
	for _, addr := range []string{"127.0.0.1:0", "[::1]:0"} {
		family := unix.AF_INET
		to := netip.MustParseAddrPort(addr)
		if to.Addr().Is6() {
			family = unix.AF_INET6
		}
		l, err := Socket(family)
		if err != nil {
			t.Fatal(err)
		}
		if err := l.Bind(to); err != nil {
			l.Close()
			t.Logf("%s: %v", addr, err)
			continue
		}
		if err := l.Listen(1); err != nil {
			t.Fatal(err)
		}
		to = l.Addr()
		c, err := Connect(to)
		if err != nil && err != ErrAgain {
			t.Fatal(err)
		}
		peer, err := l.Accept(0)
		if err != nil {
			t.Fatal(err)
		}
		waitFor(t, &c, unix.POLLOUT)
		if err := c.Err(); err != nil || !c.Nonblocking() || !c.Quiet() {
			t.Errorf("%s: %v", addr, err)
		}
		mustSend(t, &peer, "x")
		waitFor(t, &c, unix.POLLIN)
		if c.Quiet() {
			t.Errorf("%s: quiet, although there is a byte", addr)
		}
		if n, err := c.Read(make([]byte, 9)); n != 1 || err != nil {
			t.Errorf("%s: %d, %v: Quiet has taken the byte", addr, n, err)
		}
		c.Ready()
		peer.Close()
		waitFor(t, &c, unix.POLLIN)
		if c.Quiet() {
			t.Errorf("%s: quiet after the end of the stream", addr)
		}
		c.Close()
		l.Close()

		c, err = Connect(to)
		if err == ErrAgain {
			waitFor(t, &c, unix.POLLOUT)
			err = c.Err()
			c.Close()
		}
		if !errors.Is(err, unix.ECONNREFUSED) {
			t.Errorf("%s: %v after the listener is closed", addr, err)
		}
	}
}

func waitFor(t *testing.T, c *Conn, events int16) {
	t.Helper()
	if n, err := Poll([]unix.PollFd{{Fd: int32(c.FD()), Events: events}}, 10*time.Second); n != 1 {
		t.Fatal(n, err)
	}
}

// TestRetry interrupts a call more than once. The result of the last attempt must be returned.
func TestRetry(t *testing.T) {
	for _, c := range []struct {
		interrupts int
		last       unix.Errno // after the interrupts
	}{
		{0, 0}, {1, 0}, {5, 0}, {0, unix.EAGAIN}, {3, unix.EPIPE},
	} {
		calls := 0
		next := func() unix.Errno {
			if calls++; calls <= c.interrupts {
				return unix.EINTR
			}
			return c.last
		}
		n, errno := retry(func() (uintptr, unix.Errno) { return 7, next() })
		if n != 7 || errno != c.last || calls != c.interrupts+1 {
			t.Errorf("retry, %d interrupts: %d, %v after %d calls; want 7, %v", c.interrupts, n, errno, calls, c.last)
		}
		calls = 0
		err := retryErr(func() error {
			if errno := next(); errno != 0 {
				return errno
			}
			return nil
		})
		if c.last == 0 && err != nil || c.last != 0 && err != c.last || calls != c.interrupts+1 {
			t.Errorf("retryErr, %d interrupts: %v after %d calls; want %v", c.interrupts, err, calls, c.last)
		}
	}
}
