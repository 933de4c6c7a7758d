// Package sock wraps the system calls of a TCP server on Linux, one method for one
// call. Three things happen here and nowhere else: a call that a signal interrupted
// is repeated (EINTR; the Go runtime interrupts threads with signals to preempt
// goroutines, so this is ordinary), an errno gets the name of its call, and "try
// again later" becomes the one error [ErrAgain].
package sock

import (
	"errors"
	"net/netip"
	"os"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ErrAgain says that a call would have had to wait (EAGAIN, EWOULDBLOCK). On a
// non-blocking socket it is no failure: wait for the next event. On a blocking one it
// means that a time-out set with a socket option ran out.
var ErrAgain = errors.New("sock: try again later")

// callError names the call that failed.
func callError(call string, errno unix.Errno) error {
	if errno == unix.EAGAIN {
		return ErrAgain
	}
	return os.NewSyscallError(call, errno)
}

// Conn is one accepted TCP connection. The zero value is not a connection.
type Conn struct {
	Peer netip.AddrPort // the client's address
	fd   int32

	nonblocking bool
	dry         bool // the receive queue was emptied: reading again before an event is useless
	full        bool // the send queue was filled: writing again before an event is useless
}

// FromFD makes a Conn of a connected stream socket that was not accepted here:
// inherited, or one end of a socketpair(2). nonblocking says whether the descriptor
// has O_NONBLOCK.
func FromFD(fd int, peer netip.AddrPort, nonblocking bool) Conn {
	return Conn{Peer: peer, fd: int32(fd), nonblocking: nonblocking}
}

// FD returns the descriptor, for poll(2) and epoll(7).
func (c *Conn) FD() int { return int(c.fd) }

// Nonblocking tells whether calls return ErrAgain instead of waiting.
func (c *Conn) Nonblocking() bool { return c.nonblocking }

// Ready says that an event came: the next Read and the next write are worth their
// system calls again. It matters to non-blocking connections only.
func (c *Conn) Ready() { c.dry, c.full = false, false }

// Read is recv(2) with MSG_DONTWAIT: it never waits, so on a blocking connection
// poll(2) goes before it (see [Poll]). It returns 0 and no error where the client has
// shut down its sending side.
//
// A non-blocking connection that returned less than was asked for is empty, and
// remembers it: until its next event Read answers ErrAgain without a system call.
func (c *Conn) Read(p []byte) (int, error) {
	if c.dry {
		return 0, ErrAgain
	}
	// This call cannot block, so the Go scheduler need not be told that a thread goes
	// into the kernel: RawSyscall6 saves the two calls around it.
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

// Send is send(2) with MSG_NOSIGNAL. more says that further bytes of the same
// response follow at once, so that the kernel may wait for a full segment (MSG_MORE).
// It may take fewer bytes than given. A blocking connection waits until the kernel has
// taken all bytes or the listener's time-out (SO_SNDTIMEO) is over.
func (c *Conn) Send(p []byte, more bool) (int, error) {
	if c.full {
		return 0, ErrAgain
	}
	flags := unix.MSG_NOSIGNAL
	if more {
		flags |= unix.MSG_MORE
	}
	// Two calls, not a variable that holds one of them: only in a direct call does the
	// compiler keep alive what a uintptr was made from (package unsafe, rule 4).
	n, errno := retry(func() (n uintptr, errno unix.Errno) {
		if c.nonblocking { // cannot block: see Read
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

// Sendfile is sendfile(2): at most n bytes of the file from *offset on, which it
// moves. It returns 0 at the end of the file. Unlike Send it may wait for the disk even
// on a non-blocking connection.
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

// Unacked is ioctl(SIOCOUTQ), see tcp(7): bytes that were written and that the client
// has not acknowledged yet. After ShutdownWrite the FIN counts as one.
func (c *Conn) Unacked() (int, error) {
	n, err := unix.IoctlGetInt(int(c.fd), unix.SIOCOUTQ)
	return n, os.NewSyscallError("ioctl SIOCOUTQ", err)
}

// Unread is ioctl(SIOCINQ): bytes that were received and not read yet. It counts urgent
// bytes and what follows them only with [Listener.OOBInline].
func (c *Conn) Unread() (int, error) {
	n, err := unix.IoctlGetInt(int(c.fd), unix.SIOCINQ)
	return n, os.NewSyscallError("ioctl SIOCINQ", err)
}

// Err is getsockopt(SO_ERROR), see socket(7): an error that came by itself, such as a
// reset by the client. The kernel tells it once.
func (c *Conn) Err() error {
	errno, err := unix.GetsockoptInt(int(c.fd), unix.SOL_SOCKET, unix.SO_ERROR)
	if err == nil && errno != 0 {
		err = unix.Errno(errno)
	}
	return os.NewSyscallError("getsockopt SO_ERROR", err)
}

// ShutdownWrite is shutdown(2) with SHUT_WR: the client reads the end of the stream
// behind what was written, and can still send.
func (c *Conn) ShutdownWrite() error {
	return os.NewSyscallError("shutdown", unix.Shutdown(int(c.fd), unix.SHUT_WR))
}

// Abort sets SO_LINGER to 0 seconds: Close will throw away what the client has not
// taken yet and reset the connection, see socket(7). Without it the kernel would go
// on offering the bytes to a client that does not read, for minutes.
func (c *Conn) Abort() error {
	return os.NewSyscallError("setsockopt SO_LINGER", unix.SetsockoptLinger(int(c.fd),
		unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1, Linger: 0}))
}

// Close is close(2). It is not repeated after EINTR: Linux has closed the descriptor
// by then, and its number may already be another connection's.
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

// retryErr is retry for the wrappers of x/sys, which return an error.
func retryErr(call func() error) error {
	for {
		if err := call(); err != unix.EINTR {
			return err
		}
	}
}

// Poll is poll(2): it waits until one of fds has one of the events it names, at most
// for the given time (forever if negative), and returns how many have. An interrupted
// wait goes on for the time that is left.
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

// milliseconds rounds up, so that a wait is never shorter than asked for.
func milliseconds(d time.Duration) int {
	if d < 0 {
		return -1
	}
	const longest = 1 << 30 // 12 days
	return int((min(d, longest*time.Millisecond) + time.Millisecond - 1) / time.Millisecond)
}
