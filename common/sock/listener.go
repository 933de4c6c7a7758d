package sock

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"os"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Listener is a TCP socket for accepting connections. [Socket] makes one, and
// [Listener.Listen] makes it listen.
type Listener struct {
	fd       int
	family   int // unix.AF_INET or unix.AF_INET6
	accepted int // connections since the last time Gather has waited
}

// Socket is socket(2). It makes a TCP socket of the given family, unix.AF_INET or
// unix.AF_INET6. The error is EAFNOSUPPORT if the machine does not have the family.
func Socket(family int) (*Listener, error) {
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	return &Listener{fd: fd, family: family}, nil
}

// ReuseAddr sets SO_REUSEADDR, see socket(7). After a stop, a new server can bind the port
// at once, even if connections of the old server are still in TIME_WAIT.
func (l *Listener) ReuseAddr() error {
	return os.NewSyscallError("setsockopt SO_REUSEADDR",
		unix.SetsockoptInt(l.fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1))
}

// NoDelay sets TCP_NODELAY, see tcp(7). Accepted connections inherit the option. The kernel
// then sends a small segment at once, and does not wait until the segment before it is
// acknowledged (Nagle's algorithm).
func (l *Listener) NoDelay() error {
	return os.NewSyscallError("setsockopt TCP_NODELAY",
		unix.SetsockoptInt(l.fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1))
}

// OOBInline sets SO_OOBINLINE. Accepted connections inherit the option. A byte that the
// client sends with MSG_OOB then stays in its place in the stream (RFC 6093 §6). Otherwise
// a read stops before that byte, and the kernel does not count it, or the bytes after it,
// as unread. Yet at a close it resets the connection because of them.
func (l *Listener) OOBInline() error {
	return os.NewSyscallError("setsockopt SO_OOBINLINE",
		unix.SetsockoptInt(l.fd, unix.SOL_SOCKET, unix.SO_OOBINLINE, 1))
}

// SendTimeout sets SO_SNDTIMEO, see socket(7). Accepted connections inherit the option. A
// blocking send then returns after this time at the latest. It returns how many bytes the
// kernel took, or ErrAgain if it took none. Non-blocking connections ignore the option.
func (l *Listener) SendTimeout(d time.Duration) error {
	tv := unix.NsecToTimeval(d.Nanoseconds())
	return os.NewSyscallError("setsockopt SO_SNDTIMEO",
		unix.SetsockoptTimeval(l.fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &tv))
}

// DeferAccept sets TCP_DEFER_ACCEPT, see tcp(7). A connection is then accepted only when its
// client has sent something, or after about the time d, which is rounded up to seconds. This
// saves a wake-up for each connection, but the server does not know of a silent client until
// then. If d is 0, DeferAccept does nothing.
func (l *Listener) DeferAccept(d time.Duration) error {
	if d == 0 {
		return nil
	}
	seconds := int((d + time.Second - 1) / time.Second)
	return os.NewSyscallError("setsockopt TCP_DEFER_ACCEPT",
		unix.SetsockoptInt(l.fd, unix.IPPROTO_TCP, unix.TCP_DEFER_ACCEPT, seconds))
}

// V6Only sets IPV6_V6ONLY on or off, see ipv6(7). If it is on, the IPv6 socket accepts only
// IPv6 clients. If it is off, the socket accepts clients of both families. On an IPv4
// socket, which does not have the option, V6Only does nothing.
func (l *Listener) V6Only(on bool) error {
	if l.family != unix.AF_INET6 {
		return nil
	}
	value := 0
	if on {
		value = 1
	}
	return os.NewSyscallError("setsockopt IPV6_V6ONLY",
		unix.SetsockoptInt(l.fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, value))
}

// Bind is bind(2). For port 0 the kernel chooses a free port, which [Listener.Addr] returns.
func (l *Listener) Bind(addr netip.AddrPort) error {
	return os.NewSyscallError("bind", unix.Bind(l.fd, sockaddr(l.family, addr)))
}

