package sock

import (
	"encoding/binary"
	"os"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Epoll is an epoll set, see epoll(7). Every descriptor is watched level-triggered:
// it is reported for as long as it is ready.
type Epoll struct{ fd int }

// NewEpoll is epoll_create1(2).
func NewEpoll() (*Epoll, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	return &Epoll{fd}, nil
}

// Add is epoll_ctl(2) with EPOLL_CTL_ADD: fd is watched for events (unix.EPOLLIN,
// unix.EPOLLOUT), which come with the given tag.
func (e *Epoll) Add(fd int, events uint32, tag uint64) error {
	return e.ctl(unix.EPOLL_CTL_ADD, fd, events, tag)
}

// Mod is epoll_ctl(2) with EPOLL_CTL_MOD: fd is watched for other events from now on.
func (e *Epoll) Mod(fd int, events uint32, tag uint64) error {
	return e.ctl(unix.EPOLL_CTL_MOD, fd, events, tag)
}

// Del is epoll_ctl(2) with EPOLL_CTL_DEL: fd is no longer watched.
func (e *Epoll) Del(fd int) error { return e.ctl(unix.EPOLL_CTL_DEL, fd, 0, 0) }

func (e *Epoll) ctl(op, fd int, events uint32, tag uint64) error {
	ev := unix.EpollEvent{Events: events, Fd: int32(uint32(tag)), Pad: int32(uint32(tag >> 32))}
	return os.NewSyscallError("epoll_ctl", unix.EpollCtl(e.fd, op, fd, &ev))
}

// Tag returns the 64 bits that Add or Mod gave with the descriptor of this event.
func Tag(ev *unix.EpollEvent) uint64 { return uint64(uint32(ev.Fd)) | uint64(uint32(ev.Pad))<<32 }

// Wait is epoll_wait(2): it waits until a watched descriptor is ready, at most for
// the given time (forever if negative), and returns how many events it wrote. An
// interrupted wait returns 0 events; the caller computes its time-out anew.
func (e *Epoll) Wait(events []unix.EpollEvent, wait time.Duration) (int, error) {
	var n uintptr
	var errno unix.Errno
	if wait == 0 {
		// This cannot block: see Conn.Read.
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

// Close is close(2).
func (e *Epoll) Close() error { return os.NewSyscallError("close", unix.Close(e.fd)) }

// Eventfd is an eventfd(2): a counter in the kernel that makes its descriptor
// readable, which is how one thread wakes another out of epoll_wait.
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

// Wake adds 1: the descriptor is readable from now on.
func (e *Eventfd) Wake() error {
	one := binary.NativeEndian.AppendUint64(nil, 1)
	return os.NewSyscallError("write eventfd", retryErr(func() error { _, err := unix.Write(e.fd, one); return err }))
}

// Clear sets the counter back to 0: the descriptor is no longer readable.
func (e *Eventfd) Clear() error {
	var count [8]byte
	err := retryErr(func() error { _, err := unix.Read(e.fd, count[:]); return err })
	if err == unix.EAGAIN {
		return nil // nobody had woken it
	}
	return os.NewSyscallError("read eventfd", err)
}

// Close is close(2).
func (e *Eventfd) Close() error { return os.NewSyscallError("close", unix.Close(e.fd)) }
