// Package sock wraps the system calls of a TCP server on Linux, one method for each call.
// Only this package deals with three details:
//
//   - It repeats a call that a signal has interrupted (EINTR). This is common, because the Go
//     runtime preempts goroutines with signals.
//   - It adds the name of the call to an error.
//   - It returns [ErrAgain] for EAGAIN.
package sock

import (
	"errors"
	"net/netip"
	"os"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ErrAgain means that a call would have to wait (EAGAIN, EWOULDBLOCK). On a non-blocking
// socket this is not a failure: wait for the next event, then try again. On a blocking
// socket, a send returns it when the time-out of the socket (SO_SNDTIMEO) is over.
var ErrAgain = errors.New("sock: try again later")

// callError returns the error for an errno, with the name of the call that failed.
func callError(call string, errno unix.Errno) error {
	if errno == unix.EAGAIN {
		return ErrAgain
	}
	return os.NewSyscallError(call, errno)
}

// Conn is one TCP connection, which [Listener.Accept] or [Connect] makes. The zero value is
// not a connection.
type Conn struct {
	addr   [16]byte // the client's address; an IPv4 address as ::ffff:192.0.2.1
	port   uint16   // the client's port
	family family   // of addr

	nonblocking bool
	dry         bool // the receive queue was empty: do not read again before the next event
	full        bool // the send queue was full: do not write again before the next event
	fd          int32
}

// A family is a kind of address. A netip.AddrPort would need 32 bytes in each connection, where
// addr, port and family need 19.
type family uint8

const (
	noFamily family = iota // there is no address
	ip4
	ip6
)

// Peer returns the client's address. A socket for both families reports an IPv4 client as
// ::ffff:192.0.2.1, see [Conn.UnmapPeer].
func (c *Conn) Peer() netip.AddrPort {
	switch c.family {
	case ip4:
		return netip.AddrPortFrom(netip.AddrFrom16(c.addr).Unmap(), c.port)
	case ip6:
		return netip.AddrPortFrom(netip.AddrFrom16(c.addr), c.port)
	}
	return netip.AddrPort{}
}

// UnmapPeer changes the client's address from ::ffff:192.0.2.1 to 192.0.2.1. It does not change
// other addresses.
func (c *Conn) UnmapPeer() { c.setPeer(netip.AddrPortFrom(c.Peer().Addr().Unmap(), c.port)) }

func (c *Conn) setPeer(peer netip.AddrPort) {
	addr := peer.Addr()
	switch {
	case addr.Is4():
		c.family = ip4
	case addr.Is6():
		c.family = ip6
	default:
		c.family = noFamily
		return
	}
	c.addr, c.port = addr.As16(), peer.Port()
}

// FromFD returns a Conn for a connected stream socket that no [Listener] has accepted, such
// as one end of a socketpair(2) in a test. nonblocking says whether the socket has
// O_NONBLOCK.
func FromFD(fd int, peer netip.AddrPort, nonblocking bool) Conn {
	c := Conn{fd: int32(fd), nonblocking: nonblocking}
	c.setPeer(peer)
	return c
}

// Connect makes a non-blocking socket and is connect(2), see tcp(7). It returns ErrAgain with the
// socket if the connection is not complete yet (EINPROGRESS): wait until it is writable, then
// [Conn.Err] tells how it ended. After any other error there is no socket.
func Connect(to netip.AddrPort) (Conn, error) {
	family := unix.AF_INET
	if !to.Addr().Is4() {
		family = unix.AF_INET6
	}
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return Conn{}, os.NewSyscallError("socket", err)
	}
	sa := sockaddr(family, to)
	switch err := retryErr(func() error { return unix.Connect(fd, sa) }); err {
	case nil, unix.EISCONN: // the interrupted call has connected
		return FromFD(fd, to, true), nil
	case unix.EINPROGRESS, unix.EALREADY: // EALREADY after an interrupted call
		return FromFD(fd, to, true), ErrAgain
	default:
		_ = unix.Close(fd)
		return Conn{}, os.NewSyscallError("connect", err)
	}
}

