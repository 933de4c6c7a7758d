package tier

import (
	"fmt"
	"net"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// An Unreachable is a port that answers no further connection: its backlog is full, so the kernel drops each SYN.
type Unreachable struct {
	Port int

	fd   int
	last net.Conn // holds the place in the backlog
}

// NewUnreachable makes an Unreachable on 127.0.0.1.
func NewUnreachable() (*Unreachable, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	u := &Unreachable{fd: fd}
	err = os.NewSyscallError("bind", unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}))
	if err == nil {
		err = os.NewSyscallError("listen", unix.Listen(fd, 0)) // room for one connection
	}
	if err == nil {
		var at unix.Sockaddr
		if at, err = unix.Getsockname(fd); err == nil {
			u.Port = at.(*unix.SockaddrInet4).Port
			u.last, err = net.DialTimeout("tcp4", net.JoinHostPort("127.0.0.1", strconv.Itoa(u.Port)), time.Second)
		}
	}
	if err != nil {
		u.Close()
		return nil, err
	}
	return u, nil
}

// URL returns the value for the flag --notes.
func (u *Unreachable) URL() string { return fmt.Sprintf("redis://127.0.0.1:%d", u.Port) }

// Close closes the port.
func (u *Unreachable) Close() {
	if u.last != nil {
		_ = u.last.Close()
	}
	_ = unix.Close(u.fd)
}
