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
type Epoll struct {
	fd   int
	busy bool // the last Wait returned events, or did not wait
}

// NewEpoll is epoll_create1(2).
func NewEpoll() (*Epoll, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	return &Epoll{fd: fd}, nil
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

// Watched is what a set watches for one connection. The zero value says that it watches
// nothing.
type Watched struct {
	fd     int32 // the descriptor plus 1, or 0
	events uint32
}

// Watch makes the set watch fd for events, and nothing else for this connection. It makes a
// system call only if w says that the set does not do so yet. If fd is negative, the set
// watches nothing. tag must always be the same for one connection.
func (e *Epoll) Watch(w *Watched, fd int, events uint32, tag uint64) error {
	now := Watched{int32(fd) + 1, events}
	if fd < 0 {
		now = Watched{}
	}
	if now == *w {
		return nil
	}
	op := e.Mod
	if now.fd != w.fd {
		e.Unwatch(w)
		op = e.Add
	}
	if fd < 0 {
		return nil
	}
	if err := op(fd, events, tag); err != nil {
		return err
	}
	*w = now
	return nil
}

// Unwatch takes the descriptor of a connection out of the set. A descriptor that is going to be
// closed may stay: the kernel takes it out when it is closed.
func (e *Epoll) Unwatch(w *Watched) {
	if w.fd > 0 {
		_ = e.Del(int(w.fd) - 1) // it fails only if the set does not have the descriptor
	}
	*w = Watched{}
}

// Forget takes the descriptor of a connection out of the set unless it is fd, which the caller is
// going to close.
func (e *Epoll) Forget(w *Watched, fd int) {
	if int(w.fd)-1 != fd {
		e.Unwatch(w)
	}
}

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

// shortWait is how long a thread may wait in the kernel without telling the Go scheduler, which
// costs more than many a system call. Meanwhile the thread keeps its Go processor, so only the
// threads of an event loop and of its acceptors, which have processors of their own, wait in
// this way. The scheduler can stop such a thread: its signal ends the wait. After a shorter
// time, the timer of the kernel would cost what the short wait saves.
const shortWait = 10 * time.Millisecond

// Wait is epoll_wait(2). It waits until a descriptor is ready, or for the given time, or
// forever if that is negative. It returns how many events it has written to events. If a
// signal interrupts the wait, Wait returns 0, and the caller computes its time-out again. If
// the last Wait returned events or did not wait, the first shortWait of this one is a call of
// its own: a thread of a busy loop will probably not wait for long.
func (e *Epoll) Wait(events []unix.EpollEvent, wait time.Duration) (int, error) {
	first := time.Duration(0)
	if e.busy {
		first = shortWait
	}
	if wait >= 0 {
		first = min(first, wait)
	}
	var n uintptr
	var errno unix.Errno
	if first > 0 || wait == 0 {
		n, _, errno = unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(e.fd),
			uintptr(unsafe.Pointer(&events[0])), uintptr(len(events)), uintptr(milliseconds(first)), 0, 0)
	}
	if n == 0 && errno == 0 && first != wait {
		if wait > 0 {
			wait -= first
		}
		n, _, errno = unix.Syscall6(unix.SYS_EPOLL_PWAIT, uintptr(e.fd),
			uintptr(unsafe.Pointer(&events[0])), uintptr(len(events)), uintptr(milliseconds(wait)), 0, 0)
	}
	e.busy = n > 0 && errno == 0 || wait == 0
	switch errno {
	case 0:
		return int(n), nil
	case unix.EINTR:
		return 0, nil
	}
	return 0, os.NewSyscallError("epoll_wait", errno)
}

// Eventfd is an eventfd(2), a counter in the kernel, with which one thread can wake another
// from epoll_wait(2). If the set watches it edge-triggered (EPOLLIN|EPOLLET), each Wake is an
// event, and nobody needs to read the counter. Like an [Epoll], it cannot be closed.
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

// Wake adds 1 to the counter.
func (e *Eventfd) Wake() error {
	one := binary.NativeEndian.AppendUint64(nil, 1)
	return os.NewSyscallError("write eventfd", retryErr(func() error { _, err := unix.Write(e.fd, one); return err }))
}