// FD returns the descriptor, for poll(2) and epoll(7).
func (c *Conn) FD() int { return int(c.fd) }

// Nonblocking reports whether calls return ErrAgain instead of waiting.
func (c *Conn) Nonblocking() bool { return c.nonblocking }

// Ready tells a non-blocking connection that an event came. The next Read and the next
// write make their system calls again.
func (c *Conn) Ready() { c.dry, c.full = false, false }

// Dry reports whether Read returns ErrAgain until Ready is called.
func (c *Conn) Dry() bool { return c.dry }

// Read is recv(2) with MSG_DONTWAIT. It never waits, so on a blocking connection call
// [Poll] first. It returns 0 and no error if the client has shut down its sending side.
//
// If a non-blocking connection returns fewer bytes than p can hold, its receive queue is
// empty. Read then returns ErrAgain without a system call until Ready is called.
func (c *Conn) Read(p []byte) (int, error) {
	if c.dry {
		return 0, ErrAgain
	}
	// This call cannot block, so the Go scheduler need not know that the thread is in the
	// kernel. RawSyscall6 saves the two calls that tell the scheduler.
	n, errno := retry(func() (uintptr, unix.Errno) {
		n, _, errno := unix.RawSyscall6(unix.SYS_RECVFROM, uintptr(c.fd),
			uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)), unix.MSG_DONTWAIT, 0, 0)
		return n, errno
	})
	if errno != 0 {
		c.dry = c.nonblocking && errno == unix.EAGAIN
		return 0, callError("recv", errno)
	}
	c.dry = c.nonblocking && n > 0 && n < len(p)
	return n, nil
}

// Quiet is recv(2) with MSG_PEEK and MSG_DONTWAIT. It reports whether the other side has neither sent
// a byte nor ended or reset the stream.
func (c *Conn) Quiet() bool {
	err := retryErr(func() error {
		_, _, err := unix.Recvfrom(int(c.fd), make([]byte, 1), unix.MSG_PEEK|unix.MSG_DONTWAIT)
		return err
	})
	return err == unix.EAGAIN
}

// Send is send(2) with MSG_NOSIGNAL. It returns how many bytes the kernel took, which may
// be fewer than len(p). A blocking connection waits until the kernel has taken all bytes or
// the listener's time-out (SO_SNDTIMEO) is over. more says that bytes of the same response
// follow at once, so the kernel may wait for a full segment (MSG_MORE).
func (c *Conn) Send(p []byte, more bool) (int, error) {
	if c.full {
		return 0, ErrAgain
	}
	flags := unix.MSG_NOSIGNAL
	if more {
		flags |= unix.MSG_MORE
	}
	// There are two direct calls, and not one call of a variable: only in a direct call does
	// the compiler keep p in place and alive (package unsafe, rule 4).
	n, errno := retry(func() (n uintptr, errno unix.Errno) {
		if c.nonblocking { // the call cannot block, see Read
			n, _, errno = unix.RawSyscall6(unix.SYS_SENDTO, uintptr(c.fd),
				uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)), uintptr(flags), 0, 0)
		} else {
			n, _, errno = unix.Syscall6(unix.SYS_SENDTO, uintptr(c.fd),
				uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)), uintptr(flags), 0, 0)
		}
		return n, errno
	})
	if errno != 0 {
		c.full = c.nonblocking && errno == unix.EAGAIN
		return 0, callError("send", errno)
	}
	c.full = c.nonblocking && n < len(p)
	return n, nil
}

// Sendfile is sendfile(2). It sends at most n bytes of the file from *offset on, and adds
// to *offset how many the kernel took. It returns 0 at the end of the file. Even on a
// non-blocking connection it may wait for the disk.
func (c *Conn) Sendfile(file int, offset *int64, n int) (int, error) {
	if c.full {
		return 0, ErrAgain
	}
	sent, errno := retry(func() (uintptr, unix.Errno) {
		n, _, errno := unix.Syscall6(unix.SYS_SENDFILE, uintptr(c.fd), uintptr(file),
			uintptr(unsafe.Pointer(offset)), uintptr(n), 0, 0)
		return n, errno
	})
	if errno != 0 {
		c.full = c.nonblocking && errno == unix.EAGAIN
		return 0, callError("sendfile", errno)
	}
	return sent, nil
}