// Listen is listen(2). Up to backlog complete connections wait in the kernel to be
// accepted.
func (l *Listener) Listen(backlog int) error {
	return os.NewSyscallError("listen", unix.Listen(l.fd, backlog))
}

// Addr is getsockname(2). It returns the address that the socket is bound to. The port is 0
// before Bind. If the call fails, Addr returns the zero AddrPort.
func (l *Listener) Addr() netip.AddrPort {
	sa, err := unix.Getsockname(l.fd)
	if err != nil {
		return netip.AddrPort{}
	}
	return addrPort(sa)
}

// Wait is poll(2). It returns when a connection waits to be accepted, or when the listener
// is shut down. Wait is for a caller that must do something else before Accept. Only Accept
// shows the reason.
func (l *Listener) Wait() {
	_, _ = Poll([]unix.PollFd{{Fd: int32(l.fd), Events: unix.POLLIN}}, -1)
}

const (
	// many is how many connections must have come since the last wait for Gather to pause.
	many = 4
	// pauseEach is how long Gather pauses for each of these connections. It is about the CPU
	// time that the server and its client need for one connection with one request.
	pauseEach = 50 * time.Microsecond
	// pauseMost limits the pause. Whoever connects meanwhile waits that long.
	pauseMost = time.Millisecond
	// burst is after how many connections Gather calls idle although another one waits.
	burst = 64
)

// Gather is Wait for an acceptor that hands connections to other threads. If no connection
// waits, it calls idle, which must wake these threads, before it waits for one. It also calls
// idle after 64 connections, for the case that there is always another one.
//
// If connections come in quick succession, then it costs more to put these threads to sleep and
// to wake them for each connection than to accept it. So if at least 4 connections were accepted
// since the last wait, Gather first pauses for 50 µs for each, at most for 1 ms. Meanwhile
// connections gather, and one wake-up is enough for them. A connection that comes alone is
// accepted at once.
func (l *Listener) Gather(idle func()) {
	if l.poll(0) {
		if l.accepted > 0 && l.accepted%burst == 0 {
			idle()
		}
		return
	}
	idle()
	accepted := l.accepted
	l.accepted = 0
	if accepted >= many {
		sleep(min(time.Duration(accepted)*pauseEach, pauseMost))
	}
	if accepted == 0 || !l.poll(shortWait) {
		l.Wait()
	}
}

// poll reports whether a connection waits to be accepted, or comes within d. It returns early
// if a signal comes. See shortWait for why it does not tell the Go scheduler about the call.
func (l *Listener) poll(d time.Duration) bool {
	fd := unix.PollFd{Fd: int32(l.fd), Events: unix.POLLIN}
	wait := unix.NsecToTimespec(int64(d))
	n, _, errno := unix.RawSyscall6(unix.SYS_PPOLL, uintptr(unsafe.Pointer(&fd)), 1, uintptr(unsafe.Pointer(&wait)), 0, 0, 0)
	return n > 0 && errno == 0
}

// sleep is nanosleep(2). A signal ends it early. d must be shorter than shortWait.
func sleep(d time.Duration) {
	wait := unix.NsecToTimespec(int64(d))
	_, _, _ = unix.RawSyscall(unix.SYS_NANOSLEEP, uintptr(unsafe.Pointer(&wait)), 0, 0)
}

