package process

import (
	"fmt"
	"os"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"fourways.example/common/servertest/kernel"
)

// The suite may start a wrapper instead of the server itself: a shell script, a debugger or strace. The
// server is then the descendant of the wrapper that has the listening socket.

// locate finds the server that a wrapper has started. If it finds no process with the listening socket, the
// started process counts as the server, and locate returns false.
func (s *Server) locate() (found bool) {
	l, ok := kernel.Listener(s.Port)
	if !ok {
		return false
	}
	inode := fmt.Sprintf("socket:[%d]", l.Inode)
	for _, pid := range append([]int{s.Cmd.Process.Pid}, kernel.Descendants(s.Cmd.Process.Pid)...) {
		if !slices.Contains(kernel.SocketsOf(pid), inode) {
			continue
		}
		if pid != s.Cmd.Process.Pid {
			s.follow(pid)
		}
		return true
	}
	return false
}

// follow records that the process pid is the server. It kills a wrapper that still runs 1 s after the server has ended,
// because Wait and Exited wait for the wrapper.
func (s *Server) follow(pid int) {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return
	}
	s.pid = pid
	go func() {
		defer func() { _ = unix.Close(fd) }()
		for {
			_, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, -1)
			if err != unix.EINTR {
				break
			}
		}
		select {
		case <-s.exited: // a good wrapper passes the server's exit status on
		case <-time.After(time.Second):
			_ = s.Cmd.Process.Kill()
		}
	}()
}

// killTree kills a process and its descendants, which would otherwise outlive it. The caller makes sure
// that wait(2) has not returned for the process, so its ID is not used by another one.
func killTree(p *os.Process) {
	descendants := kernel.Descendants(p.Pid)
	_ = p.Kill()
	for _, pid := range descendants {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
}