// Unacked is ioctl(SIOCOUTQ), see tcp(7). It returns how many of the sent bytes the client
// has not acknowledged. After ShutdownWrite the FIN counts as one byte.
func (c *Conn) Unacked() (int, error) {
	n, err := unix.IoctlGetInt(int(c.fd), unix.SIOCOUTQ)
	return n, os.NewSyscallError("ioctl SIOCOUTQ", err)
}

// Unread is ioctl(SIOCINQ), see tcp(7). It returns how many received bytes were not read
// yet. It counts urgent bytes, and bytes after them, only with [Listener.OOBInline].
func (c *Conn) Unread() (int, error) {
	n, err := unix.IoctlGetInt(int(c.fd), unix.SIOCINQ)
	return n, os.NewSyscallError("ioctl SIOCINQ", err)
}

// Err is getsockopt(SO_ERROR), see socket(7). It returns an error that no call has returned
// yet, such as a reset by the client. The kernel reports each error only once.
func (c *Conn) Err() error {
	errno, err := unix.GetsockoptInt(int(c.fd), unix.SOL_SOCKET, unix.SO_ERROR)
	if err == nil && errno != 0 {
		err = unix.Errno(errno)
	}
	return os.NewSyscallError("getsockopt SO_ERROR", err)
}

// ShutdownWrite is shutdown(2) with SHUT_WR. The client reads the end of the stream after
// all sent bytes, and it can still send.
func (c *Conn) ShutdownWrite() error {
	return os.NewSyscallError("shutdown", unix.Shutdown(int(c.fd), unix.SHUT_WR))
}

// Abort sets SO_LINGER to 0 seconds, see socket(7). Close then resets the connection and
// drops the unacknowledged bytes. Otherwise the kernel would keep them for minutes, even if
// the client does not read.
func (c *Conn) Abort() error {
	return os.NewSyscallError("setsockopt SO_LINGER", unix.SetsockoptLinger(int(c.fd),
		unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1, Linger: 0}))
}

// Close is close(2). Close does not repeat the call after EINTR: Linux has closed the
// descriptor by then, and another connection may already have its number.
func (c *Conn) Close() error {
	return os.NewSyscallError("close", unix.Close(int(c.fd)))
}

// retry repeats a call for as long as a signal interrupts it.
func retry(call func() (uintptr, unix.Errno)) (int, unix.Errno) {
	for {
		if n, errno := call(); errno != unix.EINTR {
			return int(n), errno
		}
	}
}

// retryErr is retry for a call that returns an error.
func retryErr(call func() error) error {
	for {
		if err := call(); err != unix.EINTR {
			return err
		}
	}
}

// Poll is poll(2). It waits until at least one of fds is ready, or for the given time, or
// forever if that is negative. It returns how many are ready. If a signal interrupts the
// wait, Poll waits for the remaining time.
func Poll(fds []unix.PollFd, wait time.Duration) (int, error) {
	var end time.Time
	if wait >= 0 {
		end = time.Now().Add(wait)
	}
	for {
		n, err := unix.Poll(fds, milliseconds(wait))
		if err != unix.EINTR {
			return n, os.NewSyscallError("poll", err)
		}
		if wait >= 0 {
			wait = max(0, time.Until(end))
		}
	}
}

// milliseconds converts a wait for poll(2) and epoll_wait(2). It rounds up, so that a wait is
// never too short.
func milliseconds(d time.Duration) int {
	if d < 0 {
		return -1
	}
	const longest = 1 << 30 // 12 days
	return int((min(d, longest*time.Millisecond) + time.Millisecond - 1) / time.Millisecond)
}
