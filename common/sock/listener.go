package sock

import (
	"errors"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Listener is a TCP socket that is, or will be, listening. [Socket] makes one.
type Listener struct {
	fd     int
	family int // unix.AF_INET or unix.AF_INET6
}

// Socket is socket(2): a TCP socket of the given family, unix.AF_INET or
// unix.AF_INET6. The error is EAFNOSUPPORT where the machine does not have the family.
func Socket(family int) (*Listener, error) {
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	return &Listener{fd, family}, nil
}

// ReuseAddr sets SO_REUSEADDR: the port can be taken again at once after a stop,
// while connections of the server before are still in TIME_WAIT, see socket(7).
func (l *Listener) ReuseAddr() error {
	return os.NewSyscallError("setsockopt SO_REUSEADDR",
		unix.SetsockoptInt(l.fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1))
}

// NoDelay sets TCP_NODELAY, which accepted connections inherit: a small segment is
// sent at once, not held back until the one before is acknowledged (Nagle), see tcp(7).
func (l *Listener) NoDelay() error {
	return os.NewSyscallError("setsockopt TCP_NODELAY",
		unix.SetsockoptInt(l.fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1))
}

// OOBInline sets SO_OOBINLINE, which accepted connections inherit: a byte that was sent
// with MSG_OOB stays in its place in the stream (RFC 6093 §6). Otherwise a read stops
// before it, and the kernel counts neither it nor what follows as unread, but resets the
// connection for it at a close.
func (l *Listener) OOBInline() error {
	return os.NewSyscallError("setsockopt SO_OOBINLINE",
		unix.SetsockoptInt(l.fd, unix.SOL_SOCKET, unix.SO_OOBINLINE, 1))
}

// SendTimeout sets SO_SNDTIMEO, which accepted connections inherit: a blocking send
// returns after this time, short if the kernel took some bytes, with ErrAgain if it
// took none, see socket(7). Non-blocking connections do not notice it.
func (l *Listener) SendTimeout(d time.Duration) error {
	tv := unix.NsecToTimeval(d.Nanoseconds())
	return os.NewSyscallError("setsockopt SO_SNDTIMEO",
		unix.SetsockoptTimeval(l.fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &tv))
}

// V6Only sets IPV6_V6ONLY to on or off, see ipv6(7): whether an IPv6 socket leaves
// IPv4 to another one, or takes clients of both families. An IPv4 socket does not have
// the option, and V6Only does nothing.
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

// Bind is bind(2). Port 0 has the kernel choose a free one; [Listener.Addr] tells which.
func (l *Listener) Bind(addr netip.AddrPort) error {
	var sa unix.Sockaddr
	if l.family == unix.AF_INET6 {
		sa = &unix.SockaddrInet6{Port: int(addr.Port()), Addr: addr.Addr().As16()}
	} else {
		sa = &unix.SockaddrInet4{Port: int(addr.Port()), Addr: addr.Addr().As4()}
	}
	return os.NewSyscallError("bind", unix.Bind(l.fd, sa))
}

// Listen is listen(2): the kernel completes up to backlog connections that were not
// accepted yet.
func (l *Listener) Listen(backlog int) error {
	return os.NewSyscallError("listen", unix.Listen(l.fd, backlog))
}

// Addr is getsockname(2): the address that the socket is really bound to, with port 0
// while it is not. It is the zero AddrPort if there is no such socket.
func (l *Listener) Addr() netip.AddrPort {
	sa, err := unix.Getsockname(l.fd)
	if err != nil {
		return netip.AddrPort{}
	}
	return addrPort(sa)
}

// Wait is poll(2): it returns when a connection waits to be accepted, or the listener was
// shut down. It is for a caller that must do something else before Accept. Accept tells
// why it returned.
func (l *Listener) Wait() {
	_, _ = Poll([]unix.PollFd{{Fd: int32(l.fd), Events: unix.POLLIN}}, -1)
}

// Accept is accept4(2): it waits for a connection and returns it. flags is 0 or
// unix.SOCK_NONBLOCK. What an error means, [ClassifyAcceptError] tells.
func (l *Listener) Accept(flags int) (Conn, error) {
	var fd int
	var sa unix.Sockaddr
	err := retryErr(func() (err error) {
		fd, sa, err = unix.Accept4(l.fd, flags|unix.SOCK_CLOEXEC)
		return err
	})
	if err != nil {
		return Conn{}, os.NewSyscallError("accept4", err)
	}
	return Conn{Peer: addrPort(sa), fd: int32(fd), nonblocking: flags&unix.SOCK_NONBLOCK != 0}, nil
}

// Shutdown is shutdown(2) on a listening socket: a thread that waits in Accept wakes
// up with EINVAL, which close(2) would not do, and new connections are refused.
func (l *Listener) Shutdown() error {
	return os.NewSyscallError("shutdown", unix.Shutdown(l.fd, unix.SHUT_RDWR))
}

// Close is close(2).
func (l *Listener) Close() error { return os.NewSyscallError("close", unix.Close(l.fd)) }

func addrPort(sa unix.Sockaddr) netip.AddrPort {
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), uint16(sa.Port))
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(sa.Addr), uint16(sa.Port))
	}
	return netip.AddrPort{}
}

// AcceptError is what an error of accept(2) means for the server.
type AcceptError int

// The kinds of errors. A server never stops serving because one accept failed.
const (
	Retry          AcceptError = iota // that one connection is lost; accept the next
	BackOff                           // descriptors or memory have run out: wait before the next try
	ListenerClosed                    // the listener was shut down, and accepts nobody any more
)

// ClassifyAcceptError tells what to do about an error of [Listener.Accept]. Linux hands over
// errors that were already pending on the new connection, see accept(2): they are that
// connection's, not the listener's. An error that is not known backs off, so that it
// cannot make the server spin.
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
