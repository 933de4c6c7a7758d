package sock

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestClassifyAcceptError(t *testing.T) {
	names := map[AcceptError]string{Retry: "Retry", BackOff: "BackOff", ListenerClosed: "ListenerClosed"}
	for _, c := range []struct {
		err  error
		want AcceptError
	}{
		{unix.ECONNABORTED, Retry},
		{unix.EPERM, Retry}, // a firewall rule
		{unix.EPROTO, Retry},
		{unix.ENETDOWN, Retry},
		{unix.ENOPROTOOPT, Retry},
		{unix.EHOSTDOWN, Retry},
		{unix.ENONET, Retry},
		{unix.EHOSTUNREACH, Retry},
		{unix.EOPNOTSUPP, Retry},
		{unix.ENETUNREACH, Retry},
		{unix.ETIMEDOUT, Retry},
		{unix.EMFILE, BackOff},
		{unix.ENFILE, BackOff},
		{unix.ENOMEM, BackOff},
		{unix.ENOBUFS, BackOff},
		{unix.EAGAIN, BackOff},
		{ErrAgain, BackOff},
		{unix.EXFULL, BackOff}, // unknown to ClassifyAcceptError
		{fmt.Errorf("something else"), BackOff},
		{unix.EINVAL, ListenerClosed},
		{unix.EBADF, ListenerClosed},
	} {
		for _, err := range []error{c.err, os.NewSyscallError("accept4", c.err), fmt.Errorf("listener: %w", c.err)} {
			if got := ClassifyAcceptError(err); got != c.want {
				t.Errorf("ClassifyAcceptError(%v) = %s, want %s", err, names[got], names[c.want])
			}
		}
	}
}

