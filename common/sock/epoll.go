package sock

import (
	"encoding/binary"
	"os"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Epoll is an epoll set, see epoll(7). It is level-triggered: Wait reports a descriptor for
// as long as it is ready. A set cannot be closed: it is needed as long as its event loop,
// which runs until the end of the process.
type Epoll struct{ fd int }

// NewEpoll is epoll_create1(2).
func NewEpoll() (*Epoll, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	return &Epoll{fd}, nil
}

// Add is epoll_ctl(2) with EPOLL_CTL_ADD. The set begins to watch fd for events
// (unix.EPOLLIN, unix.EPOLLOUT), and reports each of them with the tag.
func (e *Epoll) Add(fd int, events uint32, tag uint64) error {
	return e.ctl(unix.EPOLL_CTL_ADD, fd, events, tag)
}

// Mod is epoll_ctl(2) with EPOLL_CTL_MOD. It replaces the events and the tag of fd.
func (e *Epoll) Mod(fd int, events uint32, tag uint64) error {
	return e.ctl(unix.EPOLL_CTL_MOD, fd, events, tag)
}

// Del is epoll_ctl(2) with EPOLL_CTL_DEL. The set no longer watches fd.
func (e *Epoll) Del(fd int) error { return e.ctl(unix.EPOLL_CTL_DEL, fd, 0, 0) }

func (e *Epoll) ctl(op, fd int, events uint32, tag uint64) error {
	ev := unix.EpollEvent{Events: events, Fd: int32(uint32(tag)), Pad: int32(uint32(tag >> 32))}
	// The call cannot block, see Conn.Read.
	_, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_CTL, uintptr(e.fd), uintptr(op), uintptr(fd),
		uintptr(unsafe.Pointer(&ev)), 0, 0)
	if errno != 0 {
		return os.NewSyscallError("epoll_ctl", errno)
	}
	return nil
}

// Tag returns the tag of an event, which Add or Mod has set.
func Tag(ev *unix.EpollEvent) uint64 { return uint64(uint32(ev.Fd)) | uint64(uint32(ev.Pad))<<32 }

// Wait is epoll_wait(2). It waits until a descriptor is ready, or for the given time, or
// forever if that is negative. It returns how many events it has written to events. If a
// signal interrupts the wait, Wait returns 0, and the caller computes its time-out again.
func (e *Epoll) Wait(events []unix.EpollEvent, wait time.Duration) (int, error) {
	var n uintptr
	var errno unix.Errno
	if wait == 0 {
		// The call cannot block, see Conn.Read.
		n, _, errno = unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(e.fd),
			uintptr(unsafe.Pointer(&events[0])), uintptr(len(events)), 0, 0, 0)
	} else {
		n, _, errno = unix.Syscall6(unix.SYS_EPOLL_PWAIT, uintptr(e.fd),
			uintptr(unsafe.Pointer(&events[0])), uintptr(len(events)), uintptr(milliseconds(wait)), 0, 0)
	}
	switch errno {
	case 0:
		return int(n), nil
	case unix.EINTR:
		return 0, nil
	}
	return 0, os.NewSyscallError("epoll_wait", errno)
}

// Eventfd is an eventfd(2), a counter in the kernel. Its descriptor is readable while the
// counter is not 0, so one thread can wake another from epoll_wait(2). Like an [Epoll], it
// cannot be closed.
type Eventfd struct{ fd int }

// NewEventfd is eventfd(2).
func NewEventfd() (*Eventfd, error) {
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return nil, os.NewSyscallError("eventfd", err)
	}
	return &Eventfd{fd}, nil
}

// FD returns the descriptor, for an epoll set.
func (e *Eventfd) FD() int { return e.fd }

// Wake adds 1 to the counter, which makes the descriptor readable.
func (e *Eventfd) Wake() error {
	one := binary.NativeEndian.AppendUint64(nil, 1)
	return os.NewSyscallError("write eventfd", retryErr(func() error { _, err := unix.Write(e.fd, one); return err }))
}

// Clear sets the counter to 0. The descriptor is then no longer readable.
func (e *Eventfd) Clear() error {
	var count [8]byte
	err := retryErr(func() error { _, err := unix.Read(e.fd, count[:]); return err })
	if err == unix.EAGAIN {
		return nil // the counter was 0 already
	}
	return os.NewSyscallError("read eventfd", err)
}