// Accept is accept4(2). It waits for a connection and returns it. flags is 0 or
// unix.SOCK_NONBLOCK. See [ClassifyAcceptError] for its errors.
//
// It makes the system call itself, because unix.Accept4 makes a second one: it asks for the
// protocol of each new socket, and allocates memory for the address.
func (l *Listener) Accept(flags int) (Conn, error) {
	var sa unix.RawSockaddrAny
	fd, errno := retry(func() (uintptr, unix.Errno) {
		size := uint32(unix.SizeofSockaddrAny)
		fd, _, errno := unix.Syscall6(unix.SYS_ACCEPT4, uintptr(l.fd), uintptr(unsafe.Pointer(&sa)),
			uintptr(unsafe.Pointer(&size)), uintptr(flags|unix.SOCK_CLOEXEC), 0, 0)
		return fd, errno
	})
	if errno != 0 {
		return Conn{}, callError("accept4", errno)
	}
	l.accepted++
	return FromFD(fd, rawAddrPort(&sa), flags&unix.SOCK_NONBLOCK != 0), nil
}

// Shutdown is shutdown(2) on a listening socket. The kernel then refuses new connections,
// and a thread that waits in Accept returns with EINVAL. close(2) would not wake it.
func (l *Listener) Shutdown() error {
	return os.NewSyscallError("shutdown", unix.Shutdown(l.fd, unix.SHUT_RDWR))
}

// Close is close(2).
func (l *Listener) Close() error { return os.NewSyscallError("close", unix.Close(l.fd)) }

// sockaddr returns an address for a socket of the given family.
func sockaddr(family int, addr netip.AddrPort) unix.Sockaddr {
	if family == unix.AF_INET6 {
		return &unix.SockaddrInet6{Port: int(addr.Port()), Addr: addr.Addr().As16()}
	}
	return &unix.SockaddrInet4{Port: int(addr.Port()), Addr: addr.Addr().As4()}
}

func addrPort(sa unix.Sockaddr) netip.AddrPort {
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), uint16(sa.Port))
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(sa.Addr), uint16(sa.Port))
	}
	return netip.AddrPort{}
}

// rawAddrPort returns an address that the kernel has written, see ip(7) and ipv6(7).
func rawAddrPort(sa *unix.RawSockaddrAny) netip.AddrPort {
	switch sa.Addr.Family {
	case unix.AF_INET:
		sa := (*unix.RawSockaddrInet4)(unsafe.Pointer(sa))
		return netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), hostOrder(sa.Port))
	case unix.AF_INET6:
		sa := (*unix.RawSockaddrInet6)(unsafe.Pointer(sa))
		return netip.AddrPortFrom(netip.AddrFrom16(sa.Addr), hostOrder(sa.Port))
	}
	return netip.AddrPort{}
}

// hostOrder converts a port in network byte order.
func hostOrder(port uint16) uint16 {
	return binary.BigEndian.Uint16(binary.NativeEndian.AppendUint16(nil, port))
}

// AcceptError is a class of errors of accept(2). It says what the server must do.
type AcceptError int

// The classes of errors. Only ListenerClosed ends the accepting.
const (
	Retry          AcceptError = iota // only this connection is lost: accept the next
	BackOff                           // descriptors or memory have run out: wait, then try again
	ListenerClosed                    // the listener was shut down: stop accepting
)

// ClassifyAcceptError returns the class of an error of [Listener.Accept]. On Linux, accept(2)
// also returns errors of the new connection, which do not concern the listener: those of its
// manual page and, because TCP can report it, ETIMEDOUT. An unknown error is in the class BackOff,
// so that it cannot make the server spin. So is EAGAIN, because a listener waits in accept(2).
func ClassifyAcceptError(err error) AcceptError {
	for _, errno := range []unix.Errno{unix.EINVAL, unix.EBADF} {
		if errors.Is(err, errno) {
			return ListenerClosed
		}
	}
	for _, errno := range []unix.Errno{
		unix.ECONNABORTED, unix.EPERM, unix.EPROTO, unix.ENETDOWN, unix.ENOPROTOOPT, unix.EHOSTDOWN,
		unix.ENONET, unix.EHOSTUNREACH, unix.EOPNOTSUPP, unix.ENETUNREACH, unix.ETIMEDOUT,
	} {
		if errors.Is(err, errno) {
			return Retry
		}
	}
	return BackOff
}