func getOption(t *testing.T, fd, level, option int) int {
	t.Helper()
	v, err := unix.GetsockoptInt(fd, level, option)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestListenerOptionsAreInherited(t *testing.T) {
	const timeout = 1234 * time.Millisecond
	l := listen(t, netip.MustParseAddrPort("127.0.0.1:0"), (*Listener).ReuseAddr, (*Listener).NoDelay,
		func(l *Listener) error { return l.SendTimeout(timeout) })
	if getOption(t, l.fd, unix.SOL_SOCKET, unix.SO_REUSEADDR) != 1 {
		t.Error("SO_REUSEADDR is not set")
	}
	for _, flags := range []int{0, unix.SOCK_NONBLOCK} {
		client, err := net.Dial("tcp4", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		c, err := l.Accept(flags)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if getOption(t, c.FD(), unix.IPPROTO_TCP, unix.TCP_NODELAY) != 1 {
			t.Error("TCP_NODELAY is not inherited")
		}
		tv, err := unix.GetsockoptTimeval(c.FD(), unix.SOL_SOCKET, unix.SO_SNDTIMEO)
		// The kernel rounds to ticks, which are 10 ms at most.
		if got := time.Duration(tv.Nano()); err != nil || got < timeout-10*time.Millisecond || got > timeout+10*time.Millisecond {
			t.Errorf("SO_SNDTIMEO of an accepted connection: %v, %v", got, err)
		}
		if got, want := c.Peer().String(), client.LocalAddr().String(); got != want {
			t.Errorf("peer %s, want %s", got, want)
		}
		status, err := unix.FcntlInt(uintptr(c.FD()), unix.F_GETFL, 0)
		if nonblocking := status&unix.O_NONBLOCK != 0; err != nil || nonblocking != (flags != 0) || c.Nonblocking() != nonblocking {
			t.Errorf("O_NONBLOCK is %v, Nonblocking() %v, %v", nonblocking, c.Nonblocking(), err)
		}
		for _, fd := range []int{c.FD(), l.fd} {
			if v, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err != nil || v&unix.FD_CLOEXEC == 0 {
				t.Errorf("a child process would inherit descriptor %d", fd)
			}
		}
	}
}

func TestV6Only(t *testing.T) {
	for _, only := range []bool{true, false} {
		l := listen(t, netip.MustParseAddrPort("[::]:0"), func(l *Listener) error { return l.V6Only(only) })
		if got := getOption(t, l.fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY) == 1; got != only {
			t.Errorf("IPV6_V6ONLY is %v, want %v", got, only)
		}
		client, err := net.Dial("tcp4", fmt.Sprintf("127.0.0.1:%d", l.Addr().Port()))
		if (err == nil) == only {
			t.Errorf("V6Only(%v): an IPv4 client gets %v", only, err)
		}
		if err != nil {
			continue
		}
		c, err := l.Accept(0)
		if err != nil {
			t.Fatal(err)
		}
		if !c.Peer().Addr().Is4In6() || c.Peer().Port() != client.LocalAddr().(*net.TCPAddr).AddrPort().Port() {
			t.Errorf("peer %v", c.Peer())
		}
		client.Close()
		c.Close()
	}
	l, err := Socket(unix.AF_INET)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := l.V6Only(true); err != nil {
		t.Errorf("an IPv4 socket: %v", err)
	}
}

func TestListenerErrors(t *testing.T) {
	first := listen(t, netip.MustParseAddrPort("127.0.0.1:0"))
	second, err := Socket(unix.AF_INET)
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	wantCall(t, second.Bind(first.Addr()), "bind", unix.EADDRINUSE)
	_, err = Socket(-1)
	wantCall(t, err, "socket", unix.EAFNOSUPPORT)
	none := &Listener{fd: -1, family: unix.AF_INET6}
	wantCall(t, none.ReuseAddr(), "setsockopt SO_REUSEADDR", unix.EBADF)
	wantCall(t, none.NoDelay(), "setsockopt TCP_NODELAY", unix.EBADF)
	wantCall(t, none.SendTimeout(1), "setsockopt SO_SNDTIMEO", unix.EBADF)
	wantCall(t, none.V6Only(true), "setsockopt IPV6_V6ONLY", unix.EBADF)
	wantCall(t, none.Listen(1), "listen", unix.EBADF)
	wantCall(t, none.Shutdown(), "shutdown", unix.EBADF)
	wantCall(t, none.Close(), "close", unix.EBADF)
	_, err = none.Accept(0)
	wantCall(t, err, "accept4", unix.EBADF)
	if none.Addr().IsValid() {
		t.Error("Addr returns an address for a bad descriptor")
	}
}

// shutdown(2) wakes a thread that waits in accept(2) or poll(2). close(2) would not.
func TestShutdownWakesAccept(t *testing.T) {
	for name, wait := range map[string]func(*Listener){
		"in accept": func(*Listener) {},
		"in poll":   (*Listener).Wait,
		"in Gather": func(l *Listener) { l.Gather(func() {}) },
	} {
		t.Run(name, func(t *testing.T) {
			l := listen(t, netip.MustParseAddrPort("127.0.0.1:0"))
			thread, result := make(chan int), make(chan error)
			go func() {
				runtime.LockOSThread()
				thread <- unix.Gettid()
				wait(l)
				_, err := l.Accept(0)
				result <- err
			}()
			waitBlocked(t, <-thread)
			if err := l.Shutdown(); err != nil {
				t.Fatal(err)
			}
			select {
			case err := <-result:
				wantCall(t, err, "accept4", unix.EINVAL)
				if ClassifyAcceptError(err) != ListenerClosed {
					t.Errorf("%v is not in the class ListenerClosed", err)
				}
			case <-time.After(10 * time.Second):
				t.Fatal("Accept still waits")
			}
			if c, err := net.Dial("tcp4", l.Addr().String()); err == nil {
				c.Close()
				t.Error("connections are still accepted")
			}
		})
	}
}

// Neither Wait nor Gather accepts the connection: Accept still returns it.
func TestListenerWait(t *testing.T) {
	for name, wait := range map[string]func(*Listener){
		"Wait":   (*Listener).Wait,
		"Gather": func(l *Listener) { l.Gather(func() {}) },
	} {
		t.Run(name, func(t *testing.T) {
			l := listen(t, netip.MustParseAddrPort("127.0.0.1:0"))
			for range 2 * many { // more than many, so that Gather also pauses
				thread, waited := make(chan int), make(chan struct{})
				go func() {
					runtime.LockOSThread()
					thread <- unix.Gettid()
					wait(l)
					close(waited)
				}()
				waitBlocked(t, <-thread)
				client, err := net.Dial("tcp4", l.Addr().String())
				if err != nil {
					t.Fatal(err)
				}
				defer client.Close()
				<-waited
				c, err := l.Accept(unix.SOCK_NONBLOCK)
				if err != nil {
					t.Fatal(err)
				}
				if got := c.Peer().String(); got != client.LocalAddr().String() {
					t.Errorf("%s is accepted, want %s", got, client.LocalAddr())
				}
				c.Close()
			}
		})
	}
}

// Gather calls idle once before it waits, and not if a connection waits already.
func TestGather(t *testing.T) {
	l := listen(t, netip.MustParseAddrPort("127.0.0.1:0"))
	dial := func() {
		client, err := net.Dial("tcp4", l.Addr().String())
		if err != nil {
			t.Error(err)
			return
		}
		t.Cleanup(func() { client.Close() })
	}
	const clients = 2 * many
	for range clients {
		dial()
	}
	for range clients {
		l.Gather(func() { t.Error("idle is called although a connection waits") })
		if c, err := l.Accept(0); err != nil {
			t.Fatal(err)
		} else {
			c.Close()
		}
	}
	// More than many connections have come, so Gather pauses. It still finds the next one.
	calls := 0
	l.Gather(func() { calls++; dial() })
	if calls != 1 {
		t.Errorf("idle is called %d times before Gather waits, want once", calls)
	}
	if _, err := l.Accept(0); err != nil {
		t.Fatal(err)
	}
}

// TestGatherInBurst checks that Gather calls idle after burst connections although another one waits.
func TestGatherInBurst(t *testing.T) {
	l := listen(t, netip.MustParseAddrPort("127.0.0.1:0"))
	calls := 0
	for i := range burst + 1 {
		client, err := net.Dial("tcp4", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		l.Gather(func() { calls++ })
		if want := i / burst; calls != want {
			t.Fatalf("idle is called %d times before connection %d, want %d times", calls, i+1, want)
		}
		c, err := l.Accept(0)
		if err != nil {
			t.Fatal(err)
		}
		c.Close()
	}
}

func TestDeferAccept(t *testing.T) {
	for d, set := range map[time.Duration]bool{0: false, time.Millisecond: true, 2 * time.Second: true} {
		l := listen(t, netip.MustParseAddrPort("127.0.0.1:0"), func(l *Listener) error { return l.DeferAccept(d) })
		if got := getOption(t, l.fd, unix.IPPROTO_TCP, unix.TCP_DEFER_ACCEPT); (got > 0) != set {
			t.Errorf("DeferAccept(%v): the kernel waits %d seconds", d, got)
		}
	}
}

func TestUnmapPeer(t *testing.T) {
	for peer, want := range map[string]string{
		"[::ffff:192.0.2.1]:80": "192.0.2.1:80", "192.0.2.1:80": "192.0.2.1:80", "[2001:db8::1]:443": "[2001:db8::1]:443",
	} {
		c := FromFD(-1, netip.MustParseAddrPort(peer), false)
		if got := c.Peer().String(); got != peer {
			t.Errorf("the peer of FromFD is %s, want %s", got, peer)
		}
		if c.UnmapPeer(); c.Peer().String() != want {
			t.Errorf("%s becomes %v, want %s", peer, c.Peer(), want)
		}
	}
	none := FromFD(-1, netip.AddrPort{}, false)
	if none.UnmapPeer(); none.Peer().IsValid() {
		t.Errorf("a connection without an address has the peer %v", none.Peer())
	}
}
